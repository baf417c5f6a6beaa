"""What a spool contains: for ``spool list`` and ``verify``, and summed up for ``doctor`` and ``status``."""

import contextlib
import itertools
import os
import stat
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import Final

from hublog.cli.command import (
    FAILURE,
    OK,
    Caller,
    age_text,
    count_of,
    destination_text,
    shown,
    table,
    time_text,
)
from hublog.cli.spool_inspection import (
    DirectoryState,
    IgnoredEntry,
    Owner,
    RejectedRecords,
    SegmentState,
    SpoolState,
    bad_lines,
    check_root,
    inspect_rejected,
    inspect_spool,
)
from hublog.settings import EventHubSettings
from hublog.spool.dead_letters import DIRECTORY as REJECTED_NAME
from hublog.spool.envelope import Destination, envelope_of
from hublog.spool.locking import DIRECTORY_MODE, FILE_MODE, LOCK_NAME

_CURSOR_BYTES: Final = 16
_OTHERS: Final = stat.S_IRWXG | stat.S_IRWXO
_OTHERS_WRITE: Final = stat.S_IWGRP | stat.S_IWOTH
#: Bad lines of one file that are reported; all of its lines may be bad.
_BAD_LINES_MAX: Final = 10
#: Ignored entries, or directories in ``status``, that are printed; JSON holds all of them.
_ROWS_MAX: Final = 20
#: A running process recovers orphaned records every second and a half, one at rest every six seconds.
RECHECK_S: Final = 7.0


def list_spool(root: Path, caller: Caller, *, as_json: bool) -> int:
    """Write the contents of a spool, never a record; returns the exit status."""
    spool, rejected = inspect_spool(root), inspect_rejected(root)
    if as_json:
        caller.write_json(_list_json(spool, rejected))
    else:
        caller.out.write(_list_text(spool, rejected))
    return OK


def _list_text(spool: SpoolState, rejected: RejectedRecords) -> str:
    header = ("directory", "since", "owner", "destination", "segments", "records", "bytes", "damage")
    rows = [
        (
            directory.path.name,
            time_text(directory.since),
            str(directory.owner),
            destination_text(directory.destination),
            len(directory.content.segments),
            directory.waiting,
            directory.size,
            directory.damaged,
        )
        for directory in spool.directories
    ]
    text = table(header, [*rows, ("sum", "", "", "", *_sums(spool.directories).values())], left=4)
    if spool.has_rejected:
        files = count_of(len(rejected.files), "file")
        records, size = count_of(rejected.records, "record"), count_of(rejected.size, "byte")
        text += f"rejected by the event hub: {records} in {files}, {size}\n"
    if spool.unfinished:
        text += f"unfinished: {count_of(len(spool.unfinished), 'directory', 'directories')}\n"
    ignored = _ignored(spool, rejected)
    text += "".join(f"ignored: {shown(name)} ({reason})\n" for name, reason in ignored[:_ROWS_MAX])
    if len(ignored) > _ROWS_MAX:
        text += f"ignored: {len(ignored) - _ROWS_MAX} more\n"
    return text


def _list_json(spool: SpoolState, rejected: RejectedRecords) -> dict[str, object]:
    return {
        "directory": str(spool.path),
        "owners": [
            {
                **_directory_json(directory),
                "packing": directory.envelope.packing if directory.envelope else None,
                "routing": dict(directory.envelope.routing) if directory.envelope else {},
                "segments": len(directory.content.segments),
            }
            for directory in spool.directories
        ],
        "sum": _sums(spool.directories),
        "rejected": {"files": len(rejected.files), "records": rejected.records, "bytes": rejected.size},
        "unfinished": list(spool.unfinished),
        "ignored": [{"path": path, "reason": reason} for path, reason in _ignored(spool, rejected)],
    }


def _sums(directories: tuple[DirectoryState, ...]) -> dict[str, int]:
    return {
        "segments": sum(len(directory.content.segments) for directory in directories),
        "records": sum(directory.waiting for directory in directories),
        "bytes": sum(directory.size for directory in directories),
        "damage": sum(directory.damaged for directory in directories),
    }


def _directory_json(directory: DirectoryState) -> dict[str, object]:
    """Return what ``list`` and ``status`` both say about a directory."""
    return {
        "name": directory.path.name,
        "since": None if directory.since is None else time_text(directory.since),
        "owner": str(directory.owner),
        "destination": None if directory.destination is None else _destination_json(directory.destination),
        "records": directory.waiting,
        "bytes": directory.size,
        "damage": directory.damaged,
    }


def _destination_json(destination: Destination) -> dict[str, object]:
    return {"namespace": destination.namespace or None, "eventhub": destination.eventhub or None}


