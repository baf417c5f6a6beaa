"""``hublog spool list`` and ``verify``: the contents of a spool, and what is damaged or wrong in it."""

import contextlib
import itertools
import json
import os
import stat
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from enum import StrEnum
from pathlib import Path
from typing import Final, TextIO

from hublog.cli.command import (
    count_of,
    destination_json,
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
    inspect_rejected,
    inspect_spool,
)
from hublog.spool.dead_letters import DIRECTORY as REJECTED_NAME
from hublog.spool.locking import DIRECTORY_MODE, FILE_MODE, LOCK_NAME

_CURSOR_BYTES: Final = 16
_OTHERS: Final = stat.S_IRWXG | stat.S_IRWXO
_OTHERS_WRITE: Final = stat.S_IWGRP | stat.S_IWOTH
#: Bad lines of one file that are reported; all of its lines may be bad.
_BAD_LINES_MAX: Final = 10


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


_HARMLESS: Final = frozenset({FindingKind.OPEN, FindingKind.STRANGE})


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One finding.

    Attributes:
        path: below the root; empty for the root itself.
        kind: of the finding.
        text: in words.
        begin: first byte of a damaged range; None for other findings.
        end: end of the range.
    """

    path: str
    kind: FindingKind
    text: str
    begin: int | None = None
    end: int | None = None

    @property
    def is_fault(self) -> bool:
        """Whether something is damaged or wrong."""
        return self.kind not in _HARMLESS


def verify_spool(root: Path, out: TextIO, *, as_json: bool) -> int:
    """Read a whole spool and write the findings; nothing is changed.

    Args:
        root: of the spool.
        out: where to write.
        as_json: one JSON object in place of text.

    Returns:
        The exit status: 0 without faults, else 1.
    """
    spool, rejected = inspect_spool(root), inspect_rejected(root)
    findings = [*_of_root(spool), *_of_rejected(spool, rejected)]
    for directory in spool.directories:
        findings += _of_directory(root, directory)
    faults = sum(finding.is_fault for finding in findings)
    segments = [segment for each in spool.directories for segment in each.content.segments]
    summary = {
        "directories": len(spool.directories),
        "segments": len(segments),
        "records": sum(segment.good for segment in segments),
        "rejected_records": rejected.records,
        "faults": faults,
    }
    if as_json:
        listed = [asdict(finding) | {"is_fault": finding.is_fault} for finding in findings]
        json.dump({"directory": str(root), **summary, "findings": listed}, out, indent=2)
        out.write("\n")
    else:
        out.write(_verify_text(findings, **summary))
    return 1 if faults else 0


def _verify_text(
    findings: list[Finding],
    *,
    directories: int,
    segments: int,
    records: int,
    rejected_records: int,
    faults: int,
) -> str:
    lines = [f"{shown(finding.path) or '.'}: {finding.text}\n" for finding in findings]
    verdict = count_of(faults, "fault") if faults else "no fault"
    rejected = f" and {count_of(rejected_records, 'rejected record')}" if rejected_records else ""
    lines.append(
        f"{count_of(records, 'good record')} in {count_of(segments, 'segment')} of"
        f" {count_of(directories, 'directory', 'directories')}{rejected}: {verdict}.\n"
    )
    return "".join(lines)


def _of_root(spool: SpoolState) -> Iterator[Finding]:
    try:
        state = spool.path.stat()
    except OSError:
        return
    if state.st_mode & _OTHERS_WRITE:
        text = f"its mode is {stat.S_IMODE(state.st_mode):04o}, so others may write to it"
        yield Finding(path="", kind=FindingKind.MODE, text=text)
    me = os.geteuid()
    if me not in (0, state.st_uid):
        yield Finding(
            path="", kind=FindingKind.UID, text=f"belongs to uid {state.st_uid}; this process is uid {me}"
        )
    for item in spool.ignored:
        yield Finding(path=item.name, kind=FindingKind.STRANGE, text=f"{item.reason}; ignored")


def _of_directory(root: Path, directory: DirectoryState) -> Iterator[Finding]:
    name = directory.path.name
    yield from _of_access(root, name, is_directory=True)
    yield from _of_access(root, f"{name}/{LOCK_NAME}")
    if directory.problem:
        yield Finding(path=name, kind=FindingKind.UNREADABLE, text=directory.problem)
    elif directory.owner is Owner.UNCLEAR:
        yield Finding(
            path=name, kind=FindingKind.LOCK, text=f"{directory.lock.problem}, so no process can recover it"
        )
    else:
        yield from _of_cursor(directory)
    for segment in directory.content.segments:
        path = f"{name}/{segment.path.name}"
        yield from _of_access(root, path)
        yield from _of_segment(path, segment)
    for item in directory.content.ignored:
        access = list(_of_access(root, f"{name}/{item.name}")) if item.is_refused else []
        yield from access or _foreign(name, (item,))


def _of_cursor(directory: DirectoryState) -> Iterator[Finding]:
    path = f"{directory.path.name}/{LOCK_NAME}"
    if directory.lock.size != directory.lock.expected_size:
        text = f"holds {count_of(directory.lock.size, 'byte')}; a cursor has {_CURSOR_BYTES}"
        yield Finding(path=path, kind=FindingKind.CURSOR, text=text)
    elif not directory.content.is_cursor_sane:
        segment, offset = directory.lock.cursor
        text = f"points to byte {offset} of segment {segment}, where no record ends"
        yield Finding(path=path, kind=FindingKind.CURSOR, text=text)


def _of_segment(path: str, segment: SegmentState) -> Iterator[Finding]:
    for begin, end in segment.damage:
        text = f"bytes {begin} to {end} cannot be read"
        yield Finding(path=path, kind=FindingKind.DAMAGED, text=text, begin=begin, end=end)
    if segment.torn_at is not None:
        begin, end = segment.torn_at, segment.size
        text = f"bytes {begin} to {end} at the end cannot be read: truncated, or the writer was killed"
        yield Finding(path=path, kind=FindingKind.TORN, text=text, begin=begin, end=end)
    if segment.is_open:
        yield Finding(path=path, kind=FindingKind.OPEN, text="its owner is alive and writing at the end")


def _of_rejected(spool: SpoolState, rejected: RejectedRecords) -> Iterator[Finding]:
    if not spool.has_rejected:
        return
    yield from _of_access(spool.path, REJECTED_NAME, is_directory=True)
    for file in rejected.files:
        path = f"{REJECTED_NAME}/{file.path.name}"
        yield from _of_access(spool.path, path)
        with contextlib.suppress(OSError):  # removed since it was counted
            for number in itertools.islice(bad_lines(file.path), _BAD_LINES_MAX):
                yield Finding(path=path, kind=FindingKind.DAMAGED, text=f"line {number} is not a JSON object")
    yield from _foreign(REJECTED_NAME, rejected.ignored)


def _foreign(folder: str, items: tuple[IgnoredEntry, ...]) -> Iterator[Finding]:
    for item in items:
        yield Finding(path=f"{folder}/{item.name}", kind=FindingKind.FOREIGN, text=f"{item.reason}; ignored")


def _of_access(root: Path, path: str, *, is_directory: bool = False) -> Iterator[Finding]:
    """Report permissions that are too wide, and a wrong owner."""
    try:
        state, owner = (root / path).lstat(), root.stat().st_uid
    except OSError:
        return  # gone, or reported already
    if state.st_mode & _OTHERS and not stat.S_ISLNK(state.st_mode):
        text = _mode_text(state.st_mode, DIRECTORY_MODE if is_directory else FILE_MODE)
        yield Finding(path=path, kind=FindingKind.MODE, text=text)
    if state.st_uid != owner:
        text = f"belongs to uid {state.st_uid}; the spool belongs to uid {owner}"
        yield Finding(path=path, kind=FindingKind.UID, text=text)


def _mode_text(mode: int, allowed: int) -> str:
    return f"its mode is {stat.S_IMODE(mode):04o}; it must be {allowed:04o}"


_HEADER: Final = ("directory", "since", "owner", "destination", "segments", "records", "bytes", "damage")
_TEXT_COLUMNS: Final = 4
#: Ignored entries that are printed; JSON holds all of them.
_NAMES_MAX: Final = 20


def list_spool(root: Path, out: TextIO, *, as_json: bool) -> int:
    """Write the contents of a spool; never a record.

    Args:
        root: of the spool.
        out: where to write.
        as_json: one JSON object in place of a table.

    Returns:
        The exit status, 0.
    """
    spool, rejected = inspect_spool(root), inspect_rejected(root)
    if as_json:
        json.dump(_list_json(spool, rejected), out, indent=2)
        out.write("\n")
    else:
        out.write(_list_text(spool, rejected))
    return 0


def _list_text(spool: SpoolState, rejected: RejectedRecords) -> str:
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
    sums = [sum(int(row[column]) for row in rows) for column in range(_TEXT_COLUMNS, len(_HEADER))]
    lines = [table(_HEADER, [*rows, ("sum", "", "", "", *sums)], left=_TEXT_COLUMNS)]
    if spool.has_rejected:
        files = count_of(len(rejected.files), "file")
        records, size = count_of(rejected.records, "record"), count_of(rejected.size, "byte")
        lines.append(f"rejected by the event hub: {records} in {files}, {size}\n")
    if spool.unfinished:
        lines.append(f"unfinished: {count_of(len(spool.unfinished), 'directory', 'directories')}\n")
    ignored = _ignored(spool, rejected)
    lines += [f"ignored: {shown(name)} ({reason})\n" for name, reason in ignored[:_NAMES_MAX]]
    if len(ignored) > _NAMES_MAX:
        lines.append(f"ignored: {len(ignored) - _NAMES_MAX} more\n")
    return "".join(lines)


def _list_json(spool: SpoolState, rejected: RejectedRecords) -> dict[str, object]:
    return {
        "directory": str(spool.path),
        "owners": [_row(directory) for directory in spool.directories],
        "sum": {
            "segments": sum(len(directory.content.segments) for directory in spool.directories),
            "records": sum(directory.waiting for directory in spool.directories),
            "bytes": sum(directory.size for directory in spool.directories),
            "damage": sum(directory.damaged for directory in spool.directories),
        },
        "rejected": {"files": len(rejected.files), "records": rejected.records, "bytes": rejected.size},
        "unfinished": list(spool.unfinished),
        "ignored": [{"path": path, "reason": reason} for path, reason in _ignored(spool, rejected)],
    }


def _row(directory: DirectoryState) -> dict[str, object]:
    return {
        "name": directory.path.name,
        "since": None if directory.since is None else time_text(directory.since),
        "owner": str(directory.owner),
        "destination": destination_json(directory.destination),
        "packing": directory.envelope.packing if directory.envelope else None,
        "routing": dict(directory.envelope.routing) if directory.envelope else {},
        "segments": len(directory.content.segments),
        "records": directory.waiting,
        "bytes": directory.size,
        "damage": directory.damaged,
    }


def _ignored(spool: SpoolState, rejected: RejectedRecords) -> list[tuple[str, str]]:
    """Return the ignored entries of the whole spool: path below the root, and reason."""

    def below(folder: str, items: tuple[IgnoredEntry, ...]) -> list[tuple[str, str]]:
        return [(f"{folder}/{item.name}" if folder else item.name, item.reason) for item in items]

    ignored = below("", spool.ignored) + below("rejected", rejected.ignored)
    for directory in spool.directories:
        name = directory.path.name
        problem = directory.problem or directory.lock.problem
        ignored += [(name, problem)] if problem else []
        ignored += below(name, directory.content.ignored)
    return ignored
