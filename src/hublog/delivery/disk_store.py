"""The disk, as delivery sees it: what this process writes, what it took over, and what becomes of both.

Any thread may write through ``live`` and ``append``. Everything else is called by one thread at a time:
the holder of the shipper's lock.
"""

import logging
import math
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from hublog.delivery.accounting import Accounting, DiskCounts, Drop
from hublog.delivery.batcher import Batch
from hublog.delivery.memory_queue import NEVER, wake_no_one
from hublog.delivery.spool_access import ADOPTED_BYTES, SpoolAccess, is_full
from hublog.locks import ThreadLock
from hublog.settings import SyncPolicy
from hublog.spool.dead_letters import DeadLetters
from hublog.spool.envelope import Envelope

if TYPE_CHECKING:  # the spool needs locks and limits that not every system has
    from hublog.spool.directory import SpoolDirectory

#: Nobody waits longer for another thread that makes the directory; the line stays in memory instead.
_MAKING_WAIT_S: Final = 0.05


class LiveLog:
    """Lines that were just written to disk, in the order in which they came.

    Any thread, signal handler or finalizer may write; one thread takes.

    Args:
        make: makes a directory; None when there is none to be had now.
        urgent_level: a record of this level or above is sent at once.

    Attributes:
        directory: where the next line goes; None before the first one.
        max_lines: not bounded here.
        urgent: set by a put that must not wait; taken back by the batcher.
        urgent_level: as above; may be set anew.
        wake_at: the length at which a put calls ``wake``.
        wake: called in the thread that puts.
        written_bytes: of lines, ever.
        look_at_bytes: once as many are written the bound is due.
        wants_look: the disk needs attention: it refused a line, or the bound is due.
        is_making: whether a thread is making the directory.
    """

    max_lines: int = NEVER

    def __init__(
        self, make: Callable[[], "SpoolDirectory | None"], *, urgent_level: int = logging.ERROR
    ) -> None:
        self.directory: SpoolDirectory | None = None
        self.urgent = False
        self.urgent_level = urgent_level
        self.wake_at = NEVER
        self.wake: Callable[[], object] = wake_no_one
        self.written_bytes = 0
        self.look_at_bytes = NEVER
        self.wants_look = False
        self._make = make
        self._taken = 0
        self._making = ThreadLock()
        self.is_making = False

    def __len__(self) -> int:
        return self.directory.unread_lines if self.directory is not None else 0

    @property
    def bytes_waiting(self) -> int:
        """Bytes on disk that were not taken."""
        return self.directory.unread_bytes if self.directory is not None else 0

    def put(self, line: bytes, levelno: int = logging.INFO) -> bool:
        """Write one line; returns False when the disk does not take it."""
        return self.append((line,), is_urgent=levelno >= self.urgent_level) > 0

    def append(self, lines: Sequence[bytes], *, is_urgent: bool = False) -> int:
        """Write lines; returns the number that the disk took, the first ones."""
        directory = self.directory
        written = directory.append(lines) if directory is not None else 0
        if written < len(lines) and (directory is None or not directory.is_open):
            directory = self._new_directory(directory)
            if directory is not None:
                written += directory.append(lines[written:])
        self.written_bytes += sum(map(len, lines[:written]))
        if not self.wants_look and (written < len(lines) or self.written_bytes >= self.look_at_bytes):
            self.wants_look = True
            self.wake()
        if directory is None or not written:
            return 0
        if is_urgent:
            self.urgent = True
            if self.wake_at != NEVER:
                self.wake()
        elif self.wake_at != NEVER and directory.appended_total - self._taken >= self.wake_at:
            self.wake()
        return written

    def take(self, *, max_lines: int, max_bytes: int) -> Batch | None:
        """Return the next lines; they stay on disk until they are settled."""
        directory = self.directory
        if directory is None:
            return None
        lines, position = directory.read(max_bytes, max_lines)
        self._taken = directory.appended_total - directory.unread_lines
        return Batch(lines, directory, position) if lines else None

    def seal(self) -> "SpoolDirectory | None":
        """Write to another directory from now on; returns the one of before."""
        directory, self.directory = self.directory, None
        self._taken = 0
        return directory

    def _new_directory(self, former: "SpoolDirectory | None") -> "SpoolDirectory | None":
        """Make a directory, unless another thread is faster; a signal handler in the middle gets none."""
        if not self._making.acquire(timeout=_MAKING_WAIT_S):
            made = self.directory  # perhaps just now
            return made if made is not former else None
        try:
            if self.is_making:
                return None
            if self.directory is former or self.directory is None:
                self.is_making = True
                self._taken = 0
                self.directory = self._make()
            return self.directory
        finally:
            self.is_making = False
            self._making.release()


