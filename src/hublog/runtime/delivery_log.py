"""Tells how delivery goes: a line on ``hublog.internal`` for each change of state, drops, and signals.

In one outage each kind of trouble is reported at WARNING or above once. Over all outages there is an
allowance: a few such lines at once, one more for each minute. What it does not cover is logged at DEBUG, and
an outage that could only be logged so is reported at its next failed probe.
"""

import contextlib
import logging
import math
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final, assert_never

from hublog.capture.columns import BY_NAME
from hublog.capture.typed_columns import Misfits
from hublog.delivery.accounting import Circuit, DropReport, State, Stats
from hublog.errors import PermanentSendError, SendError, TransientSendError
from hublog.internal_log import report as write_report
from hublog.settings import EventHubSettings, SpoolMode
from hublog.settings.route import route_of

#: Characters of an error that are shown.
SHOWN_MAX: Final = 500

#: From here on a bound is none, and is not mentioned.
NO_BOUND_BYTES: Final = 1 << 40

_REPAIR: Final = (
    "This needs a configuration change; delivery goes on within minutes after it, at once after a restart."
)
#: What to do about a hub that is busy.
THROTTLED: Final = "The namespace throttles: add throughput units, or send less (EVENTHUB_LOG_PACKING=gzip)."

REPEAT_S: Final = 60.0
#: So that the beginning of an outage is reported in full: degraded, open, stuck.
BURST: Final = 3

_CIRCUITS: Final = {
    State.HEALTHY: Circuit.CLOSED,
    State.DEGRADED: Circuit.CLOSED,
    State.DRAINING: Circuit.CLOSED,
    State.PROBING: Circuit.HALF_OPEN,
    State.OPEN: Circuit.OPEN,
    State.DISK_ONLY: Circuit.OPEN,
}
_CIRCUIT_SIGNALS: Final = {
    Circuit.CLOSED: "circuit_closed",
    Circuit.HALF_OPEN: "circuit_half_opened",
    Circuit.OPEN: "circuit_opened",
}


