"""One logger, one way to pack and to spool: log calls with a NullHandler and with ours, measured in turn."""

import gc
import logging
import resource
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any, Final

import hublog
from benchmarks.turns import Figures, serve_turns
from benchmarks.wire import CONNECTION, Wire
from hublog.capture import context
from hublog.runtime.registry import get_pipeline
from hublog.settings import EventHubSettings, Packing, ServiceSettings, Settings, SpoolMode

BLOCK: Final = 1_000
PACE: Final = 5_000
#: Records after which events have their usual size.
_UNEVEN: Final = 2_000
REQUEST: Final = {
    "trace_id": "4bf92f3577b34da6a3ce929d0e0e4736",
    "span_id": "00f067aa0ba902b7",
    "request_id": "6f1c9f5e0c7d4a8e9d4f0f3a1a2b3c4d",
    "http_method": "POST",
    "http_path": "/orders/7/ship",
    "http_route": "/orders/<int:order_id>/ship",
    "client_ip": "192.0.2.17",
    "user_id": "4711",
}


def block(logger: logging.Logger, number: int) -> None:
    """Make the one log call that all figures speak about, with five extras."""
    for order_id in range(number):
        logger.info(
            "order %s shipped in %d ms",
            order_id,
            order_id % 90,
            extra={"order_id": order_id, "items": 3, "amount": 12.5, "currency": "EUR", "express": True},
        )


