"""The status page for people: HTML and SVG that need no script and nothing from elsewhere."""

from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime
from html import escape
from pathlib import Path
from typing import Final

from hublog.cli.command import count_of, time_text
from hublog.cli.process_status import age_of, as_moment, process_cells, worst_first
from hublog.delivery.accounting import DROP_ADVICE, Drop
from hublog.operations.overview import Overview
from hublog.operations.snapshot import PipelineSnapshot

#: Processes that are listed; all are in the sums.
LISTED_MAX: Final = 50
_REFRESH_S: Final = 10
_BAR_WIDTH, _HEIGHT, _MINUTES = 5, 48, 60
#: What the operator does about each reason.
REMEDIES: Final[dict[str, str]] = {
    **{str(reason): advice for reason, advice in DROP_ADVICE.items()},
    Drop.EXIT: "Processes ended with records in memory alone: EVENTHUB_LOG_SPOOL=always keeps them.",
    Drop.NOT_CONFIGURED: "No connection was configured when these were logged: run hublog doctor.",
    Drop.SAMPLED_OUT: "Left out on purpose, by EVENTHUB_LOG_TAIL_SAMPLING.",
    Drop.DEDUPLICATED: "Repeats, left out on purpose, by EVENTHUB_LOG_DEDUP_SECONDS.",
}
#: A file of its own, so that strict policies let it pass.
STYLE: Final = Path(__file__).with_name("status.css").read_text("utf-8")


def status_page(found: Overview, problems: Sequence[str], *, is_switched_off: bool = False) -> str:
    """Return the page.

    Args:
        found: all processes.
        problems: what the operator has to act on, a sentence each.
        is_switched_off: whether records go to the console and the file alone.
    """
    return "\n".join(
        [
            "<!doctype html>",
            '<html lang="en"><head><meta charset="utf-8">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            f'<meta http-equiv="refresh" content="{_REFRESH_S}"><title>hublog</title>',
            '<link rel="stylesheet" href="status.css"></head><body>',
            *_head(found, problems, is_switched_off=is_switched_off),
            *_cards(found),
            *_charts(found),
            *_drops(found.total),
            *_processes(found),
            "</body></html>",
        ]
    )


def _head(found: Overview, problems: Sequence[str], *, is_switched_off: bool) -> Iterator[str]:
    total = found.total
    if problems:
        yield '<h1 class="bad">Something needs attention</h1>'
    elif is_switched_off:
        yield "<h1>The Event Hub is switched off</h1>"
    elif not found.living:
        yield "<h1>No process has logged anything yet</h1>"
    else:
        yield '<h1 class="good">Records arrive</h1>'
    where = escape(total.destination) if total.destination else "no event hub yet"
    yield f'<p class="soft">{count_of(len(found.living), "process", "processes")}; {where}; {_now(found)}</p>'
    if problems:
        yield '<div class="problems">'
        yield from (f"<p>{escape(each)}</p>" for each in problems)
        yield "</div>"
    elif total.last_error and total.last_failure_s is not None:
        age = age_of(total.last_failure_s)
        yield f'<p class="soft">The last failure, {age} ago: {escape(total.last_error)}</p>'


def _now(found: Overview) -> str:
    return time_text(as_moment(found.read_s)) if found.read_s else time_text(datetime.now(UTC))


def _cards(found: Overview) -> Iterator[str]:
    total = found.total
    values = {
        "accepted": f"{total.counters['accepted_total']:,}",
        "sent": f"{total.counters['sent_total']:,}",
        "waiting": f"{total.held:,}",
        "dropped": f"{total.dropped_total:,}",
        "delivery": str(total.state) if found.living else "-",
        "circuit": str(total.circuit) if found.living else "-",
        "fullest queue": f"{found.queue_share:.0%}",
        "spool": f"{total.spool_share:.0%}",
        "oldest record": age_of(total.oldest_s),
        "last success": age_of(total.last_success_s),
    }
    yield '<div class="cards">'
    yield from (f"<div><dl><dt>{name}</dt><dd>{value}</dd></dl></div>" for name, value in values.items())
    yield "</div>"


def _charts(found: Overview) -> Iterator[str]:
    rates = found.minutes()
    if not rates:
        return
    yield '<h2>The last hour, records a minute</h2><div class="charts">'
    for number, name in enumerate(("accepted", "sent", "dropped")):
        yield _chart(name, [each[number] for each in rates])
    yield "</div>"


def _chart(name: str, values: Sequence[int]) -> str:
    most = max(values, default=0)
    bars = []
    for number, value in enumerate(values[-_MINUTES:]):
        height = max(round(value / most * _HEIGHT), 1) if value else 0
        kind = ' class="lost"' if name == "dropped" else ""
        place = f'x="{number * _BAR_WIDTH}" y="{_HEIGHT - height}"'
        bars.append(f'<rect{kind} {place} width="{_BAR_WIDTH - 1}" height="{height}"/>')
    view = f"0 0 {_MINUTES * _BAR_WIDTH} {_HEIGHT}"
    return (
        f'<figure><figcaption>{name} <span class="soft">at most {most:,}</span></figcaption>'
        f'<svg viewBox="{view}" preserveAspectRatio="none" role="img" aria-label="{name} in each minute">'
        f"{''.join(bars)}</svg></figure>"
    )


def _drops(total: PipelineSnapshot) -> Iterator[str]:
    if total.dropped_total:
        rows = [
            (reason, f"{number:,}", REMEDIES.get(reason, ""))
            for reason, number in sorted(total.dropped.items(), key=lambda each: -each[1])
        ]
        yield "<h2>Dropped, by reason</h2>"
        yield from _table(("reason", "records", "what to do"), rows, numbers=(1,), texts=(2,))


def _processes(found: Overview) -> Iterator[str]:
    living = worst_first(found.living)
    if not living:
        return
    counts = ("accepted", "sent", "dropped", "waiting", "queue")
    header = ("host", "pid", "state", "since", *counts, "oldest", "last failure")
    yield "<h2>Processes</h2>"
    rows = [[cells[name] for name in header] for cells in map(process_cells, living[:LISTED_MAX])]
    yield from _table(header, rows, numbers=(1, 4, 5, 6, 7, 8), texts=(10,))
    if len(living) > LISTED_MAX:
        yield f'<p class="soft">and {len(living) - LISTED_MAX} more, none of them worse</p>'


def _table(
    header: Sequence[str], rows: Iterable[Sequence[str]], *, numbers: Sequence[int], texts: Sequence[int]
) -> Iterator[str]:
    def kind(number: int) -> str:
        name = "number" if number in numbers else "text" if number in texts else ""
        return f' class="{name}"' if name else ""

    yield '<div class="table"><table><tr>'
    yield "".join(f"<th{kind(number)}>{escape(each)}</th>" for number, each in enumerate(header))
    yield "</tr>"
    for row in rows:
        cells = "".join(f"<td{kind(number)}>{escape(each)}</td>" for number, each in enumerate(row))
        yield f"<tr>{cells}</tr>"
    yield "</table></div>"
