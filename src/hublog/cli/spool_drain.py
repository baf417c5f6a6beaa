"""``hublog spool drain``: sends what dead processes left, by the same pipeline as an application's."""

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final, TextIO

from hublog.cli.spool_inspection import (
    DirectoryLook,
    Owner,
    dead_directories,
    look_at_directory,
    look_at_root,
)
from hublog.cli.text import count_of
from hublog.delivery.accounting import Drop, Stats
from hublog.delivery.send_thread import Sender
from hublog.errors import PermanentSendError, SendError, SettingsError
from hublog.runtime.pipeline import Pipeline
from hublog.senders.event_hub import EventHubSender
from hublog.settings import EventHubSettings, Settings, SpoolMode
from hublog.signals import batch_failed, batch_sent
from hublog.spool.envelope import Destination, envelope_of
from hublog.spool.root import SpoolRoot

PROGRESS_S: Final = 1.0
_POLL_S: Final = 0.1
#: For the thread to close its connection once everything is sent.
_END_S: Final = 5.0
#: Whoever drains never drops the oldest records: the bound is kept by those who write.
_NO_BOUND: Final = 1 << 40
_OFF: Final = (
    "EVENTHUB_LOGGING_ENABLED is false; it must be true to send what is on disk. Set it, or use --config."
)
_NOT_CONFIGURED: Final = (
    "No connection to an Event Hub is configured; set EVENTHUB_NAMESPACE_CONNECTION_STRING (or"
    " EVENTHUB_FULLY_QUALIFIED_NAMESPACE), or use --config, to send what is on disk."
)
_WORDS: Final = {
    Drop.REJECTED: "that the hub refused, now in rejected/",
    Drop.TOO_LARGE: "too large for the hub, now in rejected/",
    Drop.CORRUPTED: "that could not be read any more",
}


def drain_spool(
    root: Path,
    settings: Settings,
    *,
    timeout_s: float,
    out: TextIO,
    tell: Callable[[str], None],
    make_sender: Callable[[EventHubSettings], Sender] = EventHubSender,
) -> int:
    """Send what dead processes left in a spool; what is not sent stays there.

    Args:
        root: of the spool.
        settings: where to; the mode of the spool in them does not matter.
        timeout_s: how long to try.
        out: where the result goes.
        tell: writes one line to the operator: progress, and what went wrong.
        make_sender: makes the destination.

    Returns:
        The exit status: 0 when nothing of dead processes is left, else 1. What is for another destination is
        not sent, and is left.

    Raises:
        SettingsError: the event hub is switched off, or there is no connection to it.
        SpoolUnavailableError: the spool cannot be used by this process.
    """
    settings = _for_draining(root, settings)
    SpoolRoot(root, max_bytes=_NO_BOUND).prepare()
    destination = envelope_of(settings.eventhub).destination
    leftovers = Leftovers(root, destination)
    found = leftovers.records()
    end = End(left=0, stats=Stats())
    if found:
        end = _run(settings, leftovers, make_sender, timeout_s=timeout_s, tell=tell)
    _write_books(found, end, out)
    if end.left:
        why = (
            f"the time ({timeout_s:g} s) is over" if end.error is None else f"it does not go on: {end.error}"
        )
        tell(f"{count_of(end.left, 'record')} of dead processes still wait in {root}, since {why}")
    directories = look_at_root(root).directories
    unclear = sum(each.waiting for each in directories if each.owner is Owner.UNCLEAR)
    if unclear:
        tell(f"{count_of(unclear, 'record')} lie where nobody can take them over; see hublog spool verify")
    others = _of_others(directories, destination)
    for other, records in others.items():
        tell(
            f"{count_of(records, 'record')} of dead processes are for {other} and stay, since these settings"
            f" send to {destination}; run hublog spool drain with the settings of that destination"
        )
    if end.left or unclear or others:
        return 1
    out.write(f"Nothing of dead processes is left in {root}.\n")
    return 0


@dataclass(frozen=True, slots=True, kw_only=True)
class End:
    """How far it came.

    Attributes:
        left: records of dead processes that are not sent.
        stats: the books of whoever sent.
        error: the last failure; None when the last send succeeded.
    """

    left: int
    stats: Stats
    error: SendError | None = None


class Leftovers:
    """Counts the records in the directories of dead owners; reads each directory once.

    Args:
        root: of the spool.
        destination: only what may be sent there is counted.
    """

    def __init__(self, root: Path, destination: Destination) -> None:
        self._root = root
        self._destination = destination
        self._known: dict[Path, int] = {}

    def records(self) -> int:
        """Return how many records wait in directories that nobody owns now."""
        total = 0
        for path in dead_directories(self._root, self._destination):
            if path not in self._known:
                found = look_at_directory(path)
                self._known[path] = 0 if found is None else found.waiting
            total += self._known[path]
        return total


