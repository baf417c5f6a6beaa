"""``hublog size``: what a rate of records needs: throughput units, money, CPU, memory, disk, ingestion.

Estimates; ``python -m benchmarks.cost`` finds the traffic with the product itself.
"""

import argparse
import math
from collections.abc import Iterator
from dataclasses import asdict, dataclass, fields
from itertools import pairwise
from typing import Any, Final

from hublog.cli.command import OK, Caller, add_config, add_json, count_of, duration, number, table
from hublog.cli.prices import HOURS_A_MONTH, MILLION_EVENTS, TIERS, UNITS_MAX, Load, bill, billed
from hublog.delivery.batcher import PACE_S, URGENT_PACE_S
from hublog.delivery.packer import EVENT_BYTES
from hublog.line import SENT_AT_BYTES
from hublog.settings import SETTINGS, EventHubSettings, Packing, SpoolMode
from hublog.settings.values import MIB, InvalidValueError

#: CPU of a record of 1 KB with five ``extra`` fields: in its log call, in the worker, and of both for each
#: further KB. Source: ``python -m benchmarks`` (caller_x_floor, with a floor of 6.1 us), Python 3.13.
CALLER_US, KB_US = 15.0, 8.5
WORKER_US: Final = {Packing.SINGLE: 41.0, Packing.LINES: 6.0, Packing.GZIP: 6.0}
#: Bytes of a record as it is sent and in a large gzip event, and what the first lines of each event take in
#: addition. Source: ``python -m benchmarks.cost --record-bytes``, gzip level 3.
_GZIP: Final = ((0, 0), (461, 74), (599, 92), (1_002, 122), (2_992, 807), (9_978, 3_052))
_GZIP_EVENT_BYTES: Final = 1_100
#: What AMQP adds to an event, the spool to a line, Python to a queued line; all measured.
_EVENT_BYTES, _DISK_BYTES, _MEMORY_BYTES = 15, 8, 120
#: Records of ERROR in the benchmark's traffic: each may take an event of its own.
_ERROR_PART: Final = 0.004
#: An open circuit waits up to ten cooldowns from one probe to the next, and up to half of that longer.
_PROBE_MAX, _JITTER = 10, 1.5
#: The queue should last for a send of a second, or all goes through the disk; a tenth is for ERROR.
_SEND_S, _QUEUE_PART = 1.0, 0.9
#: Gigabytes an hour and table; above, Azure Data Explorer's page on streaming ingestion advises the other.
STREAMING_GB_MAX: Final = 4.0
_OUTAGE_MAX_S: Final = 30 * 86_400


@dataclass(frozen=True, slots=True, kw_only=True)
class Demand:
    """What is asked; its fields are the arguments of the command.

    Attributes:
        rate: records per second of all processes together.
        record_bytes: mean length of a record as it is sent: one JSON line with ``sent_at``.
        outage_s: seconds without the event hub that must not cost a record.
        instances: machines, containers or pods, each with a spool of its own.
        processes: in each instance.
    """

    rate: float
    record_bytes: float
    outage_s: float = 600.0
    instances: int = 1
    processes: int = 1

    @property
    def process_rate(self) -> float:
        """Records per second of one process."""
        return self.rate / (self.instances * self.processes)


def load_of(demand: Demand, packing: Packing, hub: EventHubSettings) -> Load:
    """Return what arrives at the hub; where there are many small events, rather too much than too little."""
    rate, size = demand.process_rate, demand.record_bytes
    events, body = rate, rate * size
    if packing is not Packing.SINGLE:
        linger_s = hub.batch_timeout_seconds
        timed = max(1 / linger_s, min(rate / hub.batch_size, 1 / min(PACE_S, linger_s)))
        timed = min(timed + _ERROR_PART * rate, max(timed, 1 / URGENT_PACE_S))
        events = min(rate, max(timed, body / EVENT_BYTES))
    if packing is Packing.GZIP:
        first = events * _GZIP_EVENT_BYTES
        body = rate * _compressed(size) + first * body / (first + body)
    sent = body + events * _EVENT_BYTES
    all_events = events * demand.instances * demand.processes
    return Load(all_events, sent * all_events / events, all_events * billed(math.ceil(sent / events)))


