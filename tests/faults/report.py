"""The table at the end: one line for each row and mode."""

import json
import platform
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import groupby
from pathlib import Path
from typing import Final

from tests.faults.expect import Verdict
from tests.faults.run import Run

HEADINGS: Final = (
    *("row", "mode", "runs", "accepted", "delivered", "on disk", "dropped", "duplicates", "missing"),
    *("exit seconds", "verdict"),
)
#: The worst verdict of its runs is that of the line.
_WORST: Final = (Verdict.FAILED, Verdict.SERVER, Verdict.NOT_RUN, Verdict.OK)


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One line of the table.

    Attributes:
        delivered: before the restart, like ``on_disk``; the other figures are those of the end.
        exit_s: the longest exit; None if the row ends no process.
        reasons: what is wrong, or why it was not run.
    """

    row: str
    mode: str
    runs: int
    accepted: int
    delivered: int
    on_disk: int
    dropped: int
    duplicates: int
    missing: int
    exit_s: float | None
    verdict: Verdict
    reasons: list[str]

    def cells(self) -> tuple[str, ...]:
        """Return the cells of the table."""
        seconds = "-" if self.exit_s is None else f"{self.exit_s:.2f}"
        numbers = (self.runs, self.accepted, self.delivered, self.on_disk, self.dropped)
        return (
            *(self.row, self.mode, *map(str, (*numbers, self.duplicates, self.missing))),
            *(seconds, self.verdict.value),
        )


def lines_of(runs: Sequence[Run]) -> list[Line]:
    """Sum the runs up by row and mode, in the order in which they came."""
    grouped = groupby(runs, key=lambda run: (run.row, run.mode))
    return [_line(row, mode.letter, list(group)) for (row, mode), group in grouped]


def _line(row: str, mode: str, runs: list[Run]) -> Line:
    run_here = [run for run in runs if run.verdict is not Verdict.NOT_RUN]
    exits = [seconds for run in run_here for seconds in run.seen.exits_s]
    verdicts = {run.verdict for run in runs}
    return Line(
        row=row,
        mode=mode,
        runs=len(run_here),
        accepted=sum(len(run.seen.ledger.accepted) for run in run_here),
        delivered=sum(run.seen.ledger.unique_delivered for run in run_here),
        on_disk=sum(run.seen.ledger.stored for run in run_here),
        dropped=sum(run.seen.final.dropped for run in run_here),
        duplicates=sum(run.seen.final.duplicates for run in run_here),
        missing=sum(run.seen.final.missing for run in run_here),
        exit_s=max(exits, default=None),
        verdict=next(verdict for verdict in _WORST if verdict in verdicts),
        reasons=[
            f"{run.variant}: {reason}" if run.variant else reason for run in runs for reason in run.reasons
        ],
    )


def table(lines: Sequence[Line]) -> str:
    """Return the table as text, with the reasons of all that is not ok below it."""
    cells = [HEADINGS, *(line.cells() for line in lines)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    shown = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in cells]
    shown.insert(1, "  ".join("-" * width for width in widths))
    reasons = [
        f"{line.row} {line.mode}: {reason.splitlines()[0]}"
        for line in lines
        for reason in dict.fromkeys(line.reasons)
    ]
    return "\n".join([text.rstrip() for text in shown] + (["", *reasons] if reasons else [])) + "\n"


def write(path: Path, runs: Sequence[Run]) -> None:
    """Write the report as JSON: the lines, and each run with its own figures."""
    content = {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "command": sys.argv[1:],
        "rows": [asdict(line) for line in lines_of(runs)],
        "runs": [_plain(run) for run in runs],
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content, indent=1) + "\n")


def _plain(run: Run) -> dict[str, object]:
    costs = run.seen.costs
    return {
        "row": run.row,
        "mode": run.mode.letter,
        "variant": run.variant,
        "verdict": run.verdict.value,
        "seconds": round(run.seconds, 2),
        "exits_s": [round(seconds, 3) for seconds in run.seen.exits_s],
        "call_p99_us": max((cost.p99_us for cost in costs), default=None),
        "call_max_us": max((cost.max_us for cost in costs), default=None),
        "memory_growth_kib": max((cost.peak_kib - cost.start_kib for cost in costs), default=None),
        "reasons": run.reasons,
    }
