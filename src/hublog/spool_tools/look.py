"""What lies in a spool, found out without changing anything and without keeping a lock.

Every process may go on meanwhile: files that vanish are left out, and what a living owner is just writing
is no damage. Links are never followed, and no file is read that is too large to be a segment.
"""

import fcntl
import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path

from hublog.spool import locking
from hublog.spool.dead_letters import DIRECTORY as REJECTED_NAME
from hublog.spool.envelope import Destination, Envelope
from hublog.spool.locking import LOCK_NAME, Claim, NotOursError, SpoolUnavailableError
from hublog.spool_tools.entries import LeftAlone, entries_of, kind_of
from hublog.spool_tools.segment_look import SegmentsLook, look_at_segments


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
