"""One directory of the spool: the lines of one process life, in the order in which they came.

The order on disk is the order, so what is settled is a position, never a count. Any thread may append;
what reads, settles or drops is one thread at a time.
"""

import contextlib
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Final

from hublog.locks import ThreadLock
from hublog.spool import locking
from hublog.spool.envelope import Envelope
from hublog.spool.locking import Address, Claim
from hublog.spool.segment_reader import SegmentReader
from hublog.spool.segments import Position, Segment, SegmentRules, encode_header, unlink
from hublog.spool.writer import SegmentWriter

#: Nobody keeps others out for so long, unless the disk hangs or a signal handler waits for another thread.
LOCK_WAIT_S: Final = 1.0


class SpoolDirectory(SegmentReader):
    """Lines on disk that this process owns; made by ``create`` or ``adopt``.

    ``appended_total + recovered_total == settled_total + dropped_total + damaged_total + backlog_lines``
    whenever no append is under way.

    Attributes:
        path: the directory.
        envelope: where its lines go and how they are packed; None when an older version wrote them.
    """

    def __init__(
        self,
        claim: Claim,
        *,
        rules: SegmentRules | None = None,
        now: Callable[[], float] = time.monotonic,
        envelope: Envelope | None = None,
    ) -> None:
        super().__init__()
        self.path = claim.path
        self.envelope = envelope
        self._claim = claim
        self._writer = SegmentWriter(
            claim.path, self._segments, rules=rules or SegmentRules(), now=now, header=encode_header(envelope)
        )
        self._lock = ThreadLock()
        self._is_closing = False

    @classmethod
    def create(
        cls,
        root: Path,
        *,
        rules: SegmentRules | None = None,
        now: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
        envelope: Envelope | None = None,
    ) -> "SpoolDirectory":
        """Make an empty directory for the lines of this process.

        The root exists, see ``SpoolRoot.prepare``; ``wall`` gives the name, and with it the place in the
        order of dropping.

        Raises:
            SpoolUnavailableError: it cannot be made; says why.
        """
        rules = rules or SegmentRules()
        claim = locking.create(root, wall=wall, is_synced=rules.is_synced, envelope=envelope)
        return cls(claim, rules=rules, now=now, envelope=envelope)

    @classmethod
    def adopt(cls, path: Path, address: Address | None = None) -> "SpoolDirectory | None":
        """Take over the lines of a process that is dead; nothing can be appended to them.

        Args:
            path: of the directory.
            address: of its lines, which never changes; None to read it.

        Returns:
            None when the owner lives, or another process was faster.

        Raises:
            SpoolUnavailableError: the directory cannot be read.
        """
        claim: Claim | None = None
        try:
            claim = locking.take(path)
            if claim is None:
                return None
            directory = cls(claim, envelope=(address or locking.read_address(path)).envelope)
            with directory._writer.lock:
                directory._writer.close()
            directory._take_stock(path, claim.read_cursor(), directory.envelope)
        except BaseException as error:
            if claim is not None:
                claim.release()
            if isinstance(error, OSError):
                raise locking.unavailable(path, error) from error
            raise
        return directory

    @property
    def is_open(self) -> bool:
        """Whether lines can be appended."""
        return not self._writer.is_closed

    @property
    def is_owned(self) -> bool:
        """Whether it still belongs to this process: it was not closed, removed or left to a parent."""
        return self._claim.is_held

    @property
    def appended_total(self) -> int:
        """Lines that ``append`` has written."""
        return self._writer.appended_total

    @property
    def failures_total(self) -> int:
        """Writes, new files and syncs that the disk refused."""
        return self._writer.failures_total

    @property
    def error(self) -> OSError | None:
        """Why the disk refused the last time."""
        return self._writer.error

    def append(self, lines: Sequence[bytes]) -> int:
        """Write lines behind all others.

        Any thread may call, and a signal handler or a finalizer that interrupts another call. What is
        written outlives the process; whether it outlives the machine is said by the rules.

        Args:
            lines: one JSON object each, UTF-8, without line break.

        Returns:
            How many were written: the first ones. The others are the caller's: the disk is full or
            failing (``error``), a line is larger than a file may be, or the directory is closed.

        Raises:
            ValueError: one is no line; nothing was written then.
        """
        written = self._writer.append(lines)
        if self._is_closing:
            self.close()
        return written

    def sync_if_due(self) -> bool:
        """Force what was written onto the device when the interval is over, and end an old segment.

        For the worker, with every step; writers are not held up meanwhile.

        Returns:
            Whether something was forced onto the device.
        """
        is_synced = self._writer.sync_if_due()
        with self._writing(wait_s=0.0) as is_locked:
            if is_locked:
                self._writer.finish_if_old()
        return is_synced

    def retry(self) -> None:
        """Let the next append try again at once, since room was made on a full disk."""
        self._writer.retry()

    @property
    def has_unsynced(self) -> bool:
        """Whether something is to be forced onto the device by ``sync_if_due``, now or later."""
        return self._writer.has_unsynced

    def read(self, max_bytes: int, max_lines: int) -> tuple[list[bytes], Position]:
        """Return the next lines and go on behind them; they stay on disk until they are settled.

        Args:
            max_bytes: stop before the sum of their lengths as sent passes this; one is always returned.
            max_lines: return at most as many.

        Returns:
            The lines, oldest first, empty when there are no more now; and the position to settle.
        """
        if not self.is_owned:  # before the lock: after a fork it may be held for ever
            return [], self._cursor
        with self._lock:
            return super().read(max_bytes, max_lines)

    def rewind(self) -> None:
        """Read again what is not settled; what was dropped meanwhile is lost now."""
        if self.is_owned:
            with self._lock:
                super().rewind()

    def settle(self, position: Position) -> None:
        """Say that everything before a position arrived or was given up; whole segments are unlinked.

        Args:
            position: from ``read``; one that is settled already changes nothing.
        """
        if not self.is_owned:
            return
        with self._lock:
            if position[:2] > self._cursor[:2]:
                done = self._move_cursor(position)
                self._claim.write_cursor(position.segment, position.offset)
                for segment in done:
                    self._remove(segment)

    def drop_oldest(self) -> int | None:
        """Unlink the oldest segment; when it is the one being written the next line begins another.

        What was read of it and is not settled yet stays counted until it is, or until ``rewind``.

        Returns:
            How many lines went; None when there is no segment, or it is not to be had now.
        """
        with self._alone() as is_alone:
            oldest = next((segment for segment in self._known() if not segment.is_gone), None)
            if oldest is None or not is_alone:
                return None
            try:
                oldest.path.unlink(missing_ok=True)
            except OSError:
                return None
            return self._lose(oldest)

    def reconcile(self) -> int:
        """Look for segments that others have removed: a sibling that keeps the bound, an administrator.

        When the directory itself is gone, it is closed.

        Returns:
            How many lines were lost with them.
        """
        with self._alone() as is_alone:
            if not is_alone:
                return 0
            gone = [s for s in self._known() if not s.is_gone and _is_missing(s.path)]
            lost = sum(self._lose(segment) for segment in gone)
            if _is_missing(self.path):
                self._writer.close()
            return lost

    def remove_if_empty(self) -> bool:
        """Remove the directory if everything in it is settled; it is closed then.

        Returns:
            Whether it is gone. Not while an append is under way, nor when there are files not ours in it.
        """
        with self._alone() as is_alone:
            if not is_alone or self.backlog_lines > 0:
                return _is_missing(self.path)
            self._writer.close()
            for segment in self._known():
                self._remove(segment)
            return self._claim.remove()

    def close(self) -> None:
        """Give the directory up: to nobody when all is settled, else to the process that recovers it first.

        Waits for nobody longer than a second. An append that this very call has interrupted still ends,
        and closes the directory.
        """
        with self._alone() as is_alone:
            self._is_closing = not is_alone and self.is_owned
            if is_alone and not self.remove_if_empty():
                self._writer.close()
                self._claim.release()

    def abandon_after_fork(self) -> None:
        """Close what was inherited, in the child; the directory is and stays the parent's.

        Takes no lock, since its holder may not exist in the child.
        """
        self._claim.abandon_after_fork()
        self._writer.abandon_after_fork()

    def _vanished(self, segment: Segment) -> None:
        with self._writing() as is_locked:
            if is_locked:
                self._lose(segment)

    def _lose(self, segment: Segment) -> int:
        if not segment.is_final:
            self._writer.finish()
        return super()._lose(segment)

    def _remove(self, segment: Segment) -> None:
        unlink(segment.path)
        self._segments.pop(segment.number, None)

    @contextlib.contextmanager
    def _alone(self) -> Iterator[bool]:
        """Keep readers and writers out; gives False when the directory is not ours, or that cannot be had."""
        if not self.is_owned:  # before the locks: after a fork they may be held for ever
            yield False
            return
        with self._lock, self._writing() as is_locked:
            yield is_locked and self.is_owned

    @contextlib.contextmanager
    def _writing(self, *, wait_s: float = LOCK_WAIT_S) -> Iterator[bool]:
        """Keep writers out; gives False when that cannot be had, or this thread is one, interrupted."""
        lock = self._writer.lock
        is_locked = lock.acquire(timeout=wait_s)
        try:
            yield is_locked and not self._writer.is_writing
        finally:
            if is_locked:
                lock.release()


def _is_missing(path: Path) -> bool:
    """Whether a file is not there; one that cannot be looked at may be."""
    try:
        path.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return True
    except OSError:
        return False
    return False
