"""What ``hublog spool`` takes on the command line, and which tool each word means.

Light: the tools are imported when one of them is run, since the spool needs locks and limits that not every
system has.
"""

import argparse
import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TextIO

from hublog.settings import Reading, Settings, read_settings

#: Seconds that ``drain`` tries; a start script waits so long without harm.
DRAIN_TIMEOUT_S: Final = 60.0
_AGE: Final = re.compile(r"([0-9]{1,6})([smhd])")
_UNIT_S: Final = {"s": 1, "m": 60, "h": 3_600, "d": 86_400}


@dataclass(frozen=True, slots=True)
class _Tool:
    name: str
    summary: str
    add_arguments: Callable[[argparse.ArgumentParser], None]
    run: Callable[[argparse.Namespace, TextIO, Callable[[str], None]], int]


def add_tools(parser: argparse.ArgumentParser) -> None:
    """Give the parser of ``hublog spool`` its words."""
    tools = parser.add_subparsers(dest="tool", metavar="tool", required=True)
    for tool in _TOOLS:
        added = tools.add_parser(tool.name, help=tool.summary, description=tool.summary, allow_abbrev=False)
        added.add_argument(
            "--dir",
            dest="directory",
            type=Path,
            metavar="DIR",
            help="the spool (default: that of the settings in force)",
        )
        added.add_argument(
            "--config", type=Path, metavar="FILE", help="a YAML file to read settings from as well"
        )
        tool.add_arguments(added)
        added.set_defaults(run_tool=tool.run)


def run_tool(
    options: argparse.Namespace,
    *,
    out: TextIO,
    tell: Callable[[str], None],
    read: Callable[[Path | None], Reading] = lambda config: read_settings(document=config),
) -> int:
    """Run the tool of parsed options.

    Args:
        options: what ``add_tools`` had parsed.
        out: where the result goes.
        tell: writes one line to the operator.
        read: reads the settings in force, and a YAML file if one is given.

    Returns:
        The exit status.

    Raises:
        HublogError: there is no such spool, or the settings are invalid.
    """
    options.read = read
    status: int = options.run_tool(options, out, tell)
    return status


def _add_json(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="print one JSON object")


def _run_list(options: argparse.Namespace, out: TextIO, _tell: Callable[[str], None]) -> int:
    from hublog.cli.spool_report import list_spool  # noqa: PLC0415  # needs what not every system has

    return list_spool(_root(options), out, as_json=options.json)


def _run_verify(options: argparse.Namespace, out: TextIO, _tell: Callable[[str], None]) -> int:
    from hublog.cli.spool_report import verify_spool  # noqa: PLC0415  # needs what not every system has

    return verify_spool(_root(options), out, as_json=options.json)


def _add_drain(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--timeout",
        type=_seconds,
        default=DRAIN_TIMEOUT_S,
        metavar="SECONDS",
        help="how long to try (default: %(default)g)",
    )


def _run_drain(options: argparse.Namespace, out: TextIO, tell: Callable[[str], None]) -> int:
    from hublog.cli.spool_drain import drain_spool  # noqa: PLC0415  # needs what not every system has

    settings = _settings(options)
    return drain_spool(_root(options, settings), settings, timeout_s=options.timeout, out=out, tell=tell)


def _add_purge(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--yes", action="store_true", help="remove; without it, it is told what would go")
    parser.add_argument(
        "--older-than",
        type=_age,
        default=0.0,
        metavar="AGE",
        help="only what was written last before that time, like 90s, 30m, 12h or 7d",
    )
    parser.add_argument(
        "--dead", action="store_true", help="what dead processes left (the default without --rejected)"
    )
    parser.add_argument("--rejected", action="store_true", help="the records that the hub refused")


def _run_purge(options: argparse.Namespace, out: TextIO, _tell: Callable[[str], None]) -> int:
    from hublog.cli.spool_purge import PurgeOptions, purge_spool  # noqa: PLC0415  # as above

    wanted = PurgeOptions(
        dead=options.dead or not options.rejected,
        rejected=options.rejected,
        older_than_s=options.older_than,
        is_meant=options.yes,
    )
    return purge_spool(_root(options), wanted, out)


def _settings(options: argparse.Namespace) -> Settings:
    reading: Reading = options.read(options.config)
    return reading.strict()


def _root(options: argparse.Namespace, settings: Settings | None = None) -> Path:
    from hublog.cli.spool_inspection import check_root  # noqa: PLC0415  # needs what not every system has

    named: Path | None = options.directory
    return check_root(named if named is not None else (settings or _settings(options)).spool_dir)


def _age(text: str) -> float:
    match = _AGE.fullmatch(text)
    if match is None:
        raise argparse.ArgumentTypeError(f"{text!r} is no age; it must be like 90s, 30m, 12h or 7d")
    return float(match[1]) * _UNIT_S[match[2]]


def _seconds(text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not 0 <= number <= _UNIT_S["d"]:
        raise argparse.ArgumentTypeError(f"{text!r} must be a number of seconds from 0 to {_UNIT_S['d']}")
    return number


_TOOLS: Final = (
    _Tool("list", "Show what waits on disk: one row for each process life.", _add_json, _run_list),
    _Tool("verify", "Read all of it, and say what is damaged or wrong.", _add_json, _run_verify),
    _Tool("drain", "Send what dead processes left to the event hub, and end.", _add_drain, _run_drain),
    _Tool("purge", "Remove what dead processes left.", _add_purge, _run_purge),
)