def _compressed(size: float) -> float:
    pairs = list(pairwise(_GZIP))
    (low, small), (high, large) = next((pair for pair in pairs if size <= pair[1][0]), pairs[-1])
    return small + (size - low) * (large - small) / (high - low)


def cpu_us(record_bytes: float, packing: Packing) -> float:
    """Return the microseconds of CPU that a record takes, caller and worker together."""
    return CALLER_US + WORKER_US[packing] + KB_US * max(record_bytes / 1_000 - 1, 0)


def probe_s(demand: Demand, hub: EventHubSettings) -> float:
    """Return how long after an outage the next probe may come."""
    cooldown_s = hub.circuit_breaker_cooldown_seconds
    return _JITTER * min(_PROBE_MAX * cooldown_s, demand.outage_s + cooldown_s) if demand.outage_s else 0.0


def spool_bytes(demand: Demand, hub: EventHubSettings) -> int:
    """Return the bytes on the disk of one instance when the outage and the wait for a probe are over."""
    line = demand.record_bytes - SENT_AT_BYTES + _DISK_BYTES
    return math.ceil(demand.rate / demand.instances * (demand.outage_s + probe_s(demand, hub)) * line)


def to_set(demand: Demand, hub: EventHubSettings) -> Iterator[str]:
    """Yield each setting that is too small with its value, like ``EVENTHUB_LOG_SPOOL_BYTES=1888MiB``."""
    is_on_disk = hub.spool is not SpoolMode.MEMORY
    needed_s = _SEND_S if is_on_disk else max(demand.outage_s + probe_s(demand, hub), _SEND_S)
    lines = math.ceil(demand.process_rate * needed_s / _QUEUE_PART)
    disk = spool_bytes(demand, hub) if is_on_disk else 0
    needed = {
        "max_queue_size": (lines, f"{lines}"),
        "max_queue_bytes": (lines * demand.record_bytes, _mib(lines * demand.record_bytes)),
        "spool_max_bytes": (disk, _mib(disk)),
    }
    for setting in (one for one in SETTINGS if one.field in needed):
        least, text = needed[setting.field]
        if least > getattr(hub, setting.field):
            try:
                setting.kind.parse(text)
                yield f"{setting.name}={text}"
            except InvalidValueError:
                yield f"more instances, since {setting.name} cannot be {text}"


def _mib(size: float) -> str:
    return f"{math.ceil(size / MIB)}MiB"


def sized(demand: Demand, hub: EventHubSettings, unit_hour: float, million_events: float) -> dict[str, Any]:
    """Return all figures by name, those of each packing under ``packings``."""
    packings: dict[str, dict[str, Any]] = {}
    for packing in Packing:
        load = load_of(demand, packing, hub)
        cost = bill(load, unit_hour=unit_hour, million_events=million_events)
        packings[packing] = {
            **asdict(load),
            **asdict(cost),
            "total": cost.total,
            "is_over_the_tier": cost.is_over_the_tier,
            "read_units": load.read_units,
            "cpu_cores": demand.rate * cpu_us(demand.record_bytes, packing) / 1e6,
        }
    gb_per_hour = demand.rate * demand.record_bytes * 3_600 / 1e9
    lines = min(hub.max_queue_size, hub.max_queue_bytes / demand.record_bytes)
    return {
        **asdict(demand),
        "packings": packings,
        "ingested_gb_per_hour": gb_per_hour,
        "ingestion": "streaming" if gb_per_hour <= STREAMING_GB_MAX else "queued",
        "queue_records": hub.max_queue_size,
        "queue_bytes": hub.max_queue_bytes,
        "queue_lasts_s": _QUEUE_PART * lines / demand.process_rate,
        "memory_bytes_per_process": math.ceil(lines * (demand.record_bytes + _MEMORY_BYTES)),
        "probe_s": probe_s(demand, hub),
        "spool_needed_bytes": spool_bytes(demand, hub),
        "spool": str(hub.spool),
        "spool_bytes": hub.spool_max_bytes,
        "to_set": list(to_set(demand, hub)),
    }


def _outage(text: str) -> float:
    if (seconds := duration(text)) > _OUTAGE_MAX_S:
        raise argparse.ArgumentTypeError(f"is {text!r}; it must be from 0s to 30d.")
    return seconds


