"""The logging side of one run of a task, for every queue: fields at its start, one record at its end.

``outgoing`` and ``accepted`` carry fields from the code that sends a task to the worker that runs it.
"""

import logging
import time
from collections.abc import Callable, Mapping
from contextvars import ContextVar, Token
from enum import StrEnum
from typing import Final
from uuid import UUID

from hublog.capture import context
from hublog.capture.json_safe import INT64
from hublog.capture.tracing import active_fields, new_id, read_traceparent, trace_fields, valid_id

#: Logger of the one record for each task.
LOGGER_NAME: Final = "hublog.task"
#: Under this name the fields travel with a task.
KEY: Final = "hublog"

_TRACE: Final = ("trace_id", "parent_span_id", "trace_sampled")
_IDS: Final = ("request_id", "correlation_id")
_NAMES: Final = ("tenant_id", "user_id")
_STRINGS: Final = ("trace_id", "parent_span_id", *_IDS, *_NAMES)
_FLAGS: Final = ("user_authenticated", "trace_sampled")
_NAME_MAX: Final = 128
_TEXT_MAX: Final = 256
_RETRIES_MAX: Final = 1 << 31


class TaskOutcome(StrEnum):
    """How a task ended."""

    SUCCEEDED = "succeeded"
    FAILED = "failed"
    RETRIED = "retried"
    REJECTED = "rejected"
    IGNORED = "ignored"
    REVOKED = "revoked"
    EXPIRED = "expired"
    TERMINATED = "terminated"


_LEVELS: Final = {
    TaskOutcome.FAILED: logging.ERROR,
    TaskOutcome.RETRIED: logging.WARNING,
    TaskOutcome.EXPIRED: logging.WARNING,
    TaskOutcome.TERMINATED: logging.WARNING,
}
#: Outcomes of tasks that did not run, or whose run is not known here.
_WITHOUT_RUN: Final = frozenset({TaskOutcome.REVOKED, TaskOutcome.EXPIRED, TaskOutcome.TERMINATED})


def outgoing() -> dict[str, object]:
    """Return the fields that travel with a task that is sent now: strings and booleans, under 1 KiB.

    These are request, correlation, tenant and user, and the trace, of OpenTelemetry's active span if there is
    one; empty where none of them is known.
    """
    bound = {**context.bound(), **active_fields()}
    named = {name: _text(bound.get(name)) for name in ("trace_id", *_IDS, *_NAMES)}
    flags = {name: bound.get(name) for name in _FLAGS}
    return accepted({**named, **flags, "parent_span_id": _text(bound.get("span_id"))})


def accepted(value: object) -> dict[str, object]:
    """Return what came with a task, as far as it is valid.

    Args:
        value: anything: it comes from a queue that others may write to. Unknown names are left out.
    """
    if not isinstance(value, dict):
        return {}
    strings = {name: text for name in _STRINGS if type(text := value.get(name)) is str}
    flags = {name: flag for name in _FLAGS if type(flag := value.get(name)) is bool}
    fields: dict[str, object] = {name: valid for name in _IDS if (valid := valid_id(strings.get(name)))}
    fields |= {name: strings[name] for name in _NAMES if _is_name(strings.get(name, ""))}
    trace = read_traceparent(f"00-{strings.get('trace_id')}-{strings.get('parent_span_id')}-01")
    if trace is not None:
        fields |= {"trace_id": trace.trace_id, "parent_span_id": trace.parent_span_id}
    else:
        flags.pop("trace_sampled", None)
    return {**fields, **flags}


def traceparent(carried: Mapping[str, object]) -> str:
    """Return the W3C header for what ``accepted`` returned, empty without a trace.

    Its flag says that the span is recorded, as it is in the log: a tracer that follows its parent would
    record none of the tasks otherwise. It is off where the caller of the request said that the trace is not.
    """
    if "trace_id" not in carried:
        return ""
    flag = "00" if carried.get("trace_sampled") is False else "01"
    return f"00-{carried['trace_id']}-{carried['parent_span_id']}-{flag}"


