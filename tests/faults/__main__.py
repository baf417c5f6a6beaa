"""``python -m tests.faults``: run rows of the fault matrix, and end with the table."""

import argparse
import shutil
import sys
import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final

from tests.faults import report
from tests.faults.expect import Mode, Order, Verdict
from tests.faults.matrix import Row, all_rows, first_rows
from tests.faults.run import Run, in_turn, run_row, runs_of

REPORT: Final = Path("tests/faults/report.json")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the rows that are asked for; returns 1 if one of them failed, 2 if a name is unknown."""
    asked = _parser().parse_args(arguments)
    rows = all_rows()
    names = (
        list(first_rows()) if asked.rows == "first" else asked.rows.split(",") if asked.rows else list(rows)
    )
    letters = {mode.letter: mode for mode in Mode}
    unknown = [name for name in names if name not in rows]
    unknown += [letter for letter in asked.modes.split(",") if letter not in letters]
    unknown += [order for order in asked.orders.split(",") if order not in tuple(Order)]
    if unknown:
        print(
            f"Unknown: {', '.join(unknown)}. Rows: {', '.join(rows)}. Modes: {', '.join(letters)}."
            f" Orders: {', '.join(Order)}."
        )
        return 2
    modes = tuple(letters[letter] for letter in asked.modes.split(","))
    orders = tuple(map(Order, asked.orders.split(",")))
    found = {name: runs_of(rows[name], modes, orders) for name in names}
    if asked.in_turn:
        found = {name: in_turn(runs, place) for place, (name, runs) in enumerate(found.items())}
    tasks = [(rows[name], *run) for name, runs in found.items() for run in runs * asked.times]
    runs: list[Run] = []
    with ThreadPoolExecutor(asked.jobs) as pool:
        for run, folder in pool.map(lambda task: _run_in_folder(*task, asked), tasks):
            runs.append(run)
            print(run, *([f"  see {folder}"] if asked.keep else []), sep="\n", flush=True)
            report.write(asked.report, runs)
    runs.sort(key=lambda run: (names.index(run.row), list(Mode).index(run.mode)))
    print("\n" + report.table(report.lines_of(runs)))
    return int(any(run.verdict is Verdict.FAILED for run in runs))


def _run_in_folder(
    row: Row, mode: Mode, variant: str, order: Order, asked: argparse.Namespace
) -> tuple[Run, Path]:
    folder = Path(tempfile.mkdtemp(prefix=f"faults-{row.id}-"))
    run = run_row(row, mode, variant, folder, order=order, is_strict=asked.strict)
    if not asked.keep:
        shutil.rmtree(folder, ignore_errors=True)
    return run, folder


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description=__doc__)
    parser.add_argument("--rows", default="", help="such as S1,S2; first: of the test suite; default: all")
    parser.add_argument("--modes", default="M,O,A", help="of M (memory), O (overflow), A (always)")
    parser.add_argument(
        "--orders", default=",".join(Order), help="what is imported first: logging, hublog or both"
    )
    parser.add_argument("--in-turn", action="store_true", help="one order of each run, in turn")
    parser.add_argument("--times", type=int, default=1, help="how often each is run")
    parser.add_argument("--jobs", type=int, default=1, help="how many at the same time")
    parser.add_argument("--report", type=Path, default=REPORT, help="where the table goes as JSON")
    parser.add_argument("--strict", action="store_true", help="no slack for a busy machine")
    parser.add_argument("--keep", action="store_true", help="keep the folder of each run")
    return parser


if __name__ == "__main__":
    sys.exit(main())
