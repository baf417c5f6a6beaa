"""The number of database queries of a request and how long they took; SQLAlchemy's are counted by its events.

SQLAlchemy is not imported here: its events are listened to once the application has imported it.
"""

import contextlib
import sys
import time
from typing import Any, Final

from hublog.capture import context
from hublog.locks import ThreadLock

NAME: Final = "sqlalchemy"
#: Set on the execution context of a statement while the database works on it.
_STARTED: Final = "_hublog_started"

#: Names of the libraries whose queries are counted in this process.
watched: Final[set[str]] = set()


class QueryCounter:
    """Counts the queries of one request; any thread that serves it may add."""

    __slots__ = ("_count", "_lock", "_seconds")

    def __init__(self) -> None:
        self._count = 0
        self._seconds = 0.0
        self._lock = ThreadLock()  # a signal handler may query in between

    def add(self, seconds: float) -> None:
        """Count one query that took this many seconds."""
        with self._lock:
            self._count += 1
            self._seconds += seconds

    def columns(self) -> dict[str, object]:
        """Return the columns of the request record; none where no library is watched."""
        if not (self._count or watched):
            return {}
        return {"db_query_count": self._count, "db_duration_ms": round(self._seconds * 1000, 3)}


def listen_if_imported() -> None:
    """Listen to all engines once the application has imported SQLAlchemy; until then it is a look-up."""
    if NAME in watched or NAME not in sys.modules:
        return
    # Half imported just now, in another thread: the next request finds it complete.
    with contextlib.suppress(Exception):
        package: Any = sys.modules[NAME]
        listen(package.event, package.engine.Engine)


def listen(event: Any, target: object) -> None:  # noqa: ANN401  # the module ``sqlalchemy.event``
    """Count the queries of an engine, or of all by the class ``Engine``; once, however often it is called."""
    for name, listener in _LISTENERS.items():
        if not event.contains(target, name, listener):
            event.listen(target, name, listener)
    watched.add(NAME)


def _begin(*known: Any) -> None:  # noqa: ANN401  # connection, cursor, statement, parameters, context, many
    if context.stored().counter is not None:
        with contextlib.suppress(Exception):  # what a listener raises ends the query
            setattr(known[4], _STARTED, time.perf_counter())


def _end(*known: Any) -> None:  # noqa: ANN401  # the same
    _count(known[4])


def _fail(failure: Any) -> None:  # noqa: ANN401  # an ExceptionContext of SQLAlchemy
    _count(failure.execution_context)


def _count(execution: object) -> None:
    counter = context.stored().counter
    if counter is None or execution is None:
        return
    with contextlib.suppress(Exception):
        # Taken off: an engine may be listened to by itself and by its class.
        started = vars(execution).pop(_STARTED, None)
        if started is not None:
            counter.add(time.perf_counter() - started)


_LISTENERS: Final = {"before_cursor_execute": _begin, "after_cursor_execute": _end, "handle_error": _fail}
