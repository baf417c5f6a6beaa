"""What lies in a spool, found out without changing anything and without keeping a lock.

Every process may go on meanwhile: files that vanish are left out, and what a living owner is just writing
is no damage. Links are never followed, and no file is read that is too large to be a segment.
"""

import contextlib
import fcntl
import itertools
import json
import os
import stat
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Final, NamedTuple

from hublog.spool import locking
from hublog.spool.dead_letters import DIRECTORY as REJECTED_NAME
from hublog.spool.envelope import Destination, Envelope
from hublog.spool.format import HEADER, FrameReader, is_foreign, is_header, read_header, survey
from hublog.spool.locking import LOCK_NAME, Claim, NotOursError, SpoolUnavailableError, check_file
from hublog.spool.segments import READ_MAX_BYTES, list_segments, read_file

_KINDS: Final = (
    (stat.S_ISLNK, "a symbolic link"),
    (stat.S_ISDIR, "a directory"),
    (stat.S_ISREG, "a file"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class LeftAlone:
    """What is not of the spool, so that nobody touches it.

    Attributes:
        name: in its directory; it may hold any character.
        reason: what it is.
        is_refused: whether it is a segment, and the reason is that another user may have made or changed it.
    """

    name: str
    reason: str
    is_refused: bool = False


def entries_of(directory: Path) -> list[tuple[str, int]]:
    """Return the names in a directory with their modes, in order.

    Raises:
        OSError: it cannot be read.
    """
    found: list[tuple[str, int]] = []
    with os.scandir(directory) as entries:
        for entry in entries:
            with contextlib.suppress(FileNotFoundError):
                found.append((entry.name, entry.stat(follow_symlinks=False).st_mode))
    return sorted(found)


def kind_of(mode: int) -> str:
    """Return what a mode says that a thing is."""
    return next((kind for is_kind, kind in _KINDS if is_kind(mode)), "a special file")


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


_SUFFIX: Final = ".jsonl"
_TOO_LARGE_FILE: Final = f"larger than the {READ_MAX_BYTES} bytes that are read"


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
    directory = root / REJECTED_NAME
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
            return _TOO_LARGE_FILE
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


class Owner(StrEnum):
    """Whether somebody holds the lock of a directory; UNCLEAR: it cannot be asked for."""

    ALIVE = "alive"
    DEAD = "dead"
    UNCLEAR = "unclear"


@dataclass(frozen=True, slots=True, kw_only=True)
class LockLook:
    """What the lock file of a directory says.

    Attributes:
        owner: whether it is locked.
        cursor: segment and offset before which everything is settled; zeros when it does not say.
        size: of the file in bytes.
        expected_size: what it should be: a cursor, and the envelope behind it where there is one.
        problem: why the owner is unclear; else empty.
    """

    owner: Owner
    cursor: tuple[int, int] = (0, 0)
    size: int = 0
    expected_size: int = 0
    problem: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class DirectoryLook:
    """The directory of one process life.

    Attributes:
        path: the directory.
        lock: what its lock file says.
        content: what is in it.
        problem: why it could not be read; else empty.
        envelope: where its records go; None when it does not say.
    """

    path: Path
    lock: LockLook
    content: SegmentsLook = field(default_factory=SegmentsLook)
    problem: str = ""
    envelope: Envelope | None = None

    @property
    def since(self) -> datetime | None:
        """When it was made, in UTC, as its name says; None when the name says no date."""
        try:
            return datetime.fromtimestamp(int(self.path.name[:16], 16) / 1000, UTC)
        except (ValueError, OverflowError, OSError):
            return None

    @property
    def owner(self) -> Owner:
        """Whether its owner lives."""
        return self.lock.owner

    @property
    def waiting(self) -> int:
        """Records that are not settled."""
        return self.content.waiting

    @property
    def destination(self) -> Destination | None:
        """Where they go; None when it does not say: whoever takes them over sends them."""
        return None if self.envelope is None else self.envelope.destination

    @property
    def size(self) -> int:
        """Bytes of its segments."""
        return sum(segment.size for segment in self.content.segments)

    @property
    def damaged(self) -> int:
        """Stretches that cannot be read and are not settled."""
        return sum(segment.damaged for segment in self.content.segments)


@dataclass(frozen=True, slots=True, kw_only=True)
class RootLook:
    """The whole spool.

    Attributes:
        path: the root.
        directories: oldest first.
        unfinished: names of directories that are being made, or whose maker did not live to show them.
        has_rejected: whether there is a directory of records that the hub refused.
        left_alone: what is none of these.
    """

    path: Path
    directories: tuple[DirectoryLook, ...]
    unfinished: tuple[str, ...]
    has_rejected: bool
    left_alone: tuple[LeftAlone, ...]


def check_root(root: Path) -> Path:
    """Return the root as an absolute path; the root alone may be a link, since somebody named it.

    Raises:
        SpoolUnavailableError: it is no directory, or cannot be looked at.
    """
    try:
        if root.is_dir():
            return root.absolute()
    except OSError as error:
        raise locking.unavailable(root, error) from error
    raise SpoolUnavailableError(
        f"{str(root)!r} is no directory; name the spool with --dir or EVENTHUB_LOG_SPOOL_DIR."
    )


def look_at_root(root: Path) -> RootLook:
    """Look at a spool; reads all of its segments, one after the other.

    Raises:
        SpoolUnavailableError: the root cannot be read.
    """
    directories: list[DirectoryLook] = []
    unfinished: list[str] = []
    left_alone: list[LeftAlone] = []
    has_rejected = False
    for name, mode in _entries_of_root(root):
        is_directory = stat.S_ISDIR(mode)
        if is_directory and locking.is_owner_name(name):
            found = look_at_directory(root / name)
            directories += [] if found is None else [found]
        elif is_directory and locking.is_hidden_name(name):
            unfinished.append(name)
        elif is_directory and name == REJECTED_NAME:
            has_rejected = True
        else:
            left_alone.append(LeftAlone(name=name, reason=kind_of(mode)))
    return RootLook(
        path=root,
        directories=tuple(directories),
        unfinished=tuple(unfinished),
        has_rejected=has_rejected,
        left_alone=tuple(left_alone),
    )


def dead_directories(root: Path, destination: Destination) -> Iterator[Path]:
    """Yield the directories whose owner is dead, oldest first; their segments are not read.

    Args:
        root: of the spool.
        destination: only those whose records may be sent there.

    Raises:
        SpoolUnavailableError: the root cannot be read.
    """
    for name, mode in _entries_of_root(root):
        if stat.S_ISDIR(mode) and locking.is_owner_name(name):
            path = root / name
            if look_at_lock(path).owner is Owner.DEAD and _is_for(path, destination):
                yield path


def _is_for(path: Path, destination: Destination) -> bool:
    try:
        address = locking.read_address(path)
    except OSError:
        return False
    if address.envelope is None:
        return not address.is_lost
    return destination.takes(address.envelope.destination)


def look_at_directory(path: Path) -> DirectoryLook | None:
    """Look at one directory; None when it vanishes meanwhile."""
    lock = look_at_lock(path)  # before the segments: its cursor may be behind them then, never ahead
    try:
        address = locking.read_address(path)
        if address.is_lost and lock.owner is Owner.DEAD:
            lock = replace(lock, owner=Owner.UNCLEAR, problem="it cannot be read where its records go")
        content = look_at_segments(
            path, lock.cursor, is_written=lock.owner is not Owner.DEAD, envelope=address.envelope
        )
    except FileNotFoundError:
        return None
    except OSError as error:
        return DirectoryLook(path=path, lock=lock, problem=f"it cannot be read: {error.strerror}")
    if lock.owner is Owner.DEAD and (now := look_at_lock(path)).owner is not Owner.DEAD:
        if not path.exists():
            return None
        # An adopter came while we read: the cursor is its own affair now.
        lock, content = now, replace(content, is_cursor_sane=True)
    return DirectoryLook(path=path, lock=lock, content=content, envelope=address.envelope)


def look_at_lock(path: Path) -> LockLook:
    """Ask whether a directory is owned: for the shared lock, without waiting, and give it back at once.

    An owner keeps its lock. An adopter that comes in this very instant finds the directory taken, and
    comes again with its next scan.
    """
    try:
        # Without O_NONBLOCK we would wait for the writer of a pipe that somebody has put there.
        fd = os.open(path / LOCK_NAME, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except FileNotFoundError:
        return LockLook(owner=Owner.UNCLEAR, problem="it has no lock file")
    except OSError as error:
        return LockLook(owner=Owner.UNCLEAR, problem=f"its lock file cannot be opened: {error.strerror}")
    claim = Claim(path, fd)
    try:
        found = os.fstat(fd)
        if not stat.S_ISREG(found.st_mode):
            return LockLook(owner=Owner.UNCLEAR, problem=f"its lock is {kind_of(found.st_mode)}")
        cursor = claim.read_cursor()
        _, expected = claim.read_envelope()
        owner, problem = _ask(path, fd)
        return LockLook(
            owner=owner,
            cursor=cursor,
            size=found.st_size,
            expected_size=expected,
            problem=problem,
        )
    except OSError as error:
        return LockLook(owner=Owner.UNCLEAR, problem=f"its lock cannot be asked for: {error.strerror}")
    finally:
        claim.release()


def _ask(path: Path, fd: int) -> tuple[Owner, str]:
    """Return whether somebody holds a lock; and why nobody may take it over, where that is so."""
    try:
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return Owner.ALIVE, ""
    try:
        locking.check_access(path, uid=path.parent.stat().st_uid)
    except NotOursError as error:
        return Owner.UNCLEAR, error.strerror or ""
    return Owner.DEAD, ""


def _entries_of_root(root: Path) -> list[tuple[str, int]]:
    try:
        return entries_of(root)
    except OSError as error:
        raise locking.unavailable(root, error) from error
