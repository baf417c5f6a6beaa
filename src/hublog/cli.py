"""The commands of ``hublog``: one table, for the shell and for Django's ``manage.py``."""

import argparse
import contextlib
import logging
import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NoReturn

from hublog._version import __version__
from hublog.adx import PARTS, Names, write_files
from hublog.errors import HublogError, SettingsError
from hublog.settings import SETTINGS, EventHubSettings, Setting, Settings, read_settings
from hublog.settings.values import HUB_NAME, LEVEL, NotAllowedError
from hublog.spool_tools import add_tools, run_tool

OK: Final = 0
FAILURE: Final = 1
USAGE: Final = 2
_INTERRUPTED: Final = 130

_DEFAULT_DIRECTORY: Final = Path(".hublog")
_DEFAULT_HOST: Final = "127.0.0.1"
_DEFAULT_PORT: Final = 5672
_DEFAULT_PARTITIONS: Final = 2
#: What a namespace of the tier Standard allows.
_MAX_PARTITIONS: Final = 32
_MAX_PORT: Final = 65_535
_LAST_ROWS: Final = 20
_SECRETS: Final = frozenset({"EVENTHUB_NAMESPACE_CONNECTION_STRING", "LOG_REDACTION_HASH_KEY"})


@dataclass(frozen=True, slots=True)
class Command:
    """One command.

    Attributes:
        name: as it is typed.
        summary: one line of help.
        add_arguments: adds what it takes to its parser.
        run: does it; what ``HublogError`` or ``ImportError`` it raises becomes one line and exit status 1.
    """

    name: str
    summary: str
    add_arguments: Callable[[argparse.ArgumentParser], None]
    run: Callable[[argparse.Namespace], int]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line.

    Args:
        arguments: what follows the name of the program; default ``sys.argv``.

    Returns:
        The exit status: 0 for success, 1 for failure, 2 for wrong usage, 130 if a query is interrupted.
    """
    parser = argparse.ArgumentParser(
        prog="hublog", description="A local Event Hub, its table, and the settings of hublog."
    )
    parser.add_argument("--version", action="version", version=f"hublog {__version__}")
    add_commands(parser)
    try:
        options = parser.parse_args(arguments)
    except SystemExit as end:  # argparse has said why
        return end.code if isinstance(end.code, int) else USAGE
    return run(options)


def add_commands(parser: argparse.ArgumentParser) -> None:
    """Give a parser all commands as sub-commands; ``run`` then takes what it has parsed."""
    commands = parser.add_subparsers(dest="command", metavar="command", required=True)
    for command in COMMANDS:
        # No names cut short: what is unique today may not be when another option joins.
        added = commands.add_parser(
            command.name, help=command.summary, description=command.summary, allow_abbrev=False
        )
        command.add_arguments(added)
        added.set_defaults(run_command=command.run)


def run(options: argparse.Namespace) -> int:
    """Run the command of parsed options; returns the exit status."""
    try:
        status: int = options.run_command(options)
        sys.stdout.flush()
    except (HublogError, ImportError) as error:
        _tell(str(error))
        return FAILURE
    except BrokenPipeError:
        # Whoever read our output has seen enough. Python flushes once more at its end: into nowhere.
        with contextlib.suppress(OSError, ValueError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return OK
    except KeyboardInterrupt:
        return _INTERRUPTED
    return status


def _tell(text: str) -> None:
    sys.stderr.write(f"hublog: {text}\n")
    sys.stderr.flush()


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


def _add_local(parser: argparse.ArgumentParser) -> None:
    hub = EventHubSettings().eventhub_name
    parser.add_argument(
        "--host", default=_DEFAULT_HOST, help="address to listen on (default: %(default)s, this machine only)"
    )
    parser.add_argument(
        "--port", type=_port, default=_DEFAULT_PORT, help="0 takes a free one (default: %(default)s)"
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
    parser.add_argument("--control", type=Path, metavar="PATH", help="a socket on which tests ask for faults")
    parser.add_argument(
        "--ready-file",
        type=Path,
        metavar="PATH",
        help="written with the connection string once the hub is ready, removed at its end",
    )
    parser.add_argument("--quiet", action="store_true", help="print the connection string only")


def _run_local(options: argparse.Namespace) -> int:
    from hublog.local.extra import need_extra  # noqa: PLC0415  # only this command needs the extra

    need_extra()
    from hublog.local.run import HubOptions, run_hub  # noqa: PLC0415  # heavy

    hubs = options.hubs or [(EventHubSettings().eventhub_name, _DEFAULT_PARTITIONS)]
    run_hub(
        HubOptions(
            hubs=dict(hubs),
            host=options.host,
            port=options.port,
            directory=options.directory,
            control=options.control,
            ready_file=options.ready_file,
            is_quiet=options.quiet,
        ),
        out=sys.stdout,
        tell=_tell,
    )
    return OK


def _add_tail(parser: argparse.ArgumentParser) -> None:
    _add_data(parser)
    parser.add_argument(
        "--level", type=_level, default=0, help="lowest level, like WARNING or 30 (default: all)"
    )
    parser.add_argument("--logger", default="", metavar="NAME", help="this logger and those below it")
    parser.add_argument("--trace", default="", metavar="ID", help="the records of one trace id")
    parser.add_argument(
        "-n",
        "--lines",
        type=_count,
        default=_LAST_ROWS,
        metavar="N",
        help="how many of the last records to begin with (default: %(default)s)",
    )
    parser.add_argument("--no-follow", action="store_true", help="print what is there, and end")
    parser.add_argument("--json", action="store_true", help="print each row as JSON")


def _run_tail(options: argparse.Namespace) -> int:
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
            out=sys.stdout,
            tell=_tell,
        )
    return OK


def _add_query(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "kql",
        metavar="KQL",
        help="like 'PipelineLogs | summarize count() by level'; - reads it from the input",
    )
    _add_data(parser)
    parser.add_argument("--format", choices=("table", "json", "csv"), default="table")


def _run_query(options: argparse.Namespace) -> int:
    from hublog.local.answers import FORMATS  # noqa: PLC0415  # only this command needs it
    from hublog.local.kql import run_kql  # noqa: PLC0415

    write = FORMATS[options.format]
    text = sys.stdin.read() if options.kql == "-" else options.kql
    write(run_kql(text, options.directory), sys.stdout)
    return OK


def _add_schema(parser: argparse.ArgumentParser) -> None:
    names = Names()
    parser.add_argument("part", choices=tuple(PARTS), help="what to print")
    parser.add_argument(
        "--table", default=names.table, metavar="NAME", help="name of the table (default: %(default)s)"
    )
    parser.add_argument(
        "--database",
        default=names.database,
        metavar="NAME",
        help="name of the database (default: %(default)s)",
    )
    parser.add_argument(
        "--output", type=Path, metavar="DIR", help="write all of it as files into this folder instead"
    )


def _run_schema(options: argparse.Namespace) -> int:
    try:
        names = Names(table=options.table, database=options.database)
    except ValueError as error:
        _tell(str(error))
        return USAGE
    if options.output is None:
        sys.stdout.write(PARTS[options.part](names))
        return OK
    if options.part != "all":
        _tell(
            f"--output writes all files, and the part is {options.part!r}; say 'all', or leave --output out."
        )
        return USAGE
    try:
        written = write_files(options.output, names)
    except OSError as error:
        _tell(f"{str(options.output)!r} cannot be written ({error.strerror}); name another folder.")
        return FAILURE
    for path in written:
        sys.stdout.write(f"{path}\n")
    return OK


def _add_settings(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--config", type=Path, metavar="FILE", help="a YAML file to read as well")


def _run_settings(options: argparse.Namespace) -> int:
    reading = read_settings(document=options.config)
    rows = [(setting.name, _shown(setting, reading.settings), setting.meaning) for setting in SETTINGS]
    name_width, value_width = (max(len(row[column]) for row in rows) for column in (0, 1))
    for name, value, meaning in rows:
        sys.stdout.write(f"{name:<{name_width}}  {value:<{value_width}}  {meaning}\n")
    sys.stdout.flush()
    if reading.problems:
        raise SettingsError(reading.problems)
    return OK


def _run_spool(options: argparse.Namespace) -> int:
    return run_tool(options, out=sys.stdout, tell=_tell)


def _shown(setting: Setting, settings: Settings) -> str:
    """Return the value in force as one line."""
    if setting.field == "spool_dir":
        return str(settings.spool_dir)
    sections = {
        "": settings,
        "file_logging": settings.file,
        "eventhub_logging": settings.eventhub,
        "service": settings.service,
        "request": settings.request,
        "redaction": settings.redaction,
    }
    value = getattr(sections[setting.section], setting.field)
    if setting.name in _SECRETS:
        return "(set, hidden)" if value else "-"
    return setting.kind.show(value) or "-"


def _hub(text: str) -> tuple[str, int]:
    name, colon, number = text.partition(":")
    partitions = _whole(number, 1, _MAX_PARTITIONS) if colon else _DEFAULT_PARTITIONS
    try:
        HUB_NAME.parse(name)
    except NotAllowedError:
        _wrong(f"the name of the event hub is {name!r}; it must be {HUB_NAME.allowed}")
    return name, partitions


def _port(text: str) -> int:
    return _whole(text, 0, _MAX_PORT)


def _count(text: str) -> int:
    return _whole(text, 0, sys.maxsize)


def _level(text: str) -> int:
    try:
        number = LEVEL.parse(text)
    except NotAllowedError:
        _wrong(f"{text!r} is no level; it must be {LEVEL.allowed}")
    return number if isinstance(number, int) else logging.NOTSET


def _whole(text: str, least: int, most: int) -> int:
    if not (text.isascii() and text.isdigit() and least <= int(text) <= most):
        _wrong(f"{text!r} must be a whole number from {least} to {most}")
    return int(text)


def _wrong(message: str) -> NoReturn:
    raise argparse.ArgumentTypeError(message)


COMMANDS: Final = (
    Command("local", "Run a local Event Hub, and store what arrives.", _add_local, _run_local),
    Command("tail", "Print records as they arrive at the local hub.", _add_tail, _run_tail),
    Command("query", "Ask the records of the local hub a question in KQL.", _add_query, _run_query),
    Command("schema", "Print what Azure Data Explorer needs: table, mapping ...", _add_schema, _run_schema),
    Command("settings", "Show all settings, with the values in force.", _add_settings, _run_settings),
    Command("spool", "Look at, send or remove records that wait on disk.", add_tools, _run_spool),
)
