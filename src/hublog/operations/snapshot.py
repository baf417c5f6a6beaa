"""The snapshot of a process: its counters and state, as plain data that other processes read.

A snapshot comes from a file that anything may have written, so reading checks each value.
"""

import zlib
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from math import isfinite
from typing import Any, Final

from hublog.delivery.accounting import Circuit, State
from hublog.delivery.durations import BOUNDS_S, Durations
from hublog.delivery.history import ERROR_MAX
from hublog.line import dumps, loads

#: The form of what is written; readers take no other.
FORMAT: Final = 1
#: Seconds between two snapshots of a process.
SNAPSHOT_S: Final = 1.0
#: Minutes of which a snapshot tells, and the one before them.
MINUTES_MAX: Final = 61
#: Bytes of a snapshot as it is written.
BYTES_MAX: Final = 1 << 18
#: What only grows; names as in ``Stats``.
COUNTERS: Final = (
    "accepted_total",
    "sent_total",
    "recovered_total",
    "replayed_total",
    "batches_total",
    "events_total",
    "sent_bytes_total",
    "failures_total",
    "type_mismatches_total",
    "possible_duplicates_total",
)
#: What goes up and down: records and bytes that wait, and their bounds.
GAUGES: Final = (
    "queued",
    "in_flight",
    "spooled",
    "buffered",
    "abandoned_sends",
    "queue_records_max",
    "queue_bytes",
    "queue_bytes_max",
    "spool_bytes",
    "spool_bytes_max",
)
#: All processes that share a spool share its bound.
_ONE_BOUND: Final[Mapping[str, Any]] = {"spool_bytes_max": max}
_NAMES_MAX: Final = 200
_TEXT_MAX: Final = 1_000
_PIPELINES_MAX: Final = 100
_INT_MAX: Final = 1 << 63
_WORST_STATES: Final = (
    *(State.DISK_ONLY, State.OPEN, State.PROBING, State.DEGRADED, State.DRAINING, State.HEALTHY),
)
_WORST_CIRCUITS: Final = (Circuit.OPEN, Circuit.HALF_OPEN, Circuit.CLOSED)


@dataclass(frozen=True, slots=True, kw_only=True)
class PipelineSnapshot:
    """One pipeline, or the sum of several. Times are seconds since 1970.

    Attributes:
        destination: event hub and namespace, for people.
        counters: each of ``COUNTERS``.
        gauges: each of ``GAUGES``; bounds of 0 are none.
        dropped: records not sent, by reason, see ``Drop``.
        dropped_by_level: those of them whose level is known.
        state: of delivery.
        state_since_s: when it changed last; 0 if that is not known.
        circuit: state of the circuit breaker.
        circuit_since_s: when it changed last; 0 if that is not known.
        oldest_s: when the oldest record that waits was logged; None where none waits.
        last_success_s: when the hub took something; None if it never did.
        last_failure_s: when a send failed; None if none did.
        last_error: what was wrong with it.
        latency: from the log call to the hub's answer, a record each.
        send_duration: of the sends.
    """

    destination: str = ""
    counters: Mapping[str, int] = field(default_factory=lambda: dict.fromkeys(COUNTERS, 0))
    gauges: Mapping[str, int] = field(default_factory=lambda: dict.fromkeys(GAUGES, 0))
    dropped: Mapping[str, int] = field(default_factory=dict)
    dropped_by_level: Mapping[str, int] = field(default_factory=dict)
    state: State = State.HEALTHY
    state_since_s: float = 0.0
    circuit: Circuit = Circuit.CLOSED
    circuit_since_s: float = 0.0
    oldest_s: float | None = None
    last_success_s: float | None = None
    last_failure_s: float | None = None
    last_error: str = ""
    latency: Durations = Durations()  # noqa: RUF009  # it is frozen
    send_duration: Durations = Durations()  # noqa: RUF009  # as above

    @property
    def queue_share(self) -> float:
        """Part of the queue's bounds that is in use, by records or bytes, whichever is more."""
        held = self.gauges["queued"] + self.gauges["in_flight"]
        return max(
            _share(held, self.gauges["queue_records_max"]),
            _share(self.gauges["queue_bytes"], self.gauges["queue_bytes_max"]),
        )

    @property
    def spool_share(self) -> float:
        """Part of the spool's bound that is in use."""
        return _share(self.gauges["spool_bytes"], self.gauges["spool_bytes_max"])

    @property
    def held(self) -> int:
        """Records that may yet be sent."""
        return sum(self.gauges[name] for name in ("queued", "in_flight", "spooled", "buffered"))

    @property
    def dropped_total(self) -> int:
        """Records not sent, for any reason."""
        return sum(self.dropped.values())

    def counted_only(self) -> "PipelineSnapshot":
        """Return what stays of a process that has ended: what it has counted."""
        return PipelineSnapshot(
            destination=self.destination,
            counters=self.counters,
            dropped=self.dropped,
            dropped_by_level=self.dropped_by_level,
            latency=self.latency,
            send_duration=self.send_duration,
        )


