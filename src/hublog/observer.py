"""Tells the operator how delivery goes: one line when it breaks, one when it is back, drops once a minute."""

import logging
import time
from collections.abc import Callable
from typing import Final

from hublog.capture.columns import BY_NAME
from hublog.capture.fields import Misfits
from hublog.delivery.stats import Drop, Stats
from hublog.errors import SendError
from hublog.reports import report
from hublog.settings import EventHubSettings

REPEAT_S: Final = 60.0


class Observer:
    """Turns what the shipper tells into lines on ``hublog.internal``.

    Args:
        hub: names the hub and the bounds in the lines.
        misfits: the count of values that did not fit their column; the first is told.
        tell: writes a line.
        now: monotonic seconds.
    """

    def __init__(
        self,
        hub: EventHubSettings,
        *,
        misfits: Misfits | None = None,
        tell: Callable[[int, str], None] = report,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._hub = hub
        self._misfits = misfits or Misfits()
        self._tell = tell
        self._now = now
        self._broken_mono: float | None = None
        self._dropped = 0
        self._dropped_mono = -REPEAT_S

    def send_failed(self, error: SendError, stats: Stats) -> None:
        """Tell the first failure of an outage, and what is dropped in it."""
        if self._broken_mono is None:
            self._broken_mono = self._now()
            self._tell(
                logging.ERROR,
                f"The event hub {self._hub.eventhub_name!r} does not take records: {error} Up to"
                f" {self._hub.max_queue_size} records wait in memory and are sent when it is back;"
                " console and file go on.",
            )
        self._tell_drops(stats)

    def send_succeeded(self, stats: Stats) -> None:
        """Tell the end of an outage, and what was dropped."""
        if self._broken_mono is not None:
            seconds = self._now() - self._broken_mono
            self._broken_mono = None
            self._tell(
                logging.INFO,
                f"The event hub {self._hub.eventhub_name!r} takes records again after {seconds:.0f} s;"
                f" {stats.held} records still wait.",
            )
        self._tell_drops(stats)
        self._tell_misfit()

    def end(self, stats: Stats) -> None:
        """Tell the drops that are not told yet: the process ends."""
        self._tell_drops(stats, at_once=True)

    def _tell_misfit(self) -> None:
        """Tell once in the life of a process which column gets values that are not of its type."""
        name = self._misfits.last
        if not name or self._misfits.is_told:
            return
        self._misfits.is_told = True
        self._tell(
            logging.WARNING,
            f"A value of {name!r} does not fit its column, which holds {BY_NAME[name].kind.value}: Azure Data"
            f" Explorer would make it null. It is sent as text in 'extra' instead. Such values are counted.",
        )

    def _tell_drops(self, stats: Stats, *, at_once: bool = False) -> None:
        # Those of the exit are told by the exit itself, and that there is no hub is told once.
        total = stats.dropped_total - sum(
            stats.dropped.get(reason, 0) for reason in (Drop.EXIT, Drop.NOT_CONFIGURED)
        )
        new = total - self._dropped
        if new <= 0 or (self._now() - self._dropped_mono < REPEAT_S and not at_once):
            return
        self._dropped, self._dropped_mono = total, self._now()
        reasons = ", ".join(f"{reason} {number}" for reason, number in sorted(stats.dropped.items()))
        self._tell(logging.WARNING, f"{new} records were dropped (in all: {reasons}).")
