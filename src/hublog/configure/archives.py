"""The archives of a log file: ``<name>.1`` is the newest; compressed once no process writes to it."""

import contextlib
import errno
import os
import re
import stat
import time
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from hublog.process_hooks import process_hooks

try:
    import fcntl
except ImportError:  # Windows: nothing is archived there, see ``NoLocksError``
    fcntl = None  # type: ignore[assignment]

_CHUNK_BYTES: Final = 1 << 18
#: Compression level of zlib: 9 takes three times as long and saves 2 %.
_LEVEL: Final = 6
_GZIP_WBITS: Final = 31
#: An archive that a process has open is compressed all the same after this time without a write: that
#: process checks for a newer file before it writes, so it loses a line only if it is suspended for this
#: long between check and write. Reason: the parent process of a server never logs again.
QUIET_S: Final = 60.0
#: The compressing thread waits for other processes up to 5 s; no log call waits for it.
_THREAD_TRIES: Final = 500
_THREAD_PAUSE_S: Final = 0.01
#: Errors of ``flock`` while another process holds the lock; all others mean that there are no locks.
_HELD: Final = frozenset({errno.EWOULDBLOCK, errno.EAGAIN, errno.EACCES, errno.EINTR})
#: Errors of ``open`` if something else is in place of a file.
NO_FILE: Final = frozenset({errno.ELOOP, errno.EMLINK, errno.ENXIO, errno.EISDIR, errno.EINVAL})
_FLAGS: Final = ("O_NOFOLLOW", "O_BINARY", "O_CLOEXEC", "O_NONBLOCK", "O_NOCTTY")
_COMMON: Final = sum(getattr(os, flag, 0) for flag in _FLAGS)
_KINDS: Final = {
    stat.S_IFLNK: "a symbolic link",
    stat.S_IFIFO: "a named pipe (FIFO)",
    stat.S_IFDIR: "a directory",
    stat.S_IFSOCK: "a socket",
    stat.S_IFBLK: "a block device",
}

#: Content of the lock file while a process archives; empty if another program holds the lock.
_MARK: Final = b"archiving\n"
#: Descriptors that hold a lock; a forked child closes its copies, else the lock would live as long as it.
_locked: Final[set[int]] = set()


class NoLocksError(OSError):
    """The file system has no file locks."""


def open_safely(path: str, flags: int, mode: int = 0o600) -> int:
    """Open a file without following links or blocking, and return the descriptor.

    Raises:
        OSError: it cannot be opened, or it is not a file; ``strerror`` says what it is.
    """
    try:
        descriptor = os.open(path, flags | _COMMON, mode)
    except OSError as error:
        kind = kind_of(path)
        if kind and error.errno in NO_FILE | {errno.EACCES}:
            raise OSError(errno.EINVAL, f"{os.path.basename(path)} is {kind}, not a file") from None  # noqa: PTH119  # as below, no Path on the way of a record
        raise
    if kind := _KINDS.get(stat.S_IFMT(os.fstat(descriptor).st_mode), ""):
        os.close(descriptor)
        raise OSError(errno.EINVAL, f"{os.path.basename(path)} is {kind}, not a file")  # noqa: PTH119
    return descriptor


def kind_of(path: str) -> str:
    """Return what is at a path in words; empty for a file, a character device or nothing."""
    with contextlib.suppress(OSError):
        return _KINDS.get(stat.S_IFMT(os.lstat(path).st_mode), "")
    return ""


def give_owner(descriptor: int, like: os.stat_result) -> None:
    """Give a new file the owner, group and mode of another, as far as the process may."""
    for uid, gid in ((like.st_uid, -1), (-1, like.st_gid)):
        with contextlib.suppress(OSError, AttributeError):  # only root may give files to others
            os.fchown(descriptor, uid, gid)
    with contextlib.suppress(OSError, AttributeError):
        os.fchmod(descriptor, stat.S_IMODE(like.st_mode) & 0o666)


def same_file(one: os.stat_result, other: os.stat_result) -> bool:
    """Whether two are one file."""
    return (one.st_ino, one.st_dev) == (other.st_ino, other.st_dev)