def _share(part: float, whole: float) -> float:
    return part / whole if whole > 0 else 0.0


def summed(parts: Sequence[PipelineSnapshot]) -> PipelineSnapshot:
    """Return the sum of pipelines: state and circuit are the worst of them, times the most telling ones."""
    if not parts:
        return PipelineSnapshot()
    destinations = dict.fromkeys(part.destination for part in parts if part.destination)
    state = min((part.state for part in parts), key=_WORST_STATES.index)
    circuit = min((part.circuit for part in parts), key=_WORST_CIRCUITS.index)
    failed = max(parts, key=lambda part: part.last_failure_s or 0.0)
    latency, send_duration = Durations(), Durations()
    for part in parts:
        latency, send_duration = latency.plus(part.latency), send_duration.plus(part.send_duration)
    return PipelineSnapshot(
        destination=", ".join(destinations),
        counters={name: sum(part.counters[name] for part in parts) for name in COUNTERS},
        gauges={name: _ONE_BOUND.get(name, sum)(part.gauges[name] for part in parts) for name in GAUGES},
        dropped=_added(part.dropped for part in parts),
        dropped_by_level=_added(part.dropped_by_level for part in parts),
        state=state,
        state_since_s=_first(part.state_since_s for part in parts if part.state is state),
        circuit=circuit,
        circuit_since_s=_first(part.circuit_since_s for part in parts if part.circuit is circuit),
        oldest_s=min((part.oldest_s for part in parts if part.oldest_s is not None), default=None),
        last_success_s=max(
            (part.last_success_s for part in parts if part.last_success_s is not None), default=None
        ),
        last_failure_s=failed.last_failure_s,
        last_error=failed.last_error,
        latency=latency,
        send_duration=send_duration,
    )


def _first(moments: Iterable[float]) -> float:
    return min((moment for moment in moments if moment), default=0.0)


def _added(parts: Any) -> dict[str, int]:  # noqa: ANN401  # mappings
    total: Counter[str] = Counter()
    for part in parts:
        total.update(part)
    return dict(total)


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessSnapshot:
    """One process.

    Attributes:
        pid: its id, as it sees it.
        host: its machine or container.
        service: name of the application.
        instance: which copy of it.
        framework: ``django``, ``flask`` or empty.
        version: of hublog.
        settings_hash: the same for processes with the same settings; no secret can be found by it.
        started_s: when it began, seconds since 1970.
        written_s: when this was written.
        pipelines: what it has.
        minutes: the last hour, of each minute in which something happened: its number since 1970, then what
            was accepted, sent and dropped until its end.
        is_alive: whether the process lives; set by the reader.
    """

    pid: int
    host: str = ""
    service: str = ""
    instance: str = ""
    framework: str = ""
    version: str = ""
    settings_hash: str = ""
    started_s: float = 0.0
    written_s: float = 0.0
    pipelines: tuple[PipelineSnapshot, ...] = ()
    minutes: tuple[tuple[int, ...], ...] = ()
    is_alive: bool = True

    @property
    def total(self) -> PipelineSnapshot:
        """The sum of its pipelines."""
        return summed(self.pipelines)


def encode(snapshot: ProcessSnapshot) -> bytes:
    """Return a snapshot as it is written: its length and checksum, then JSON.

    A reader that meets a write half way, or what a dead machine left, notices by these.
    """
    data = asdict(snapshot)
    del data["is_alive"]
    body = dumps({"format": FORMAT, **data})
    return b"%08x %08x\n%b" % (len(body), zlib.crc32(body), body)


_HEAD: Final = len("01234567 01234567\n")


def decode(data: bytes) -> ProcessSnapshot:
    """Return the snapshot in these bytes; what follows it, of a longer one before, does not matter.

    Raises:
        ValueError: there is none; says why.
    """
    try:
        length, checksum = int(data[:8], 16), int(data[9:17], 16)
    except ValueError:
        raise ValueError("it does not begin like a snapshot") from None
    body = data[_HEAD : _HEAD + length]
    if not 0 < length <= BYTES_MAX or len(body) != length or zlib.crc32(body) != checksum:
        raise ValueError("it is torn or damaged")
    found = loads(body)
    if not isinstance(found, dict) or found.get("format") != FORMAT:
        raise ValueError("it is of another version of hublog")
    return _snapshot(_Reader(found))