def _ignored(spool: SpoolState, rejected: RejectedRecords) -> list[tuple[str, str]]:
    """Return the ignored entries of the whole spool: path below the root, and reason."""
    ignored = [(entry.name, entry.reason) for entry in spool.ignored]
    ignored += [(f"{REJECTED_NAME}/{entry.name}", entry.reason) for entry in rejected.ignored]
    for directory in spool.directories:
        name, problem = directory.path.name, directory.problem or directory.lock.problem
        ignored += [(name, problem)] if problem else []
        ignored += [(f"{name}/{entry.name}", entry.reason) for entry in directory.content.ignored]
    return ignored


class FindingKind(StrEnum):
    """The kind of a finding; the last two are not faults."""

    DAMAGED = "damaged"
    TORN = "torn"
    CURSOR = "cursor"
    LOCK = "lock"
    MODE = "mode"
    UID = "uid"
    FOREIGN = "foreign"
    UNREADABLE = "unreadable"
    OPEN = "open"
    STRANGE = "strange"


@dataclass(frozen=True, slots=True)
class _Finding:
    """One finding.

    Attributes:
        path: below the root; empty for the root itself.
        begin: first byte of a damaged range; None for other findings.
        is_fault: whether something is damaged or wrong.
    """

    path: str
    kind: FindingKind
    text: str
    begin: int | None = None
    end: int | None = None
    is_fault: bool = True


def verify_spool(root: Path, caller: Caller, *, as_json: bool) -> int:
    """Read a whole spool and write the findings; the exit status is 1 if there is a fault."""
    spool, rejected = inspect_spool(root), inspect_rejected(root)
    findings = [*_of_root(spool), *_of_rejected(spool, rejected)]
    for directory in spool.directories:
        findings += _of_directory(root, directory)
    faults = sum(finding.is_fault for finding in findings)
    segments = [segment for each in spool.directories for segment in each.content.segments]
    records = sum(segment.good for segment in segments)
    if as_json:
        caller.write_json(
            {
                "directory": str(root),
                "directories": len(spool.directories),
                "segments": len(segments),
                "records": records,
                "rejected_records": rejected.records,
                "faults": faults,
                "findings": [asdict(finding) for finding in findings],
            }
        )
        return FAILURE if faults else OK
    for finding in findings:
        caller.out.write(f"{shown(finding.path) or '.'}: {finding.text}\n")
    also = f" and {count_of(rejected.records, 'rejected record')}" if rejected.records else ""
    caller.out.write(
        f"{count_of(records, 'good record')} in {count_of(len(segments), 'segment')} of"
        f" {count_of(len(spool.directories), 'directory', 'directories')}{also}:"
        f" {count_of(faults, 'fault') if faults else 'no fault'}.\n"
    )
    return FAILURE if faults else OK


def _of_root(spool: SpoolState) -> Iterator[_Finding]:
    try:
        state = spool.path.stat()
    except OSError:
        return
    if state.st_mode & _OTHERS_WRITE:
        text = f"its mode is {stat.S_IMODE(state.st_mode):04o}, so others may write to it"
        yield _Finding("", FindingKind.MODE, text)
    me = os.geteuid()
    if me not in (0, state.st_uid):
        yield _Finding("", FindingKind.UID, f"belongs to uid {state.st_uid}; this process is uid {me}")
    for entry in spool.ignored:
        yield _Finding(entry.name, FindingKind.STRANGE, f"{entry.reason}; ignored", is_fault=False)


def _of_directory(root: Path, directory: DirectoryState) -> Iterator[_Finding]:
    name = directory.path.name
    yield from _of_access(root, name, allowed=DIRECTORY_MODE)
    yield from _of_access(root, f"{name}/{LOCK_NAME}")
    if directory.problem:
        yield _Finding(name, FindingKind.UNREADABLE, directory.problem)
    elif directory.owner is Owner.UNCLEAR:
        yield _Finding(name, FindingKind.LOCK, f"{directory.lock.problem}, so no process can recover it")
    else:
        yield from _of_cursor(directory)
    for segment in directory.content.segments:
        path = f"{name}/{segment.path.name}"
        yield from _of_access(root, path)
        yield from _of_segment(path, segment)
    for entry in directory.content.ignored:
        access = list(_of_access(root, f"{name}/{entry.name}")) if entry.is_refused else []
        yield from access or [_foreign(name, entry)]


