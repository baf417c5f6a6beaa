"""How a request ended: its record, and whether an exception is a failure or a cancellation."""

import contextlib
import fnmatch
import logging
import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, Final

from hublog.capture import interop
from hublog.capture.json_safe import text_of
from hublog.requests.query_counting import QueryCounter
from hublog.settings import RequestSettings

#: Logger of the one record for each request.
LOGGER_NAME: Final = "hublog.request"
#: Status of a request whose client disconnected before the end; nginx writes the same.
CANCELLED: Final = 499
SERVER_ERROR: Final = 500
_CLIENT_ERROR: Final = 400
#: Names of exceptions, since none of these packages is imported here. What trio or the killer of a greenlet
#: throws comes from outside: an application that cancels a part of itself catches it.
_FROM_OUTSIDE: Final = frozenset({"Cancelled", "GreenletExit"})
_ASYNCIO: Final = "CancelledError"
#: Exceptions of one request that are remembered as shown in its records; further ones may be shown twice.
_SHOWN_MAX: Final = 100


@dataclass(slots=True, kw_only=True)
class RequestRecord:
    """Writes the record of one request, and shows each exception of the request once.

    Args:
        settings: whether there is a record, and what is slow.
        counter: counts the queries of the request, if they are counted.
        method: ``GET`` ....
        path: decoded, without the query.
        is_long_lived: whether this is a websocket, which is never slow.
    """

    settings: RequestSettings
    counter: QueryCounter | None
    method: str
    path: str
    is_long_lived: bool
    _shown: set[int] = field(default_factory=set)

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
            if 0 < self.settings.slow_seconds < seconds and not self.is_long_lived:
                level = max(level, logging.WARNING)
                fields = {**fields, "slow": True}
            if level >= logging.ERROR:
                interop.leave_out(LOGGER_NAME)
            duration = seconds * 1000
            logging.getLogger(LOGGER_NAME).log(
                level,
                "%s %s %d %.1f ms",
                self.method,
                self.path,
                status,
                duration,
                exc_info=self._unshown(error),
                extra={
                    "record_type": "request",
                    "http_status_code": status,
                    "duration_ms": round(duration, 3),
                    **(self.counter.columns() if self.counter is not None else {}),
                    **fields,
                },
            )

    def write_error(self, error: BaseException) -> None:
        """Write what the application raised after its request record, or where it has none."""
        unshown = self._unshown(error)
        if unshown is None:
            return
        interop.leave_out(LOGGER_NAME)
        with contextlib.suppress(Exception):
            logging.getLogger(LOGGER_NAME).error(
                "%s %s raised %s",
                self.method,
                self.path,
                type(unshown).__name__,
                exc_info=unshown,
                extra={"event_name": "request.failed"},
            )

    def _is_wanted(self, status: int) -> bool:
        settings = self.settings
        if not settings.access_records:
            return False
        if status >= SERVER_ERROR or not settings.excluded_paths:
            return True
        return not _pattern(settings.excluded_paths).fullmatch(self.path)

    def _unshown(self, error: BaseException | None) -> BaseException | None:
        """Return an exception that no record of the request has shown; None for one that some have."""
        if error is None or _key(error) in self._shown:
            return None
        self.note_shown(error)
        return error


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
