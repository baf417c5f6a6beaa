"""The commands as a group of click's, for ``flask hublog``; only an adapter that has click loads this.

The group is light, since each app is given it at its start; the table is loaded when it is asked for.
"""

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any, Final, Protocol

import click

if TYPE_CHECKING:
    from hublog.cli.command import Command

NAME: Final = "hublog"
_SUMMARY: Final = "Try, look at and ask about hublog; each command has help of its own."


class App(Protocol):
    """What is asked of a Flask app."""

    @property
    def config(self) -> Mapping[str, Any]:
        """Its configuration, read when a command runs."""

    @property
    def cli(self) -> click.Group:
        """Its commands."""

    def app_context(self) -> AbstractContextManager[object]:
        """Return the context in which a command runs."""


def register_commands(app: App) -> None:
    """Give an app the group ``hublog``, unless it has a command of that name already.

    Args:
        app: of Flask.
    """
    if NAME not in app.cli.commands:
        app.cli.add_command(CommandGroup(app))


class CommandGroup(click.Group):
    """All commands of the table, by name.

    Args:
        app: for whom they run.
    """

    def __init__(self, app: App) -> None:
        super().__init__(NAME, help=_SUMMARY, no_args_is_help=False, invoke_without_command=True)
        self.callback = self._print_help
        self._app = app

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names in the order of the table."""
        del ctx
        return [command.name for command in _table()]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Return a command that hands its arguments on as they are."""
        del ctx
        found = next((command for command in _table() if command.name == cmd_name), None)
        return None if found is None else _PassedOn(self._app, found.name, found.summary)

    def _print_help(self) -> None:
        context = click.get_current_context()
        if context.invoked_subcommand is None:
            click.echo(context.get_help())


class _PassedOn(click.Command):
    """One command: its arguments, ``--help`` among them, are argparse's affair."""

    def __init__(self, app: App, name: str, summary: str) -> None:
        super().__init__(name, help=summary, add_help_option=False)
        self._app = app

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Take all of them as they are."""
        ctx.args = list(args)
        return ctx.args

    def invoke(self, ctx: click.Context) -> None:
        """Run it, and end with its exit status."""
        from hublog.cli.caller import Caller  # noqa: PLC0415  # not when the app starts
        from hublog.cli.command_line import main  # noqa: PLC0415

        config = self._app.config
        caller = Caller(lookup=config.get, framework="flask", find_names=lambda: config)
        program = ctx.parent.command_path if ctx.parent is not None else NAME
        with self._app.app_context():
            status = main([self.name or "", *ctx.args], prog=program, caller=caller)
        ctx.exit(status)


def _table() -> "Sequence[Command]":
    from hublog.cli.command_line import commands  # noqa: PLC0415  # not when the app starts

    return commands()
