"""What is known of one segment file, and the rules by which segments are made."""

import contextlib
import errno
import os
import re
import resource
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NamedTuple

from hublog.settings import SyncPolicy
from hublog.spool.format import HEADER

#: A larger file is none of ours: it is left alone, for it has to fit into memory to be read.
READ_MAX_BYTES: Final = 1 << 26
_BLOCK_BYTES: Final = 4096
_FILE_NAME: Final = re.compile(r"([0-9]{8,18})\.seg")


@dataclass(frozen=True, slots=True, kw_only=True)
class SegmentRules:
    """How segments are made.

    Attributes:
        max_bytes: size at which the next one is begun; a single longer line has one for itself.
        max_age_s: age at which the next one is begun, so that what is settled can be unlinked soon; longer
            when many wait already, since nothing is settled then and each costs a file.
        sync: when lines are forced onto the device.
        sync_interval_s: for ``interval``.
    """

    max_bytes: int = 1 << 20
    max_age_s: float = 5.0
    sync: SyncPolicy = SyncPolicy.NONE
    sync_interval_s: float = 0.5

    @property
    def is_synced(self) -> bool:
        """Whether lines are forced onto the device at all."""
        return self.sync is not SyncPolicy.NONE


class Position(NamedTuple):
    """A place between two lines of a directory; a later place compares greater.

    Attributes:
        segment: number of the segment.
        offset: in bytes.
        lines: lines of this segment before it, as counted by this process.
    """

    segment: int
    offset: int
    lines: int


#: Before everything.
START: Final = Position(0, 0, 0)


@dataclass(slots=True, kw_only=True)
class Segment:
    """The books of one segment file.

    Attributes:
        number: its place in the order.
        path: its file.
        begin: where its lines begin, behind the header.
        end: bytes that are known to be good.
        lines: how many are in them, those left out that were settled before an adoption.
        fd: open for writing, or -1.
        limit: the largest size it may get.
        old_mono: when the next one is due (monotonic seconds).
        is_final: nothing is added any more.
        is_gone: the file was unlinked, by the bound or by others; what was read of it may still be settled.
        synced: bytes that were forced onto the device.
        is_torn: the file may be longer than ``end``.
        readable: how many lines could be read, once the reader is through.
        damage_end: damage before it is counted.
    """

    number: int
    path: Path
    begin: int = len(HEADER)
    end: int = len(HEADER)
    lines: int = 0
    fd: int = -1
    limit: int = 0
    old_mono: float = 0.0
    is_final: bool = False
    is_gone: bool = False
    synced: int = 0
    is_torn: bool = False
    readable: int | None = None
    damage_end: int = 0

    def close(self) -> None:
        """Close the file; the number is forgotten first, so that nobody closes or writes it later."""
        fd, self.fd = self.fd, -1
        if fd >= 0:
            os.close(fd)


def file_name(number: int) -> str:
    """Return the name of a segment's file."""
    return f"{number:08d}.seg"


def file_limit() -> int:
    """Return how large a segment may get: we read no larger one, and the limit of the process may kill it.

    Source: a byte more than RLIMIT_FSIZE sends SIGXFSZ, whose default action ends the process.
    """
    soft, _ = resource.getrlimit(resource.RLIMIT_FSIZE)
    return READ_MAX_BYTES if soft == resource.RLIM_INFINITY else min(soft, READ_MAX_BYTES)


def list_segments(directory: Path) -> Iterator[tuple[int, Path, int]]:
    """Yield number, path and size of the segment files of a directory, oldest first.

    Raises:
        OSError: the directory cannot be read.
    """
    found: list[tuple[int, Path, int]] = []
    with os.scandir(directory) as entries:
        for entry in entries:
            match = _FILE_NAME.fullmatch(entry.name)
            if match is None:
                continue
            try:
                if entry.is_file(follow_symlinks=False):
                    size = entry.stat(follow_symlinks=False).st_size
                    found.append((int(match[1]), Path(entry.path), size))
            except FileNotFoundError:
                continue  # taken by the bound, or sent by its owner, just now
    return iter(sorted(found))


def read_file(path: Path, *, begin: int = 0, end: int = READ_MAX_BYTES) -> bytes:
    """Return bytes of a segment file; blocks that the device cannot read are zeros.

    Args:
        path: the file.
        begin: where to begin.
        end: where to end; the end of the file when that is shorter.

    Raises:
        OSError: the file cannot be opened or read.
    """
    fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
    try:
        end = min(end, os.fstat(fd).st_size)
        try:
            return _read_range(fd, begin, end)
        except OSError as error:
            if error.errno != errno.EIO:
                raise
        # One bad sector must not keep us from all the others.
        return b"".join(
            _read_block(fd, at, min(at + _BLOCK_BYTES, end)) for at in range(begin, end, _BLOCK_BYTES)
        )
    finally:
        os.close(fd)


def _read_block(fd: int, at: int, end: int) -> bytes:
    try:
        return _read_range(fd, at, end)
    except OSError:
        return bytes(end - at)


def _read_range(fd: int, at: int, end: int) -> bytes:
    parts: list[bytes] = []
    while at < end and (part := os.pread(fd, end - at, at)):
        parts.append(part)
        at += len(part)
    return b"".join(parts)


def sync_directory(path: Path) -> None:
    """Force the names in a directory onto the device.

    Raises:
        OSError: it cannot be done.
    """
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def unlink(path: Path) -> None:
    """Remove a file if that is possible."""
    with contextlib.suppress(OSError):
        path.unlink()
