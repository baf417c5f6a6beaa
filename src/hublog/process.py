"""What belongs to one process: replaced after a fork, never repaired."""

import os
from collections.abc import Callable
from time import monotonic

from hublog.capture.fields import Misfits
from hublog.capture.formatter import LineFormatter
from hublog.capture.record_ids import RecordIds
from hublog.delivery.batcher import Batcher
from hublog.delivery.bounded_queue import BoundedQueue
from hublog.delivery.breaker import Breaker
from hublog.delivery.packer import Packer
from hublog.delivery.shipper import Sender, Shipper
from hublog.delivery.worker import Worker
from hublog.observer import Observer
from hublog.settings import EventHubSettings, Settings
from hublog.tally import Tally


class Process:
    """Queue, thread, books and ids of one pipeline in one process.

    Args:
        settings: bounds of the queue, and what the formatter fills in.
        make_formatter: makes the formatter for settings, ids and the count of misfits.
        prepare: see ``Worker``; is also told which process asks.
        enter: called once in the new thread.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        make_formatter: Callable[[Settings, RecordIds, Misfits], LineFormatter],
        prepare: Callable[["Process", bool], float],
        enter: Callable[[], object],
    ) -> None:
        hub = settings.eventhub
        self.pid = os.getpid()
        self.ids = RecordIds()
        self.queue = BoundedQueue(max_lines=hub.max_queue_size, max_bytes=hub.max_queue_bytes)
        self.put = self.queue.put
        self.misfits = Misfits()
        self.encode = make_formatter(settings, self.ids, self.misfits).encode
        self.observer = Observer(hub, misfits=self.misfits)
        self.shipper = Shipper(
            self.queue,
            _NoSender(),
            packer=Packer(hub.packing, gzip_level=hub.gzip_level, routing=hub.routing),
            batcher=_batcher(self.queue, hub),
            breaker=_breaker(hub),
            observer=self.observer,
        )
        self.worker = Worker(
            self.queue,
            self.shipper,
            prepare=lambda is_asked: prepare(self, is_asked),
            enter=enter,
            leave=self.close_sender,
        )
        self.unconfigured = Tally()
        self.fitted: Settings | None = None
        self.sender: Sender | None = None
        self.asked_mono: float | None = None

    def fit(self, settings: Settings, sender: Sender, *, since: float) -> None:
        """Take over settings; runs in the worker's thread.

        Args:
            settings: what is in force now.
            sender: made of them.
            since: when the first of the records came that wait already (monotonic seconds).
        """
        hub = settings.eventhub
        self.queue.max_lines, self.queue.max_bytes = hub.max_queue_size, hub.max_queue_bytes
        self.close_sender()
        self.sender = sender
        self.observer = Observer(hub, misfits=self.misfits)
        self.shipper.refit(
            sender,
            packer=Packer(hub.packing, gzip_level=hub.gzip_level, routing=hub.routing),
            batcher=_batcher(self.queue, hub, since=since),
            breaker=_breaker(hub),
            observer=self.observer,
        )
        self.fitted = settings
        sender.open()

    def close_sender(self) -> None:
        """Let go of the connection; runs in the worker's thread."""
        sender, self.sender, self.fitted = self.sender, None, None
        if sender is not None:
            sender.close()


class _NoSender:
    """Stands in until the settings are read; the worker does not step before."""

    max_send_bytes = 1

    def open(self) -> None:
        """Do nothing."""

    def send(self, bodies: object, properties: object) -> int:
        """Refuse: never called, since ``prepare`` comes first."""
        raise NotImplementedError

    def close(self) -> None:
        """Do nothing."""


def _batcher(queue: BoundedQueue, hub: EventHubSettings, *, since: float | None = None) -> Batcher:
    return Batcher(
        queue, batch_size=hub.batch_size, linger_s=hub.batch_timeout_seconds, now=monotonic, since=since
    )


def _breaker(hub: EventHubSettings) -> Breaker:
    return Breaker(
        threshold=hub.circuit_breaker_threshold,
        cooldown_s=hub.circuit_breaker_cooldown_seconds,
        now=monotonic,
    )
