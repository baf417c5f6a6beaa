"""What a command is, and the commands that other distributions add by an entry point."""

import argparse
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, replace
from importlib.metadata import EntryPoint, entry_points
from typing import Final, NoReturn

from hublog.cli.caller import FAILURE, Caller

#: The group of entry points; each one is the name of a command and where its ``Command`` is.
GROUP: Final = "hublog.commands"
#: The commands of the distribution ``hublog-local``, in the order of the help.
_LOCAL: Final = {
    "local": "Run a local Event Hub, and store what arrives.",
    "tail": "Print records as they arrive at the local hub.",
    "query": "Ask the records of the local hub a question in KQL.",
}


@dataclass(frozen=True, slots=True)
class Command:
    """One command.

    Attributes:
        name: as it is typed.
        summary: one line of help.
        add_arguments: adds what it takes to its parser.
        run: does it and returns the exit status; what ``HublogError`` or ``ImportError`` it raises becomes
            one line and exit status 1.
    """

    name: str
    summary: str
    add_arguments: Callable[[argparse.ArgumentParser], None]
    run: Callable[[argparse.Namespace, Caller], int]


def added_commands(taken: Collection[str]) -> Iterator[Command]:
    """Load the commands that other distributions add; one that cannot be loaded says so once it is run.

    Args:
        taken: names of commands that no distribution can replace.
    """
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
            command.add_arguments(argparse.ArgumentParser())  # on trial
            return replace(command, name=entry.name)
        reason = f"it is no {Command.__module__}.{Command.__name__}"
    except (Exception, SystemExit) as error:  # noqa: BLE001  # of any package: the other commands still work
        reason = f"{type(error).__name__}: {error}"
    owner = "" if entry.dist is None else f" of the package {entry.dist.name}"
    text = f"The command {entry.name}{owner} cannot be loaded from {entry.value}: {reason}"

    def say_why(options: argparse.Namespace, caller: Caller) -> int:
        del options
        caller.tell(" ".join(text.split()))
        return FAILURE

    return Command(entry.name, "Not available: run it to see the reason.", _take_anything, say_why)


def _need_local(options: argparse.Namespace, caller: Caller) -> NoReturn:
    del options, caller
    raise ImportError("This needs hublog-local: pip install 'hublog[local]'.")


def _take_anything(parser: argparse.ArgumentParser) -> None:
    """Let a command that cannot run say so, whatever its arguments are, ``--help`` among them."""
    parser.prefix_chars = "\0"  # so nothing is an option
    parser.add_argument("ignored", nargs="*", help=argparse.SUPPRESS)
