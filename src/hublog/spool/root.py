"""The root of the spool: the directories of all processes, their common bound, and who inherits them."""

import contextlib
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final, NamedTuple

from hublog.settings import SyncPolicy
from hublog.spool import locking
from hublog.spool.directory import SpoolDirectory
from hublog.spool.envelope import Envelope
from hublog.spool.locking import Address, Claim, NotOursError, SpoolUnavailableError
from hublog.spool.segments import READ_MAX_BYTES, SegmentRules, is_foreign, list_segments, read_file, survey

_SEGMENT_MAX_BYTES: Final = 1 << 20
_SEGMENT_MIN_BYTES: Final = 1 << 12
#: Segments that the bound holds at least, since whole ones are dropped.
_SEGMENTS_MIN: Final = 16


class _File(NamedTuple):
    owner: str
    number: int
    path: Path
    size: int
    is_last: bool


class SpoolRoot:
    """What all processes that share a root see; each has an object of its own.

    One thread at a time may use it. ``prepare`` comes first.

    Args:
        path: the root; made when it is missing.
        max_bytes: what the segments of all processes may hold together, one segment for each process aside.
        sync: when lines are forced onto the device.
        now: monotonic seconds.
        wall: seconds since 1970, for the names of directories.
        envelope: where the lines of this process go and how they are packed; what dead processes left is
            taken over if it may be sent there. None takes whatever is there.

    Attributes:
        envelope: as above; a new one holds for what is made and taken over from then on.
        unknown: files and directories that were left alone: another version's, nobody's we know, or
            without a lock. Each is reported once, by the caller.
        causes: why some of these were left alone.
        others: directories of dead processes, or of living ones, whose lines go to another destination.
        undirected_total: directories that were taken over and do not say where their lines go: an older
            version of this package wrote them.
        damage_total: stretches that adoptions found unreadable, what dead writers left unfinished included.
        orphans_dropped_total: lines of dead owners that were dropped here, so that nobody else counts them.
    """

    def __init__(
        self,
        path: Path,
        *,
        max_bytes: int,
        sync: SyncPolicy = SyncPolicy.NONE,
        now: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
        envelope: Envelope | None = None,
    ) -> None:
        self.path = path.absolute()  # the application may change its working directory
        self.max_bytes = max_bytes
        self.envelope = envelope
        size = max(min(_SEGMENT_MAX_BYTES, max_bytes // _SEGMENTS_MIN), _SEGMENT_MIN_BYTES)
        self.rules = SegmentRules(max_bytes=size, sync=sync)
        self.unknown: set[Path] = set()
        self.causes: dict[Path, str] = {}
        self.others: dict[Path, Envelope] = {}
        self.undirected_total = 0
        self.damage_total = 0
        self.orphans_dropped_total = 0
        self._now = now
        self._wall = wall
        self._own: dict[str, SpoolDirectory] = {}

    def prepare(self) -> None:
        """Make the root and find out whether it can be used; may be called again at any time.

        Raises:
            SpoolUnavailableError: it cannot; says what is wrong and what to change.
        """
        try:
            if not self.path.is_dir():
                self.path.parent.mkdir(parents=True, exist_ok=True)
                self.path.mkdir(locking.DIRECTORY_MODE, exist_ok=True)
                self.path.chmod(locking.DIRECTORY_MODE)
            status = self.path.stat()
        except OSError as error:
            raise locking.unavailable(self.path, error) from error
        reason = locking.why_unsafe_root(status)
        if reason:
            raise SpoolUnavailableError(f"The spool directory {self.path} cannot be used: {reason}")
        locking.probe(self.path)

    def create_directory(self, envelope: Envelope | None = None) -> SpoolDirectory:
        """Make a directory for lines of this process.

        Args:
            envelope: where they go and how they are packed; None for that of the root.

        Raises:
            SpoolUnavailableError: it cannot be made; says why.
        """
        directory = SpoolDirectory.create(
            self.path, rules=self.rules, now=self._now, wall=self._wall, envelope=envelope or self.envelope
        )
        return self._keep(directory)

    def adopt_orphans(
        self, max_bytes: int | None = None, *, max_directories: int | None = None
    ) -> list[SpoolDirectory]:
        """Take over what dead processes left, also in the middle of an adoption, and clean up behind them.

        What goes to another destination is left to processes that send there.

        Args:
            max_bytes: stop once so much was taken, since all of it is read; what is left may be taken by
                the next call, or by others.
            max_directories: take no more; empty ones that are cleaned up do not count.

        Returns:
            Directories with lines in them, oldest first. No other process has them, and each must be
            closed or removed in the end. Empty when the root cannot be read now.
        """
        adopted: list[SpoolDirectory] = []
        names = self._names()
        there = {self.path / name for name in names}
        others = self.others.items()
        self.others = {path: each for path, each in others if path in there and self._is_other(each)}
        for name in names:
            if max_bytes is not None and sum(taken.backlog_bytes for taken in adopted) >= max_bytes:
                break
            if len(adopted) == max_directories:
                break
            path = self.path / name
            if locking.is_hidden_name(name):
                locking.clean_hidden(path)
            elif locking.is_owner_name(name) and path not in self.unknown and path not in self.others:
                with contextlib.suppress(SpoolUnavailableError):
                    adopted += self._adopt(path)
        return adopted

    def enforce_bound(self) -> int:
        """Drop the oldest segments, of any process, until the bound is kept.

        The segment that another living process writes is left to it.

        Returns:
            How many lines went. Those of our own directories are in their ``dropped_total`` too, those of
            other living processes in theirs, and those of dead ones in ``orphans_dropped_total``.
        """
        files = self._files()
        excess = sum(file.size for file in files) - self.max_bytes
        dropped = 0
        for file in files:
            if excess <= 0:
                break
            lines = self._drop(file)
            if lines is not None or file.path in self.unknown:
                dropped += lines or 0
                excess -= file.size
        for directory in self._directories():
            directory.reconcile()
        return dropped

    def make_room(self) -> int:
        """Drop the oldest segment, for a disk that is full.

        Returns:
            How many lines went.
        """
        for file in self._files():
            lines = self._drop(file)
            if lines is not None:
                for directory in self._directories():
                    directory.retry()
                return lines
        return 0

    def abandon_after_fork(self) -> None:
        """Close what was inherited, in the child, which needs a root of its own; waits for nothing."""
        for directory in list(self._own.values()):
            directory.abandon_after_fork()

    def _keep(self, directory: SpoolDirectory) -> SpoolDirectory:
        self._directories()
        self._own[directory.path.name] = directory
        return directory

    def _directories(self) -> list[SpoolDirectory]:
        """Return the directories that are ours, and forget those that were."""
        for name, directory in list(self._own.items()):
            if not directory.is_owned:
                del self._own[name]
        return list(self._own.values())

    def _names(self) -> list[str]:
        """Return the names in the root; what is no directory in place of an owner's is left alone."""
        names: list[str] = []
        with contextlib.suppress(OSError), os.scandir(self.path) as entries:
            for entry in entries:
                if locking.is_owner_name(entry.name.removeprefix(".")):
                    if entry.is_dir(follow_symlinks=False):
                        names.append(entry.name)
                    else:
                        self.unknown.add(Path(entry.path))
        return sorted(names)

    def _adopt(self, path: Path) -> list[SpoolDirectory]:
        own = self._own.get(path.name)
        if own is not None and own.is_owned:
            return []
        try:
            address = self._address_for_us(path)
            if address is None:
                return []
        except OSError:  # it has no lock, or is gone
            self._clean_lockless(path)
            return []
        directory = SpoolDirectory.adopt(path, address)
        if directory is None:
            return []
        self.unknown.update(directory.unknown)
        self.causes.update(directory.causes)
        self.damage_total += directory.damage_total
        if directory.backlog_lines > 0:
            self.undirected_total += directory.envelope is None
            return [self._keep(directory)]
        if not directory.remove_if_empty():
            self.unknown.add(path)  # something in it is not ours to remove
            directory.close()
        return []

    def _address_for_us(self, path: Path) -> Address | None:
        """Return where the lines of a directory go; None where this process does not send them.

        Raises:
            OSError: the directory or its lock cannot be looked at.
        """
        try:
            locking.check_access(path, uid=os.geteuid())
        except NotOursError as error:
            self._refuse(path, error.strerror or "")
            return None
        address = locking.read_address(path)
        if address.is_lost:
            self._refuse(path, "it cannot be read which event hub its records are for")
            return None
        envelope = address.envelope
        if envelope is not None and self._is_other(envelope) and any(True for _ in list_segments(path)):
            self.others[path] = envelope
            return None
        return address

    def _is_other(self, envelope: Envelope) -> bool:
        own = self.envelope
        return own is not None and not own.destination.takes(envelope.destination)

    def _refuse(self, path: Path, cause: str) -> None:
        self.unknown.add(path)
        self.causes[path] = cause

    def _clean_lockless(self, path: Path) -> None:
        """Remove an empty directory without a lock file; leave one that has segments, it may be in use."""
        if (path / locking.LOCK_NAME).exists():
            return
        try:
            path.rmdir()
        except FileNotFoundError:
            return
        except OSError:
            self.unknown.add(path)

    def _files(self) -> list[_File]:
        """Return the segments of all directories, oldest first."""
        files: list[_File] = []
        names = (name for name in self._names() if self.path / name not in self.causes)
        for name in filter(locking.is_owner_name, names):
            with contextlib.suppress(OSError):
                segments = list(list_segments(self.path / name))
                files += [
                    _File(name, number, path, size, is_last=number == segments[-1][0])
                    for number, path, size in segments
                    if path not in self.unknown
                ]
        return files

    def _drop(self, file: _File) -> int | None:
        """Unlink one segment; returns its lines, or None when it must stay."""
        own = self._own.get(file.owner)
        if own is not None and own.is_owned:
            return own.drop_oldest()
        directory = self.path / file.owner
        claim: Claim | None = None
        try:
            claim = locking.take(directory)
            if claim is None and file.is_last:
                return None
            lines = _count(file, locking.peek_cursor(directory))
            if lines is None:
                self.unknown.add(file.path)
                return None
            file.path.unlink()
            if claim is not None:
                self.orphans_dropped_total += lines
        except FileNotFoundError:
            return 0  # another process keeps the bound too
        except OSError:
            return None
        finally:
            if claim is not None:
                claim.remove_or_release()
        return lines


def _count(file: _File, cursor: tuple[int, int]) -> int | None:
    """Return how many unsettled lines are in a segment of another process; None when it is not ours to drop.

    Raises:
        FileNotFoundError: it is gone.
        OSError: it cannot be read.
    """
    data = read_file(file.path) if file.size <= READ_MAX_BYTES else None
    if data is None or is_foreign(data):
        return None
    segment, offset = cursor
    if file.number < segment:
        return 0
    return survey(data, at=offset if file.number == segment else 0).lines
