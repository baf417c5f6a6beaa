"""Rows for a person and for programs: a record in the terminal, an answer as a table, JSON or CSV."""

import csv
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Final, TextIO

from hublog.capture.json_safe import timespan
from hublog.terminal import harmless, harmless_json
from hublog_local.adx_values import NON_STR_KEYS, to_json, utc_text
from hublog_local.kql import Result

if TYPE_CHECKING:
    from rich.console import Console
    from rich.text import Text


_INDENT: Final = "    "
_LEVEL_WIDTH: Final = 8
#: Lowest level number and its style.
_STYLES: Final = ((50, "bold white on red"), (40, "bold red"), (30, "yellow"), (20, "green"), (0, "dim"))


def make_console(out: TextIO, *, width: int | None = None) -> "Console":
    """Return a console that changes nothing in what it is given; it raises ``BrokenPipeError`` as files do.

    Args:
        out: colours only if it is a terminal.
        width: in columns; default that of the terminal.
    """
    from rich.console import Console  # noqa: PLC0415  # for a terminal only

    class PlainConsole(Console):
        def on_broken_pipe(self) -> None:
            raise BrokenPipeError

    return PlainConsole(file=out, width=width, highlight=False, markup=False, emoji=False)


def painted(row: Mapping[str, object]) -> "Text":
    """Return a record for the terminal.

    The message and the traceback may have several lines; all but the first are indented, so that no
    text can pass for another record.
    """
    from rich.text import Text  # noqa: PLC0415  # for a terminal only

    level = str(row.get("level") or "-")
    style = _style(row.get("level_number"))
    text = Text()
    text.append(f"{_moment(row)} ", style="dim")
    text.append(f"{harmless(level):<{_LEVEL_WIDTH}} ", style=style)
    origin = [str(row[name]) for name in ("service_name", "logger_name") if row.get(name)]
    text.append(f"{harmless(' '.join(origin))} ", style="cyan")
    text.append(_lines(str(row.get("message") or "")), style=style if style in {"dim", "yellow"} else "")
    if row.get("trace_id"):
        text.append(f" trace={harmless(str(row['trace_id']))}", style="dim")
    names = ("exception_type", "exception_message")
    traceback = row.get("exception_stacktrace") or ": ".join(
        str(row[name]) for name in names if row.get(name)
    )
    if traceback:
        text.append("\n" + _INDENT + _lines(str(traceback).rstrip("\n")), style="red")
    return text


def _lines(text: str) -> str:
    return f"\n{_INDENT}".join(harmless(line.replace("\t", _INDENT)) for line in text.split("\n"))


def _moment(row: Mapping[str, object]) -> str:
    stated = str(row.get("timestamp") or row.get("_ingestion_time") or "")
    # 2026-11-23T14:00:00.123456Z as far as the millisecond.
    return harmless(f"{stated[:10]} {stated[11:23]}Z")


def _style(level_number: object) -> str:
    number = level_number if isinstance(level_number, int) else 0
    return next((style for lowest, style in _STYLES if number >= lowest), "")


#: With more columns each row is printed as a list of what it has.
_MAX_COLUMNS: Final = 12
#: Where no terminal sets a width, nothing is folded.
_NO_TERMINAL_WIDTH: Final = 1 << 15


def write_table(result: Result, out: TextIO) -> None:
    """Write a table for the terminal; more columns than fit become one block for each row."""
    from rich.table import Table  # noqa: PLC0415  # for this format only
    from rich.text import Text  # noqa: PLC0415

    if len(result.columns) > _MAX_COLUMNS:
        _write_blocks(result, out)
    else:
        table = Table(box=None, pad_edge=False, header_style="bold")
        numbers = [_is_numeric(result, index) for index in range(len(result.columns))]
        for name, is_number in zip(result.columns, numbers, strict=True):
            table.add_column(Text(harmless(name)), justify="right" if is_number else "left", overflow="fold")
        for row in result.rows:
            table.add_row(*(Text(harmless(text_of(value))) for value in row))
        make_console(out, width=None if out.isatty() else _NO_TERMINAL_WIDTH).print(table)
    number = len(result.rows)
    if out.isatty():
        out.write(f"{number} row{'' if number == 1 else 's'}\n")


def write_json(result: Result, out: TextIO) -> None:
    """Write a JSON array of objects, one a line; moments are ISO 8601, timespans as KQL writes them."""
    lines = (
        harmless_json(_dumped({name: _json(value) for name, value in row.items()})).decode()
        for row in result.records()
    )
    out.write("[" + ",".join(f"\n{line}" for line in lines) + "\n]\n")


def write_csv(result: Result, out: TextIO) -> None:
    """Write CSV (RFC 4180) with a header; null is empty.

    What was logged may come from a client, and the file is for a spreadsheet or a terminal: control
    characters are written out, and what a spreadsheet would take for a formula has an apostrophe in front.
    """
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow([_cell(name) for name in result.columns])
    writer.writerows([_cell(value) for value in row] for row in result.rows)


def _cell(value: object) -> str:
    text = harmless(text_of(value))
    is_formula = isinstance(value, str) and text.lstrip()[:1] in _FORMULAS
    return f"'{text}" if is_formula else text


#: What a formula begins with in the usual spreadsheets; the wide forms are taken for the others.
_FORMULAS: Final = frozenset("=+-@\uff1d\uff0b\uff0d\uff20")

FORMATS: Final[Mapping[str, Callable[[Result, TextIO], None]]] = {
    "table": write_table,
    "json": write_json,
    "csv": write_csv,
}


def text_of(value: object) -> str:
    """Return a value as KQL shows it; null is empty."""
    if value is None:
        return ""
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    plain = _json(value)
    if isinstance(plain, str):
        return plain
    if isinstance(plain, int | float | Decimal):
        return str(plain)
    return _dumped(plain).decode()


def _json(value: object) -> object:
    if isinstance(value, datetime):
        return utc_text(value)
    if isinstance(value, timedelta):
        return timespan(value)
    if isinstance(value, int) and not isinstance(value, bool) and value.bit_length() > 63:
        return str(value)
    return value


def _dumped(value: object) -> bytes:
    return to_json(
        value,
        default=lambda item: float(item) if isinstance(item, Decimal) else str(item),
        option=NON_STR_KEYS,
    )


def _is_numeric(result: Result, index: int) -> bool:
    values = [row[index] for row in result.rows if row[index] is not None]
    return bool(values) and all(
        isinstance(value, int | float | Decimal) and not isinstance(value, bool) for value in values
    )


def _write_blocks(result: Result, out: TextIO) -> None:
    width = max(len(name) for name in result.columns)
    for number, row in enumerate(result.rows, start=1):
        out.write(f"-- row {number}\n")
        for name, value in zip(result.columns, row, strict=True):
            text = text_of(value)
            if text:
                out.write(f"{harmless(name):<{width}}  {harmless(text)}\n")
