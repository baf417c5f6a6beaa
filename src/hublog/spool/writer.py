"""The writing end of a directory: any thread, and whatever interrupts it, adds lines to the newest segment.

One lock keeps the threads apart. It lets the thread that holds it in again, so that a signal handler or a
finalizer that logs in the middle of an append does not wait for itself; such a nested append leaves the
file of the interrupted one alone and writes a file of its own, next in order. Descriptors are read from
the segment in the very call that uses them, so that nobody uses one that was closed meanwhile.
"""

import contextlib
import errno
import itertools
import os
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from hublog.locks import ThreadLock
from hublog.settings import SyncPolicy
from hublog.spool.locking import FILE_MODE
from hublog.spool.segments import (
    HEADER,
    Segment,
    SegmentRules,
    encode,
    file_limit,
    file_name,
    sync_path,
    unlink,
)

#: Time to the next attempt after the disk refused a new segment.
RETRY_S: Final = 1.0
#: With more that wait segments last longer: an outage of three days makes a thousand, not fifty thousand.
_MANY_SEGMENTS: Final = 8
#: Not everywhere there is the cheaper one of the two.
_sync: Final[Callable[[int], None]] = getattr(os, "fdatasync", os.fsync)


class SegmentWriter:
    """Adds lines to the newest segment of a directory.

    Args:
        path: the directory.
        segments: those of the directory by number; new ones are added.
        rules: when a segment is full, and when it is forced onto the device.
        now: monotonic seconds.
        header: the first bytes of each segment.

    Attributes:
        lock: held by the thread that writes, which may take it again.
        is_writing: the thread that holds the lock is in an append; if it asks, it was interrupted in one.
        is_closed: no more lines are taken.
        appended_total: lines that were written.
        failures_total: writes, new files and syncs that the disk refused.
        error: why the last of these failed.
    """

    def __init__(
        self,
        path: Path,
        segments: dict[int, Segment],
        *,
        rules: SegmentRules,
        now: Callable[[], float],
        header: bytes = HEADER,
    ) -> None:
        self._path = path
        self._header = header
        self._segments = segments
        self._rules = rules
        self._now = now
        self._numbers = itertools.count(1)
        self._current: Segment | None = None
        self._asides: dict[int, Segment] = {}
        #: Ended segments, and the directory when it has a new name: a log call waits for no device.
        self._unsynced: deque[Path] = deque()
        self.is_writing = False
        self.is_closed = False
        self._retry_mono = now()
        self._sync_mono = now()
        self.lock = ThreadLock()
        self.appended_total = 0
        self.failures_total = 0
        self.error: OSError | None = None

    @property
    def has_unsynced(self) -> bool:
        """Whether lines wait for the next ``sync_if_due`` that is due."""
        segment = self._current
        is_timed = self._rules.sync is SyncPolicy.INTERVAL
        return is_timed and (bool(self._unsynced) or (segment is not None and segment.synced < segment.end))

    def append(self, lines: Sequence[bytes]) -> int:
        """Write lines; see ``SpoolDirectory.append``."""
        frames = [encode(line) for line in lines]
        if self.is_closed or not frames:  # before the lock: after a fork it may be held for ever
            return 0
        with self.lock:
            if self.is_writing:
                return self._append_aside(frames)
            self.is_writing = True
            try:
                if self._asides:  # a signal handler raised while they were joined
                    self._join_asides()
                return self._append(frames)
            finally:
                try:
                    # No call stands between the last look and the flag: nothing interrupts there.
                    while self._asides:
                        self._join_asides()
                finally:
                    self.is_writing = False

    def finish(self) -> None:
        """Begin a new segment with the next line; the caller holds the lock."""
        segment = self._current
        if segment is None:
            return
        self._current = None
        try:
            if segment.is_torn:
                os.ftruncate(segment.fd, segment.end)
            if segment.synced < segment.end:
                self._force(segment.path)
        except OSError as error:
            self._fail(error)
        with contextlib.suppress(OSError):
            segment.close()
        if not segment.lines:
            unlink(segment.path)
            self._segments.pop(segment.number, None)
        segment.is_final = True

    def finish_if_old(self) -> None:
        """End the segment when its time is over; the caller holds the lock."""
        segment = self._current
        if segment is not None and self._now() >= segment.old_mono:
            self.finish()

    def sync_if_due(self) -> bool:
        """Force what was written onto the device when the interval is over; see ``SpoolDirectory``."""
        if self._now() - self._sync_mono < self._rules.sync_interval_s or not self.has_unsynced:
            return False
        self._sync_mono = self._now()
        segment = self._current
        end = segment.end if segment is not None else 0
        is_forced = self._sync_ended()
        if is_forced and segment is not None and segment.synced < end:
            if not self._sync(segment.path):
                return False
            segment.synced = end  # not earlier: it may end meanwhile, and what came to it is synced again
            return self._sync_ended()
        return is_forced

    def _force(self, *paths: Path) -> None:
        """Force paths onto the device: now, or with ``interval`` in ``sync_if_due``; see the rules."""
        if self._rules.sync is SyncPolicy.INTERVAL:
            self._unsynced.extend(paths)
        elif self._rules.is_synced:
            for path in paths:
                sync_path(path)

    def _sync_ended(self) -> bool:
        """Force what has ended onto the device, the oldest first; False when that failed."""
        with contextlib.suppress(IndexError):  # none is left
            while True:
                path = self._unsynced.popleft()
                if not self._sync(path):
                    self._unsynced.appendleft(path)
                    return False
        return True

    def _sync(self, path: Path) -> bool:
        try:
            with contextlib.suppress(FileNotFoundError):  # it was settled meanwhile
                sync_path(path)
        except OSError as error:
            self._fail(error)
            return False
        return True

    def retry(self) -> None:
        """Forget that the disk refused: there is room again."""
        self._retry_mono = self._now()

    def close(self) -> None:
        """Take no more lines; the caller holds the lock."""
        self.is_closed = True
        self.finish()
        self._sync_ended()

    def abandon_after_fork(self) -> None:
        """Close what was inherited; waits for nothing."""
        self.is_closed = True
        segment, self._current = self._current, None
        if segment is not None:
            with contextlib.suppress(OSError):
                segment.close()

    def _append(self, frames: list[bytes]) -> int:
        written = 0
        while written < len(frames):
            segment = self._segment_for(len(frames[written]))
            if segment is None:
                break
            until, size = written + 1, segment.end + len(frames[written])
            while until < len(frames) and size + len(frames[until]) <= segment.limit:
                size += len(frames[until])
                until += 1
            if self._write(segment, b"".join(frames[written:until]), until - written):
                written = until
                continue
            # The file may be at a limit of its own, so that a new one is possible; a new one was not.
            is_new = segment.lines == 0
            self.finish()
            if is_new:
                self._retry_mono = self._now() + RETRY_S
                break
        return written

    def _write(self, segment: Segment, data: bytes, lines: int) -> bool:
        segment.is_torn = True  # until it is known to be whole; a signal handler may raise out of here
        try:
            _check(os.write(segment.fd, data), data)
            if self._rules.sync is SyncPolicy.BATCH:
                _sync(segment.fd)
        except OSError as error:
            self._fail(error)
            with contextlib.suppress(OSError):
                os.ftruncate(segment.fd, segment.end)
                segment.is_torn = False
            return False
        self.appended_total += lines
        segment.lines += lines
        segment.end += len(data)
        segment.is_torn = False
        if self._rules.sync is SyncPolicy.BATCH:
            segment.synced = segment.end
        return True

    def _segment_for(self, size: int) -> Segment | None:
        """Return the segment that takes a frame of this size; None when none can be had."""
        segment = self._current
        if segment is not None:
            is_full = segment.end + size > segment.limit and segment.lines > 0
            if not (is_full or segment.is_torn or self._now() >= segment.old_mono):
                return segment
            self.finish()
        if self.is_closed or self._now() < self._retry_mono:
            return None
        return self._open(size)

    def _open(self, size: int) -> Segment | None:
        most = file_limit()
        begin = len(self._header)
        if begin + size > most:
            self._fail(OSError(f"a file may not be larger than {most} bytes here"))
            return None
        waiting = len(self._segments) / _MANY_SEGMENTS
        old_mono = self._now() + self._rules.max_age_s * max(waiting, 1.0)
        limit = min(max(self._rules.max_bytes, begin + size), most)
        segment = self._make()
        if segment is None:
            self._retry_mono = self._now() + RETRY_S
            return None
        if self.is_closed:
            segment.close()  # a signal handler has forked meanwhile, and this is the child
            return None
        segment.old_mono, segment.limit = old_mono, limit
        self._segments[segment.number] = self._current = segment
        return segment

    def _make(self, frames: bytes = b"") -> Segment | None:
        """Make a file with the header and frames; None, and nothing is left of it, when the disk refuses."""
        number, begin = next(self._numbers), len(self._header)
        segment = Segment(number=number, path=self._path / file_name(number), begin=begin)
        segment.end = begin + len(frames)
        data = self._header + frames
        flags = os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_APPEND
        try:
            segment.fd = os.open(segment.path, flags, FILE_MODE)
            os.fchmod(segment.fd, FILE_MODE)  # whatever the umask took away
            _check(os.write(segment.fd, data), data)
            self._force(*[segment.path] * bool(frames), self._path)
        except BaseException as error:
            with contextlib.suppress(OSError):
                segment.close()
            if not self.is_closed:  # else a signal handler has forked, and this is the child
                unlink(segment.path)
            if not isinstance(error, OSError):
                raise
            self._fail(error)
            return None
        return segment

    def _append_aside(self, frames: list[bytes]) -> int:
        """Write a segment at one go, while the current one is not ours to touch."""
        room = file_limit() - len(self._header)
        fitting = list(itertools.takewhile(lambda end: end <= room, itertools.accumulate(map(len, frames))))
        segment = self._make(b"".join(frames[: len(fitting)])) if fitting and not self.is_closed else None
        if segment is None:
            return 0
        with contextlib.suppress(OSError):
            segment.close()
        segment.lines, segment.is_final = len(fitting), True
        self._asides[segment.number] = segment
        return len(fitting)

    def _join_asides(self) -> None:
        """Let the reader see what interrupted an append; what comes next goes behind it."""
        for number in sorted(self._asides):
            self.finish()
            segment = self._asides.pop(number)
            self.appended_total += segment.lines
            self._segments[number] = segment

    def _fail(self, error: OSError) -> None:
        self.failures_total += 1
        self.error = error


def _check(size: int, data: bytes) -> None:
    """Refuse a short write: what follows it would be torn."""
    if size != len(data):
        raise OSError(errno.ENOSPC, f"{size} of {len(data)} bytes were written")
