"""The states of delivery with their transitions as data, and the events that are reported.

``Sending`` is what the shipper may do now. ``State`` is what operators and signal receivers see, made of the
circuit, the failures and what waits. Once sending is paused, in ``OPEN`` or ``DISK_ONLY``, only a send can
find out that the hub is available: the way to ``HEALTHY`` and ``DRAINING`` leads through ``PROBING``. Events
are collected while the lock is held and reported after that, since receivers are not ours.
"""

from collections.abc import Callable, Mapping
from enum import StrEnum
from functools import partial
from types import MappingProxyType
from typing import Final, Protocol

from hublog.delivery.accounting import Accounting, Circuit, DropReport, State, Stats
from hublog.delivery.circuit_breaker import CircuitBreaker
from hublog.delivery.storage import Storage
from hublog.errors import SendError


class Sending(StrEnum):
    """What the shipper may do now.

    Attributes:
        READY: a send may begin.
        ACTIVE: a send is under way.
        SLOW: it takes long, so that new lines go to disk, where there is one.
        STUCK: it hangs, as do too many others, so that none may begin; lines in flight are written to disk.
        PAUSED: the hub failed or is busy; until the next retry or probe lines are put aside.
        NO_THREAD: no thread for the send could be started; until the next try lines are put aside.
    """

    READY = "ready"
    ACTIVE = "active"
    SLOW = "slow"
    STUCK = "stuck"
    PAUSED = "paused"
    NO_THREAD = "no_thread"


class SendEvent(StrEnum):
    """What changes that.

    Attributes:
        BEGUN: a send was handed over.
        TOOK_LONG: it has been under way for a second.
        HUNG: it is past its limit and cannot be given up.
        ANSWERED: the hub took events, or refused some for themselves.
        FAILED: nothing was taken, and the send may be repeated later.
        TOO_EARLY: the circuit does not allow a send yet.
        NOT_STARTED: no thread can be had.
        DUE: the pause is over, or a flush does not wait for that.
    """

    BEGUN = "begun"
    TOOK_LONG = "took_long"
    HUNG = "hung"
    ANSWERED = "answered"
    FAILED = "failed"
    TOO_EARLY = "too_early"
    NOT_STARTED = "not_started"
    DUE = "due"


#: The state that follows from a state with an event; no other event can happen in it.
TRANSITIONS: Final[Mapping[Sending, Mapping[SendEvent, Sending]]] = MappingProxyType(
    {
        Sending.READY: {
            SendEvent.BEGUN: Sending.ACTIVE,
            SendEvent.TOO_EARLY: Sending.PAUSED,
            SendEvent.NOT_STARTED: Sending.NO_THREAD,
        },
        Sending.ACTIVE: {
            SendEvent.TOOK_LONG: Sending.SLOW,
            SendEvent.HUNG: Sending.STUCK,
            SendEvent.ANSWERED: Sending.READY,
            SendEvent.FAILED: Sending.PAUSED,
        },
        Sending.SLOW: {
            SendEvent.HUNG: Sending.STUCK,
            SendEvent.ANSWERED: Sending.READY,
            SendEvent.FAILED: Sending.PAUSED,
        },
        Sending.STUCK: {SendEvent.ANSWERED: Sending.READY, SendEvent.FAILED: Sending.PAUSED},
        Sending.PAUSED: {SendEvent.DUE: Sending.READY},
        Sending.NO_THREAD: {SendEvent.DUE: Sending.READY},
    }
)

#: From each state, the ones that may follow it.
ALLOWED: Final[Mapping[State, frozenset[State]]] = MappingProxyType(
    {
        State.HEALTHY: frozenset({State.DEGRADED, State.OPEN, State.DRAINING, State.DISK_ONLY}),
        State.DEGRADED: frozenset({State.HEALTHY, State.DRAINING, State.OPEN, State.DISK_ONLY}),
        State.OPEN: frozenset({State.PROBING, State.DISK_ONLY}),
        State.PROBING: frozenset(
            {State.HEALTHY, State.DRAINING, State.DEGRADED, State.OPEN, State.DISK_ONLY}
        ),
        State.DRAINING: frozenset({State.HEALTHY, State.DEGRADED, State.OPEN, State.DISK_ONLY}),
        State.DISK_ONLY: frozenset({State.OPEN, State.PROBING, State.DEGRADED}),
    }
)


def state_of(*, circuit: Circuit, failures: int, waiting: int, is_stuck: bool) -> State:
    """Return the state that these facts make.

    Args:
        circuit: what the breaker lets through.
        failures: sends that failed in a row.
        waiting: records that are stored for replay.
        is_stuck: whether sends hang, and no other may be begun.
    """
    if is_stuck:
        return State.DISK_ONLY
    if circuit is Circuit.OPEN:
        return State.OPEN
    if circuit is Circuit.HALF_OPEN:
        return State.PROBING
    if failures > 0:
        return State.DEGRADED
    return State.DRAINING if waiting > 0 else State.HEALTHY


