"""The commands as a click group, for ``flask hublog``; only the Flask adapter loads this."""

from collections.abc import Mapping
from contextlib import AbstractContextManager
from typing import Any, Final, Protocol

import click

from hublog.cli.command import Caller
from hublog.cli.command_line import commands, main

NAME: Final = "hublog"
_SUMMARY: Final = "Diagnose and operate hublog; each command has its own help."


class App(Protocol):
    """The part of a Flask app that is used."""

    @property
    def config(self) -> Mapping[str, Any]:
        """Its configuration, read when a command runs."""

    @property
    def cli(self) -> click.Group:
        """Its commands."""

    def app_context(self) -> AbstractContextManager[object]:
        """Return the context in which a command runs."""


def register_commands(app: App) -> None:
    """Give a Flask app the group ``hublog``, unless it has a command of that name already."""
    if NAME not in app.cli.commands:
        app.cli.add_command(CommandGroup(app))


class CommandGroup(click.Group):
    """All commands of the table, by name; they run in the context of the app."""

    def __init__(self, app: App) -> None:
        super().__init__(NAME, help=_SUMMARY, no_args_is_help=False, invoke_without_command=True)
        self.callback = self._print_help
        self._app = app

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names in the order of the table."""
        del ctx
        return [command.name for command in commands()]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Return a command that passes its arguments on as they are."""
        del ctx
        names = {command.name: command for command in commands()}
        command = names.get(cmd_name)
        return None if command is None else _PassedOn(self._app, command.name, command.summary)

    def _print_help(self) -> None:
        context = click.get_current_context()
        if context.invoked_subcommand is None:
            click.echo(context.get_help())


class _PassedOn(click.Command):
    """One command; argparse parses its arguments, ``--help`` included."""

    def __init__(self, app: App, name: str, summary: str) -> None:
        super().__init__(name, help=summary, add_help_option=False)
        self._app = app

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Keep all of them as they are."""
        ctx.args = list(args)
        return ctx.args

    def invoke(self, ctx: click.Context) -> None:
        """Run it, and end with its exit status."""
        config = self._app.config
        caller = Caller(lookup=config.get, framework="flask", find_names=lambda: config)
        program = ctx.parent.command_path if ctx.parent is not None else NAME
        with self._app.app_context():
            status = main([self.name or "", *ctx.args], prog=program, caller=caller)
        ctx.exit(status)
