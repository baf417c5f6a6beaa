"""``hublog spool list`` and ``hublog spool verify``: what lies in a spool, and what is damaged or wrong."""

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

from hublog.cli.spool_inspection import (
    DirectoryLook,
    LeftAlone,
    Owner,
    RejectedLook,
    RootLook,
    SegmentLook,
    bad_lines,
    look_at_rejected,
    look_at_root,
)
from hublog.cli.text import (
    count_of,
    destination_json,
    destination_text,
    shown,
    table,
    time_text,
)
from hublog.spool.dead_letters import DIRECTORY as REJECTED_NAME
from hublog.spool.locking import DIRECTORY_MODE, FILE_MODE, LOCK_NAME

_CURSOR_BYTES: Final = 16
_OTHERS: Final = stat.S_IRWXG | stat.S_IRWXO
_OTHERS_WRITE: Final = stat.S_IWGRP | stat.S_IWOTH
#: Bad lines of one file that are told; where none is good there are as many as lines.
_BAD_LINES_MAX: Final = 10


class Kind(StrEnum):
    """What may be said of a path; the last two of them are no faults."""

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


_HARMLESS: Final = frozenset({Kind.OPEN, Kind.STRANGE})


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing that is to be said.

    Attributes:
        path: below the root; empty for the root itself.
        kind: what it is.
        text: in words.
        begin: where the stretch begins, in bytes; None if it is none.
        end: where it ends.
    """

    path: str
    kind: Kind
    text: str
    begin: int | None = None
    end: int | None = None

    @property
    def is_fault(self) -> bool:
        """Whether something is damaged or wrong."""
        return self.kind not in _HARMLESS


def verify_spool(root: Path, out: TextIO, *, as_json: bool) -> int:
    """Read everything in a spool and write what was found; nothing is changed.

    Args:
        root: of the spool.
        out: where to.
        as_json: one JSON object in place of text.

    Returns:
        The exit status: 0 when all is sound, 1 when something is damaged or wrong.
    """
    look, rejected = look_at_root(root), look_at_rejected(root)
    findings = [*_of_root(look), *_of_rejected(look, rejected)]
    for directory in look.directories:
        findings += _of_directory(root, directory)
    faults = sum(finding.is_fault for finding in findings)
    segments = [segment for found in look.directories for segment in found.content.segments]
    summary = {
        "directories": len(look.directories),
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
        out.write(_as_text(findings, **summary))
    return 1 if faults else 0


def _as_text(
    findings: list[Finding],
    *,
    directories: int,
    segments: int,
    records: int,
    rejected_records: int,
    faults: int,
) -> str:
    lines = [f"{shown(found.path) or '.'}: {found.text}\n" for found in findings]
    verdict = count_of(faults, "fault") if faults else "no fault"
    rejected = f" and {count_of(rejected_records, 'rejected record')}" if rejected_records else ""
    lines.append(
        f"{count_of(records, 'good record')} in {count_of(segments, 'segment')} of"
        f" {count_of(directories, 'directory', 'directories')}{rejected}: {verdict}.\n"
    )
    return "".join(lines)


def _of_root(look: RootLook) -> Iterator[Finding]:
    try:
        found = look.path.stat()
    except OSError:
        return
    if found.st_mode & _OTHERS_WRITE:
        text = f"its mode is {stat.S_IMODE(found.st_mode):04o}, so others may write to it"
        yield Finding(path="", kind=Kind.MODE, text=text)
    me = os.geteuid()
    if me not in (0, found.st_uid):
        yield Finding(path="", kind=Kind.UID, text=f"belongs to uid {found.st_uid}; this process is uid {me}")
    for item in look.left_alone:
        yield Finding(path=item.name, kind=Kind.STRANGE, text=f"{item.reason}, left alone")


def _of_directory(root: Path, look: DirectoryLook) -> Iterator[Finding]:
    name = look.path.name
    yield from _of_access(root, name, is_directory=True)
    yield from _of_access(root, f"{name}/{LOCK_NAME}")
    if look.problem:
        yield Finding(path=name, kind=Kind.UNREADABLE, text=look.problem)
    elif look.owner is Owner.UNCLEAR:
        yield Finding(path=name, kind=Kind.LOCK, text=f"{look.lock.problem}, so nobody takes it over")
    else:
        yield from _of_cursor(look)
    for segment in look.content.segments:
        path = f"{name}/{segment.path.name}"
        yield from _of_access(root, path)
        yield from _of_segment(path, segment)
    for item in look.content.left_alone:
        access = list(_of_access(root, f"{name}/{item.name}")) if item.is_refused else []
        yield from access or _foreign(name, (item,))


def _of_cursor(look: DirectoryLook) -> Iterator[Finding]:
    path = f"{look.path.name}/{LOCK_NAME}"
    if look.lock.size != look.lock.expected_size:
        text = f"holds {count_of(look.lock.size, 'byte')}; a cursor has {_CURSOR_BYTES}"
        yield Finding(path=path, kind=Kind.CURSOR, text=text)
    elif not look.content.is_cursor_sane:
        segment, offset = look.lock.cursor
        text = f"points to byte {offset} of segment {segment}, where no record ends"
        yield Finding(path=path, kind=Kind.CURSOR, text=text)


def _of_segment(path: str, segment: SegmentLook) -> Iterator[Finding]:
    for begin, end in segment.damage:
        text = f"bytes {begin} to {end} cannot be read"
        yield Finding(path=path, kind=Kind.DAMAGED, text=text, begin=begin, end=end)
    if segment.torn_at is not None:
        begin, end = segment.torn_at, segment.size
        text = f"bytes {begin} to {end}, the end, cannot be read: cut off, or the writer was killed"
        yield Finding(path=path, kind=Kind.TORN, text=text, begin=begin, end=end)
    if segment.is_open:
        yield Finding(path=path, kind=Kind.OPEN, text="its owner lives and is just writing the end")


def _of_rejected(look: RootLook, rejected: RejectedLook) -> Iterator[Finding]:
    if not look.has_rejected:
        return
    yield from _of_access(look.path, REJECTED_NAME, is_directory=True)
    for file in rejected.files:
        path = f"{REJECTED_NAME}/{file.path.name}"
        yield from _of_access(look.path, path)
        with contextlib.suppress(OSError):  # it was read a moment ago: it is gone now
            for number in itertools.islice(bad_lines(file.path), _BAD_LINES_MAX):
                yield Finding(path=path, kind=Kind.DAMAGED, text=f"line {number} is no JSON object")
    yield from _foreign(REJECTED_NAME, rejected.left_alone)


def _foreign(folder: str, items: tuple[LeftAlone, ...]) -> Iterator[Finding]:
    for item in items:
        yield Finding(path=f"{folder}/{item.name}", kind=Kind.FOREIGN, text=f"{item.reason}, left alone")


def _of_access(root: Path, path: str, *, is_directory: bool = False) -> Iterator[Finding]:
    """Say who else may read, and who else it belongs to."""
    try:
        found, owner = (root / path).lstat(), root.stat().st_uid
    except OSError:
        return  # gone, or told already
    if found.st_mode & _OTHERS and not stat.S_ISLNK(found.st_mode):
        text = _mode_text(found.st_mode, DIRECTORY_MODE if is_directory else FILE_MODE)
        yield Finding(path=path, kind=Kind.MODE, text=text)
    if found.st_uid != owner:
        text = f"belongs to uid {found.st_uid}; the spool belongs to uid {owner}"
        yield Finding(path=path, kind=Kind.UID, text=text)


def _mode_text(mode: int, allowed: int) -> str:
    return f"its mode is {stat.S_IMODE(mode):04o}; it must be {allowed:04o}"


_HEADER: Final = ("directory", "since", "owner", "destination", "segments", "records", "bytes", "damage")
_TEXT_COLUMNS: Final = 4
#: Names of what is left alone that are printed; JSON holds all of them.
_NAMES_MAX: Final = 20


def list_spool(root: Path, out: TextIO, *, as_json: bool) -> int:
    """Write what lies in a spool; never a record.

    Args:
        root: of the spool.
        out: where to.
        as_json: one JSON object in place of a table.

    Returns:
        The exit status, 0.
    """
    look, rejected = look_at_root(root), look_at_rejected(root)
    if as_json:
        json.dump(_list_json(look, rejected), out, indent=2)
        out.write("\n")
    else:
        out.write(_list_text(look, rejected))
    return 0


def _list_text(look: RootLook, rejected: RejectedLook) -> str:
    rows = [
        (
            found.path.name,
            time_text(found.since),
            str(found.owner),
            destination_text(found.destination),
            len(found.content.segments),
            found.waiting,
            found.size,
            found.damaged,
        )
        for found in look.directories
    ]
    sums = [sum(int(row[column]) for row in rows) for column in range(_TEXT_COLUMNS, len(_HEADER))]
    lines = [table(_HEADER, [*rows, ("sum", "", "", "", *sums)], left=_TEXT_COLUMNS)]
    if look.has_rejected:
        files = count_of(len(rejected.files), "file")
        records, size = count_of(rejected.records, "record"), count_of(rejected.size, "byte")
        lines.append(f"rejected by the hub: {records} in {files}, {size}\n")
    if look.unfinished:
        lines.append(
            f"being made, or left so: {count_of(len(look.unfinished), 'directory', 'directories')}\n"
        )
    left_alone = _left_alone(look, rejected)
    lines += [f"left alone: {shown(name)} ({reason})\n" for name, reason in left_alone[:_NAMES_MAX]]
    if len(left_alone) > _NAMES_MAX:
        lines.append(f"left alone: {len(left_alone) - _NAMES_MAX} more\n")
    return "".join(lines)


def _list_json(look: RootLook, rejected: RejectedLook) -> dict[str, object]:
    return {
        "directory": str(look.path),
        "owners": [_row(found) for found in look.directories],
        "sum": {
            "segments": sum(len(found.content.segments) for found in look.directories),
            "records": sum(found.waiting for found in look.directories),
            "bytes": sum(found.size for found in look.directories),
            "damage": sum(found.damaged for found in look.directories),
        },
        "rejected": {"files": len(rejected.files), "records": rejected.records, "bytes": rejected.size},
        "unfinished": list(look.unfinished),
        "left_alone": [{"path": path, "reason": reason} for path, reason in _left_alone(look, rejected)],
    }


def _row(found: DirectoryLook) -> dict[str, object]:
    return {
        "name": found.path.name,
        "since": None if found.since is None else time_text(found.since),
        "owner": str(found.owner),
        "destination": destination_json(found.destination),
        "packing": found.envelope.packing if found.envelope else None,
        "routing": dict(found.envelope.routing) if found.envelope else {},
        "segments": len(found.content.segments),
        "records": found.waiting,
        "bytes": found.size,
        "damage": found.damaged,
    }


def _left_alone(look: RootLook, rejected: RejectedLook) -> list[tuple[str, str]]:
    """Return what is left alone in the whole spool, by its path below the root, and why."""

    def below(folder: str, items: tuple[LeftAlone, ...]) -> list[tuple[str, str]]:
        return [(f"{folder}/{item.name}" if folder else item.name, item.reason) for item in items]

    found = below("", look.left_alone) + below("rejected", rejected.left_alone)
    for directory in look.directories:
        name = directory.path.name
        problem = directory.problem or directory.lock.problem
        found += [(name, problem)] if problem else []
        found += below(name, directory.content.left_alone)
    return found
