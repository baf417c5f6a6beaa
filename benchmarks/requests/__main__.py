"""``python -m benchmarks.requests``: the CPU of a request with each way to log, and with a NullHandler."""

import argparse
import json
import sys
from collections.abc import Iterable, Mapping
from functools import partial
from statistics import median
from typing import Any, Final, NamedTuple

from benchmarks.requests.loggers import DESTINATIONS, PEERS
from benchmarks.turns import Child, Figures, difference, interleave, ratio, series

BASE: Final = "null"
VARIANTS: Final = ("none", BASE, *DESTINATIONS, "structlog")


class Shape(NamedTuple):
    """What a turn is made of.

    Attributes:
        records: log calls of the view; the request record comes on top.
        threads: that serve requests at the same time.
        queries: of the view.
        parts: of a streamed response; 0 for one that is not streamed.
    """

    records: int = 1
    threads: int = 1
    queries: int = 0
    parts: int = 0


class Row(NamedTuple):
    """What one way to log costs.

    Attributes:
        cpu_us: CPU of the process per request, microseconds.
        x_null: over the application with a ``NullHandler``, as a ratio.
        added_us: over the same, as a difference.
        x_structlog: that difference over structlog's.
    """

    cpu_us: float
    x_null: float
    added_us: float
    x_structlog: float


#: Queries or parts in a request, to see what one of them costs.
MANY: Final = 20
_FEW: Final = ("none", BASE, "off", "hub", "all", "structlog")
#: The ways to log that are compared in each framework.
FRAMEWORKS: Final = {"flask": VARIANTS, "django": VARIANTS, "django_asgi": _FEW, "asgi": _FEW}
#: All shapes with Flask; elsewhere what differs.
SHAPES: Final = {
    "flask": [Shape(records, threads) for threads in (1, 4) for records in (1, 0, 5)],
    "django": [Shape(), Shape(threads=4)],
    "django_asgi": [Shape()],
    "asgi": [Shape()],
}
#: With Flask: what a query and a part of a streamed response cost.
COUNTED: Final = (Shape(queries=MANY), Shape(parts=MANY))
#: Requests in a turn, in place of the usual number: Django behind ASGI takes ten times as long.
_FEWER: Final = {"django_asgi": 60}


def measure(
    framework: str,
    *,
    variants: Iterable[str] = VARIANTS,
    shapes: Iterable[Shape] | None = None,
    requests: int = 300,
    rounds: int = 2,
    turns: int = 6,
) -> dict[Shape, dict[str, Row]]:
    """Return a row for each way to log, for each shape.

    Args:
        framework: of ``SHAPES``.
        variants: the ways to log; ``null`` is among them.
        shapes: of the turns; all of the framework if None.
        requests: in a turn.
        rounds: number of times that the processes are started.
        turns: of each process in each shape.
    """
    start = {name: partial(Child, "benchmarks.requests.served", framework, name) for name in variants}
    number = min(requests, _FEWER.get(framework, requests))
    asked = {
        # A third as many where the shape is not the usual one, whose figures are judged.
        shape: {"requests": number if shape == Shape() else number // 3, **shape._asdict()}
        for shape in (SHAPES[framework] if shapes is None else shapes)
    }
    samples = interleave(start, asked, rounds=rounds, turns_a_round=turns)
    return {shape: rows(measured) for shape, measured in samples.items()}


def rows(samples: dict[str, list[Figures]]) -> dict[str, Row]:
    """Return the medians of each way to log."""
    cpu = series(samples, "cpu_us")
    base = cpu[BASE]
    peer = difference(cpu["structlog"], base) if "structlog" in cpu else float("nan")
    return {
        name: Row(
            cpu_us=median(values),
            x_null=ratio(values, base),
            added_us=difference(values, base),
            x_structlog=difference(values, base) / peer,
        )
        for name, values in cpu.items()
    }


def as_data(found: Mapping[str, Mapping[Shape, Mapping[str, Row]]]) -> dict[str, Any]:
    """Return the rows of each framework as plain data."""
    return {
        framework: [
            {**shape._asdict(), "ways": {name: row._asdict() for name, row in ways.items()}}
            for shape, ways in measured.items()
        ]
        for framework, measured in found.items()
    }


def show(framework: str, measured: dict[Shape, dict[str, Row]]) -> None:
    """Print a table for each shape."""
    for shape, ways in measured.items():
        print(f"\n{framework}, {', '.join(f'{name}: {number}' for name, number in shape._asdict().items())}")
        print(f"{'':14}{'CPU us':>9}{'x null':>9}{'+ us':>9}{'x structlog':>13}")
        for name, row in ways.items():
            print(f"{name:14}{row.cpu_us:9.1f}{row.x_null:9.2f}{row.added_us:+9.1f}{row.x_structlog:13.2f}")
        sys.stdout.flush()


def main(arguments: list[str] | None = None) -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.requests", description=__doc__)
    parser.add_argument("frameworks", nargs="*", default=list(SHAPES), help=f"of {', '.join(SHAPES)}")
    parser.add_argument("--variants", default="", help="with commas; null has to be in it")
    parser.add_argument("--peers", action="store_true", help=f"with {' and '.join(PEERS)}, Flask only")
    parser.add_argument("--rounds", type=int, default=2, help="new processes so many times (default: 2)")
    parser.add_argument("--turns", type=int, default=6, help="turns of each process (default: 6)")
    parser.add_argument("--requests", type=int, default=300, help="in a turn (default: 300)")
    parser.add_argument("--quick", action="store_true", help="one record, one thread, one round")
    parser.add_argument("--json", action="store_true", help="print the rows as JSON")
    options = parser.parse_args(arguments)
    rounds = 1 if options.quick else options.rounds
    found = {}
    for framework in options.frameworks:
        variants = options.variants.split(",") if options.variants else FRAMEWORKS[framework]
        found[framework] = measure(
            framework,
            variants=(*variants, *PEERS) if options.peers and framework == "flask" else variants,
            shapes=[Shape()] if options.quick else None,
            requests=options.requests,
            rounds=rounds,
            turns=options.turns,
        )
        if not options.json:
            show(framework, found[framework])
    if options.json:
        print(json.dumps(as_data(found), indent=2))
    return 0


if __name__ == "__main__":
    sys.exit(main())
