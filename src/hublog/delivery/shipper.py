"""One step at a time from the queue to the hub: take, pack, send, and keep what did not leave.

No thread is made here and no clock is read but the one that is handed in; ``worker`` calls ``step``.
"""

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from threading import RLock
from typing import Final, Protocol

from hublog.delivery.batcher import Batcher
from hublog.delivery.bounded_queue import NEVER, BoundedQueue
from hublog.delivery.breaker import Breaker
from hublog.delivery.packer import OVERHEAD_BYTES, Packed, Packer
from hublog.delivery.stats import Circuit, Drop, Stats
from hublog.errors import EventTooLargeError, PermanentSendError, SendError, TransientSendError
from hublog.tally import Tally

#: With a backlog, that many events are offered to one send; the sender takes what fits.
EVENTS_PER_SEND: Final = 16
#: A hub that never answered is given up at the exit after so many tries.
HOPELESS_FAILURES: Final = 2


class Sender(Protocol):
    """What the shipper needs of a destination; called by one thread at a time."""

    def open(self) -> None:
        """Connect ahead of the first send; what fails here is told by the send."""

    def send(self, bodies: Sequence[bytes], properties: Mapping[str, str]) -> int:
        """Send as many of the leading bodies as fit into one send, and wait until they are settled.

        Returns:
            How many were accepted, 1 or more.

        Raises:
            TransientSendError: nothing is known to have arrived; the same may be tried again.
            PermanentSendError: the same, and trying again helps only after somebody changed something.
            EventTooLargeError: the first body alone is larger than the hub takes.
        """

    @property
    def max_send_bytes(self) -> int:
        """What the hub takes in one send, as far as it is known yet."""

    def close(self) -> None:
        """Let go of the connection; must not be called on the way out of the process: it may block."""


class Observer(Protocol):
    """What the shipper tells; called in the worker's thread, outside all locks."""

    def send_failed(self, error: SendError, stats: Stats) -> None:
        """Report that a send failed; the records are still held."""

    def send_succeeded(self, stats: Stats) -> None:
        """Report that the hub accepted a send."""


