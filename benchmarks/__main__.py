"""``python -m benchmarks``: a table of all figures with what must be reached; status 1 if one is missed."""

import argparse
import json
import os
import platform
import shutil
import subprocess
import sys
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from importlib.metadata import version
from math import isfinite
from pathlib import Path
from typing import Any, Final

from benchmarks.figures import BY_NAME, missed, table
from benchmarks.page import write_page
from benchmarks.parts import PARTS, Measured, measure_peers

ROOT: Final = Path(__file__).parents[1]
RESULTS: Final = Path(__file__).parent / "results.json"
#: A part that runs only when it is asked for: its packages are optional.
PEERS: Final = "peers"
PAGE: Final = ROOT / "docs" / "performance.md"
METHOD: Final = (
    "Child processes take short turns, so noise meets all alike. CPU is that of the process (user and kernel "
    "mode), its threads and the delivery of what was logged included. Figures are medians over turns and new "
    "processes, most of them ratios within the same turn."
)
_PACKAGES: Final = (
    "azure-eventhub",
    "django",
    "flask",
    "gunicorn",
    "hublog",
    "orjson",
    "sqlalchemy",
    "structlog",
    "uvicorn",
)


def measure(names: list[str], results: dict[str, Any], *, quick: bool) -> dict[str, Any]:
    """Run parts and return the results with theirs in place of what they had.

    Args:
        names: of ``PARTS``, or ``peers``.
        results: of earlier runs.
        quick: whether a short look is enough.
    """
    known = {**PARTS, PEERS: measure_peers}
    figures, parts = dict(results.get("figures", {})), dict(results.get("parts", {}))
    for name in names:
        print(f"{name} ...", file=sys.stderr, flush=True)
        start, load = time.monotonic(), os.getloadavg()[0]
        measured = known[name](quick=quick)
        figures |= judged(measured)
        parts[name] = {
            "at": datetime.now(UTC).isoformat(timespec="seconds"),
            "seconds": round(time.monotonic() - start),
            "load": round(load, 1),
            "is_quick": quick,
            "details": rounded(measured.details),
        }
    return {**machine(), "method": METHOD, "figures": figures, "parts": parts}


def judged(measured: Measured) -> dict[str, Any]:
    """Return the figures that have a name, with what is asked of them."""
    return {
        name: {
            "value": float(f"{value:.4g}"),
            "must": BY_NAME[name].must,
            "aim": BY_NAME[name].aim,
            "verdict": BY_NAME[name].verdict(value),
        }
        for name, value in measured.figures.items()
        if name in BY_NAME
    }


def rounded(data: Any) -> Any:
    """Return plain data with four digits of each number that is not whole; None for what is no number."""
    if isinstance(data, Mapping):
        return {key: rounded(value) for key, value in data.items()}
    if isinstance(data, list):
        return [rounded(value) for value in data]
    if isinstance(data, float):
        return float(f"{data:.4g}") if isfinite(data) else None
    return data


def machine() -> dict[str, Any]:
    """Return what the figures were measured on, and with."""
    names = [
        line.partition(":")[2].strip()
        for line in Path("/proc/cpuinfo").read_text().splitlines()
        if line.startswith("model name")
    ]
    return {
        "machine": {
            "processor": names[0] if names else platform.machine(),
            "cores": os.cpu_count(),
            "system": f"{platform.system()} {platform.release()}",
        },
        "python": platform.python_version(),
        "versions": {
            **{name: version(name) for name in _PACKAGES},
            "wrk": _wrk_version(),
        },
    }


def _wrk_version() -> str:
    wrk = shutil.which("wrk")
    if wrk is None:
        return "not installed"
    return subprocess.run([wrk, "-v"], capture_output=True, text=True, check=False).stdout.partition(" Copy")[
        0
    ]


def main(arguments: list[str] | None = None) -> int:
    """Measure, print, write the results; with them the page, unless they go elsewhere."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument(
        "parts", nargs="*", help=f"of {', '.join(PARTS)}, {PEERS} (default: all but the last)"
    )
    parser.add_argument("--quick", action="store_true", help="a short look; its figures mean little")
    parser.add_argument("--json", type=Path, default=RESULTS, help="results, kept for parts that do not run")
    parser.add_argument(
        "--page", action="store_true", help="write docs/performance.md and its plots anew only"
    )
    options = parser.parse_args(arguments)
    results: dict[str, Any] = json.loads(options.json.read_text()) if options.json.exists() else {}
    if not options.page:
        results = measure(options.parts or list(PARTS), results, quick=options.quick)
        options.json.write_text(json.dumps(results, indent=1) + "\n")
    if options.page or options.json == RESULTS:
        write_page(results, PAGE)
    values = {name: figure["value"] for name, figure in results["figures"].items()}
    print(table(values))
    failures = missed(values)
    if failures:
        print(f"\nMissed: {', '.join(figure.name for figure in failures)}")
    return int(bool(failures) and not options.page)


if __name__ == "__main__":
    sys.exit(main())
