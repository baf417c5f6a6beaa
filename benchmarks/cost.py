"""What Event Hubs costs at your rate, for the three packings: ``python -m benchmarks.cost``.

The figures come from realistic records that are batched, packed and encoded by the product itself; only
clock and socket are replaced. Prices are inputs. Exit status 1 means that a promised figure is missed.
"""

import argparse
import math
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import orjson

from benchmarks.sizes import resized, smallest
from benchmarks.traffic import Traffic, full_events, simulate
from benchmarks.workload import read_lines
from hublog.cli.command import number
from hublog.cli.prices import HOURS_A_MONTH, MILLION_EVENTS, TIERS, UNITS_MAX, Bill, Load, Tier, bill
from hublog.delivery.packer import LINE_OVERHEAD_BYTES
from hublog.settings import EventHubSettings, Packing

DEFAULTS: Final = EventHubSettings()
RATE: Final = 5_000.0
RECORD_BYTES_MAX: Final = 60_000
#: The table stands between these in the documents.
BEGIN: Final = "<!-- begin: python -m benchmarks.cost -->"
END: Final = "<!-- end -->"
#: Promised at 5,000 records a second in one process, with the defaults.
EVENTS_MUST: Final = 2.0
BYTES_MUST: Final = 200.0
SHARE_MUST: Final = 1 / 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """What is asked.

    Attributes:
        rate: records per second of all processes together.
        processes: that log them, in even parts.
        record_bytes: mean length of a line as it is sent; None for the lines as they are.
        tier: of the namespace.
        batch_timeout_s: as ``EVENTHUB_LOG_BATCH_TIMEOUT``.
        gzip_level: as ``EVENTHUB_LOG_GZIP_LEVEL``.
        unit_hour: US dollars for a throughput unit and hour.
        million_events: US dollars for a million billed events.
    """

    rate: float = RATE
    processes: int = 1
    record_bytes: float | None = None
    tier: Tier = TIERS["standard"]
    batch_timeout_s: float = DEFAULTS.batch_timeout_seconds
    gzip_level: int = DEFAULTS.gzip_level
    unit_hour: float = TIERS["standard"].unit_hour
    million_events: float = MILLION_EVENTS

    def hub(self, packing: Packing) -> EventHubSettings:
        """Return the settings of a process."""
        return EventHubSettings(
            packing=packing, batch_timeout_seconds=self.batch_timeout_s, gzip_level=self.gzip_level
        )


@dataclass(frozen=True, slots=True)
class Result:
    """What was found for one packing."""

    traffic: Traffic
    load: Load
    bill: Bill

    @property
    def events_per_1000(self) -> float:
        """Events that 1,000 records make."""
        return 1_000 * self.traffic.events / self.traffic.records

    @property
    def bytes_per_record(self) -> float:
        """Bytes that a record takes as it is sent, with its part of what AMQP adds."""
        return self.traffic.wire_bytes / self.traffic.records


def calculate(case: Case, lines: Sequence[bytes]) -> dict[Packing, Result]:
    """Return the results for the three packings."""
    results = {}
    for packing in Packing:
        traffic = simulate(
            lines,
            rate=case.rate,
            hub=case.hub(packing),
            max_send_bytes=case.tier.max_send_bytes,
            processes=case.processes,
        )
        load = traffic.load(case.rate)
        found = bill(load, unit_hour=case.unit_hour, million_events=case.million_events)
        results[packing] = Result(traffic, load, found)
    return results


@dataclass(frozen=True, slots=True)
class Must:
    """A promised figure and what was found."""

    name: str
    at_most: float
    found: float

    @property
    def is_met(self) -> bool:
        """Whether the promise is kept."""
        return self.found <= self.at_most


