"""What lies in the segments of one directory: read completely, one file at a time, and never changed."""

import itertools
import stat
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NamedTuple

from hublog.spool.envelope import Envelope
from hublog.spool.format import HEADER, FrameReader, is_foreign, is_header, read_header, survey
from hublog.spool.locking import LOCK_NAME, NotOursError, check_file
from hublog.spool.segments import READ_MAX_BYTES, list_segments, read_file
from hublog.spool_tools.entries import LeftAlone, entries_of, kind_of

_TOO_LARGE: Final = f"larger than the {READ_MAX_BYTES} bytes that a segment may have"
_STRANGE: Final = "not a segment of this version"
_MISPLACED: Final = "a segment of another destination than its directory"


@dataclass(frozen=True, slots=True, kw_only=True)
class SegmentLook:
    """One segment file.

    Attributes:
        path: its file.
        size: in bytes.
        good: records that can be read.
        waiting: those of them that are not settled.
        damaged: stretches that cannot be read and are not settled, a torn end among them.
        damage: all stretches that cannot be read, as (begin, end) in the file, a torn end left out.
        torn_at: where the unreadable end begins that a writer did not live to finish; None without one.
        is_open: whether a living owner is just writing the end, so that this end is neither.
    """

    path: Path
    size: int
    good: int
    waiting: int
    damaged: int
    damage: tuple[tuple[int, int], ...]
    torn_at: int | None
    is_open: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class SegmentsLook:
    """All segments of a directory.

    Attributes:
        segments: oldest first.
        left_alone: what is no segment of ours.
        is_cursor_sane: whether the cursor points to a place between two records of what is here.
    """

    segments: tuple[SegmentLook, ...] = ()
    left_alone: tuple[LeftAlone, ...] = ()
    is_cursor_sane: bool = True

    @property
    def waiting(self) -> int:
        """Records that are not settled."""
        return sum(segment.waiting for segment in self.segments)


class _Pass(NamedTuple):
    good: int
    damage: list[tuple[int, int]]
    borders: set[int]


def look_at_segments(
    directory: Path, cursor: tuple[int, int], *, is_written: bool, envelope: Envelope | None = None
) -> SegmentsLook:
    """Read the segments of a directory as an adopter would.

    Args:
        directory: files may vanish from it meanwhile.
        cursor: segment and offset before which everything is settled.
        envelope: of the directory.
        is_written: an owner lives; it may be writing the newest segment, and it knows the cursor better.

    Raises:
        OSError: the directory cannot be read.
    """
    names = entries_of(directory)  # first: what is added after is a segment that somebody just makes
    found = list(list_segments(directory))
    left_alone = list(_strangers(directory, names, {path.name for _, path, _ in found}))
    owner = directory.parent.stat().st_uid
    sizes = {number: size for number, _, size in found}
    number, offset = cursor
    is_sane = not found or number < found[0][0] or offset <= sizes.get(number, -1)
    if not is_sane:  # as an adopter does: better all of it twice than a part of it never
        number, offset = 0, 0
    segments: list[SegmentLook] = []
    for each, path, size in found:
        try:
            check_file(path, uid=owner)
            data, reason = _read(path, size, envelope)
        except FileNotFoundError:
            continue
        except NotOursError as error:
            left_alone.append(LeftAlone(name=path.name, reason=error.strerror or "", is_refused=True))
            continue
        if data is None:
            left_alone += [LeftAlone(name=path.name, reason=reason)] if reason else []
            continue
        begin = read_header(data).end
        passed = _pass_through(data, begin)
        at = max(offset, begin) if each == number else begin
        if each == number and at not in passed.borders:
            is_sane = False
        is_last = is_written and each == found[-1][0]
        segments.append(_look(path, data, passed, at=None if each < number else at, is_written=is_last))
    return SegmentsLook(
        segments=tuple(segments), left_alone=tuple(left_alone), is_cursor_sane=is_sane or is_written
    )


def _strangers(directory: Path, names: Iterable[tuple[str, int]], segments: set[str]) -> Iterable[LeftAlone]:
    for name, mode in names:
        if name in segments or name == LOCK_NAME:
            continue
        try:
            (directory / name).lstat()
        except FileNotFoundError:
            continue  # a segment that was sent meanwhile
        kind = kind_of(mode)
        reason = "a file that is no segment" if stat.S_ISREG(mode) else kind
        yield LeftAlone(name=name, reason=reason)


def _read(path: Path, size: int, envelope: Envelope | None) -> tuple[bytes | None, str]:
    """Return the bytes of a segment; or None and why it is left alone, nothing when it is gone."""
    if size > READ_MAX_BYTES:
        return None, _TOO_LARGE
    try:
        data = read_file(path)
    except FileNotFoundError:
        return None, ""
    except OSError as error:
        return None, f"it cannot be read: {error.strerror}"
    if is_foreign(data):
        return None, _STRANGE
    return (data, "") if read_header(data).envelope in (None, envelope) else (None, _MISPLACED)


def _pass_through(data: bytes, begin: int) -> _Pass:
    """Read all of a segment; returns its damage as ranges, that of the header included."""
    reader = FrameReader(data, at=begin)
    good, borders = 0, {begin}
    while reader.next_line() is not None:
        good += 1
        borders.add(reader.at)
    damage = list(reader.damage)
    borders.update(itertools.chain.from_iterable(damage))
    if not is_header(data[: len(HEADER)]):
        end = min(len(HEADER), len(data))
        if damage and damage[0][0] == end:
            end = damage.pop(0)[1]
        damage.insert(0, (0, end))
    return _Pass(good, damage, borders)


def _look(path: Path, data: bytes, passed: _Pass, *, at: int | None, is_written: bool) -> SegmentLook:
    """Return what was found.

    Args:
        path: of the segment.
        data: the whole of it.
        passed: what reading it gave.
        at: what is before this is settled; None: all of it is.
        is_written: its owner lives and may be writing its end.
    """
    waiting, damaged, is_torn = (0, 0, False) if at is None else survey(data, at=at)
    damage, torn_at = passed.damage, None
    if damage and damage[-1][1] == len(data):
        torn_at = damage.pop()[0]
    is_open = is_written and torn_at is not None
    return SegmentLook(
        path=path,
        size=len(data),
        good=passed.good,
        waiting=waiting,
        damaged=damaged - (is_open and is_torn),
        damage=tuple(damage),
        torn_at=None if is_open else torn_at,
        is_open=is_open,
    )
