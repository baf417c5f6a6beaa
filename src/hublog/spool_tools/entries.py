"""What is in a directory, by name and kind; links are never followed."""

import contextlib
import os
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import Final

_KINDS: Final = (
    (stat.S_ISLNK, "a symbolic link"),
    (stat.S_ISDIR, "a directory"),
    (stat.S_ISREG, "a file"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class LeftAlone:
    """What is not of the spool, so that nobody touches it.

    Attributes:
        name: in its directory; it may hold any character.
        reason: what it is.
        is_refused: whether it is a segment, and the reason is that another user may have made or changed it.
    """

    name: str
    reason: str
    is_refused: bool = False


def entries_of(directory: Path) -> list[tuple[str, int]]:
    """Return the names in a directory with their modes, in order.

    Raises:
        OSError: it cannot be read.
    """
    found: list[tuple[str, int]] = []
    with os.scandir(directory) as entries:
        for entry in entries:
            with contextlib.suppress(FileNotFoundError):
                found.append((entry.name, entry.stat(follow_symlinks=False).st_mode))
    return sorted(found)


def kind_of(mode: int) -> str:
    """Return what a mode says that a thing is."""
    return next((kind for is_kind, kind in _KINDS if is_kind(mode)), "a special file")
