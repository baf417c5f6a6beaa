"""``hublog spool drain``: sends orphaned records, through the same pipeline as an application."""

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final, TextIO

from hublog.cli.command import count_of
from hublog.cli.spool_inspection import (
    DirectoryState,
    Owner,
    dead_directories,
    inspect_directory,
    inspect_spool,
)
from hublog.delivery.accounting import Drop, Stats
from hublog.delivery.sender import Sender
from hublog.errors import PermanentSendError, SendError, SettingsError
from hublog.runtime.pipeline import Pipeline
from hublog.senders.event_hub import EventHubSender
from hublog.settings import EventHubSettings, Settings, SpoolMode
from hublog.signals import batch_failed, batch_sent
from hublog.spool.envelope import Destination, envelope_of
from hublog.spool.root import SpoolRoot

PROGRESS_S: Final = 1.0
_POLL_S: Final = 0.1
#: For the thread to close its connection when all records are sent.
_END_S: Final = 5.0
#: Draining drops no records: the processes that write keep the spool within its size limit.
_NO_BOUND: Final = 1 << 40
_DISABLED: Final = (
    "EVENTHUB_LOGGING_ENABLED is false; it must be true to send records from disk. Set it to true, or pass"
    " --config."
)
_NOT_CONFIGURED: Final = (
    "No connection to an Event Hub is configured; set EVENTHUB_NAMESPACE_CONNECTION_STRING (or"
    " EVENTHUB_FULLY_QUALIFIED_NAMESPACE), or pass --config, to send records from disk."
)
_DROPPED: Final = {
    Drop.REJECTED: "rejected by the event hub, moved to rejected/",
    Drop.TOO_LARGE: "too large for the event hub, moved to rejected/",
    Drop.CORRUPTED: "damaged and lost",
}


def drain_spool(
    root: Path,
    settings: Settings,
    *,
    timeout_s: float,
    out: TextIO,
    report: Callable[[str], None],
    make_sender: Callable[[EventHubSettings], Sender] = EventHubSender,
) -> int:
    """Send the orphaned records of a spool, whatever the settings' spool mode; what is not sent stays.

    Returns:
        The exit status: 0 when no orphaned records are left, else 1. Records for another destination are not
        sent, and stay.

    Raises:
        SettingsError: the event hub is disabled, or no connection to it is configured.
        SpoolUnavailableError: the spool cannot be used by this process.
    """
    settings = _for_draining(root, settings)
    SpoolRoot(root, max_bytes=_NO_BOUND).prepare()
    destination = envelope_of(settings.eventhub).destination
    orphans = OrphanedRecords(root, destination)
    before = orphans.records()
    result = DrainResult(left=0, stats=Stats())
    if before:
        result = _run(settings, orphans, make_sender, timeout_s=timeout_s, report=report)
    _write_totals(before, result, out)
    if result.left:
        why = (
            f"timed out after {timeout_s:g} s" if result.error is None else f"sending failed: {result.error}"
        )
        report(f"{count_of(result.left, 'orphaned record')} still in {root}: {why}")
    directories = inspect_spool(root).directories
    unclear = sum(each.waiting for each in directories if each.owner is Owner.UNCLEAR)
    if unclear:
        report(f"{count_of(unclear, 'record')} cannot be recovered by any process; see hublog spool verify")
    others = _of_others(directories, destination)
    for other, records in others.items():
        report(
            f"{count_of(records, 'orphaned record')} for {other} not sent, since these settings send to"
            f" {destination}; run hublog spool drain with the settings of that destination"
        )
    if result.left or unclear or others:
        return 1
    out.write(f"No orphaned records left in {root}.\n")
    return 0


@dataclass(frozen=True, slots=True, kw_only=True)
class DrainResult:
    """The result of a drain.

    Attributes:
        left: orphaned records that were not sent.
        error: the last failure; None when the last send succeeded.
    """

    left: int
    stats: Stats
    error: SendError | None = None


class OrphanedRecords:
    """Counts the orphaned records that may be sent to a destination; reads each directory once."""

    def __init__(self, root: Path, destination: Destination) -> None:
        self._root = root
        self._destination = destination
        self._known: dict[Path, int] = {}

    def records(self) -> int:
        """Return the number of records in directories that no process owns now."""
        total = 0
        for path in dead_directories(self._root, self._destination):
            if path not in self._known:
                directory = inspect_directory(path)
                self._known[path] = 0 if directory is None else directory.waiting
            total += self._known[path]
        return total


