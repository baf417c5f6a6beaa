"""The circuit breaker: stop asking a hub that does not answer, and find out when it is back."""

import random
from collections.abc import Callable
from typing import Final

from hublog.delivery.stats import Circuit

_FIRST_RETRY_S: Final = 0.2
_RETRY_MAX_S: Final = 5.0
_COOLDOWN_MAX_FACTOR: Final = 10
_JITTER: Final = 0.25


class Breaker:
    """Counts failures in a row; opens at the threshold; then lets one probe through per cooldown.

    Below the threshold retries wait 0.2 s, doubled each time up to 5 s. Once open it stays so for the
    cooldown, doubled after each failed probe up to ten times its first length. All waits have ±25 %
    of jitter, so that many processes do not ask at once.

    Args:
        threshold: failures in a row that open the circuit, 1 or more.
        cooldown_s: seconds until the first probe.
        now: monotonic seconds.
        jitter: a number from 0 to 1, drawn for each wait.
    """

    def __init__(
        self,
        *,
        threshold: int,
        cooldown_s: float,
        now: Callable[[], float],
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self._threshold = threshold
        self._cooldown_s = cooldown_s
        self._now = now
        self._jitter = jitter
        self._failures = 0
        self._failed_probes = 0
        self._next_mono = 0.0
        self._state = Circuit.CLOSED

    @property
    def state(self) -> Circuit:
        """Closed, open, or half open while the one probe is under way."""
        return self._state

    def wait_s(self) -> float:
        """Return how long a send must still wait; 0 when it may begin now."""
        if self._state is Circuit.HALF_OPEN:
            return 0.0
        return max(self._next_mono - self._now(), 0.0)

    def begin(self, *, force: bool = False) -> bool:
        """Ask to send; a True must be followed by ``succeeded`` or ``failed``.

        Args:
            force: do not wait for the retry or the cooldown: the process ends, or somebody asked.
        """
        if not force and self._next_mono > self._now():
            return False
        if self._state is Circuit.OPEN:
            self._state = Circuit.HALF_OPEN
        return True

    def succeeded(self) -> None:
        """Close the circuit."""
        self._state = Circuit.CLOSED
        self._failures = self._failed_probes = 0
        self._next_mono = 0.0

    def failed(self, *, at_least_s: float = 0.0, permanent: bool = False) -> None:
        """Count a failure; open the circuit at the threshold.

        Args:
            at_least_s: the hub asked us to wait so long.
            permanent: waiting will not help, so open at once.
        """
        self._failures += 1
        if self._state is Circuit.HALF_OPEN:
            self._failed_probes += 1
        if permanent or self._state is not Circuit.CLOSED or self._failures >= self._threshold:
            self._state = Circuit.OPEN
            wait = self._cooldown_s * min(2.0**self._failed_probes, _COOLDOWN_MAX_FACTOR)
        else:
            wait = min(_FIRST_RETRY_S * 2.0 ** min(self._failures - 1, 16), _RETRY_MAX_S)
        spread = 1 - _JITTER + 2 * _JITTER * self._jitter()
        self._next_mono = self._now() + max(wait * spread, at_least_s)
