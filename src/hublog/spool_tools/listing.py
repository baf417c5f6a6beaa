"""``hublog spool list``: what lies in a spool, one row for each process life."""

import json
from pathlib import Path
from typing import Final, TextIO

from hublog.spool_tools.entries import LeftAlone
from hublog.spool_tools.look import DirectoryLook, RootLook, look_at_root
from hublog.spool_tools.rejected import RejectedLook, look_at_rejected
from hublog.spool_tools.wording import (
    count_of,
    destination_json,
    destination_text,
    shown,
    table,
    time_text,
)

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
        json.dump(_as_json(look, rejected), out, indent=2)
        out.write("\n")
    else:
        out.write(_as_text(look, rejected))
    return 0


def _as_text(look: RootLook, rejected: RejectedLook) -> str:
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


def _as_json(look: RootLook, rejected: RejectedLook) -> dict[str, object]:
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
