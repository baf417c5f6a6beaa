"""``hublog status``: what is true on this machine now; no network is asked."""

import argparse
import json
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Final, Self

from hublog.capture.removal import findings
from hublog.cli.caller import FAILURE, OK, Caller
from hublog.cli.kinds import add_config
from hublog.cli.text import (
    count_of,
    destination_json,
    destination_text,
    shown,
    table,
    time_text,
)
from hublog.configure.handlers import CONSOLE, EVENT_HUB, FILE, AttachedHandler
from hublog.doctor.destinations import destinations_text, target_of, target_text
from hublog.doctor.offline_checks import whole
from hublog.errors import HublogError
from hublog.settings import Settings, SpoolMode

if TYPE_CHECKING:
    from hublog.cli.backlog import Waiting

_NAME_WIDTH: Final = 14
_LIVES_MAX: Final = 20
_MINUTE_S: Final = 60
_HOUR_S: Final = 3_600
_DAY_S: Final = 86_400
_HEADER: Final = ("owner", "pid", "since", "age", "destination", "records", "bytes", "damage")
_TEXT_COLUMNS: Final = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class LogFile:
    """A log file on disk.

    Attributes:
        path: of the file.
        size: in bytes; None if it is missing.
        changed_at: when it was written last.
        archives: how many older parts lie beside it.
        archives_size: bytes of them.
    """

    path: Path
    size: int | None = None
    changed_at: datetime | None = None
    archives: int = 0
    archives_size: int = 0

    @classmethod
    def at(cls, path: Path) -> Self:
        """Look at a log file; one that cannot be looked at is as good as missing."""
        try:
            found = path.stat()
            sizes = [
                each.stat().st_size for each in path.parent.iterdir() if _is_archive(each.name, path.name)
            ]
        except OSError:
            return cls(path=path)
        return cls(
            path=path,
            size=found.st_size,
            changed_at=datetime.fromtimestamp(found.st_mtime, UTC),
            archives=len(sizes),
            archives_size=sum(sizes),
        )

    @property
    def text(self) -> str:
        """All of it in a line."""
        if self.size is None or self.changed_at is None:
            return f"{shown(self.path)} is not there yet"
        text = f"{shown(self.path)}, {count_of(self.size, 'byte')}, written {_age(self.changed_at)} ago"
        if not self.archives:
            return text
        return f"{text}, {count_of(self.archives, 'archive')} of {count_of(self.archives_size, 'byte')}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Status:
    """What is true now.

    Attributes:
        settings: in force.
        framework: ``django``, ``flask`` or empty.
        attached: the handlers of the application's process; None where no application is loaded.
        spool_dir: where records wait.
        is_spooled: whether records go to disk at all in this mode.
        waiting: what lies there; None if there is no such directory, or it cannot be read.
        log_files: all that are written.
        overrides: settings that have no effect, a sentence each.
        problems: what somebody has to do, a sentence each.
    """

    settings: Settings
    framework: str
    attached: Sequence[AttachedHandler] | None
    spool_dir: Path
    is_spooled: bool
    waiting: "Waiting | None"
    log_files: tuple[LogFile, ...]
    overrides: tuple[str, ...]
    problems: tuple[str, ...]


def as_text(status: Status) -> str:
    """Return the lines."""
    hub = status.settings.eventhub
    lines = [_line("destinations", destinations_text(status.settings, status.attached))]
    if hub.enabled and hub.is_configured:
        lines.append(_line("event hub", target_text(target_of(hub))))
    elif hub.enabled:
        lines.append(_line("event hub", "no connection is configured"))
    lines += _spool_lines(status)
    lines += [_line("log file", file.text) for file in status.log_files]
    lines += [_line("override", override) for override in status.overrides]
    lines += [_line("problem", problem) for problem in status.problems]
    if not status.problems:
        lines.append("Nothing is wrong here.\n")
    return "".join(lines)


def as_json(status: Status) -> dict[str, object]:
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
        "spool": _spool_json(status),
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


def _is_on(status: Status, kind: str, *, is_set: bool) -> bool:
    """Whether records go to a destination: as attached, or as set where no application is loaded."""
    return is_set if status.attached is None else any(each.kind == kind for each in status.attached)