class _Reader:
    """Reads the values of an object, each of its type; ValueError names one that is not."""

    def __init__(self, values: Mapping[str, object]) -> None:
        self._values = values

    def text(self, name: str, limit: int = _TEXT_MAX) -> str:
        value = self._values.get(name, "")
        if not isinstance(value, str):
            raise ValueError(f"{name} in it is no text")  # noqa: TRY004  # of what was read
        return value[:limit]

    def number(self, name: str) -> float:
        value = self._values.get(name, 0.0)
        if type(value) not in (int, float) or not isfinite(value):  # type: ignore[arg-type]
            raise ValueError(f"{name} in it is no number")
        return float(value)  # type: ignore[arg-type]

    def time(self, name: str) -> float | None:
        return None if self._values.get(name) is None else self.number(name)

    def whole(self, name: str) -> int:
        value = self._values.get(name, 0)
        if type(value) is not int or not 0 <= value < _INT_MAX:
            raise ValueError(f"{name} in it is no count")
        return value

    def inner(self, name: str) -> "_Reader":
        value = self._values.get(name, {})
        if not isinstance(value, dict):
            raise ValueError(f"{name} in it is no object")  # noqa: TRY004  # as above
        return _Reader(value)

    def items(self, name: str) -> list[object]:
        value = self._values.get(name, [])
        if not isinstance(value, list):
            raise ValueError(f"{name} in it is no list")  # noqa: TRY004  # as above
        return value

    def counts(self, names: Sequence[str] = ()) -> dict[str, int]:
        """Return the whole numbers: those of these names, else all that are there."""
        if len(self._values) > _NAMES_MAX:
            raise ValueError("there are too many counts in it")
        return {name[:_TEXT_MAX]: self.whole(name) for name in names or self._values}

    def durations(self, name: str) -> Durations:
        found = self.inner(name)
        counts = found.items("counts")
        numbers = tuple(_Reader({"count": each}).whole("count") for each in counts[: len(BOUNDS_S) + 2])
        if len(numbers) != len(BOUNDS_S) + 1:
            raise ValueError(f"{name} in it has other classes")
        return Durations(numbers, found.number("total_s"))


def _snapshot(found: _Reader) -> ProcessSnapshot:
    pipelines = [each for each in found.items("pipelines") if isinstance(each, dict)]
    if len(pipelines) > _PIPELINES_MAX:
        raise ValueError("there are too many pipelines in it")
    texts = ("host", "service", "instance", "framework", "version", "settings_hash")
    return ProcessSnapshot(
        pid=found.whole("pid"),
        started_s=found.number("started_s"),
        written_s=found.number("written_s"),
        pipelines=tuple(_pipeline(_Reader(each)) for each in pipelines),
        minutes=tuple(_minute(each) for each in found.items("minutes")[-MINUTES_MAX:]),
        **{name: found.text(name) for name in texts},  # type: ignore[arg-type]
    )


def _minute(found: object) -> tuple[int, ...]:
    if not isinstance(found, list) or len(found) != len(("minute", "accepted", "sent", "dropped")):
        raise ValueError("a minute in it is none")
    return tuple(_Reader({"minute": each}).whole("minute") for each in found)


def _pipeline(found: _Reader) -> PipelineSnapshot:
    try:
        state, circuit = State(found.text("state")), Circuit(found.text("circuit"))
    except ValueError:
        raise ValueError("a state in it is not known") from None
    return PipelineSnapshot(
        destination=found.text("destination"),
        counters=found.inner("counters").counts(COUNTERS),
        gauges=found.inner("gauges").counts(GAUGES),
        dropped=found.inner("dropped").counts(),
        dropped_by_level=found.inner("dropped_by_level").counts(),
        state=state,
        state_since_s=found.number("state_since_s"),
        circuit=circuit,
        circuit_since_s=found.number("circuit_since_s"),
        oldest_s=found.time("oldest_s"),
        last_success_s=found.time("last_success_s"),
        last_failure_s=found.time("last_failure_s"),
        last_error=found.text("last_error", ERROR_MAX),
        latency=found.durations("latency"),
        send_duration=found.durations("send_duration"),
    )
