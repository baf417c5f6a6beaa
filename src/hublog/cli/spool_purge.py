"""``hublog spool purge``: removes what dead processes left, and says how many records went with it.

Whoever lives is left alone: a directory is removed by whoever holds its lock. Files that are no segments of
ours stay, and their directory with them.
"""

import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TextIO

from hublog.cli.spool_inspection import (
    DirectoryLook,
    Owner,
    RejectedFile,
    SegmentsLook,
    look_at_rejected,
    look_at_root,
    look_at_segments,
)
from hublog.cli.text import count_of, destination_text, shown, table
from hublog.spool import locking
from hublog.spool.locking import Claim, SpoolUnavailableError
from hublog.spool.segments import unlink

_HEADER: Final = ("path", "destination", "records", "bytes")


@dataclass(frozen=True, slots=True, kw_only=True)
class PurgeOptions:
    """What is to go.

    Attributes:
        dead: what dead processes left.
        rejected: the files of records that the hub refused.
        older_than_s: only what was written last before so many seconds.
        is_meant: False only tells what would go.
    """

    dead: bool
    rejected: bool
    older_than_s: float = 0.0
    is_meant: bool = False


def purge_spool(
    root: Path, options: PurgeOptions, out: TextIO, *, wall: Callable[[], float] = time.time
) -> int:
    """Remove what is to go, or tell what would.

    Args:
        root: of the spool.
        options: what is to go.
        out: where to write.
        wall: seconds since 1970, for the age.

    Returns:
        The exit status: 0; 1 when it was not meant, or something could not be removed.

    Raises:
        SpoolUnavailableError: the spool belongs to somebody else.
    """
    _check_owner(root)
    before = wall() - options.older_than_s
    directories = _dead(root, before) if options.dead else []
    files = _rejected(root, before) if options.rejected else []
    if not directories and not files:
        out.write("Nothing is to be removed.\n")
        return 0
    if not options.is_meant:
        _tell_plan(root, directories, files, out)
        return 1
    done = [_purge_directory(found.path, before, out) for found in directories]
    done += [_purge_file(file, before, out) for file in files]
    records = sum(number for number in done if number is not None)
    out.write(f"{count_of(records, 'record')} removed.\n")
    return 1 if None in done else 0


def _check_owner(root: Path) -> None:
    # As root one could be led by links to files that the owner of the spool may not remove.
    owner, me = root.stat().st_uid, os.geteuid()
    if owner != me:
        raise SpoolUnavailableError(
            f"The spool {root} belongs to uid {owner}, and this process runs as uid {me}; purge it as the"
            f" user of uid {owner}."
        )


def _dead(root: Path, before: float) -> list[DirectoryLook]:
    return [
        found
        for found in look_at_root(root).directories
        if found.owner is Owner.DEAD and _changed_at(found.path, found.content) <= before
    ]


def _rejected(root: Path, before: float) -> list[RejectedFile]:
    return [file for file in look_at_rejected(root).files if file.changed_at <= before]


def _changed_at(path: Path, content: SegmentsLook) -> float:
    """Return when something was written last (seconds since 1970); infinity when somebody is at it now."""
    try:
        # Not the lock: it changes with each record that is sent.
        times = [segment.path.lstat().st_mtime for segment in content.segments]
        return max(times, default=path.lstat().st_mtime)
    except OSError:
        return float("inf")


def _tell_plan(root: Path, directories: list[DirectoryLook], files: list[RejectedFile], out: TextIO) -> None:
    rows = [
        (found.path.name, destination_text(found.destination), found.waiting, found.size)
        for found in directories
    ]
    rows += [(shown(file.path.relative_to(root)), "-", file.records, file.size) for file in files]
    rows.append(("sum", "", sum(row[2] for row in rows), sum(row[3] for row in rows)))
    out.write(table(_HEADER, rows, left=2))
    out.write("Nothing was removed. These records would be lost for ever: say --yes to remove them.\n")


def _purge_directory(path: Path, before: float, out: TextIO) -> int | None:
    """Return how many records went; None when the directory is still there and should not be."""
    claim: Claim | None = None
    try:
        claim = None if path.is_symlink() else locking.take(path)
        return _purge_claimed(claim, before, out) if claim is not None else _tell_taken(path, out)
    except OSError as error:
        out.write(f"{path.name}: it stays: {error.strerror}.\n")
        return None
    finally:
        if claim is not None:
            claim.release()


def _purge_claimed(claim: Claim, before: float, out: TextIO) -> int | None:
    envelope = locking.read_address(claim.path).envelope
    content = look_at_segments(claim.path, claim.read_cursor(), is_written=False, envelope=envelope)
    if _changed_at(claim.path, content) > before:
        return 0
    for segment in content.segments:
        unlink(segment.path)
    if claim.remove():
        return content.waiting
    is_failure = any(segment.path.exists() for segment in content.segments)
    reason = "its files cannot be removed" if is_failure else "there are files in it that are not of a spool"
    out.write(f"{claim.path.name}: it stays, since {reason}.\n")
    return None if is_failure else content.waiting


def _tell_taken(path: Path, out: TextIO) -> int:
    if path.exists():
        out.write(f"{path.name}: somebody took it over just now; it is left alone.\n")
    return 0


def _purge_file(file: RejectedFile, before: float, out: TextIO) -> int | None:
    try:
        if file.path.lstat().st_mtime > before:
            return 0
        file.path.unlink()
    except FileNotFoundError:
        return 0
    except OSError as error:
        out.write(f"{shown(file.path.name)}: it stays: {error.strerror}.\n")
        return None
    return file.records
