"""The hub of a test: pipelines of the real kind, of which only the last step ends in memory."""

import json
import threading
import zlib
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from logging import LogRecord
from typing import Final

from hublog.delivery.accounting import Drop
from hublog.delivery.send_thread import Sender
from hublog.errors import TransientSendError
from hublog.runtime.pipeline import Pipeline
from hublog.runtime.process_state import Process
from hublog.settings import EventHubSettings, Settings, SpoolMode
from hublog.testing.fakes import FakeClock, MemorySender
from hublog.testing.isolation import is_late
from hublog.testing.rows import Row

#: Nothing connects to it; it only says that there is a hub.
_CONNECTION: Final = (
    "Endpoint=sb://127.0.0.1:1;SharedAccessKeyName=test;SharedAccessKey=test;UseDevelopmentEmulator=true"
)
_GZIP: Final = 16 + zlib.MAX_WBITS
#: Longer than any wait for a retry.
_PASSING_S: Final = 3_600.0
#: How often time passes for a hub that is away, in real seconds.
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
        """Have so many sends fail, after those that will fail already.

        Args:
            number: how many, 1 or more.
            error: what they raise; None is a hub that does not answer.

        Raises:
            TypeError: it is no exception.
            ValueError: the number is less than 1.
        """
        if number < 1:
            raise ValueError(f"fail_next({number}) makes no send fail; give 1 or more.")
        if error is None:
            error = TransientSendError("The test's hub is away.")
        made = error() if isinstance(error, type) else error
        if not isinstance(made, Exception):
            raise TypeError(f"error is {error!r}; it must be an exception.")
        self._errors.extend([made] * number)
        self.is_on = True

    def end(self) -> None:
        """Have no more sends fail."""
        self._errors.clear()

    def pass_by(self) -> None:
        """Raise the next error, if there is one."""
        try:
            error = self._errors.popleft()
        except IndexError:
            self.is_on = False
            return
        raise error


class HubSender(MemorySender):
    """A pipeline's connection to the hub of a test.

    Args:
        outage: makes sends fail.
    """

    def __init__(self, outage: Outage) -> None:
        super().__init__()
        self._outage = outage
        self._taken = 0
        self._reading = threading.Lock()

    def send(self, bodies: Sequence[bytes], properties: Mapping[str, str]) -> int:
        """Accept the bodies, or fail.

        Raises:
            Exception: as the outage says.
        """
        self._outage.pass_by()
        return super().send(bodies, properties)

    def take(self) -> list[Row]:
        """Return the rows that have arrived since the last call, in the order of arrival."""
        found: list[Row] = []
        with self._reading:
            while self._taken < len(self.properties):  # they are written behind the bodies
                lines = opened(self.bodies[self._taken], self.properties[self._taken]).split(b"\n")
                self._taken += 1
                found += [json.loads(line) for line in lines if line]
        return found


class HubPipeline(Pipeline):
    """A pipeline that ends in memory, whatever is configured; time stands still in it unless somebody reads.

    Args:
        settings: as for ``Pipeline``, like the next two.
        keywords: keywords of ``EventHubHandler``.
        framework: ``django``, ``flask`` or empty.
        outage: makes sends fail.

    Attributes:
        sender: where it ends.
    """

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

    def accept(self, record: LogRecord, *, is_deep: bool = False) -> None:
        """Take a record, unless its test is over."""
        if self._is_over or is_late(record):
            return
        super().accept(record, is_deep=is_deep)
        self._see_whether_over()

    def _see_whether_over(self) -> None:
        """Drop a record that came while its test ended."""
        if self._is_over:
            self._drop()

    def deliver(self, limit_s: float) -> bool:
        """Have all sent that was accepted before; lets time pass where a retry waits for it.

        Args:
            limit_s: how long to wait at most.

        Returns:
            Whether all of it is sent, or dropped and counted.
        """
        process = self.process
        if process is None or self._is_over:
            return True
        request = process.worker.request_flush()
        # Counted, not measured: a test may have stopped all clocks.
        for _ in range(int(limit_s / _PACE_S) + 1):
            if not self._outage.is_on or process.worker.is_missing:
                return request.wait(limit_s)
            if request.wait(_PACE_S):
                return True
            self._clock.advance(_PASSING_S)
            process.worker.notify()
        return request.is_settled

    def flush(self, timeout_s: float | None = None) -> bool:
        """Have all sent that was accepted before, see ``Pipeline.flush``; time passes for it."""
        return self.deliver(self.read().eventhub.exit_timeout_seconds if timeout_s is None else timeout_s)

    def end(self) -> None:
        """Take no more records, drop what waits, and end the threads."""
        self._is_over = True
        self._drop()
        process = self.process
        if (
            process is not None
            and process.worker.wait_until_ended(_END_LIMIT_S)
            and process.fitted is not None
        ):
            self.sender.wait_until_closed(_END_LIMIT_S)

    def _drop(self) -> None:
        process = self.process
        if process is not None:
            process.shipper.drop_held(Drop.EXIT)
            self.retire()

    def _can_apply(self, process: Process, settings: Settings) -> bool:
        """Return True: all destinations are the one hub of the test."""
        del process, settings
        return True

    def _read_surroundings(self) -> Settings:
        return _for_memory(super()._read_surroundings())


class Hub:
    """All pipelines of a test, and the one hub in which they end."""

    def __init__(self) -> None:
        self._outage = Outage()
        self._pipelines: list[HubPipeline] = []

    def make(
        self,
        settings: Settings | None,
        *,
        keywords: Mapping[str, object] | None,
        framework: str,
        make_sender: Callable[[EventHubSettings], Sender],
    ) -> Pipeline:
        """Return a new pipeline to this hub, see ``pipelines.replaced``."""
        del make_sender  # the real hub is left alone
        made = HubPipeline(settings, keywords=keywords, framework=framework, outage=self._outage)
        self._pipelines.append(made)
        return made

    def deliver(self, limit_s: float) -> bool:
        """Have all sent that was logged before; returns whether all of it has arrived in time."""
        return all(pipeline.deliver(limit_s) for pipeline in list(self._pipelines))

    def take(self) -> list[list[Row]]:
        """Return the rows that arrived since the last call, for each pipeline, in the order of arrival."""
        return [pipeline.sender.take() for pipeline in list(self._pipelines)]

    def fail_next(self, number: int, error: Exception | type[Exception] | None) -> None:
        """Have so many sends fail, see ``Outage.begin``."""
        self._outage.begin(number, error)

    def recover(self) -> None:
        """Have no more sends fail."""
        self._outage.end()

    @property
    def waiting(self) -> int:
        """Records that have not arrived."""
        return sum(pipeline.stats().held for pipeline in list(self._pipelines))

    def end(self) -> None:
        """Take no more records, drop what waits, and end all threads."""
        for pipeline in self._pipelines:
            pipeline.end()


def opened(body: bytes, properties: Mapping[str, str]) -> bytes:
    """Return the JSON lines of an event.

    Args:
        body: its payload.
        properties: its application properties.
    """
    return zlib.decompress(body, _GZIP) if properties.get("Compression") == "gzip" else body


def _for_memory(settings: Settings) -> Settings:
    """Return settings with a hub that is switched on and connected, and without disk or signal."""
    hub = settings.eventhub
    hub = replace(
        hub,
        enabled=True,
        connection_string=hub.connection_string or _CONNECTION,
        spool=SpoolMode.MEMORY,
        flush_on_sigterm=False,
    )
    return replace(settings, eventhub=hub)
