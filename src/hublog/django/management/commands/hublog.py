"""``manage.py hublog``: the commands of the package with the project's settings."""

import argparse
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, TextIO, cast

from django.core.checks import ERROR, WARNING, CheckMessage
from django.core.management.base import BaseCommand, CommandError, CommandParser

from hublog.cli import Caller, add_commands, run
from hublog.django.checks import CHECKS, run_all
from hublog.django.project import lookup, project_names, read_logging
from hublog.doctor import StepResult, StepStatus
from hublog.settings import Reading, read_settings

#: The doctor reports these by itself.
_STEPS: Final = frozenset(
    f"hublog.{number}"
    for number in "E001 E002 E003 E004 W008 W009 W010 W011 W012 W017 W018 I002".split()  # noqa: SIM905  # a list of strings
)


class HublogCommand(BaseCommand):
    """Passes everything on to the table of commands."""

    help = "Test, inspect and query hublog; each command has its own help."
    #: A broken configuration must be open to a diagnosis.
    requires_system_checks = ()

    def add_arguments(self, parser: CommandParser) -> None:
        """Add the commands of the table."""
        self._print_help = parser.print_help
        add_commands(parser, required=False)

    def handle(self, *arguments: str, **options: Any) -> None:  # noqa: ANN401  # Django's signature
        """Run one of them; ``manage.py`` ends with its exit status.

        Raises:
            CommandError: code has called it, and it failed; ``returncode`` is the exit status.
        """
        del arguments
        # The commands end their lines themselves, and stderr is not all red.
        self.stdout.ending = self.stderr.ending = ""
        self.stderr.style_func = None
        out, err = cast("TextIO", self.stdout), cast("TextIO", self.stderr)
        if options.get("command") is None:
            self._print_help(out)
            return
        caller = _Caller(out=out, err=err)
        status = run(argparse.Namespace(**options), caller)
        if not status:
            return
        if self._called_from_command_line:  # type: ignore[attr-defined]  # it is there since Django 1.8
            sys.exit(status)
        text = " ".join(caller.reported) or f"hublog {options['command']} ended with status {status}."
        raise CommandError(text, returncode=status)


Command = HublogCommand  # the name that Django looks for


def _results_of_checks() -> list[StepResult]:
    """Return the findings of our system checks that the doctor's steps do not report."""
    results = [_result(message) for message in run_all() if message.id not in _STEPS]
    count = f"{len(CHECKS)} system checks of hublog"
    return results or [StepResult(status=StepStatus.OK, what="django", detail=f"{count} report nothing else")]


def _result(message: CheckMessage) -> StepResult:
    status = (
        StepStatus.FAIL
        if message.level >= ERROR
        else StepStatus.WARN
        if message.level >= WARNING
        else StepStatus.OK
    )
    detail = f"{message.id}: {message.msg}"
    return StepResult(status=status, what="django", detail=detail, hint=message.hint or "")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Caller(Caller):
    """Keeps what is reported, for the exception."""

    lookup: Any = lookup
    framework: str = "django"
    find_names: Any = project_names
    find_results: Any = _results_of_checks
    find_log_files: Any = lambda _: read_logging().files()
    reported: list[str] = field(default_factory=list)

    def read(self, document: Path | None) -> Reading:
        """Read the settings as the handler of ``LOGGING`` does: what it is given wins."""
        arguments = {"eventhub_logging": read_logging().hub_keywords()}
        return read_settings(arguments, framework=lookup, document=document)

    def report(self, text: str) -> None:
        """Write one line to the operator, and keep it."""
        self.reported.append(text)
        Caller.report(self, text)
