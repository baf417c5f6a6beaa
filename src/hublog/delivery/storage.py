"""Where records wait between the log call and the sender, and how they move between memory and disk."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from hublog.delivery.accounting import DiskCounts, Drop, Stats
from hublog.delivery.batcher import Batch, Batcher, Source
from hublog.delivery.disk_store import DiskMark, DiskStore
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


#: Lines that are moved at a time; between two moves the lock is free.
_MOVED_AT_A_TIME: Final = 1_000
_ANY_BYTES: Final = 1 << 30
#: With a backlog of 64 GiB there are a thousand of them.
_DIRECTORIES_OF_A_SIZE: Final = 16
#: Events that are put aside at a time.
_MOVED_EVENTS: Final = 64
#: More events in front of new ones are a backlog after a send that failed, ...
_BEHIND_EVENTS: Final = 4
#: ... else where they would take this long at the pace of the last send.
BEHIND_S: Final = 2.0


class Storage:
    """The memory queue and the disk.

    ``memory`` has no disk. ``overflow`` writes to it what memory cannot hold, or should not: lines of sends
    that failed, lines that wait while sending is paused, everything at the exit. ``always`` writes each line
    before the log call returns and reads it back from there; memory is used only where the disk refuses.

    Args:
        queue: new lines.
        spooler: the disk; None in mode ``memory``.
        mode: as above.
        batch_size: see ``Batcher``; and so on.

    Attributes:
        put: takes a line and its level; False when it has no room. See ``MemoryQueue.put``.
        accounting: that of the queue.
        sources: where new lines wait, the queue first.
        batchers: one for each source.
    """

    def __init__(
        self,
        queue: MemoryQueue,
        spooler: DiskStore | None,
        *,
        mode: SpoolMode,
        batch_size: int,
        linger_s: float,
        now: Callable[[], float],
    ) -> None:
        self.queue = queue
        self.spooler = spooler
        self.accounting = queue.accounting
        self.put: Callable[[bytes, int], bool] = queue.put
        self.sources: list[Source] = [queue] if spooler is None else [queue, spooler.live]
        self.batchers = [
            Batcher(source, batch_size=batch_size, linger_s=linger_s, now=now) for source in self.sources
        ]
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
                # The disk did not refuse it: it is just being prepared.
                self.queue.put(line, levelno, beyond=True)
                return True
        if self.queue.make_room(len(line), levelno):
            self.queue.put(line, levelno, beyond=True)
            return True
        self.accounting.refuse(level, logger)
        return False

    def keep(self, lines: Sequence[bytes], *, is_first: bool = False, number: int = NEVER) -> int:
        """Put lines that were taken from memory where they may wait long: on disk, else in memory again.

        Args:
            lines: in flight of the queue.
            is_first: they were tried already, so that they are before all others that are postponed.
            number: see ``MemoryQueue.postpone``.

        Returns:
            The number of those that are on disk now, the first ones.
        """
        written = 0
        if self.spooler is not None:
            written = self.spooler.append_or_drop(lines)
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

    def take_stored(self, *, max_lines: int, max_bytes: int) -> Batch | None:
        """Return lines that wait to be sent again, those in memory first; None when there are none."""
        batch = self.queue.take_postponed(max_lines=max_lines, max_bytes=max_bytes)
        if batch is not None or self.spooler is None:
            return batch
        return self.spooler.take_stored(max_lines=max_lines, max_bytes=max_bytes)

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
        return self.memory_lines + (self.spooler.on_disk_lines if self.spooler is not None else 0)

    def put_aside(self) -> bool:
        """Move what is due in the memory queue to disk, or behind others; returns whether anything was."""
        batcher = self.batchers[0]
        if batcher.wait_s() > 0:
            return False
        for batch in batcher.take(_MOVED_EVENTS):
            self.keep(batch.lines, number=batch.number)
        return True

    def let_new_ones_pass(self, *, bytes_per_s: float = 0.0) -> None:
        """Have a backlog sent alongside new records, not before them, where it is more than a few events.

        Args:
            bytes_per_s: pace of the last send; what is sent within ``BEHIND_S`` is no backlog.
        """
        few_bytes = _BEHIND_EVENTS * self.batchers[0].event_bytes
        if max(each.bytes_waiting for each in self.sources) <= max(few_bytes, bytes_per_s * BEHIND_S):
            return
        if self.spooler is not None:
            # Each directory holds a descriptor: the more of them wait, the more is in the next one.
            weight = max(self.spooler.stored_directories // _DIRECTORIES_OF_A_SIZE, 1)
            if self.spooler.live.bytes_waiting > few_bytes * weight:
                self.spooler.retire()
        if self.queue.bytes_waiting > few_bytes:
            self.put_aside()

    def drop(self, reason: Drop) -> None:
        """Give up what waits in memory, and count it."""
        for take in self._takes:
            while batch := take(max_lines=_MOVED_AT_A_TIME, max_bytes=_ANY_BYTES):
                self.accounting.drop_lines(reason, batch.lines)
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

    def stats(self) -> Stats:
        """Return a snapshot of what came in, what is here, and what became of the rest."""
        disk = self.spooler.counts() if self.spooler is not None else DiskCounts()
        return self.accounting.stats(self.queue.counts(), disk)

    @property
    def _takes(self) -> tuple[Callable[..., Batch | None], ...]:
        return self.queue.take_postponed, self.queue.take
