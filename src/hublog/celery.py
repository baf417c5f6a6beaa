"""For Celery: importing it lets tasks log with the fields of the request that sent them.

::

    app = Celery("shop")
    import hublog.celery

It sends request, trace, correlation, tenant and user along as message headers, binds them and the task's own
fields while a task runs, and logs one record at its end. It keeps Celery from replacing our handlers. And it
delivers the records of the prefork pool's children: they end by ``os._exit``, so no exit hook of Python
runs; Celery sends a signal before. The worker itself, and with it the pools ``solo``, ``threads``,
``gevent`` and ``eventlet``, ends as any program does.
"""

import logging
import sys
from contextlib import suppress
from typing import Any, Final

from hublog.capture.resource import suggest
from hublog.configure.handlers import NAMES
from hublog.handler import EventHubHandler
from hublog.internal_log import report
from hublog.requests import task_scope
from hublog.requests.task_scope import KEY, TaskOutcome, TaskScope
from hublog.runtime.shutdown import exit_sequence

try:
    from celery import current_app, exceptions, signals, states
except ImportError as error:
    raise ImportError("hublog.celery needs Celery: pip install 'hublog[celery]'.") from error

__all__: list[str] = []

_TRACEPARENT: Final = "traceparent"
_OWN_LOGGING: Final = (
    "Celery leaves the root logger to hublog's handlers: --logfile has no effect, and --loglevel applies to"
    " the logger celery alone."
)
_NO_CONSOLE: Final = (
    "None of them writes to the console, so the worker shows nothing there: add a handler for it to the root"
    " logger, or to the logger celery."
)
_OUTCOMES: Final = {
    states.SUCCESS: TaskOutcome.SUCCEEDED,
    states.RETRY: TaskOutcome.RETRIED,
    states.REJECTED: TaskOutcome.REJECTED,
    states.IGNORED: TaskOutcome.IGNORED,
}


def _send(headers: object = None, **_: object) -> None:
    """Put the fields on a message that is about to be sent."""
    # In protocol 1 the message's headers are the caller's alone, and do not come with the task.
    if isinstance(headers, dict) and "task" in headers:
        with suppress(Exception):  # the task must be sent
            _add(headers)


def _add(headers: dict[str, object]) -> None:
    carried = task_scope.outgoing()
    if not carried:
        return
    # A retry has the headers of the previous try.
    previous = task_scope.traceparent(task_scope.accepted(headers.get(KEY)))
    headers[KEY] = carried
    if headers.get(_TRACEPARENT) in (None, previous) and "trace_id" in carried:
        headers[_TRACEPARENT] = task_scope.traceparent(carried)


def _begin(task_id: object = None, task: Any = None, **_: object) -> None:  # noqa: ANN401  # Celery has no types
    """Bind the fields of a task that is about to run."""
    with suppress(Exception):  # the task must run
        _scope(str(task_id), task).enter()


def _scope(task_id: str, task: Any, request: Any = None) -> TaskScope:  # noqa: ANN401
    request = task.request if request is None else request
    custom = request.headers if isinstance(request.headers, dict) else {}
    carried = task_scope.accepted(request.get(KEY) or custom.get(KEY))
    if not carried and request.is_eager is True:
        carried = task_scope.outgoing()
    info = request.delivery_info if isinstance(request.delivery_info, dict) else {}
    queue = info.get("routing_key")
    return TaskScope(
        name=str(task.name),
        task_id=task_id,
        queue=queue if isinstance(queue, str) else "",
        retries=request.retries,
        carried=carried,
        header=request.get(_TRACEPARENT) or custom.get(_TRACEPARENT),
    )


def _end(
    task_id: object = None,
    task: Any = None,  # noqa: ANN401
    retval: object = None,
    state: str | None = None,
    **_: object,
) -> None:
    """Write the record of a task that has run, and unbind its fields."""
    scope = task_scope.running(str(task_id))
    if scope is None:
        return
    try:
        # An eager task may propagate what it raises, and then Celery logs nothing.
        error = sys.exc_info()[1] if state is None else None
        if isinstance(error, exceptions.Retry):
            state, error = states.RETRY, None
        elif isinstance(error, exceptions.Ignore):
            state, error = states.IGNORED, None
        elif isinstance(error, exceptions.Reject):
            state, error = states.REJECTED, None
        elif error is not None:
            state, retval = states.FAILURE, error
        scope.finish(_OUTCOMES.get(state, TaskOutcome.FAILED), level=_level(task, state, retval), error=error)
    finally:
        scope.leave()


