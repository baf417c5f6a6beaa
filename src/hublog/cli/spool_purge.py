"""``hublog spool purge``: removes orphaned records, and reports their number.

A directory is removed under its lock, so those of running processes stay. Files that are not part of a spool
stay, and their directory with them.
"""

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final, TextIO

from hublog.cli.command import count_of, destination_text, shown, table
from hublog.cli.spool_inspection import (
    DirectoryContent,
    DirectoryState,
    Owner,
    RejectedFile,
    inspect_rejected,
    inspect_segments,
    inspect_spool,
)
from hublog.spool import locking
from hublog.spool.locking import Claim, SpoolUnavailableError
from hublog.spool.segments import unlink

_HEADER: Final = ("path", "destination", "records", "bytes")


def purge_spool(
    root: Path,
    out: TextIO,
    *,
    dead: bool,
    rejected: bool,
    older_than_s: float = 0.0,
    is_confirmed: bool = False,
    wall: Callable[[], float] = time.time,
) -> int:
    """Remove records for good, or show what would be removed.

    Args:
        root: of the spool.
        out: where to write.
        dead: whether to remove orphaned records.
        rejected: whether to remove the files of records that the event hub rejected.
        older_than_s: only what was last written longer ago, in seconds.
        is_confirmed: False only shows what would be removed.
        wall: seconds since 1970, for the age.

    Returns:
        The exit status: 0; 1 without confirmation, or when something could not be removed.

    Raises:
        SpoolUnavailableError: the spool belongs to another user.
    """
    _check_owner(root)
    before = wall() - older_than_s
    directories = _dead(root, before) if dead else []
    files = _rejected(root, before) if rejected else []
    if not directories and not files:
        out.write("Nothing to remove.\n")
        return 0
    if not is_confirmed:
        _write_plan(root, directories, files, out)
        return 1
    done = [_purge_directory(directory.path, before, out) for directory in directories]
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


def _dead(root: Path, before: float) -> list[DirectoryState]:
    return [
        directory
        for directory in inspect_spool(root).directories
        if directory.owner is Owner.DEAD and _changed_at(directory.path, directory.content) <= before
    ]


def _rejected(root: Path, before: float) -> list[RejectedFile]:
    return [file for file in inspect_rejected(root).files if file.changed_at <= before]


def _changed_at(path: Path, content: DirectoryContent) -> float:
    """Return when it was last written, in seconds since 1970; infinity when a file vanishes."""
    try:
        # The lock does not count: it changes with each record that is sent.
        times = [segment.path.lstat().st_mtime for segment in content.segments]
        return max(times, default=path.lstat().st_mtime)
    except OSError:
        return float("inf")


def _write_plan(
    root: Path, directories: list[DirectoryState], files: list[RejectedFile], out: TextIO
) -> None:
    rows = [
        (directory.path.name, destination_text(directory.destination), directory.waiting, directory.size)
        for directory in directories
    ]
    rows += [(shown(file.path.relative_to(root)), "-", file.records, file.size) for file in files]
    rows.append(("sum", "", sum(row[2] for row in rows), sum(row[3] for row in rows)))
    out.write(table(_HEADER, rows, left=2))
    out.write("Nothing was removed. Removing them loses these records for good: confirm with --yes.\n")


def _purge_directory(path: Path, before: float, out: TextIO) -> int | None:
    """Return the number of removed records; None when the directory could not be removed."""
    claim: Claim | None = None
    try:
        claim = None if path.is_symlink() else locking.take(path)
        return _purge_claimed(claim, before, out) if claim is not None else _report_recovered(path, out)
    except OSError as error:
        out.write(f"{path.name} was not removed: {error.strerror}.\n")
        return None
    finally:
        if claim is not None:
            claim.release()


def _purge_claimed(claim: Claim, before: float, out: TextIO) -> int | None:
    envelope = locking.read_address(claim.path).envelope
    content = inspect_segments(claim.path, claim.read_cursor(), is_written=False, envelope=envelope)
    if _changed_at(claim.path, content) > before:
        return 0
    for segment in content.segments:
        unlink(segment.path)
    if claim.remove():
        return content.waiting
    is_failure = any(segment.path.exists() for segment in content.segments)
    reason = "its files cannot be deleted" if is_failure else "it contains files that are not part of a spool"
    out.write(f"{claim.path.name} was not removed: {reason}.\n")
    return None if is_failure else content.waiting


def _report_recovered(path: Path, out: TextIO) -> int:
    if path.exists():
        out.write(f"{path.name} was not removed: another process has just recovered it.\n")
    return 0


def _purge_file(file: RejectedFile, before: float, out: TextIO) -> int | None:
    try:
        if file.path.lstat().st_mtime > before:
            return 0
        file.path.unlink()
    except FileNotFoundError:
        return 0
    except OSError as error:
        out.write(f"{shown(file.path.name)} was not removed: {error.strerror}.\n")
        return None
    return file.records
