"""The commands of ``hublog``: one table, for the shell, for Django's ``manage.py`` and for ``flask``."""

from hublog.cli.command import Caller, Command
from hublog.cli.command_line import add_commands, commands, main, run

__all__ = ["Caller", "Command", "add_commands", "commands", "main", "run"]
