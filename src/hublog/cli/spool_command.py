"""``hublog spool``: its arguments, and its four tools.

The tools are imported when one of them is run, since the spool needs ``fcntl``, which not every system has.
"""

import argparse
from pathlib import Path
from typing import Final

from hublog.cli.command import Caller, Command, add_config, add_json, duration, number

#: Time limit of ``drain`` in seconds: acceptable in a start script.
DRAIN_TIMEOUT_S: Final = 60.0


def add_tools(parser: argparse.ArgumentParser) -> None:
    """Add the tools of ``hublog spool`` to its parser."""
    tools = parser.add_subparsers(dest="tool", metavar="tool", required=True)
    for tool in _TOOLS:
        added = tools.add_parser(tool.name, help=tool.summary, description=tool.summary, allow_abbrev=False)
        added.add_argument(
            "--dir",
            dest="directory",
            type=Path,
            metavar="DIR",
            help="the spool directory (default: that of the effective settings)",
        )
        add_config(added)
        tool.add_arguments(added)
        added.set_defaults(run_tool=tool.run)


def run_tool(options: argparse.Namespace, caller: Caller) -> int:
    """Run the tool of parsed options; returns the exit status.

    Raises:
        HublogError: there is no such spool, or the settings are invalid.
    """
    status: int = options.run_tool(options, caller)
    return status


def _run_list(options: argparse.Namespace, caller: Caller) -> int:
    from hublog.cli.spool_report import list_spool  # noqa: PLC0415  # needs fcntl

    return list_spool(_root(options, caller), caller, as_json=options.json)


def _run_verify(options: argparse.Namespace, caller: Caller) -> int:
    from hublog.cli.spool_report import verify_spool  # noqa: PLC0415  # needs fcntl

    return verify_spool(_root(options, caller), caller, as_json=options.json)


def _add_drain(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--timeout",
        type=number(0, 86_400),
        default=DRAIN_TIMEOUT_S,
        metavar="SECONDS",
        help="time limit (default: %(default)g)",
    )


def _run_drain(options: argparse.Namespace, caller: Caller) -> int:
    from hublog.cli.spool_drain import drain_spool  # noqa: PLC0415  # needs fcntl

    return drain_spool(
        _root(options, caller),
        caller.read(options.config).strict(),
        timeout_s=options.timeout,
        out=caller.out,
        report=caller.report,
    )


def _add_purge(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--yes", action="store_true", help="remove them; without it, only show what would be removed"
    )
    parser.add_argument(
        "--older-than",
        type=duration,
        default=0.0,
        metavar="DURATION",
        help="only what was last written longer ago than this, like 90s, 30m, 12h or 7d",
    )
    parser.add_argument(
        "--dead", action="store_true", help="orphaned records (the default without --rejected)"
    )
    parser.add_argument("--rejected", action="store_true", help="records that the event hub rejected")


def _run_purge(options: argparse.Namespace, caller: Caller) -> int:
    from hublog.cli.spool_purge import purge_spool  # noqa: PLC0415  # as above

    return purge_spool(
        _root(options, caller),
        caller.out,
        dead=options.dead or not options.rejected,
        rejected=options.rejected,
        older_than_s=options.older_than,
        is_confirmed=options.yes,
    )


def _root(options: argparse.Namespace, caller: Caller) -> Path:
    from hublog.cli.spool_inspection import check_root  # noqa: PLC0415  # needs fcntl

    return check_root(options.directory or caller.read(options.config).strict().spool_dir)


_TOOLS: Final = (
    Command("list", "List the records waiting on disk, one row for each process.", add_json, _run_list),
    Command("verify", "Read the whole spool; report damage and wrong permissions.", add_json, _run_verify),
    Command("drain", "Send orphaned records to the event hub.", _add_drain, _run_drain),
    Command("purge", "Remove orphaned records.", _add_purge, _run_purge),
)
