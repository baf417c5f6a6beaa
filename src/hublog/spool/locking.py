"""Who owns a directory: the process that holds the lock on its ``lock`` file, and no other.

No process ids, since two containers may share a volume; no times, since clocks jump. The lock belongs to
the open file, so a forked child keeps it alive until it has closed its copy of the descriptor.
"""

import contextlib
import errno
import fcntl
import os
import re
import stat
import struct
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final, NamedTuple

from hublog.errors import HublogError
from hublog.spool.envelope import Envelope
from hublog.spool.segments import (
    HEADER,
    HEADER_MAX_BYTES,
    decode_envelope,
    encode_envelope,
    file_limit,
    list_segments,
    read_file,
    read_header,
    sync_path,
)


class NotOursError(OSError):
    """Another user made or may change what lies in the spool, so that it is not taken for ours."""


def check_file(path: Path, *, uid: int) -> None:
    """Refuse a file that another user made or may have changed.

    Raises:
        NotOursError: it is refused; says why.
        OSError: it cannot be looked at.
    """
    status = path.lstat()
    if not stat.S_ISREG(status.st_mode):
        raise _refusal(path, "is no regular file")
    _check_rights(path, status, uid=uid)
    if status.st_nlink > 1:  # who made the other name may write here without a right to this directory
        raise _refusal(path, "is a hard link with another name elsewhere")


def _check_rights(path: Path, status: os.stat_result, *, uid: int) -> None:
    """Refuse what belongs to another user or may be written by everybody.

    Group members may write: Kubernetes gives that right to the group of a volume, on all that lies there.
    """
    if status.st_uid != uid:
        raise _refusal(path, f"belongs to uid {status.st_uid}, and the spool to uid {uid}")
    if status.st_mode & stat.S_IWOTH:
        raise _refusal(path, f"has mode {stat.S_IMODE(status.st_mode):04o}: everybody may write")


def _refusal(path: Path, reason: str) -> NotOursError:
    return NotOursError(errno.EPERM, f"{path.name} {reason}", str(path))


LOCK_NAME: Final = "lock"
_OWNER_NAME: Final = re.compile(r"[0-9a-f]{16}-[0-9a-f]{8}")
_CURSOR: Final = struct.Struct("<QQ")
_ATTEMPTS: Final = 8
_FILE_LIMIT_MIN: Final = 1 << 16
DIRECTORY_MODE: Final = 0o700
FILE_MODE: Final = 0o600


class SpoolUnavailableError(HublogError):
    """The spool cannot be used now; it may be tried again later."""


def unavailable(root: Path, error: OSError) -> SpoolUnavailableError:
    """Return what to raise for an error of the file system: what we saw, what is needed, what to change."""
    reason = error.strerror or str(error)
    return SpoolUnavailableError(
        f"The spool directory {root} cannot be used: {reason}. It must be a directory on a local disk with"
        f" room, where uid {os.geteuid()} may make and lock files; change it or set EVENTHUB_LOG_SPOOL_DIR."
    )


class Claim:
    """A directory that this process owns.

    Args:
        path: the directory.
        fd: its lock file, locked.
    """

    def __init__(self, path: Path, fd: int) -> None:
        self.path = path.absolute()  # the application may change its working directory
        self._fd = fd

    @property
    def is_held(self) -> bool:
        """Whether the lock was not given back yet."""
        return self._fd >= 0

    def read_envelope(self) -> tuple[Envelope | None, int]:
        """Return what its maker has written behind the cursor, and where that ends; None without it."""
        with contextlib.suppress(OSError):
            decoded = decode_envelope(os.pread(self._fd, HEADER_MAX_BYTES, _CURSOR.size))
            if decoded is not None:
                return decoded[0], _CURSOR.size + decoded[1]
        return None, _CURSOR.size

    def write_start(self, envelope: Envelope | None) -> None:
        """Write the envelope, and a cursor, so that a later one needs no room on a full disk.

        The envelope is in each segment, too: where it cannot be written here nothing is lost.
        """
        data = _CURSOR.pack(0, 0) + (b"" if envelope is None else encode_envelope(envelope))
        with contextlib.suppress(OSError):
            os.pwrite(self._fd, data, 0)

    def read_cursor(self) -> tuple[int, int]:
        """Return segment and offset before which everything is settled; zeros when it is not known."""
        with contextlib.suppress(OSError):
            data = os.pread(self._fd, _CURSOR.size, 0)
            if len(data) == _CURSOR.size:
                segment, offset = _CURSOR.unpack(data)
                return segment, offset
        return 0, 0

    def write_cursor(self, segment: int, offset: int) -> bool:
        """Note before which place everything is settled; it is not forced onto the device.

        Returns:
            False when it could not be written: after a crash more is sent again than is needed.
        """
        try:
            return os.pwrite(self._fd, _CURSOR.pack(segment, offset), 0) == _CURSOR.size
        except OSError:
            return False

    def remove(self) -> bool:
        """Remove the directory when nothing but the lock is in it, and give the lock back.

        Returns:
            False when other files are in it, or it cannot be removed; the lock is then still held.
        """
        try:
            if [entry.name for entry in self.path.iterdir()] != [LOCK_NAME]:
                return False
            _remove_empty(self.path)
        except FileNotFoundError:
            pass  # the whole of it was removed
        except OSError:
            return False
        self.release()
        return True

    def release(self) -> None:
        """Give the lock back, although a child that forked meanwhile may hold a copy of the descriptor."""
        fd, self._fd = self._fd, -1
        if fd >= 0:
            with contextlib.suppress(OSError):
                fcntl.flock(fd, fcntl.LOCK_UN)
            os.close(fd)

    def remove_or_release(self) -> None:
        """Remove the directory if that is possible, and give the lock back in any case."""
        if not self.remove():
            self.release()

    def abandon_after_fork(self) -> None:
        """Close the descriptor and leave the lock to the parent."""
        fd, self._fd = self._fd, -1
        if fd >= 0:
            with contextlib.suppress(OSError):
                os.close(fd)


