"""The memory queue: takes lines from any thread, gives them to one; bounded by lines and by bytes.

Takes a line and its level (``put``), gives batches in the order of arrival (``take``). A put never waits:
each class of severity has a ``deque``, whose appends and pops are thread-safe single steps, also in a signal
handler. Where there is no room, ``make_room`` drops the newest line of a lower class and counts it.
"""

import contextlib
import itertools
import logging
from bisect import bisect_right
from collections import deque
from collections.abc import Callable, Sequence
from typing import Final

from hublog.delivery.accounting import Accounting, QueueCounts
from hublog.delivery.batcher import Batch
from hublog.line import SENT_AT_BYTES, level_number

#: Levels at which the next class of severity begins: class 0 is below INFO, the last one ERROR and above.
_BORDERS: Final = (logging.INFO, logging.WARNING, logging.ERROR)
CLASSES: Final = len(_BORDERS) + 1
#: Never dropped for the sake of others.
MOST_SEVERE: Final = CLASSES - 1
#: Of a line without a level number: neither the first to go nor the last.
UNKNOWN: Final = 1
#: A number that no queue reaches.
NEVER: Final = 1 << 62
#: From this level on a line may use the reserved share, a tenth: errors explain what went wrong.
RESERVED_LEVEL: Final = logging.ERROR
_SHARE: Final = 10
#: From this part of its bound on the queue is nearly full.
_HIGH: Final = 0.75
#: A line makes room for itself by at most this number of evictions; the next line goes on from there.
_EVICTIONS_MAX: Final = 1_000
#: Takes between two recounts where that costs something, and lines that cost nothing.
_RECOUNT_EACH: Final = 32
_FEW: Final = 64


def class_of(levelno: float) -> int:
    """Return the class of a level number."""
    return bisect_right(_BORDERS, levelno)


def class_of_line(line: bytes) -> int:
    """Return the class of a line's record; ``UNKNOWN`` for a line without a level number. Never raises."""
    levelno = level_number(line)
    return UNKNOWN if levelno is None else class_of(levelno)


#: The usual levels; others are looked up by ``class_of``.
_CLASS_OF: Final = {level: class_of(level) for level in range(10, 60, 10)}


def wake_no_one() -> None:
    """Do nothing: no worker runs yet."""


class _Lines:
    """Lines in the order of their numbers: a deque of (number, line) for each class of severity."""

    __slots__ = ("by_class",)

    def __init__(self) -> None:
        self.by_class: tuple[deque[tuple[int, bytes]], ...] = tuple(deque() for _ in range(CLASSES))

    def __len__(self) -> int:
        return sum(map(len, self.by_class))

    def heads(self) -> list[tuple[int, int]]:
        """Return the number of each class's oldest line and the class, negative, the oldest first."""
        while True:
            with contextlib.suppress(IndexError):  # it was evicted just now
                return sorted((lines[0][0], -each) for each, lines in enumerate(self.by_class) if lines)

    def count_bytes(self) -> int:
        """Return the bytes of all lines."""
        return sum(len(line) for of_class in self.by_class for _, line in of_class.copy())


