"""Kinds of arguments on the command line."""

import argparse
from pathlib import Path


def add_config(parser: argparse.ArgumentParser) -> None:
    """Let a command read a YAML file."""
    parser.add_argument("--config", type=Path, metavar="FILE", help="a YAML file to read as well")