#: Option, field or price, reader, default and help.
_OPTIONS: Final = (
    ("--records-per-second", "rate", number(0.001, 1e7), None, "of all processes together"),
    ("--bytes", "record_bytes", number(100, 1e6), None, "mean of a record as it is sent"),
    ("--outage", "outage_s", _outage, "10m", "without the event hub, like 90s, 10m or 2h"),
    ("--instances", "instances", number(1, 10_000, is_whole=True), 1, "machines, containers or pods"),
    ("--processes", "processes", number(1, 1_000, is_whole=True), 1, "in each instance"),
    ("--price-tu-hour", "unit_hour", number(0, 1e6), TIERS["standard"].unit_hour, "US dollars"),
    ("--price-million-events", "million_events", number(0, 1e6), MILLION_EVENTS, "US dollars"),
)


def add_size(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``hublog size``."""
    for option, name, read, default, text in _OPTIONS:
        shown = f"{text} (required)" if default is None else f"{text} (default: {default})"
        parser.add_argument(
            option, dest=name, type=read, required=default is None, default=default, help=shown, metavar="N"
        )
    add_json(parser)
    add_config(parser)


def run_size(options: argparse.Namespace, caller: Caller) -> int:
    """Print what is needed, with the effective settings; raises ``SettingsError`` if one is invalid."""
    demand = Demand(**{field.name: getattr(options, field.name) for field in fields(Demand)})
    hub = caller.read(options.config).strict().eventhub
    found = sized(demand, hub, options.unit_hour, options.million_events)
    if options.json:
        caller.write_json(found)
        return OK
    caller.out.write(
        f"{demand.rate:,.12g} records/s of {demand.record_bytes:,.12g} bytes, {demand.instances} x "
        f"{count_of(demand.processes, 'process', 'processes')}; ${options.unit_hour:g} a throughput unit and "
        f"hour,\n${options.million_events:g} a million events, {HOURS_A_MONTH} hours a month.\n\n"
    )
    caller.out.write(_packings_table(found["packings"]))
    caller.out.writelines(f"{name:11}{text}\n" for name, text in _rows(found))
    return OK


def _packings_table(packings: dict[str, dict[str, Any]]) -> str:
    """Return what the three packings need: a figure a row, a packing a column."""
    rows = {
        "events/s": "{events_per_s:,.1f}",
        "KB/s": "{kb_per_s:,.0f}",
        "throughput units": "{units:,}",
        "units to read": "{read_units:,}",
        "$ a month": "{total:,.2f}",
        "CPU, cores": "{cpu_cores:,.3f}",
    }
    values = [{**one, "kb_per_s": one["bytes_per_s"] / 1e3} for one in packings.values()]
    cells = [[name, *(shown.format(**one) for one in values)] for name, shown in rows.items()]
    over = f"A namespace has {UNITS_MAX} throughput units at most: use several, or the tier Premium.\n"
    is_over = any(one["is_over_the_tier"] for one in values)
    return f"{table(['', *packings], cells, left=1)}\n{over if is_over else ''}"


def _rows(found: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield the figures that are the same for all packings."""
    hours = f"{found['ingested_gb_per_hour']:,.1f} GB/h into one table"
    advice = "streaming" if found["ingestion"] == "streaming" else "queued, with a batching policy of 30 s"
    yield "ingestion", f"{advice}: {hours}; streaming is for {STREAMING_GB_MAX:g} GB/h at most"
    sizes = f"{count_of(found['queue_records'], 'record')} or {_mib(found['queue_bytes'])} in each process"
    memory = _mib(found["memory_bytes_per_process"])
    yield "queue", f"{sizes}, {memory} of memory; lasts {found['queue_lasts_s']:,.1f} s without a send"
    waits = f"{found['outage_s']:,.0f} s of outage and at most {found['probe_s']:,.0f} s until the next probe"
    place = "memory, not on disk," if found["spool"] == SpoolMode.MEMORY else "each instance"
    yield "spool", f"{_mib(found['spool_needed_bytes'])} in {place} for {waits}"
    yield "set", ", ".join(found["to_set"]) or "nothing: the settings are enough"
    yield "CPU", f"{CALLER_US:g} us in the log call of a record of 1 KB, as measured by python -m benchmarks"
