"""Where records wait between the log call and the sender, and how they move between memory and disk."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from hublog.delivery.accounting import Drop, DropCounters
from hublog.delivery.backlog import Backlog
from hublog.delivery.batcher import Batch
from hublog.delivery.disk_store import DiskCounts, DiskMark, DiskStore
from hublog.delivery.memory_queue import MemoryQueue
from hublog.settings import SpoolMode


@dataclass(slots=True)
class Mark:
    """A point in the flow of records; what came in before it moves from store to store, one after the other.

    Attributes:
        queue: lines that had entered the memory queue.
        backlog: number of the next block when those were out of the queue; -1 before.
        disk: what was on disk when those blocks were gone.
    """

    queue: int
    backlog: int = -1
    disk: DiskMark | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class StorageCounts:
    """What came in, what is here, what was lost; see ``Stats``."""

    accepted_total: int
    recovered_total: int
    dropped: dict[Drop, int]
    queued: int
    in_flight: int
    compressed: int
    spooled: int


#: Lines that are moved at a time; between two moves the lock is free.
_MOVED_AT_A_TIME: Final = 1_000
_ANY_BYTES: Final = 1 << 30
#: With a backlog of 64 GiB there are a thousand of them.
_DIRECTORIES_OF_A_SIZE: Final = 16


class Storage:
    """The memory queue, the compressed blocks behind it, and the disk.

    ``memory`` has no disk. ``overflow`` writes to it what memory cannot hold, or should not: lines of sends
    that failed, lines that wait for a hub that is away, everything at the exit. ``always`` writes each line
    before the log call returns and reads it back from there; memory is used only where the disk refuses.

    Args:
        queue: new lines.
        backlog: behind it.
        spooler: the disk; None in mode ``memory``.
        mode: as above.
        drops: what is lost is counted there.

    Attributes:
        put: takes a line and its level; False when it has no room. See ``MemoryQueue.put``.
        moved_total: lines that went from memory to disk.
    """

    def __init__(
        self,
        queue: MemoryQueue,
        backlog: Backlog,
        spooler: DiskStore | None,
        *,
        mode: SpoolMode,
        drops: DropCounters,
    ) -> None:
        self.queue = queue
        self.backlog = backlog
        self.spooler = spooler
        self.drops = drops
        self.moved_total = 0
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
        if self.backlog.make_room(len(line), levelno):
            self.queue.put_beyond(line, levelno)
            return True
        self.drops.refuse(level, logger)
        return False

    def keep(self, lines: Sequence[bytes], *, is_first: bool = False) -> None:
        """Put lines that were taken from memory where they may wait long: on disk, else compressed.

        Args:
            lines: in flight of the queue.
            is_first: they were tried already, so what waits compressed comes after them.
        """
        written = self.spooler.append_or_drop(lines) if self.spooler is not None else 0
        if written:
            self.queue.finish(list(lines[:written]))
            self.moved_total += written
        rest = list(lines[written:])
        if rest:
            (self.backlog.add_front if is_first else self.backlog.add)(rest)

    def secure(self) -> int:
        """Write everything that waits in memory to disk; returns how many lines did not go."""
        for take in (self._from_backlog, self._from_queue) if self.spooler is not None else ():
            while lines := take():
                before = self.moved_total
                self.keep(lines, is_first=True)
                if self.moved_total - before < len(lines):
                    break
        return len(self.queue) + self.backlog.lines

    def take_stored(self, *, max_lines: int, max_bytes: int, line_overhead: int) -> Batch | None:
        """Return lines that waited compressed or on disk, the former first; None when there are none."""
        if self.backlog.lines:
            lines = self.backlog.take(max_bytes=max_bytes, max_lines=max_lines, line_overhead=line_overhead)
            if lines:
                return Batch(lines)
        if self.spooler is None:
            return None
        return self.spooler.take_stored(max_lines=max_lines, max_bytes=max_bytes, line_overhead=line_overhead)

    @property
    def stored_lines(self) -> int:
        """Lines that wait to be sent again, those that are being sent left out."""
        return self.backlog.lines + (self.spooler.stored_lines if self.spooler is not None else 0)

    @property
    def memory_lines(self) -> int:
        """Lines that are in memory alone: new ones, compressed ones, and those under way."""
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
        for take in (self._from_backlog, self._from_queue):
            while lines := take():
                self.drops.add_lines(reason, lines)
                self.queue.finish(lines)

    def mark(self) -> Mark:
        """Return the point up to which lines have come in."""
        return Mark(self.queue.entered_total)

    def is_past(self, mark: Mark, *, has_old: bool) -> bool:
        """Whether everything before a mark has arrived, or was dropped.

        Args:
            mark: from ``mark``; it is moved on with what it stands for.
            has_old: whether lines of memory are on their way that may have come before newer ones.
        """
        if self.queue.left_total < mark.queue:
            return False
        if mark.backlog < 0:  # what left the queue since then may have gone there
            mark.backlog = self.backlog.next_number
        if has_old or self.backlog.oldest_number < mark.backlog:
            return False
        if self.spooler is None:
            return True
        if mark.disk is None:
            mark.disk = self.spooler.mark()
        return self.spooler.is_past(mark.disk)

    def books(self) -> StorageCounts:
        """Return what came in, what is here and what was lost, at one moment."""
        disk = self.spooler.books() if self.spooler is not None else DiskCounts(0, 0, 0)
        with self.queue.lock:
            lost = self.drops.books()
            queue = self.queue.books()
            compressed = self.backlog.lines
        return StorageCounts(
            accepted_total=queue.entered + lost.refused_total + disk.appended - self.moved_total,
            recovered_total=disk.adopted,
            dropped=dict(lost.totals),
            queued=queue.waiting,
            in_flight=queue.in_flight,
            compressed=compressed,
            spooled=disk.spooled,
        )

    def _from_backlog(self) -> list[bytes]:
        return self.backlog.take(max_bytes=_ANY_BYTES, max_lines=_MOVED_AT_A_TIME)

    def _from_queue(self) -> list[bytes]:
        batch = self.queue.take(max_lines=_MOVED_AT_A_TIME, max_bytes=_ANY_BYTES)
        return batch.lines if batch is not None else []
