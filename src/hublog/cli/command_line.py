"""The one table of commands, and how one of them is run."""

import argparse
import contextlib
import os
from collections.abc import Sequence
from typing import Final

from hublog._version import __version__
from hublog.cli.caller import FAILURE, INTERRUPTED, OK, USAGE, Caller
from hublog.cli.command import Command, added_commands
from hublog.cli.doctor_command import add_doctor, run_doctor
from hublog.cli.kinds import add_config
from hublog.cli.settings_command import run_settings
from hublog.cli.status import add_status, run_status
from hublog.errors import HublogError


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
        prog=prog, description="A local Event Hub, its table, and what hublog does with which settings."
    )
    parser.add_argument("--version", action="version", version=f"hublog {__version__}")
    add_commands(parser)
    try:
        options = parser.parse_args(arguments)
    except SystemExit as end:  # argparse has said why
        return end.code if isinstance(end.code, int) else USAGE
    return run(options, caller)


def add_commands(parser: argparse.ArgumentParser, *, required: bool = True) -> None:
    """Give a parser all commands as sub-commands; ``run`` then takes what it has parsed.

    Args:
        parser: of any program.
        required: whether a command must be given.
    """
    parsers = parser.add_subparsers(dest="command", metavar="command", required=required)
    for command in commands():
        # No names cut short: what is unique today may not be when another option joins.
        added = parsers.add_parser(
            command.name, help=command.summary, description=command.summary, allow_abbrev=False
        )
        command.add_arguments(added)
        added.set_defaults(run_command=command.run)


def run(options: argparse.Namespace, caller: Caller | None = None) -> int:
    """Run the command of parsed options; returns the exit status.

    Args:
        options: as ``add_commands`` had them parsed.
        caller: who runs it; default the shell.
    """
    caller = caller or Caller()
    try:
        status: int = options.run_command(options, caller)
        caller.out.flush()
    except (HublogError, ImportError) as error:
        caller.tell(str(error))
        return FAILURE
    except BrokenPipeError:
        # Whoever read our output has seen enough. Python flushes once more at its end: into nowhere.
        with contextlib.suppress(OSError, ValueError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), caller.out.fileno())
        return OK
    except KeyboardInterrupt:
        return INTERRUPTED
    return status


def _add_schema(parser: argparse.ArgumentParser) -> None:
    from hublog.cli.schema_command import add_schema  # noqa: PLC0415  # the contract, for this command only

    add_schema(parser)


def _run_schema(options: argparse.Namespace, caller: Caller) -> int:
    from hublog.cli.schema_command import run_schema  # noqa: PLC0415  # as above

    return run_schema(options, caller)


def _add_spool(parser: argparse.ArgumentParser) -> None:
    from hublog.cli.spool_command import add_tools  # noqa: PLC0415  # for this command only

    add_tools(parser)


def _run_spool(options: argparse.Namespace, caller: Caller) -> int:
    from hublog.cli.spool_command import run_tool  # noqa: PLC0415  # for this command only

    return run_tool(options, out=caller.out, report=caller.tell, read=caller.read)


_COMMANDS: Final = (
    Command("doctor", "Try the way to the Event Hub step by step.", add_doctor, run_doctor),
    Command("status", "Show what is in force here, and what waits on disk.", add_status, run_status),
    Command("settings", "Show all settings, with the values in force.", add_config, run_settings),
    Command("spool", "Look at, send or remove records that wait on disk.", _add_spool, _run_spool),
    Command("schema", "Print what Azure Data Explorer needs: table, mapping ...", _add_schema, _run_schema),
)


def commands() -> tuple[Command, ...]:
    """Return all commands, in the order of the help: ours, then those that other distributions add."""
    return (*_COMMANDS, *added_commands({command.name for command in _COMMANDS}))
