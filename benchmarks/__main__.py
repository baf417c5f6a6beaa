"""``python -m benchmarks``: medians of several runs, each in a process of its own, beside their goals."""

import argparse
import json
import platform
import subprocess
import sys
from pathlib import Path
from statistics import median
from typing import Any

from hublog import __version__
from hublog.settings import Packing

HERE = Path(__file__).parent
#: What is named here is written under ``figures``; the second column is what must be reached.
FIGURES = {
    "caller_x_floor": "<= 2.2",
    "total_x_floor": "<= 4.0",
    "burst_lost": "0",
    "burst_per_s": ">= 60,000",
    "events_per_1000": "<= 2",
    "wire_bytes_per_record": "<= 200",
}
OTHERS = {
    "single_p99_x_floor": "<= 10",
    "single_max_ms": "<= 10",
    "memory_bytes_per_queued_record": "<= 1,000",
    "close_with_9000_queued_s": "<= 0.3",
    "idle_cpu_us_per_s": "<= 200",
    "import_ms": "<= 40",
    "paced_floor_x_floor": "",
    "floor_us": "",
}
IMPORT = (
    "import time, logging; s = time.perf_counter(); import hublog; print((time.perf_counter() - s) * 1000)"
)


def run(packing: Packing, *, quick: bool) -> dict[str, float]:
    """Return the figures of one run in a fresh process."""
    command = [sys.executable, "-m", "benchmarks.subject", packing, *(["--quick"] if quick else [])]
    answer = subprocess.run(command, capture_output=True, text=True, check=True)
    found: dict[str, float] = json.loads(answer.stdout)
    imported = subprocess.run([sys.executable, "-c", IMPORT], capture_output=True, text=True, check=True)
    return {**found, "import_ms": float(imported.stdout)}


def medians(runs: list[dict[str, float]]) -> dict[str, float]:
    """Return the median of each figure; of lost records the most."""
    found = {name: round(median(run[name] for run in runs), 3) for name in runs[0]}
    found["burst_lost"] = max(run["burst_lost"] for run in runs)
    return found


def show(results: dict[Packing, dict[str, float]]) -> None:
    """Print a table: a figure a row, a packing a column."""
    print(f"{'figure':32}{'must':>12}" + "".join(f"{packing:>12}" for packing in results))
    for name, must in {**FIGURES, **OTHERS}.items():
        values = "".join(f"{result[name]:>12,.2f}" for result in results.values())
        print(f"{name:32}{must:>12}{values}")


def main(arguments: list[str] | None = None) -> int:
    """Measure, print and write the figures."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--runs", type=int, default=5, help="runs of each packing, interleaved (default: 5)")
    parser.add_argument("--quick", action="store_true", help="a short look; its figures mean little")
    parser.add_argument("--json", type=Path, default=HERE / "results.json", help="where the results go")
    options = parser.parse_args(arguments)
    runs: dict[Packing, list[dict[str, float]]] = {
        packing: [] for packing in (Packing.GZIP, Packing.LINES, Packing.SINGLE)
    }
    for number in range(options.runs):
        for packing, found in runs.items():
            print(f"run {number + 1} of {options.runs}: {packing} ...", file=sys.stderr, flush=True)
            found.append(run(packing, quick=options.quick))
    results = {packing: medians(found) for packing, found in runs.items()}
    show(results)
    written: dict[str, Any] = {
        "figures": {name: results[Packing.GZIP][name] for name in FIGURES},
        "packing": Packing.GZIP,
        "packings": results,
        "runs": runs,
        "python": platform.python_version(),
        "hublog": __version__,
    }
    options.json.write_text(json.dumps(written, indent=2) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
