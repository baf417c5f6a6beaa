"""What all commands share: their declaration, their caller, and how they write names, numbers and tables."""

import argparse
import contextlib
import json
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Final, TextIO

from hublog.doctor import StepResult
from hublog.doctor.offline_checks import log_files
from hublog.settings import Reading, Settings, read_settings
from hublog.settings.reader import Lookup
from hublog.spool.envelope import Destination

if TYPE_CHECKING:
    from hublog.configure.handlers import AttachedHandler

OK: Final = 0
FAILURE: Final = 1
USAGE: Final = 2
INTERRUPTED: Final = 130

_DURATION: Final = re.compile(r"([0-9]{1,6})([smhd])")
_UNIT_S: Final = {"s": 1, "m": 60, "h": 3_600, "d": 86_400}
_UNITS: Final = ((86_400, "d"), (3_600, "h"), (60, "min"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Caller:
    """Who runs a command: the shell, ``manage.py`` or ``flask``.

    Attributes:
        err: where messages to the operator go.
        lookup: returns the value of a setting by its environment name, None where it is not set; None
            itself leaves it to the environment.
        framework: ``django``, ``flask`` or empty.
        find_names: returns the framework's configuration.
        find_results: returns the results of the framework's own checks, for ``doctor``.
        find_log_files: returns the log files that are written with these settings.
    """

    out: TextIO = field(default_factory=lambda: sys.stdout)
    err: TextIO = field(default_factory=lambda: sys.stderr)
    lookup: Lookup | None = None
    framework: str = ""
    find_names: Callable[[], Mapping[str, object]] = dict
    find_results: Callable[[], Sequence[StepResult]] = tuple
    find_log_files: Callable[[Settings], Sequence[Path]] = log_files

    def find_attached(self) -> "Sequence[AttachedHandler] | None":
        """Return the handlers of the application's process; None where no application is loaded."""
        if not self.framework:
            return None
        from hublog.configure.handlers import attached  # noqa: PLC0415  # for two commands only

        return attached()

    def report(self, text: str) -> None:
        """Write one line to the operator."""
        self.err.write(f"hublog: {text}\n")
        self.err.flush()

    def write_json(self, data: object) -> None:
        """Write the result for programs."""
        json.dump(data, self.out, indent=2)
        self.out.write("\n")

    def read(self, document: Path | None) -> Reading:
        """Read the effective settings: the framework's, the environment's, and those of a YAML file."""
        return read_settings(framework=self.lookup, document=document)


@dataclass(frozen=True, slots=True)
class Command:
    """One command.

    Attributes:
        name: as it is typed.
        summary: one line of help.
        add_arguments: adds its arguments to its parser.
        run: runs it and returns the exit status; a ``HublogError`` or ``ImportError`` that it raises is
            reported in one line, with exit status 1.
    """

    name: str
    summary: str
    add_arguments: Callable[[argparse.ArgumentParser], None]
    run: Callable[[argparse.Namespace, Caller], int]


def add_config(parser: argparse.ArgumentParser) -> None:
    """Let a command read a YAML file."""
    parser.add_argument("--config", type=Path, metavar="FILE", help="also read settings from this YAML file")


def add_json(parser: argparse.ArgumentParser) -> None:
    """Let a command print for programs."""
    parser.add_argument("--json", action="store_true", help="print one JSON object")


def duration(text: str) -> float:
    """Return the seconds of an argument like ``90s``."""
    match = _DURATION.fullmatch(text)
    if match is None:
        raise argparse.ArgumentTypeError(f"{text!r} is not a duration; it must be like 90s, 30m, 12h or 7d")
    return float(match[1]) * _UNIT_S[match[2]]


def number(low: float, high: float, *, is_whole: bool = False) -> Callable[[str], float]:
    """Return a reader of arguments: numbers from ``low`` to ``high``, or whole numbers."""

    def read(text: str) -> float:
        with contextlib.suppress(ValueError):
            if low <= (value := int(text) if is_whole else float(text)) <= high:
                return value
        name = "a whole number" if is_whole else "a number"
        raise argparse.ArgumentTypeError(f"is {text!r}; it must be {name} from {low:g} to {high:,.12g}.")

    return read


def shown(name: object) -> str:
    """Return a name as it may stand on one line: control characters are escaped."""
    text = str(name)
    return text if text.isprintable() else ascii(text)


def count_of(number: int, noun: str, plural: str = "") -> str:
    """Return a number with its noun, like ``1 record`` or ``1,200 records``."""
    return f"{number:,} {noun if number == 1 else plural or noun + 's'}"


def time_text(moment: datetime | None) -> str:
    """Return a moment in UTC as ISO 8601 with seconds; a dash for none."""
    return "-" if moment is None else f"{moment.astimezone(UTC):%Y-%m-%dT%H:%M:%S}Z"


def age_text(moment: datetime | None) -> str:
    """Return how long ago a moment was, in its largest unit; a dash for none."""
    if moment is None:
        return "-"
    seconds = max((datetime.now(UTC) - moment).total_seconds(), 0.0)
    unit_s, unit = next(((size, name) for size, name in _UNITS if seconds >= size), (1, "s"))
    return f"{seconds / unit_s:.0f} {unit}"


def destination_text(destination: Destination | None) -> str:
    """Return where records go as one cell; a dash where their directory does not say."""
    if destination is None:
        return "-"
    return shown(f"{destination.namespace or '*'}/{destination.eventhub or '*'}")


def table(header: Sequence[str], rows: Sequence[Sequence[str | int]], *, left: int) -> str:
    """Return a table, one row a line; the first columns are text, the others numbers with separators."""
    lines = [
        list(header),
        *([f"{cell:,}" if isinstance(cell, int) else cell for cell in row] for row in rows),
    ]
    widths = [max(len(line[column]) for line in lines) for column in range(len(header))]
    return "".join(
        "  ".join(
            cell.ljust(width) if column < left else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        + "\n"
        for line in lines
    )
