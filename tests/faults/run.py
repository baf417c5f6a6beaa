"""One run of one row, and its verdict."""

import os
import time
import traceback
from collections.abc import Container, Iterable
from dataclasses import dataclass, field
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import Final

from tests.faults.broker import Broker
from tests.faults.children import StuckError
from tests.faults.expect import Mode, Order, Seen, Verdict, judge
from tests.faults.matrix import Row
from tests.faults.scene import Scene

#: What a busy machine may take beyond each limit of an exit; 0 on a quiet one.
SLACK_S: Final = float(os.environ.get("FAULTS_SLACK_S", "3.0"))
#: The driver gives up at so many times the time of the row.
_TIMES: Final = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """What came out of one run.

    Attributes:
        row: id of the row.
        mode: where records waited.
        variant: of the row.
        order: in which the package and ``logging`` were imported.
        verdict: how it ended.
        reasons: what is wrong, or why it was not run.
        seen: what was seen.
        seconds: how long it took.
    """

    row: str
    mode: Mode
    variant: str = ""
    order: Order = Order.LOGGING
    verdict: Verdict
    reasons: list[str] = field(default_factory=list)
    seen: Seen = field(default_factory=Seen)
    seconds: float = 0.0

    def __str__(self) -> str:
        order = f"{self.order} first" if self.order is not Order.LOGGING else ""
        name = " ".join(filter(None, (self.row, self.mode.letter, self.variant, order)))
        first = [reason.splitlines()[0] for reason in self.reasons]  # the stacks stand in the report
        return "\n  ".join([f"{name}: {self.verdict}, {self.seconds:.1f} s", *first])


def runs_of(
    row: Row,
    modes: Iterable[Mode] = tuple(Mode),
    orders: Container[Order] = tuple(Order),
) -> list[tuple[Mode, str, Order]]:
    """Return the modes and variants in which a row has something to say, in each of its orders."""
    return [
        (mode, variant, order)
        for mode in modes
        for variant in row.variants
        if row.expect(mode, variant)
        for order in row.orders
        if order in orders
    ]


def in_turn(runs: Iterable[tuple[Mode, str, Order]], first: int) -> list[tuple[Mode, str, Order]]:
    """Keep one order of each mode and variant, another from one to the next, from the `first` on."""
    found = [list(same) for _, same in groupby(runs, key=itemgetter(0, 1))]
    return [same[(first + place) % len(same)] for place, same in enumerate(found)]


def run_row(
    row: Row,
    mode: Mode,
    variant: str,
    folder: Path,
    *,
    order: Order = Order.LOGGING,
    is_strict: bool = False,
) -> Run:
    """Run a row once; if it fails, run its control, too.

    Args:
        row: what to run.
        mode: where records wait.
        variant: of the row.
        folder: empty; everything is written below it.
        order: what is imported first.
        is_strict: no slack, and the figures of a log call on a quiet machine.
    """
    why_not = row.why_not(variant)
    expect = row.expect(mode, variant)
    if why_not or expect is None:
        reason = why_not or "it has nothing to say in this mode"
        return Run(row=row.id, mode=mode, variant=variant, verdict=Verdict.NOT_RUN, reasons=[reason])
    start = time.monotonic()
    seen = drive(row, mode, variant, folder / "run", order=order)
    slack_s = 0.0 if is_strict else SLACK_S
    reasons = judge(seen, expect, mode, slack_s=slack_s, is_strict=is_strict)
    verdict = Verdict.FAILED if reasons else Verdict.OK
    if reasons and row.has_control:
        control = drive(row, None, variant, folder / "control", order=order)
        seen.base_peak_kib = max((cost.peak_kib for cost in control.costs), default=None)
        reasons = judge(seen, expect, mode, slack_s=slack_s, is_strict=is_strict)
        verdict = settle(reasons, control)
        reasons += [f"without the handler: {complaint}" for complaint in control.complaints]
    return Run(
        row=row.id,
        mode=mode,
        variant=variant,
        order=order,
        verdict=verdict,
        reasons=reasons,
        seen=seen,
        seconds=time.monotonic() - start,
    )


def settle(reasons: list[str], control: Seen) -> Verdict:
    """Return the verdict on a run after its control: what hangs without the handler, too, is the server's."""
    if not reasons:
        return Verdict.OK
    return Verdict.SERVER if control.complaints else Verdict.FAILED


def drive(row: Row, mode: Mode | None, variant: str, folder: Path, *, order: Order = Order.LOGGING) -> Seen:
    """Drive a row once; a control run complains only of what hangs or gets lost without the handler."""
    folder.mkdir(parents=True)
    limit_s = _TIMES * row.seconds
    scene = Scene(folder, Broker(), mode, variant=variant, order=order, limit_s=limit_s)
    with scene.broker, scene:
        try:
            row.drive(scene)
            return scene.close()
        except StuckError as error:
            scene.seen.complaints.append(f"stuck: {error}")
        except Exception:  # one row must not end the others
            scene.seen.complaints.append(f"the driver failed: {traceback.format_exc()}")
        scene.seen.ledger = scene.books.ledger()
        return scene.seen
