"""The two state machines of delivery, with their transitions as data.

``Sending`` is what the shipper may do now. ``State`` is what operators and signal receivers see, made of the
circuit, the failures and what waits. Once sending is paused, in ``OPEN`` or ``DISK_ONLY``, only a send can
find out that the hub is available: the way to ``HEALTHY`` and ``DRAINING`` leads through ``PROBING``.
"""

from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType
from typing import Final

from hublog.delivery.accounting import Circuit, State


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
