"""The contents of a spool, read without changing anything and without keeping a lock.

Processes may go on meanwhile: files that vanish are skipped, and an end that a living owner is still writing
is not damage. Links are never followed, and no file is read that is too large to be a segment.
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
from hublog.spool.locking import LOCK_NAME, Claim, NotOursError, SpoolUnavailableError, check_file
from hublog.spool.segments import (
    HEADER,
    READ_MAX_BYTES,
    FrameReader,
    is_foreign,
    is_header,
    list_segments,
    read_file,
    read_header,
    survey,
)

_REJECTED_SUFFIX: Final = ".jsonl"
_TOO_LARGE: Final = f"larger than the maximum of {READ_MAX_BYTES} bytes"
_OTHER_VERSION: Final = "not a segment of this version"
_MISPLACED: Final = "a segment for another destination than its directory"
_KINDS: Final = ((stat.S_ISLNK, "a symbolic link"), (stat.S_ISDIR, "a directory"), (stat.S_ISREG, "a file"))


@dataclass(frozen=True, slots=True, kw_only=True)
class IgnoredEntry:
    """An entry that is not part of the spool, so no process touches it.

    Attributes:
        name: in its directory; it may hold any character.
        is_refused: whether it is a segment that another user may have made or changed.
    """

    name: str
    reason: str
    is_refused: bool = False


def list_entries(directory: Path) -> list[tuple[str, int]]:
    """Return the names in a directory with their modes, in order.

    Raises:
        OSError: it cannot be read.
    """
    listed: list[tuple[str, int]] = []
    with os.scandir(directory) as entries:
        for entry in entries:
            with contextlib.suppress(FileNotFoundError):
                listed.append((entry.name, entry.stat(follow_symlinks=False).st_mode))
    return sorted(listed)


def kind_of(mode: int) -> str:
    """Return the kind of file that a mode says."""
    return next((kind for is_kind, kind in _KINDS if is_kind(mode)), "a special file")


@dataclass(frozen=True, slots=True, kw_only=True)
class SegmentState:
    """One segment file.

    Attributes:
        good: records that can be read.
        waiting: those that are neither sent nor dropped.
        damaged: ranges not settled that cannot be read, a torn end included.
        damage: all ranges that cannot be read, as (begin, end) in the file, without a torn end.
        torn_at: where the unreadable end of a killed writer begins; None without one.
        is_open: whether a living owner is still writing the end, which then is neither.
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
class DirectoryContent:
    """All segments of a directory.

    Attributes:
        segments: oldest first.
        ignored: entries that are not segments of this spool.
        is_cursor_sane: whether the cursor points to a place between two records of what is here.
    """

    segments: tuple[SegmentState, ...] = ()
    ignored: tuple[IgnoredEntry, ...] = ()
    is_cursor_sane: bool = True

    @property
    def waiting(self) -> int:
        """Records that are not settled."""
        return sum(segment.waiting for segment in self.segments)


class _Pass(NamedTuple):
    good: int
    damage: list[tuple[int, int]]
    borders: set[int]


def inspect_segments(
    directory: Path, cursor: tuple[int, int], *, is_written: bool, envelope: Envelope | None = None
) -> DirectoryContent:
    """Read the segments of a directory as a recovering process would.

    Args:
        directory: files may vanish from it meanwhile.
        cursor: segment and offset before which everything is settled.
        envelope: of the directory.
        is_written: an owner lives; it may be writing the newest segment, and it knows the cursor better.

    Raises:
        OSError: the directory cannot be read.
    """
    names = list_entries(directory)  # first: what is added later is a new segment
    files = list(list_segments(directory))
    ignored = list(_ignored_entries(directory, names, {path.name for _, path, _ in files}))
    owner = directory.parent.stat().st_uid
    sizes = {number: size for number, _, size in files}
    number, offset = cursor
    is_sane = not files or number < files[0][0] or offset <= sizes.get(number, -1)
    if not is_sane:  # as recovery does: rather send all of it twice than a part of it never
        number, offset = 0, 0
    segments: list[SegmentState] = []
    for each, path, size in files:
        try:
            check_file(path, uid=owner)
            data, reason = _read(path, size, envelope)
        except FileNotFoundError:
            continue
        except NotOursError as error:
            ignored.append(IgnoredEntry(name=path.name, reason=error.strerror or "", is_refused=True))
            continue
        if data is None:
            ignored += [IgnoredEntry(name=path.name, reason=reason)] if reason else []
            continue
        begin = read_header(data).end
        passed = _pass_through(data, begin)
        at = max(offset, begin) if each == number else begin
        if each == number and at not in passed.borders:
            is_sane = False
        is_last = is_written and each == files[-1][0]
        segments.append(
            _segment_state(path, data, passed, at=None if each < number else at, is_written=is_last)
        )
    return DirectoryContent(
        segments=tuple(segments), ignored=tuple(ignored), is_cursor_sane=is_sane or is_written
    )


