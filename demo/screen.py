"""What the person at the screen sees; the same text without a terminal, 100 columns wide."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Final

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from demo.records import moment
from demo.report import Count, Report
from demo.traffic import Exchange

_WIDTH: Final = 100
_STYLES: Final = {"INFO": "green", "WARNING": "yellow", "ERROR": "red", "CRITICAL": "bold red"}
_MAX_TRACE_LINES: Final = 7
_SLOW_MS: Final = 300
_SERVER_ERROR: Final = 500


class Screen:
    """Prints the demo.

    Args:
        console: where to; by default standard output.
    """

    def __init__(self, console: Console | None = None) -> None:
        self._console = console or Console(highlight=False)
        if not self._console.is_terminal or self._console.width > _WIDTH:
            self._console.width = _WIDTH

    def headline(self, text: str) -> None:
        """Begin a part."""
        self._console.print()
        self._console.rule(f"[bold]{escape(text)}", align="left", style="dim")

    def say(self, text: str = "") -> None:
        """Print a line as it is."""
        self._console.print(escape(text))

    def done(self, what: str, detail: str) -> None:
        """Tell of a step that is behind us."""
        self._console.print(f"[green]✓[/] {escape(what):<42} [dim]{escape(detail)}[/]")

    def failed(self, text: str) -> None:
        """Tell of something that went wrong."""
        self._console.print(f"[bold red]✗[/] {escape(text)}", soft_wrap=True)

    @contextmanager
    def progress(self, what: str, total: int) -> Iterator[Progress]:
        """Show a bar; advance its only task by ``advance(TaskID(0))``."""
        columns = (
            TextColumn(f"{escape(what):<24}"),
            BarColumn(bar_width=40),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
        )
        with Progress(*columns, console=self._console) as bar:
            bar.add_task(what, total=total)
            yield bar

    def counts(self, report: Report) -> None:
        """Print accepted, arrived and lost for each application and level."""
        table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 3, 0, 0))
        table.add_column("application")
        table.add_column("level")
        for name in ("accepted", "arrived", "lost"):
            table.add_column(name, justify="right")
        for application, levels in report.counts.items():
            for number, (level, count) in enumerate(levels.items()):
                table.add_row(escape(application) if number == 0 else "", _styled(level), *_cells(count))
        table.add_section()
        table.add_row("[bold]all[/]", "", *_cells(report.total, bold=True))
        self._console.print(table)

    def alarms(self, rows: Sequence[Sequence[str]]) -> None:
        """Print when each alarm fired and cleared."""
        table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 3, 0, 0))
        table.add_column("alarm")
        for name in ("Prometheus fired", "cleared", "KQL fired", "cleared"):
            table.add_column(name, justify="right")
        for row in rows:
            table.add_row(*row)
        self._console.print(table)

    def traffic(self, exchanges: Sequence[Exchange]) -> None:
        """Print how the requests were answered."""
        errors = sum(each.status >= _SERVER_ERROR for each in exchanges)
        slow = sum(each.duration_ms > _SLOW_MS for each in exchanges)
        self._console.print(
            f"{len(exchanges)} answers: {errors} failed with an exception, {slow} took over {_SLOW_MS} ms."
        )

    def latency(self, report: Report) -> None:
        """Print the percentiles."""
        figures = report.latency
        self._console.print(
            f"Log call to hub: p50 [bold]{figures.p50:,.0f} ms[/], p95 [bold]{figures.p95:,.0f} ms[/],"
            f" p99 [bold]{figures.p99:,.0f} ms[/]"
        )

    def trail(self, exchange: Exchange, query: str, rows: Sequence[Mapping[str, object]]) -> None:
        """Print all that was logged about one request, as KQL found it."""
        self._console.print(
            f"{escape(exchange.method)} {escape(exchange.path)} of {escape(exchange.application)} was"
            f" answered with [red]{exchange.status}[/]. Its trace id finds everything about it:"
        )
        self._console.print(f"\n  [cyan]{escape(query)}[/]\n", soft_wrap=True)
        table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
        table.add_column("ms", justify="right")
        table.add_column("level")
        table.add_column("logger", overflow="fold")
        table.add_column("message", overflow="fold")
        for after_ms, level, *texts in trail_cells(rows):
            table.add_row(after_ms, _styled(level), *map(escape, texts))
        self._console.print(table)
        for line in last_frames(rows):
            self._console.print(f"  [red]{escape(line)}[/]", no_wrap=True, overflow="ellipsis", crop=True)

    def next_steps(self, steps: Sequence[tuple[str, str]]) -> None:
        """Print what to try, each with its command."""
        for what, command in steps:
            self._console.print(f"  {escape(what)}")
            self._console.print(f"    [cyan]{escape(command)}[/]", soft_wrap=True)


def trail_cells(rows: Sequence[Mapping[str, object]]) -> list[tuple[str, str, str, str]]:
    """Return milliseconds since the first record, level, logger and message of each record."""
    if not rows:
        return []
    first = min(moment(row["timestamp"]) for row in rows)
    found = []
    for row in rows:
        after_ms = (moment(row["timestamp"]) - first).total_seconds() * 1000
        found.append((f"{after_ms:.1f}", str(row["level"]), str(row["logger_name"]), str(row["message"])))
    return found


def last_frames(rows: Sequence[Mapping[str, object]]) -> list[str]:
    """Return the end of the first traceback in a trail, from the beginning of a frame on."""
    traces = [str(row["exception_stacktrace"]) for row in rows if row.get("exception_stacktrace")]
    if not traces:
        return []
    lines = traces[0].rstrip().splitlines()[-_MAX_TRACE_LINES:]
    starts = [number for number, line in enumerate(lines) if line.startswith("  File ")]
    return lines[starts[0] :] if starts else lines


def _styled(level: str) -> str:
    return f"[{_STYLES.get(level, 'magenta')}]{escape(level)}[/]"


def _cells(count: Count, *, bold: bool = False) -> list[str]:
    lost = f"[bold red]{count.lost:,}[/]" if count.lost else "[green]0[/]"
    cells = [f"{count.accepted:,}", f"{count.arrived:,}", lost]
    return [f"[bold]{cell}[/]" for cell in cells] if bold else cells
