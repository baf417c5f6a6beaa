"""Takes batches of memory and of disk, gives events to the send thread, settles what was accepted.

``step`` does what is due and never waits: ``worker`` calls it, and the ``SendThread`` calls the hub in a
thread of its own. What the shipper may do is one state, see ``events.TRANSITIONS``. Observers are called when
the lock is free, since their code is not ours.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from typing import Final

from hublog.delivery.accounting import Circuit, Drop, Stats
from hublog.delivery.batcher import Batch, Batcher, Source
from hublog.delivery.circuit_breaker import CircuitBreaker, ReplayPace
from hublog.delivery.events import TRANSITIONS, DeliveryObserver, EventDispatcher, SendEvent, Sending
from hublog.delivery.in_flight import InFlight, RejectionSearch
from hublog.delivery.memory_queue import NEVER
from hublog.delivery.packer import LINE_OVERHEAD_BYTES, OVERHEAD_BYTES, Packer
from hublog.delivery.send_thread import SendThread
from hublog.delivery.sender import InlineSend, Outcome
from hublog.delivery.storage import Mark, Storage
from hublog.errors import (
    EventTooLargeError,
    PermanentSendError,
    RejectedSendError,
    SendError,
    TransientSendError,
)
from hublog.locks import ThreadLock

#: With a backlog, that many events are offered to one send; the sender takes what fits.
EVENTS_PER_SEND: Final = 16
#: A hub that never answered is given up at the exit after so many tries.
HOPELESS_FAILURES: Final = 2
#: Lines do not wait in memory behind a send that takes longer.
SLOW_SEND_S: Final = 1.0
#: The worker looks after the disk and a running send so often.
LOOK_S: Final = 1.0
#: With more events in front of new ones these have fallen behind: what is old is sent beside them instead.
_BEHIND_EVENTS: Final = 4
#: At once after a send that failed, else where they would take this long at the pace of the last send.
BEHIND_S: Final = 2.0
_MOVED_EVENTS: Final = 64
#: From this part of its bound on the queue is emptied to disk.
_HIGH: Final = 0.75
#: Steps in a row that did nothing and asked for another at once: two looks at a clock may differ, not more.
_IDLE_STEPS_MAX: Final = 10


class Shipper:
    """Moves lines from their stores to the hub, and counts them.

    Args:
        stores: where they wait.
        send_thread: sends.
        packer: makes events of them.
        batchers: say when; one for each source, the memory queue's first.
        breaker: says whether.
        observer: is called with what happened.
        now: monotonic seconds.
        shorten: makes a line shorter that the hub does not take for its size; None where that cannot be.
        wall: the wall clock, for ``sent_at``.

    Attributes:
        dispatcher: collects the calls of the observer.
    """

    def __init__(
        self,
        stores: Storage,
        send_thread: SendThread | InlineSend,
        *,
        packer: Packer,
        batchers: Sequence[tuple[Source, Batcher]],
        breaker: CircuitBreaker,
        observer: DeliveryObserver,
        now: Callable[[], float],
        shorten: Callable[[bytes, int], bytes | None] = lambda line, max_bytes: None,  # noqa: ARG005  # its names
        wall: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._stores = stores
        self._send_thread = send_thread
        self._packer = packer
        self._batchers = list(batchers)
        self._breaker = breaker
        self.dispatcher = EventDispatcher(observer, stats=self.stats)
        self._now = now
        self._lock = ThreadLock()
        self._in_flight = InFlight(stores, packer=packer, wall=wall)
        self._rejections = RejectionSearch(self._in_flight, shorten=shorten, now=now)
        self._pace = ReplayPace(now=now)
        self._sending = Sending.READY
        self._has_progressed = False
        self._idle_steps = 0
        self._force = False
        self._was_replay = self._has_replayed = False
        self._begun_mono = -math.inf
        self._retry_mono = -math.inf

    def step(self) -> float:
        """Do what is due; never waits for the network.

        Returns:
            Seconds until the next step is due: 0 at once, infinity when nothing waits.
        """
        with self._lock:
            try:
                self._has_progressed = False
                self._maintain()
                self._hear()
                self._look_at_clock()
                self._offer()
                self._hear()  # what was sent in this very thread
                self._put_aside()
                has_sent, is_stuck = self._in_flight.sent_total > 0, self._sending is Sending.STUCK
                self.dispatcher.note(self._stores, self._breaker, is_stuck=is_stuck, has_sent=has_sent)
                wait = self._wait_s()
                self._idle_steps = 0 if wait > 0 or self._has_progressed else self._idle_steps + 1
                if self._idle_steps >= _IDLE_STEPS_MAX:
                    raise AssertionError(f"{self._sending}: no wait, no progress")
            finally:
                reports = self.dispatcher.take()
        for report in reports:
            report()
        return wait

    def flush(self) -> None:
        """Let everything that waits leave at once, with one try even while the circuit is open."""
        self._force = True
        self.hurry()

    def hurry(self) -> None:
        """Let everything that waits leave as soon as the circuit allows: a caller waits for it."""
        for _, batcher in self._batchers:
            batcher.flush()

    def borders(self) -> list[tuple[Source, int]]:
        """Return the lengths of the sources at which a put should end the worker's sleep."""
        queue = self._stores.queue
        high = NEVER if self._stores.spooler is None or self._is_high else self._high_lines
        borders: list[tuple[Source, int]] = []
        for source, batcher in self._batchers:
            if self._sending in (Sending.ACTIVE, Sending.SLOW, Sending.STUCK):
                borders.append((source, high if source is queue else NEVER))
            else:
                is_waiting = self._sending is Sending.PAUSED and source is not queue
                borders.append((source, NEVER if is_waiting else batcher.wake_at()))
        return borders

    def mark(self) -> Mark:
        """Return what must be behind us for all to be sent that has come in until now."""
        with self._lock:
            return self._stores.mark()

    def is_past(self, mark: Mark) -> bool:
        """Whether all of that is sent, or dropped and counted."""
        with self._lock:
            return self._stores.is_past(mark, oldest_in_flight=self._in_flight.oldest_number)

    @property
    def is_empty(self) -> bool:
        """Whether nothing is held here."""
        return not (len(self._in_flight) or self._in_flight.quarantined or self._stores.held_lines)

    @property
    def is_hopeless(self) -> bool:
        """Whether it is no use to wait for the hub: the circuit is open, or it never answered yet."""
        if (
            self._send_thread.is_stuck
            or self._rejections.is_alone
            or self._breaker.state is not Circuit.CLOSED
        ):
            return True
        return self._in_flight.sent_total == 0 and self.dispatcher.totals.failures >= HOPELESS_FAILURES

    def use_packer(self, packer: Packer) -> None:
        """Make events as this packer does; before the first step."""
        with self._lock:
            self._packer = packer
            self._in_flight.packer = packer

    def secure(self) -> int:
        """Write everything that is held in memory to disk, where there is one.

        Returns:
            How many records are still in memory alone.
        """
        with self._lock:
            self._in_flight.insure()
            self._stores.secure()
            return self._stores.memory_lines

    def close_spool(self) -> None:
        """Leave what is on disk to other processes, and take over nothing of theirs any more; at the exit.

        Lines that come later go to another directory.
        """
        with self._lock:
            spooler = self._stores.spooler
            if spooler is not None:
                self._in_flight.give_back()
                spooler.adopts = False
                spooler.close()

    def release_spool(self) -> None:
        """Remove from disk what is not needed while nothing waits."""
        with self._lock:
            if self._stores.spooler is not None:
                self._stores.spooler.release()

    def use(self, send_thread: SendThread | InlineSend) -> None:
        """Send by this send_thread from now on."""
        with self._lock:
            self._send_thread = send_thread
            self._sending = Sending.ACTIVE if send_thread.is_busy else Sending.READY

    def drop_held(self, reason: Drop) -> int:
        """Give up everything that is held in memory, and count it; returns how many records that were."""
        with self._lock:
            before = self._stores.memory_lines
            self._in_flight.drop(reason)
            self._stores.drop(reason)
            return before

    def stats(self) -> Stats:
        """Return a snapshot of the counters; any thread may ask."""
        with self._lock:
            counts = self._stores.counts()
            totals = self.dispatcher.totals
            return Stats(
                accepted_total=counts.accepted_total,
                sent_total=self._in_flight.sent_total,
                dropped={reason: number for reason, number in counts.dropped.items() if number},
                queued=counts.queued,
                in_flight=counts.in_flight,
                spooled=counts.spooled - self._in_flight.unsettled_lines,
                recovered_total=counts.recovered_total,
                replayed_total=self._in_flight.replayed_total,
                state=self.dispatcher.state,
                abandoned_sends=self._send_thread.abandoned,
                circuit=self._breaker.state,
                batches_total=totals.batches,
                events_total=totals.events,
                sent_bytes_total=totals.sent_bytes,
                failures_total=totals.failures,
            )

    def _on(self, event: SendEvent) -> None:
        self._sending = TRANSITIONS[self._sending][event]
        self._has_progressed = True

    def _maintain(self) -> None:
        spooler = self._stores.spooler
        if spooler is not None:
            self._has_progressed = spooler.wait_s() <= 0
            spooler.maintain()

    def _look_at_clock(self) -> None:
        """Do what only time brings about."""
        now = self._now()
        if self._sending is Sending.ACTIVE and now - self._begun_mono >= SLOW_SEND_S:
            self._on(SendEvent.TOOK_LONG)
        is_paused = self._sending is Sending.PAUSED
        if (is_paused and (self._force or self._breaker.wait_s() <= 0)) or (
            self._sending is Sending.NO_THREAD and now >= self._retry_mono
        ):
            self._on(SendEvent.DUE)
        if self._rejections.wait_s() <= 0:
            self._has_progressed = True
            self._rejections.retry()

    # What the send_thread brings back.

    def _hear(self) -> None:
        was_busy = self._send_thread.is_busy
        outcome = self._send_thread.outcome()
        if outcome is None:
            if self._send_thread.watch() and was_busy:
                seconds = self._now() - self._begun_mono
                self._failed(
                    TransientSendError(f"no answer for {seconds:.0f} s; the connection was given up"), seconds
                )
            elif self._send_thread.is_stuck:
                if self._sending is not Sending.STUCK:
                    self._on(SendEvent.HUNG)
                self._in_flight.insure()
        elif outcome.error is None:
            self._on(SendEvent.ANSWERED)
            self._arrived(outcome)
        elif isinstance(outcome.error, EventTooLargeError):
            self._on(SendEvent.ANSWERED)
            self._limit_events(outcome.error.limit_bytes)
            self._rejections.too_large(outcome.error)
        elif isinstance(outcome.error, RejectedSendError) and self._rejections.refused(outcome.error):
            self._on(SendEvent.ANSWERED)
        else:
            self._failed(outcome.error, outcome.seconds)

    def _arrived(self, outcome: Outcome) -> None:
        self._in_flight.give_up_quarantined()
        has_failed = self._breaker.failures > 0
        self._breaker.succeeded()
        is_replay = self._in_flight.is_replay
        records, size = self._in_flight.arrived(outcome.accepted)
        if is_replay:
            self._pace.sent(size)
            self._has_replayed = True
        self._rejections.arrived(outcome.accepted)
        self._limit_events(self._send_thread.max_send_bytes)
        # Only a full send shows the pace: what comes during another one leaves with the next.
        is_full = outcome.accepted == EVENTS_PER_SEND or len(self._in_flight) > 0
        if has_failed:
            self._let_new_ones_pass()
        elif is_full and not is_replay:
            self._let_new_ones_pass(seconds_per_line=outcome.seconds / max(records, 1))
        self.dispatcher.sent(
            records=records,
            events=outcome.accepted,
            body_bytes=size,
            seconds=outcome.seconds,
            is_replay=is_replay,
        )
        if not len(self._in_flight) and not self._stores.stored_lines and self.dispatcher.emptied():
            self._pace.rest()

    def _failed(self, error: SendError, seconds: float) -> None:
        self._on(SendEvent.FAILED)
        self.dispatcher.failed(error, records=self._in_flight.offered_lines, seconds=seconds)
        if isinstance(error, TransientSendError) and error.retry_after_s > 0:
            self._breaker.throttled(wait_s=error.retry_after_s)
            self._pace.throttled()
        else:
            self._breaker.failed(permanent=isinstance(error, PermanentSendError))
        self._force = self._has_replayed = False
        self._in_flight.give_back()
        self._rejections.stop()
        self._let_new_ones_pass()  # what comes from now on is before this when the hub is back

    def _limit_events(self, send_bytes: int) -> None:
        for _, batcher in self._batchers:
            batcher.limit_event(self._packer.raw_bytes(send_bytes - OVERHEAD_BYTES))

    # What the send_thread takes along.

    def _offer(self) -> None:
        if self._sending is not Sending.READY or not (len(self._in_flight) or self._has_due()):
            return
        if not self._breaker.begin(force=self._force):
            self._on(SendEvent.TOO_EARLY)
            return
        if not len(self._in_flight):
            self._fill()
        is_probe = self._breaker.state is not Circuit.CLOSED
        bodies = self._in_flight.offer(self._rejections.events(1 if is_probe else EVENTS_PER_SEND))
        if not bodies:
            return
        self._begun_mono = self._now()
        if self._send_thread.offer(bodies, self._in_flight.properties):
            self._on(SendEvent.BEGUN)
        else:
            self._on(SendEvent.NOT_STARTED)
            self._retry_mono = self._now() + LOOK_S
            self._in_flight.give_back()

    def _has_due(self) -> bool:
        is_due = self._is_new_due or self._is_replay_due
        if not is_due and not self._stores.stored_lines:
            self._force = False
        return is_due

    @property
    def _is_new_due(self) -> bool:
        return any(batcher.wait_s() <= 0 for _, batcher in self._batchers)

    @property
    def _is_replay_due(self) -> bool:
        if not self._stores.stored_lines:
            return False
        return self._force or self._breaker.state is not Circuit.CLOSED or self._pace.wait_s() <= 0

    def _fill(self) -> None:
        is_probe = self._breaker.state is not Circuit.CLOSED
        events = 1 if is_probe else EVENTS_PER_SEND
        max_lines = 1 if self._rejections.is_wary and is_probe else None
        # New records and those that have waited take turns, and the latter are few: see ``ReplayPace``.
        self._was_replay = self._is_replay_due and not (self._is_new_due and self._was_replay)
        if not self._was_replay:
            for _, batcher in self._batchers:
                if batcher.wait_s() <= 0:
                    self._in_flight.load(batcher.take(events, max_lines=max_lines), is_replay=False)
                    return
        self._in_flight.load(self._take_stored(max_lines or NEVER, events), is_replay=True)

    def _take_stored(self, max_lines: int, events: int) -> Iterator[Batch]:
        """Yield what waits, up to what one send takes, since new records must not wait behind more.

        The first send is one event: if it fails or the process is killed, no more than that arrives twice.
        What many processes left, a few records each, makes several small events.
        """
        most = self._batchers[0][1].event_bytes
        enough = self._send_thread.max_send_bytes if self._has_replayed else most
        for _ in range(events):
            batch = self._stores.take_stored(
                max_lines=max_lines, max_bytes=most, line_overhead=LINE_OVERHEAD_BYTES
            )
            if batch is None:
                return
            yield batch
            if self._in_flight.body_bytes > enough // 2:
                return

    # What stays.

    @property
    def _high_lines(self) -> int:
        return max(int(self._stores.queue.max_lines * _HIGH), 1)

    @property
    def _is_high(self) -> bool:
        return len(self._stores.queue) >= self._high_lines

    @property
    def _is_blocked(self) -> bool:
        """Whether lines that are due now would wait long in memory."""
        if self._sending in (Sending.ACTIVE, Sending.SLOW):
            is_long = self._sending is Sending.SLOW or self._is_high
            return is_long and self._stores.spooler is not None
        return self._sending is not Sending.READY

    def _put_aside(self) -> None:
        if self._is_blocked:
            self._empty_queue()

    def _empty_queue(self) -> None:
        batcher = self._batchers[0][1]
        if batcher.wait_s() > 0:
            return
        self._has_progressed = True
        for batch in batcher.take(_MOVED_EVENTS):
            self._stores.keep(batch.lines, number=batch.number)

    def _let_new_ones_pass(self, *, seconds_per_line: float = math.inf) -> None:
        """Have a backlog sent alongside new records, not before them, where it is more than a few events.

        Args:
            seconds_per_line: pace of the last send; where the backlog is sent within ``BEHIND_S`` it is none.
        """
        limit = _BEHIND_EVENTS * self._batchers[0][1].event_bytes
        if any(
            source.bytes_waiting > limit and len(source) * seconds_per_line >= BEHIND_S
            for source, _ in self._batchers
        ):
            self._stores.retire(limit)
            if self._stores.queue.bytes_waiting > limit:
                self._empty_queue()

    def _wait_s(self) -> float:
        waits = [self._rejections.wait_s()]
        if self._stores.spooler is not None:
            waits.append(self._stores.spooler.wait_s())
        if self._send_thread.abandoned:
            waits.append(LOOK_S)
        if self._sending not in (Sending.READY, Sending.PAUSED):
            return min(*waits, LOOK_S)
        allowed = self._breaker.wait_s()
        if len(self._in_flight):
            waits.append(allowed)
        if self._stores.stored_lines:
            is_closed = self._breaker.state is Circuit.CLOSED
            waits.append(max(allowed, self._pace.wait_s() if is_closed and not self._force else 0.0))
        for source, batcher in self._batchers:
            # What is due in the queue is put aside while nothing may be sent; what is on disk can wait there.
            is_late = source is not self._stores.queue or batcher.wait_s() <= 0
            waits.append(max(batcher.wait_s(), allowed if is_late else 0.0))
        return min(waits)