def timed(work: Callable[[], object]) -> float:
    """Return the seconds of a call."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


class Subject:
    """A logger with a ``NullHandler``, the floor, or with ours.

    Args:
        packing: how records become events.
        spool: when records go to disk.
        folder: of the spool.
    """

    def __init__(self, packing: Packing, spool: SpoolMode, folder: Path) -> None:
        self.wire = Wire()
        hub = EventHubSettings(
            connection_string=CONNECTION,
            packing=packing,
            spool=spool,
            spool_dir=folder / "spool",
            heartbeat_seconds=0.0,
        )
        settings = Settings(eventhub=hub, service=ServiceSettings(name="shop", version="1.2.3"))
        get_pipeline(settings, make_sender=self.wire.make_sender)
        self.ours = hublog.EventHubHandler(settings=settings)
        self.floor = logging.NullHandler()
        self.logger = logging.getLogger("shop.shipping")
        self.logger.propagate = False
        self.logger.setLevel(logging.INFO)
        context.enter(REQUEST)
        self.use(self.ours)
        block(self.logger, 100)
        assert hublog.flush(30)

    def use(self, handler: logging.Handler) -> None:
        """Let the logger go there."""
        self.logger.handlers[:] = [handler]

    def caller(self, blocks: int) -> Figures:
        """Return seconds per call of ours over those of the floor, medians of blocks measured in turn."""
        seconds: dict[logging.Handler, list[float]] = {self.floor: [], self.ours: []}
        for _ in range(blocks):
            for handler, measured in seconds.items():
                self.use(handler)
                measured.append(timed(lambda: block(self.logger, BLOCK)) / BLOCK)
                time.sleep(0.02)  # the block is what is measured, not the backlog of the one before
        assert hublog.flush(30)
        floor, ours = (median(measured) for measured in seconds.values())
        return {"caller_x_floor": ours / floor, "floor_us": floor * 1e6}

    def single(self, number: int) -> Figures:
        """Return the tail of single calls while batches are made and sent, over the mean of the floor."""
        self.use(self.floor)
        floor = min(timed(lambda: block(self.logger, BLOCK)) / BLOCK for _ in range(5))
        self.use(self.ours)
        seconds = sorted(timed(lambda: block(self.logger, 1)) for _ in range(number))
        assert hublog.flush(30)
        return {
            "single_p99_x_floor": seconds[int(number * 0.99)] / floor,
            "single_max_ms": seconds[-1] * 1_000,
        }

    def paced(self, seconds: int) -> Figures:
        """Return what 5,000 records a second cost the process, and what leaves it."""
        floor, *_ = self._paced(self.floor, seconds)
        ours, events, size, sent = self._paced(self.ours, seconds)
        return {
            "total_x_paced_floor": ours / floor,
            "events_per_1000": events * 1_000 / sent,
            "wire_bytes_per_record": size / sent,
        }

    def _paced(self, handler: logging.Handler, seconds: int) -> tuple[float, int, int, int]:
        """Return CPU seconds per record of the whole process until all is sent; and what is sent before.

        The first and the last events, which begin and end make smaller, are left out of events, bytes and
        records.
        """
        self.use(handler)
        number, step = seconds * PACE, PACE // 100
        before = self._sent()
        cpu, start = time.process_time(), time.perf_counter()
        for first in range(0, number, step):
            if first == _UNEVEN:
                before = self._sent()
            block(self.logger, step)
            time.sleep(max(start + (first + step) / PACE - time.perf_counter(), 0))
        after = self._sent()
        assert hublog.flush(30)
        used = (time.process_time() - cpu) / number
        events, size, sent = (new - old for new, old in zip(after, before, strict=True))
        return used, events, size, sent

    def _sent(self) -> tuple[int, int, int]:
        return self.wire.events, self.wire.bytes, hublog.stats().sent_total

    def burst(self, number: int) -> Figures:
        """Return the lost records and the delivered ones per second, logged as fast as possible."""
        self.use(self.ours)
        before = hublog.stats()
        start = time.perf_counter()
        block(self.logger, number)
        assert hublog.flush(120)
        seconds = time.perf_counter() - start
        after = hublog.stats()
        sent = after.sent_total - before.sent_total
        return {"burst_lost": number - sent, "burst_per_s": sent / seconds}

    def waiting(self, number: int) -> Figures:
        """Return the memory of records that wait for a slow hub, and the seconds of their delivery."""
        self.use(self.ours)
        self.wire.hold()
        gc.collect()
        before = resident()
        block(self.logger, number)
        grown = resident() - before
        self.wire.release()
        seconds = timed(lambda: hublog.flush(30))
        return {"memory_bytes_per_queued_record": grown / number, "close_with_9000_queued_s": seconds}

    def threads(self, number: int, records: int) -> Figures:
        """Return the CPU per record that so many threads log together, with the delivery."""
        self.use(self.ours)
        work = [
            threading.Thread(target=_with_context(block), args=(self.logger, records // number))
            for _ in range(number)
        ]
        cpu = time.process_time()
        for thread in work:
            thread.start()
        for thread in work:
            thread.join()
        assert hublog.flush(60)
        return {"cpu_us": (time.process_time() - cpu) / records * 1e6}

    def templates(self, loggers: int, templates: int, records: int) -> Figures:
        """Return the CPU of the calling thread per record, from so many loggers and templates."""
        made = [logging.getLogger(f"shop.part{number}") for number in range(loggers)]
        texts = [f"step {number} of order %s took %d ms" for number in range(templates)]
        for logger in made:
            logger.handlers[:], logger.propagate = [self.ours], False
            logger.setLevel(logging.INFO)
        calls = [(made[number % loggers], texts[number % templates]) for number in range(records)]
        cpu = time.process_time()
        for order_id, (logger, text) in enumerate(calls):
            logger.info(text, order_id, 31, extra={"order_id": order_id, "items": 3})
        assert hublog.flush(60)
        return {"cpu_us": (time.process_time() - cpu) / records * 1e6}

    def sizes(self, characters: int, fields: int, records: int) -> Figures:
        """Return the CPU per record with a message of this length and so many extra fields."""
        self.use(self.ours)
        words = "the quick brown fox jumps over the lazy dog, "
        text = (words * (characters // len(words) + 1))[:characters]
        extra = {f"field_{number}": f"value {number}" for number in range(fields)}
        cpu = time.process_time()
        for _ in range(records):
            self.logger.info("%s", text, extra=extra)
        assert hublog.flush(60)
        return {"cpu_us": (time.process_time() - cpu) / records * 1e6}


def _with_context(work: Callable[[logging.Logger, int], None]) -> Callable[[logging.Logger, int], None]:
    def run(logger: logging.Logger, number: int) -> None:
        context.enter(REQUEST)
        work(logger, number)

    return run


def resident() -> int:
    """Return the resident size in bytes."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


def main(packing: str, spool: str) -> None:
    """Measure what standard input asks for: the name of a method, and its arguments."""
    with tempfile.TemporaryDirectory() as folder:
        subject = Subject(Packing(packing), SpoolMode(spool), Path(folder))

        def measure(turn: dict[str, Any]) -> Figures:
            figures: Figures = getattr(subject, turn.pop("measure"))(**turn)
            return figures

        serve_turns(measure)


if __name__ == "__main__":
    main(*sys.argv[1:])