def _ignored_entries(
    directory: Path, names: Iterable[tuple[str, int]], segments: set[str]
) -> Iterable[IgnoredEntry]:
    for name, mode in names:
        if name in segments or name == LOCK_NAME:
            continue
        try:
            (directory / name).lstat()
        except FileNotFoundError:
            continue  # a segment that was sent meanwhile
        yield IgnoredEntry(name=name, reason="not a segment file" if stat.S_ISREG(mode) else kind_of(mode))


def _read(path: Path, size: int, envelope: Envelope | None) -> tuple[bytes | None, str]:
    """Return the bytes of a segment; or None and why it is ignored, empty when it is gone."""
    if size > READ_MAX_BYTES:
        return None, _TOO_LARGE
    try:
        data = read_file(path)
    except FileNotFoundError:
        return None, ""
    except OSError as error:
        return None, f"cannot be read: {error.strerror}"
    if is_foreign(data):
        return None, _OTHER_VERSION
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


def _segment_state(
    path: Path, data: bytes, passed: _Pass, *, at: int | None, is_written: bool
) -> SegmentState:
    """Return the state of a segment; records before the offset ``at`` are settled, for None all of them."""
    waiting, damaged, is_torn = (0, 0, False) if at is None else survey(data, at=at)
    damage, torn_at = passed.damage, None
    if damage and damage[-1][1] == len(data):
        torn_at = damage.pop()[0]
    is_open = is_written and torn_at is not None
    return SegmentState(
        path=path,
        size=len(data),
        good=passed.good,
        waiting=waiting,
        damaged=damaged - (is_open and is_torn),
        damage=tuple(damage),
        torn_at=None if is_open else torn_at,
        is_open=is_open,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class RejectedFile:
    """One file of rejected records.

    Attributes:
        records: complete lines.
        changed_at: when it was changed last (seconds since 1970).
    """

    path: Path
    size: int
    records: int
    changed_at: float


@dataclass(frozen=True, slots=True, kw_only=True)
class RejectedRecords:
    """All rejected records of a spool.

    Attributes:
        ignored: entries that are not such files, or cannot be read.
    """

    files: tuple[RejectedFile, ...] = ()
    ignored: tuple[IgnoredEntry, ...] = ()

    @property
    def records(self) -> int:
        """Records in all files."""
        return sum(file.records for file in self.files)

    @property
    def size(self) -> int:
        """Bytes of all files."""
        return sum(file.size for file in self.files)


def inspect_rejected(root: Path) -> RejectedRecords:
    """Count the rejected records; reads one file after the other."""
    directory = root / REJECTED_NAME
    files: list[RejectedFile] = []
    ignored: list[IgnoredEntry] = []
    try:
        if not stat.S_ISDIR(directory.lstat().st_mode):
            return RejectedRecords()
        entries = list_entries(directory)
    except FileNotFoundError:
        return RejectedRecords()
    except OSError as error:
        return RejectedRecords(ignored=(IgnoredEntry(name=".", reason=f"cannot be read: {error.strerror}"),))
    for name, mode in entries:
        file = _rejected_file(directory / name, mode)
        if isinstance(file, RejectedFile):
            files.append(file)
        elif file:
            ignored.append(IgnoredEntry(name=name, reason=file))
    return RejectedRecords(files=tuple(files), ignored=tuple(ignored))


def bad_lines(path: Path) -> Iterator[int]:
    """Yield the numbers of lines, from 1 on, that are not JSON objects.

    Args:
        path: a file of ``inspect_rejected``; text after its last line break may still be being written.

    Raises:
        OSError: the file cannot be read.
    """
    *lines, _ = read_file(path).split(b"\n")
    for number, line in enumerate(lines, 1):
        if not _is_object(line):
            yield number


def _rejected_file(path: Path, mode: int) -> RejectedFile | str:
    """Return the state of a file; or why it is ignored, empty when it is gone."""
    if not (stat.S_ISREG(mode) and path.name.endswith(_REJECTED_SUFFIX)):
        return kind_of(mode)
    try:
        state = path.lstat()
        if state.st_size > READ_MAX_BYTES:
            return _TOO_LARGE
        records = read_file(path).count(b"\n")
    except FileNotFoundError:
        return ""  # removed by the size limit
    except OSError as error:
        return f"cannot be read: {error.strerror}"
    return RejectedFile(path=path, size=state.st_size, records=records, changed_at=state.st_mtime)


def _is_object(line: bytes) -> bool:
    try:
        return isinstance(json.loads(line), dict)
    except (ValueError, RecursionError):
        return False


class Owner(StrEnum):
    """Whether a process holds the lock of a directory; UNCLEAR: the lock cannot be tested."""

    ALIVE = "alive"
    DEAD = "dead"
    UNCLEAR = "unclear"


@dataclass(frozen=True, slots=True, kw_only=True)
class LockState:
    """The lock file of a directory.

    Attributes:
        cursor: segment and offset before which all records are settled; zeros without one.
        expected_size: of a cursor, and the envelope after it where there is one.
        problem: why the owner is unclear; else empty.
    """

    owner: Owner
    cursor: tuple[int, int] = (0, 0)
    size: int = 0
    expected_size: int = 0
    problem: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class DirectoryState:
    """The directory of one process.

    Attributes:
        problem: why it could not be read; else empty.
        envelope: where its records go; None when it does not say.
    """

    path: Path
    lock: LockState
    content: DirectoryContent = field(default_factory=DirectoryContent)
    problem: str = ""
    envelope: Envelope | None = None

    @property
    def since(self) -> datetime | None:
        """When it was made, in UTC, from its name; None for a name without a date."""
        try:
            return datetime.fromtimestamp(int(self.path.name[:16], 16) / 1000, UTC)
        except (ValueError, OverflowError, OSError):
            return None

    @property
    def owner(self) -> Owner:
        """Whether its owner is alive."""
        return self.lock.owner

    @property
    def waiting(self) -> int:
        """Records that are not settled."""
        return self.content.waiting

    @property
    def destination(self) -> Destination | None:
        """Where they go; None when it does not say: the process that recovers them sends them."""
        return None if self.envelope is None else self.envelope.destination

    @property
    def size(self) -> int:
        """Bytes of its segments."""
        return sum(segment.size for segment in self.content.segments)

    @property
    def damaged(self) -> int:
        """Ranges not settled that cannot be read."""
        return sum(segment.damaged for segment in self.content.segments)


@dataclass(frozen=True, slots=True, kw_only=True)
class SpoolState:
    """The whole spool.

    Attributes:
        directories: oldest first.
        unfinished: names of directories that are being made, or whose process was killed while making them.
        has_rejected: whether there is a directory of rejected records.
    """

    path: Path
    directories: tuple[DirectoryState, ...]
    unfinished: tuple[str, ...]
    has_rejected: bool
    ignored: tuple[IgnoredEntry, ...]


def check_root(root: Path) -> Path:
    """Return the root as an absolute path; only the root may be a link, since the operator named it.

    Raises:
        SpoolUnavailableError: it is not a directory, or cannot be read.
    """
    try:
        if root.is_dir():
            return root.absolute()
    except OSError as error:
        raise locking.unavailable(root, error) from error
    raise SpoolUnavailableError(
        f"{str(root)!r} is not a directory; name the spool with --dir or EVENTHUB_LOG_SPOOL_DIR."
    )


def inspect_spool(root: Path) -> SpoolState:
    """Inspect a spool; reads all of its segments, one after the other.

    Raises:
        SpoolUnavailableError: the root cannot be read.
    """
    directories: list[DirectoryState] = []
    unfinished: list[str] = []
    ignored: list[IgnoredEntry] = []
    has_rejected = False
    for name, mode in _entries_of_root(root):
        is_directory = stat.S_ISDIR(mode)
        if is_directory and locking.is_owner_name(name):
            directory = inspect_directory(root / name)
            directories += [] if directory is None else [directory]
        elif is_directory and locking.is_hidden_name(name):
            unfinished.append(name)
        elif is_directory and name == REJECTED_NAME:
            has_rejected = True
        else:
            ignored.append(IgnoredEntry(name=name, reason=kind_of(mode)))
    return SpoolState(
        path=root,
        directories=tuple(directories),
        unfinished=tuple(unfinished),
        has_rejected=has_rejected,
        ignored=tuple(ignored),
    )


def dead_directories(root: Path, destination: Destination) -> Iterator[Path]:
    """Yield the directories of ended processes whose records may be sent to a destination, oldest first.

    Raises:
        SpoolUnavailableError: the root cannot be read.
    """
    for name, mode in _entries_of_root(root):
        if stat.S_ISDIR(mode) and locking.is_owner_name(name):
            path = root / name
            if inspect_lock(path).owner is Owner.DEAD and _is_for(path, destination):
                yield path


def _is_for(path: Path, destination: Destination) -> bool:
    try:
        address = locking.read_address(path)
    except OSError:
        return False
    if address.envelope is None:
        return not address.is_lost
    return destination.takes(address.envelope.destination)


def inspect_directory(path: Path) -> DirectoryState | None:
    """Inspect one directory; None when it vanishes meanwhile."""
    lock = inspect_lock(path)  # before the segments: so its cursor is never ahead of them
    try:
        address = locking.read_address(path)
        if address.is_lost and lock.owner is Owner.DEAD:
            lock = replace(lock, owner=Owner.UNCLEAR, problem="the destination of its records cannot be read")
        content = inspect_segments(
            path, lock.cursor, is_written=lock.owner is not Owner.DEAD, envelope=address.envelope
        )
    except FileNotFoundError:
        return None
    except OSError as error:
        return DirectoryState(path=path, lock=lock, problem=f"cannot be read: {error.strerror}")
    if lock.owner is Owner.DEAD and (now := inspect_lock(path)).owner is not Owner.DEAD:
        if not path.exists():
            return None
        # Another process recovered it while we read, and moves the cursor now.
        lock, content = now, replace(content, is_cursor_sane=True)
    return DirectoryState(path=path, lock=lock, content=content, envelope=address.envelope)


def inspect_lock(path: Path) -> LockState:
    """Test whether a directory is owned: take the shared lock without waiting, and release it at once.

    A process that tries to recover the directory in this moment finds it locked, and tries again with its
    next scan.
    """
    try:
        # O_NONBLOCK: in the place of the file there may be a pipe without a writer.
        fd = os.open(path / LOCK_NAME, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except FileNotFoundError:
        return LockState(owner=Owner.UNCLEAR, problem="has no lock file")
    except OSError as error:
        return LockState(owner=Owner.UNCLEAR, problem=f"its lock file cannot be opened: {error.strerror}")
    claim = Claim(path, fd)
    try:
        state = os.fstat(fd)
        if not stat.S_ISREG(state.st_mode):
            return LockState(owner=Owner.UNCLEAR, problem=f"its lock is {kind_of(state.st_mode)}")
        cursor = claim.read_cursor()
        _, expected = claim.read_envelope()
        owner, problem = _owner_of(path, fd)
        return LockState(
            owner=owner, cursor=cursor, size=state.st_size, expected_size=expected, problem=problem
        )
    except OSError as error:
        return LockState(owner=Owner.UNCLEAR, problem=f"its lock cannot be tested: {error.strerror}")
    finally:
        claim.release()


def _owner_of(path: Path, fd: int) -> tuple[Owner, str]:
    """Return whether a process holds a lock; and why no process may recover the directory, if so."""
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
        return list_entries(root)
    except OSError as error:
        raise locking.unavailable(root, error) from error