#: Seconds between two looks for dead processes and at the bound: their records are sent within two seconds.
LOOK_S: Final = 1.5
#: The same where nothing else has woken the worker since the last one: it takes an idle process 0.5 ms.
IDLE_LOOK_S: Final = 6.0
#: Seconds that what is to be forced onto the device waits.
SYNC_S: Final = 0.5
#: Directories that are held to be sent, and those that are taken over between two sends: each costs
#: milliseconds, and a thousand small ones must not delay a record of now.
STORED_MAX: Final = 64
_TAKEN_AT_ONCE: Final = 16
#: A disk that refuses is looked after no more often than this.
_HURRIED_S: Final = 0.1
#: A sixteenth of the bound is for records that the hub refused, at least this.
_REJECTED_SHARE: Final = 16
_REJECTED_MIN_BYTES: Final = 1 << 16


@dataclass(slots=True)
class DiskMark:
    """What must be settled for all to be settled that was on disk at some moment.

    Attributes:
        targets: directories, and the number of their lines.
        rewrites: times that lines had been written anew.
    """

    targets: "list[tuple[SpoolDirectory, int]]"
    rewrites: int


def _add_counters(totals: Counter[str], directory: "SpoolDirectory") -> None:
    totals["appended"] += directory.appended_total
    totals["recovered"] += directory.recovered_total
    totals["settled"] += directory.settled_total
    totals["dropped"] += directory.dropped_total
    totals["damaged"] += directory.damaged_total


