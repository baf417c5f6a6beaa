"""What a command is, and what it is given: streams, settings and framework of its caller."""

import argparse
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final, TextIO

from hublog.doctor import StepResult
from hublog.doctor.offline_checks import log_files
from hublog.runtime.framework import Lookup
from hublog.settings import Reading, Settings, read_settings

if TYPE_CHECKING:
    from hublog.configure.handlers import AttachedHandler

OK: Final = 0
FAILURE: Final = 1
USAGE: Final = 2
INTERRUPTED: Final = 130


@dataclass(frozen=True, slots=True, kw_only=True)
class Caller:
    """Who runs a command: the shell, ``manage.py`` or ``flask``.

    Attributes:
        out: where results go.
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
