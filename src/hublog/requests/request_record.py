"""How a request ended: its record, and whether an exception is a failure or a cancellation."""

import contextlib
import fnmatch
import logging
import re
import sys
from collections.abc import Mapping
from functools import lru_cache
from types import FunctionType
from typing import Any, Final

from hublog.capture import interop
from hublog.capture.json_safe import text_of
from hublog.capture.origin import LOG_CALLS
from hublog.requests.request_life import RequestLife

#: Logger of the one record for each request.
LOGGER_NAME: Final = "hublog.request"
_LOGGER: Final = logging.getLogger(LOGGER_NAME)
#: What passes a record on to filters and handlers, unless another package has put itself in its place.
_PASSES: Final = tuple(
    method if isinstance(method, FunctionType) and method.__module__ == logging.__name__ else None
    for method in (logging.Logger.handle, logging.Logger.callHandlers)
)
#: Status of a request whose client disconnected before the end; nginx writes the same.
CANCELLED: Final = 499
SERVER_ERROR: Final = 500
_CLIENT_ERROR: Final = 400
#: How a handler takes a record that makes nothing of it.
_NOTHING: Final = logging.NullHandler.handle
#: Names of exceptions, since none of these packages is imported here. What trio or the killer of a greenlet
#: throws comes from outside: an application that cancels a part of itself catches it.
_FROM_OUTSIDE: Final = frozenset({"Cancelled", "GreenletExit"})
_ASYNCIO: Final = "CancelledError"
#: Exceptions of one request that are remembered as shown in its records; further ones may be shown twice.
_SHOWN_MAX: Final = 100


class RequestRecord:
    """Writes the record of one request, and shows each exception of the request once.

    Args:
        life: of the request.
        is_long_lived: whether this is a websocket, which is never slow.
    """

    __slots__ = ("_is_long_lived", "_life", "_shown")

    def __init__(self, life: RequestLife, *, is_long_lived: bool) -> None:
        self._life = life
        self._is_long_lived = is_long_lived
        self._shown: set[int] = set()

    def note_shown(self, error: BaseException) -> None:
        """Note that a record of the request shows an exception."""
        if len(self._shown) < _SHOWN_MAX:
            self._shown.add(_key(error))

    def write(
        self,
        status: int,
        seconds: float,
        fields: Mapping[str, object],
        *,
        level: int,
        error: BaseException | None,
    ) -> None:
        """Write the record, if the settings want it; without it, what the application raised.

        Args:
            status: of the response.
            seconds: from the start of the request to its end.
            fields: for this record alone.
            level: the least level.
            error: what the application raised.
        """
        with contextlib.suppress(Exception):  # a filter or handler of the application may raise
            if not self._is_wanted(status):
                if error is not None:
                    self.write_error(error)
                return
            level = max(level, _level(status), logging.NOTSET if error is None else logging.ERROR)
            is_slow = 0 < self._life.settings.slow_seconds < seconds and not self._is_long_lived
            level = max(level, logging.WARNING) if is_slow else level
            if level >= logging.ERROR:
                interop.leave_out(LOGGER_NAME)
            if not _LOGGER.isEnabledFor(level):
                return
            life, duration, shown = self._life, seconds * 1000, self._unshown(error)
            args = life.method, life.path, status, duration
            caught = None if shown is None else (type(shown), shown, shown.__traceback__)
            # Not by ``log``, which looks for its caller and at each field: half of what the record takes.
            record = _LOGGER.makeRecord(
                LOGGER_NAME, level, __file__, _LINE, "%s %s %d %.1f ms", args, caught, "write"
            )
            attributes, counter = record.__dict__, life.counter
            attributes.update(record_type="request", http_status_code=status, duration_ms=round(duration, 3))
            if counter is not None:
                attributes.update(counter.columns())
            attributes.update(fields)
            if is_slow:
                attributes["slow"] = True
            _LOGGER.handle(record)

    def write_error(self, error: BaseException) -> None:
        """Write what the application raised after its request record, or where it has none."""
        unshown = self._unshown(error)
        if unshown is None:
            return
        interop.leave_out(LOGGER_NAME)
        with contextlib.suppress(Exception):
            args = self._life.method, self._life.path, type(unshown).__name__
            _LOGGER.error("%s %s raised %s", *args, exc_info=unshown, extra={"event_name": "request.failed"})

    def _is_wanted(self, status: int) -> bool:
        settings = self._life.settings
        if not settings.access_records:
            return False
        if status >= SERVER_ERROR or not settings.excluded_paths:
            return True
        return not _pattern(settings.excluded_paths).fullmatch(self._life.path)

    def _unshown(self, error: BaseException | None) -> BaseException | None:
        """Return an exception that no record of the request has shown; None for one that some have."""
        if error is None or _key(error) in self._shown:
            return None
        self.note_shown(error)
        return error


def is_heard() -> bool:
    """Whether anybody sees request records: a handler, a filter, or another package."""
    kind = type(_LOGGER)
    if _LOGGER.filters or (kind.handle, kind.callHandlers) != _PASSES:
        return True
    logger: logging.Logger | None = _LOGGER
    has_handlers = False
    while logger is not None:
        for handler in logger.handlers:
            has_handlers = True
            if type(handler).handle is not _NOTHING:
                return True
        logger = logger.parent if logger.propagate else None
    return not has_handlers  # then ``logging`` writes warnings to stderr


def was_cancelled(error: BaseException) -> bool:
    """Whether the server ended a request by raising this exception; call it in the task that it ended.

    A ``CancelledError`` of asyncio is a cancellation if this task was cancelled. One that an application has
    raised, or that comes from something it has cancelled, is a failure: the client waits, and gets a 500.
    """
    if isinstance(error, Exception):
        return False
    if isinstance(error, BaseExceptionGroup):
        return all(map(was_cancelled, error.exceptions))
    names = {base.__name__ for base in type(error).__mro__}
    if _ASYNCIO in names:
        return _is_task_cancelled()
    if isinstance(error, GeneratorExit):
        return True
    return not _FROM_OUTSIDE.isdisjoint(names)


def _is_task_cancelled() -> bool:
    asyncio: Any = sys.modules.get("asyncio")
    try:
        task = asyncio.current_task()
        return task is not None and task.cancelling() > 0
    except Exception:  # noqa: BLE001  # no loop runs here, or its tasks do not count cancellations
        return False


def _level(status: int) -> int:
    if status >= SERVER_ERROR:
        return logging.ERROR
    return logging.WARNING if status >= _CLIENT_ERROR else logging.INFO


def _key(error: BaseException) -> int:
    """Return a key of an exception that holds no reference to it or its frames."""
    return hash((type(error), text_of(error)))


@lru_cache(maxsize=64)
def _pattern(paths: tuple[str, ...]) -> re.Pattern[str]:
    """Return what matches any of these paths, in which ``*`` alone has a meaning."""
    literal = str.maketrans({"?": "[?]", "[": "[[]"})
    return re.compile("|".join(fnmatch.translate(path.translate(literal)) for path in paths))


#: Where request records are made; for what looks for the log call of a record, the method is one.
_LINE: Final = RequestRecord.write.__code__.co_firstlineno
LOG_CALLS.append(RequestRecord.write.__code__)
