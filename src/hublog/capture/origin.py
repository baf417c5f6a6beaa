"""The fields of a record are those of the moment and thread in which it was made, however late it is handled.

Most records are handled within their own log call, where what is bound is what counts; the call stack shows
that. ``QueueHandler`` and ``MemoryHandler`` hand a record over later, so ``thread_context`` wraps them: they
note what is bound when they get it. Of any other record that comes later, or from elsewhere, nothing is
known, and it has no field of the request that is served meanwhile.
"""

import functools
import logging
import os
import sys
import threading
import weakref
from collections.abc import Callable
from typing import Any, Final, TypeVar

from hublog.capture import context, tracing
from hublog.capture.context import EMPTY, Context, call_with, is_over, lend, looked, stored

_T = TypeVar("_T")
_Function = Callable[..., Any]

#: The code of a log call: its frame holds the record for as long as the call lasts.
LOG_CALL: Final = logging.Logger._log.__code__  # noqa: SLF001  # its frame is all that shows a log call
#: This one, and the code of what makes records in its place.
LOG_CALLS: Final = [LOG_CALL]
#: Frames from a formatter's ``format`` up to the log call, or one less than these.
_FORMAT_DEPTH: Final = 6
#: A call stack is followed so far.
_FRAMES_MAX: Final = 100

#: What was bound when a handler got a record that it hands over later, by the id of the record. A record that
#: is gone takes its entry along.
kept: Final[dict[int, tuple["weakref.ref[logging.LogRecord]", Context]]] = {}


def settled(now: Context) -> Context:
    """Return the same fields for records of another moment: nothing of now is added to them."""
    now = looked(now)
    if now.settled is None:
        now.settled = Context(now.fields, now.counter, is_settled=True, encoded=now.encoded)
    return now.settled


#: No fields at all, whatever is bound and whichever span is active.
NOTHING: Final = settled(EMPTY)


def keep(record: logging.LogRecord, *, of: logging.LogRecord | None = None) -> None:
    """Note for a record that is handled later what is bound where it was made; never raises.

    Args:
        record: the one that will be handled.
        of: the record that it is a copy of; None for itself.
    """
    try:
        key = id(record)
        known = kept.get(key)
        if known is not None and known[0]() is record:
            return
        if tracing.MODULE in sys.modules and context.current is stored:
            tracing.active_fields()  # from now on what is bound includes the ids of the active span
        now = origin(of or record, stored(), depth=0)
        fields = now if now.is_settled else settled(context.current())
        kept[key] = weakref.ref(record, lambda _: kept.pop(key, None)), fields
    except Exception:  # noqa: BLE001, S110  # a log call never raises; the record then has no fields
        pass


def origin(record: logging.LogRecord, now: Context, *, depth: int) -> Context:
    """Return the fields that were bound where a record was made.

    Args:
        record: the record that is handled.
        now: what is stored here.
        depth: of the caller's frames, the one in which the log call stands if it calls us directly; 0 to look
            at all of them.

    Returns:
        What is stored here now, or settled fields.
    """
    known = kept.get(id(record))
    if known is not None and known[0]() is record:
        return known[1]
    if is_over(now):
        lend(EMPTY)  # for good: this thread or task serves others by now
        now = EMPTY
    if depth:
        try:
            if sys._getframe(depth + 1).f_code in LOG_CALLS:  # noqa: SLF001  # documented
                return now
        except ValueError:  # there are fewer frames
            pass
    return now if _is_in_own_call(record) or _is_made_here(record, now) else NOTHING


def format_where_made(record: logging.LogRecord, encode: Callable[[logging.LogRecord], _T]) -> _T:
    """Call what a formatter does with a record, with the fields of where the record was made.

    It is to be called by ``logging.Formatter.format`` itself.
    """
    now = stored()
    if now is EMPTY and not kept and context.current is stored:
        return encode(record)
    has_ended = now.life is not None and now.life.ended_mono is not None
    if not kept and not has_ended and _is_near(record, now):
        return encode(record)
    made_in = origin(record, now, depth=0)
    return encode(record) if made_in is stored() else call_with(made_in, encode, record)


def _is_near(record: logging.LogRecord, now: Context) -> bool:
    """Whether a log call stands where it does if a handler formats the record of that call.

    A handler that formats others there as well is known by the time and thread of those.
    """
    try:
        frame = sys._getframe(_FORMAT_DEPTH + 2)  # noqa: SLF001  # documented
    except ValueError:
        return False
    above = frame.f_back
    is_log_call = frame.f_code in LOG_CALLS or (above is not None and above.f_code in LOG_CALLS)
    return is_log_call and _is_of_thread(record, now)


def _is_in_own_call(record: logging.LogRecord) -> bool:
    """Whether the log call that made a record goes on in this thread."""
    frame = sys._getframe(1).f_back  # noqa: SLF001  # documented
    for _ in range(_FRAMES_MAX):
        if frame is None:
            return False
        if frame.f_code in LOG_CALLS and frame.f_locals.get("record") is record:
            return True
        frame = frame.f_back
    return False


def _is_made_here(record: logging.LogRecord, now: Context) -> bool:
    """Whether a record may have been made here, by this thread and task, since these fields were bound."""
    try:
        return record.process == os.getpid() and _is_of_thread(record, now)
    except (AttributeError, TypeError):  # it was made by hand
        return False


def _is_of_thread(record: logging.LogRecord, now: Context) -> bool:
    return (
        record.thread == threading.get_ident()
        and record.created >= now.since
        and ("taskName" not in record.__dict__ or record.__dict__["taskName"] == _task_name())
    )


def _task_name() -> str | None:
    """Return the name that a record made here would have of the task of asyncio."""
    asyncio = sys.modules.get("asyncio")
    if asyncio is None or not getattr(logging, "logAsyncioTasks", False):
        return None
    try:
        return str(asyncio.current_task().get_name())
    except (RuntimeError, AttributeError):  # no loop runs here, or none of its tasks
        return None


def wrap_prepare(original: _Function) -> _Function:
    """Wrap ``QueueHandler.prepare``, which makes a copy for the queue."""

    @functools.wraps(original)
    def prepare(self: object, record: logging.LogRecord) -> Any:  # noqa: ANN401  # as it returns
        prepared = original(self, record)
        if isinstance(prepared, logging.LogRecord):
            keep(prepared, of=record)
        return prepared

    return prepare


def wrap_taking(original: _Function) -> _Function:
    """Wrap a method by which a handler takes a record that is handled later."""

    @functools.wraps(original)
    def take(self: object, record: logging.LogRecord) -> Any:  # noqa: ANN401  # as it returns
        if isinstance(record, logging.LogRecord):
            keep(record)
        return original(self, record)

    return take