def try_lock(descriptor: int, *, shared: bool = False) -> bool:
    """Try to lock an open file without blocking; the system releases the lock with the process.

    Returns:
        Whether it was taken; False if another process holds it.

    Raises:
        NoLocksError: the file system has none.
    """
    if fcntl is None:
        raise NoLocksError(errno.ENOLCK, "this system has no file locks")
    try:
        fcntl.flock(descriptor, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in _HELD:
            return False
        raise NoLocksError(error.errno, "its file system has no file locks") from None
    return True


@contextlib.contextmanager
def locked(
    path: str, like: os.stat_result | None, *, tries: int = 1, pause_s: float = 0.004
) -> Iterator[bool]:
    """Hold the exclusive lock of a lock file in the context; yields whether it was taken.

    A missing lock file is created, with the owner and mode of ``like``.

    Raises:
        OSError: it cannot be opened, or the file system has no locks (``NoLocksError``).
    """
    descriptor = _open_lock(path, like)
    _locked.add(descriptor)
    is_taken = False
    try:
        for left in reversed(range(tries)):
            is_taken = try_lock(descriptor)
            if is_taken or not left:
                break
            time.sleep(pause_s)
        if is_taken:
            with contextlib.suppress(OSError):
                os.write(descriptor, _MARK)
        yield is_taken
    finally:
        _locked.discard(descriptor)
        if is_taken:
            with contextlib.suppress(OSError):
                os.ftruncate(descriptor, 0)
            with contextlib.suppress(OSError):
                # Closing alone is not enough: a child that was just forked has the same open file.
                fcntl.flock(descriptor, fcntl.LOCK_UN)
        os.close(descriptor)


def _open_lock(path: str, like: os.stat_result | None) -> int:
    try:
        return open_safely(path, os.O_RDWR)
    except FileNotFoundError:
        pass
    except PermissionError:
        return open_safely(path, os.O_RDONLY)  # enough for a lock
    try:
        descriptor = open_safely(path, os.O_RDWR | os.O_CREAT | os.O_EXCL)
    except FileExistsError:
        return open_safely(path, os.O_RDWR)
    if like is not None:
        give_owner(descriptor, like)
    return descriptor


def is_foreign(path: str) -> bool:
    """Whether a locked lock file is held by a process that does not archive."""
    try:
        return os.lstat(path).st_size == 0
    except OSError:
        return False


def holder_of(path: str) -> str:
    """Return who holds the lock of a file, in words, from ``/proc/locks`` if available."""
    try:
        inode = os.stat(path).st_ino  # noqa: PTH116
        with open("/proc/locks", encoding="ascii", errors="replace") as lines:  # noqa: PTH123
            for line in lines:
                # 1: FLOCK  ADVISORY  WRITE 4711 fe:00:12345 0 EOF
                _, kind, _, _, process, place, *_ = line.split()
                if kind == "FLOCK" and place.endswith(f":{inode}") and int(process) > 0:
                    return f"process {process}"
    except (OSError, ValueError):
        pass
    return "another process"


@dataclass(frozen=True, slots=True)
class Archive:
    """One archive.

    Attributes:
        number: 1 is the newest; a leftover of concurrent-log-handler has 0 until it is renumbered.
    """

    path: str
    number: int
    is_compressed: bool


class Archives:
    """All archives of one log file. Files are renamed only under the lock of ``lock_path``.

    Args:
        lock_path: of its lock file; the names of temporary files begin like it.
        count: archives kept; 1 or more.
    """

    def __init__(self, path: str, lock_path: str, *, count: int) -> None:
        self._path = path
        self._folder, name = os.path.split(path)
        self._lock_path = lock_path
        self._count = count
        self._numbered = re.compile(re.escape(name) + r"\.([1-9]\d{0,8})(\.gz)?")
        #: What concurrent-log-handler left when its process was killed.
        self._leftover = re.compile(re.escape(name) + r"\.rotate\.\d+(\.gz)?")
        stem = lock_path.removesuffix(".lock")
        self._new_path, self._gzip_path = f"{stem}.new", f"{stem}.gz"

    def rotate(self, own: os.stat_result) -> None:
        """Make the log file the newest archive, and an empty file like it the log file; under the lock.

        There is a log file at any moment: another process would create it, perhaps for another user.
        """
        self._make_room(own)
        first = f"{self._path}.1"
        _unlink(self._new_path)  # by a process that was killed here
        _create_empty(self._new_path, own)
        try:
            os.link(self._path, first, follow_symlinks=False)
        except FileExistsError:
            raise
        except (OSError, NotImplementedError):  # no hard links here, or not for this user
            os.rename(self._path, first)  # noqa: PTH104
            _unlink(self._new_path)
            with contextlib.suppress(FileExistsError):  # another process was faster
                _create_empty(self._path, own)
        else:
            os.rename(self._new_path, self._path)  # noqa: PTH104

    def _make_room(self, own: os.stat_result) -> None:
        """Renumber the archives, and remove those beyond the number that is kept."""
        archives = self._list()
        for plain, packed in [(one, two) for one in archives for two in archives if _is_pair(one, two)]:
            # A process was killed after compression, before it removed the original.
            if _is_same_content(plain.path, packed.path):
                _unlink(plain.path)
                archives.remove(plain)
        moves: list[tuple[Archive, int]] = []
        free = 2
        for archive in archives:
            if archive.number == 1 and _is(archive.path, own):  # a process was killed between link and rename
                _unlink(archive.path)
                continue
            number = max(archive.number, free)
            free = number + 1
            moves.append((archive, number))
        for archive, number in reversed(moves):
            if number > self._count:
                _unlink(archive.path)
            elif number != archive.number:
                suffix = ".gz" if archive.is_compressed else ""
                os.rename(archive.path, f"{self._path}.{number}{suffix}")  # noqa: PTH104

    def _list(self) -> list[Archive]:
        """Return the archives, the newest first."""
        archives: list[Archive] = []
        leftovers: list[tuple[int, Archive]] = []
        names = set()
        with os.scandir(self._folder or ".") as entries:
            for entry in entries:
                names.add(entry.path)
                if match := self._numbered.fullmatch(entry.name):
                    if int(match[1]) <= self._count:
                        archives.append(Archive(entry.path, int(match[1]), bool(match[2])))
                elif match := self._leftover.fullmatch(entry.name):
                    time_ns = entry.stat(follow_symlinks=False).st_mtime_ns
                    leftovers.append((time_ns, Archive(entry.path, 0, bool(match[1]))))
        archives.sort(key=lambda archive: (archive.number, archive.is_compressed))
        for _, archive in sorted(leftovers, key=lambda item: item[0], reverse=True):
            if archive.is_compressed and archive.path.removesuffix(".gz") in names:
                _unlink(archive.path)  # unfinished
            else:
                archives.append(archive)
        return archives

    def has_plain(self) -> bool:
        """Whether anything is still to be compressed or removed."""
        try:
            return os.path.lexists(self._gzip_path) or any(
                not archive.is_compressed for archive in self._list()
            )
        except OSError:
            return False

    def compress(self) -> None:
        """Compress the archives that no process writes to any more; it may wait for other processes.

        Raises:
            OSError: the disk is full, for example; the archive stays as it is.
        """
        tried: set[int] = set()
        # Listed again each time, since other processes renumber them meanwhile.
        while archive := self._next(tried):
            self._compress_one(archive.path)
        self._clear_up()

    def _next(self, tried: set[int]) -> Archive | None:
        """Return the oldest archive that is not compressed and was not tried."""
        for archive in reversed(self._list()):
            if archive.is_compressed or not archive.number:
                continue
            with contextlib.suppress(FileNotFoundError):
                inode = os.lstat(archive.path).st_ino
                if inode not in tried:
                    tried.add(inode)
                    return archive
        return None

    def _compress_one(self, path: str) -> None:
        with contextlib.ExitStack() as stack:
            source = _opened(stack, path, os.O_RDONLY)
            if source is None or not (self._is_free(source) and stat.S_ISREG(os.fstat(source).st_mode)):
                return
            target = self._take_target(stack)
            if target is None:
                return  # another process is compressing
            before = os.fstat(source)
            os.ftruncate(target, 0)
            give_owner(target, before)
            copied = _copy(source, target)
            os.fsync(target)
            os.utime(
                target if os.utime in os.supports_fd else self._gzip_path,
                ns=(before.st_atime_ns, before.st_mtime_ns),
            )
            with locked(self._lock_path, before, tries=_THREAD_TRIES, pause_s=_THREAD_PAUSE_S) as is_taken:
                if is_taken:
                    self._put_in_place(source, copied)

    def _take_target(self, stack: contextlib.ExitStack) -> int | None:
        """Open the target of the compression exclusively; None if another process has it."""
        for _ in range(_THREAD_TRIES):
            with contextlib.ExitStack() as attempt:
                target = _opened(attempt, self._gzip_path, os.O_RDWR | os.O_CREAT)
                if target is None:
                    return None
                if try_lock(target) and _is(self._gzip_path, os.fstat(target)):
                    stack.push(attempt.pop_all())
                    return target
            time.sleep(_THREAD_PAUSE_S)
        return None

    def _is_free(self, source: int) -> bool:
        """Whether no process writes to an archive any more: each holds a shared lock while it is open."""
        own = os.fstat(source)
        if _is(self._path, own):
            return False
        return try_lock(source) or time.time() - own.st_mtime > QUIET_S

    def _put_in_place(self, source: int, copied: int) -> None:
        """Replace the archive, which may have been renumbered meanwhile, by the compressed file."""
        own = os.fstat(source)
        for archive in self._list():
            if archive.is_compressed or not _is(archive.path, own):
                continue
            if own.st_size == copied and not os.path.lexists(f"{archive.path}.gz"):
                os.rename(self._gzip_path, f"{archive.path}.gz")  # noqa: PTH104
                _unlink(archive.path)
            return

    def _clear_up(self) -> None:
        """Remove an unfinished compressed file that no process writes to."""
        with contextlib.ExitStack() as stack:
            target = _opened(stack, self._gzip_path, os.O_RDWR)
            if target is not None and try_lock(target) and _is(self._gzip_path, os.fstat(target)):
                _unlink(self._gzip_path)


def _opened(stack: contextlib.ExitStack, path: str, flags: int) -> int | None:
    """Open a file until the context ends; None if it is missing or not a file."""
    try:
        descriptor = open_safely(path, flags)
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EROFS):
            raise
        return None
    _locked.add(descriptor)
    stack.callback(os.close, descriptor)
    stack.callback(_locked.discard, descriptor)
    return descriptor