def musts(results: dict[Packing, Result], lines: Sequence[bytes]) -> list[Must]:
    """Return the promised figures; ``results`` are those of the default case."""
    single, packed = results[Packing.SINGLE], results[Packing.GZIP]
    raw, small = full_events(lines, EventHubSettings(packing=Packing.GZIP))
    return [
        Must("events per 1,000 records", EVENTS_MUST, packed.events_per_1000),
        Must("bytes per 1,000 bytes of full events", BYTES_MUST, 1_000 * small / raw),
        Must("total as a part of single's", SHARE_MUST, packed.bill.total / single.bill.total),
    ]


def table(case: Case, results: dict[Packing, Result], *, sent_bytes: float) -> str:
    """Return the results as text: a figure a row, a packing a column."""
    single = results[Packing.SINGLE].bill.total
    rows: dict[str, Callable[[Result], str]] = {
        "events a second": lambda one: f"{one.load.events_per_s:,.1f}",
        "events per 1,000 records": lambda one: f"{one.events_per_1000:,.2f}",
        "bytes per record as sent": lambda one: f"{one.bytes_per_record:,.0f}",
        "MB a second": lambda one: f"{one.load.bytes_per_s / 1e6:,.2f}",
        "throughput units": lambda one: f"{one.bill.units:,}{'!' if one.bill.is_over_the_tier else ''}",
        "asked for by": lambda one: one.bill.limit,
        "billed events, millions": lambda one: f"{one.bill.billed_events / 1e6:,.1f}",
        "units, $ a month": lambda one: f"{one.bill.units_cost:,.2f}",
        "events, $ a month": lambda one: f"{one.bill.events_cost:,.2f}",
        "total, $ a month": lambda one: f"{one.bill.total:,.2f}",
        "of single's": lambda one: f"{one.bill.total / single:.1%}" if single else "-",
    }
    plural = "es" if case.processes > 1 else ""
    head = (
        f"{case.rate:,.12g} records/s in {case.processes} process{plural}, {sent_bytes:,.0f} bytes a record,"
        f" tier {case.tier.name}; batch timeout {case.batch_timeout_s:g} s, gzip level {case.gzip_level};\n"
        f"${case.unit_hour:g} a throughput unit and hour, ${case.million_events:g} a million events,"
        f" {HOURS_A_MONTH} hours a month.\n"
    )
    lines = [head, f"{'':26}" + "".join(f"{packing:>14}" for packing in results)]
    for name, show in rows.items():
        lines.append(f"{name:26}" + "".join(f"{show(one):>14}" for one in results.values()))
    if any(one.bill.is_over_the_tier for one in results.values()):
        lines.append(
            f"! A namespace of this tier has {UNITS_MAX} throughput units at most: spread the load over"
            " several, or ask for the price of Premium."
        )
    return "\n".join(lines)


_VERDICTS: Final = {True: "kept", False: "MISSED"}


def show_musts(found: list[Must]) -> str:
    """Return the promised figures as text."""
    head = f"Promised with gzip at {RATE:,.0f} records/s in one process, defaults, the records as they are:"
    rows = [
        f"{one.name:38} at most {one.at_most:<6g} found {one.found:<8.4g} {_VERDICTS[one.is_met]}"
        for one in found
    ]
    return "\n".join([head, *rows])


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.cost", description=__doc__)
    add = parser.add_argument
    add("--rate", type=number(1e-3, 1e7), default=RATE, help="records a second (default: 5000)")
    add(
        "--processes",
        type=number(1, 10_000, is_whole=True),
        default=1,
        help="processes that share the rate (default: 1)",
    )
    add(
        "--record-bytes",
        type=number(1, RECORD_BYTES_MAX),
        help="mean length of a record as it is sent (default: the records as they are)",
    )
    add("--tier", choices=list(TIERS), default="standard", help="tier of the namespace (default: standard)")
    add(
        "--batch-timeout",
        type=number(1e-3, 86_400),
        default=DEFAULTS.batch_timeout_seconds,
        help="EVENTHUB_LOG_BATCH_TIMEOUT in seconds (default: 1)",
    )
    add(
        "--compression-level",
        type=number(1, 9, is_whole=True),
        default=DEFAULTS.gzip_level,
        help="EVENTHUB_LOG_GZIP_LEVEL (default: 3)",
    )
    add("--price-tu-hour", type=number(0, 1e6), help="$ for a throughput unit and hour (default: by tier)")
    add(
        "--price-million-events",
        type=number(0, 1e6),
        default=MILLION_EVENTS,
        help="$ for a million events (default: 0.028)",
    )
    add("--json", type=Path, metavar="FILE", help="write the figures there too")
    add(
        "--page",
        type=Path,
        metavar="FILE",
        help="put the table between the marks of this page (docs/costs.md)",
    )
    return parser


