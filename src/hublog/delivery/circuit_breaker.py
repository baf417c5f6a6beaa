"""The circuit breaker: stop asking a hub that does not answer, and find out when it is back."""

import math
import random
from collections.abc import Callable
from typing import Final

from hublog.delivery.accounting import Circuit

_FIRST_RETRY_S: Final = 0.2
_RETRY_MAX_S: Final = 5.0
_COOLDOWN_MAX_FACTOR: Final = 10
_RETRY_JITTER: Final = 0.25
_COOLDOWN_JITTER: Final = 0.5
_THROTTLED_JITTER: Final = 0.25


class CircuitBreaker:
    """Counts failures in a row; opens at the threshold; then lets one probe through per cooldown.

    Below the threshold retries wait 0.2 s, doubled each time up to 5 s, a quarter more or less. Once open it
    stays so for the cooldown, doubled after each failed probe up to ten times its first length; after two
    failures in a row that waiting does not heal it is that long at once. Up to half of it is added at
    random, so that many processes do not ask together, and never more often than once per cooldown.

    A hub that is busy and says how long to wait is there: it gets that time and up to a quarter more, and
    the circuit stays closed.

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
        self._busy = 0
        self._failed_probes = 0
        self._is_permanent = False
        self._next_mono = 0.0
        self._state = Circuit.CLOSED

    @property
    def state(self) -> Circuit:
        """Closed, open, or half open while the one probe is under way."""
        return self._state

    @property
    def failures(self) -> int:
        """Sends that failed in a row, those to a busy hub among them."""
        return self._failures + self._busy

    def wait_s(self) -> float:
        """Return how long a send must still wait; 0 when it may begin now."""
        if self._state is Circuit.HALF_OPEN:
            return 0.0
        return max(self._next_mono - self._now(), 0.0)

    def begin(self, *, force: bool = False) -> bool:
        """Ask to send; a True must be followed by ``succeeded``, ``failed`` or ``throttled``.

        Args:
            force: do not wait for the retry or the cooldown: the process ends, or a caller asked.
        """
        if not force and self._next_mono > self._now():
            return False
        if self._state is Circuit.OPEN:
            self._state = Circuit.HALF_OPEN
        return True

    def succeeded(self) -> None:
        """Close the circuit."""
        self._close()
        self._busy = 0
        self._next_mono = 0.0

    def throttled(self, *, wait_s: float) -> None:
        """Note that the hub is there and busy.

        Args:
            wait_s: it asked us to wait this long.
        """
        self._close()
        self._busy += 1
        self._next_mono = self._now() + wait_s * (1 + _THROTTLED_JITTER * self._jitter())

    def failed(self, *, permanent: bool = False) -> None:
        """Count a failure; open the circuit at the threshold.

        Args:
            permanent: waiting will not help, so open at once.
        """
        self._failures += 1
        if self._state is Circuit.HALF_OPEN:
            self._failed_probes += 1
        if permanent or self._state is not Circuit.CLOSED or self._failures >= self._threshold:
            self._state = Circuit.OPEN
            is_lasting = permanent and self._is_permanent
            factor = _COOLDOWN_MAX_FACTOR if is_lasting else 2.0 ** min(self._failed_probes, 16)
            wait = self._cooldown_s * min(factor, _COOLDOWN_MAX_FACTOR)
            wait *= 1 + _COOLDOWN_JITTER * self._jitter()
        else:
            wait = min(_FIRST_RETRY_S * 2.0 ** min(self._failures - 1, 16), _RETRY_MAX_S)
            wait *= 1 - _RETRY_JITTER + 2 * _RETRY_JITTER * self._jitter()
        self._is_permanent = permanent
        self._next_mono = self._now() + wait

    def _close(self) -> None:
        self._state = Circuit.CLOSED
        self._failures = self._failed_probes = 0
        self._is_permanent = False


#: Bytes of event bodies a second. A throughput unit of Event Hubs takes 1 MB/s, of all its senders together.
FIRST_RATE: Final = 1 << 20
LOWEST_RATE: Final = 1 << 16
HIGHEST_RATE: Final = 1 << 24
_DOUBLING_S: Final = 1.0


class ReplayPace:
    """Says when the next stored batch may be sent.

    The rate begins at 1 MiB/s, doubles with each second that the hub takes what it gets, up to 16 MiB/s, and
    is halved when it says that it is busy, down to 64 KiB/s.

    Args:
        now: monotonic seconds.
    """

    def __init__(self, *, now: Callable[[], float]) -> None:
        self._now = now
        self._rate = float(FIRST_RATE)
        self._free_mono = -math.inf
        self._raised_mono = -math.inf

    def wait_s(self) -> float:
        """Return the seconds until the next stored batch may be sent; 0 when it may now."""
        return max(self._free_mono - self._now(), 0.0)

    def sent(self, body_bytes: int) -> None:
        """Note that stored records were taken by the hub."""
        now = self._now()
        if self._raised_mono == -math.inf:
            self._raised_mono = now
        elif now - self._raised_mono >= _DOUBLING_S:
            self._raised_mono = now
            self._rate = min(self._rate * 2, HIGHEST_RATE)
        self._free_mono = max(self._free_mono, now) + body_bytes / self._rate

    def throttled(self) -> None:
        """Note that the hub was busy, whatever was sent."""
        self._rate = max(self._rate / 2, LOWEST_RATE)
        self._raised_mono = self._now()

    def rest(self) -> None:
        """Begin anew at the first rate: nothing waits any more."""
        self._rate = float(FIRST_RATE)
        self._raised_mono = -math.inf
