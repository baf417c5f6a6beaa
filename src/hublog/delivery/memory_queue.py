"""The memory queue: bounded by count and by bytes, and no lock on the way in.

Any thread, signal handler or finalizer may put; one thread takes; any thread may evict a line for the sake of
one that matters more. ``deque.append`` is a single step of the interpreter, so the order of one thread is
kept and nothing is lost between them.

More is one step: CPython 3.11 to 3.14 lets another thread or a signal handler in only at a call and at a jump
back. So ``x += n`` on an attribute is whole, and so are several statements without call and loop. What an
application's thread does while it holds ``lock`` is of that kind: a signal handler that waits for the worker
can never keep it from taking.
"""

import logging
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from itertools import islice
from typing import Final, NamedTuple

from hublog.delivery.accounting import Drop, DropCounters
from hublog.delivery.batcher import Batch
from hublog.delivery.severity import MOST_SEVERE, ClassIndex

#: A threshold that no queue reaches: nobody needs to be woken.
NEVER: Final = 1 << 62
#: From this level on a line may use the reserved share, since it tells what went wrong.
RESERVED_LEVEL: Final = logging.ERROR
#: The share is a tenth.
_SHARE: Final = 10
#: With more lines to be looked at, a copy is cheaper than to reach for each in the middle of a deque.
_MANY: Final = 500
_NO_LINE: Final = object()


def _nobody() -> None:
    """Wake nobody: no worker runs yet."""


class QueueBooks(NamedTuple):
    """Counts of one moment; what entered and is nowhere else was finished, evicted or lost.

    Attributes:
        entered: lines that were ever put in.
        waiting: lines that were not taken yet.
        in_flight: lines taken and neither finished nor stowed.
        stowed: lines that wait in the backlog.
    """

    entered: int
    waiting: int
    in_flight: int
    stowed: int