class Shipper:
    """Moves lines from a queue to a sender, and keeps the books.

    Args:
        queue: where the lines wait.
        sender: where they go.
        packer: makes events of them.
        batcher: says when.
        breaker: says whether.
        observer: is told what happened.
        wall: the wall clock, for ``sent_at``.
    """

    def __init__(
        self,
        queue: BoundedQueue,
        sender: Sender,
        *,
        packer: Packer,
        batcher: Batcher,
        breaker: Breaker,
        observer: Observer,
        wall: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._queue = queue
        self._sender = sender
        self._packer = packer
        self._batcher = batcher
        self._breaker = breaker
        self._observer = observer
        self._wall = wall
        self._lock = RLock()
        self._pending: deque[Packed] = deque()
        self._force = False
        self._taken = self._sent = self._in_flight = 0
        self._dropped = dict.fromkeys(Drop, 0)
        self._batches = self._events = self._sent_bytes = self._failures = 0
        #: Lines that the queue refused; added to by the callers' threads.
        self.refused = Tally()

    def step(self) -> float:
        """Do what is due: at most one send.

        Returns:
            Seconds until the next step is due: 0 at once, infinity when nothing waits.
        """
        if not self._pending:
            wait = self._batcher.wait_s()
            if wait > 0:
                self._force = False
                return wait
        if not self._breaker.begin(force=self._force):
            return self._breaker.wait_s()
        if not self._pending:
            self._fill()
        if not self._send():
            self._force = False
            return self._breaker.wait_s()
        return 0.0 if self._pending else self._batcher.wait_s()

    def flush(self) -> None:
        """Let everything that waits leave at once, with one try even while the circuit is open."""
        self._force = True
        self._batcher.flush()

    def wake_at(self) -> int:
        """Return the queue length that should end the worker's sleep early."""
        return NEVER if self._pending or self._breaker.wait_s() > 0 else self._batcher.wake_at()

    @property
    def finished_total(self) -> int:
        """Lines that came in and are settled or dropped."""
        return self._taken - self._in_flight

    @property
    def accepted_total(self) -> int:
        """Lines that came in, refused ones left out."""
        return self._taken + len(self._queue)

    @property
    def is_hopeless(self) -> bool:
        """Whether it is no use to wait for the hub: the circuit is open, or it never answered yet."""
        never = self._sent == 0 and self._failures >= HOPELESS_FAILURES
        return never or self._breaker.state is not Circuit.CLOSED

    def refit(
        self, sender: Sender, *, packer: Packer, batcher: Batcher, breaker: Breaker, observer: Observer
    ) -> None:
        """Go on with other parts and the same books; what is in flight is packed again."""
        with self._lock:
            lines = [line for packed in self._pending for line in packed.lines]
            self._sender, self._packer, self._batcher = sender, packer, batcher
            self._breaker, self._observer = breaker, observer
            self._pending.clear()
            if lines:
                self._pending.extend(packer.pack(lines, sent_at=self._wall()))

    def drop_held(self, reason: Drop) -> int:
        """Give up everything that is held, and count it; returns how many records that were."""
        with self._lock:
            lost = [line for packed in self._pending for line in packed.lines]
            self._pending.clear()
            self._in_flight -= len(lost)
            self._queue.finish(lost)
            while lines := self._queue.take(max_lines=1_000, max_bytes=1 << 30):
                self._taken += len(lines)
                self._queue.finish(lines)
                lost += lines
            self._dropped[reason] += len(lost)
            return len(lost)

    def stats(self, *, unconfigured: int = 0, failed: int = 0, misfits: int = 0) -> Stats:
        """Return a snapshot of the books; any thread may ask.

        Args:
            unconfigured: records that were refused since there is no hub, counted by the caller.
            failed: records that could not be taken at all, counted by the caller.
            misfits: values that did not fit their column, counted by the caller.
        """
        with self._lock:
            queued = len(self._queue)
            refused = self.refused.read()
            dropped = dict(self._dropped)
            dropped[Drop.QUEUE_FULL] += refused
            dropped[Drop.NOT_CONFIGURED] += unconfigured
            dropped[Drop.ERROR] += failed
            return Stats(
                accepted_total=self._taken + queued + refused + unconfigured + failed,
                sent_total=self._sent,
                dropped={reason: number for reason, number in dropped.items() if number},
                queued=queued,
                in_flight=self._in_flight,
                circuit=self._breaker.state,
                batches_total=self._batches,
                events_total=self._events,
                sent_bytes_total=self._sent_bytes,
                failures_total=self._failures,
                misfits_total=misfits,
            )

    def _fill(self) -> None:
        with self._lock:
            batches = self._batcher.take(EVENTS_PER_SEND)
            number = sum(map(len, batches))
            self._taken += number
            self._in_flight += number
        sent_at = self._wall()
        for lines in batches:
            try:
                self._pending.extend(self._packer.pack(lines, sent_at=sent_at))
            except Exception:
                with self._lock:  # what cannot be packed must not be held for ever
                    self._settle(lines)
                    self._dropped[Drop.ERROR] += len(lines)
                raise

    def _send(self) -> bool:
        offered = list(self._pending)
        try:
            accepted = self._sender.send([packed.body for packed in offered], self._packer.properties)
        except EventTooLargeError as error:
            self._breaker.succeeded()  # the hub answered
            self._shrink(error)
            return True
        except SendError as error:
            self._failed(error)
            return False
        except Exception as error:  # noqa: BLE001  # a foreign client may raise anything; the records stay here
            self._failed(TransientSendError(f"{type(error).__name__} in the client of the hub"))
            return False
        self._succeeded(offered[:accepted])
        return True

    def _succeeded(self, accepted: list[Packed]) -> None:
        with self._lock:
            self._breaker.succeeded()
            for packed in accepted:
                if not self._pending or self._pending[0] is not packed:
                    break  # given up meanwhile, at the exit: it is counted as dropped
                self._pending.popleft()
                self._settle(packed.lines)
                self._sent += len(packed.lines)
                self._sent_bytes += len(packed.body)
            self._batches += 1
            self._events += len(accepted)
        self._batcher.limit_event(self._packer.raw_bytes(self._sender.max_send_bytes - OVERHEAD_BYTES))
        self._observer.send_succeeded(self.stats())

    def _failed(self, error: SendError) -> None:
        with self._lock:
            self._failures += 1
            self._breaker.failed(
                at_least_s=getattr(error, "retry_after_s", 0.0),
                permanent=isinstance(error, PermanentSendError),
            )
        self._observer.send_failed(error, self.stats())

    def _shrink(self, error: EventTooLargeError) -> None:
        """Split the first event in two; a single line that is too large is dropped and counted."""
        with self._lock:
            self._batcher.limit_event(self._packer.raw_bytes(error.limit_bytes - OVERHEAD_BYTES))
            lines = self._pending.popleft().lines
            if len(lines) == 1:
                self._settle(lines)
                self._dropped[Drop.TOO_LARGE] += 1
                return
            middle = len(lines) // 2
            sent_at = self._wall()
            for half in (lines[middle:], lines[:middle]):
                self._pending.extendleft(reversed(self._packer.pack(half, sent_at=sent_at)))

    def _settle(self, lines: list[bytes]) -> None:
        self._in_flight -= len(lines)
        self._queue.finish(lines)
