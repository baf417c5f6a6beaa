"""The number of database queries of a request and how long they took; SQLAlchemy's are counted by its events.

SQLAlchemy is not imported here: its events are listened to once the application has imported it.
"""

import contextlib
import sys
import time
from typing import Any, Final

from hublog.capture import context

NAME: Final = "sqlalchemy"
#: Set on the execution context of a statement while the database works on it.
_STARTED: Final = "_hublog_started"

#: More items of a counter are made one.
_ITEMS_MAX: Final = 500

#: Names of the libraries whose queries are counted in this process.
watched: Final[set[str]] = set()


class QueryCounter:
    """Counts the queries of one request; any thread that serves it may add.

    No lock: what is appended to or popped from a list is so at once, also for a signal handler that queries
    in between. An item is a number of queries and their seconds.

    Args:
        items: where they are; counters that share it count as one. None for a list of its own.
    """

    __slots__ = ("_items",)

    def __init__(self, items: list[tuple[int, float]] | None = None) -> None:
        self._items = [] if items is None else items

    def add(self, seconds: float) -> None:
        """Count one query that took this many seconds."""
        self._items.append((1, seconds))
        if len(self._items) > _ITEMS_MAX:
            self._add_up()

    def columns(self) -> dict[str, object]:
        """Return the columns of the request record; none where no library is watched."""
        items = list(self._items)
        if not (items or watched):
            return {}
        seconds = sum(item[1] for item in items)
        return {"db_query_count": sum(item[0] for item in items), "db_duration_ms": round(seconds * 1000, 3)}

    def _add_up(self) -> None:
        """Make one item of most: a websocket may make queries for days."""
        taken: list[tuple[int, float]] = []
        with contextlib.suppress(IndexError):  # another thread does it too
            while len(taken) < _ITEMS_MAX:
                taken.append(self._items.pop())
        self._items.append((sum(item[0] for item in taken), sum(item[1] for item in taken)))


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
        try:  # not ``suppress``, which takes longer than all else here
            execution = known[4]
            setattr(execution, _STARTED, time.perf_counter())
        except Exception:  # noqa: BLE001, S110  # what a listener raises ends the query
            pass


def _end(*known: Any) -> None:  # noqa: ANN401  # the same
    _count(known[4])


def _fail(failure: Any) -> None:  # noqa: ANN401  # an ExceptionContext of SQLAlchemy
    _count(failure.execution_context)


def _count(execution: object) -> None:
    counter = context.stored().counter
    if counter is None or execution is None:
        return
    try:
        # Taken off: an engine may be listened to by itself and by its class.
        started = vars(execution).pop(_STARTED, None)
        if started is not None:
            counter.add(time.perf_counter() - started)
    except Exception:  # noqa: BLE001, S110  # as above
        pass


_LISTENERS: Final = {"before_cursor_execute": _begin, "after_cursor_execute": _end, "handle_error": _fail}
