"""Takes waiting lines from a source, gives batches when they are due.

That is when there are enough of them, an old one, an urgent one, or those of a full event.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Protocol

from hublog.delivery.packer import EVENT_BYTES

if TYPE_CHECKING:  # the spool needs locks and limits that not every system has
    from hublog.spool.directory import SpoolDirectory
    from hublog.spool.envelope import Envelope
    from hublog.spool.segments import Position


@dataclass(frozen=True, slots=True)
class Batch:
    """Lines that leave together.

    Attributes:
        lines: one JSON object each, UTF-8, no line break; oldest first, never empty.
        directory: where they lie on disk; None when they are held in memory.
        position: behind the last of them; settling it says that they arrived or were given up.
        number: of the oldest in the memory queue; 0 for those on disk.
    """

    lines: list[bytes]
    directory: "SpoolDirectory | None" = None
    position: "Position | None" = None
    number: int = 0

    @property
    def envelope(self) -> "Envelope | None":
        """What was said of them when they were accepted; None where that is what is set now, or not known."""
        return self.directory.envelope if self.directory is not None else None


class Source(Protocol):
    """Where new lines wait for the batcher: the memory queue, or the log on disk.

    Attributes:
        max_lines: how many may wait.
        urgent: set by a put that must not wait; taken back by the batcher.
        wake_at: the length at which a put wakes the worker.
        wake: called by that put, in its thread.
    """

    max_lines: int
    urgent: bool
    wake_at: int
    wake: Callable[[], object]

    def __len__(self) -> int:
        """Return how many lines wait, those in flight left out."""

    @property
    def bytes_waiting(self) -> int:
        """About how many bytes they have."""

    def take(self, *, max_lines: int, max_bytes: int) -> Batch | None:
        """Move the oldest lines into flight; None when nothing waits.

        Args:
            max_lines: take at most as many.
            max_bytes: stop before the sum of their lengths as packed passes this; one line is always taken.
        """


#: Batches that are only "enough", not full, leave at most this often. At 5,000 records/s it turns 50
#: small events a second into 7 full ones; a burst after silence still leaves at once.
PACE_S: Final = 0.25
#: Urgent lines leave at once, but not more often than this: where a hundredth of the records are errors, each
#: would else take a small event of its own. At 5,000 records/s it makes 2 events of 1,000 records, not 5.
URGENT_PACE_S: Final = 0.125


class Batcher:
    """Turns what waits in a source into batches.

    A batch leaves when ``batch_size`` lines wait, when the oldest has waited ``linger_s``, when an
    urgent line came, when a full event waits, or when ``flush`` was called.

    Args:
        source: where the lines wait; this object is its only taker.
        batch_size: lines that are enough, 1 or more.
        linger_s: seconds that the oldest line waits at most.
        now: monotonic seconds.

    Attributes:
        source: as above.
        event_bytes: bytes of the lines of a full event.
    """

    def __init__(self, source: Source, *, batch_size: int, linger_s: float, now: Callable[[], float]) -> None:
        self.source = source
        self._batch_size = batch_size
        self._linger_s = linger_s
        self._pace_s = min(PACE_S, linger_s)
        self._urgent_pace_s = min(URGENT_PACE_S, linger_s)
        self._is_urgent = False
        self._now = now
        self.event_bytes = EVENT_BYTES
        self._oldest_mono: float | None = None
        self._left_mono = -math.inf
        self._leaving = 0
        self._average = 700.0

    @property
    def _half(self) -> int:
        return max(self.source.max_lines // 2, 1)

    def limit_event(self, max_bytes: int) -> None:
        """Take no more than this for one event from now on (bytes of its lines, as they are packed)."""
        self.event_bytes = min(EVENT_BYTES, max(max_bytes, 1))

    def flush(self) -> None:
        """Let everything that waits now leave at once."""
        self._leaving = max(self._leaving, len(self.source))

    def wait_s(self) -> float:
        """Return the seconds until a batch may be due: 0 it is, infinity when nothing waits."""
        if self.source.urgent:
            self.source.urgent = False  # before the length is read: a line put in between sets it again
            self._is_urgent = True
        waiting = len(self.source)
        if waiting == 0:
            self._leaving = 0
            self._is_urgent = False
            self._oldest_mono = None
            return math.inf
        now = self._now()
        if self._oldest_mono is None:
            self._oldest_mono = now
        if self._leaving > 0 or self.source.bytes_waiting >= self.event_bytes:
            return 0.0
        due = self._oldest_mono + self._linger_s
        if waiting >= self._half:
            due = now  # a small queue must not fill up while its lines wait for more
        elif self._is_urgent:
            due = min(due, self._left_mono + self._urgent_pace_s)
        elif waiting >= self._batch_size:
            due = min(due, self._left_mono + self._pace_s)
        if due <= now:
            self._leaving = waiting
            self._is_urgent = False
            return 0.0
        if now < self._left_mono + self._pace_s:
            due = min(due, self._left_mono + self._pace_s)  # from then on fewer lines are enough
        return due - now

    def wake_at(self) -> int:
        """Return the queue length that should wake the worker before the wait is over."""
        waiting = len(self.source)
        # A line that has come since the last look was not part of the wait that was returned.
        if self._oldest_mono is None or not waiting:
            return 1
        if self._left_mono + self._pace_s <= self._now():
            return min(self._batch_size, self._half)
        # By what a full event still lacks: lines that wait have their own length, not the average.
        lacking = max(int((self.event_bytes - self.source.bytes_waiting) / self._average), 1)
        return min(max(self._batch_size, waiting + lacking), self._half)

    def take(self, events: int = 1, *, max_lines: int | None = None) -> list[Batch]:
        """Take the lines of up to ``events`` full events; call it when ``wait_s`` gave 0.

        Args:
            events: 1 or more.
            max_lines: no event gets more; None for no such limit.

        Returns:
            One batch for each event, oldest first.
        """
        batches: list[Batch] = []
        now, waiting = self._now(), len(self.source)
        self._average = self.source.bytes_waiting / waiting if waiting else self._average
        while len(batches) < events:
            whole = self._leaving or len(self.source)
            batch = self.source.take(max_lines=min(whole, max_lines or whole), max_bytes=self.event_bytes)
            if batch is None:
                break
            batches.append(batch)
            self._leaving = max(self._leaving - len(batch.lines), 0)
            if not self._leaving and self.source.bytes_waiting < self.event_bytes:
                break
        # What is still here came after the last look, or at it at the earliest: never later than this.
        self._oldest_mono = now if len(self.source) else None
        self._left_mono = now
        return batches
