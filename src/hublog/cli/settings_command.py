"""``hublog settings``: the effective value of each setting and where it comes from, secrets hidden."""

import argparse

from hublog.cli.caller import OK, Caller
from hublog.doctor.steps import printable
from hublog.errors import SettingsError
from hublog.settings import SETTINGS, Setting, Settings


def run_settings(options: argparse.Namespace, caller: Caller) -> int:
    """Print a row for each setting.

    Raises:
        SettingsError: one is invalid; the rows are printed nevertheless.
    """
    reading = caller.read(options.config)
    rows = [
        (setting.name, _shown(setting, reading.settings), reading.origin_of(setting), setting.meaning)
        for setting in SETTINGS
    ]
    widths = [max(len(row[column]) for row in rows) for column in range(3)]
    lines = ["  ".join([*(f"{row[n]:<{width}}" for n, width in enumerate(widths)), row[3]]) for row in rows]
    lines += [*(override.text for override in reading.overrides), *reading.quoted_text]
    if caller.framework:
        from hublog.configure.handlers import contradictions  # noqa: PLC0415  # for this command only

        lines += contradictions(reading)
    for line in lines:
        caller.out.write(printable(f"{line}\n", caller.out))
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
    if setting.kind.is_secret:
        return "(set, hidden)" if value else "-"
    return setting.kind.show(value) or "-"
