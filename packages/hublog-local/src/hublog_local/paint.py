"""A row as a person reads it in a terminal: one record, coloured by level, harmless."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Final, TextIO

from hublog.terminal import harmless

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
    names = [str(row[name]) for name in ("service_name", "logger_name") if row.get(name)]
    text.append(f"{harmless(' '.join(names))} ", style="cyan")
    text.append(_lines(str(row.get("message") or "")), style=style if style in {"dim", "yellow"} else "")
    if row.get("trace_id"):
        text.append(f" trace={harmless(str(row['trace_id']))}", style="dim")
    traceback = row.get("exception_stacktrace") or _exception(row)
    if traceback:
        text.append("\n" + _INDENT + _lines(str(traceback).rstrip("\n")), style="red")
    return text


def _lines(text: str) -> str:
    return f"\n{_INDENT}".join(harmless(line.replace("\t", _INDENT)) for line in text.split("\n"))


def _moment(row: Mapping[str, object]) -> str:
    stated = str(row.get("timestamp") or row.get("_ingestion_time") or "")
    # 2026-11-23T14:00:00.123456Z as far as the millisecond.
    return harmless(f"{stated[:10]} {stated[11:23]}Z")


def _exception(row: Mapping[str, object]) -> str:
    name, message = row.get("exception_type"), row.get("exception_message")
    return ": ".join(str(part) for part in (name, message) if part)


def _style(level_number: object) -> str:
    number = level_number if isinstance(level_number, int) else 0
    return next((style for lowest, style in _STYLES if number >= lowest), "")