class DeliveryLog:
    """Turns what delivery does into lines and into ``hublog.signals``.

    Used by the worker's thread, outside all locks; at shutdown by the thread that drains. None of its methods
    raises, whatever handlers and receivers do.

    Args:
        hub: names the hub and the bounds in the lines.
        spool_dir: where records wait on disk, for the lines.
        misfits: the count of values that did not fit their column; the first is reported.
        tell: writes a line.
        now: monotonic seconds.
    """

    def __init__(
        self,
        hub: EventHubSettings,
        *,
        spool_dir: Path | None = None,
        misfits: Misfits | None = None,
        tell: Callable[[int, str], None] = write_report,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._misfits = misfits or Misfits()
        self._write = tell
        self._now = now
        self._allowance = _Allowance(now)
        self._outage = _Outage()
        self._rest = _Rest()
        self._circuit = Circuit.CLOSED
        self._drops_told_mono = -math.inf
        self._kept_on_disk = 0
        self.name(hub, spool_dir=spool_dir)

    def name(self, hub: EventHubSettings, *, spool_dir: Path | None = None) -> None:
        """Name this hub in the lines."""
        self._words = Wording(hub, spool_dir=spool_dir or hub.spool_dir)

    def state_changed(self, old: State, new: State, *, error: SendError | None, stats: Stats) -> None:
        """Tell a change of state: one line, ``state_changed``, and the signal of the circuit if it changed.

        Args:
            old: before.
            new: now.
            error: the last failure, None after a success.
            stats: the books.
        """
        level, text = self._line(old, new, error, stats)
        self._tell(level, text)
        self._emit("state_changed", old=old, new=new, error=error, stats=stats)
        circuit = _CIRCUITS[new]
        if circuit is not self._circuit:
            self._circuit = circuit
            self._emit(_CIRCUIT_SIGNALS[circuit], error=error, stats=stats)

    def batch_sent(
        self, *, records: int, events: int, body_bytes: int, seconds: float, is_replay: bool, stats: Stats
    ) -> None:
        """Pass on that the hub accepted a send."""
        self._tell_misfit()
        self._emit(
            "batch_sent",
            records=records,
            events=events,
            body_bytes=body_bytes,
            seconds=seconds,
            is_replay=is_replay,
            stats=stats,
        )

    def batch_failed(self, error: SendError, *, records: int, seconds: float, stats: Stats) -> None:
        """Note that a send failed; the change of state is what is reported."""
        self._emit("batch_failed", error=error, records=records, seconds=seconds, stats=stats)

    @property
    def may_tell_drops(self) -> bool:
        """Whether a minute has passed since drops were reported."""
        return self._now() - self._drops_told_mono >= REPEAT_S

    def records_dropped(self, report: DropReport) -> None:
        """Report what was lost; at once, so the caller asks ``may_tell_drops`` unless the process ends."""
        self._drops_told_mono = self._now()
        text = report.text()
        self._tell(logging.WARNING, text)
        self._emit("records_dropped", count=report.count, text=text, details=report.as_extra())

    def replayed(self, records: int, stats: Stats) -> None:
        """Note that the stores are empty again; the change of state is what is reported."""
        self._emit("spool_replayed", records=records, stats=stats)

    def end(self, stats: Stats) -> None:
        """Tell what stays on disk: the process ends. May be called again, by the next exit hook."""
        self._tell_misfit()
        if stats.spooled not in (0, self._kept_on_disk):
            self._kept_on_disk = stats.spooled
            self._tell(logging.INFO, self._words.kept_on_disk(stats))

    @property
    def has_told_rest(self) -> bool:
        """Whether ``end`` has reported that records stay on disk."""
        return self._kept_on_disk > 0

    def _line(self, old: State, new: State, error: SendError | None, stats: Stats) -> tuple[int, str]:
        now = self._now()
        match new:
            case State.HEALTHY:
                return self._healthy(old, stats, now)
            case State.DRAINING:
                return self._draining(old, stats, now)
            case State.PROBING:
                return logging.DEBUG, self._words.probing(stats, away_s=self._outage.seconds(now))
            case State.DEGRADED | State.OPEN | State.DISK_ONLY:
                self._outage.begin(now)
                return self._trouble(new, error, stats, now)
            case _:
                assert_never(new)

    def _trouble(self, new: State, error: SendError | None, stats: Stats, now: float) -> tuple[int, str]:
        outage, words = self._outage, self._words
        away_s = outage.seconds(now)
        if new is State.DEGRADED:
            # Only after some quiet minutes: the circuit, which may open in seconds, is what matters.
            is_new = not outage.told and self._allowance.has(BURST)
            return self._loud(logging.WARNING, is_new=is_new), words.degraded(error)
        if new is State.DISK_ONLY:
            level = self._loud(logging.ERROR, is_new=not outage.is_stuck_told)
            outage.is_stuck_told |= level == logging.ERROR
            return level, words.stuck(error, stats)
        level = self._loud(logging.ERROR, is_new=outage.told < logging.ERROR)
        if level == logging.ERROR:
            return level, words.opened(error, stats, away_s=away_s)
        return level, words.still_open(error, stats, away_s=away_s)

    def _loud(self, level: int, *, is_new: bool) -> int:
        """Return the level of a line about trouble, DEBUG where it is reported already or once too often."""
        if not is_new or not self._allowance.has(1):
            return logging.DEBUG
        self._allowance.take()
        self._outage.told = max(self._outage.told, level)
        return level

    def _draining(self, old: State, stats: Stats, now: float) -> tuple[int, str]:
        if old is State.HEALTHY:
            is_frequent = now - self._rest.told_mono < REPEAT_S
            level, text = logging.DEBUG if is_frequent else logging.INFO, self._words.rest_found(stats)
        else:
            level = logging.INFO if self._outage.told else logging.DEBUG
            text = self._words.back_with_rest(stats, away_s=self._outage.seconds(now))
        self._outage = _Outage()
        self._rest.begin(now, level, stats.replayed_total)
        return level, text

    def _healthy(self, old: State, stats: Stats, now: float) -> tuple[int, str]:
        rest = self._rest
        if old is State.DRAINING:
            records = stats.replayed_total - rest.replayed_total
            return rest.level, self._words.rest_sent(records=records, seconds=now - rest.begin_mono)
        level = logging.INFO if self._outage.told else logging.DEBUG
        text = self._words.back(stats, away_s=self._outage.seconds(now))
        self._outage = _Outage()
        return level, text

    def _tell_misfit(self) -> None:
        """Tell once in the life of a process which column gets values that are not of its type."""
        name = self._misfits.last
        if not name or self._misfits.is_reported:
            return
        self._misfits.is_reported = True
        self._tell(
            logging.WARNING,
            f"A value of {name!r} does not fit its column, which holds {BY_NAME[name].kind.value}: Azure Data"
            f" Explorer would make it null. It is sent as text in 'extra' instead. Such values are counted.",
        )

    def _tell(self, level: int, text: str) -> None:
        with contextlib.suppress(Exception):  # of a handler or filter of the application
            self._write(level, text)

    def _emit(self, name: str, **values: object) -> None:
        # Nobody is connected who has not imported the signals; half imported, there is no ``emit`` yet.
        emit = getattr(sys.modules.get("hublog.signals"), "emit", None)
        if emit is not None:
            emit(name, values, self._tell)


class _Allowance:
    """How many lines at WARNING and above may be logged: ``BURST`` at once, and one more for each minute."""

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._left = float(BURST)
        self._mono = now()

    def has(self, lines: int) -> bool:
        now = self._now()
        self._left = min(self._left + (now - self._mono) / REPEAT_S, BURST)
        self._mono = now
        return self._left >= lines

    def take(self) -> None:
        self._left -= 1


@dataclass(slots=True)
class _Outage:
    """Trouble that lasts.

    Attributes:
        begin_mono: when the first send failed; None while there is no trouble.
        told: the highest level at which it has been reported, 0 before.
        is_stuck_told: whether it has been reported that sends hang.
    """

    begin_mono: float | None = None
    told: int = 0
    is_stuck_told: bool = False

    def begin(self, now: float) -> None:
        if self.begin_mono is None:
            self.begin_mono = now

    def seconds(self, now: float) -> float:
        return 0.0 if self.begin_mono is None else now - self.begin_mono


@dataclass(slots=True)
class _Rest:
    """Stored records that are being sent.

    Attributes:
        begin_mono: since when.
        level: at which that was reported, as its end will be.
        replayed_total: records replayed before.
        told_mono: when such a thing was last reported at INFO.
    """

    begin_mono: float = 0.0
    level: int = logging.DEBUG
    replayed_total: int = 0
    told_mono: float = -REPEAT_S

    def begin(self, now: float, level: int, replayed_total: int) -> None:
        self.begin_mono, self.level, self.replayed_total = now, level, replayed_total
        if level >= logging.INFO:
            self.told_mono = now


class Wording:
    """Makes the lines; each is one line, without secrets.

    Args:
        hub: names the hub, the mode and the bounds.
        spool_dir: where records wait on disk.
    """

    def __init__(self, hub: EventHubSettings, *, spool_dir: Path | None) -> None:
        self._hub = hub
        self._name = f"event hub {hub.eventhub_name!r}"
        self._directory = f" in {spool_dir}" if spool_dir else ""

    def degraded(self, error: SendError | None) -> str:
        """A send failed, and is tried again soon."""
        return (
            f"The {self._name} does not take records just now. {_why(error)}It is tried again within seconds."
            f" {self._where()}"
        )

    def opened(self, error: SendError | None, stats: Stats, *, away_s: float) -> str:
        """The hub is unavailable, or cannot be used: what to check, and where the records are."""
        since = f" for {_seconds(away_s)} now" if away_s >= 1 else ""
        is_ours = isinstance(error, PermanentSendError)  # the hub may be fine
        what = "cannot be sent to" if is_ours else "does not take records"
        begin = f"Records {what} the {self._name}" if is_ours else f"The {self._name} {what}{since}"
        return (
            f"{begin}. {_why(error)}{self._advice(error)} {self._where()}"
            f" {_waiting(stats)} It is asked again from time to time."
        )

    def still_open(self, error: SendError | None, stats: Stats, *, away_s: float) -> str:
        """A probe failed, or the circuit is open again."""
        return (
            f"Circuit open: sending to {self._name} is paused until the next probe, {_seconds(away_s)} after"
            f" the first failure. {_why(error)}{_waiting(stats)}"
        )

    def stuck(self, error: SendError | None, stats: Stats) -> str:
        """No send can be begun, since those that hang cannot be ended."""
        is_on_disk = self._hub.spool is not SpoolMode.MEMORY
        restart = " A restart helps, and sends what is on disk." if is_on_disk else ""
        return (
            f"Sends to the {self._name} hang and cannot be ended ({stats.abandoned_sends} given up), so no"
            f" other is begun until one of them returns. {_why(error)}{self.reach()} {self._where()}"
            f" {_waiting(stats)}{restart}"
        )

    def probing(self, stats: Stats, *, away_s: float) -> str:
        """One send finds out whether the hub is back."""
        return (
            f"One send finds out whether the {self._name} is back after {_seconds(away_s)}. {_waiting(stats)}"
        )

    def back(self, stats: Stats, *, away_s: float) -> str:
        """The hub accepted a send, and nothing is stored for replay."""
        return f"The {self._name} takes records again after {_seconds(away_s)}. {_waiting(stats)}"

    def back_with_rest(self, stats: Stats, *, away_s: float) -> str:
        """The hub accepted a send, and stored records are sent from now on."""
        return (
            f"The {self._name} takes records again after {_seconds(away_s)}; what has waited is sent along"
            f" with new records. {_waiting(stats)}"
        )

    def rest_found(self, stats: Stats) -> str:
        """There are stored records although the hub was not away."""
        return (
            f"Stored records for the {self._name}, left by an earlier process or kept when memory was full,"
            f" are sent along with new ones. {_waiting(stats)}"
        )

    def rest_sent(self, *, records: int, seconds: float) -> str:
        """The stores are empty again."""
        return (
            f"Nothing is stored for the {self._name} any more: {_count(records)} that had waited reached it"
            f" in {_seconds(seconds)}."
        )

    def kept_on_disk(self, stats: Stats) -> str:
        """The process ends."""
        return (
            f"This process ends and leaves {_count(stats.spooled)} on disk{self._directory}; a process with"
            " the same directory sends them."
        )

    def _advice(self, error: SendError | None) -> str:
        """Return what to check or do."""
        if isinstance(error, PermanentSendError):
            return f"{sentence_of(error.advice)} {_REPAIR}".lstrip()
        if isinstance(error, TransientSendError) and error.retry_after_s > 0:
            return THROTTLED
        return sentence_of(error.advice if error is not None else "") or self.reach()

    def reach(self) -> str:
        """Return what to check where nothing better is known."""
        where = route_of(self._hub).place if self._hub.is_configured else "the namespace"
        return (
            f"Check that this machine reaches {where} (DNS, firewall, proxy), and the state of the namespace"
            " in the portal."
        )

    def _where(self) -> str:
        """Return where records wait, and up to how many."""
        hub = self._hub
        if hub.spool is SpoolMode.MEMORY:
            return (
                f"Records wait in memory, up to {hub.max_queue_size:,} or {_size(hub.max_queue_bytes)}; later"
                " ones are dropped and counted, and a restart loses those that wait. Console and file go on."
            )
        if hub.spool_max_bytes >= NO_BOUND_BYTES:
            return f"Records wait on disk{self._directory}."
        return (
            f"Records wait on disk{self._directory}, up to {_size(hub.spool_max_bytes)} for all processes"
            " together; then the oldest are dropped and counted. Console and file go on."
        )


def _why(error: SendError | None) -> str:
    """Return the failure as one sentence in one line, with a blank behind it, or nothing."""
    sentence = sentence_of(error.cause if error is not None else "")
    return f"{sentence} " if sentence else ""


def sentence_of(text: str) -> str:
    """Return a text as a sentence in one line that is not endless; nothing if it is empty."""
    text = " ".join(text.split())
    if not text:
        return ""
    text = f"{text[:1].upper()}{text[1:]}"
    if len(text) > SHOWN_MAX:
        text = text[: SHOWN_MAX - 1] + "…"
    return text if text.endswith((".", "!", "?", "…")) else f"{text}."


def _waiting(stats: Stats) -> str:
    return f"Waiting: {_count(stats.held)}."


def _count(records: int) -> str:
    return f"{records:,} record" if records == 1 else f"{records:,} records"


def _seconds(seconds: float) -> str:
    return f"{seconds:,.0f} s"


def _size(number: int) -> str:
    for unit, factor in (("GiB", 1 << 30), ("MiB", 1 << 20)):
        if number >= factor:
            return f"{number / factor:.4g} {unit}"
    return f"{number / (1 << 10):.4g} KiB"
