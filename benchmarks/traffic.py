"""What leaves the process at a given rate: queue, batcher, packer, shipper and sender as they are.

Only the clock and the socket are replaced. The clock is moved from record to record, so the batches are
the product's own decisions; events are encoded by azure-eventhub. A send takes no time here, which lets
the most events leave: in life lines gather while a send is under way.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import orjson
from azure.eventhub import EventDataBatch

from hublog.cli.prices import Load, billed
from hublog.delivery.accounting import DropReport, State, Stats
from hublog.delivery.circuit_breaker import CircuitBreaker
from hublog.delivery.memory_queue import NEVER, MemoryQueue
from hublog.delivery.packer import EVENT_BYTES, Packer
from hublog.delivery.sender import InlineSend
from hublog.delivery.shipper import Shipper
from hublog.delivery.storage import Storage
from hublog.errors import SendError
from hublog.senders.event_hub import EventHubSender
from hublog.settings import EventHubSettings, Packing, SpoolMode

#: What is sent before the count begins: the first batches after a start are smaller.
_WARM_UP: Final = 2_000
#: How often the lines are sent after that.
_PASSES: Final = 2
#: No thread is woken more exactly.
_TICK_S: Final = 1e-6
_START: Final = datetime(2026, 9, 1, 12, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Traffic:
    """What was sent.

    Attributes:
        records: number of records.
        events: number of events.
        billed: number of events as they are billed.
        body_bytes: the payloads.
        wire_bytes: the payloads with what AMQP adds to each event.
    """

    records: int = 0
    events: int = 0
    billed: int = 0
    body_bytes: int = 0
    wire_bytes: int = 0

    def since(self, before: "Traffic") -> "Traffic":
        """Return what came after an earlier count."""
        return Traffic(
            self.records - before.records,
            self.events - before.events,
            self.billed - before.billed,
            self.body_bytes - before.body_bytes,
            self.wire_bytes - before.wire_bytes,
        )

    def load(self, rate: float) -> Load:
        """Return the load when so many records are logged in a second."""
        a_record = rate / self.records
        return Load(self.events * a_record, self.wire_bytes * a_record, self.billed * a_record)


class _Batch(EventDataBatch):
    """A batch of the client that remembers the size of each event."""

    def __init__(self, max_size_in_bytes: int) -> None:
        super().__init__(max_size_in_bytes=max_size_in_bytes)
        self.sizes: list[tuple[int, int]] = []

    def add(self, event_data: Any) -> None:
        before = self.size_in_bytes
        super().add(event_data)
        self.sizes.append((self.size_in_bytes - before, sum(map(len, event_data.body))))


class _Link:
    """The client of the hub without its socket: takes every send, and counts."""

    def __init__(self, max_send_bytes: int) -> None:
        self._max_send_bytes = max_send_bytes
        self.events = self.billed = self.body_bytes = self.wire_bytes = 0

    def create_batch(self) -> _Batch:
        return _Batch(self._max_send_bytes)

    def send_batch(self, batch: _Batch, *, timeout: float) -> None:
        del timeout  # takes none
        for wire, body in batch.sizes:
            self.events += 1
            self.billed += billed(wire)
            self.body_bytes += body
            self.wire_bytes += wire

    def close(self) -> None:
        pass


class _Deaf:
    """Is told of sends, and says nothing."""

    may_report_drops = False

    def batch_sent(self, **_: object) -> None:
        pass

    def batch_failed(self, error: SendError, *, stats: Stats, **_: object) -> None:
        raise AssertionError(f"A send failed though the link takes all: {error}; {stats}")

    def state_changed(self, old: State, new: State, **_: object) -> None:
        raise AssertionError(f"Delivery went from {old} to {new} though the link takes all.")

    def records_dropped(self, dropped: DropReport) -> None:
        raise AssertionError(dropped.text())

    def replayed(self, records: int, stats: Stats) -> None:
        raise AssertionError(f"{records} records had waited: {stats}")


class _Process:
    """One process of the application: what the worker thread does, at the times it would do it."""

    def __init__(self, hub: EventHubSettings, *, max_send_bytes: int) -> None:
        self._now_s = 0.0
        self._due_s = 0.0
        self._is_woken = False
        self._link = _Link(max_send_bytes)
        link: Any = self._link  # stands for the client
        self._queue = MemoryQueue(
            max_lines=hub.max_queue_size,
            max_bytes=hub.max_queue_bytes,
            urgent_level=hub.urgent_level,
        )
        self._queue.wake = self._wake
        sender = EventHubSender(hub, connect=lambda _: link)
        sender.open()
        self._shipper = Shipper(
            Storage(
                self._queue,
                None,
                mode=SpoolMode.MEMORY,
                batch_size=hub.batch_size,
                linger_s=hub.batch_timeout_seconds,
                now=lambda: self._now_s,
            ),
            InlineSend(lambda: sender, now=lambda: self._now_s),
            packer=Packer(hub.packing, gzip_level=hub.gzip_level),
            breaker=CircuitBreaker(
                threshold=hub.circuit_breaker_threshold,
                cooldown_s=hub.circuit_breaker_cooldown_seconds,
                now=lambda: self._now_s,
            ),
            observer=_Deaf(),
            now=lambda: self._now_s,
            wall=lambda: _START + timedelta(seconds=self._now_s),
        )
        self._step()

    def log(self, line: bytes, *, at_s: float, levelno: int) -> None:
        """Put a line into the queue at this time, after doing what was due before."""
        while self._due_s <= at_s:
            self._now_s = self._due_s
            self._step()
        self._now_s = at_s
        if not self._queue.put(line, levelno):
            raise AssertionError("The queue is full though sends take no time.")
        if self._is_woken:
            self._step()

    def sent(self) -> Traffic:
        """Return what has left so far."""
        link = self._link
        records = self._shipper.stats().sent_total
        return Traffic(records, link.events, link.billed, link.body_bytes, link.wire_bytes)

    def _wake(self) -> None:
        self._is_woken = True
        self._queue.wake_at = NEVER

    def _step(self) -> None:
        self._is_woken = False
        self._queue.wake_at = NEVER
        while (wait := self._shipper.step()) == 0:
            pass
        self._due_s = self._now_s + max(wait, _TICK_S)
        self._queue.wake_at = dict(self._shipper.borders())[self._queue]


def simulate(
    lines: Sequence[bytes], *, rate: float, hub: EventHubSettings, max_send_bytes: int, processes: int = 1
) -> Traffic:
    """Return what is sent in a steady state, in whole events.

    Args:
        lines: logged one after the other, evenly spaced, again and again.
        rate: records per second of all processes together.
        hub: how the processes batch and pack.
        max_send_bytes: what the link takes in one send.
        processes: that share the rate evenly; all alike, so one of them is looked at.
    """
    process = _Process(hub, max_send_bytes=max_send_bytes)
    levels = [orjson.loads(line)["level_number"] for line in lines]
    before = Traffic()
    number = _WARM_UP + _PASSES * len(lines)
    for index in range(number):
        if index == _WARM_UP:
            before = process.sent()
        place = index % len(lines)
        process.log(lines[place], at_s=index * processes / rate, levelno=levels[place])
    return process.sent().since(before)


def full_events(lines: Sequence[bytes], hub: EventHubSettings) -> tuple[int, int]:
    """Pack the lines into full events; return their bytes before and after the compression.

    Args:
        lines: in the order they were logged.
        hub: says how to pack.
    """
    queue = MemoryQueue(max_lines=2 * len(lines), max_bytes=1 << 40)
    for line in lines:
        queue.put(line)
    packer, plain = (Packer(packing, gzip_level=hub.gzip_level) for packing in (hub.packing, Packing.LINES))
    raw = packed = 0
    while taken := queue.take(max_lines=len(lines), max_bytes=EVENT_BYTES):
        raw += sum(len(event.body) for event in plain.pack(taken.lines, sent_at=_START))
        packed += sum(len(event.body) for event in packer.pack(taken.lines, sent_at=_START))
    return raw, packed
