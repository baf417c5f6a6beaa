"""The states of delivery with their transitions as data, and the events that are reported.

``Sending`` is what the shipper may do now. ``State`` is what operators and signal receivers see, made of the
circuit, the failures and what waits. Once sending is paused, in ``OPEN`` or ``DISK_ONLY``, only a send can
find out that the hub is available: the way to ``HEALTHY`` and ``DRAINING`` leads through ``PROBING``. Events
are collected while the lock is held and reported after that, since receivers are not ours.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType
from typing import Final, Protocol

from hublog.delivery.accounting import Circuit, DropCounters, DropReport, State, Stats
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
        """Take a look at the facts, see ``state_of``.

        Facts between two looks may be missed. Where ``ALLOWED`` knows no direct way, the change leads to
        the state between, and the next call to the next: at most two calls reach what the facts say.

        Returns:
            The state before and the one now, or None where nothing changed.
        """
        old = self._state
        goal = state_of(circuit=circuit, failures=failures, waiting=waiting, is_stuck=is_stuck)
        if goal is old:
            return None
        self._state = goal if goal in ALLOWED[old] else _between(goal)
        return old, self._state


def _between(goal: State) -> State:
    """Return what must have come before ``goal``: a probe before the hub is back, else the open circuit."""
    return State.OPEN if goal is State.PROBING else State.PROBING


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
    def may_tell_drops(self) -> bool:
        """Whether it is time to report what was lost."""

    def records_dropped(self, dropped: DropReport) -> None:
        """Report what was lost since the last report."""

    def replayed(self, records: int, stats: Stats) -> None:
        """Report that what had waited is sent."""


@dataclass(slots=True)
class Totals:
    """What was counted of the sends.

    Attributes:
        batches: sends that the hub accepted.
        events: events in them.
        sent_bytes: bytes of their bodies.
        failures: sends that failed.
    """

    batches: int = 0
    events: int = 0
    sent_bytes: int = 0
    failures: int = 0


class EventDispatcher:
    """Counts sends, follows the state, and hands out the calls of the observer.

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
        self.totals = Totals()
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
        self.totals.batches += 1
        self.totals.events += events
        self.totals.sent_bytes += body_bytes
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
        self.totals.failures += 1
        self._reports.append(
            lambda: self._observer.batch_failed(error, records=records, seconds=seconds, stats=self._stats())
        )

    def emptied(self) -> bool:
        """Note that nothing is stored any more; returns whether something was sent that had been."""
        replayed, self._replayed = self._replayed, 0
        if replayed:
            self._reports.append(lambda: self._observer.replayed(replayed, self._stats()))
        return replayed > 0

    def note(self, stores: Storage, breaker: CircuitBreaker, *, is_stuck: bool, has_sent: bool) -> None:
        """Follow the facts, and what was lost.

        Args:
            stores: what waits, and what was dropped.
            breaker: whether the hub is there.
            is_stuck: whether sends hang, and no other may be begun.
            has_sent: whether the hub ever took a record of this process.
        """
        self._note_state(breaker, waiting=stores.stored_lines, is_stuck=is_stuck)
        self._note_drops(stores.drops)
        is_there = has_sent and breaker.state is Circuit.CLOSED and not breaker.failures
        if is_there and self._unshipped is not None:
            unshipped, self._unshipped = self._unshipped, None
            self._reports.append(lambda: self.ship_report(unshipped))

    def _note_state(self, breaker: CircuitBreaker, *, waiting: int, is_stuck: bool) -> None:
        for _ in range(2):
            change = self._machine.update(
                circuit=breaker.state, failures=breaker.failures, waiting=waiting, is_stuck=is_stuck
            )
            if change is None:
                return
            self._reports.append(self._change_reported(*change))

    def _note_drops(self, drops: DropCounters) -> None:
        """Report what was lost, once a minute at most; a record of it is sent when the hub is available."""
        if not self._observer.may_tell_drops:
            return
        report = drops.take_report()
        if report is not None:
            self._unshipped = report if self._unshipped is None else self._unshipped.merged(report)
            self._reports.append(lambda: self._observer.records_dropped(report))

    def _change_reported(self, old: State, new: State) -> Callable[[], object]:
        error = self._error
        return lambda: self._observer.state_changed(old, new, error=error, stats=self._stats())
