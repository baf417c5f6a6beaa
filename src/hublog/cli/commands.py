"""The commands ``doctor``, ``settings`` and ``schema``; ``status`` and ``spool`` have their own modules."""

import argparse
import shutil
import time
from collections.abc import Callable
from pathlib import Path

from hublog.cli.command import FAILURE, OK, USAGE, Caller, add_config, add_json
from hublog.doctor.steps import StepResult, has_failed, ok, printable, warn, write_json, write_lines
from hublog.errors import SettingsError
from hublog.settings import SETTINGS, EventHubSettings, Setting, Settings
from hublog.settings.reader import APPLICATION, DEFAULT

#: Where an application has its settings, by framework.
_CONFIGURATIONS = {"django": "the Django settings", "flask": "the Flask configuration"}
#: Shown for a value that is not set.
_UNSET = "-"


def add_doctor(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``hublog doctor``."""
    parser.add_argument(
        "--send", action="store_true", help="also send one record, with the event_name hublog.doctor"
    )
    add_json(parser)
    add_config(parser)


def run_doctor(options: argparse.Namespace, caller: Caller) -> int:
    """Run the doctor's steps and print their results."""
    from hublog.doctor.diagnosis import DoctorInput, diagnose  # noqa: PLC0415  # loads the client

    results = diagnose(
        DoctorInput(
            reading=caller.read(options.config),
            framework=caller.framework,
            names=caller.find_names(),
            find_results=caller.find_results,
            find_log_files=caller.find_log_files,
            find_attached=caller.find_attached,
            check_spool_content=check_spool_content,
            check_processes=check_processes,
            sends_record=options.send,
        )
    )
    if options.json:
        printed = write_json(results, caller.out)
    else:
        width = shutil.get_terminal_size().columns if caller.out.isatty() else None
        printed = write_lines(results, caller.out, width=width)
    return FAILURE if has_failed(printed) else OK


def check_spool_content(
    root: Path, hub: EventHubSettings, *, pause: Callable[[float], None] = time.sleep
) -> StepResult:
    """Check the records in a spool that can be used; the last step of the doctor on disk."""
    from hublog.cli.spool_report import settled_summary  # noqa: PLC0415  # needs fcntl

    summary = settled_summary(root, hub, pause)
    detail = f"{root} can be used; {summary.text}"
    return warn("spool", detail, " ".join(summary.problems)) if summary.problems else ok("spool", detail)


def check_processes(root: Path) -> StepResult | None:
    """Say how many processes of the application run, and how many of them deliver; for the doctor."""
    try:
        from hublog.cli.process_status import process_step  # noqa: PLC0415  # needs fcntl
    except ImportError:
        return None
    return process_step(root)


def add_settings(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``hublog settings``."""
    parser.add_argument("--changed", action="store_true", help="only those that some source sets")
    add_json(parser)
    add_config(parser)


def run_settings(options: argparse.Namespace, caller: Caller) -> int:
    """Print the effective value of each setting and where it comes from; secrets are hidden.

    Raises:
        SettingsError: one is invalid; all are printed first.
    """
    reading = caller.read(options.config)
    origins = {APPLICATION: _CONFIGURATIONS.get(caller.framework, APPLICATION)}
    rows = [
        (setting.name, _value_text(setting, reading.settings), origins.get(origin, origin), setting.meaning)
        for setting in SETTINGS
        for origin in (reading.origin_of(setting),)
        if not options.changed or origin != DEFAULT or setting.path in reading.invalid
    ]
    notes = [*(override.text for override in reading.overrides), *reading.quoted_text]
    if caller.framework:
        from hublog.configure.handlers import contradictions  # noqa: PLC0415  # for this command only

        notes += contradictions(reading)
    if options.json:
        keys = ("name", "value", "origin", "meaning")
        cells = ([None if cell == _UNSET else cell for cell in row] for row in rows)
        found = [dict(zip(keys, row, strict=True)) for row in cells]
        problems = list(reading.problems)
        caller.write_json({"ok": not problems, "problems": problems, "notes": notes, "settings": found})
    else:
        widths = [max((len(row[column]) for row in rows), default=0) for column in range(3)]
        lines = [[f"{row[n]:<{width}}" for n, width in enumerate(widths)] + [row[3]] for row in rows]
        for line in [*map("  ".join, lines), *notes]:
            caller.out.write(printable(f"{line}\n", caller.out))
    caller.out.flush()
    if reading.problems:
        raise SettingsError(reading.problems)
    return OK


def _value_text(setting: Setting, settings: Settings) -> str:
    """Return the effective value as one line."""
    if setting.field == "spool_dir":
        return str(settings.spool_dir)
    value = setting.value_in(settings)
    if setting.kind.is_secret:
        return "(set, hidden)" if value else _UNSET
    return setting.kind.show(value) or _UNSET


def add_schema(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``hublog schema``."""
    from hublog.adx import PARTS, KqlNames  # noqa: PLC0415  # the whole schema, for this command only

    names = KqlNames()
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
        "--output", type=Path, metavar="DIR", help="write all parts as files into this folder instead"
    )


def run_schema(options: argparse.Namespace, caller: Caller) -> int:
    """Print one part of what Azure Data Explorer needs, or write all of them as files."""
    from hublog.adx import PARTS, KqlNames, write_files  # noqa: PLC0415  # as above

    try:
        names = KqlNames(table=options.table, database=options.database)
    except ValueError as error:
        caller.report(str(error))
        return USAGE
    if options.output is None:
        caller.out.write(PARTS[options.part](names))
        return OK
    if options.part != "all":
        caller.report(f"--output writes all parts, not only {options.part!r}; use 'all' or omit --output.")
        return USAGE
    try:
        written = write_files(options.output, names)
    except OSError as error:
        caller.report(f"{str(options.output)!r} cannot be written ({error.strerror}); use another folder.")
        return FAILURE
    for path in written:
        caller.out.write(f"{path}\n")
    return OK