def _spool_lines(status: Status) -> list[str]:
    waiting = status.waiting
    name = shown(status.spool_dir)
    if waiting is None:
        return [_line("spool", f"{name}, nothing waits")] if status.is_spooled else []
    lines = [_line("spool", f"{name}, {waiting.text}")]
    if waiting.rejected:
        size = count_of(waiting.rejected_size, "byte")
        lines.append(_line("rejected", f"{count_of(waiting.rejected, 'record')} ({size})"))
    rows = [
        (
            str(life.owner),
            str(life.pid or "-"),
            time_text(life.since),
            _age(life.since),
            destination_text(life.destination),
            life.records,
            life.size,
            life.damaged,
        )
        for life in waiting.lives[:_LIVES_MAX]
    ]
    if rows:
        found = table(_HEADER, rows, left=_TEXT_COLUMNS)
        lines += [_line("", line) for line in found.splitlines()]
    if len(waiting.lives) > _LIVES_MAX:
        lines.append(_line("", f"and {len(waiting.lives) - _LIVES_MAX:,} more; see hublog spool list"))
    return lines


def _spool_json(status: Status) -> dict[str, object]:
    waiting = status.waiting
    lives = waiting.lives if waiting else ()
    return {
        "directory": str(status.spool_dir),
        "records": waiting.records if waiting else 0,
        "bytes": waiting.size if waiting else 0,
        "oldest": time_text(waiting.oldest) if waiting and waiting.oldest else None,
        "stranded": waiting.stranded if waiting else 0,
        "for_others": [
            {**(destination_json(other) or {}), "records": records}
            for other, records in (waiting.for_others if waiting else {}).items()
        ],
        "rejected": waiting.rejected if waiting else 0,
        "owners": [
            {
                "name": life.name,
                "owner": str(life.owner),
                "pid": life.pid,
                "since": time_text(life.since) if life.since else None,
                "destination": destination_json(life.destination),
                "records": life.records,
                "bytes": life.size,
                "damage": life.damaged,
            }
            for life in lives
        ],
    }


def _is_archive(name: str, of: str) -> bool:
    return name.startswith(f"{of}.") and name.removeprefix(f"{of}.").partition(".")[0].isdecimal()


def _line(name: str, text: str) -> str:
    return f"{name:<{_NAME_WIDTH}}{text}".rstrip() + "\n"


def _age(moment: datetime | None) -> str:
    """Return how long ago a moment was, in its largest unit."""
    if moment is None:
        return "-"
    seconds = max((datetime.now(UTC) - moment).total_seconds(), 0.0)
    for unit_s, unit in ((_DAY_S, "d"), (_HOUR_S, "h"), (_MINUTE_S, "min")):
        if seconds >= unit_s:
            return f"{seconds / unit_s:.0f} {unit}"
    return f"{seconds:.0f} s"


#: Whoever lives looks every second and a half for what dead processes left, and takes it over.
LOOK_AGAIN_S: Final = 2.0


def add_status(parser: argparse.ArgumentParser) -> None:
    """Give ``hublog status`` its arguments."""
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    add_config(parser)


def run_status(
    options: argparse.Namespace, caller: Caller, *, pause: Callable[[float], None] = time.sleep
) -> int:
    """Print what is true now; exit status 1 if somebody has to do something."""
    from hublog.doctor.steps import printable  # noqa: PLC0415

    status = _look(options, caller, pause)
    if options.json:
        json.dump(as_json(status), caller.out, indent=2)
        caller.out.write("\n")
    else:
        caller.out.write(printable(as_text(status), caller.out))
    return FAILURE if status.problems else OK


def _look(options: argparse.Namespace, caller: Caller, pause: Callable[[float], None]) -> "Status":
    from hublog.cli.backlog import waiting_in  # noqa: PLC0415  # needs locks that not every system has
    from hublog.configure.handlers import contradictions  # noqa: PLC0415  # for this command only
    from hublog.runtime.pipeline import NOT_CONFIGURED  # noqa: PLC0415  # for this command only

    reading = caller.read(options.config)
    settings = reading.settings
    hub = settings.eventhub
    root, waiting, trouble = whole(settings.spool_dir), None, ""
    if os.path.lexists(root):
        try:
            waiting = waiting_in(root, hub)
            if waiting.stranded:
                # Left a moment ago, perhaps, and about to be taken over.
                pause(LOOK_AGAIN_S)
                waiting = waiting_in(root, hub)
        except HublogError as error:
            trouble = str(error)
    attached = caller.find_attached()
    told = [*reading.problems, *([trouble] if trouble else ()), *(waiting.problems if waiting else ())]
    told += findings() if attached is not None else []
    if hub.enabled and not hub.is_configured:
        told.append(NOT_CONFIGURED)
    return Status(
        settings=settings,
        framework=caller.framework,
        attached=attached,
        spool_dir=root,
        is_spooled=hub.enabled and hub.spool is not SpoolMode.MEMORY,
        waiting=waiting,
        log_files=tuple(LogFile.at(path) for path in caller.find_log_files(settings)),
        overrides=(
            *(override.text for override in reading.overrides),
            *reading.quoted_text,
            *(contradictions(reading) if attached is not None else ()),
        ),
        problems=tuple(told),
    )