def _copy(source: int, target: int) -> int:
    """Copy a file compressed, and return the number of bytes read."""
    packer = zlib.compressobj(_LEVEL, zlib.DEFLATED, _GZIP_WBITS)
    copied = 0
    while chunk := os.read(source, _CHUNK_BYTES):
        copied += len(chunk)
        _write_all(target, packer.compress(chunk))
    _write_all(target, packer.flush())
    return copied


def _write_all(descriptor: int, data: bytes) -> None:
    while data:
        data = data[os.write(descriptor, data) :]


def _is_pair(plain: Archive, packed: Archive) -> bool:
    return plain.number == packed.number > 0 and not plain.is_compressed and packed.is_compressed


def _is_same_content(plain: str, packed: str) -> bool:
    """Whether a compressed file is that of a plain one: by its time and the size in its trailer."""
    try:
        one, other = os.lstat(plain), os.lstat(packed)
        with open(packed, "rb") as file:  # noqa: PTH123
            file.seek(-4, os.SEEK_END)
            size = int.from_bytes(file.read(4), "little")
    except (OSError, ValueError):
        return False
    return one.st_mtime_ns == other.st_mtime_ns and one.st_size % (1 << 32) == size


def _is(path: str, known: os.stat_result) -> bool:
    try:
        return same_file(os.lstat(path), known)
    except OSError:
        return False


def _create_empty(path: str, own: os.stat_result) -> None:
    descriptor = open_safely(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL)
    give_owner(descriptor, own)
    os.close(descriptor)


def _unlink(path: str) -> None:
    with contextlib.suppress(FileNotFoundError):
        os.unlink(path)  # noqa: PTH108


def _close_in_child() -> None:
    for descriptor in list(_locked):
        with contextlib.suppress(OSError):
            os.close(descriptor)
    _locked.clear()


process_hooks.in_child(_close_in_child)