def is_owner_name(name: str) -> bool:
    """Whether a name in the root is that of an owner's directory."""
    return _OWNER_NAME.fullmatch(name) is not None


def is_hidden_name(name: str) -> bool:
    """Whether a name in the root is that of a directory that is being made, or was left so."""
    return name.startswith(".") and is_owner_name(name[1:])


def create(
    root: Path, *, wall: Callable[[], float], is_synced: bool = False, envelope: Envelope | None = None
) -> Claim:
    """Make a new directory and own it from the first moment that others can see it.

    Args:
        root: exists.
        wall: seconds since 1970; only for the name, which gives the order in which the bound drops.
        is_synced: force its name onto the device.
        envelope: of all that will be in it.

    Raises:
        SpoolUnavailableError: it cannot be made or locked.
    """
    _check_file_limit(root)
    for _ in range(_ATTEMPTS):
        name = f"{max(int(wall() * 1000), 0):016x}-{os.urandom(4).hex()}"
        try:
            claim = _create(root, name, is_synced=is_synced, envelope=envelope)
        except (FileExistsError, FileNotFoundError):
            if not root.is_dir():
                break
        except OSError as error:
            raise unavailable(root, error) from error
        else:
            if claim is not None:
                return claim
    raise unavailable(root, FileNotFoundError(errno.ENOENT, "what is made in it vanishes"))


def _create(root: Path, name: str, *, is_synced: bool, envelope: Envelope | None) -> Claim | None:
    hidden = root / f".{name}"
    hidden.mkdir(DIRECTORY_MODE)
    try:
        hidden.chmod(DIRECTORY_MODE)  # whatever the umask took away
        fd = os.open(hidden / LOCK_NAME, os.O_CREAT | os.O_EXCL | os.O_RDWR, FILE_MODE)
        claim = Claim(root / name, fd)
        try:
            os.fchmod(fd, FILE_MODE)
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            claim.write_start(envelope)
            hidden.rename(claim.path)
            if is_synced:
                sync_path(root)
        except BaseException:
            claim.release()
            raise
    except BlockingIOError:
        return None  # another process cleans up behind dead creators, and took us for one
    except BaseException:
        with contextlib.suppress(OSError):
            _remove_empty(hidden)
        raise
    return claim


def take(path: Path) -> Claim | None:
    """Own a directory whose owner is dead.

    Returns:
        None when it is owned, by whatever process, or is gone, or has no lock file.

    Raises:
        NotOursError: another user may have written it.
        OSError: its lock file cannot be opened or locked.
    """
    try:
        check_access(path, uid=os.geteuid())
        fd = _open_lock(path, os.O_RDWR)
    except FileNotFoundError:
        return None
    claim = Claim(path, fd)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if os.fstat(fd).st_nlink > 0:  # else its last owner removed it while we waited for the lock
            return claim
    except BlockingIOError:
        pass
    except BaseException:
        claim.release()
        raise
    claim.release()
    return None


def check_access(path: Path, *, uid: int) -> None:
    """Refuse a directory that another user made, or may have put something into; and its lock.

    Raises:
        NotOursError: it is refused; says why.
        OSError: it cannot be looked at.
    """
    _check_rights(path, _directory_status(path), uid=uid)
    check_file(path / LOCK_NAME, uid=uid)


