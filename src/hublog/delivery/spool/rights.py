"""Whose a file in the spool is: what another user made or may change is not taken for ours."""

import errno
import os
import stat
from pathlib import Path


class NotOursError(OSError):
    """Another user made or may change what lies in the spool, so that it is not taken for ours."""


def check_file(path: Path, *, uid: int) -> None:
    """Refuse a file that another user made or may have changed.

    Raises:
        NotOursError: it is refused; says why.
        OSError: it cannot be looked at.
    """
    found = path.lstat()
    if not stat.S_ISREG(found.st_mode):
        raise NotOursError(errno.EPERM, f"{path.name} is no regular file", str(path))
    check_rights(path, found, uid=uid)
    if found.st_nlink > 1:  # who made the other name may write here without a right to this directory
        raise NotOursError(errno.EPERM, f"{path.name} is a hard link with another name elsewhere", str(path))


def check_rights(path: Path, found: os.stat_result, *, uid: int) -> None:
    """Refuse what belongs to another user or may be written by everybody.

    Group members may write: Kubernetes gives that right to the group of a volume, on all that lies there.

    Args:
        path: what it is about.
        found: what is known of it.
        uid: whose it must be.

    Raises:
        NotOursError: it is refused; says why.
    """
    if found.st_uid != uid:
        raise NotOursError(
            errno.EPERM, f"{path.name} belongs to uid {found.st_uid}, and the spool to uid {uid}", str(path)
        )
    if found.st_mode & stat.S_IWOTH:
        raise NotOursError(
            errno.EPERM,
            f"{path.name} has mode {stat.S_IMODE(found.st_mode):04o}: everybody may write",
            str(path),
        )
