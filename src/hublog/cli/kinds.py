"""Kinds of arguments on the command line; each tells what it allows."""

import argparse
import logging
import sys
from pathlib import Path
from typing import Final, NoReturn

from hublog.settings.values import HUB_NAME, LEVEL, InvalidValueError

DEFAULT_PARTITIONS: Final = 2
#: What a namespace of the tier Standard allows.
_MAX_PARTITIONS: Final = 32
_MAX_PORT: Final = 65_535


def add_config(parser: argparse.ArgumentParser) -> None:
    """Let a command read a YAML file."""
    parser.add_argument("--config", type=Path, metavar="FILE", help="a YAML file to read as well")


def hub(text: str) -> tuple[str, int]:
    """Read ``NAME[:PARTITIONS]``."""
    name, colon, number = text.partition(":")
    partitions = _whole(number, 1, _MAX_PARTITIONS) if colon else DEFAULT_PARTITIONS
    try:
        HUB_NAME.parse(name)
    except InvalidValueError:
        _wrong(f"the name of the event hub is {name!r}; it must be {HUB_NAME.allowed}")
    return name, partitions


def port(text: str) -> int:
    """Read a TCP port; 0 is any."""
    return _whole(text, 0, _MAX_PORT)


def count(text: str) -> int:
    """Read a number of things."""
    return _whole(text, 0, sys.maxsize)


def level(text: str) -> int:
    """Read a level, by name or number."""
    try:
        number = LEVEL.parse(text)
    except InvalidValueError:
        _wrong(f"{text!r} is no level; it must be {LEVEL.allowed}")
    return number if isinstance(number, int) else logging.NOTSET


def _whole(text: str, least: int, most: int) -> int:
    if not (text.isascii() and text.isdigit() and least <= int(text) <= most):
        _wrong(f"{text!r} must be a whole number from {least} to {most}")
    return int(text)


def _wrong(message: str) -> NoReturn:
    raise argparse.ArgumentTypeError(message)
