"""The hub of a test: real pipelines whose senders keep the events in memory; and the fakes they use."""

import json
import sys
import threading
import weakref
import zlib
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from logging import LogRecord
from types import FrameType
from typing import Final

from hublog.delivery.accounting import Drop
from hublog.delivery.sender import Sender
from hublog.errors import EventTooLargeError, SendError, TransientSendError
from hublog.runtime.pipeline import Pipeline
from hublog.runtime.process_state import ProcessState
from hublog.runtime.shared import Configuration
from hublog.settings import EventHubSettings, Settings, SpoolMode
from hublog.testing.rows import Row


class FakeClock:
    """A monotonic clock that only ``advance`` moves; pass it as ``now=``."""

    def __init__(self, start: float = 1_000.0) -> None:
        self._now = start

    def __call__(self) -> float:
        """Return the seconds."""
        return self._now

    def advance(self, seconds: float) -> None:
        """Move the clock forward."""
        self._now += seconds


class MemorySender:
    """A destination in memory.

    Args:
        errors: raised by the first sends, one each; later sends succeed.
        max_send_bytes: what it takes in one send.

    Attributes:
        bodies: what was accepted, oldest first.
        properties: the application properties of each body.
        sends_total: attempted sends.
    """

    def __init__(self, *errors: SendError | Exception, max_send_bytes: int = 1 << 20) -> None:
        self.errors = list(errors)
        self.max_send_bytes = max_send_bytes
        self.bodies: list[bytes] = []
        self.properties: list[Mapping[str, str]] = []
        self.sends_total = 0
        self._arrived = threading.Condition()
        self._closed = threading.Event()

    def open(self) -> None:
        """Do nothing: memory needs no connection."""

    def send(self, bodies: Sequence[bytes], properties: Mapping[str, str]) -> int:
        """Accept the leading bodies that fit, or raise the next error.

        Raises:
            SendError: as given to the constructor.
            EventTooLargeError: the first body alone does not fit.
        """
        self.sends_total += 1
        if self.errors:
            raise self.errors.pop(0)
        number = size = 0
        for body in bodies:
            size += len(body)
            if size > self.max_send_bytes:
                break
            number += 1
        if number == 0:
            raise EventTooLargeError(
                f"An event of {len(bodies[0])} bytes is over the limit of {self.max_send_bytes}.",
                limit_bytes=self.max_send_bytes,
            )
        with self._arrived:
            self.bodies += bodies[:number]
            self.properties += [properties] * number
            self._arrived.notify_all()
        return number

    def close(self) -> None:
        """Record that it was closed."""
        self._closed.set()

    @property
    def is_closed(self) -> bool:
        """Whether it was closed."""
        return self._closed.is_set()

    def wait_until_closed(self, timeout_s: float = 10.0) -> bool:
        """Wait until it was closed; returns whether it was."""
        return self._closed.wait(timeout_s)

    def cut(self) -> None:
        """Do nothing: no send waits for long."""

    def wait_for(self, bodies: int, timeout_s: float = 10.0) -> bool:
        """Wait for this number of bodies; returns whether they have arrived."""
        with self._arrived:
            return self._arrived.wait_for(lambda: len(self.bodies) >= bodies, timeout_s)


#: Packages of pools and servers: their threads serve later tests as well.
_SERVING: Final = (
    "anyio",
    "apscheduler",
    "asyncio",
    "celery",
    "cheroot",
    "concurrent.futures",
    "dramatiq",
    "gevent",
    "huey",
    "hypercorn",
    "multiprocessing.pool",
    "socketserver",
    "trio",
    "uvicorn",
    "waitress",
)


_late: Final["weakref.WeakSet[threading.Thread]"] = weakref.WeakSet()


def note_late(before: Iterable[threading.Thread]) -> None:
    """Discard later records of the threads that a test has started and left running."""
    left = set(threading.enumerate()).difference(before)
    frames = sys._current_frames() if left else {}  # noqa: SLF001  # documented, for debuggers
    for thread in left:
        if not _serves(frames.get(thread.ident or 0)):
            _late.add(thread)