class MemoryQueue:
    """Lines that wait for the worker.

    The bounds count what is held: lines that wait, lines in flight, and lines that are stowed away in the
    backlog, these with the size they have there. The counts are exact; threads that put at the same moment
    may pass a bound by a line each. The last tenth of both bounds is for ERROR and above, unless that is
    less than one line.

    Args:
        max_lines: 1 or more; may be set anew at any time, as may the next two.
        max_bytes: bound of the sum of the lines' lengths.
        urgent_level: from this level on a line must not wait.
        drops: evicted lines are counted there; None for a book of its own.

    Attributes:
        lock: whoever holds it sees all counts of one moment, and the book of drops agrees with them.
        is_changing: whether lines are being moved; who sees it under the lock has interrupted that.
        in_flight: lines taken and neither finished nor stowed; the taker's.
        stowed: lines that wait in the backlog.
        stowed_bytes: what they count with.
        line_border: how many places may be taken in here before a put is refused; the backlog moves it, too.
        byte_border: how many bytes may ever come in before a put is refused.
        urgent: set by a put that must not wait; taken back by the taker.
        wake: called by a put at the length ``wake_at``.
    """

    def __init__(
        self,
        *,
        max_lines: int,
        max_bytes: int,
        urgent_level: int = logging.ERROR,
        drops: DropCounters | None = None,
    ) -> None:
        #: None stands for a line that was evicted, so that those behind it keep their positions.
        self._lines: deque[bytes | None] = deque()
        self._index = ClassIndex()
        self._drops = drops or DropCounters()
        self.lock = threading.RLock()
        self.is_changing = False
        self.urgent_level = urgent_level
        self.urgent = False
        self.wake: Callable[[], object] = _nobody
        self._popped = self._gone = self._left = 0
        self._bytes_in = self._bytes_left = 0
        self.in_flight = self.stowed = self.stowed_bytes = 0
        self._max_lines = self._max_bytes = self._line_reserve = self._byte_reserve = 0
        # Kept up to date by whoever changes a count, so that a put has nothing to add up.
        self.line_border = self.byte_border = 0
        self._wake_border = NEVER
        self._fit(max_lines, max_bytes)

    # The way in.

    def put(self, line: bytes, levelno: int = logging.INFO, beyond: bool = False) -> bool:  # noqa: FBT001, FBT002  # the hottest call of all
        """Add a line; never waits.

        Args:
            line: one JSON object, UTF-8, no line break.
            levelno: of its record.
            beyond: see ``put_beyond``.

        Returns:
            False when the queue is full and the line was refused.

        Raises:
            TypeError: the level is no number; nothing was added.
        """
        lines = self._lines
        size = len(line)
        # Refuse the newest line, not the oldest: the first lines of an outage explain it.
        if levelno < RESERVED_LEVEL:
            if (len(lines) >= self.line_border or self._bytes_in + size > self.byte_border) and not beyond:
                return False
        elif not (beyond or self.has_room(size, levelno)):
            return False
        lines.append(line)
        self._bytes_in += size
        # Append first, then test: the taker does it the other way round, so no line is left asleep.
        if levelno >= self.urgent_level:
            self.urgent = True
            if self._wake_border < NEVER:
                self.wake()
        elif len(lines) >= self._wake_border:
            self.wake()
        return True

    def put_beyond(self, line: bytes, levelno: int) -> None:
        """Add a line without a look at the bounds; for whoever has just made room."""
        self.put(line, levelno, True)  # noqa: FBT003  # see there

    def has_room(self, size: int, levelno: int) -> bool:
        """Return whether a line of so many bytes and this level would be taken now."""
        line_border, byte_border = self.line_border, self.byte_border
        if levelno >= RESERVED_LEVEL:
            line_border, byte_border = line_border + self._line_reserve, byte_border + self._byte_reserve
        return len(self._lines) < line_border and self._bytes_in + size <= byte_border

    def has_room_beyond(self, size: int) -> bool:
        """Return whether a line may pass the bounds for a moment, for want of another place to be.

        Twice as many lines are held then, and a quarter more bytes.
        """
        return self.held_lines < 2 * self._max_lines and self.held_bytes + size <= self._max_bytes * 5 // 4

    # The way out.

    def take(self, *, max_lines: int, max_bytes: int, line_overhead: int = 0) -> Batch | None:
        """Move the oldest lines into flight.

        Args:
            max_lines: take at most as many.
            max_bytes: stop before the sum of lengths passes this; one line is always taken.
            line_overhead: bytes that each line becomes longer by; they count towards ``max_bytes``.

        Returns:
            The lines, oldest first, each to be finished or stowed, once; None when nothing waits, and for a
            signal handler that interrupted the taker.
        """
        with self.changing() as is_alone:
            taken = self._pop(*self._measure(max_lines, max_bytes, line_overhead)) if is_alone else []
        return Batch(taken) if taken else None

    def finish(self, lines: list[bytes]) -> None:
        """Say that taken lines are sent, dropped or on disk: their room is free again."""
        number, size = len(lines), sum(map(len, lines))
        self.in_flight -= number
        self.line_border += number
        self.byte_border += size
        self._left = max(self._left, self._popped - self.in_flight)

    def stow(self, lines: list[bytes], held_bytes: int) -> None:
        """Say that taken lines wait in the backlog, and what they count with there."""
        number, freed = len(lines), sum(map(len, lines)) - held_bytes
        self.in_flight -= number
        self.stowed += number
        self.stowed_bytes += held_bytes
        self.byte_border += freed
        self._left = max(self._left, self._popped - self.in_flight)

    def unstow(self, lines: list[bytes], held_bytes: int) -> None:
        """Say that lines of the backlog are in flight again, and what they counted with there."""
        number, freed = len(lines), held_bytes - sum(map(len, lines))
        self.in_flight += number
        self.stowed -= number
        self.stowed_bytes -= held_bytes
        self.byte_border += freed

    def restow(self, more_bytes: int) -> None:
        """Say that stowed lines count with so many bytes more than before; negative: fewer."""
        self.stowed_bytes += more_bytes
        self.byte_border -= more_bytes

    def lose_stowed(self, number: int, held_bytes: int) -> None:
        """Say that so many stowed lines are lost; the caller counts them as drops."""
        self.stowed -= number
        self.line_border += number
        self.restow(-held_bytes)

    @contextmanager
    def changing(self) -> Iterator[bool]:
        """Hold the lock to move lines, as the taker; yields False for whoever has interrupted that."""
        with self.lock:
            if self.is_changing:
                yield False
                return
            self.is_changing = True
            try:
                yield True
            finally:
                self.is_changing = False

    # Room for what matters more.

    def evict(self, severity_class: int) -> bool:
        """Drop the newest waiting line of a class, and count it as ``Drop.QUEUE_FULL``; any thread.

        The first call looks at all lines, 10,000 in some milliseconds; later ones look at new ones.

        Args:
            severity_class: 0 to 2; lines of the highest class are never evicted.

        Returns:
            False when there is none, and for whoever has interrupted the taker.
        """
        if severity_class >= MOST_SEVERE:
            return False
        self._index.forget(self._popped)
        self._index.look(*self._new())
        while (position := self._index.newest(severity_class)) is not None:
            if self._give_up(position):
                return True
        return False

    # Counts.

    def __len__(self) -> int:
        gone = self._gone  # the call comes last, so that both are of one moment
        return len(self._lines) - gone

    def books(self) -> QueueBooks:
        """Return the counts of one moment."""
        popped, gone, in_flight, stowed = self._popped, self._gone, self.in_flight, self.stowed
        there = len(self._lines)
        return QueueBooks(popped + there, there - gone, in_flight, stowed)

    @property
    def entered_total(self) -> int:
        """Lines that were ever put in."""
        return self._popped + len(self._lines)

    @property
    def left_total(self) -> int:
        """Lines that have entered and neither wait nor are in flight, for the first time; never goes back.

        For the taker. A line that is in flight again hides another until it is settled.
        """
        with self.changing() as is_alone:
            if is_alone:
                self._pop(*self._measure(0, 0, 0))  # places of evicted lines, before the first that waits
            self._left = max(self._left, self._popped - self.in_flight)
            return self._left

    @property
    def held_lines(self) -> int:
        """Lines that wait, are in flight or are stowed."""
        return sum(self.books()[1:])

    @property
    def held_bytes(self) -> int:
        """About what they count with."""
        return self._bytes_in - self.byte_border + self._max_bytes - self._byte_reserve

    @property
    def bytes_waiting(self) -> int:
        """About how many bytes wait, those in flight left out."""
        return max(self._bytes_in - self._bytes_left, 0)

    @property
    def max_lines(self) -> int:
        """How many lines may be held."""
        return self._max_lines

    @max_lines.setter
    def max_lines(self, max_lines: int) -> None:
        self._fit(max_lines, self._max_bytes)

    @property
    def max_bytes(self) -> int:
        """How many bytes may be held."""
        return self._max_bytes

    @max_bytes.setter
    def max_bytes(self, max_bytes: int) -> None:
        self._fit(self._max_lines, max_bytes)

    @property
    def wake_at(self) -> int:
        """The length at which a put calls ``wake``; the taker lowers it before it sleeps."""
        return self._wake_border - self._gone

    @wake_at.setter
    def wake_at(self, length: int) -> None:
        self._wake_border = length + self._gone

    def _fit(self, max_lines: int, max_bytes: int) -> None:
        line_reserve = max_lines // _SHARE
        byte_reserve = max_bytes // _SHARE if line_reserve else 0
        more_lines = max_lines - line_reserve - self._max_lines + self._line_reserve
        more_bytes = max_bytes - byte_reserve - self._max_bytes + self._byte_reserve
        self._max_lines, self._line_reserve = max_lines, line_reserve
        self._max_bytes, self._byte_reserve = max_bytes, byte_reserve
        self.line_border += more_lines
        self.byte_border += more_bytes

    def _measure(self, max_lines: int, max_bytes: int, line_overhead: int) -> tuple[int, int]:
        """Return how many places to pop, and how many lines are in them."""
        lines = self._lines
        there = len(lines)
        number = taken = room = 0
        while number < there:
            line = lines[number]
            if line is not None:
                room += len(line) + line_overhead
                if taken >= max_lines or (taken and room > max_bytes):
                    break
                taken += 1
            number += 1
        return number, taken

    def _pop(self, number: int, taken: int) -> list[bytes]:
        lines = self._lines
        gone = number - taken
        found: list[bytes | None] = []
        steps = islice(iter(lines.popleft, _NO_LINE), number)
        # No call from here to the last of these, see the top: the counts and the lines change in one step.
        self.in_flight += taken
        self._popped += number
        self._gone -= gone
        self.line_border -= number
        self._wake_border -= gone
        found += steps
        got = [line for line in found if line is not None]
        size = sum(map(len, got))
        self._bytes_left += size
        if not lines:
            self._bytes_in = self._bytes_left  # a put that an exception ended may have spoilt it
        return got

    def _new(self) -> tuple[int, Iterable[bytes | None]]:
        """Return the lines that were not looked at, and the position of the first; some may be gone."""
        first, end = max(self._index.next_position, self._popped), self.entered_total
        if end - first <= _MANY:
            return first, map(self._line_at, range(first, end))
        popped, lines = self._popped, self._lines.copy()
        first = max(first, popped)
        return first, islice(lines, first - popped, None)

    def _line_at(self, position: int) -> bytes | None:
        return self._lines[position - self._popped] if position >= self._popped else None

    def _give_up(self, position: int) -> bool:
        """Put None in the place of a line, unless it was taken meanwhile."""
        line = self._line_at(position)
        if line is None:
            return False
        size, entries = len(line), (self._drops.entry(Drop.QUEUE_FULL, line),)
        lines, journal = self._lines, self._drops.journal
        with self.lock:  # no call inside, see the top
            index = position - self._popped
            if self.is_changing or index < 0:
                return False
            lines[index] = None
            self._gone += 1
            self.line_border += 1
            self._wake_border += 1
            self._bytes_left += size
            self.byte_border += size
            journal += entries
        self._drops.tidy()
        return True
