"""A reader of spool directories that shares no code with the package: struct and zlib only.

``root/<name>/NNNNNNNN.seg``: 8 bytes ``hublog`` NUL 2, then frames of u32 length, u32 CRC-32 (both little
endian) and the payload: the first one is a JSON array that says where the records go, the others are one JSON
line each. Older versions wrote 1 in place of 2, and no such array. ``root/<name>/lock``: a cursor of u64
segment number and u64 offset; all frames before it are settled; then the frame with the array once more. A
name that begins with a dot is a directory in the making.
"""

import json
import struct
import zlib
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

MAGIC: Final = b"hublog\x00\x02"
OLD_MAGIC: Final = b"hublog\x00\x01"
FRAME: Final = struct.Struct("<II")
CURSOR: Final = struct.Struct("<QQ")
#: What the broker refuses for its content is set aside here, and stays.
REJECTED: Final = "rejected"
#: No record is longer; a length beyond it is damage.
_MAX_FRAME_BYTES: Final = 16 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Frame:
    """One record in a segment: where it begins, and its line."""

    offset: int
    payload: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Segment:
    """One file.

    Attributes:
        path: of the file.
        number: of its name.
        frames: whole records, oldest first, settled ones included.
        damaged_bytes: bytes of the file that are no whole record.
        is_torn: the damage is at the end of the file, as after a killed writer.
        is_ours: the file begins as a segment does.
        eventhub: where its records go; empty where it does not say.
    """

    path: Path
    number: int
    frames: tuple[Frame, ...]
    damaged_bytes: int
    is_torn: bool
    is_ours: bool
    eventhub: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Owner:
    """One directory of the root: what one process life wrote.

    Attributes:
        path: of the directory.
        is_alive: somebody holds its lock.
        cursor: segment number and offset; all frames before it are settled.
        segments: oldest first.
    """

    path: Path
    is_alive: bool
    cursor: tuple[int, int]
    segments: tuple[Segment, ...]

    def lines(self) -> Iterator[bytes]:
        """Return the records that are not settled."""
        for segment in self.segments:
            for frame in segment.frames:
                if (segment.number, frame.offset) >= self.cursor:
                    yield frame.payload


def read_segment(path: Path) -> Segment:
    """Read one file; damage is skipped and counted, never taken for a record."""
    content = path.read_bytes()
    number = int(path.stem) if path.stem.isdigit() else -1
    is_ours = content.startswith((MAGIC, OLD_MAGIC))
    frames: list[Frame] = []
    eventhub, offset = _address(content)
    damaged, is_torn = 0, False
    while is_ours and offset < len(content):
        payload = _frame_at(content, offset)
        if payload is not None:
            frames.append(Frame(offset=offset, payload=payload))
            offset += FRAME.size + len(payload)
            continue
        following = _next_frame(content, offset + 1)
        damaged += following - offset
        is_torn = following == len(content)
        offset = following
    return Segment(
        path=path,
        number=number,
        frames=tuple(frames),
        damaged_bytes=damaged if is_ours else len(content),
        is_torn=is_torn,
        is_ours=is_ours,
        eventhub=eventhub,
    )


def _address(content: bytes) -> tuple[str, int]:
    """Return the event hub that a segment is for, and where its records begin."""
    payload = _frame_at(content, len(MAGIC)) if content.startswith(MAGIC) else None
    if payload is None or not payload.startswith(b"["):
        return "", len(MAGIC)
    _namespace, eventhub, _packing, _routing = json.loads(payload)
    return str(eventhub), len(MAGIC) + FRAME.size + len(payload)


def read_root(root: Path) -> list[Owner]:
    """Read all directories of a spool root, those in the making left out; none if there is no root."""
    if not root.is_dir():
        return []
    held = _held_inodes()
    owners = []
    for folder in sorted(root.iterdir()):
        if folder.name.startswith(".") or folder.name == REJECTED or not folder.is_dir():
            continue
        lock = folder / "lock"
        with suppress(FileNotFoundError):  # taken over or emptied while we look
            inode = lock.stat().st_ino if lock.exists() else -1
            segments = tuple(map(read_segment, sorted(folder.glob("*.seg"))))
            owners.append(Owner(path=folder, is_alive=inode in held, cursor=_cursor(lock), segments=segments))
    return owners


def dead_segments(root: Path) -> list[Path]:
    """Return the segments that belong to no living process."""
    return [segment.path for owner in read_root(root) if not owner.is_alive for segment in owner.segments]


def unsettled(root: Path) -> list[dict[str, Any]]:
    """Return the records on disk that are not settled, decoded."""
    return [json.loads(line) for owner in read_root(root) for line in owner.lines()]


def set_aside(root: Path) -> list[dict[str, Any]]:
    """Return the records that were set aside, decoded; in segments, or as lines."""
    found: list[dict[str, Any]] = []
    for path in sorted((root / REJECTED).rglob("*")):
        if not path.is_file():
            continue
        segment = read_segment(path)
        lines = (
            [frame.payload for frame in segment.frames] if segment.is_ours else path.read_bytes().splitlines()
        )
        found += [json.loads(line) for line in lines if line.startswith(b"{")]
    return found


def _cursor(lock: Path) -> tuple[int, int]:
    content = lock.read_bytes() if lock.exists() else b""
    if len(content) < CURSOR.size:
        return 0, 0
    number, offset = CURSOR.unpack_from(content)
    return number, offset


def _frame_at(content: bytes, offset: int) -> bytes | None:
    start = offset + FRAME.size
    if start > len(content):
        return None
    length, checksum = FRAME.unpack_from(content, offset)
    if not 0 < length <= min(_MAX_FRAME_BYTES, len(content) - start):
        return None
    payload = content[start : start + length]
    return payload if zlib.crc32(payload) == checksum else None


def _next_frame(content: bytes, offset: int) -> int:
    """Return where the next whole record begins: a JSON object whose checksum is right."""
    while True:
        brace = content.find(b"{", offset + FRAME.size)
        if brace < 0:
            return len(content)
        if _frame_at(content, brace - FRAME.size) is not None:
            return brace - FRAME.size
        offset = brace - FRAME.size + 1


def _held_inodes() -> set[int]:
    """Return the inodes that somebody holds by flock; asking the kernel disturbs no adopter."""
    try:
        lines = Path("/proc/locks").read_text().splitlines()
    except OSError:
        return set()
    parts = [line.split() for line in lines if " FLOCK " in line and " -> " not in line]
    return {int(part[5].rpartition(":")[2]) for part in parts}
