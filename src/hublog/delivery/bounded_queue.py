"""The memory queue: bounded by count and by bytes, and no lock on the way in.

Any thread, signal handler or finalizer may put; one thread takes. ``deque.append`` and ``popleft`` are
single steps of the interpreter, so the order of one thread is kept and nothing is lost between them.
"""

from collections import deque
from collections.abc import Callable
from typing import Final

#: A threshold that no queue reaches: nobody needs to be woken.
NEVER: Final = 1 << 62


def _nobody() -> None:
    """Wake nobody: no worker runs yet."""


class BoundedQueue:
    """Lines that wait for the worker.

    The bounds count what is in flight as well, since it is held in memory too. The count is exact. The
    bytes are a plain sum that two threads may spoil for a moment; each time the queue runs empty it is
    put right, so errors do not add up.

    Args:
        max_lines: 1 or more.
        max_bytes: bound of the sum of the lines' lengths.
    """

    def __init__(self, *, max_lines: int, max_bytes: int) -> None:
        self._lines: deque[bytes] = deque()
        self.max_lines = max_lines
        self.max_bytes = max_bytes
        self._bytes_in = 0
        self._bytes_taken = 0
        self._bytes_out = 0
        #: Lines taken and not yet finished; written by the taker only.
        self.in_flight = 0
        #: Set by a put that must not wait; taken back by the taker.
        self.urgent = False
        #: The length at which a put calls ``wake``; the taker lowers it before it sleeps.
        self.wake_at = NEVER
        self.wake: Callable[[], object] = _nobody

    def __len__(self) -> int:
        return len(self._lines)

    def put(self, line: bytes, urgent: bool = False) -> bool:  # noqa: FBT001, FBT002  # the hottest call of all
        """Add a line; never waits.

        Args:
            line: one JSON object, UTF-8, no line break.
            urgent: the batch that holds it leaves at once.

        Returns:
            False when the queue is full and the line was refused.
        """
        lines = self._lines
        waiting = len(lines)
        bytes_in = self._bytes_in + len(line)
        # Refuse the newest line, not the oldest: the first lines of an outage explain it.
        if waiting + self.in_flight >= self.max_lines or bytes_in - self._bytes_out > self.max_bytes:
            return False
        self._bytes_in = bytes_in
        lines.append(line)
        # Append first, then test: the taker does it the other way round, so no line is left asleep.
        if urgent:
            self.urgent = True
            if self.wake_at != NEVER:
                self.wake()
        elif len(lines) >= self.wake_at:
            self.wake()
        return True

    def take(self, *, max_lines: int, max_bytes: int, line_overhead: int = 0) -> list[bytes]:
        """Move the oldest lines into flight.

        Args:
            max_lines: take at most as many.
            max_bytes: stop before the sum of lengths passes this; one line is always taken.
            line_overhead: bytes that each line becomes longer by; they count towards ``max_bytes``.

        Returns:
            The lines, oldest first; empty when nothing waits. Each must be finished, once.
        """
        lines = self._lines
        taken: list[bytes] = []
        size = room = 0
        while len(taken) < max_lines:
            try:
                line = lines.popleft()
            except IndexError:
                break
            room += len(line) + line_overhead
            if taken and room > max_bytes:
                lines.appendleft(line)
                break
            size += len(line)
            taken.append(line)
        self.in_flight += len(taken)
        self._bytes_taken += size
        if not lines:
            self._bytes_in = self._bytes_taken
        return taken

    def finish(self, lines: list[bytes]) -> None:
        """Say that taken lines are sent or dropped: their room is free again."""
        self.in_flight -= len(lines)
        self._bytes_out += sum(map(len, lines))

    @property
    def bytes_waiting(self) -> int:
        """About how many bytes wait, those in flight left out."""
        return max(self._bytes_in - self._bytes_taken, 0)
