"""One process, one packing: measures the floor and ours side by side, and prints the figures as JSON."""

import gc
import json
import logging
import resource
import sys
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import hublog
from benchmarks.wire import CONNECTION, Wire
from hublog.capture import context
from hublog.runtime.registry import get_pipeline
from hublog.settings import EventHubSettings, Packing, ServiceSettings, Settings

BLOCK = 1_000
PACE = 5_000
REQUEST = {
    "trace_id": "4bf92f3577b34da6a3ce929d0e0e4736",
    "span_id": "00f067aa0ba902b7",
    "request_id": "6f1c9f5e0c7d4a8e9d4f0f3a1a2b3c4d",
    "http_method": "POST",
    "http_path": "/orders/7/ship",
    "http_route": "/orders/<int:order_id>/ship",
    "client_ip": "192.0.2.17",
    "user_id": "4711",
}


def block(logger: logging.Logger, first: int, number: int) -> None:
    """Make the one log call that all figures speak about."""
    for order_id in range(first, first + number):
        logger.info(
            "order %s shipped in %d ms",
            order_id,
            order_id % 90,
            extra={"order_id": order_id, "items": 3, "amount": 12.5, "currency": "EUR", "express": True},
        )


def timed(work: Callable[[], None]) -> float:
    """Return the seconds of a call."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


class Subject:
    """A logger that goes to nowhere or through hublog, as told."""

    def __init__(self, packing: Packing) -> None:
        self.wire = Wire()
        hub = EventHubSettings(connection_string=CONNECTION, packing=packing)
        settings = Settings(eventhub=hub, service=ServiceSettings(name="shop", version="1.2.3"))
        get_pipeline(settings, make_sender=self.wire.make_sender)
        self.ours = hublog.EventHubHandler(settings=settings)
        self.floor = logging.NullHandler()
        self.logger = logging.getLogger("shop.shipping")
        self.logger.propagate = False
        self.logger.setLevel(logging.INFO)
        context.enter(REQUEST)

    def use(self, handler: logging.Handler) -> None:
        """Let the logger go there."""
        self.logger.handlers[:] = [handler]

    def caller(self, blocks: int) -> tuple[float, float]:
        """Return seconds per call of the floor and of ours, medians of blocks measured in turn."""
        found: dict[logging.Handler, list[float]] = {self.floor: [], self.ours: []}
        for _ in range(blocks):
            for handler, seconds in found.items():
                self.use(handler)
                seconds.append(timed(lambda: block(self.logger, 0, BLOCK)) / BLOCK)
                time.sleep(0.02)  # the block is what is measured, not the backlog of the one before
        assert hublog.flush(30)
        return median(found[self.floor]), median(found[self.ours])

    def paced(self, handler: logging.Handler, seconds: int) -> float:
        """Return CPU seconds per record of the whole process at 5,000 records a second, until all is sent."""
        self.use(handler)
        number, step = seconds * PACE, PACE // 100
        cpu, start = time.process_time(), time.perf_counter()
        for first in range(0, number, step):
            block(self.logger, first, step)
            time.sleep(max(start + (first + step) / PACE - time.perf_counter(), 0))
        assert hublog.flush(30)
        return (time.process_time() - cpu) / number

    def burst(self, number: int) -> tuple[int, float]:
        """Return the lost records and the delivered ones per second, logged as fast as possible."""
        self.use(self.ours)
        before = self.ours.pipeline.stats()
        start = time.perf_counter()
        block(self.logger, 0, number)
        assert hublog.flush(60)
        seconds = time.perf_counter() - start
        after = self.ours.pipeline.stats()
        return after.dropped_total - before.dropped_total, (after.sent_total - before.sent_total) / seconds

    def single(self, number: int) -> tuple[float, float]:
        """Return the 99th percentile and the maximum of single calls while batches are made and sent."""
        self.use(self.ours)
        seconds = sorted(timed(lambda: block(self.logger, 0, 1)) for _ in range(number))
        assert hublog.flush(30)
        return seconds[int(number * 0.99)], seconds[-1]

    def idle(self, seconds: float) -> float:
        """Return CPU seconds per second with nothing to do."""
        cpu = time.process_time()
        time.sleep(seconds)
        return (time.process_time() - cpu) / seconds


def closing(subject: Subject, number: int) -> float:
    """Return the seconds that the delivery of so many queued records takes at the end."""
    process = subject.ours.pipeline.process
    assert process is not None
    process.queue.wake_at = 1 << 62
    block(subject.logger, 0, number)
    start = time.perf_counter()
    assert hublog.flush(30)
    return time.perf_counter() - start


def memory(subject: Subject, number: int) -> float:
    """Return the bytes that a queued record costs; the worker is held back meanwhile."""
    process = subject.ours.pipeline.process
    assert process is not None
    process.queue.wake_at = 1 << 62
    gc.collect()
    before = resident()
    block(subject.logger, 0, number)
    held = process.queue.bytes_waiting
    grown = resident() - before
    assert hublog.flush(30)
    return max(grown, held) / number


def resident() -> int:
    """Return the resident size in bytes."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


def measure(packing: Packing, *, quick: bool) -> dict[str, Any]:
    """Return all figures of one run."""
    subject = Subject(packing)
    subject.use(subject.ours)
    block(subject.logger, 0, 100)
    assert hublog.flush(30)
    floor, caller = subject.caller(5 if quick else 60)
    seconds = 1 if quick else 4
    bare = subject.paced(subject.floor, seconds)
    wire = subject.wire
    events, size = wire.events, wire.bytes
    total = subject.paced(subject.ours, seconds)
    records = seconds * PACE
    events, size = wire.events - events, wire.bytes - size
    lost, per_second = subject.burst(2_000 if quick else 100_000)
    p99, longest = subject.single(500 if quick else 20_000)
    queued = memory(subject, 1_000 if quick else 9_000)
    return {
        "caller_x_floor": caller / floor,
        "total_x_floor": total / floor,
        "burst_lost": lost,
        "burst_per_s": per_second,
        "events_per_1000": events * 1_000 / records,
        "wire_bytes_per_record": size / records,
        "paced_floor_x_floor": bare / floor,
        "single_p99_x_floor": p99 / floor,
        "single_max_ms": longest * 1_000,
        "memory_bytes_per_queued_record": queued,
        "close_with_9000_queued_s": closing(subject, 1_000 if quick else 9_000),
        "idle_cpu_us_per_s": subject.idle(0.2 if quick else 3.0) * 1e6,
        "floor_us": floor * 1e6,
    }


if __name__ == "__main__":
    print(json.dumps(measure(Packing(sys.argv[1]), quick="--quick" in sys.argv)))