def _of_cursor(directory: DirectoryState) -> Iterator[_Finding]:
    path, lock = f"{directory.path.name}/{LOCK_NAME}", directory.lock
    if lock.size != lock.expected_size:
        text = f"holds {count_of(lock.size, 'byte')}; a cursor has {_CURSOR_BYTES}"
        yield _Finding(path, FindingKind.CURSOR, text)
    elif not directory.content.is_cursor_sane:
        segment, offset = lock.cursor
        text = f"points to byte {offset} of segment {segment}, where no record ends"
        yield _Finding(path, FindingKind.CURSOR, text)


def _of_segment(path: str, segment: SegmentState) -> Iterator[_Finding]:
    for begin, end in segment.damage:
        yield _Finding(path, FindingKind.DAMAGED, f"bytes {begin} to {end} cannot be read", begin, end)
    if segment.torn_at is not None:
        begin, end = segment.torn_at, segment.size
        text = f"bytes {begin} to {end} at the end cannot be read: truncated, or the writer was killed"
        yield _Finding(path, FindingKind.TORN, text, begin, end)
    if segment.is_open:
        text = "its owner is alive and writing at the end"
        yield _Finding(path, FindingKind.OPEN, text, is_fault=False)


def _of_rejected(spool: SpoolState, rejected: RejectedRecords) -> Iterator[_Finding]:
    if not spool.has_rejected:
        return
    yield from _of_access(spool.path, REJECTED_NAME, allowed=DIRECTORY_MODE)
    for file in rejected.files:
        path = f"{REJECTED_NAME}/{file.path.name}"
        yield from _of_access(spool.path, path)
        with contextlib.suppress(OSError):  # removed since it was counted
            for number in itertools.islice(bad_lines(file.path), _BAD_LINES_MAX):
                yield _Finding(path, FindingKind.DAMAGED, f"line {number} is not a JSON object")
    for entry in rejected.ignored:
        yield _foreign(REJECTED_NAME, entry)


def _foreign(directory: str, entry: IgnoredEntry) -> _Finding:
    return _Finding(f"{directory}/{entry.name}", FindingKind.FOREIGN, f"{entry.reason}; ignored")


def _of_access(root: Path, path: str, *, allowed: int = FILE_MODE) -> Iterator[_Finding]:
    """Report permissions that are too wide, and a wrong owner."""
    try:
        state, owner = (root / path).lstat(), root.stat().st_uid
    except OSError:
        return  # gone, or reported already
    if state.st_mode & _OTHERS and not stat.S_ISLNK(state.st_mode):
        text = f"its mode is {stat.S_IMODE(state.st_mode):04o}; it must be {allowed:04o}"
        yield _Finding(path, FindingKind.MODE, text)
    if state.st_uid != owner:
        text = f"belongs to uid {state.st_uid}; the spool belongs to uid {owner}"
        yield _Finding(path, FindingKind.UID, text)