def _case(options: argparse.Namespace) -> Case:
    tier = TIERS[options.tier]
    return Case(
        rate=options.rate,
        processes=options.processes,
        record_bytes=options.record_bytes,
        tier=tier,
        batch_timeout_s=options.batch_timeout,
        gzip_level=options.compression_level,
        unit_hour=tier.unit_hour if options.price_tu_hour is None else options.price_tu_hour,
        million_events=options.price_million_events,
    )


def _sized(parser: argparse.ArgumentParser, case: Case, lines: Sequence[bytes]) -> list[bytes]:
    if case.record_bytes is None:
        return list(lines)
    least = math.ceil(smallest(lines)) + LINE_OVERHEAD_BYTES
    if case.record_bytes < least:
        parser.error(
            f"argument --record-bytes: is {case.record_bytes:g}; it must be {least} or more: ids, time,"
            " level, message and what the application attached stay in every record."
        )
    return resized(lines, case.record_bytes - LINE_OVERHEAD_BYTES)


def _written(case: Case, results: dict[Packing, Result], *, sent_bytes: float) -> dict[str, Any]:
    packings = {}
    for packing, one in results.items():
        added = (one.traffic.wire_bytes - one.traffic.body_bytes) / one.traffic.events
        packings[str(packing)] = {
            **asdict(one.load),
            "events_per_1000": one.events_per_1000,
            "bytes_per_record": one.bytes_per_record,
            "overhead_bytes_per_event": added,
            **asdict(one.bill),
            "total": one.bill.total,
            "is_over_the_tier": one.bill.is_over_the_tier,
        }
    return {"case": asdict(case), "sent_bytes": sent_bytes, "packings": packings}


def with_table(page: str, shown: str) -> str:
    """Return the page with another table between its marks.

    Raises:
        ValueError: a mark is missing.
    """
    before, begin, rest = page.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not (begin and end):
        raise ValueError(f"The page has no {BEGIN!r} with {END!r} after it; the table goes between them.")
    return f"{before}{BEGIN}\n```text\n{shown}\n```\n{END}{after}"


def main(arguments: list[str] | None = None) -> int:
    """Calculate, print, and say by the exit status whether the promised figures are kept."""
    parser = _parser()
    options = parser.parse_args(arguments)
    case = _case(options)
    lines = read_lines()
    used = _sized(parser, case, lines)
    results = calculate(case, used)
    usual = results if case == Case() else calculate(Case(), lines)
    found = musts(usual, lines)
    sent_bytes = sum(map(len, used)) / len(used) + LINE_OVERHEAD_BYTES
    shown = table(case, results, sent_bytes=sent_bytes)
    print(shown, show_musts(found), sep="\n\n")
    if options.json is not None:
        written = _written(case, results, sent_bytes=sent_bytes)
        written["promised"] = [{**asdict(one), "is_met": one.is_met} for one in found]
        options.json.write_bytes(orjson.dumps(written, option=orjson.OPT_INDENT_2) + b"\n")
    if options.page is not None:
        text = options.page.read_text(encoding="utf-8")
        options.page.write_text(with_table(text, shown), encoding="utf-8")
    return 0 if all(one.is_met for one in found) else 1


if __name__ == "__main__":
    sys.exit(main())