def is_late(record: LogRecord) -> bool:
    """Whether a record comes from a thread that a finished test has left running."""
    return any(thread.ident == record.thread and thread.is_alive() for thread in list(_late))


def _serves(frame: FrameType | None) -> bool:
    while frame is not None:
        name = str(frame.f_globals.get("__name__", ""))
        if any(name == module or name.startswith(f"{module}.") for module in _SERVING):
            return True
        frame = frame.f_back
    return False


#: Nothing connects to it; it makes the destination count as configured.
_CONNECTION: Final = (
    "Endpoint=sb://127.0.0.1:1;SharedAccessKeyName=test;SharedAccessKey=test;UseDevelopmentEmulator=true"
)
_GZIP: Final = 16 + zlib.MAX_WBITS
#: Longer than any wait for a retry.
_PASSING_S: Final = 3_600.0
#: Real seconds between two steps of the fake clock during an outage.
_PACE_S: Final = 0.001
_END_LIMIT_S: Final = 5.0


class Outage:
    """Errors that the next sends raise, whichever pipeline they come from.

    Attributes:
        is_on: whether the last send failed, or the next one will.
    """

    def __init__(self) -> None:
        self._errors: deque[Exception] = deque()
        self.is_on = False

    def begin(self, number: int, error: Exception | type[Exception] | None) -> None:
        """Let the next sends fail, after those that will fail already.

        Args:
            number: of sends, 1 or more.
            error: what they raise; None is an unavailable hub.

        Raises:
            TypeError: it is not an exception.
            ValueError: the number is less than 1.
        """
        if number < 1:
            raise ValueError(f"fail_next({number}) makes no send fail; the number must be 1 or more.")
        if error is None:
            error = TransientSendError("The test's hub is unavailable.")
        made = error() if isinstance(error, type) else error
        if not isinstance(made, Exception):
            raise TypeError(f"error is {error!r}; it must be an exception.")
        self._errors.extend([made] * number)
        self.is_on = True

    def end(self) -> None:
        """Let later sends succeed."""
        self._errors.clear()

    def raise_next(self) -> None:
        """Raise the next error, if there is one."""
        try:
            error = self._errors.popleft()
        except IndexError:
            self.is_on = False
            return
        raise error


class HubSender(MemorySender):
    """A pipeline's connection to the hub of a test, on which an outage has effect."""

    def __init__(self, outage: Outage) -> None:
        super().__init__()
        self._outage = outage
        self._taken = 0
        self._reading = threading.Lock()

    def send(self, bodies: Sequence[bytes], properties: Mapping[str, str]) -> int:
        """Accept the bodies, or fail.

        Raises:
            Exception: the next error of the outage.
        """
        self._outage.raise_next()
        return super().send(bodies, properties)

    def take(self) -> list[Row]:
        """Return the rows that have arrived since the last call, in the order of arrival."""
        rows: list[Row] = []
        with self._reading:
            while self._taken < len(self.properties):  # appended after the bodies
                lines = lines_of(self.bodies[self._taken], self.properties[self._taken]).split(b"\n")
                self._taken += 1
                rows += [json.loads(line) for line in lines if line]
        return rows


class _MemoryConfiguration(Configuration):
    """Settings that use neither network nor disk."""

    def read(self) -> Settings:
        """Read the settings, whatever they say about the destination."""
        return _for_memory(super().read())


