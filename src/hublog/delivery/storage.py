"""Where records wait between the log call and the sender, and how they move between memory and disk."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from hublog.delivery.accounting import Drop, DropCounters
from hublog.delivery.batcher import Batch
from hublog.delivery.disk_store import DiskCounts, DiskMark, DiskStore
from hublog.delivery.memory_queue import NEVER, MemoryQueue
from hublog.settings import SpoolMode


@dataclass(slots=True)
class Mark:
    """A point in the flow of records; what came in before it moves from store to store, one after the other.

    Attributes:
        number: of the newest line in the memory queue.
        disk: what was on disk when memory held no line up to that one.
    """

    number: int
    disk: DiskMark | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class StorageCounts:
    """What came in, what is here, what was lost; see ``Stats``."""

    accepted_total: int
    recovered_total: int
    dropped: dict[Drop, int]
    queued: int
    in_flight: int
    spooled: int


#: Lines that are moved at a time; between two moves the lock is free.
_MOVED_AT_A_TIME: Final = 1_000
_ANY_BYTES: Final = 1 << 30
#: With a backlog of 64 GiB there are a thousand of them.
_DIRECTORIES_OF_A_SIZE: Final = 16


class Storage:
    """The memory queue and the disk.

    ``memory`` has no disk. ``overflow`` writes to it what memory cannot hold, or should not: lines of sends
    that failed, lines that wait while sending is paused, everything at the exit. ``always`` writes each line
    before the log call returns and reads it back from there; memory is used only where the disk refuses.

    Args:
        queue: new lines.
        spooler: the disk; None in mode ``memory``.
        mode: as above.
        drops: what is lost is counted there.

    Attributes:
        put: takes a line and its level; False when it has no room. See ``MemoryQueue.put``.
    """

    def __init__(
        self,
        queue: MemoryQueue,
        spooler: DiskStore | None,
        *,
        mode: SpoolMode,
        drops: DropCounters,
    ) -> None:
        self.queue = queue
        self.spooler = spooler
        self.drops = drops
        self.put: Callable[[bytes, int], bool] = queue.put
        if mode is SpoolMode.ALWAYS:
            self.write_always()

    def write_always(self) -> None:
        """Write each line to disk before its log call returns, from now on."""
        if self.spooler is not None:
            self.put = self.spooler.live.put

    def put_when_full(self, line: bytes, levelno: int, *, level: str, logger: str) -> bool:
        """Take a line that ``put`` has refused: to disk, or in place of a less severe one.

        Args:
            line: one JSON object.
            levelno: of its record.
            level: name of the level.
            logger: name of the logger.

        Returns:
            False when it was dropped and counted.
        """
        if self.put != self.queue.put:
            if self.queue.put(line, levelno):  # the disk refused it
                return True
        elif self.spooler is not None:
            was_making = self.spooler.live.is_making
            if self.spooler.append((line,)):
                return True
            if (was_making or self.spooler.live.is_making) and self.queue.has_room_beyond(len(line)):
                self.queue.put_beyond(line, levelno)  # the disk did not refuse it: it is just being prepared
                return True
        if self.queue.make_room(len(line), levelno):
            self.queue.put_beyond(line, levelno)
            return True
        self.drops.refuse(level, logger)
        return False

    def keep(self, lines: Sequence[bytes], *, is_first: bool = False, number: int = NEVER) -> int:
        """Put lines that were taken from memory where they may wait long: on disk, else in memory again.

        Args:
            lines: in flight of the queue.
            is_first: they were tried already, so that they are before all others that are postponed.
            number: see ``MemoryQueue.postpone``.

        Returns:
            How many are on disk now, the first ones.
        """
        written = self.spooler.append_or_drop(lines) if self.spooler is not None else 0
        if self.spooler is not None and written:
            self.queue.finish(lines[:written])
            self.spooler.moved_total += written
        rest = list(lines[written:])
        if rest and is_first:
            self.queue.postpone_first(rest)
        elif rest:
            self.queue.postpone(rest, number)
        return written

    def secure(self) -> int:
        """Write everything that waits in memory to disk; returns how many lines did not go."""
        for take in self._takes if self.spooler is not None else ():
            while batch := take(max_lines=_MOVED_AT_A_TIME, max_bytes=_ANY_BYTES):
                if self.keep(batch.lines, is_first=True) < len(batch.lines):
                    break
        return len(self.queue) + self.queue.postponed_lines

    def take_stored(self, *, max_lines: int, max_bytes: int, line_overhead: int) -> Batch | None:
        """Return lines that wait to be sent again, those in memory first; None when there are none."""
        batch = self.queue.take_postponed(
            max_lines=max_lines, max_bytes=max_bytes, line_overhead=line_overhead
        )
        if batch is not None or self.spooler is None:
            return batch
        return self.spooler.take_stored(max_lines=max_lines, max_bytes=max_bytes, line_overhead=line_overhead)

    @property
    def stored_lines(self) -> int:
        """Lines that wait to be sent again, those that are being sent left out."""
        return self.queue.postponed_lines + (self.spooler.stored_lines if self.spooler is not None else 0)

    @property
    def memory_lines(self) -> int:
        """Lines that are in memory alone: new ones, postponed ones, and those in flight."""
        return self.queue.held_lines

    @property
    def held_lines(self) -> int:
        """Lines that are here, in memory or on disk."""
        return self.queue.held_lines + (self.spooler.on_disk_lines if self.spooler is not None else 0)

    def retire(self, more_than_bytes: int) -> None:
        """Send what is on disk beside new lines, not before them, where it is more than a few events.

        Each directory holds a descriptor of the process: the more of them wait, the more is in the next one.
        """
        if self.spooler is None:
            return
        weight = max(self.spooler.stored_directories // _DIRECTORIES_OF_A_SIZE, 1)
        if self.spooler.live.bytes_waiting > more_than_bytes * weight:
            self.spooler.retire()

    def drop(self, reason: Drop) -> None:
        """Give up what waits in memory, and count it."""
        for take in self._takes:
            while batch := take(max_lines=_MOVED_AT_A_TIME, max_bytes=_ANY_BYTES):
                self.drops.add_lines(reason, batch.lines)
                self.queue.finish(batch.lines)

    def mark(self) -> Mark:
        """Return the point up to which lines have come in."""
        return Mark(self.queue.last_number)

    def is_past(self, mark: Mark, *, oldest_in_flight: int) -> bool:
        """Whether everything before a mark has arrived, or was dropped.

        Args:
            mark: from ``mark``; it moves on with what it stands for.
            oldest_in_flight: number of the oldest line that is in flight and in memory alone.
        """
        if min(self.queue.oldest_number, oldest_in_flight) <= mark.number:
            return False
        if self.spooler is None:
            return True
        if mark.disk is None:
            mark.disk = self.spooler.mark()
        return self.spooler.is_past(mark.disk)

    def counts(self) -> StorageCounts:
        """Return what came in, what is here and what was lost, at one moment."""
        disk = self.spooler.counts() if self.spooler is not None else DiskCounts(0, 0, 0)
        queue, lost = self.queue.counts(), self.drops.counts()
        queued = queue.new + queue.postponed
        entered_total = queued + queue.in_flight + queue.finished_total + lost.evicted_total
        return StorageCounts(
            accepted_total=entered_total + lost.refused_total + disk.accepted,
            recovered_total=disk.adopted,
            dropped=dict(lost.totals),
            queued=queued,
            in_flight=queue.in_flight,
            spooled=disk.spooled,
        )

    @property
    def _takes(self) -> tuple[Callable[..., Batch | None], ...]:
        return self.queue.take_postponed, self.queue.take
