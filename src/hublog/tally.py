"""A counter that any thread, signal handler or finalizer adds to without a lock, and that is exact."""

from itertools import count
from threading import RLock


class Tally:
    """Counts calls of ``add``.

    ``next`` on ``itertools.count`` is one step of the interpreter. Reading takes a step too, so the
    number of reads is kept apart and taken off.
    """

    __slots__ = ("_count", "_lock", "_reads", "add")

    def __init__(self) -> None:
        self._count = count()
        self._reads = 0
        self._lock = RLock()
        self.add = self._count.__next__

    def read(self) -> int:
        """Return how often ``add`` was called."""
        with self._lock:
            self._reads += 1
            return next(self._count) - (self._reads - 1)