def why_unsafe_root(status: os.stat_result) -> str:
    """Return why a root of this status must not be used by this process; empty if it may."""
    if status.st_uid != os.geteuid():
        return (
            f"it belongs to uid {status.st_uid}, and this process runs as uid {os.geteuid()}. Change its"
            " owner or set EVENTHUB_LOG_SPOOL_DIR."
        )
    if status.st_mode & stat.S_IWOTH and not status.st_mode & stat.S_ISVTX:
        return (
            f"its mode is {stat.S_IMODE(status.st_mode):04o}, so every user may rename what is in it and put"
            " something else there. Make it 0700, or set EVENTHUB_LOG_SPOOL_DIR."
        )
    return ""


class Address(NamedTuple):
    """Where the records of a directory go.

    Attributes:
        envelope: as its maker wrote it; None when there is none.
        is_lost: whether there was one that cannot be read.
    """

    envelope: Envelope | None
    is_lost: bool = False


def read_address(path: Path) -> Address:
    """Return where the records of a directory go, owned or not: its lock says it, and each segment.

    Raises:
        OSError: the directory cannot be read.
    """
    with contextlib.suppress(OSError), _reading(path) as claim:
        envelope, _ = claim.read_envelope()
        if envelope is not None:
            return Address(envelope)
    is_lost = False
    for _, segment, _ in list_segments(path):
        with contextlib.suppress(OSError):  # it is gone, or cannot be read: another one says the same
            data = read_file(segment, end=HEADER_MAX_BYTES)
            header = read_header(data)
            if header.envelope is not None or data.startswith(HEADER):
                return Address(header.envelope)
            is_lost = is_lost or header.is_addressed
    return Address(None, is_lost)


def _open_lock(path: Path, flags: int) -> int:
    """Open the lock file of a directory; what stands in place of either is left alone.

    Raises:
        OSError: it cannot be opened, or is a link, a pipe, a device.
    """
    _directory_status(path)
    fd = os.open(path / LOCK_NAME, flags | os.O_NOFOLLOW | os.O_NONBLOCK)
    if not stat.S_ISREG(os.fstat(fd).st_mode):
        os.close(fd)
        raise OSError(errno.EINVAL, "the lock is no file", str(path / LOCK_NAME))
    return fd


def _directory_status(path: Path) -> os.stat_result:
    status = path.lstat()
    if not stat.S_ISDIR(status.st_mode):
        raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(path))
    return status


@contextlib.contextmanager
def _reading(path: Path) -> Iterator[Claim]:
    """Open the lock file of a directory, owned or not, to read it; the lock itself is not touched.

    Raises:
        OSError: it cannot be opened.
    """
    claim = Claim(path, _open_lock(path, os.O_RDONLY))
    try:
        yield claim
    finally:
        claim.abandon_after_fork()


def peek_cursor(path: Path) -> tuple[int, int]:
    """Return the cursor of a directory that another process owns."""
    with contextlib.suppress(OSError), _reading(path) as claim:
        return claim.read_cursor()
    return 0, 0


def is_left(path: Path) -> bool:
    """Whether a directory has no owner now; the lock is asked for, shared, and given back at once."""
    try:
        claim = Claim(path, _open_lock(path, os.O_RDONLY))
        try:
            fcntl.flock(claim._fd, fcntl.LOCK_SH | fcntl.LOCK_NB)  # noqa: SLF001  # of this module
        finally:
            claim.release()
    except OSError:  # it is owned, or its lock cannot be opened or asked for
        return False
    return True


def clean_hidden(path: Path) -> None:
    """Remove a directory that its creator did not live to show; nothing is in it."""
    with contextlib.suppress(OSError):
        claim = take(path)
        if claim is not None:
            claim.remove_or_release()
        path.rmdir()  # without a lock file it is empty, or else stays; its creator then begins anew


def probe(root: Path) -> None:
    """Find out whether directories can be made and locked in a root.

    Raises:
        SpoolUnavailableError: they cannot; says why.
    """
    first = create(root, wall=lambda: 0.0)
    try:
        second = take(first.path)
    except OSError as error:
        raise unavailable(root, error) from error
    finally:
        first.remove_or_release()
    if second is not None:
        second.release()
        raise unavailable(root, OSError(errno.ENOTSUP, "its file system gives one lock to two owners"))


def _remove_empty(path: Path) -> None:
    with contextlib.suppress(FileNotFoundError):
        (path / LOCK_NAME).unlink()
    path.rmdir()


def _check_file_limit(root: Path) -> None:
    limit = file_limit()
    if limit < _FILE_LIMIT_MIN:
        raise SpoolUnavailableError(
            f"The spool directory {root} cannot be used: a file may have {limit} bytes (RLIMIT_FSIZE);"
            f" {_FILE_LIMIT_MIN} or more are needed. Raise the limit or set EVENTHUB_LOG_SPOOL to memory."
        )
