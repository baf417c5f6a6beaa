"""``hublog status``: the effective configuration and the state of this machine; it uses no network."""

import argparse
import itertools
import os
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Final, Self

from hublog.cli.command import FAILURE, OK, Caller, add_config, add_json, age_text, count_of, shown, time_text
from hublog.configure.handlers import CONSOLE, EVENT_HUB, FILE, AttachedHandler
from hublog.doctor.destinations import destinations_text, target_of, target_text
from hublog.doctor.offline_checks import absolute, check_disk
from hublog.doctor.steps import StepStatus, TimeBudget, ok, printable
from hublog.errors import HublogError
from hublog.runtime.handler_watch import findings
from hublog.settings import Settings, SpoolMode

if TYPE_CHECKING:
    from hublog.cli.spool_report import SpoolSummary
    from hublog.operations.overview import Overview

_NAME_WIDTH: Final = 14


@dataclass(frozen=True, slots=True, kw_only=True)
class LogFile:
    """A log file on disk.

    Attributes:
        size: in bytes; None if it is missing.
        archives: number of rotated files next to it.
    """

    path: Path
    size: int | None = None
    changed_at: datetime | None = None
    archives: int = 0
    archives_size: int = 0

    @classmethod
    def at(cls, path: Path) -> Self:
        """Return the state of a log file; one that cannot be read counts as missing."""
        try:
            state = path.stat()
            sizes = [
                each.stat().st_size for each in path.parent.iterdir() if _is_archive(each.name, path.name)
            ]
        except OSError:
            return cls(path=path)
        return cls(
            path=path,
            size=state.st_size,
            changed_at=datetime.fromtimestamp(state.st_mtime, UTC),
            archives=len(sizes),
            archives_size=sum(sizes),
        )

    @property
    def text(self) -> str:
        """All of it in a line."""
        if self.size is None or self.changed_at is None:
            return f"{shown(self.path)} does not exist yet"
        text = f"{shown(self.path)}, {count_of(self.size, 'byte')}, written {age_text(self.changed_at)} ago"
        if not self.archives:
            return text
        return f"{text}, {count_of(self.archives, 'archive')} of {count_of(self.archives_size, 'byte')}"


@dataclass(frozen=True, slots=True, kw_only=True)
class StatusReport:
    """The state of this machine.

    Attributes:
        framework: ``django``, ``flask`` or empty.
        attached: the handlers of the application's process; None where no application is loaded.
        shows_spool: whether records go to disk in this mode, or are there.
        overrides: settings that have no effect, a sentence each.
        problems: what the operator has to act on, a sentence each.
        overview: what the processes have published; None where this system has no such files.
    """

    settings: Settings
    framework: str
    attached: Sequence[AttachedHandler] | None
    spool_dir: Path
    spool: "SpoolSummary"
    shows_spool: bool
    log_files: tuple[LogFile, ...]
    overrides: tuple[str, ...]
    problems: tuple[str, ...]
    overview: "Overview | None" = None


def report_text(status: StatusReport) -> str:
    """Return the lines."""
    hub = status.settings.eventhub
    lines = [_line("destinations", destinations_text(status.settings, status.attached))]
    if hub.enabled and hub.is_configured:
        lines.append(_line("event hub", target_text(target_of(hub))))
    elif hub.enabled:
        lines.append(_line("event hub", "no connection is configured"))
    if status.overview is not None:
        from hublog.cli.process_status import process_lines  # noqa: PLC0415  # needs fcntl

        names = itertools.chain(("processes",), itertools.repeat(""))
        lines += map(_line, names, process_lines(status.overview))
    lines += _spool_lines(status)
    lines += [_line("log file", file.text) for file in status.log_files]
    lines += [_line("override", override) for override in status.overrides]
    lines += [_line("problem", problem) for problem in status.problems]
    if not status.problems:
        lines.append("No problems found.\n")
    return "".join(lines)


def report_json(status: StatusReport) -> dict[str, object]:
    """Return plain data."""
    hub = status.settings.eventhub
    target = target_of(hub) if hub.is_configured else None
    return {
        "ok": not status.problems,
        "problems": list(status.problems),
        "overrides": list(status.overrides),
        "framework": status.framework or None,
        "console": _is_on(status, CONSOLE, is_set=status.settings.log_to_stdout),
        "file": _is_on(status, FILE, is_set=status.settings.file.enabled),
        "event_hub": {
            "enabled": hub.enabled and _is_on(status, EVENT_HUB, is_set=True),
            "host": target.host if target else None,
            "name": hub.eventhub_name,
            "packing": str(hub.packing),
            "spool": str(hub.spool),
        },
        "processes": _processes_json(status.overview),
        "spool": {"directory": str(status.spool_dir), **status.spool.as_json()},
        "log_files": [
            {
                "path": str(file.path),
                "bytes": file.size,
                "changed_at": None if file.changed_at is None else time_text(file.changed_at),
                "archives": file.archives,
                "archives_bytes": file.archives_size,
            }
            for file in status.log_files
        ],
    }