class DrainMonitor:
    """Waits until all records are sent, and reports progress.

    Args:
        left: returns the number of records not recovered yet.

    Attributes:
        error: the last failure of a send; None when the last one succeeded.
    """

    def __init__(
        self,
        left: Callable[[], int],
        stats: Callable[[], Stats],
        *,
        report: Callable[[str], None],
        now: Callable[[], float] = time.monotonic,
        pause: Callable[[float], None] = time.sleep,
    ) -> None:
        self._left = left
        self._stats = stats
        self._report = report
        self._now = now
        self._pause = pause
        self.error: SendError | None = None

    def failed(self, _sender: object, *, error: SendError, **_values: object) -> None:
        """Note a send that failed; a receiver of ``hublog.signals.batch_failed``."""
        self.error = error

    def succeeded(self, _sender: object, **_values: object) -> None:
        """Note a send that the event hub accepted; a receiver of ``hublog.signals.batch_sent``."""
        self.error = None

    def wait(self, timeout_s: float) -> DrainResult:
        """Return when no records are left, a permanent error occurred, or the time is over."""
        end = self._now() + timeout_s
        reported_mono, last = self._now(), ""
        while True:
            left, stats = self._count()
            now = self._now()
            is_permanent = isinstance(self.error, PermanentSendError)
            if not (left or stats.held) or is_permanent or now >= end:
                return DrainResult(left=left + stats.held, stats=stats, error=self.error)
            if now - reported_mono >= PROGRESS_S:
                text = f"{count_of(stats.sent_total, 'record')} sent, {left + stats.held:,} waiting"
                reported_mono = now
                if text != last:
                    self._report(text)
                    last = text
            self._pause(min(_POLL_S, end - now))

    def _count(self) -> tuple[int, Stats]:
        """Return the number of records not recovered yet, and the counters; each record is in exactly one."""
        stats = self._stats()
        while True:
            # The counters last: they include what is recovered while we count.
            before, left, stats = stats, self._left(), self._stats()
            if before.recovered_total == stats.recovered_total:
                return left, stats


def _of_others(directories: Iterable[DirectoryState], own: Destination) -> dict[Destination, int]:
    """Return the number of orphaned records for each other destination."""
    numbers: dict[Destination, int] = {}
    for each in directories:
        other = each.destination
        if each.owner is Owner.DEAD and each.waiting and other is not None and not own.takes(other):
            numbers[other] = numbers.get(other, 0) + each.waiting
    return numbers


def _for_draining(root: Path, settings: Settings) -> Settings:
    """Return the settings with this spool, and no limit to its size.

    Raises:
        SettingsError: they name no event hub.
    """
    hub = settings.eventhub
    if not hub.enabled:
        raise SettingsError([_DISABLED])
    if not hub.is_configured:
        raise SettingsError([_NOT_CONFIGURED])
    return replace(
        settings, eventhub=replace(hub, spool=SpoolMode.OVERFLOW, spool_dir=root, spool_max_bytes=_NO_BOUND)
    )


def _run(
    settings: Settings,
    orphans: OrphanedRecords,
    make_sender: Callable[[EventHubSettings], Sender],
    *,
    timeout_s: float,
    report: Callable[[str], None],
) -> DrainResult:
    pipeline = Pipeline(settings, make_sender=make_sender)
    monitor = DrainMonitor(orphans.records, pipeline.stats, report=report)
    process = pipeline.start()
    with batch_failed.connected_to(monitor.failed), batch_sent.connected_to(monitor.succeeded):
        try:
            if not process.worker.wake():
                report("no thread could be started to send records")
                timeout_s = 0.0
            result = monitor.wait(timeout_s)
            if not result.left:
                process.worker.stop()
                process.worker.wait_until_ended(_END_S)
            return result
        finally:
            process.end()


def _write_totals(before: int, result: DrainResult, out: TextIO) -> None:
    stats = result.stats
    out.write(f"{count_of(stats.sent_total, 'record')} sent.\n")
    for drop, reason in _DROPPED.items():
        if stats.dropped.get(drop):
            out.write(f"{count_of(stats.dropped[drop], 'record')} {reason}.\n")
    recovered = before - stats.sent_total - stats.dropped_total - result.left
    if recovered > 0:
        out.write(f"{count_of(recovered, 'record')} recovered by other processes, which send them.\n")
