"""``hublog settings``: all settings with the values in force, secrets hidden."""

import argparse
from typing import Final

from hublog.cli.caller import OK, Caller
from hublog.doctor.report import printable
from hublog.errors import SettingsError
from hublog.settings import SETTINGS, Setting, Settings

_SECRETS: Final = frozenset({"EVENTHUB_NAMESPACE_CONNECTION_STRING", "LOG_REDACTION_HASH_KEY"})


def run_settings(options: argparse.Namespace, caller: Caller) -> int:
    """Print a row for each setting.

    Raises:
        SettingsError: one is invalid; the rows are printed nevertheless.
    """
    reading = caller.read(options.config)
    rows = [(setting.name, _shown(setting, reading.settings), setting.meaning) for setting in SETTINGS]
    name_width, value_width = (max(len(row[column]) for row in rows) for column in (0, 1))
    for name, value, meaning in rows:
        line = f"{name:<{name_width}}  {value:<{value_width}}  {meaning}\n"
        caller.out.write(printable(line, caller.out))
    caller.out.flush()
    if reading.problems:
        raise SettingsError(reading.problems)
    return OK


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
