"""The commands around the local hub: ``local``, ``tail`` and ``query``."""

import argparse
import contextlib
import sys
from pathlib import Path
from typing import Final

from hublog.cli import kinds
from hublog.cli.caller import OK, Caller
from hublog.settings import EventHubSettings

_DEFAULT_DIRECTORY: Final = Path(".hublog")
_DEFAULT_HOST: Final = "127.0.0.1"
_DEFAULT_PORT: Final = 5672
_LAST_ROWS: Final = 20


def add_local(parser: argparse.ArgumentParser) -> None:
    """Give ``hublog local`` its arguments."""
    hub = EventHubSettings().eventhub_name
    parser.add_argument(
        "--host", default=_DEFAULT_HOST, help="address to listen on (default: %(default)s, this machine only)"
    )
    parser.add_argument(
        "--port", type=kinds.port, default=_DEFAULT_PORT, help="0 takes a free one (default: %(default)s)"
    )
    parser.add_argument(
        "--hub",
        dest="hubs",
        type=kinds.hub,
        action="append",
        metavar="NAME[:PARTITIONS]",
        help=f"an event hub; may be given several times (default: {hub}:{kinds.DEFAULT_PARTITIONS})",
    )
    _add_data(parser)
    parser.add_argument("--control", type=Path, metavar="PATH", help="a socket on which tests ask for faults")
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
    parser.add_argument("--quiet", action="store_true", help="print the connection string only")


def run_local(options: argparse.Namespace, caller: Caller) -> int:
    """Run a local hub until it is interrupted."""
    from hublog.local.extra import need_extra  # noqa: PLC0415  # only this command needs the extra

    need_extra()
    from hublog.local.run import HubOptions, run_hub  # noqa: PLC0415  # heavy

    hubs = options.hubs or [(EventHubSettings().eventhub_name, kinds.DEFAULT_PARTITIONS)]
    run_hub(
        HubOptions(
            hubs=dict(hubs),
            host=options.host,
            port=options.port,
            directory=options.directory,
            control=options.control,
            ready_file=options.ready_file,
            is_quiet=options.quiet,
            tls_cert=options.tls_cert,
            tls_key=options.tls_key,
        ),
        out=caller.out,
        tell=caller.tell,
    )
    return OK


def add_tail(parser: argparse.ArgumentParser) -> None:
    """Give ``hublog tail`` its arguments."""
    _add_data(parser)
    parser.add_argument(
        "--level", type=kinds.level, default=0, help="lowest level, like WARNING or 30 (default: all)"
    )
    parser.add_argument("--logger", default="", metavar="NAME", help="this logger and those below it")
    parser.add_argument("--trace", default="", metavar="ID", help="the records of one trace id")
    parser.add_argument(
        "-n",
        "--lines",
        type=kinds.count,
        default=_LAST_ROWS,
        metavar="N",
        help="how many of the last records to begin with (default: %(default)s)",
    )
    parser.add_argument("--no-follow", action="store_true", help="print what is there, and end")
    parser.add_argument("--json", action="store_true", help="print each row as JSON")


def run_tail(options: argparse.Namespace, caller: Caller) -> int:
    """Print records as they come."""
    from hublog.local.tail import Filter, TailOptions, run_tail  # noqa: PLC0415  # only this command needs it

    wanted = Filter(level=options.level, logger=options.logger, trace=options.trace)
    # Ctrl-C is how one stops following, so it is no failure.
    with contextlib.suppress(KeyboardInterrupt):
        run_tail(
            TailOptions(
                directory=options.directory,
                wanted=wanted,
                number=options.lines,
                follows=not options.no_follow,
                as_json=options.json,
            ),
            out=caller.out,
            tell=caller.tell,
        )
    return OK


def add_query(parser: argparse.ArgumentParser) -> None:
    """Give ``hublog query`` its arguments."""
    parser.add_argument(
        "kql",
        metavar="KQL",
        help="like 'PipelineLogs | summarize count() by level'; - reads it from the input",
    )
    _add_data(parser)
    parser.add_argument("--format", choices=("table", "json", "csv"), default="table")


def run_query(options: argparse.Namespace, caller: Caller) -> int:
    """Answer a question in KQL."""
    from hublog.local.answers import FORMATS  # noqa: PLC0415  # only this command needs it
    from hublog.local.kql import run_kql  # noqa: PLC0415

    write = FORMATS[options.format]
    text = sys.stdin.read() if options.kql == "-" else options.kql
    write(run_kql(text, options.directory), caller.out)
    return OK


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
