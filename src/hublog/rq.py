"""For RQ: importing it lets jobs log with the fields of the request that enqueued them, and loses no record.

::

    import hublog.rq  # in the web application, and in the module that sets the worker's logging up

It sends request, trace, correlation, tenant and user along in a job's ``meta``, binds them and the job's own
fields while the job runs, and logs one record at its end. And it delivers what a work-horse has logged: RQ
forks one for each job, which ends by ``os._exit``, so no exit hook of Python runs. A work-horse of
``SpawnWorker`` imports the application when the job has begun already: its records are delivered, without
these fields and without the record.
"""

import functools
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Final

from hublog.requests import task_scope
from hublog.requests.task_scope import KEY, TaskOutcome, TaskScope
from hublog.runtime.shutdown import exit_sequence

try:
    from rq import Worker
    from rq import worker as workers
    from rq.job import Job
except ImportError as error:
    raise ImportError("hublog.rq needs RQ: pip install rq.") from error

__all__: list[str] = []

#: Of a wrapped function, so that it is wrapped once, however often this module is loaded.
_MARK: Final = "hublog_wraps"

_Function = Callable[..., Any]


def _wrap(owner: type, name: str, wrap: Callable[[_Function], _Function]) -> None:
    for kind in [kind for kind in owner.__mro__ if name in vars(kind)][:1]:
        attribute = vars(kind)[name]
        is_of_class = isinstance(attribute, classmethod)
        original = attribute.__func__ if is_of_class else attribute
        if not hasattr(original, _MARK):
            made = functools.wraps(original)(wrap(original))
            setattr(made, _MARK, original)
            setattr(kind, name, classmethod(made) if is_of_class else made)


def _with_fields(original: _Function) -> _Function:
    """Wrap ``Job.create``: all ways to enqueue a job come by it."""

    def create(cls: type, *args: Any, **kwargs: Any) -> Any:  # noqa: ANN401  # RQ's own
        job = original(cls, *args, **kwargs)
        with suppress(Exception):  # the job must be enqueued
            carried = task_scope.outgoing()
            if carried and KEY not in job.meta:
                job.meta = {**job.meta, KEY: carried}
        return job

    return create


def _in_scope(original: _Function) -> _Function:
    """Wrap the method of a worker that runs a job, in a work-horse or in the worker itself."""

    def perform_job(self: Any, job: Any, *args: Any, **kwargs: Any) -> Any:  # noqa: ANN401  # RQ's own
        scope = None
        with suppress(Exception):  # the job must run
            scope = _scope(job)
            scope.enter()
        has_succeeded = False
        try:
            has_succeeded = original(self, job, *args, **kwargs)
        finally:
            if scope is not None:
                with suppress(Exception):  # a handler or filter of the application may raise
                    scope.finish(_outcome(job, has_succeeded=bool(has_succeeded)))
                scope.leave()
            if getattr(self, "is_horse", False):
                exit_sequence.drain()
        return has_succeeded

    return perform_job


def _delivered(original: _Function) -> _Function:
    """Wrap what a worker does last for a job: a work-horse that is spawned imports us in the middle of it."""

    def finalize(self: Any, *args: Any, **kwargs: Any) -> Any:  # noqa: ANN401  # RQ's own
        try:
            return original(self, *args, **kwargs)
        finally:
            if getattr(self, "is_horse", False) and task_scope.running_now() is None:
                exit_sequence.drain()

    return finalize


def _scope(job: Any) -> TaskScope:  # noqa: ANN401
    if getattr(job, "is_async", True) is False or KEY not in job.meta:
        carried = task_scope.accepted(job.meta.get(KEY)) or task_scope.outgoing()
    else:
        carried = task_scope.accepted(job.meta[KEY])
    return TaskScope(
        name=str(job.func_name),
        task_id=str(job.id),
        queue=str(job.origin or ""),
        retries=getattr(job, "number_of_retries", None) or 0,
        carried=carried,
    )


def _outcome(job: Any, *, has_succeeded: bool) -> TaskOutcome:  # noqa: ANN401
    if has_succeeded:
        return TaskOutcome.SUCCEEDED
    # RQ has put a job that it will try again back into its queue, or among the scheduled ones.
    status = str(getattr(job.get_status(refresh=False), "value", job.get_status(refresh=False)))
    return TaskOutcome.RETRIED if status in ("queued", "scheduled") else TaskOutcome.FAILED


_wrap(Job, "create", _with_fields)
_wrap(getattr(workers, "BaseWorker", Worker), "perform_job", _in_scope)
for _name in ("_finalize_success", "_finalize_failure"):
    _wrap(Worker, _name, _delivered)
if "perform_job" in vars(Worker):  # before RQ 2 had a class of its own for it
    _wrap(Worker, "perform_job", _in_scope)
