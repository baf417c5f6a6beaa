"""``hublog schema``: what Azure Data Explorer needs."""

import argparse
from pathlib import Path

from hublog.adx import PARTS, Names, write_files
from hublog.cli.caller import FAILURE, OK, USAGE, Caller


def add_schema(parser: argparse.ArgumentParser) -> None:
    """Give ``hublog schema`` its arguments."""
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


def run_schema(options: argparse.Namespace, caller: Caller) -> int:
    """Print one part, or write all of them as files."""
    try:
        names = Names(table=options.table, database=options.database)
    except ValueError as error:
        caller.tell(str(error))
        return USAGE
    if options.output is None:
        caller.out.write(PARTS[options.part](names))
        return OK
    if options.part != "all":
        caller.tell(
            f"--output writes all files, and the part is {options.part!r}; say 'all', or leave --output out."
        )
        return USAGE
    try:
        written = write_files(options.output, names)
    except OSError as error:
        caller.tell(f"{str(options.output)!r} cannot be written ({error.strerror}); name another folder.")
        return FAILURE
    for path in written:
        caller.out.write(f"{path}\n")
    return OK
