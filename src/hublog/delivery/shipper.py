"""Takes batches of memory and of disk, gives events to the send thread, settles what was accepted.

``step`` does what is due and never waits: the worker calls it, and the send thread calls the hub. What the
shipper may do is one state, see ``events.TRANSITIONS``. Observers are called when the lock is free.
"""

import math
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from itertools import islice
from typing import Final

from hublog.delivery.accounting import Circuit, Drop, Stats
from hublog.delivery.batcher import Source
from hublog.delivery.circuit_breaker import CircuitBreaker, ReplayPace
from hublog.delivery.events import TRANSITIONS, DeliveryObserver, EventDispatcher, SendEvent, Sending
from hublog.delivery.history import DeliveryHistory
from hublog.delivery.in_flight import InFlight, RejectionSearch
from hublog.delivery.memory_queue import NEVER
from hublog.delivery.packer import OVERHEAD_BYTES, Packer
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

#: With a backlog, this number of events is offered to one send; the sender takes what fits. With packing
#: ``single`` they are a fraction of what does, but the interpreter belongs to the sender for 2 ms meanwhile.
EVENTS_PER_SEND: Final = 128
#: A hub that never answered is given up at the exit after this number of tries.
HOPELESS_FAILURES: Final = 2
#: Lines do not wait in memory behind a send that takes longer.
SLOW_SEND_S: Final = 1.0
#: Seconds between two looks at the disk and a running send.
LOOK_S: Final = 1.0
#: Steps in a row without wait and progress; two looks at a clock may differ.
_IDLE_STEPS_MAX: Final = 10