def _processes_json(overview: "Overview | None") -> object:
    if overview is None:
        return None
    from hublog.cli.process_status import processes_json  # noqa: PLC0415  # as above

    return processes_json(overview)


def _is_on(status: StatusReport, kind: str, *, is_set: bool) -> bool:
    """Whether records go to a destination: as attached, or as set where no application is loaded."""
    return is_set if status.attached is None else any(each.kind == kind for each in status.attached)


def _spool_lines(status: StatusReport) -> Iterator[str]:
    if not status.shows_spool:
        return
    yield _line("spool", f"{shown(status.spool_dir)}, {status.spool.text}")
    rejected = status.spool.rejected
    if rejected.records:
        size = count_of(rejected.size, "byte")
        yield _line("rejected", f"{count_of(rejected.records, 'record')} ({size})")
    for line in status.spool.lines():
        yield _line("", line)


def _is_archive(name: str, of: str) -> bool:
    return name.startswith(f"{of}.") and name.removeprefix(f"{of}.").partition(".")[0].isdecimal()


def _line(name: str, text: str) -> str:
    return f"{name:<{_NAME_WIDTH}}{text}".rstrip() + "\n"


_WATCH_S: Final = 2.0
#: Clears a terminal.
_CLEAR: Final = "\x1b[H\x1b[2J\x1b[3J"


def add_status(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``hublog status``."""
    parser.add_argument("--watch", action="store_true", help="show it anew every two seconds, until Ctrl-C")
    add_json(parser)
    add_config(parser)


def run_status(
    options: argparse.Namespace, caller: Caller, *, pause: Callable[[float], None] = time.sleep
) -> int:
    """Print the state of this machine; the exit status is 1 if there is a problem."""
    while True:
        status = _collect(options, caller, pause)
        if options.json:
            caller.write_json(report_json(status))
        else:
            text = printable(report_text(status), caller.out)
            caller.out.write(f"{_CLEAR}{text}" if options.watch and caller.out.isatty() else text)
        if not options.watch:
            return FAILURE if status.problems else OK
        caller.out.flush()
        pause(_WATCH_S)


def _collect(options: argparse.Namespace, caller: Caller, pause: Callable[[float], None]) -> "StatusReport":
    from hublog.cli.spool_report import (  # noqa: PLC0415  # needs fcntl
        SpoolSummary,
        settled_summary,
        summarize_spool,
    )
    from hublog.configure.handlers import contradictions  # noqa: PLC0415  # for this command only
    from hublog.runtime.pipeline import NOT_CONFIGURED  # noqa: PLC0415  # as above

    reading = caller.read(options.config)
    settings = reading.settings
    hub = settings.eventhub
    root, spool, trouble = absolute(settings.spool_dir), None, ""
    if os.path.lexists(root):
        try:
            spool = summarize_spool(root, hub) if options.watch else settled_summary(root, hub, pause)
        except HublogError as error:
            trouble = str(error)
    overview = _read_overview(root)
    attached = caller.find_attached()
    log_files = caller.find_log_files(settings)
    failed = _disk_problems(settings, log_files)
    if any(str(root) in each for each in failed):
        trouble = ""  # it is the same
    problems = [*reading.problems, *failed, *([trouble] if trouble else ())]
    problems += spool.problems if spool else ()
    if overview is not None:
        from hublog.cli.process_status import process_problems  # noqa: PLC0415  # as above

        problems += process_problems(overview)
    problems += findings() if attached is not None else []
    if hub.enabled and not hub.is_configured:
        problems.append(NOT_CONFIGURED)
    return StatusReport(
        settings=settings,
        framework=caller.framework,
        attached=attached,
        spool_dir=root,
        spool=spool or SpoolSummary(),
        shows_spool=spool is not None or (hub.enabled and hub.spool is not SpoolMode.MEMORY),
        log_files=tuple(LogFile.at(path) for path in log_files),
        overrides=(
            *(override.text for override in reading.overrides),
            *reading.quoted_text,
            *(contradictions(reading) if attached is not None else ()),
        ),
        problems=tuple(problems),
        overview=overview,
    )


def _disk_problems(settings: Settings, log_files: Sequence[Path]) -> list[str]:
    """Return what is wrong with spool and log files, as the doctor finds it."""
    checked = check_disk(settings, log_files, lambda root, _: ok("spool", str(root)), TimeBudget())
    failed = [each for each in checked if each.status is StepStatus.FAIL]
    return [f"{each.detail.rstrip('.')}. {each.hint}" for each in failed]


def _read_overview(root: Path) -> "Overview | None":
    try:
        from hublog.operations.overview import read_overview  # noqa: PLC0415  # needs fcntl
    except ImportError:
        return None
    return read_overview(root)
