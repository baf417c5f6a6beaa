"""A segment file: its bytes, what is known of it, and a reader that damage does not stop.

Header: ``hublog``, a zero byte, the version of the format; in version 2 a frame with the envelope follows, a
JSON array, and version 1 has none. Frame: length of the line (u32, little endian, never 0), CRC-32 of the
line (the same), the line. A line is one JSON object in UTF-8, so it holds no zero byte, while the highest
byte of a length is always zero: nothing inside of a line can be mistaken for a frame, and an envelope can
not be mistaken for a line.
"""

import contextlib
import errno
import os
import re
import resource
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NamedTuple

from hublog.line import BREAK, CLOSES, OPENS, SENT_AT_BYTES, is_line
from hublog.settings import SyncPolicy
from hublog.spool.envelope import ENVELOPE_MAX_BYTES, Envelope

_MAGIC: Final = b"hublog\x00"
#: The first bytes of a segment whose destination is not written down: of older versions of this package.
HEADER: Final = _MAGIC + b"\1"
#: The first bytes of a segment that names its destination.
_ADDRESSED: Final = _MAGIC + b"\2"
#: Above this the highest byte of a length would not be zero.
LINE_MAX_BYTES: Final = (1 << 24) - 1
_PREFIX: Final = struct.Struct("<II")
#: Bytes of a frame in front of its line.
PREFIX_BYTES: Final = _PREFIX.size
#: No header is longer.
HEADER_MAX_BYTES: Final = len(HEADER) + PREFIX_BYTES + ENVELOPE_MAX_BYTES
#: Checksums that may be computed in vain in one read, in bytes. Damage needs next to none; bytes that
#: are made for the purpose could otherwise keep a reader busy for hours.
_WASTE_MAX: Final = 1 << 28
#: What a look for a frame counts as: a file of braces alone would take minutes, one that is damaged has few.
_TRIAL_COST: Final = 256
#: A larger file is none of ours: it is left alone, for it has to fit into memory to be read.
READ_MAX_BYTES: Final = 1 << 26
_BLOCK_BYTES: Final = 4096
_FILE_NAME: Final = re.compile(r"([0-9]{8,18})\.seg")


def encode(line: bytes) -> bytes:
    """Return the frame of one line.

    Raises:
        ValueError: it is no line, or longer than ``LINE_MAX_BYTES``.
    """
    length = len(line)
    if length > LINE_MAX_BYTES:
        raise ValueError(f"A line of {length} bytes is too long; at most {LINE_MAX_BYTES} are allowed.")
    if not is_line(line):
        raise ValueError("A line must be one JSON object without a line break.")
    return _PREFIX.pack(length, zlib.crc32(line)) + line


def encode_header(envelope: Envelope | None) -> bytes:
    """Return the first bytes of a segment, in front of its frames."""
    return HEADER if envelope is None else _ADDRESSED + encode_envelope(envelope)


def encode_envelope(envelope: Envelope) -> bytes:
    """Return the frame of an envelope."""
    data = envelope.encode()
    return _PREFIX.pack(len(data), zlib.crc32(data)) + data


def decode_envelope(data: bytes, at: int = 0) -> tuple[Envelope, int] | None:
    """Return the envelope in the frame that begins here, and where it ends; None without a sound one."""
    begin = at + PREFIX_BYTES
    if begin > len(data):
        return None
    length, checksum = _PREFIX.unpack_from(data, at)
    text = data[begin : begin + length] if 0 < length <= ENVELOPE_MAX_BYTES else b""
    if len(text) != length or zlib.crc32(text) != checksum:
        return None
    envelope = Envelope.decode(text)
    return None if envelope is None else (envelope, begin + length)


class Header(NamedTuple):
    """What the first bytes of a segment say.

    Attributes:
        envelope: where its records go; None when it does not say.
        end: where the frames begin, or the damage that took the envelope.
        is_addressed: whether it should say: an older version wrote none.
    """

    envelope: Envelope | None
    end: int
    is_addressed: bool


def read_header(data: bytes) -> Header:
    """Read the first bytes of a segment.

    Args:
        data: at least ``HEADER_MAX_BYTES``, or the whole file.
    """
    if not data.startswith(_ADDRESSED):
        return Header(None, len(HEADER), is_addressed=False)
    envelope, end = decode_envelope(data, len(_ADDRESSED)) or (None, len(HEADER))
    return Header(envelope, end, is_addressed=True)


def is_header(head: bytes) -> bool:
    """Whether the first bytes of a segment are sound; also when nothing was written yet."""
    return head in (b"", HEADER, _ADDRESSED)


