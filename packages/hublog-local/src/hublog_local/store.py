"""What arrived, on disk: JSON lines that one process appends to and any number of others read.

A directory has the newest rows in ``<Table>.jsonl``, and older ones in ``<Table>.000001.jsonl``,
``<Table>.000002.jsonl`` ..., a higher number being newer. A file that has reached its size is renamed to
the next number; when there are too many, the oldest is deleted. Readers count whole lines only.
"""

import fcntl
import os
import re
from pathlib import Path
from typing import Final, Self

from hublog.capture.columns import TABLE
from hublog_local.errors import LocalHubError

DEFAULT_DIRECTORY: Final = Path(".hublog")
#: Together half a gibibyte, some 700,000 records.
MAX_FILE_BYTES: Final = 64 << 20
MAX_FILES: Final = 8

_NUMBERED: Final = re.compile(rf"{TABLE}\.([0-9]+)\.jsonl")
_LOCK: Final = "writer.lock"
_BLOCK: Final = 1 << 16


def active_file(directory: Path) -> Path:
    """Return the path of the file that rows are appended to."""
    return directory / f"{TABLE}.jsonl"


def table_files(directory: Path) -> list[Path]:
    """Return the files of the table that are there, oldest rows first."""
    numbered = sorted(_numbered(directory).items())
    active = active_file(directory)
    return [path for _, path in numbered] + ([active] if active.exists() else [])


def _numbered(directory: Path) -> dict[int, Path]:
    try:
        paths = list(directory.iterdir())
    except FileNotFoundError:
        return {}
    return {int(match[1]): path for path in paths if (match := _NUMBERED.fullmatch(path.name))}


class Store:
    """Appends rows to the files of the table; the only writer of their directory.

    Args:
        directory: made when it is missing.
        max_file_bytes: size at which a file is closed and the next one begun.
        max_files: files kept, the one being written included; 1 or more.

    Raises:
        LocalHubError: another process writes here, or the directory cannot be used.
    """

    def __init__(
        self, directory: Path, *, max_file_bytes: int = MAX_FILE_BYTES, max_files: int = MAX_FILES
    ) -> None:
        self.directory = directory
        self._path = active_file(directory)
        self._max_file_bytes, self._max_files = max_file_bytes, max_files
        self._file = self._lock = -1
        try:
            _make(directory)
            self._lock = _lock(directory)
            self._open()
        except OSError as error:
            self.close()
            raise LocalHubError(
                f"{str(directory)!r} cannot be used ({error.strerror}); name another directory with --data."
            ) from error

    def append(self, lines: bytes) -> None:
        """Append whole lines; another process that reads the file has them at once.

        Raises:
            OSError: the disk refuses; nothing of the lines is kept then.
        """
        if not lines:
            return
        self._reopen_if_deleted()
        if self._size and self._size + len(lines) > self._max_file_bytes:
            self._rotate()
        written = 0
        try:
            while written < len(lines):
                written += os.write(self._file, lines[written:] if written else lines)
        except OSError:
            os.ftruncate(self._file, self._size)
            raise
        self._size += written

    def close(self) -> None:
        """Close the file and let another process write; may be called again."""
        for name in ("_file", "_lock"):
            descriptor = getattr(self, name)
            if descriptor >= 0:
                os.close(descriptor)
                setattr(self, name, -1)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _open(self) -> None:
        self._file = os.open(self._path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
        self._size = end_of_last_line(self._file)
        # A line that was cut off by the end of an earlier process can never be completed.
        os.ftruncate(self._file, self._size)

    def _reopen_if_deleted(self) -> None:
        """Continue in a new file if the current one has been deleted."""
        try:
            is_current = os.path.samestat(self._path.stat(), os.fstat(self._file))
        except FileNotFoundError:
            is_current = False
        if not is_current:
            os.close(self._file)
            _make(self.directory)
            self._open()

    def _rotate(self) -> None:
        number = max(_numbered(self.directory), default=0) + 1
        self._path.rename(self.directory / f"{TABLE}.{number:06d}.jsonl")
        os.close(self._file)
        self._open()
        for path in table_files(self.directory)[: -self._max_files]:
            path.unlink(missing_ok=True)


def _make(directory: Path) -> None:
    """Make the directory for this user alone, and keep it out of git: logs contain personal data."""
    if not directory.is_dir():
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        (directory / ".gitignore").write_text("*\n")


def _lock(directory: Path) -> int:
    """Take the directory for this process; the lock ends with the process, however that ends."""
    lock = os.open(directory / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        owner = os.read(lock, 32).decode(errors="replace").strip()
        os.close(lock)
        raise LocalHubError(
            f"Process {owner or 'unknown'} writes to {str(directory)!r} already, and only one can;"
            " stop it, or name another directory with --data."
        ) from None
    os.ftruncate(lock, 0)
    os.write(lock, b"%d\n" % os.getpid())
    return lock


def end_of_last_line(file: int) -> int:
    """Return the position behind the last line break of an open file."""
    position = os.fstat(file).st_size
    while position > 0:
        start = max(position - _BLOCK, 0)
        line_break = os.pread(file, position - start, start).rfind(b"\n")
        if line_break >= 0:
            return start + line_break + 1
        position = start
    return 0
