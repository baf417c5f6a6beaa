"""Who runs the commands: the shell, ``manage.py`` or ``flask``, with its streams and its settings."""

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
    """Who runs the commands.

    Attributes:
        out: where results go.
        err: where the operator is told things.
        lookup: gives the value of a setting by its environment name, None where it is not set; None
            itself leaves it to the environment.
        framework: ``django``, ``flask`` or empty.
        find_names: returns what the framework's configuration holds, by name.
        find_results: returns what the framework itself has found, for ``doctor``.
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

    def tell(self, text: str) -> None:
        """Tell the operator something, in one line."""
        self.err.write(f"hublog: {text}\n")
        self.err.flush()

    def read(self, document: Path | None) -> Reading:
        """Read the settings in force: the framework's, the environment's, and those of a YAML file."""
        return read_settings(framework=self.lookup, document=document)