def _level(task: Any, state: str | None, retval: object) -> int | None:  # noqa: ANN401
    """Return the level of a task's record where it is not the one of its outcome."""
    if state == states.FAILURE and task.throws:
        with suppress(TypeError):  # of what is no class, nor a tuple of them
            if isinstance(retval, task.throws):
                return logging.INFO  # as Celery does with what a task says that it throws
    if state == states.RETRY and task.name.startswith("celery."):
        return logging.DEBUG  # it polls each second for the end of a chord's tasks
    return None


def _retry(reason: object = None, **_: object) -> None:
    """Let the retry of an eager task continue the trace of the previous try."""
    signature = getattr(reason, "sig", None)
    if isinstance(reason, exceptions.Retry) and reason.is_eager and signature is not None:
        headers = dict(signature.options.get("headers") or {})
        signature.options["headers"] = {**headers, KEY: task_scope.outgoing()}


def _revoke(
    sender: Any = None,  # noqa: ANN401
    request: Any = None,  # noqa: ANN401
    terminated: object = False,  # noqa: FBT002  # as Celery calls it
    expired: object = False,  # noqa: FBT002  # as above
    **_: object,
) -> None:
    """Write the record of a task that was revoked before it ran, or stopped while it did; in the worker."""
    with suppress(Exception):
        outcome = (
            TaskOutcome.EXPIRED if expired else TaskOutcome.TERMINATED if terminated else TaskOutcome.REVOKED
        )
        scope = _scope(str(request.id), sender, request)
        scope.enter()
        scope.end(outcome)


def _begin_process(**_: object) -> None:
    """Start a child of the pool without the fields of its parent."""
    task_scope.forget()


def _keep_handlers(**_: object) -> None:
    """Keep Celery from replacing the root logger's handlers if ours are among them.

    Celery configures logging itself unless a receiver is connected to ``setup_logging``.
    """
    handlers = logging.getLogger().handlers
    if any(isinstance(handler, EventHubHandler) or handler.name in NAMES for handler in handlers):
        signals.setup_logging.connect(_leave_logging, weak=False, dispatch_uid="hublog")


def _leave_logging(loglevel: object = None, **_: object) -> None:
    """Leave the handlers as they are, and report what that means for the worker's own records."""
    with suppress(Exception):  # the worker must start
        logger = logging.getLogger("celery")
        if isinstance(loglevel, int) and 0 < loglevel < logger.getEffectiveLevel():
            logger.setLevel(loglevel)
        if any(_is_shown(handler) for handler in (*logging.getLogger().handlers, *logger.handlers)):
            report(logging.INFO, _OWN_LOGGING)
        else:
            report(logging.WARNING, f"{_OWN_LOGGING} {_NO_CONSOLE}")


def _is_shown(handler: logging.Handler) -> bool:
    """Whether a handler writes to standard output or error."""
    if isinstance(handler, logging.FileHandler) or not isinstance(handler, logging.StreamHandler):
        return False
    return handler.stream in (sys.stdout, sys.stderr, sys.__stdout__, sys.__stderr__)


def _drain(**_: object) -> None:
    """Deliver what is queued in a child of the pool, within the exit budget."""
    exit_sequence.drain()


def _name_of_app() -> str:
    """Return the name of the current app; the default app has none."""
    return str(current_app.main or "")


suggest("celery", _name_of_app)
for _signal, _receiver in (
    (signals.before_task_publish, _send),
    (signals.task_prerun, _begin),
    (signals.task_postrun, _end),
    (signals.task_retry, _retry),
    (signals.task_revoked, _revoke),
    (signals.import_modules, _keep_handlers),
    (signals.celeryd_init, _keep_handlers),
    (signals.worker_process_init, _begin_process),
    (signals.worker_process_shutdown, _drain),
):
    # Not weakly, and once, however often the module is imported under another name or reloaded.
    _signal.connect(_receiver, weak=False, dispatch_uid="hublog")
