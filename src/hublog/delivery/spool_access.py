"""The root of the spool as a process may find it: usable, not yet, not any more; what is odd is reported."""

import errno
import logging
import math
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Final

from hublog.settings import SyncPolicy
from hublog.spool.envelope import Destination, Envelope

if TYPE_CHECKING:
    from hublog.spool.directory import SpoolDirectory
    from hublog.spool.root import SpoolRoot

# Here and not where it is needed: that is a thread of ours, and a child that is forked in the middle of an
# import can never do it again.
_missing: ImportError | None = None
try:
    from hublog.spool import locking, root
except ImportError as error:  # it needs locks and limits that not every system has
    _missing = error

#: A root that cannot be used is tried again after this.
RETRY_S: Final = 3.0
#: Seconds between two reports of a disk that refuses writes.
_REPEAT_S: Final = 60.0
#: What other destinations' processes left and have not taken over after this is reported.
OTHERS_S: Final = 30.0
#: What is taken over in one look, since all of it is read.
ADOPTED_BYTES: Final = 1 << 26
_FULL: Final = frozenset({errno.ENOSPC, errno.EDQUOT})


class SpoolAccess:
    """Makes, recovers and bounds directories of the spool, where that is possible.

    Args:
        path: the root of the spool; made when it is missing.
        max_bytes: bound of all processes that share it.
        sync: when lines are forced onto the device.
        report: writes a line of the operator's log.
        now: monotonic seconds.
        wall: seconds since 1970, for names.
        envelope: see ``SpoolRoot``.
    """

    def __init__(
        self,
        path: Path,
        *,
        max_bytes: int,
        sync: SyncPolicy,
        report: Callable[[int, str], object],
        now: Callable[[], float],
        wall: Callable[[], float],
        envelope: Envelope | None = None,
    ) -> None:
        self.path = _whole(path)  # the application may change its working directory
        self._envelope = envelope
        self._max_bytes = max_bytes
        self._sync = sync
        self._report = report
        self._now = now
        self._wall = wall
        self._root: SpoolRoot | None = None
        self._is_ready = False
        self._has_reported_trouble = False
        self._retry_mono = self._refusal_mono = -math.inf
        self._reported_unknown: set[Path] = set()
        self._reported_damage = 0
        self._has_reported_undirected = False
        self._others_since: dict[Path, float] = {}
        self._reported_others: set[Destination] = set()

    @property
    def envelope(self) -> Envelope | None:
        """Where lines of this process go, and how they are packed."""
        return self._envelope

    @envelope.setter
    def envelope(self, envelope: Envelope) -> None:
        self._envelope = envelope
        if self._root is not None:
            self._root.envelope = envelope

    @property
    def segment_bytes(self) -> int | None:
        """How large a segment gets; None while that is not known."""
        return self._root.rules.max_bytes if self._root is not None else None

    @property
    def orphans_dropped_total(self) -> int:
        """Lines of dead owners that were dropped here."""
        return self._root.orphans_dropped_total if self._root is not None else 0

    def is_usable(self) -> bool:
        """Whether the spool can be used now; tries again when it is time to. Any thread may ask."""
        if self._is_ready or self._now() < self._retry_mono:
            return self._is_ready
        try:
            if self._root is None:
                self._root = self._make_root()
            self._root.prepare()
        except Exception as error:  # noqa: BLE001  # whatever it is, the lines wait in memory
            self._failed(error)
            return False
        self._is_ready = True
        if self._has_reported_trouble:
            self._has_reported_trouble = False
            self._report(logging.INFO, f"The spool directory {self.path} can be used again.")
        return True

    def new_directory(self, envelope: Envelope | None = None) -> "SpoolDirectory | None":
        """Return a new directory; None when there is none to be had. Any thread may call.

        Args:
            envelope: of its lines; None for that of this process.
        """
        for _ in range(2):
            if not self.is_usable() or self._root is None:
                return None
            try:
                return self._root.create_directory(envelope)
            except Exception as error:  # noqa: BLE001  # whatever it is, the lines wait in memory
                failure = error
                self._is_ready, self._retry_mono = False, -math.inf  # it was removed: make it once more
        self._failed(failure)
        return None

    def adopt(self, max_directories: int) -> "list[SpoolDirectory]":
        """Take over what dead processes left, oldest first; perhaps not all at once."""
        if self._root is None:
            return []
        return self._root.adopt_orphans(ADOPTED_BYTES, max_directories=max_directories)

    def keep_bound(self) -> None:
        """Drop the oldest segments until the bound is kept."""
        if self._root is not None:
            self._root.enforce_bound()

    def make_room(self) -> bool:
        """Drop the oldest segment; returns whether lines went."""
        return self._root is not None and self._root.make_room() > 0

    def report_unreadable(self, own_damage: int) -> None:
        """Report what cannot be read, each once; ``own_damage`` counts stretches of own segments."""
        if self._root is None:
            return
        unknown = self._root.unknown - self._reported_unknown
        if unknown:
            self._reported_unknown |= unknown
            causes = self._root.causes
            first = min(unknown, key=lambda path: (path not in causes, path))
            cause = f" ({causes[first]})" if first in causes else ""
            self._report(
                logging.WARNING,
                f"What another version or owner left in the spool is not touched: {first}{cause}"
                + (f", and {len(unknown) - 1} more." if len(unknown) > 1 else "."),
            )
        self._report_undirected(self._root)
        self._report_others(self._root)
        damage = self._root.damage_total + own_damage
        if damage > self._reported_damage:
            number, self._reported_damage = damage - self._reported_damage, damage
            self._report(
                logging.WARNING,
                f"Unreadable sections in the files of the spool {self.path}: {number}. They are damaged, or"
                " the last write of a process that was killed, and are skipped; everything else is sent.",
            )

    def _report_undirected(self, root: "SpoolRoot") -> None:
        if root.undirected_total and self._envelope is not None and not self._has_reported_undirected:
            self._has_reported_undirected = True
            self._report(
                logging.WARNING,
                f"The spool {self.path} holds records of an older version of hublog, which did not note for"
                f" which event hub they are. They are sent to {self._envelope.destination}.",
            )

    def _report_others(self, root: "SpoolRoot") -> None:
        """Report once for each destination what no process has taken over for a while."""
        now = self._now()
        self._others_since = {path: self._others_since.get(path, now) for path in root.others}
        waiting: dict[Destination, int] = {}
        for path, since in self._others_since.items():
            destination = root.others[path].destination
            if now - since >= OTHERS_S and destination not in self._reported_others and locking.is_left(path):
                waiting[destination] = waiting.get(destination, 0) + 1
        for destination, number in waiting.items():
            self._reported_others.add(destination)
            self._report(
                logging.WARNING,
                f"In the spool {self.path} records of {number} ended processes are for {destination}, and no"
                " running process has taken them over. They are not sent elsewhere: start an application that"
                " sends there, or run hublog spool drain with its settings.",
            )

    def report_refusal(self, error: OSError | None) -> None:
        """Report that the disk refuses writes, once a minute."""
        if error is not None and self._now() - self._refusal_mono >= _REPEAT_S:
            self._refusal_mono = self._now()
            self._report(
                logging.WARNING,
                f"The spool {self.path} cannot be written: {error.strerror or error}. Until it can, records"
                " wait in memory only, and a restart loses those that wait.",
            )

    def abandon_after_fork(self) -> None:
        """Close what was inherited, in the child; waits for nothing."""
        if self._root is not None:
            self._root.abandon_after_fork()

    def _make_root(self) -> "SpoolRoot":
        if _missing is not None:
            raise _missing
        if not self.path.is_absolute():
            raise locking.SpoolUnavailableError(
                f"The spool directory {self.path} cannot be used: the working directory of the process was"
                " removed, and the path is relative to it; set EVENTHUB_LOG_SPOOL_DIR to an absolute path."
            )
        return root.SpoolRoot(
            self.path,
            max_bytes=self._max_bytes,
            sync=self._sync,
            now=self._now,
            wall=self._wall,
            envelope=self._envelope,
        )

    def _failed(self, error: Exception) -> None:
        self._is_ready = False
        self._retry_mono = self._now() + RETRY_S
        if not self._has_reported_trouble:
            self._has_reported_trouble = True
            self._report(
                logging.WARNING,
                f"{error} Until then records wait in memory only, and a restart loses those that wait; it is"
                " tried again every few seconds.",
            )


def _whole(path: Path) -> Path:
    """Return an absolute path; the same where the working directory was removed."""
    try:
        return path.absolute()
    except FileNotFoundError:
        return path


def is_full(error: OSError | None) -> bool:
    """Whether an error says that the disk has no room."""
    return error is not None and error.errno in _FULL