class StateMachine:
    """Follows the facts, one allowed change at a time; used by the worker's thread alone."""

    def __init__(self) -> None:
        self._state = State.HEALTHY

    @property
    def state(self) -> State:
        """How delivery goes, as of the last ``update``."""
        return self._state

    def update(
        self, *, circuit: Circuit, failures: int, waiting: int, is_stuck: bool
    ) -> tuple[State, State] | None:
        """Follow the facts, see ``state_of``; returns the state before and now, None without a change.

        Where ``ALLOWED`` has no direct way, the change leads to the state between: at most two calls reach
        what the facts say.
        """
        old = self._state
        goal = state_of(circuit=circuit, failures=failures, waiting=waiting, is_stuck=is_stuck)
        if goal is old:
            return None
        # What must have come before: the open circuit before a probe, a probe before the hub is back.
        between = State.OPEN if goal is State.PROBING else State.PROBING
        self._state = goal if goal in ALLOWED[old] else between
        return old, self._state


class DeliveryObserver(Protocol):
    """What is called with events, in the worker's thread, outside all locks."""

    def batch_sent(
        self, *, records: int, events: int, body_bytes: int, seconds: float, is_replay: bool, stats: Stats
    ) -> None:
        """Report that the hub accepted a send."""

    def batch_failed(self, error: SendError, *, records: int, seconds: float, stats: Stats) -> None:
        """Report that a send failed; the records are still held."""

    def state_changed(self, old: State, new: State, *, error: SendError | None, stats: Stats) -> None:
        """Report how delivery goes from now on."""

    @property
    def may_report_drops(self) -> bool:
        """Whether it is time to report what was lost."""

    def records_dropped(self, dropped: DropReport) -> None:
        """Report what was lost since the last report."""

    def replayed(self, records: int, stats: Stats) -> None:
        """Report that what had waited is sent."""


class EventDispatcher:
    """Follows the state, and hands out the calls of the observer.

    Args:
        observer: is called.
        stats: returns a snapshot, at the moment of the call.
    """

    def __init__(self, observer: DeliveryObserver, *, stats: Callable[[], Stats]) -> None:
        self._observer = observer
        self._stats = stats
        self._machine = StateMachine()
        self._error: SendError | None = None
        self._unshipped: DropReport | None = None
        self._replayed = 0
        self._reports: list[Callable[[], object]] = []
        #: Makes a record of what was dropped, to be sent; set by the pipeline.
        self.ship_report: Callable[[DropReport], object] = lambda _: None

    @property
    def state(self) -> State:
        """How delivery goes."""
        return self._machine.state

    def take(self) -> list[Callable[[], object]]:
        """Return the calls that are due, to be made in this order without the lock."""
        reports, self._reports = self._reports, []
        return reports

    def sent(self, *, records: int, events: int, body_bytes: int, seconds: float, is_replay: bool) -> None:
        """Note that the hub accepted a send."""
        self._error = None
        self._replayed += records * is_replay
        self._reports.append(
            lambda: self._observer.batch_sent(
                records=records,
                events=events,
                body_bytes=body_bytes,
                seconds=seconds,
                is_replay=is_replay,
                stats=self._stats(),
            )
        )

    def failed(self, error: SendError, *, records: int, seconds: float) -> None:
        """Note that a send failed."""
        self._error = error
        self._reports.append(
            lambda: self._observer.batch_failed(error, records=records, seconds=seconds, stats=self._stats())
        )

    def emptied(self) -> bool:
        """Note that nothing is stored any more; returns whether anything stored was sent."""
        replayed, self._replayed = self._replayed, 0
        if replayed:
            self._reports.append(lambda: self._observer.replayed(replayed, self._stats()))
        return replayed > 0

    def note(self, stores: Storage, breaker: CircuitBreaker, *, is_stuck: bool) -> None:
        """Follow the facts, and what was lost.

        Args:
            stores: what waits, and what was dropped.
            breaker: whether the hub is there.
            is_stuck: whether sends hang, and no other may begin.
        """
        self._note_state(breaker, waiting=stores.stored_lines, is_stuck=is_stuck)
        self._note_drops(stores.accounting)
        is_there = (
            stores.accounting.sent_total > 0 and breaker.state is Circuit.CLOSED and not breaker.failures
        )
        if is_there and self._unshipped is not None:
            unshipped, self._unshipped = self._unshipped, None
            self._reports.append(lambda: self.ship_report(unshipped))

    def _note_state(self, breaker: CircuitBreaker, *, waiting: int, is_stuck: bool) -> None:
        for _ in range(2):
            change = self._machine.update(
                circuit=breaker.state, failures=breaker.failures, waiting=waiting, is_stuck=is_stuck
            )
            if change is not None:
                self._reports.append(partial(self._report_change, *change, self._error))

    def _note_drops(self, accounting: Accounting) -> None:
        """Report what was lost, once a minute at most; a record of it is sent when the hub is available."""
        report = accounting.take_report() if self._observer.may_report_drops else None
        if report is not None:
            self._unshipped = report if self._unshipped is None else self._unshipped.merged(report)
            self._reports.append(lambda: self._observer.records_dropped(report))

    def _report_change(self, old: State, new: State, error: SendError | None) -> None:
        self._observer.state_changed(old, new, error=error, stats=self._stats())
