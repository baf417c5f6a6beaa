"""The one table of commands, and how one of them is run.

The shell, ``manage.py hublog`` and ``flask hublog`` use this table; other distributions add commands to it by
entry points.
"""

import argparse
import contextlib
import os
from collections.abc import Collection, Iterator, Sequence
from dataclasses import replace
from importlib.metadata import EntryPoint, entry_points
from typing import Final, NoReturn

from hublog._version import __version__
from hublog.cli.command import FAILURE, INTERRUPTED, OK, USAGE, Caller, Command
from hublog.cli.commands import add_doctor, add_schema, add_settings, run_doctor, run_schema, run_settings
from hublog.cli.level import add_level, run_level
from hublog.cli.size import add_size, run_size
from hublog.cli.spool_command import add_tools, run_tool
from hublog.cli.status import add_status, run_status
from hublog.errors import HublogError

#: The group of entry points; each one is the name of a command and where its ``Command`` is.
GROUP: Final = "hublog.commands"
#: The commands of the distribution ``hublog-local``, in the order of the help.
_LOCAL: Final = {
    "local": "Run a local Event Hub, and store its records.",
    "tail": "Print records as they arrive at the local hub.",
    "query": "Query the records of the local hub with KQL.",
}
_COMMANDS: Final = (
    Command("doctor", "Check the connection to the Event Hub step by step.", add_doctor, run_doctor),
    Command("status", "Show the effective configuration and the records on disk.", add_status, run_status),
    Command("settings", "Show all settings with their effective values.", add_settings, run_settings),
    Command("spool", "Inspect, send or remove the records waiting on disk.", add_tools, run_tool),
    Command("level", "Change levels of loggers in running processes for a while.", add_level, run_level),
    Command("size", "Estimate units, price, CPU, memory and disk for a rate.", add_size, run_size),
    Command("schema", "Print what Azure Data Explorer needs: table, mapping ...", add_schema, run_schema),
)


def main(
    arguments: Sequence[str] | None = None, *, prog: str = "hublog", caller: Caller | None = None
) -> int:
    """Run the command line.

    Args:
        arguments: what follows the name of the program; default ``sys.argv``.
        prog: the name of the program, for its help.
        caller: who runs it; default the shell.

    Returns:
        The exit status: 0 for success, 1 for failure, 2 for wrong usage, 130 if a query is interrupted.
    """
    parser = argparse.ArgumentParser(
        prog=prog,
        description="Diagnose and operate hublog: connection, settings, spool, Azure Data Explorer.",
    )
    parser.add_argument("--version", action="version", version=f"hublog {__version__}")
    add_commands(parser)
    try:
        options = parser.parse_args(arguments)
    except SystemExit as end:  # argparse has printed the reason
        return end.code if isinstance(end.code, int) else USAGE
    return run(options, caller)


def add_commands(parser: argparse.ArgumentParser, *, required: bool = True) -> None:
    """Add all commands to a parser as sub-commands; ``run`` takes the parsed options."""
    parsers = parser.add_subparsers(dest="command", metavar="command", required=required)
    for command in commands():
        # No abbreviated options: one that is unique today may not be after the next release.
        added = parsers.add_parser(
            command.name, help=command.summary, description=command.summary, allow_abbrev=False
        )
        command.add_arguments(added)
        added.set_defaults(run_command=command.run)


def run(options: argparse.Namespace, caller: Caller | None = None) -> int:
    """Run the command of options that were parsed with ``add_commands``; returns the exit status."""
    caller = caller or Caller()
    try:
        status: int = options.run_command(options, caller)
        caller.out.flush()
    except (HublogError, ImportError) as error:
        caller.report(str(error))
        return FAILURE
    except BrokenPipeError:
        # The reader of our output is gone. Python flushes once more at its exit: into nowhere.
        with contextlib.suppress(OSError, ValueError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), caller.out.fileno())
        return OK
    except KeyboardInterrupt:
        return INTERRUPTED
    return status


def commands() -> tuple[Command, ...]:
    """Return all commands in the order of the help: hublog's own, then those of other distributions."""
    return (*_COMMANDS, *_added_commands({command.name for command in _COMMANDS}))


def _added_commands(taken: Collection[str]) -> Iterator[Command]:
    """Load the commands of other distributions; one that cannot be loaded reports why when it is run."""
    entries = {entry.name: entry for entry in reversed(tuple(entry_points(group=GROUP)))}
    for name in (*_LOCAL, *sorted(entries.keys() - _LOCAL.keys())):
        if name in entries and name not in taken:
            yield _load(entries[name])
        elif name in _LOCAL:
            yield Command(name, _LOCAL[name], _take_anything, _need_local)


def _load(entry: EntryPoint) -> Command:
    try:
        command = entry.load()
        if isinstance(command, Command):
            command.add_arguments(argparse.ArgumentParser())  # may raise, too
            return replace(command, name=entry.name)
        reason = "it is not a hublog.cli.Command"
    except (Exception, SystemExit) as error:  # noqa: BLE001  # of any package: the other commands still work
        reason = f"{type(error).__name__}: {error}"
    owner = "" if entry.dist is None else f" of the package {entry.dist.name}"
    text = f"The command {entry.name}{owner} cannot be loaded from {entry.value}: {reason}"

    def report_reason(options: argparse.Namespace, caller: Caller) -> int:
        del options
        caller.report(" ".join(text.split()))
        return FAILURE

    return Command(entry.name, "Not available: run it to see the reason.", _take_anything, report_reason)


def _need_local(options: argparse.Namespace, caller: Caller) -> NoReturn:
    del options, caller
    raise ImportError("This needs hublog-local: pip install 'hublog[local]'.")


def _take_anything(parser: argparse.ArgumentParser) -> None:
    """Accept any arguments, ``--help`` included, so that the command can report why it cannot run."""
    parser.prefix_chars = "\0"  # so nothing is an option
    parser.add_argument("ignored", nargs="*", help=argparse.SUPPRESS)