class DiskStore:
    """Lines that wait on disk.

    Args:
        path: the root of the spool; made when it is missing.
        max_bytes: bound of all processes that share it.
        sync: when lines are forced onto the device.
        urgent_level: see ``LiveLog``.
        accounting: what is lost on disk is counted there.
        report: writes a line of the operator's log.
        now: monotonic seconds.
        wall: seconds since 1970, for names.
        envelope: where lines go and how they are packed, for all that is written; what dead processes left
            is taken over if it goes to the same destination.
        left: records that this process left on disk, by directory; all its stores share it.

    Attributes:
        live: where this process writes.
        rewrites_total: how often lines were written anew, in another place.
        moved_total: lines that were written and not new: from memory, or from another directory.
        adopts: whether to take over what dead processes left; not any more when this one is at its end.
    """

    def __init__(
        self,
        path: Path,
        *,
        max_bytes: int,
        sync: SyncPolicy,
        accounting: Accounting,
        report: Callable[[int, str], object],
        urgent_level: int = logging.ERROR,
        now: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
        envelope: Envelope | None = None,
        left: dict[Path, int] | None = None,
    ) -> None:
        self.live = LiveLog(self._new_directory, urgent_level=urgent_level)
        self.rewrites_total = self.moved_total = 0
        self.adopts = True
        self._access = SpoolAccess(
            path, max_bytes=max_bytes, sync=sync, report=report, now=now, wall=wall, envelope=envelope
        )
        self._accounting = accounting
        self._now = now
        self._stored: list[SpoolDirectory] = []
        self._gone: Counter[str] = Counter()
        #: What this process left in ``close`` and took over again.
        self._taken_back_total = 0
        self._left = left if left is not None else {}
        #: Losses that the accounting has.
        self._booked: Counter[Drop] = Counter()
        self._refusals = 0
        self._look_mono = self._sync_mono = self._hurried_mono = self._bound_mono = -math.inf
        self._look_s, self._is_idle = LOOK_S, False
        share = max(max_bytes // _REJECTED_SHARE, _REJECTED_MIN_BYTES)
        self._dead_letters = DeadLetters(self._access.path, max_bytes=share, wall=wall)

    # Writing.

    def append(self, lines: Sequence[bytes]) -> int:
        """Write lines behind all others; any thread may call.

        Returns:
            The number that the disk took, the first ones.
        """
        return self.live.append(lines)

    def append_or_drop(self, lines: Sequence[bytes]) -> int:
        """Write lines, and drop the oldest ones on disk where it is full; returns as ``append`` does."""
        written = self.live.append(lines)
        while written < len(lines) and self._makes_room(self.live.directory):
            written += self.live.append(lines[written:])
        if self.live.written_bytes >= self.live.look_at_bytes:
            self._keep_bound()
        return written

    def address(self, envelope: Envelope) -> None:
        """Write what comes from now on for this destination, in this packing."""
        if envelope != self._access.envelope:
            self._access.envelope = envelope
            self.retire()

    def rewrite(self, lines: Sequence[bytes], envelope: Envelope | None = None) -> bool:
        """Write the rest of a batch that has arrived in part once more, in the envelope that it came in."""
        if not lines:
            return True
        self.rewrites_total += 1
        if envelope in (None, self._access.envelope):
            written = self.append_or_drop(lines)
        else:
            written = self._append_to(self._new_stored(envelope), lines)
        self.moved_total += written
        if written < len(lines):
            self.count_again(written)
        return written == len(lines)

    def count_again(self, lines: int) -> None:
        """Note that lines which have arrived stay on disk, so that they will be sent once more."""
        self._gone["recovered"] += lines

    def insure(self, groups: Sequence[list[bytes]]) -> list[Batch]:
        """Write lines that are on their way, each group so that it can be settled by itself.

        Returns:
            The batches of the first groups; fewer than there are groups when the disk refuses.
        """
        batches: list[Batch] = []
        directory = self._new_stored() if groups else None
        if directory is None:
            return batches
        for lines in groups:
            written = self._append_to(directory, lines)
            read, position = directory.read(NEVER, written) if written else ([], None)
            if position is None or len(read) < len(lines):
                if position is not None:  # they stay where they were: as if they had not been written
                    directory.settle(position)
                    self.moved_total += written
                break
            self.moved_total += written
            batches.append(Batch(lines, directory, position))
        return batches

    def write_dead_letters(self, lines: Sequence[bytes], reason: str) -> bool:
        """Keep records that the hub does not take where the operator can look at them."""
        return self._access.is_usable() and self._dead_letters.add(lines, reason)

    # Reading.

    def take_stored(self, *, max_lines: int, max_bytes: int) -> Batch | None:
        """Return the next lines that wait to be sent again; they stay on disk until they are settled."""
        for directory in list(self._stored):
            lines, position = directory.read(max_bytes, max_lines)
            if lines:
                return Batch(lines, directory, position)
            self._let_go(directory)
        return None

    @property
    def stored_lines(self) -> int:
        """Lines that wait to be sent again; those that are on their way left out."""
        return sum(directory.unread_lines for directory in self._stored)

    @property
    def stored_directories(self) -> int:
        """Directories that wait to be sent again."""
        return len(self._stored)

    @property
    def on_disk_lines(self) -> int:
        """Lines that this process has on disk, those on their way and those taken over among them."""
        return sum(directory.backlog_lines for directory in self._directories())

    def retire(self) -> None:
        """Let what this process wrote be sent again, alongside new lines: these go elsewhere from now on."""
        directory = self.live.directory
        if directory is None:
            return
        # Before it is sealed: who looks from another thread must not find it in neither place.
        self._stored.append(directory)
        sealed = self.live.seal()
        if sealed is not None and sealed not in self._stored:  # another thread has made a new one just now
            self._stored.append(sealed)
        self._let_go(directory)

    def rewind(self) -> None:
        """Let everything that is not settled be taken again."""
        for directory in self._directories():
            directory.rewind()

    def settle(self, batch: Batch) -> None:
        """Say that a batch, and what was taken from its directory before it, arrived or was given up."""
        directory = batch.directory
        if directory is None or batch.position is None:
            return
        directory.settle(batch.position)
        if directory is not self.live.directory:
            self._let_go(directory)

    def mark(self) -> DiskMark:
        """Return what must be settled for all to be settled that is on disk now."""
        targets = [(each, each.appended_total + each.recovered_total) for each in self._directories()]
        return DiskMark(targets, self.rewrites_total)

    def is_past(self, mark: DiskMark) -> bool:
        """Whether all of that is settled, or lost."""
        if mark.rewrites != self.rewrites_total:  # some of it lies elsewhere now
            mark.targets, mark.rewrites = self.mark().targets, self.rewrites_total
        return all(
            each.settled_total + each.dropped_total + each.damaged_total >= target or not each.is_owned
            for each, target in mark.targets
        )

    # Upkeep.

    def maintain(self) -> None:
        """Do what is due; with every step of the worker."""
        now = self._now()
        if now >= self._sync_mono:
            self._sync_mono = now + SYNC_S
            for directory in self._directories():
                directory.sync_if_due()
        if now < self._look_due_mono:
            self._is_idle, self._look_mono = False, min(self._look_mono, now + LOOK_S)
        else:
            self._look_s = min(2 * self._look_s, IDLE_LOOK_S) if self._is_idle else LOOK_S
            self._is_idle = True
            self._look_mono, self._hurried_mono = now + self._look_s, now + _HURRIED_S
            if self.live.wants_look:
                self.live.wants_look, self._bound_mono = False, now
            if self._access.is_usable():
                self._look(now)
        self._book_losses()

    def wait_s(self) -> float:
        """Return the seconds until ``maintain`` has something to do."""
        directory = self.live.directory
        due = self._look_due_mono
        if directory is not None and directory.has_unsynced:
            due = min(due, self._sync_mono)
        return max(due - self._now(), 0.0)

    def counts(self) -> DiskCounts:
        """Return what came to disk and what is there, while others may be writing."""
        totals, losses = self._totals(), self._losses()
        recovered = totals["recovered"] - self._taken_back_total
        lost = totals["dropped"] + totals["damaged"]
        held = totals["appended"] + recovered - totals["settled"] - lost
        return DiskCounts(
            accepted_total=totals["appended"] - self.moved_total,
            recovered_total=recovered + self._access.orphans_dropped_total,
            spooled=held + losses.total() - self._booked.total(),
        )

    @property
    def backlog_bytes(self) -> int:
        """Bytes of this process on disk that are not settled."""
        return sum(directory.backlog_bytes for directory in self._directories())

    @property
    def oldest_s(self) -> float | None:
        """When the oldest of it was written, as exact as a segment is old; seconds since 1970."""
        moments = (directory.oldest_s for directory in self._directories())
        return min((moment for moment in moments if moment is not None), default=None)

    def release(self) -> None:
        """Remove the directories in which nothing waits; a line that comes just now keeps its own."""
        self.retire()
        for directory in list(self._stored):
            self._let_go(directory)

    def close(self) -> None:
        """Give all directories up: empty ones are removed, the others left to the process that recovers them.

        What is written later goes to a new one.
        """
        self.retire()
        for directory in self._stored:
            directory.close()
            _add_counters(self._gone, directory)
            if directory.backlog_lines:
                self._left[directory.path] = directory.backlog_lines
        self._stored.clear()
        self._book_losses()

    def abandon_after_fork(self) -> None:
        """Close what was inherited, in the child; waits for nothing."""
        self._access.abandon_after_fork()

    # Within.

    @property
    def _look_due_mono(self) -> float:
        return min(self._look_mono, self._hurried_mono) if self.live.wants_look else self._look_mono

    def _directories(self) -> "Iterator[SpoolDirectory]":
        yield from self._stored
        live = self.live.directory
        if live is not None:
            yield live

    def _new_stored(self, envelope: Envelope | None = None) -> "SpoolDirectory | None":
        """Return a new directory whose lines are sent alongside new ones."""
        directory = self._new_directory(envelope)
        if directory is not None:
            self._stored.append(directory)
        return directory

    def _append_to(self, directory: "SpoolDirectory | None", lines: Sequence[bytes]) -> int:
        """Write lines, and drop the oldest ones on disk where it is full; returns how many it took."""
        if directory is None:
            return 0
        written = directory.append(lines)
        while written < len(lines) and self._makes_room(directory):
            written += directory.append(lines[written:])
        return written

    def _new_directory(self, envelope: Envelope | None = None) -> "SpoolDirectory | None":
        former = self.live.directory
        directory = self._access.new_directory(envelope)
        if directory is not None and former is not None and not former.is_open:
            self.live.directory = None
            if former not in self._stored:
                self._stored.append(former)  # it was removed; its counters are still needed
        return directory

    def _let_go(self, directory: "SpoolDirectory") -> None:
        """Remove a directory where everything is settled, and keep its counters."""
        waiting = directory.backlog_lines
        if directory not in self._stored or waiting:
            return
        if not directory.remove_if_empty():
            if directory.backlog_lines:  # a log call that was under way has just written there
                return
            directory.close()  # something in it is not ours to remove
        self._stored.remove(directory)
        _add_counters(self._gone, directory)

    def _look(self, now: float) -> None:
        room = min(STORED_MAX - len(self._stored), _TAKEN_AT_ONCE) if self.adopts else 0
        taken = self._access.adopt(room) if room > 0 else []
        for directory in taken:
            self._taken_back_total += self._left.pop(directory.path, 0)
            self._stored.append(directory)
        if taken:
            self._stored.sort(key=lambda directory: directory.path.name)  # the name begins with its time
            if len(taken) == room or sum(each.backlog_bytes for each in taken) >= ADOPTED_BYTES:
                self._look_mono = self._now()  # there may be more
        if now >= self._bound_mono and (self._stored or self.live.directory is not None):
            self._bound_mono = now + LOOK_S
            self._keep_bound()
        self._see_to_refusals()
        own = [directory for directory in self._directories() if not directory.recovered_total]
        self._access.report_unreadable(sum(directory.damage_total for directory in own))

    def _see_to_refusals(self) -> None:
        live = self.live.directory
        refusals = live.failures_total if live is not None else 0
        if live is not None and refusals > self._refusals and not self._makes_room(live):
            self._access.report_refusal(live.error)
        self._refusals = refusals

    def _keep_bound(self) -> None:
        self.live.look_at_bytes = self.live.written_bytes + (self._access.segment_bytes or NEVER)
        self._access.keep_bound()
        for directory in list(self._stored):
            self._let_go(directory)

    def _makes_room(self, directory: "SpoolDirectory | None") -> bool:
        return directory is not None and is_full(directory.error) and self._access.make_room()

    def _totals(self) -> Counter[str]:
        totals = self._gone.copy()
        for directory in self._directories():  # up to 150: a sum of their counters takes eight times as long
            _add_counters(totals, directory)
        return totals

    def _losses(self) -> Counter[Drop]:
        totals = self._totals()
        dropped = totals["dropped"] + self._access.orphans_dropped_total
        return Counter({Drop.SPOOL_FULL: dropped, Drop.CORRUPTED: totals["damaged"]})

    def _book_losses(self) -> None:
        """Count what was lost on disk since the last time."""
        losses = self._losses()
        for reason, number in (losses - self._booked).items():
            self._accounting.drop(reason, count=number)
        self._booked |= losses