class Watch:
    """Waits until everything is sent, and tells how it goes.

    Args:
        left: how many records nobody has taken over yet.
        stats: the books of whoever sends them.
        tell: writes one line.
        now: monotonic seconds.
        pause: waits for so many seconds.

    Attributes:
        error: the last failure of a send; None when the last one succeeded.
    """

    def __init__(
        self,
        left: Callable[[], int],
        stats: Callable[[], Stats],
        *,
        tell: Callable[[str], None],
        now: Callable[[], float] = time.monotonic,
        pause: Callable[[float], None] = time.sleep,
    ) -> None:
        self._left = left
        self._stats = stats
        self._tell = tell
        self._now = now
        self._pause = pause
        self.error: SendError | None = None

    def failed(self, _sender: object, *, error: SendError, **_values: object) -> None:
        """Hear of a send that failed; a receiver of ``hublog.signals.batch_failed``."""
        self.error = error

    def succeeded(self, _sender: object, **_values: object) -> None:
        """Hear of a send that the hub accepted; a receiver of ``hublog.signals.batch_sent``."""
        self.error = None

    def wait(self, timeout_s: float) -> End:
        """Return once nothing is left, it is no use to go on, or the time is over.

        Args:
            timeout_s: how long to wait at most.
        """
        end = self._now() + timeout_s
        told_mono, told = self._now(), ""
        while True:
            left, stats = self._look()
            now = self._now()
            is_hopeless = isinstance(self.error, PermanentSendError)
            if not (left or stats.held) or is_hopeless or now >= end:
                return End(left=left + stats.held, stats=stats, error=self.error)
            if now - told_mono >= PROGRESS_S:
                text = f"{count_of(stats.sent_total, 'record')} sent, {left + stats.held:,} wait"
                told_mono, told = now, self._tell_new(text, told)
            self._pause(min(_POLL_S, end - now))

    def _look(self) -> tuple[int, Stats]:
        """Return what nobody has taken over, and the books; no record is in both of them or in neither."""
        stats = self._stats()
        while True:
            # The books last: what is taken over while we look is in them by then.
            before, left, stats = stats, self._left(), self._stats()
            if before.recovered_total == stats.recovered_total:
                return left, stats

    def _tell_new(self, text: str, told: str) -> str:
        if text != told:
            self._tell(text)
        return text


def _of_others(directories: Iterable[DirectoryLook], own: Destination) -> dict[Destination, int]:
    """Return how many records of dead processes are for each other destination."""
    found: dict[Destination, int] = {}
    for each in directories:
        other = each.destination
        if each.owner is Owner.DEAD and each.waiting and other is not None and not own.takes(other):
            found[other] = found.get(other, 0) + each.waiting
    return found


def _for_draining(root: Path, settings: Settings) -> Settings:
    """Return the settings with this spool in them, without a bound.

    Raises:
        SettingsError: they say no event hub.
    """
    hub = settings.eventhub
    if not hub.enabled:
        raise SettingsError([_OFF])
    if not hub.is_configured:
        raise SettingsError([_NOT_CONFIGURED])
    return replace(
        settings,
        eventhub=replace(hub, spool=SpoolMode.OVERFLOW, spool_dir=root, spool_max_bytes=_NO_BOUND),
    )


def _run(
    settings: Settings,
    leftovers: Leftovers,
    make_sender: Callable[[EventHubSettings], Sender],
    *,
    timeout_s: float,
    tell: Callable[[str], None],
) -> End:
    pipeline = Pipeline(settings, make_sender=make_sender)
    watch = Watch(leftovers.records, pipeline.stats, tell=tell)
    process = pipeline.start()
    with batch_failed.connected_to(watch.failed), batch_sent.connected_to(watch.succeeded):
        try:
            if not process.worker.wake():
                tell("no thread can be started to send with")
                timeout_s = 0.0
            end = watch.wait(timeout_s)
            if not end.left:
                process.worker.stop()
                process.worker.wait_until_ended(_END_S)
            return end
        finally:
            process.end()


def _write_books(found: int, end: End, out: TextIO) -> None:
    stats = end.stats
    out.write(f"{count_of(stats.sent_total, 'record')} sent.\n")
    for drop, words in _WORDS.items():
        if stats.dropped.get(drop):
            out.write(f"{count_of(stats.dropped[drop], 'record')} {words}.\n")
    elsewhere = found - stats.sent_total - stats.dropped_total - end.left
    if elsewhere > 0:
        out.write(f"{count_of(elsewhere, 'record')} taken over by other processes, which send them.\n")
