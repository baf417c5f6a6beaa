"""What waits in a spool, summed up for people: the same words for ``doctor`` and ``status``."""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from hublog.cli.spool_inspection import DirectoryLook, Owner, check_root, look_at_rejected, look_at_root
from hublog.cli.text import count_of, time_text
from hublog.settings import EventHubSettings
from hublog.spool.envelope import Destination, envelope_of
from hublog.spool.locking import LOCK_NAME


@dataclass(frozen=True, slots=True, kw_only=True)
class Life:
    """The directory of one process life.

    Attributes:
        name: of the directory.
        owner: ``alive``, ``dead`` or ``unclear``.
        pid: of a living owner, where the system shows it to us.
        since: when the life began.
        records: that wait.
        size: bytes of its segments.
        damaged: stretches that cannot be read.
        destination: where the records go; None when their directory does not say.
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
class Waiting:
    """What lies in a spool.

    Attributes:
        root: of the spool.
        lives: oldest first.
        rejected: records that the hub refused.
        rejected_size: bytes of them.
        own: where the settings send; None where they name no destination.
    """

    root: Path
    lives: tuple[Life, ...] = ()
    rejected: int = 0
    rejected_size: int = 0
    own: Destination | None = None

    @property
    def records(self) -> int:
        """Records that wait."""
        return sum(life.records for life in self.lives)

    @property
    def size(self) -> int:
        """Bytes of all segments."""
        return sum(life.size for life in self.lives)

    @property
    def oldest(self) -> datetime | None:
        """When the oldest life began of which records wait."""
        return min((life.since for life in self.lives if life.records and life.since), default=None)

    @property
    def alive(self) -> int:
        """How many owners live."""
        return sum(life.owner is Owner.ALIVE for life in self.lives)

    @property
    def stranded(self) -> int:
        """Records of dead owners, while no owner lives that would take them over."""
        return sum(life.records for life in self._stranded())

    @property
    def for_others(self) -> dict[Destination, int]:
        """Those of them that go where the settings do not send, by their destination."""
        found: dict[Destination, int] = {}
        for life in self._stranded():
            destination = life.destination
            if life.records and destination is not None and not (self.own and self.own.takes(destination)):
                found[destination] = found.get(destination, 0) + life.records
        return found

    def _stranded(self) -> Iterator[Life]:
        alive = [life.destination for life in self.lives if life.owner is Owner.ALIVE]
        for life in self.lives:
            wanted = life.destination
            takers = (wanted is None or each is None or each.takes(wanted) for each in alive)
            if life.owner is Owner.DEAD and not any(takers):
                yield life

    @property
    def text(self) -> str:
        """All of it in half a line."""
        if not self.records:
            return "nothing waits"
        since = f", the oldest since {time_text(self.oldest)}" if self.oldest else ""
        return (
            f"{count_of(self.records, 'record')} ({count_of(self.size, 'byte')}) of"
            f" {count_of(len(self.lives), 'process', 'processes')} wait, {self.alive} alive{since}"
        )

    @property
    def problems(self) -> list[str]:
        """What somebody has to do, a sentence each."""
        found = []
        others = self.for_others
        own = self.stranded - sum(others.values())
        if own:
            found.append(
                f"{count_of(own, 'record')} of dead processes wait and no process here sends them:"
                " start the application, or run hublog spool drain."
            )
        found += [
            f"{count_of(records, 'record')} of dead processes wait for {other}, where these settings do not"
            " send, and no process here sends them: start an application that sends there, or run hublog"
            " spool drain with its settings."
            for other, records in others.items()
        ]
        unclear = sum(life.records for life in self.lives if life.owner is Owner.UNCLEAR)
        if unclear:
            found.append(
                f"{count_of(unclear, 'record')} lie where nobody can take them over: see hublog spool verify."
            )
        if any(life.damaged for life in self.lives):
            found.append("Some of it cannot be read: see hublog spool verify.")
        if self.rejected:
            found.append(
                f"The hub refused {count_of(self.rejected, 'record')} for themselves: see rejected/ in the"
                " spool, then hublog spool purge --rejected."
            )
        return found


def waiting_in(root: Path, hub: EventHubSettings) -> Waiting:
    """Look at a spool; reads all of it, changes nothing.

    Args:
        root: of the spool.
        hub: where the settings send.

    Raises:
        SpoolUnavailableError: it cannot be read.
    """
    path = check_root(root)
    look, rejected = look_at_root(path), look_at_rejected(path)
    pids = _owners(path)
    return Waiting(
        root=path,
        lives=tuple(_life(found, pids) for found in look.directories),
        rejected=rejected.records,
        rejected_size=rejected.size,
        own=envelope_of(hub).destination if hub.is_configured else None,
    )


def _life(found: DirectoryLook, pids: dict[str, int]) -> Life:
    name = found.path.name
    return Life(
        name=name,
        owner=found.owner,
        pid=pids.get(name) if found.owner is Owner.ALIVE else None,
        since=found.since,
        records=found.waiting,
        size=found.size,
        damaged=found.damaged,
        destination=found.destination,
    )


def _owners(root: Path) -> dict[str, int]:
    """Return the process that has a lock file open, by the name of its directory.

    Processes of other users and of other containers show nothing; nor does a system without ``/proc``.
    """
    found: dict[str, int] = {}
    real = root.resolve()
    for pid in _processes():
        for target in _open_files(pid):
            if target.name == LOCK_NAME and target.parent.parent == real:
                # A child that has inherited it comes later: it has the higher number.
                found.setdefault(target.parent.name, pid)
    return found


def _processes() -> list[int]:
    with contextlib.suppress(OSError):
        return sorted(int(each.name) for each in Path("/proc").iterdir() if each.name.isdecimal())
    return []


def _open_files(pid: int) -> Iterator[Path]:
    with contextlib.suppress(OSError):
        for entry in Path(f"/proc/{pid}/fd").iterdir():
            with contextlib.suppress(OSError):
                yield entry.readlink()