class HubPipeline(Pipeline):
    """A pipeline that ends in memory, whatever is configured; its clock moves only when a test reads."""

    def __init__(
        self,
        settings: Settings | None,
        *,
        keywords: Mapping[str, object] | None,
        framework: str,
        outage: Outage,
    ) -> None:
        self.sender = HubSender(outage)
        self._outage = outage
        self._clock = FakeClock()
        self._is_over = False
        super().__init__(
            None if settings is None else _for_memory(settings),
            keywords=keywords,
            framework=framework,
            make_sender=lambda _: self.sender,
            now=self._clock,
        )
        self.configuration = _MemoryConfiguration(self.configuration.fixed, keywords or {})

    def accept(self, record: LogRecord) -> None:
        """Accept a record, unless its test is over."""
        if self._is_over or is_late(record):
            return
        super().accept(record)
        self._drop_if_over()

    def _drop_if_over(self) -> None:
        """Drop a record that arrived while its test ended."""
        if self._is_over:
            self._drop()

    def deliver(self, limit_s: float) -> bool:
        """Send what was accepted before; moves the clock if a retry waits for it.

        Args:
            limit_s: how long to wait at most.

        Returns:
            Whether all of it was sent, or dropped and counted.
        """
        if self._is_over:
            return True
        return all(self._is_delivered(process, limit_s) for process in self.processes())

    def _is_delivered(self, process: ProcessState, limit_s: float) -> bool:
        request = process.worker.request_flush()
        # Counted, not measured: a test may have frozen all clocks.
        for _ in range(int(limit_s / _PACE_S) + 1):
            if not self._outage.is_on or process.worker.is_missing:
                return request.wait(limit_s)
            if request.wait(_PACE_S):
                return True
            self._clock.advance(_PASSING_S)
            process.worker.notify()
        return request.is_settled

    def flush(self, timeout_s: float | None = None) -> bool:
        """Send what was accepted before, see ``Pipeline.flush``; moves the clock."""
        return self.deliver(self.read().eventhub.exit_timeout_seconds if timeout_s is None else timeout_s)

    def end(self) -> None:
        """Accept no more records, drop what waits, and end the threads."""
        self._is_over = True
        self._drop()
        has_ended = [process.worker.wait_until_ended(_END_LIMIT_S) for process in self.processes()]
        if all(has_ended) and any(process.is_started for process in self.processes()):
            self.sender.wait_until_closed(_END_LIMIT_S)

    def _drop(self) -> None:
        for process in self.processes():
            process.shipper.drop_held(Drop.EXIT)
        self.retire()


class MemoryHub:
    """All pipelines of a test, and the one hub in which they end."""

    def __init__(self) -> None:
        self.outage = Outage()
        self._pipelines: list[HubPipeline] = []

    def make(
        self,
        settings: Settings | None,
        *,
        keywords: Mapping[str, object] | None,
        framework: str,
        make_sender: Callable[[EventHubSettings], Sender],
    ) -> Pipeline:
        """Return a new pipeline to this hub, see ``registry.replaced``."""
        del make_sender  # nothing connects to the real hub
        made = HubPipeline(settings, keywords=keywords, framework=framework, outage=self.outage)
        self._pipelines.append(made)
        return made

    def deliver(self, limit_s: float) -> bool:
        """Send what was logged before; returns whether all of it has arrived in time."""
        return all(pipeline.deliver(limit_s) for pipeline in list(self._pipelines))

    def take(self) -> list[list[Row]]:
        """Return the rows that arrived since the last call, for each pipeline, in the order of arrival."""
        return [pipeline.sender.take() for pipeline in list(self._pipelines)]

    @property
    def waiting(self) -> int:
        """Records that have not arrived."""
        return sum(pipeline.stats().held for pipeline in list(self._pipelines))

    def end(self) -> None:
        """Accept no more records, drop what waits, and end all threads."""
        for pipeline in self._pipelines:
            pipeline.end()


def lines_of(body: bytes, properties: Mapping[str, str]) -> bytes:
    """Return the JSON lines of an event with these application properties."""
    return zlib.decompress(body, _GZIP) if properties.get("Compression") == "gzip" else body


def _for_memory(settings: Settings) -> Settings:
    """Return settings with the destination enabled and configured, and without disk or signal handler."""
    hub = settings.eventhub
    hub = replace(
        hub,
        enabled=True,
        connection_string=hub.connection_string or _CONNECTION,
        spool=SpoolMode.MEMORY,
        flush_on_sigterm=False,
    )
    return replace(settings, eventhub=hub)
