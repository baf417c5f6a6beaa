"""How delivery goes, as one word: made of what the breaker, the courier and the stores say.

Once sends are held back, in ``OPEN`` or ``DISK_ONLY``, the hub counts as back only when a send has found
that out: the way to ``HEALTHY`` and ``DRAINING`` leads through ``PROBING``, and nothing else leads there.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from hublog.delivery.accounting import Circuit, State

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
