"""How many database queries a request made, and how long they took."""

from threading import RLock
from typing import Final

#: Names of the libraries whose queries are counted in this process.
watched: Final[set[str]] = set()


class QueryCounter:
    """Counts the queries of one request; any thread that serves it may add."""

    __slots__ = ("_count", "_lock", "_seconds")

    def __init__(self) -> None:
        self._count = 0
        self._seconds = 0.0
        self._lock = RLock()  # a signal handler may query in between

    def add(self, seconds: float) -> None:
        """Count one query that took so long."""
        with self._lock:
            self._count += 1
            self._seconds += seconds

    def columns(self) -> dict[str, object]:
        """Return the columns of the request record; none where nobody would have counted."""
        if not (self._count or watched):
            return {}
        return {"db_query_count": self._count, "db_duration_ms": round(self._seconds * 1000, 3)}
