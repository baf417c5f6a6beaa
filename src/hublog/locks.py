"""The lock of everything that a log call or the exit may have to wait for."""

import sys
import threading
from types import TracebackType


class ThreadLock:
    """A lock that its thread may take again, and that nobody waits for at the end of the interpreter.

    Again, since a signal handler may log in the middle of anything. At the end only the main thread runs: a
    daemon thread has ended where it stood, and what it held stays locked for ever.
    """

    # Slots keep a late patch of eventlet's from finding the lock. It would replace it by one of its own, even
    # while it is held, and a thread that was real before would wait for that one for ever.
    __slots__ = ("_lock",)

    def __init__(self) -> None:
        self._lock = threading.RLock()

    def acquire(self, *, timeout: float = -1) -> bool:
        """Return whether the lock could be had in time; without a time this waits for as long as it takes."""
        if self._lock.acquire(blocking=False):
            return True
        if sys.is_finalizing():
            self._lock = threading.RLock()
            return self._lock.acquire()
        return self._lock.acquire(timeout=timeout)

    def release(self) -> None:
        """Release it, once for each time that it was acquired."""
        self._lock.release()

    def __enter__(self) -> None:
        if not self._lock.acquire(blocking=False):
            self.acquire()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._lock.release()
