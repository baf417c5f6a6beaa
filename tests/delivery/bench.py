"""Delivery with a clock, a hub and a disk in the test's hands: all its parts but threads and sockets."""

import json
import logging
from collections import Counter

from tests.spool.independent import lines_on_disk

from hublog.delivery.accounting import Accounting
from hublog.delivery.circuit_breaker import CircuitBreaker
from hublog.delivery.disk_store import DiskStore
from hublog.delivery.memory_queue import MemoryQueue
from hublog.delivery.packer import Packer
from hublog.delivery.sender import InlineSend
from hublog.delivery.shipper import Shipper
from hublog.delivery.storage import Storage
from hublog.errors import EventTooLargeError, PermanentSendError, RejectedSendError, TransientSendError
from hublog.settings import Packing, SpoolMode, SyncPolicy
from hublog.testing import FakeClock

POISON = b"POISON"


class Hub:
    """A destination that does what a test says, for as many processes as there are.

    ``state`` is one of the names below; records with ``POISON`` in them are refused with their event.
    """

    def __init__(self, *, max_send_bytes=1 << 20):
        self.state = "ok"
        self.max_send_bytes = max_send_bytes
        self.events_per_send = 16
        self.bodies = []
        self.sends = []
        self.refused = 0

    def open(self):
        """Need no connection."""

    def close(self):
        """Have no connection."""

    def cut(self):
        """Never hang."""

    def send(self, bodies, properties):
        self.sends.append(len(bodies))
        errors = {
            "away": TransientSendError("away"),
            "busy": TransientSendError("busy", retry_after_s=4.0),
            "wrong": PermanentSendError("no such hub"),
            "refusing": RejectedSendError("refused"),
        }
        if self.state in errors:
            raise errors[self.state]
        taken, size = 0, 0
        for body in bodies[: self.events_per_send]:
            size += len(body)
            if size > self.max_send_bytes:
                break
            taken += 1
        if not taken:
            raise EventTooLargeError("too large", limit_bytes=self.max_send_bytes)
        if any(POISON in body for body in bodies[:taken]):
            self.refused += 1
            raise RejectedSendError("this content is not taken")
        self.bodies += bodies[:taken]
        return taken

    @staticmethod
    def rows_of(bodies):
        return [json.loads(line) for body in bodies for line in body.splitlines()]

    @property
    def rows(self):
        return self.rows_of(self.bodies)

    @property
    def counts(self):
        return Counter(row["id"] for row in self.rows if "id" in row)


class Listener:
    """Notes what it is told."""

    def __init__(self):
        self.failures, self.states, self.drops, self.sent, self.replayed_records = [], [], [], [], []
        self.may_report_drops = True

    def batch_sent(self, *, records, events, body_bytes, seconds, is_replay, stats):
        self.sent.append((records, is_replay))

    def batch_failed(self, error, *, records, seconds, stats):
        self.failures.append((str(error), records))

    def state_changed(self, old, new, *, error, stats):
        self.states.append(str(new))

    def records_dropped(self, dropped):
        self.drops.append(dropped)

    def replayed(self, records, stats):
        self.replayed_records.append(records)


def line_of(id_, levelno=logging.INFO, *, size=20, logger="shop", poison=False):
    """One record as the formatter writes it, as far as delivery looks."""
    level = logging.getLevelName(levelno)
    head = b'{"timestamp":"2026-11-23T13:10:31.123456Z","level":"%b","level_number":%d,"logger_name":"%b",'
    tail = b'"id":"%b","x":"%b%b"}'
    return head % (level.encode(), levelno, logger.encode()) + tail % (
        id_.encode(),
        POISON if poison else b"",
        b"x" * size,
    )


class Bench:
    """One process of an application.

    Args:
        hub: where it sends.
        root: of the spool; none in memory mode.
        name: of the process; its records have it in their ids.
    """

    def __init__(
        self,
        hub,
        root=None,
        *,
        mode=None,
        name="p",
        clock=None,
        wall=None,
        packing=Packing.LINES,
        max_lines=1_000,
        max_bytes=1 << 30,
        batch_size=10,
        threshold=3,
        cooldown_s=30.0,
        spool_bytes=1 << 28,
    ):
        self.hub, self.root, self.name = hub, root, name
        self.clock = clock or FakeClock()
        mode = mode or (SpoolMode.MEMORY if root is None else SpoolMode.OVERFLOW)
        self.mode = mode
        self.listener = Listener()
        self.told = []
        self.accounting = Accounting()
        self.queue = MemoryQueue(max_lines=max_lines, max_bytes=max_bytes, accounting=self.accounting)
        self.spooler = None
        if mode is not SpoolMode.MEMORY:
            self.spooler = DiskStore(
                root,
                max_bytes=spool_bytes,
                sync=SyncPolicy.NONE,
                accounting=self.accounting,
                report=lambda level, text: self.told.append(text),
                now=self.clock,
                wall=wall or self.clock,
            )
        self.stores = Storage(
            self.queue, self.spooler, mode=mode, batch_size=batch_size, linger_s=1.0, now=self.clock
        )
        self.shipper = Shipper(
            self.stores,
            InlineSend(lambda: hub, now=self.clock),
            packer=Packer(packing),
            breaker=CircuitBreaker(
                threshold=threshold, cooldown_s=cooldown_s, now=self.clock, jitter=lambda: 0.5
            ),
            observer=self.listener,
            now=self.clock,
        )
        self.accepted = []
        self.kept = []

    def log(self, number=1, levelno=logging.INFO, **options):
        """Log records; ``accepted`` has their ids, ``kept`` those that were not refused at once."""
        for _ in range(number):
            id_ = f"{self.name}{len(self.accepted)}"
            self.accepted.append(id_)
            line = line_of(id_, levelno, **options)
            level = logging.getLevelName(levelno)
            taken = self.stores.put(line, levelno) or self.stores.put_when_full(
                line, levelno, level=level, logger="shop"
            )
            if taken:
                self.kept.append(id_)
        self.check_accounting()

    def run(self, seconds):
        """Step whenever a step is due, as the worker does."""
        end = self.clock() + seconds
        for _ in range(100_000):
            wait = self.shipper.step()
            self.check_accounting()
            if self.clock() + wait > end:
                break
            self.clock.advance(wait)
        else:
            raise AssertionError("it never rests")
        self.clock.advance(max(end - self.clock(), 0))

    def step(self):
        wait = self.shipper.step()
        self.check_accounting()
        return wait

    def end(self):
        """End as a process does whose exit hooks run."""
        self.shipper.secure()
        self.check_accounting()
        self.shipper.close_spool()
        self.check_accounting()

    def die(self):
        """End as a process does that is killed: the kernel closes what it had open."""
        if self.spooler is not None:
            self.spooler.abandon_after_fork()

    def check_accounting(self):
        stats = self.shipper.stats()
        assert stats.accepted_total == len(self.accepted)
        assert (
            stats.accepted_total + stats.recovered_total
            == stats.sent_total + stats.dropped_total + stats.held
        )

    @property
    def stats(self):
        return self.shipper.stats()

    @property
    def arrived(self):
        return [row["id"] for row in self.hub.rows if "id" in row]


def ids_on_disk(root):
    """The records that wait in a spool, read without the package's own reader."""
    return [
        json.loads(line)["id"]
        for path in sorted(root.iterdir())
        if (path / "lock").exists()
        for line in lines_on_disk(path)
    ]
