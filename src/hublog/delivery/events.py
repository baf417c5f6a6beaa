"""What delivery tells: collected while the lock is held, told after that, since receivers are not ours."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from hublog.delivery.accounting import Circuit, DropCounters, DropReport, State, Stats
from hublog.delivery.circuit_breaker import CircuitBreaker
from hublog.delivery.delivery_state import StateMachine
from hublog.delivery.storage import Storage
from hublog.errors import SendError


class Observer(Protocol):
    """What is told; called in the worker's thread, outside all locks."""

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
    """Counts sends, follows the state, and hands out what is to be told.

    Args:
        observer: is told.
        stats: gives the books, at the moment of the telling.
    """

    def __init__(self, observer: Observer, *, stats: Callable[[], Stats]) -> None:
        self._observer = observer
        self._stats = stats
        self._machine = StateMachine()
        self._error: SendError | None = None
        self._unshipped: DropReport | None = None
        self._replayed = 0
        self._sayings: list[Callable[[], object]] = []
        self.totals = Totals()
        #: Makes a record of what was dropped, to be sent; set by whoever can.
        self.ship_report: Callable[[DropReport], object] = lambda _: None

    @property
    def state(self) -> State:
        """How delivery goes."""
        return self._machine.state

    def take(self) -> list[Callable[[], object]]:
        """Return what is to be told, to be called in this order without the lock."""
        sayings, self._sayings = self._sayings, []
        return sayings

    def sent(self, *, records: int, events: int, body_bytes: int, seconds: float, is_replay: bool) -> None:
        """Note that the hub accepted a send."""
        self._error = None
        self.totals.batches += 1
        self.totals.events += events
        self.totals.sent_bytes += body_bytes
        self._replayed += records * is_replay
        self._sayings.append(
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
        self._sayings.append(
            lambda: self._observer.batch_failed(error, records=records, seconds=seconds, stats=self._stats())
        )

    def emptied(self) -> bool:
        """Note that nothing is stored any more; returns whether something was sent that had been."""
        replayed, self._replayed = self._replayed, 0
        if replayed:
            self._sayings.append(lambda: self._observer.replayed(replayed, self._stats()))
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
            self._sayings.append(lambda: self.ship_report(unshipped))

    def _note_state(self, breaker: CircuitBreaker, *, waiting: int, is_stuck: bool) -> None:
        for _ in range(2):
            change = self._machine.update(
                circuit=breaker.state, failures=breaker.failures, waiting=waiting, is_stuck=is_stuck
            )
            if change is None:
                return
            self._sayings.append(self._change_told(*change))

    def _note_drops(self, drops: DropCounters) -> None:
        """Tell what was lost, once a minute at most; a record of it is sent when the hub is there."""
        if not self._observer.may_tell_drops:
            return
        report = drops.take_report()
        if report is not None:
            self._unshipped = report if self._unshipped is None else self._unshipped.merged(report)
            self._sayings.append(lambda: self._observer.records_dropped(report))

    def _change_told(self, old: State, new: State) -> Callable[[], object]:
        error = self._error
        return lambda: self._observer.state_changed(old, new, error=error, stats=self._stats())
