"""Reports how delivery goes: a line on ``hublog.internal`` for each change of state, drops, and signals.

In one outage each kind of trouble is reported at WARNING or above once. Over all outages there is an
allowance: a few of these lines at once, one more for each minute. What it does not cover is logged at DEBUG,
and an outage that could only be logged so is reported at its next failed probe.
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
from hublog.internal_log import count_of_records
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
        write: writes a line.
        now: monotonic seconds.
    """

    def __init__(
        self,
        hub: EventHubSettings,
        *,
        spool_dir: Path | None = None,
        misfits: Misfits | None = None,
        write: Callable[[int, str], None] = write_report,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._misfits = misfits or Misfits()
        self._write = write
        self._now = now
        #: Lines at WARNING and above that may be logged, and when that was known.
        self._allowed, self._allowed_mono = float(BURST), now()
        self._outage = _Outage()
        self._rest = _Rest()
        self._circuit = Circuit.CLOSED
        self._drops_reported_mono = -math.inf
        self._kept_on_disk = 0
        self.name(hub, spool_dir=spool_dir)

    def name(self, hub: EventHubSettings, *, spool_dir: Path | None = None) -> None:
        """Name this hub in the lines."""
        self._hub = hub
        self._name = f"event hub {hub.eventhub_name!r}"
        directory = spool_dir or hub.spool_dir
        self._directory = f" in {directory}" if directory else ""

    def state_changed(self, old: State, new: State, *, error: SendError | None, stats: Stats) -> None:
        """Report a change of state: one line, ``state_changed``, and the signal of the circuit if it changed.

        Args:
            old: before.
            new: now.
            error: the last failure, None after a success.
            stats: the counters.
        """
        level, text = self._line(old, new, error, stats)
        self._log(level, text)
        self._emit("state_changed", old=old, new=new, error=error, stats=stats)
        circuit = _CIRCUITS[new]
        if circuit is not self._circuit:
            self._circuit = circuit
            self._emit(_CIRCUIT_SIGNALS[circuit], error=error, stats=stats)

    def batch_sent(
        self, *, records: int, events: int, body_bytes: int, seconds: float, is_replay: bool, stats: Stats
    ) -> None:
        """Pass on that the hub accepted a send."""
        self._report_misfit()
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
    def may_report_drops(self) -> bool:
        """Whether a minute has passed since drops were reported."""
        return self._now() - self._drops_reported_mono >= REPEAT_S

    def records_dropped(self, report: DropReport) -> None:
        """Report what was lost; at once, so the caller asks ``may_report_drops`` unless the process ends."""
        self._drops_reported_mono = self._now()
        text = report.text()
        self._log(logging.WARNING, text)
        self._emit("records_dropped", count=report.count, text=text, details=report.as_extra())

    def replayed(self, records: int, stats: Stats) -> None:
        """Note that the stores are empty again; the change of state is what is reported."""
        self._emit("spool_replayed", records=records, stats=stats)

    def end(self, stats: Stats) -> None:
        """Report what stays on disk: the process ends. May be called again, by the next exit hook."""
        self._report_misfit()
        if stats.spooled not in (0, self._kept_on_disk):
            self._kept_on_disk = stats.spooled
            self._log(
                logging.INFO,
                f"This process ends and leaves {count_of_records(stats.spooled)} on disk{self._directory};"
                " a process with the same directory sends them.",
            )

    @property
    def has_reported_rest(self) -> bool:
        """Whether ``end`` has reported that records stay on disk."""
        return self._kept_on_disk > 0

    def _line(self, old: State, new: State, error: SendError | None, stats: Stats) -> tuple[int, str]:
        now = self._now()
        lasted = _seconds(self._outage.seconds(now))
        match new:
            case State.HEALTHY if old is State.DRAINING:
                records = stats.replayed_total - self._rest.replayed_total
                return self._rest.level, (
                    f"Nothing is stored for the {self._name} any more: {count_of_records(records)} that had"
                    f" waited reached it in {_seconds(now - self._rest.begin_mono)}."
                )
            case State.HEALTHY:
                level = self._end_outage()
                return level, f"The {self._name} takes records again after {lasted}. {_waiting(stats)}"
            case State.DRAINING:
                level, text = self._draining(old, stats, now, lasted)
                reported_mono = now if level >= logging.INFO else self._rest.reported_mono
                self._rest = _Rest(now, level, stats.replayed_total, reported_mono)
                return level, text
            case State.PROBING:
                text = (
                    f"One send finds out whether the {self._name} is back after {lasted}. {_waiting(stats)}"
                )
                return logging.DEBUG, text
            case State.DEGRADED | State.OPEN | State.DISK_ONLY:
                if self._outage.begin_mono is None:
                    self._outage.begin_mono = now
                return self._trouble(new, error, stats, self._outage.seconds(now))
            case _:
                assert_never(new)

    def _draining(self, old: State, stats: Stats, now: float, lasted: str) -> tuple[int, str]:
        if old is State.HEALTHY:
            self._outage = _Outage()
            is_frequent = now - self._rest.reported_mono < REPEAT_S
            return logging.DEBUG if is_frequent else logging.INFO, (
                f"Stored records for the {self._name}, left by an earlier process or kept when memory was"
                f" full, are sent along with new ones. {_waiting(stats)}"
            )
        return self._end_outage(), (
            f"The {self._name} takes records again after {lasted}; what has waited is sent along with new"
            f" records. {_waiting(stats)}"
        )

    def _end_outage(self) -> int:
        """End the outage; returns the level at which that is reported."""
        level = logging.INFO if self._outage.reported else logging.DEBUG
        self._outage = _Outage()
        return level

    def _trouble(self, new: State, error: SendError | None, stats: Stats, outage_s: float) -> tuple[int, str]:
        outage = self._outage
        if new is State.DEGRADED:
            # Only after some quiet minutes: the circuit, which may open in seconds, is what matters.
            is_new = not outage.reported and self._allowance() >= BURST
            return self._loud(logging.WARNING, is_new=is_new), (
                f"The {self._name} does not take records just now. {_why(error)}It is tried again within"
                f" seconds. {self._where()}"
            )
        if new is State.DISK_ONLY:
            level = self._loud(logging.ERROR, is_new=not outage.is_stuck_reported)
            outage.is_stuck_reported |= level == logging.ERROR
            return level, self._stuck(error, stats)
        level = self._loud(logging.ERROR, is_new=outage.reported < logging.ERROR)
        if level == logging.ERROR:
            return level, self._opened(error, stats, outage_s)
        return level, (
            f"Circuit open: sending to {self._name} is paused until the next probe, {_seconds(outage_s)}"
            f" after the first failure. {_why(error)}{_waiting(stats)}"
        )

    def _loud(self, level: int, *, is_new: bool) -> int:
        """Return the level of a line about trouble, DEBUG where it is reported already or once too often."""
        if not is_new or self._allowance() < 1:
            return logging.DEBUG
        self._allowed -= 1
        self._outage.reported = max(self._outage.reported, level)
        return level

    def _allowance(self) -> float:
        """Return how many lines at WARNING and above may be logged: ``BURST``, and one more each minute."""
        now = self._now()
        self._allowed = min(self._allowed + (now - self._allowed_mono) / REPEAT_S, BURST)
        self._allowed_mono = now
        return self._allowed

    def _opened(self, error: SendError | None, stats: Stats, outage_s: float) -> str:
        """Say that the hub is unavailable, or cannot be used: what to check, and where the records are."""
        if isinstance(error, PermanentSendError):  # the hub may be fine
            begin = f"Records cannot be sent to the {self._name}"
        else:
            since = f" for {_seconds(outage_s)} now" if outage_s >= 1 else ""
            begin = f"The {self._name} does not take records{since}"
        return (
            f"{begin}. {_why(error)}{self._advice(error)} {self._where()}"
            f" {_waiting(stats)} It is asked again from time to time."
        )

    def _stuck(self, error: SendError | None, stats: Stats) -> str:
        """Say that no send can be begun, since those that hang cannot be ended."""
        is_on_disk = self._hub.spool is not SpoolMode.MEMORY
        restart = " A restart helps, and sends what is on disk." if is_on_disk else ""
        return (
            f"Sends to the {self._name} hang and cannot be ended ({stats.abandoned_sends} given up), so no"
            f" other is begun until one of them returns. {_why(error)}{reach_advice(self._hub)}"
            f" {self._where()} {_waiting(stats)}{restart}"
        )

    def _advice(self, error: SendError | None) -> str:
        """Return what to check or do."""
        if isinstance(error, PermanentSendError):
            return f"{sentence_of(error.advice)} {_REPAIR}".lstrip()
        if isinstance(error, TransientSendError) and error.retry_after_s > 0:
            return THROTTLED
        return sentence_of(error.advice if error is not None else "") or reach_advice(self._hub)

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

    def _report_misfit(self) -> None:
        """Report once in a process which column gets values that are not of its type."""
        name = self._misfits.last
        if not name or self._misfits.is_reported:
            return
        self._misfits.is_reported = True
        self._log(
            logging.WARNING,
            f"A value of {name!r} does not fit its column, which holds {BY_NAME[name].kind.value}: Azure Data"
            f" Explorer would make it null. It is sent as text in 'extra' instead. Such values are counted.",
        )

    def _log(self, level: int, text: str) -> None:
        with contextlib.suppress(Exception):  # of a handler or filter of the application
            self._write(level, text)

    def _emit(self, name: str, **values: object) -> None:
        # No receiver is connected before the signals are imported; half imported, there is no ``emit`` yet.
        emit = getattr(sys.modules.get("hublog.signals"), "emit", None)
        if emit is not None:
            emit(name, values, self._log)


@dataclass(slots=True)
class _Outage:
    """Trouble that lasts.

    Attributes:
        begin_mono: when the first send failed; None while there is no trouble.
        reported: the highest level at which it has been reported, 0 before.
        is_stuck_reported: whether it has been reported that sends hang.
    """

    begin_mono: float | None = None
    reported: int = 0
    is_stuck_reported: bool = False

    def seconds(self, now: float) -> float:
        return 0.0 if self.begin_mono is None else now - self.begin_mono


@dataclass(slots=True)
class _Rest:
    """Stored records that are being sent.

    Attributes:
        begin_mono: since when.
        level: at which that was reported, as its end will be.
        replayed_total: records replayed before.
        reported_mono: when that was last reported at INFO.
    """

    begin_mono: float = 0.0
    level: int = logging.DEBUG
    replayed_total: int = 0
    reported_mono: float = -REPEAT_S


def reach_advice(hub: EventHubSettings) -> str:
    """Return what to check where nothing better is known of a hub that does not answer."""
    where = route_of(hub).place if hub.is_configured else "the namespace"
    return (
        f"Check that this machine reaches {where} (DNS, firewall, proxy), and the state of the namespace"
        " in the portal."
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
    return f"Waiting: {count_of_records(stats.held)}."


def _seconds(seconds: float) -> str:
    return f"{seconds:,.0f} s"


def _size(number: int) -> str:
    for unit, factor in (("GiB", 1 << 30), ("MiB", 1 << 20)):
        if number >= factor:
            return f"{number / factor:.4g} {unit}"
    return f"{number / (1 << 10):.4g} KiB"
