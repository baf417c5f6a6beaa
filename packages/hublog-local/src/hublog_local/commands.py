"""The commands ``hublog local``, ``tail`` and ``query``: entry points of the group ``hublog.commands``."""

import argparse
import contextlib
import logging
import sys
from dataclasses import fields
from functools import partial
from pathlib import Path
from typing import Final, NoReturn

from hublog.cli import Caller, Command
from hublog.settings import EventHubSettings
from hublog.settings.values import HUB_NAME, LEVEL, InvalidValueError

_DEFAULT_DIRECTORY: Final = Path(".hublog")
_DEFAULT_HOST: Final = "127.0.0.1"
_DEFAULT_PORT: Final = 5672
_LAST_ROWS: Final = 20
_DEFAULT_PARTITIONS: Final = 2
#: What a namespace of the tier Standard allows.
_MAX_PARTITIONS: Final = 32
_MAX_PORT: Final = 65_535
_OK: Final = 0


def _add_local(parser: argparse.ArgumentParser) -> None:
    """Give ``hublog local`` its arguments."""
    hub = EventHubSettings().eventhub_name
    parser.add_argument(
        "--host", default=_DEFAULT_HOST, help="address to listen on (default: %(default)s, this machine only)"
    )
    parser.add_argument(
        "--port",
        type=partial(_whole, least=0, most=_MAX_PORT),
        default=_DEFAULT_PORT,
        help="0 takes a free one (default: %(default)s)",
    )
    parser.add_argument(
        "--hub",
        dest="hubs",
        type=_hub,
        action="append",
        metavar="NAME[:PARTITIONS]",
        help=f"an event hub; may be given several times (default: {hub}:{_DEFAULT_PARTITIONS})",
    )
    _add_data(parser)
    parser.add_argument("--control", type=Path, metavar="PATH", help="a socket on which tests request faults")
    parser.add_argument(
        "--ready-file",
        type=Path,
        metavar="PATH",
        help="written with the connection string once the hub is ready, removed at its end",
    )
    parser.add_argument(
        "--tls-cert", type=Path, metavar="PEM", help="certificate for TLS, with its chain; else plain TCP"
    )
    parser.add_argument(
        "--tls-key", type=Path, metavar="PEM", help="its key, if that is not in the same file"
    )
    parser.add_argument(
        "--quiet", dest="is_quiet", action="store_true", help="print the connection string only"
    )


def _run_local(options: argparse.Namespace, caller: Caller) -> int:
    """Run a local hub until it is interrupted."""
    from hublog_local.run import HubOptions, run_hub  # noqa: PLC0415  # heavy

    hubs = options.hubs or [(EventHubSettings().eventhub_name, _DEFAULT_PARTITIONS)]
    chosen = {field.name: getattr(options, field.name) for field in fields(HubOptions)}
    run_hub(HubOptions(**chosen | {"hubs": dict(hubs)}), out=caller.out, report=caller.report)
    return _OK


def _add_tail(parser: argparse.ArgumentParser) -> None:
    """Give ``hublog tail`` its arguments."""
    _add_data(parser)
    parser.add_argument(
        "--level", type=_level, default=0, help="lowest level, like WARNING or 30 (default: all)"
    )
    parser.add_argument("--logger", default="", metavar="NAME", help="this logger and those below it")
    parser.add_argument("--trace", default="", metavar="ID", help="the records of one trace id")
    parser.add_argument(
        "-n",
        "--lines",
        type=partial(_whole, least=0, most=sys.maxsize),
        default=_LAST_ROWS,
        metavar="N",
        help="number of stored records to begin with (default: %(default)s)",
    )
    parser.add_argument("--no-follow", action="store_true", help="print the stored rows and exit")
    parser.add_argument("--json", action="store_true", help="print each row as JSON")


def _run_tail(options: argparse.Namespace, caller: Caller) -> int:
    """Print records as they come."""
    from hublog_local.tail import Filter, run_tail  # noqa: PLC0415  # only this command needs it

    wanted = Filter(level=options.level, logger=options.logger, trace=options.trace)
    # Ctrl-C is the way to stop following, not a failure.
    with contextlib.suppress(KeyboardInterrupt):
        run_tail(
            options.directory,
            wanted,
            number=options.lines,
            follows=not options.no_follow,
            as_json=options.json,
            out=caller.out,
            report=caller.report,
        )
    return _OK


def _add_query(parser: argparse.ArgumentParser) -> None:
    """Give ``hublog query`` its arguments."""
    parser.add_argument(
        "kql",
        metavar="KQL",
        help="like 'PipelineLogs | summarize count() by level'; - reads it from the input",
    )
    _add_data(parser)
    parser.add_argument("--format", choices=("table", "json", "csv"), default="table")


def _run_query(options: argparse.Namespace, caller: Caller) -> int:
    """Answer a question in KQL."""
    from hublog_local.kql import run_kql  # noqa: PLC0415
    from hublog_local.printing import FORMATS  # noqa: PLC0415  # only this command needs it

    write = FORMATS[options.format]
    text = sys.stdin.read() if options.kql == "-" else options.kql
    write(run_kql(text, options.directory), caller.out)
    return _OK


def _add_data(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--data",
        "--data-dir",
        dest="directory",
        type=Path,
        default=_DEFAULT_DIRECTORY,
        metavar="DIR",
        help="where the rows are stored (default: %(default)s)",
    )


def _hub(text: str) -> tuple[str, int]:
    """Read ``NAME[:PARTITIONS]``."""
    name, colon, number = text.partition(":")
    partitions = _whole(number, least=1, most=_MAX_PARTITIONS) if colon else _DEFAULT_PARTITIONS
    try:
        HUB_NAME.parse(name)
    except InvalidValueError:
        _wrong(f"the name of the event hub is {name!r}; it must be {HUB_NAME.allowed}")
    return name, partitions


def _level(text: str) -> int:
    """Read a level, by name or number."""
    try:
        number = LEVEL.parse(text)
    except InvalidValueError:
        _wrong(f"{text!r} is not a log level; it must be {LEVEL.allowed}")
    return number if isinstance(number, int) else logging.NOTSET


def _whole(text: str, *, least: int, most: int) -> int:
    """Read a whole number."""
    if not (text.isascii() and text.isdigit() and least <= int(text) <= most):
        _wrong(f"{text!r} must be a whole number from {least} to {most}")
    return int(text)


def _wrong(message: str) -> NoReturn:
    raise argparse.ArgumentTypeError(message)


LOCAL: Final = Command("local", "Run a local Event Hub, and store what arrives.", _add_local, _run_local)
TAIL: Final = Command("tail", "Print records as they arrive at the local hub.", _add_tail, _run_tail)
QUERY: Final = Command("query", "Ask the records of the local hub a question in KQL.", _add_query, _run_query)
