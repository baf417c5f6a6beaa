"""Finds the record that the hub does not take among those that it does.

What the hub refuses is divided until it is one record. Such records are suspects: they are to blame if the
hub takes another one. If it refuses several in a row, it is the hub.
"""

import math
from collections.abc import Callable
from typing import Final

from hublog.delivery.packer import LINE_OVERHEAD_BYTES, OVERHEAD_BYTES
from hublog.delivery.stats import Drop
from hublog.delivery.transit import Transit
from hublog.errors import EventTooLargeError, RejectedSendError

#: So many records may be refused in a row before it is the hub that is to blame.
SUSPECTS_MAX: Final = 4
#: Suspects are tried again after this, where no other record has shown who is to blame.
RETRY_S: Final = 30.0


class Refusals:
    """Deals with what the hub answered and did not take.

    Args:
        transit: what is under way.
        shorten: makes a line shorter that the hub does not take for its size; None where that cannot be.
        now: monotonic seconds.

    Attributes:
        is_wary: whether events are to be sent one at a time, since one of them is at fault.
    """

    def __init__(
        self, transit: Transit, *, shorten: Callable[[bytes, int], bytes | None], now: Callable[[], float]
    ) -> None:
        self._transit = transit
        self._shorten = shorten
        self._now = now
        self._suspected_mono = -math.inf
        self.is_wary = False

    @property
    def is_alone(self) -> bool:
        """Whether nothing but suspects is under way."""
        return bool(self._transit.suspects) and not len(self._transit)

    def too_large(self, error: EventTooLargeError) -> None:
        """Send fewer lines at once; one that is too large alone is cut, or else set aside."""
        if self._isolates():
            return
        room = error.limit_bytes - OVERHEAD_BYTES - LINE_OVERHEAD_BYTES
        if self._transit.first_lines > 1:
            self._transit.split_first()
        elif not self._transit.cut_first(lambda line: self._shorten(line, room)):
            self._transit.set_first_aside(Drop.TOO_LARGE, str(error))

    def refused(self, error: RejectedSendError) -> bool:
        """Look for the one that is to blame; returns False if it is the hub."""
        if self._isolates():
            return True
        if self._transit.first_lines > 1:
            self._transit.split_first()
        elif len(self._transit.suspects) < SUSPECTS_MAX:
            self._transit.suspect_first(str(error))
            self._suspected_mono = self._now()
        else:
            return False
        return True

    def arrived(self) -> None:
        """Note that the hub took something."""
        if not len(self._transit):
            self.is_wary = False

    def wait_s(self) -> float:
        """Return the seconds until suspects are tried again; infinity where there are none."""
        return max(self._suspected_mono + RETRY_S - self._now(), 0.0) if self.is_alone else math.inf

    def retry(self) -> None:
        """Try suspects again when it is time: nobody has come who could show whether it was the hub."""
        if self.wait_s() <= 0:
            self._transit.retry_suspects()

    def _isolates(self) -> bool:
        self.is_wary = True
        return self._transit.offered_events > 1
