"""How fast what has waited is sent: beside new records, not before them, and no faster than the hub takes."""

import math
from collections.abc import Callable
from typing import Final

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

    @property
    def rate(self) -> float:
        """Bytes a second."""
        return self._rate

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