class MemoryQueue:
    """Lines that wait for the worker: new ones, and those that were postponed since they could not be sent.

    The bounds count all lines that are held: new, postponed and in flight. The last tenth of both is for
    ERROR and above, unless that is less than one line. What the bounds are compared with is added up without
    a lock: threads that put at the same moment may exceed a bound by a line each, and an addition that is
    lost between them is made good by the next ``take``.

    Args:
        max_lines: 1 or more.
        max_bytes: bound of the sum of the lines' lengths.
        urgent_level: from this level on a line must not wait.
        accounting: counts evicted lines.

    Attributes:
        accounting: as above.
        urgent: set by a put that must not wait; reset by the taker.
        wake: called by a put that makes ``wake_at`` new lines, in its thread.
    """

    def __init__(
        self,
        *,
        max_lines: int,
        max_bytes: int,
        urgent_level: int = logging.ERROR,
        accounting: Accounting | None = None,
    ) -> None:
        self.accounting = accounting or Accounting()
        self.urgent_level = urgent_level
        self.urgent = False
        self.wake: Callable[[], object] = wake_no_one
        self._wake_border = NEVER
        self._new, self._postponed = _Lines(), _Lines()
        self._new_by_class = self._new.by_class
        self._next_number = itertools.count(1).__next__
        self._last_number = self._front_number = 0
        self._in_flight = self._in_flight_bytes = self._finished_total = self._takes = 0
        # Added up without a lock and made good by ``_recount``: lines no longer held, bytes of new lines, and
        # bytes of postponed lines and those in flight.
        self._left_lines = self._new_bytes = self._other_bytes = 0
        self.max_lines, self.max_bytes = max_lines, max_bytes
        self._line_limit = max_lines - max_lines // _SHARE
        self._byte_limit = max_bytes - (max_bytes // _SHARE if max_lines >= _SHARE else 0)

    # Any thread.

    def put(self, line: bytes, levelno: int = logging.INFO, beyond: bool = False) -> bool:  # noqa: FBT001, FBT002  # the hottest call of all
        """Add a line; never waits.

        Args:
            line: one JSON object, UTF-8, no line break.
            levelno: of its record.
            beyond: without regard to the bounds; for a caller that has just made room.

        Returns:
            False when the queue is full and the line was refused.

        Raises:
            TypeError: the level is no number; nothing was added.
        """
        try:
            severity = _CLASS_OF[levelno]
        except KeyError:
            severity = class_of(levelno)
        size = len(line)
        # Refuse the newest line, not the oldest: the first lines of an outage explain it.
        if (
            self._last_number - self._left_lines >= self._line_limit
            or self._new_bytes + self._other_bytes + size > self._byte_limit
        ) and not (beyond or (severity == MOST_SEVERE and self.has_room(size, levelno))):
            return False
        self._last_number = number = self._next_number()
        self._new_by_class[severity].append((number, line))
        self._new_bytes += size
        # Append first, then compare: the taker does it the other way round, so no line is left asleep.
        if levelno >= self.urgent_level:
            self.urgent = True
            if self._wake_border < NEVER:
                self.wake()
        elif number >= self._wake_border:
            self.wake()
        return True

    def has_room(self, size: int, levelno: int) -> bool:
        """Return whether a line of this number of bytes and this level would be taken now."""
        is_severe = levelno >= RESERVED_LEVEL
        line_limit = self.max_lines if is_severe else self._line_limit
        byte_limit = self.max_bytes if is_severe else self._byte_limit
        return self._last_number - self._left_lines < line_limit and self.held_bytes + size <= byte_limit

    def has_room_beyond(self, size: int) -> bool:
        """Return whether a line may exceed the bounds for a moment: twice the lines, 5/4 of the bytes."""
        return self.held_lines < 2 * self.max_lines and self.held_bytes + size <= self.max_bytes * 5 // 4

    def make_room(self, size: int, levelno: int) -> bool:
        """Evict lines of lower classes until this line has room; False when none of them is left."""
        for _ in range(_EVICTIONS_MAX if size <= self.max_bytes else 0):
            if self.has_room(size, levelno):
                return True
            if not any(map(self.evict, range(class_of(levelno)))):
                return False
        return False

    def evict(self, severity: int) -> bool:
        """Drop the newest line of a class, a new one first, and count it; False when there is none."""
        for lines in (self._new, self._postponed) if severity < MOST_SEVERE else ():
            with contextlib.suppress(IndexError):
                _, line = lines.by_class[severity].pop()
                self.accounting.evict(line)
                self._left_lines += 1
                size = len(line)
                if lines is self._new:
                    self._new_bytes -= size
                else:
                    self._other_bytes -= size
                return True
        return False

    # The taker.

    def take(self, *, max_lines: int, max_bytes: int) -> Batch | None:
        """Move the oldest new lines into flight, each to be finished or postponed once; see ``Source``."""
        batch = self._take_from(self._new, max_lines, max_bytes)
        self._takes += 1
        if len(self._new) <= _FEW or self._takes % _RECOUNT_EACH == 0:
            self._recount()
        return batch

    def take_postponed(self, *, max_lines: int, max_bytes: int) -> Batch | None:
        """Move the oldest postponed lines into flight; see ``take``."""
        return self._take_from(self._postponed, max_lines, max_bytes)

    def finish(self, lines: Sequence[bytes]) -> None:
        """Free the room of taken lines: they are sent, dropped or on disk."""
        size = self._land(lines)
        self._finished_total += len(lines)
        self._left_lines += len(lines)
        self._other_bytes -= size

    def postpone(self, lines: Sequence[bytes], number: int = NEVER) -> None:
        """Let taken lines wait to be sent again, behind others.

        Args:
            lines: oldest first.
            number: of the oldest; none is given to lines that were tried already.
        """
        number = min(number, self._last_number)
        for line in lines:
            of_class = self._postponed.by_class[class_of_line(line)]
            behind = number
            with contextlib.suppress(IndexError):
                behind = max(number, of_class[-1][0])
            of_class.append((behind, line))
        self._land(lines)

    def postpone_first(self, lines: Sequence[bytes]) -> None:
        """Let taken lines, which were tried already, wait to be sent again, before all others."""
        self._front_number -= 1
        for line in reversed(lines):
            self._postponed.by_class[class_of_line(line)].appendleft((self._front_number, line))
        self._land(lines)

    # Gauges.

    def __len__(self) -> int:
        return len(self._new)

    def counts(self) -> QueueCounts:
        """Return the gauges of this moment; exact for the taker."""
        return QueueCounts(len(self._new), len(self._postponed), self._in_flight, self._finished_total)

    @property
    def last_number(self) -> int:
        """Number of the newest line: a mark; see ``oldest_number``."""
        return self._last_number

    @property
    def oldest_number(self) -> int:
        """Number of the oldest line that waits; ``NEVER`` when none does."""
        return min(self._new.heads() + self._postponed.heads(), default=(NEVER, 0))[0]

    @property
    def oldest_line(self) -> bytes | None:
        """The oldest line that waits; None when none does."""
        with contextlib.suppress(IndexError):  # it was taken or evicted just now
            both = (self._new, self._postponed)
            heads = [lines[0] for each in both for lines in each.by_class if lines]
            return min(heads)[1] if heads else None
        return None

    @property
    def high_lines(self) -> int:
        """Number of new lines from which on the queue is nearly full."""
        return max(int(self.max_lines * _HIGH), 1)

    @property
    def is_high(self) -> bool:
        """Whether this number wait."""
        return len(self) >= self.high_lines

    @property
    def held_lines(self) -> int:
        """Lines that are new, postponed or in flight."""
        return len(self._new) + len(self._postponed) + self._in_flight

    @property
    def held_bytes(self) -> int:
        """The bytes of these."""
        return self._new_bytes + self._other_bytes

    @property
    def postponed_lines(self) -> int:
        """Lines that wait to be sent again."""
        return len(self._postponed)

    @property
    def bytes_waiting(self) -> int:
        """The bytes of new lines."""
        return max(self._new_bytes, 0)

    @property
    def wake_at(self) -> int:
        """Number of new lines at which a put calls ``wake``; the taker lowers it before it sleeps."""
        return self._wake_border + len(self._new) - self._last_number

    @wake_at.setter
    def wake_at(self, length: int) -> None:
        self._wake_border = NEVER if length >= NEVER else self._last_number - len(self._new) + length

    def _take_from(self, lines: _Lines, max_lines: int, max_bytes: int) -> Batch | None:
        taken: list[bytes] = []
        first, room = NEVER, max_bytes
        try:
            while room >= 0 and len(taken) < max_lines and (heads := lines.heads()):
                (oldest, severity), limit = heads[0], heads[1][0] if len(heads) > 1 else NEVER
                first, of_class = min(first, oldest), lines.by_class[-severity]
                # Up to the oldest line of another class with no call of ours, 0.06 us a line.
                with contextlib.suppress(IndexError):  # the last ones were evicted meanwhile
                    for entry in itertools.islice(iter(of_class.popleft, None), max_lines - len(taken)):
                        number, line = entry
                        if number > limit:
                            of_class.appendleft(entry)
                            break
                        room -= len(line) + SENT_AT_BYTES
                        if room < 0 and taken:
                            of_class.appendleft(entry)
                            break
                        taken.append(line)
        finally:
            count, size = len(taken), sum(map(len, taken))
            self._in_flight += count  # no call in between: an interruption that takes, too, would be lost
            self._in_flight_bytes += size
            if lines is self._new:
                self._new_bytes -= size
                self._other_bytes += size
        return Batch(taken, number=first) if taken else None

    def _land(self, lines: Sequence[bytes]) -> int:
        """Count lines as no longer in flight; returns their bytes."""
        size = sum(map(len, lines))
        self._in_flight -= len(lines)
        self._in_flight_bytes -= size
        return size

    def _recount(self) -> None:
        """Make good what was lost where threads added up at the same moment, or an exception ended one."""
        self._new_bytes = self._new.count_bytes()
        self._other_bytes = self._postponed.count_bytes() + self._in_flight_bytes
        held = self.held_lines
        self._left_lines = self._last_number - held