class Shipper:
    """Moves lines from their stores to the hub, and counts them.

    Args:
        stores: where they wait.
        send_thread: sends.
        packer: makes events of them.
        breaker: says whether.
        observer: is called with what happened.
        now: monotonic seconds.
        shorten: makes a line shorter that the hub does not take for its size; None where that cannot be.
        wall: the wall clock, for ``sent_at``.

    Attributes:
        dispatcher: collects the calls of the observer.
        history: what operators see of it.
    """

    def __init__(
        self,
        stores: Storage,
        send_thread: SendThread | InlineSend,
        *,
        packer: Packer,
        breaker: CircuitBreaker,
        observer: DeliveryObserver,
        now: Callable[[], float],
        shorten: Callable[[bytes, int], bytes | None] = lambda line, max_bytes: None,  # noqa: ARG005  # its names
        wall: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._stores = stores
        self._accounting = stores.accounting
        self._send_thread = send_thread
        self._breaker = breaker
        self.dispatcher = EventDispatcher(observer, stats=self.stats)
        self.history = DeliveryHistory(stores.accounting, wall=lambda: wall().timestamp())
        self._now = now
        self._lock = ThreadLock()
        self._in_flight = InFlight(stores, packer=packer, wall=wall)
        self._rejections = RejectionSearch(self._in_flight, shorten=shorten, now=now)
        self._pace = ReplayPace(now=now)
        self._sending = Sending.READY
        self._has_progressed = self._force = self._was_replay = self._has_replayed = False
        self._idle_steps = 0
        self._begun_mono = self._retry_mono = -math.inf

    def step(self) -> float:
        """Do what is due; never waits for the network.

        Returns:
            Seconds until the next step is due: 0 at once, infinity when nothing waits.
        """
        with self._lock:
            try:
                self._has_progressed = False
                self._receive()
                self._maintain()
                self._offer()
                self._receive()  # what was sent in this very thread
                self._put_aside()
                self.dispatcher.note(self._stores, self._breaker, is_stuck=self._sending is Sending.STUCK)
                self.history.note(self.dispatcher.state, self._breaker.state)
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
        for batcher in self._stores.batchers:
            batcher.flush()

    def borders(self) -> list[tuple[Source, int]]:
        """Return the lengths of the sources at which a put should end the worker's sleep."""
        queue = self._stores.queue
        high = NEVER if self._stores.spooler is None or queue.is_high else queue.high_lines
        is_sending = self._sending in (Sending.ACTIVE, Sending.SLOW, Sending.STUCK)
        borders: list[tuple[Source, int]] = []
        for batcher in self._stores.batchers:
            if is_sending and batcher.source is queue:
                borders.append((queue, high))
            elif batcher.source is not queue and (is_sending or self._sending is Sending.PAUSED):
                borders.append((batcher.source, NEVER))
            else:
                borders.append((batcher.source, batcher.wake_at()))
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
    def oldest_line(self) -> bytes | None:
        """The oldest line that is in memory; None without one."""
        lines = (self._in_flight.oldest_line, self._stores.queue.oldest_line)
        return min((line for line in lines if line is not None), default=None)  # they begin with their time

    @property
    def is_hopeless(self) -> bool:
        """Whether it is no use to wait for the hub: the circuit is open, or it never answered yet."""
        is_paused = self._send_thread.is_stuck or self._breaker.state is not Circuit.CLOSED
        never_answered = self._accounting.sent_total == 0
        has_failed = never_answered and self._accounting.failures_total >= HOPELESS_FAILURES
        return is_paused or has_failed or self._rejections.is_alone

    def use_packer(self, packer: Packer) -> None:
        """Make events as this packer does; before the first step."""
        self._in_flight.packer = packer

    def secure(self) -> int:
        """Write what is held in memory to disk; returns the number of records still in memory alone."""
        with self._lock:
            self._in_flight.insure()
            self._stores.secure()
            return self._stores.memory_lines

    def close_spool(self) -> None:
        """Leave what is on disk to other processes; at the exit. Lines that come later go elsewhere."""
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
        """Send by this one from now on."""
        with self._lock:
            self._send_thread = send_thread
            self._sending = Sending.ACTIVE if send_thread.is_busy else Sending.READY

    def drop_held(self, reason: Drop) -> int:
        """Give up everything that is held in memory, and count it; returns the number of records."""
        with self._lock:
            held_lines = self._stores.memory_lines
            self._in_flight.drop(reason)
            self._stores.drop(reason)
            return held_lines

    def stats(self) -> Stats:
        """Return a snapshot of the counters; any thread may ask."""
        with self._lock:
            stats = self._stores.stats()
            return replace(
                stats,
                spooled=stats.spooled - self._in_flight.unsettled_lines,
                state=self.dispatcher.state,
                abandoned_sends=self._send_thread.abandoned,
                circuit=self._breaker.state,
            )

    def _on(self, event: SendEvent) -> None:
        self._sending = TRANSITIONS[self._sending][event]
        self._has_progressed = True

    def _maintain(self) -> None:
        """Do what only time brings about."""
        now, spooler = self._now(), self._stores.spooler
        if spooler is not None:
            self._has_progressed = self._has_progressed or spooler.wait_s() <= 0
            spooler.maintain()
        if self._rejections.wait_s() <= 0:
            self._has_progressed = True
            self._rejections.retry()
        if self._sending is Sending.ACTIVE and now - self._begun_mono >= SLOW_SEND_S:
            self._on(SendEvent.TOOK_LONG)
        is_paused = self._sending is Sending.PAUSED
        if (is_paused and (self._force or self._breaker.wait_s() <= 0)) or (
            self._sending is Sending.NO_THREAD and now >= self._retry_mono
        ):
            self._on(SendEvent.DUE)

    # What the send thread brings back.

    def _receive(self) -> None:
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
        taken, line_bytes, size = self._in_flight.arrived(outcome.accepted)
        self.history.sent(taken, outcome.seconds)
        if is_replay:
            self._pace.sent(size)
            self._has_replayed = True
        self._rejections.arrived(outcome.accepted)
        self._limit_events(self._send_thread.max_send_bytes)
        if has_failed:
            self._stores.let_new_ones_pass()
        elif not is_replay and outcome.seconds > 0:
            is_full = outcome.accepted == EVENTS_PER_SEND or len(self._in_flight) > 0
            # A send that was not full could have taken more in this time.
            room = 0 if is_full else self._in_flight.packer.raw_bytes(self._send_thread.max_send_bytes)
            self._stores.let_new_ones_pass(bytes_per_s=max(line_bytes, room) / outcome.seconds)
        self._accounting.batches_total += 1
        self._accounting.events_total += outcome.accepted
        self._accounting.sent_bytes_total += size
        self.dispatcher.sent(
            records=sum(map(len, taken)),
            events=outcome.accepted,
            body_bytes=size,
            seconds=outcome.seconds,
            is_replay=is_replay,
        )
        if not len(self._in_flight) and not self._stores.stored_lines and self.dispatcher.emptied():
            self._pace.rest()

    def _failed(self, error: SendError, seconds: float) -> None:
        self._on(SendEvent.FAILED)
        self._accounting.failures_total += 1
        self.history.failed(error, self._in_flight.offered_lines, seconds)
        self.dispatcher.failed(error, records=self._in_flight.offered_lines, seconds=seconds)
        if isinstance(error, TransientSendError) and error.retry_after_s > 0:
            self._breaker.throttled(wait_s=error.retry_after_s)
            self._pace.throttled()
        else:
            self._breaker.failed(permanent=isinstance(error, PermanentSendError))
        self._force = self._has_replayed = False
        self._in_flight.give_back()
        self._rejections.stop()
        self._stores.let_new_ones_pass()  # what comes from now on is before this when the hub is back

    def _limit_events(self, send_bytes: int) -> None:
        for batcher in self._stores.batchers:
            batcher.limit_event(self._in_flight.packer.raw_bytes(send_bytes - OVERHEAD_BYTES))

    # What the send thread takes along.

    def _offer(self) -> None:
        if self._sending is not Sending.READY:
            return
        is_new_due = any(batcher.wait_s() <= 0 for batcher in self._stores.batchers)
        is_replay_due = self._replay_wait_s() <= 0
        if not (len(self._in_flight) or is_new_due or is_replay_due):
            self._force = False
            return
        if not self._breaker.begin(force=self._force):
            self._on(SendEvent.TOO_EARLY)
            return
        events = EVENTS_PER_SEND if self._breaker.state is Circuit.CLOSED else 1  # a probe is small
        if not len(self._in_flight):
            # New records and those that have waited take turns, and the latter are few: see ``ReplayPace``.
            self._was_replay = is_replay_due and not (is_new_due and self._was_replay)
            self._fill(events)
        bodies = self._in_flight.offer(self._rejections.events(events))
        if not bodies:
            return
        self._begun_mono = self._now()
        if self._send_thread.offer(bodies, self._in_flight.properties):
            self._on(SendEvent.BEGUN)
        else:
            self._on(SendEvent.NOT_STARTED)
            self._retry_mono = self._now() + LOOK_S
            self._in_flight.give_back()

    def _replay_wait_s(self) -> float:
        """Return the seconds until what is stored may be sent; infinity where nothing is."""
        if not self._stores.stored_lines:
            return math.inf
        return 0.0 if self._force or self._breaker.state is not Circuit.CLOSED else self._pace.wait_s()

    def _fill(self, events: int) -> None:
        max_lines = 1 if self._rejections.is_wary and events == 1 else None
        event_bytes = self._stores.batchers[0].event_bytes
        if not self._was_replay:
            # As many as one send takes, so that the interpreter is ours for less than a millisecond.
            room = self._in_flight.packer.raw_bytes(self._send_thread.max_send_bytes)
            events = min(events, room // event_bytes + 1)
            for batcher in self._stores.batchers:
                if batcher.wait_s() <= 0:
                    self._in_flight.load(batcher.take(events, max_lines=max_lines), is_replay=False)
                    return
        # Up to what one send takes, but the first one is one event: if it fails or the process is killed, no
        # more than that arrives twice. What many processes left, a few records each, makes several events.
        enough_bytes = self._send_thread.max_send_bytes if self._has_replayed else event_bytes
        take = partial(
            self._stores.take_stored,
            max_lines=max_lines or NEVER,
            max_bytes=event_bytes,
        )
        batches = islice(iter(take, None), events)
        self._in_flight.load(batches, is_replay=True, enough_bytes=enough_bytes // 2)

    def _put_aside(self) -> None:
        """Move lines that are due and would wait long in memory."""
        if self._sending in (Sending.ACTIVE, Sending.SLOW):
            is_long = self._sending is Sending.SLOW or self._stores.queue.is_high
            is_blocked = is_long and self._stores.spooler is not None
        else:
            is_blocked = self._sending is not Sending.READY
        if is_blocked:
            self._has_progressed = self._stores.put_aside() or self._has_progressed

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
        waits.append(max(allowed, self._replay_wait_s()))
        for batcher in self._stores.batchers:
            # What is due in the queue is put aside while nothing may be sent; what is on disk can wait there.
            is_late = batcher.source is not self._stores.queue or batcher.wait_s() <= 0
            waits.append(max(batcher.wait_s(), allowed if is_late else 0.0))
        return min(waits)