@dataclass(frozen=True, slots=True, kw_only=True)
class SpoolSummary:
    """The contents of a spool, summed up: the same sentences for ``doctor`` and ``status``.

    Attributes:
        directories: of the processes, oldest first.
        own: where the settings send; None where they name no destination.
        pids: of the living owners by the name of their directory, as far as the system shows them to us.
    """

    directories: tuple[DirectoryState, ...] = ()
    rejected: RejectedRecords = field(default_factory=RejectedRecords)
    own: Destination | None = None
    pids: Mapping[str, int] = field(default_factory=dict)

    @property
    def records(self) -> int:
        """Records waiting in all directories."""
        return sum(each.waiting for each in self.directories)

    @property
    def oldest(self) -> datetime | None:
        """When the oldest process with waiting records started to write."""
        return min((each.since for each in self.directories if each.waiting and each.since), default=None)

    @property
    def orphaned(self) -> int:
        """Records of ended processes that no running process will recover."""
        return sum(each.waiting for each in self._orphaned())

    @property
    def for_others(self) -> dict[Destination, int]:
        """Orphaned records for destinations other than the configured one, by destination."""
        numbers: Counter[Destination] = Counter()
        for each in self._orphaned():
            destination = each.destination
            if each.waiting and destination is not None and not (self.own and self.own.takes(destination)):
                numbers[destination] += each.waiting
        return dict(numbers)

    def _orphaned(self) -> Iterator[DirectoryState]:
        alive = [each.destination for each in self.directories if each.owner is Owner.ALIVE]
        for each in self.directories:
            wanted = each.destination
            recovers = (wanted is None or other is None or other.takes(wanted) for other in alive)
            if each.owner is Owner.DEAD and not any(recovers):
                yield each

    @property
    def text(self) -> str:
        """All of it in half a line."""
        if not self.records:
            return "no records waiting"
        size = sum(each.size for each in self.directories)
        alive = sum(each.owner is Owner.ALIVE for each in self.directories)
        since = f", oldest since {time_text(self.oldest)}" if self.oldest else ""
        return (
            f"{count_of(self.records, 'record')} ({count_of(size, 'byte')}) waiting from"
            f" {count_of(len(self.directories), 'process', 'processes')}, {alive} alive{since}"
        )

    def lines(self) -> Iterator[str]:
        """Yield the table of the directories that ``status`` shows."""
        header = ("owner", "pid", "since", "age", "destination", "records", "bytes", "damage")
        rows = [
            (
                str(each.owner),
                str(self.pids.get(each.path.name, "-")),
                time_text(each.since),
                age_text(each.since),
                destination_text(each.destination),
                each.waiting,
                each.size,
                each.damaged,
            )
            for each in self.directories[:_ROWS_MAX]
        ]
        if rows:
            yield from table(header, rows, left=5).splitlines()
        if len(self.directories) > _ROWS_MAX:
            yield f"and {len(self.directories) - _ROWS_MAX:,} more; see hublog spool list"

    def as_json(self) -> dict[str, object]:
        """Return plain data."""
        return {
            "records": self.records,
            "bytes": sum(each.size for each in self.directories),
            "oldest": time_text(self.oldest) if self.oldest else None,
            "orphaned": self.orphaned,
            "for_others": [
                {**_destination_json(other), "records": records} for other, records in self.for_others.items()
            ],
            "rejected": self.rejected.records,
            "owners": [
                {**_directory_json(each), "pid": self.pids.get(each.path.name)} for each in self.directories
            ],
        }

    @property
    def problems(self) -> list[str]:
        """What the operator has to act on, a sentence each."""
        problems = []
        others = self.for_others
        own = self.orphaned - sum(others.values())
        if own:
            problems.append(
                f"{count_of(own, 'orphaned record')} waiting, and no running process sends them:"
                " start the application, or run hublog spool drain."
            )
        problems += [
            f"{count_of(records, 'orphaned record')} waiting for {other}, which is not the configured"
            " destination, and no running process sends there: start an application that does, or run hublog"
            " spool drain with its settings."
            for other, records in others.items()
        ]
        unclear = sum(each.waiting for each in self.directories if each.owner is Owner.UNCLEAR)
        if unclear:
            problems.append(f"No process can recover {count_of(unclear, 'record')}: see hublog spool verify.")
        if any(each.damaged for each in self.directories):
            problems.append("Some segments are damaged: see hublog spool verify.")
        if self.rejected.records:
            problems.append(
                f"The event hub rejected {count_of(self.rejected.records, 'record')}: see rejected/ in the"
                " spool, then run hublog spool purge --rejected."
            )
        return problems


def summarize_spool(root: Path, hub: EventHubSettings) -> SpoolSummary:
    """Read a whole spool and sum it up; changes nothing.

    Raises:
        SpoolUnavailableError: it cannot be read.
    """
    path = check_root(root)
    directories = inspect_spool(path).directories
    alive = {each.path.name for each in directories if each.owner is Owner.ALIVE}
    return SpoolSummary(
        directories=directories,
        rejected=inspect_rejected(path),
        own=envelope_of(hub).destination if hub.is_configured else None,
        pids=_pids_of(path, alive),
    )


def settled_summary(root: Path, hub: EventHubSettings, pause: Callable[[float], None]) -> SpoolSummary:
    """Sum a spool up, and once more after a pause if there are orphaned records.

    A process may have ended just now, and another be about to recover its records.

    Raises:
        SpoolUnavailableError: it cannot be read.
    """
    summary = summarize_spool(root, hub)
    if not summary.orphaned:
        return summary
    pause(RECHECK_S)
    return summarize_spool(root, hub)


def _pids_of(root: Path, alive: set[str]) -> dict[str, int]:
    """Return the process that has a lock file open, by the name of its directory.

    Processes of other users and containers are not visible; nor is any on a system without ``/proc``.
    """
    pids: dict[str, int] = {}
    real = root.resolve()
    for pid in _processes():
        for target in _open_files(pid):
            name = target.parent.name
            if target.name == LOCK_NAME and target.parent.parent == real and name in alive:
                # A child that inherited the file has the higher number, so it comes later.
                pids.setdefault(name, pid)
    return pids


def _processes() -> list[int]:
    with contextlib.suppress(OSError):
        return sorted(int(each.name) for each in Path("/proc").iterdir() if each.name.isdecimal())
    return []


def _open_files(pid: int) -> Iterator[Path]:
    with contextlib.suppress(OSError):
        for entry in Path(f"/proc/{pid}/fd").iterdir():
            with contextlib.suppress(OSError):
                yield entry.readlink()
