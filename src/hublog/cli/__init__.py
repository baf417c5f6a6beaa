"""The commands of ``hublog``: one table, for the shell, for Django's ``manage.py`` and for ``flask``."""

from hublog.cli.caller import Caller
from hublog.cli.command_line import COMMANDS, Command, add_commands, main, run

__all__ = ["COMMANDS", "Caller", "Command", "add_commands", "main", "run"]
