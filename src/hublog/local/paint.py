"""A row as a person reads it in a terminal: one record, coloured by level, harmless."""

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Final, TextIO

if TYPE_CHECKING:
    from rich.console import Console
    from rich.text import Text

#: Characters that a terminal obeys instead of showing them: C0 and C1 controls, marks that turn the
#: direction of writing, separators of lines and of paragraphs, the invisible ones, lone surrogates.
_HOSTILE = re.compile(
    "[\x00-\x1f\x7f-\x9f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb\ud800-\udfff]"
)
#: Of these, what JSON text as orjson writes it can hold.
_HOSTILE_BYTES = re.compile(
    b"\x7f|\xc2[\x80-\x9f]|\xd8\x9c|\xe2\x80[\x8b-\x8f\xa8-\xae]|\xe2\x81[\xa0-\xaf]|\xef\xbb\xbf|\xef\xbf[\xb9-\xbb]"
)
_INDENT: Final = "    "
_LEVEL_WIDTH: Final = 8
#: Lowest level number and its style.
_STYLES: Final = ((50, "bold white on red"), (40, "bold red"), (30, "yellow"), (20, "green"), (0, "dim"))


def harmless(text: str) -> str:
    r"""Return a text with what a terminal would obey written out, like ``\x1b``; also line breaks."""
    return _HOSTILE.sub(_written_out, text)


def harmless_json(line: bytes) -> bytes:
    """Return a line of JSON with the same meaning that a terminal does not obey."""
    return _HOSTILE_BYTES.sub(lambda found: b"\\u%04x" % ord(found[0].decode()), line)


def make_console(out: TextIO, *, width: int | None = None) -> "Console":
    """Return a console that changes nothing in what it is given; it raises ``BrokenPipeError`` as files do.

    Args:
        out: colours only if it is a terminal.
        width: in columns; default that of the terminal.
    """
    from rich.console import Console  # noqa: PLC0415  # of the extra local

    class PlainConsole(Console):
        def on_broken_pipe(self) -> None:
            raise BrokenPipeError

    return PlainConsole(file=out, width=width, highlight=False, markup=False, emoji=False)


def painted(row: Mapping[str, object]) -> "Text":
    """Return a record for the terminal.

    The message and the traceback may have several lines; all but the first are indented, so that no
    text can pass for another record.
    """
    from rich.text import Text  # noqa: PLC0415  # of the extra local

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


def _written_out(found: re.Match[str]) -> str:
    code = ord(found[0])
    return {"\n": "\\n", "\r": "\\r", "\t": "\\t"}.get(found[0]) or (
        f"\\x{code:02x}" if code <= 0xFF else f"\\u{code:04x}"
    )