def is_foreign(data: bytes) -> bool:
    """Whether a file is not a segment of this version, so that it must be left alone.

    Args:
        data: the whole file.
    """
    head = data[: len(HEADER)]
    is_ours = HEADER.startswith(head) or _ADDRESSED.startswith(head)
    if is_ours or not head.strip(b"\0"):  # also one that its writer did not live to begin
        return False
    if head.startswith(_MAGIC):  # another version
        return True
    # Damage comes in sectors of 512 bytes: where it took the header it took the first frame too, and
    # sound frames are left behind it. A strange header in front of a sound frame was put there.
    if decode_envelope(data, len(HEADER)) is not None:
        return True
    reader = FrameReader(data, at=len(HEADER))
    return reader.next_line() is None or not reader.damage


class FrameReader:
    """Reads the lines of one segment, and steps over what is damaged.

    Args:
        data: bytes of the segment; they end where a frame ended, or where the file was torn off.
        at: where in ``data`` to begin.

    Attributes:
        at: behind the last line that was read, or behind the damage that follows it.
        damage: what could not be read so far, as (begin, end) in ``data``; neighbours never touch.
    """

    __slots__ = ("_data", "_waste", "at", "damage")

    def __init__(self, data: bytes, *, at: int = 0) -> None:
        self._data = data
        self._waste = 0
        self.at = at
        self.damage: list[tuple[int, int]] = []

    @property
    def is_at_end(self) -> bool:
        """Whether all of the data was read."""
        return self.at >= len(self._data)

    def read_run(self, lines: list[bytes], max_lines: int, room: int) -> int:
        """Add the lines up to the next damage to a list, one in any case, until it has ``max_lines``.

        ``room`` is the bytes that they may have as sent; what is left is returned, below 0 if one is over.
        """
        while len(lines) < max_lines and (line := self._line_at(self.at)):
            room -= len(line) + SENT_AT_BYTES
            if room < 0 and lines:
                break
            lines.append(line)
            self.at += PREFIX_BYTES + len(line)
        return room

    def next_line(self) -> bytes | None:
        """Return the next line that is whole; None at the end."""
        lines: list[bytes] = []
        self.read_run(lines, 1, 0)
        if not lines:
            self.skip_damage()
            self.read_run(lines, 1, 0)
        return lines[0] if lines else None

    def skip_damage(self) -> None:
        """Go on to the next frame that is sound, or to the end, where ``read_run`` found none."""
        if not self.is_at_end:
            begin, self.at = self.at, self._find_frame(self.at + 1)
            self.damage.append((begin, self.at))

    def _line_at(self, at: int) -> bytes:
        """Return the line whose frame begins here; empty when there is no sound one."""
        data = self._data
        begin = at + PREFIX_BYTES
        if begin >= len(data):
            return b""
        length, checksum = _PREFIX.unpack_from(data, at)
        end = begin + length
        # A length of 0 is never a frame: the checksum of nothing is 0, so every zeroed block would be many.
        if not 0 < length <= LINE_MAX_BYTES or end > len(data):
            return b""
        if data[begin] != OPENS or data[end - 1] != CLOSES:
            return b""
        line = data[begin:end]
        if zlib.crc32(line) != checksum:
            self._waste += length
            return b""
        return b"" if BREAK in line else line

    def _find_frame(self, start: int) -> int:
        """Return where the next sound frame begins; the end of the data when there is none."""
        data = self._data
        brace = data.find(b"{", start + PREFIX_BYTES)
        while brace >= 0 and self._waste < _WASTE_MAX:
            self._waste += _TRIAL_COST
            if self._line_at(brace - PREFIX_BYTES):
                return brace - PREFIX_BYTES
            brace = data.find(b"{", brace + 1)
        return len(data)


class Survey(NamedTuple):
    """What a segment holds.

    Attributes:
        lines: how many can be read.
        damage: how many stretches cannot.
        is_torn: whether the last of these reaches the end: damage, or a living owner is just writing.
    """

    lines: int
    damage: int
    is_torn: bool


def survey(data: bytes, *, at: int = 0) -> Survey:
    """Count what a segment holds.

    Args:
        data: the whole file.
        at: where to begin; what is before it is settled.
    """
    reader = FrameReader(data, at=max(at, read_header(data).end))
    lines = 0
    while reader.next_line() is not None:
        lines += 1
    is_torn = bool(reader.damage) and reader.damage[-1][1] == len(data)
    return Survey(lines, len(reader.damage), is_torn)


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
    """What is known of one segment file.

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
    files: list[tuple[int, Path, int]] = []
    with os.scandir(directory) as entries:
        for entry in entries:
            match = _FILE_NAME.fullmatch(entry.name)
            if match is None:
                continue
            try:
                if entry.is_file(follow_symlinks=False):
                    size = entry.stat(follow_symlinks=False).st_size
                    files.append((int(match[1]), Path(entry.path), size))
            except FileNotFoundError:
                continue  # taken by the bound, or sent by its owner, just now
    return iter(sorted(files))


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


def sync_path(path: Path) -> None:
    """Force a file, or the names in a directory, onto the device.

    Raises:
        OSError: it cannot be done.
    """
    fd = os.open(path, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def unlink(path: Path) -> None:
    """Remove a file if that is possible."""
    with contextlib.suppress(OSError):
        path.unlink()
