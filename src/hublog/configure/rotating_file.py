"""A file that several processes append to, one write per line; when it is full it becomes an archive."""

import contextlib
import errno
import math
import os
import stat
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from hublog.configure.archives import (
    Archives,
    NoLocksError,
    holder_of,
    is_foreign,
    locked,
    open_safely,
    same_file,
    try_lock,
)

DIRECTORY_MODE: Final = 0o750
FILE_MODE: Final = 0o640
#: Attempts to open the file while other processes archive it.
_OPEN_TRIES: Final = 20
#: Attempts to take a lock of another process at the first record, 4 ms apart; later one.
_FIRST_TRIES: Final = 5
#: Backoff after a failed archiving: the first and the longest pause; it doubles each time.
_RETRY_S: Final = (1.0, 60.0)
#: A lock that is held longer is not that of a process that archives.
_HELD_S: Final = 5.0
#: Checks of the last byte while others write; a line appended to a partial one is written again.
_SETTLE_TRIES: Final = 20
#: Whether the file is still at its path is looked at so often. It takes 2.7 of the 5 µs of a record, and an
#: archive is noticed without it: by its size.
LOOK_S: Final = 0.1

_CLOSED: Final = -1


class RotatingFile:
    """A log file. No method waits for another process; the caller allows one thread at a time.

    A line is one write at the end of the file, which the system does not interleave with others. Each
    process holds a shared lock on the file while it is open, so that an archive is compressed once the
    last process has closed it. The lock file ``.__<stem>.lock`` is held only while archiving.

    Only this process moves the position of its descriptor. So before a write the position shows whether
    the descriptor still is that of the file, and after it whether others have written in between.

    Args:
        path: of the file; a relative one becomes absolute at the first write.
        report: takes a sentence about a problem that does not prevent writing.
        now: monotonic seconds.
    """

    def __init__(
        self,
        path: str,
        *,
        max_bytes: int,
        backup_count: int,
        report: Callable[[str], None],
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self.path = path
        self.lock_path = _lock_path(path)
        #: From this size on it is archived.
        self._full = max_bytes or math.inf
        self._backup_count = backup_count
        self._report = report
        self._now = now
        self._look_mono = 0.0
        self._descriptor = _CLOSED
        self._pid = 0
        self._own: os.stat_result | None = None
        self._is_regular = True
        self._is_readable = True
        #: End of the last line of this process; -1 if that is not known.
        self._end = -1
        #: The part of a line that a full disk did not accept.
        self._rest = b""
        self._is_known = False
        self._is_archiving = False
        self._retry_mono = 0.0
        self._retry_s = _RETRY_S[0]
        self._held_since: float | None = None
        self._forget_thread()

    def append(self, line: bytes) -> int:
        """Write one line, and return the number of earlier lines, partially written, that were completed.

        Raises:
            OSError: it cannot be written; ``strerror`` names the cause.
            ValueError: the path is invalid.
        """
        size = self._end
        try:
            is_as_left = (
                0 <= size < self._full
                and self._now() < self._look_mono
                and self._pid == os.getpid()
                and os.lseek(self._descriptor, 0, os.SEEK_CUR) == size
            )
        except OSError:
            is_as_left = False
        if not is_as_left:
            return self._append_after_look(line)
        self._write(line, size)
        return 0

    def _append_after_look(self, line: bytes) -> int:
        size, completed = self._current(), 0
        if size >= self._full and self._is_regular and not self._is_archiving:
            self._archive()
            size = self._current()
        self._look_mono = self._now() + LOOK_S
        if self._rest and (completed := self._complete(size)):
            size = self._end
        if size and size != self._end and not self._is_after_break(size):
            # A process was killed in the middle of its line, or the disk was full.
            line = b"\n" + line
        self._write(line, size)
        return completed

    def close(self) -> None:
        """Close it; the last process that closes an archive compresses it."""
        if self._descriptor == _CLOSED:
            return
        is_archived = self._own is not None and not self._is_named(self._own)
        self._leave()
        if is_archived:
            self._start_compressing()

    def wait(self, timeout_s: float) -> None:
        """Wait until the compression in this process has finished, or the time is over."""
        thread = self._thread
        if thread is not None and self._pid == os.getpid():
            thread.join(timeout_s)

    # The file.

    def _current(self) -> int:
        """Ensure that the file at the path is open, and return its size in bytes."""
        if self._descriptor != _CLOSED:
            if self._pid != os.getpid():
                self._after_fork()
            try:
                state = os.fstat(self._descriptor)
            except OSError:
                state = None
            if state is None or self._own is None or not same_file(state, self._own):
                self._descriptor = (
                    _CLOSED  # closed by other code, as daemons do; the number may be another file's
                )
            elif self._is_named(state):
                return state.st_size
            else:
                self._leave()
                self._start_compressing()
        return self._open()

    def _is_named(self, own: os.stat_result) -> bool:
        """Whether the open file is still at the path; True if the process may not look there."""
        try:
            return same_file(os.lstat(self.path), own)
        except (FileNotFoundError, NotADirectoryError):
            return False
        except OSError:
            return True

    def _open(self) -> int:
        if not os.path.isabs(self.path):  # noqa: PTH117
            self.path = absolute_path(self.path)
            self.lock_path = _lock_path(self.path)
        for _ in range(_OPEN_TRIES):
            descriptor = self._open_once()
            own = os.fstat(descriptor)
            try:
                is_locked = not stat.S_ISREG(own.st_mode) or try_lock(descriptor, shared=True)
            except NoLocksError:
                is_locked = True  # reported where the lock of the lock file is tried
            # Only now: before the lock was taken, others may have archived the file.
            if self._is_named(own):
                break
            os.close(descriptor)
        else:
            raise OSError(errno.EBUSY, "it is replaced continually")
        self._descriptor, self._own, self._pid = descriptor, own, os.getpid()
        self._is_regular = stat.S_ISREG(own.st_mode)
        self._is_readable = self._is_readable and self._is_regular
        self._end = -1
        if not self._is_known:
            self._is_known = True
            self._check_once(own, is_locked=is_locked)
        return own.st_size

    def _open_once(self) -> int:
        self._is_readable = hasattr(os, "pread")
        try:
            return open_safely(self.path, os.O_RDWR | os.O_APPEND)
        except FileNotFoundError:
            return self._make()
        except PermissionError:
            self._is_readable = False
            return open_safely(self.path, os.O_WRONLY | os.O_APPEND)

    def _make(self) -> int:
        folder = os.path.dirname(self.path)  # noqa: PTH120  # on the way of a record
        flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_EXCL
        try:
            descriptor = open_safely(self.path, flags, FILE_MODE)
        except FileExistsError:
            return open_safely(self.path, os.O_RDWR | os.O_APPEND)
        except FileNotFoundError:
            make_directory(folder)
            descriptor = open_safely(self.path, flags, FILE_MODE)
        with contextlib.suppress(OSError, AttributeError):
            os.fchmod(descriptor, FILE_MODE)
            if os.geteuid() == 0:
                # Root creates it for the owner of the directory.
                owner = os.stat(folder)  # noqa: PTH116
                os.fchown(descriptor, owner.st_uid, owner.st_gid)
        return descriptor

    def _leave(self) -> None:
        descriptor, self._descriptor = self._descriptor, _CLOSED
        self._rest = b""
        with contextlib.suppress(OSError):
            os.close(descriptor)

    def _after_fork(self) -> None:
        """Open the file for this process; without the right to do so, go on with the inherited descriptor."""
        inherited, before = self._descriptor, self._own
        self._forget_thread()
        self._rest, self._is_archiving = b"", False
        try:
            self._open()
        except OSError:
            self._pid, self._is_readable = os.getpid(), False
            return
        with contextlib.suppress(OSError):
            if before is not None and same_file(os.fstat(inherited), before):
                os.close(inherited)

    # The line.

    def _is_after_break(self, size: int) -> bool:
        if not self._is_readable:
            return True
        for _ in range(_SETTLE_TRIES):
            if not size or os.pread(self._descriptor, 1, size - 1) == b"\n":
                return True
            # A line may be in the middle of its write. Setting the time makes the system wait for the end
            # of that write; if the size is still the same, the process that began the line is dead.
            os.utime(self._descriptor)
            before, size = size, os.fstat(self._descriptor).st_size
            if size == before:
                return False
        return True

    def _write(self, data: bytes, size: int) -> None:
        """Append to a file of this size or more; once more if behind the partial line of a dead process."""
        written = os.write(self._descriptor, data)
        if written < len(data):
            self._write_rest(data[written:])
        if not self._is_readable:
            self._end = -1
            return
        # After an append this is the end of the appended data.
        self._end = os.lseek(self._descriptor, 0, os.SEEK_CUR)
        begin = self._end - len(data)
        if begin != size and begin > 0 and data[:1] != b"\n" and self._is_appended_to_partial(data, begin):
            self._end = -1
            self._write_rest(data)

    def _is_appended_to_partial(self, data: bytes, begin: int) -> bool:
        """Whether data is in the file from ``begin`` on, and not at the beginning of a line.

        A signal handler that has logged since moves the position: then something else is there.
        """
        return os.pread(self._descriptor, 1, begin - 1) != b"\n" and (
            os.pread(self._descriptor, len(data), begin) == data
        )

    def _write_rest(self, left: bytes) -> None:
        """Write the rest of a line, and keep what the disk does not accept for the next line."""
        while left:
            try:
                left = left[os.write(self._descriptor, left) :]
            except OSError:
                if self._is_readable:
                    self._look_mono = 0.0
                    self._rest, self._end = left, os.lseek(self._descriptor, 0, os.SEEK_CUR)
                raise

    def _complete(self, size: int) -> int:
        """Complete a partially written line unless others have written since; return 1 if it was."""
        rest, self._rest = self._rest, b""
        if size != self._end:
            return 0
        self._write_rest(rest)
        self._end = os.lseek(self._descriptor, 0, os.SEEK_CUR)
        return int(self._end - len(rest) == size)

    # The archives.

    def _forget_thread(self) -> None:
        self._thread: threading.Thread | None = None
        self._compressing = threading.Lock()
        self._is_compressing = self._is_requested_again = False

    def _check_once(self, own: os.stat_result, *, is_locked: bool) -> None:
        """Report once what prevents archiving, and compress what others have left."""
        risk = _risk(self.path, own)
        if risk:
            self._report(f"The log file {self.path} can be replaced or read by others: {risk}.")
        if not (self._is_regular and self._full < math.inf):
            return
        if not is_locked:
            self._report_held(self.path)
        try:
            with locked(self.lock_path, own, tries=_FIRST_TRIES) as is_taken:
                if not is_taken and is_foreign(self.lock_path):
                    self._report_held(self.lock_path)
        except OSError as error:
            self._archiving_failed(error)
            return
        if self._archives().has_plain():
            self._start_compressing()

    def _archive(self) -> None:
        """Archive the file, unless another process does or has done so, or it has just failed."""
        if self._now() < self._retry_mono:
            return
        self._is_archiving = True
        try:
            with locked(self.lock_path, self._own) as is_taken:
                if not is_taken:
                    self._note_held()
                    return
                self._held_since = None
                self._rotate()
            self._retry_s = _RETRY_S[0]
        except OSError as error:
            self._archiving_failed(error)
        finally:
            self._is_archiving = False

    def _rotate(self) -> None:
        own = os.fstat(self._descriptor)
        if not self._is_named(own):
            return
        self._archives().rotate(own)
        self._leave()
        self._start_compressing()

    def _archives(self) -> Archives:
        return Archives(self.path, self.lock_path, count=self._backup_count)

    def _start_compressing(self) -> None:
        """Compress in a thread; a running one checks again before it ends."""
        if self._full == math.inf:
            return
        with self._compressing:
            if self._is_compressing:
                self._is_requested_again = True
                return
            self._is_compressing = True
        thread = threading.Thread(target=self._compress_all, name="hublog-archive", daemon=True)
        try:
            thread.start()
        except RuntimeError:  # the interpreter is shutting down; the next process does it
            self._is_compressing = False
            return
        self._thread = thread

    def _compress_all(self) -> None:
        while True:
            self._compress()
            with self._compressing:
                if not self._is_requested_again:
                    self._is_compressing = False
                    return
                self._is_requested_again = False

    def _compress(self) -> None:
        try:
            self._archives().compress()
        except FileNotFoundError:
            return  # others have removed the directory
        except OSError as error:
            self._archiving_failed(error, "compressed")
        except Exception as error:  # noqa: BLE001  # an exception of this thread would be lost
            self._report(f"The archives of {self.path} are not compressed ({type(error).__name__}).")

    def _note_held(self) -> None:
        """Note that the lock is held, which is reported if it lasts: archiving takes a moment."""
        now = self._now()
        if self._held_since is None:
            self._held_since = now
        elif now - self._held_since >= _HELD_S:
            self._report_held(self.lock_path)
            self._retry_later(now)

    def _report_held(self, path: str) -> None:
        what = "has uncompressed archives" if path == self.path else "is not archived and grows"
        self._report(
            f"The log file {self.path} {what}, since {holder_of(path)} holds a lock on {path}; stop that"
            " process, or set FILE_LOG_MAX_BYTES=0 if something else archives the file."
        )

    def _archiving_failed(self, error: OSError, what: str = "archived") -> None:
        reason = error.strerror or type(error).__name__
        remedy = (
            "put LOG_DIR on a local disk"
            if isinstance(error, NoLocksError)
            else f"make {os.path.dirname(self.path)} writable"  # noqa: PTH120
        )
        grows = " and grows" if what == "archived" else ""
        self._report(f"The log file {self.path} is not {what}{grows} ({reason}); {remedy}.")
        self._retry_later(self._now())

    def _retry_later(self, now: float) -> None:
        self._retry_mono = now + self._retry_s
        self._retry_s = min(self._retry_s * 2, _RETRY_S[1])


def make_directory(path: str) -> None:
    """Create a directory and its missing parents, for owner and group only.

    Raises:
        OSError: it cannot be created.
    """
    Path(path).mkdir(DIRECTORY_MODE, parents=True, exist_ok=True)


def check_right(path: str) -> None:
    """Check whether this process may write to a file or directory.

    Raises:
        OSError: it may not; ``strerror`` says why.
    """
    if os.access(path, os.W_OK):
        return
    with contextlib.suppress(AttributeError):
        if os.statvfs(path).f_flag & os.ST_RDONLY:
            raise OSError(errno.EROFS, os.strerror(errno.EROFS))
    raise PermissionError(errno.EACCES, "no write permission")


def absolute_path(path: str) -> str:
    """Return an absolute path; a link in it is a name of its own.

    Raises:
        FileNotFoundError: the working directory was removed, and the path is relative to it.
        ValueError: the path is invalid.
    """
    try:
        return os.path.abspath(path)  # noqa: PTH100
    except FileNotFoundError as error:
        text = "the working directory of the process was removed, and LOG_DIR is relative to it"
        raise FileNotFoundError(error.errno, text) from None


def _lock_path(path: str) -> str:
    folder, name = os.path.split(path)
    stem = name.removesuffix(".log")
    return os.path.join(folder, f".__{stem}.lock")  # noqa: PTH118


def _risk(path: str, own: os.stat_result) -> str:
    """Return who else, apart from root and this user, can replace or owns the file; empty if nobody."""
    name = os.path.dirname(path)  # noqa: PTH120
    try:
        user, groups, folder = os.geteuid(), {0, os.getegid(), *os.getgroups()}, os.stat(name)  # noqa: PTH116
    except (OSError, AttributeError):
        return ""
    is_open = not folder.st_mode & stat.S_ISVTX  # else each user can remove their own files only
    risks = (
        (user and folder.st_uid not in {0, user}, f"{name} belongs to the user with id {folder.st_uid}"),
        (is_open and folder.st_mode & stat.S_IWOTH, f"every user may write to {name}"),
        (
            is_open and folder.st_mode & stat.S_IWGRP and folder.st_gid not in groups,
            f"the group with id {folder.st_gid} may write to {name}",
        ),
        (own.st_uid not in {0, user, folder.st_uid}, f"it belongs to the user with id {own.st_uid}"),
    )
    return next((text for is_so, text in risks if is_so), "")