class TaskScope:
    """The logging side of one run of a task.

    ``enter`` binds its fields in place of whatever is bound; ``finish`` writes the task record; ``leave``
    binds what was bound before. Call all three in the thread, greenlet or coroutine that runs it.

    Args:
        name: dotted name of the task.
        task_id: of the task, the same for each of its runs.
        queue: where it came from, or empty.
        retries: how many times it was tried before.
        carried: what ``accepted`` or ``outgoing`` returned.
        header: a ``traceparent`` that came with the task, for one that carries no trace of ours.
        now: monotonic seconds.
    """

    def __init__(
        self,
        *,
        name: str,
        task_id: str,
        queue: str = "",
        retries: object = 0,
        carried: Mapping[str, object],
        header: object = None,
        now: Callable[[], float] = time.perf_counter,
    ) -> None:
        self._now = now
        self._started = now()
        self._name = name[:_TEXT_MAX]
        self._token: Token[context.Context] | None = None
        self._outer: TaskScope | None = None
        self._is_finished = False
        self.task_id = task_id
        known = {key: value for key, value in carried.items() if key not in _TRACE}
        self.fields: dict[str, object] = {
            **_trace(carried, header),
            **known,
            "task_id": task_id[:_TEXT_MAX],
            "task_name": self._name,
            **({"task_queue": queue[:_TEXT_MAX]} if queue else {}),
            "task_retries": retries if type(retries) is int and 0 <= retries < _RETRIES_MAX else 0,
        }

    def enter(self) -> None:
        """Bind the fields; every record from here on carries them."""
        self._outer = _current.get()
        self._token = context.enter(self.fields)
        _current.set(self)

    def finish(
        self, outcome: TaskOutcome, *, level: int | None = None, error: BaseException | None = None
    ) -> None:
        """Write the task record, once.

        Args:
            outcome: how the run ended.
            level: of the record, in place of the outcome's own.
            error: what the task raised, if nothing else logs it.
        """
        if self._is_finished:
            return
        self._is_finished = True
        logger = logging.getLogger(LOGGER_NAME)
        number = _LEVELS.get(outcome, logging.INFO) if level is None else level
        extra: dict[str, object] = {"record_type": "task", "event_name": f"task.{outcome.value}"}
        if outcome in _WITHOUT_RUN:
            logger.log(number, "%s %s", self._name, outcome.value, extra=extra)
            return
        duration = (self._now() - self._started) * 1000
        extra["duration_ms"] = round(duration, 3)
        logger.log(number, "%s %s %.1f ms", self._name, outcome.value, duration, exc_info=error, extra=extra)

    def end(
        self, outcome: TaskOutcome, *, level: int | None = None, error: BaseException | None = None
    ) -> None:
        """Write the task record as ``finish`` does, and leave, whatever a handler raises."""
        try:
            self.finish(outcome, level=level, error=error)
        finally:
            self.leave()

    def leave(self) -> None:
        """Bind what was bound before; everything bound since is unbound, also by runs that never ended."""
        token, self._token = self._token, None
        if token is None:
            return
        context.leave(token)
        outer, self._outer = self._outer, None
        _current.set(outer)


def running(task_id: str) -> TaskScope | None:
    """Return the innermost scope of a task that was entered here and not left."""
    scope = _current.get()
    while scope is not None and scope.task_id != task_id:
        scope = scope._outer  # noqa: SLF001  # of the same class
    return scope


def running_now() -> TaskScope | None:
    """Return the scope of the task that runs here."""
    return _current.get()


def forget() -> None:
    """Unbind everything: a forked process must not log with the fields of its parent."""
    context.clear()
    _current.set(None)


def _trace(carried: Mapping[str, object], header: object) -> dict[str, object]:
    if "trace_id" in carried and not active_fields():
        return {**{name: carried[name] for name in _TRACE if name in carried}, "span_id": new_id(8)}
    return trace_fields(header if isinstance(header, str) else None)


def _text(value: object) -> str:
    if isinstance(value, str):
        return str.__str__(value)
    is_number = type(value) is int and abs(value) < INT64
    return str(value) if is_number or isinstance(value, UUID) else ""


def _is_name(text: str) -> bool:
    return 0 < len(text) <= _NAME_MAX and text.isprintable()


#: The task that runs here; the outer one while a task runs another one at once.
_current: ContextVar[TaskScope | None] = ContextVar("hublog_task", default=None)
