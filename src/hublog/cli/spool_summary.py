"""The records waiting in a spool, summed up for people: the same sentences for ``doctor`` and ``status``."""

import contextlib
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from hublog.cli.command import count_of, time_text
from hublog.cli.spool_inspection import DirectoryState, Owner, check_root, inspect_rejected, inspect_spool
from hublog.settings import EventHubSettings
from hublog.spool.envelope import Destination, envelope_of
from hublog.spool.locking import LOCK_NAME


@dataclass(frozen=True, slots=True, kw_only=True)
class DirectorySummary:
    """The directory of one process.

    Attributes:
        name: of the directory.
        owner: ``alive``, ``dead`` or ``unclear``.
        pid: of a living owner, where the system shows it to us.
        since: when the process started to write.
        records: waiting in it.
        size: bytes of its segments.
        damaged: byte ranges that cannot be read.
        destination: where the records go; None when the directory does not say.
    """

    name: str
    owner: Owner
    pid: int | None
    since: datetime | None
    records: int
    size: int
    damaged: int
    destination: Destination | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SpoolSummary:
    """The contents of a spool.

    Attributes:
        root: of the spool.
        directories: oldest first.
        rejected: records that the event hub rejected.
        rejected_size: bytes of them.
        own: where the settings send; None where they name no destination.
    """

    root: Path
    directories: tuple[DirectorySummary, ...] = ()
    rejected: int = 0
    rejected_size: int = 0
    own: Destination | None = None

    @property
    def records(self) -> int:
        """Records waiting in all directories."""
        return sum(each.records for each in self.directories)

    @property
    def size(self) -> int:
        """Bytes of all segments."""
        return sum(each.size for each in self.directories)

    @property
    def oldest(self) -> datetime | None:
        """When the oldest process with waiting records started to write."""
        return min((each.since for each in self.directories if each.records and each.since), default=None)

    @property
    def alive(self) -> int:
        """Number of owners that are alive."""
        return sum(each.owner is Owner.ALIVE for each in self.directories)

    @property
    def orphaned(self) -> int:
        """Records of ended processes that no running process will recover."""
        return sum(each.records for each in self._orphaned())

    @property
    def for_others(self) -> dict[Destination, int]:
        """Orphaned records for destinations other than the configured one, by destination."""
        numbers: Counter[Destination] = Counter()
        for each in self._orphaned():
            destination = each.destination
            if each.records and destination is not None and not (self.own and self.own.takes(destination)):
                numbers[destination] += each.records
        return dict(numbers)

    def _orphaned(self) -> Iterator[DirectorySummary]:
        alive = [each.destination for each in self.directories if each.owner is Owner.ALIVE]
        for each in self.directories:
            wanted = each.destination
            recovers = (wanted is None or other is None or other.takes(wanted) for other in alive)
            if each.owner is Owner.DEAD and not any(recovers):
                yield each

    @property
    def text(self) -> str:
        """All of it in half a line."""
        if not self.records:
            return "no records waiting"
        since = f", oldest since {time_text(self.oldest)}" if self.oldest else ""
        return (
            f"{count_of(self.records, 'record')} ({count_of(self.size, 'byte')}) waiting from"
            f" {count_of(len(self.directories), 'process', 'processes')}, {self.alive} alive{since}"
        )

    @property
    def problems(self) -> list[str]:
        """What the operator has to act on, a sentence each."""
        problems = []
        others = self.for_others
        own = self.orphaned - sum(others.values())
        if own:
            problems.append(
                f"{count_of(own, 'orphaned record')} waiting, and no running process sends them:"
                " start the application, or run hublog spool drain."
            )
        problems += [
            f"{count_of(records, 'orphaned record')} waiting for {other}, which is not the configured"
            " destination, and no running process sends there: start an application that does, or run hublog"
            " spool drain with its settings."
            for other, records in others.items()
        ]
        unclear = sum(each.records for each in self.directories if each.owner is Owner.UNCLEAR)
        if unclear:
            problems.append(f"No process can recover {count_of(unclear, 'record')}: see hublog spool verify.")
        if any(each.damaged for each in self.directories):
            problems.append("Some segments are damaged: see hublog spool verify.")
        if self.rejected:
            problems.append(
                f"The event hub rejected {count_of(self.rejected, 'record')}: see rejected/ in the spool,"
                " then run hublog spool purge --rejected."
            )
        return problems


def summarize_spool(root: Path, hub: EventHubSettings) -> SpoolSummary:
    """Read a whole spool and sum it up; changes nothing.

    Args:
        root: of the spool.
        hub: where the settings send.

    Raises:
        SpoolUnavailableError: it cannot be read.
    """
    path = check_root(root)
    spool, rejected = inspect_spool(path), inspect_rejected(path)
    pids = _pids_by_directory(path)
    return SpoolSummary(
        root=path,
        directories=tuple(_summary_of(directory, pids) for directory in spool.directories),
        rejected=rejected.records,
        rejected_size=rejected.size,
        own=envelope_of(hub).destination if hub.is_configured else None,
    )


def _summary_of(directory: DirectoryState, pids: dict[str, int]) -> DirectorySummary:
    name = directory.path.name
    return DirectorySummary(
        name=name,
        owner=directory.owner,
        pid=pids.get(name) if directory.owner is Owner.ALIVE else None,
        since=directory.since,
        records=directory.waiting,
        size=directory.size,
        damaged=directory.damaged,
        destination=directory.destination,
    )


def _pids_by_directory(root: Path) -> dict[str, int]:
    """Return the process that has a lock file open, by the name of its directory.

    Processes of other users and containers are not visible; nor is any on a system without ``/proc``.
    """
    pids: dict[str, int] = {}
    real = root.resolve()
    for pid in _processes():
        for target in _open_files(pid):
            if target.name == LOCK_NAME and target.parent.parent == real:
                # A child that inherited the file has the higher number, so it comes later.
                pids.setdefault(target.parent.name, pid)
    return pids


def _processes() -> list[int]:
    with contextlib.suppress(OSError):
        return sorted(int(each.name) for each in Path("/proc").iterdir() if each.name.isdecimal())
    return []


def _open_files(pid: int) -> Iterator[Path]:
    with contextlib.suppress(OSError):
        for entry in Path(f"/proc/{pid}/fd").iterdir():
            with contextlib.suppress(OSError):
                yield entry.readlink()
