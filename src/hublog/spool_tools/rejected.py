"""Records that the hub refused and that lie in ``rejected/``: how many, and whether they can be read.

Their contents are never shown: they are records of an application, and may hold secrets.
"""

import json
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from hublog.spool.dead_letters import DIRECTORY
from hublog.spool.segments import READ_MAX_BYTES, read_file
from hublog.spool_tools.entries import LeftAlone, entries_of, kind_of

_SUFFIX: Final = ".jsonl"
_TOO_LARGE: Final = f"larger than the {READ_MAX_BYTES} bytes that are read"


@dataclass(frozen=True, slots=True, kw_only=True)
class RejectedFile:
    """One file of refused records.

    Attributes:
        path: the file.
        size: in bytes.
        records: lines that are finished.
        changed_at: when it was changed last (seconds since 1970).
    """

    path: Path
    size: int
    records: int
    changed_at: float


@dataclass(frozen=True, slots=True, kw_only=True)
class RejectedLook:
    """All refused records of a spool.

    Attributes:
        files: in the order of their names.
        left_alone: what is no such file, or cannot be read.
    """

    files: tuple[RejectedFile, ...] = ()
    left_alone: tuple[LeftAlone, ...] = ()

    @property
    def records(self) -> int:
        """Records in all files."""
        return sum(file.records for file in self.files)

    @property
    def size(self) -> int:
        """Bytes of all files."""
        return sum(file.size for file in self.files)


def look_at_rejected(root: Path) -> RejectedLook:
    """Count what was refused; reads one file after the other.

    Args:
        root: of the spool.
    """
    directory = root / DIRECTORY
    files: list[RejectedFile] = []
    left_alone: list[LeftAlone] = []
    try:
        if not stat.S_ISDIR(directory.lstat().st_mode):
            return RejectedLook()
        entries = entries_of(directory)
    except FileNotFoundError:
        return RejectedLook()
    except OSError as error:
        return RejectedLook(left_alone=(LeftAlone(name=".", reason=f"it cannot be read: {error.strerror}"),))
    for name, mode in entries:
        found = _look_at(directory / name, mode)
        if isinstance(found, RejectedFile):
            files.append(found)
        elif found:
            left_alone.append(LeftAlone(name=name, reason=found))
    return RejectedLook(files=tuple(files), left_alone=tuple(left_alone))


def bad_lines(path: Path) -> Iterator[int]:
    """Yield the numbers of lines, from 1 on, that are no JSON object.

    Args:
        path: a file that was looked at; what is behind its last line break may still be written.

    Raises:
        OSError: the file cannot be read.
    """
    *lines, _ = read_file(path).split(b"\n")
    for number, line in enumerate(lines, 1):
        if not _is_object(line):
            yield number


def _look_at(path: Path, mode: int) -> RejectedFile | str:
    """Return what is known of a file; or why it is left alone, nothing when it is gone."""
    if not (stat.S_ISREG(mode) and path.name.endswith(_SUFFIX)):
        return kind_of(mode)
    try:
        found = path.lstat()
        if found.st_size > READ_MAX_BYTES:
            return _TOO_LARGE
        records = read_file(path).count(b"\n")
    except FileNotFoundError:
        return ""  # taken by the bound
    except OSError as error:
        return f"it cannot be read: {error.strerror}"
    return RejectedFile(path=path, size=found.st_size, records=records, changed_at=found.st_mtime)


def _is_object(line: bytes) -> bool:
    try:
        return isinstance(json.loads(line), dict)
    except (ValueError, RecursionError):
        return False
