"""Writes the snapshot of this process into the directory ``status`` of the spool's root.

One file for each process, locked by it as long as it lives, and rewritten in place by one system call: so a
reader needs no process id to know who lives, and a killed process leaves its last counters. What processes
have counted that are gone is in the file ``ended``: the sums over all never fall.
"""

import contextlib
import fcntl
import os
import stat
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Final

from hublog.operations.snapshot import (
    BYTES_MAX,
    MINUTES_MAX,
    SNAPSHOT_S,
    PipelineSnapshot,
    ProcessSnapshot,
    decode,
    encode,
    summed,
)
from hublog.spool.locking import NotOursError, check_file, is_left, is_owner_name, why_unsafe_root

FOLDER: Final = "status"
ENDED: Final = "ended"
#: Seconds between two tries where the directory cannot be written, and between two looks for dead processes.
RETRY_S: Final = 30.0
#: Files of processes that are read; more are a fault.
FILES_MAX: Final = 1_000
_FLAGS: Final = os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_TRIES: Final = 3


class Publisher:
    """Writes for one process and one spool root; used by one thread at a time.

    Args:
        root: of the spool.
        now: monotonic seconds.
        wall: seconds since 1970.

    Attributes:
        snapshot: what was written last, or would have been.
        error: why it cannot be written; None while it can.
    """

    def __init__(
        self,
        root: Path,
        *,
        now: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self._root = root
        self._now = now
        self._wall = wall
        self._fd, self._pid = -1, 0
        self._next_mono = self._retry_mono = self._merge_mono = 0.0
        self.snapshot: ProcessSnapshot | None = None
        self.error: OSError | None = None

    def publish(self, make: Callable[[], ProcessSnapshot], *, at_once: bool = False) -> float:
        """Write a snapshot if it is time and something has changed.

        Args:
            make: makes the snapshot; its ``written_s`` is set here.
            at_once: whether not to wait for the time; at the exit.

        Returns:
            The seconds until what has changed since can be written.
        """
        now = self._now()
        if now < self._next_mono and not at_once:
            return self._next_mono - now
        made = make()
        if not made.pipelines:
            return float("inf")
        last = self.snapshot
        if last is not None and made == replace(last, written_s=made.written_s, minutes=made.minutes):
            return float("inf")
        self._next_mono = now + SNAPSHOT_S
        written_s = self._wall()
        minutes = _with_minute(last.minutes if last is not None else (), made, int(max(written_s, 0) // 60))
        self.snapshot = replace(made, written_s=written_s, minutes=minutes)
        if now >= self._retry_mono or at_once:
            try:
                self._write(encode(self.snapshot))
                self.error = None
            except OSError as error:
                self.error, self._retry_mono = error, now + RETRY_S
        return float("inf")

    def _write(self, data: bytes) -> None:
        if self._pid != os.getpid():
            self._close()
            self._open()
        try:
            if os.pwrite(self._fd, data, 0) == len(data):
                return
        except OSError:
            self._close()
            raise
        self._close()
        raise OSError("the disk took a part of it only")

    def _open(self) -> None:
        folder = status_folder(self._root, make=True)
        for _ in range(_TRIES):
            # No name is used twice: it says which process was added last to what has ended.
            path = folder / f"{int(self._wall() * 1_000):012x}-{os.getpid()}-{os.urandom(4).hex()}"
            self._fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | _FLAGS, 0o600)
            try:
                fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:  # a reader asks just now whether it is locked
                self._close()
                path.unlink(missing_ok=True)
            else:
                self._pid = os.getpid()
                return
        raise BlockingIOError("readers hold its lock")

    def _close(self) -> None:
        if self._fd >= 0:
            with contextlib.suppress(OSError):
                os.close(self._fd)
        self._fd, self._pid = -1, 0

    def abandon_after_fork(self) -> None:
        """Close what was inherited, so that the parent's file is not locked for as long as a child lives."""
        self._close()
        self.snapshot = None

    def merge(self) -> None:
        """Add what dead processes have counted to the file of what has ended, now and then."""
        now = self._now()
        if now >= self._merge_mono and self._pid == os.getpid():
            self._merge_mono = now + RETRY_S
            with contextlib.suppress(OSError, ValueError):
                merge_ended(self._root)


def _with_minute(
    minutes: tuple[tuple[int, ...], ...], made: ProcessSnapshot, minute: int
) -> tuple[tuple[int, ...], ...]:
    total = made.total
    latest = (minute, total.counters["accepted_total"], total.counters["sent_total"], total.dropped_total)
    # A clock that was set back: what was later than now is not.
    return (*(each for each in minutes if each[0] < minute), latest)[-MINUTES_MAX:]


def status_folder(root: Path, *, make: bool = False) -> Path:
    """Return the directory of the snapshots.

    Raises:
        OSError: it is not there or cannot be made, is a link, or belongs to another user.
    """
    folder = root / FOLDER
    if make:
        root.mkdir(0o700, parents=True, exist_ok=True)
        if reason := why_unsafe_root(root.stat()):
            raise NotOursError(f"{root} cannot be used: {reason}")
        folder.mkdir(0o700, exist_ok=True)
    status = folder.lstat()
    if not stat.S_ISDIR(status.st_mode):
        raise NotADirectoryError(f"{folder} is no directory")
    if make and (status.st_uid != os.geteuid() or status.st_mode & stat.S_IWOTH):
        raise NotOursError(f"{folder} belongs to another user, or everybody may write there")
    return folder


def read_snapshot(path: Path) -> ProcessSnapshot:
    """Read one file.

    Raises:
        OSError: it cannot be opened, or others may have written it.
        ValueError: there is no snapshot in it; says why.
    """
    fd = os.open(path, os.O_RDONLY | _FLAGS)
    try:
        check_file(path, uid=path.parent.lstat().st_uid)
        is_alive = not _try_lock(fd)
        for attempt in range(_TRIES):
            try:
                found = decode(os.pread(fd, BYTES_MAX, 0))
            except ValueError:  # it may be in the middle of a write
                if attempt + 1 == _TRIES or not is_alive:
                    raise
            else:
                return replace(found, is_alive=is_alive)
        raise AssertionError
    finally:
        os.close(fd)  # and so its lock, if we have it


def _try_lock(fd: int) -> bool:
    try:
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def snapshot_files(folder: Path) -> list[Path]:
    """Return the files of processes, oldest first."""
    names = sorted(entry.name for entry in os.scandir(folder) if entry.name != ENDED)
    return [folder / name for name in names[:FILES_MAX] if not name.startswith(".")]


def merge_ended(root: Path) -> int:
    """Add what dead processes have counted to the file of what has ended, each once; return how many.

    Those of which records wait on disk stay as they are, until another process has taken these over.
    """
    folder, merged = status_folder(root), 0
    with _ended(folder) as (fd, before):
        total, last = before, before.instance
        for path in snapshot_files(folder):
            try:
                found = read_snapshot(path)
            except FileNotFoundError:
                continue
            except (OSError, ValueError):
                continue  # readers report it
            if found.is_alive or (found.total.gauges["spooled"] and has_orphans(root)):
                continue
            if path.name != last:
                kept = (total.pipelines or (PipelineSnapshot(),))[0]
                total = replace(
                    total,
                    instance=path.name,  # which one was added last
                    pipelines=(summed([kept, found.total]).counted_only(),),
                    written_s=max(total.written_s, found.written_s),
                )
                _write_ended(fd, total)
            # A kill in between leaves the name in ``ended``, so that it is not added again.
            path.unlink(missing_ok=True)
            merged += 1
    return merged


def has_orphans(root: Path) -> bool:
    """Whether records of ended processes wait there."""
    with contextlib.suppress(OSError):
        return any(is_owner_name(entry.name) and is_left(root / entry.name) for entry in os.scandir(root))
    return False


@contextlib.contextmanager
def _ended(folder: Path) -> Iterator[tuple[int, ProcessSnapshot]]:
    """Hold the file of what has ended; yield its descriptor, and what is in it."""
    path = folder / ENDED
    fd = os.open(path, os.O_RDWR | os.O_CREAT | _FLAGS, 0o600)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)  # another process does it just now: OSError
        check_file(path, uid=os.geteuid())
        data = os.pread(fd, BYTES_MAX, 0)
        yield fd, decode(data) if data else ProcessSnapshot(pid=0)
    finally:
        os.close(fd)


def _write_ended(fd: int, snapshot: ProcessSnapshot) -> None:
    data = encode(snapshot)
    if os.pwrite(fd, data, 0) != len(data):
        raise OSError("the disk took a part of it only")
