"""Whether records can be written where the settings say; nothing is left behind by the try."""

import contextlib
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from hublog.errors import HublogError
from hublog.settings import Settings

_TRY: Final = ".hublog-try-"
_GONE: Final = "the working directory of the process was removed, and the path is relative to it"


def why_no_spool(root: Path) -> str:
    """Return why records cannot wait in a directory; empty if they can.

    A root that is there is tried as each process tries it at its start; of one that is missing it is
    tried whether it could be made.

    Args:
        root: of the spool.
    """
    try:
        from hublog.spool import locking  # noqa: PLC0415  # needs locks that not every system has
    except ImportError:
        return "this system has no locks of files (fcntl)"
    root = whole(root)
    if not root.is_absolute():
        return _GONE
    try:
        if root.exists():
            reason = locking.why_unsafe_root(root.stat())
            if reason:
                return reason
            locking.probe(root)
        else:
            with _made_beside(root) as tried:
                locking.probe(tried)
    except OSError as error:
        return _why(error)
    except HublogError as error:
        return _why(error.__cause__) if isinstance(error.__cause__, OSError) else str(error)
    return ""


def log_files(settings: Settings) -> list[Path]:
    """Return the log files that these settings have written, their paths whole."""
    from hublog.configure.handlers import file_name  # noqa: PLC0415  # the handlers, for who asks only

    return [whole(settings.log_dir / file_name())] if settings.file.enabled else []


def whole(path: Path) -> Path:
    """Return an absolute path; the same where the working directory was removed."""
    try:
        return path.absolute()
    except FileNotFoundError:
        return path


def why_no_log_file(path: Path, *, is_ours: bool = False) -> str:
    """Return why a log file cannot be written; empty if it can.

    Args:
        path: of the file; it and its directory may be missing.
        is_ours: whether hublog's own handler writes it, which follows no link.
    """
    from hublog.configure.archives import kind_of  # noqa: PLC0415  # as above
    from hublog.configure.rotating_file import check_right  # noqa: PLC0415

    if not path.is_absolute():
        return _GONE
    try:
        kind = kind_of(str(path)) if is_ours else ""
        if kind:
            return f"{path.name} is {kind}, not a file"
        if path.exists():
            if not path.is_file() and not path.is_char_device():
                return f"{path} is no file"
            check_right(str(path))
            return ""
        with _made_beside(path):
            return ""
    except OSError as error:
        return _why(error)


@contextlib.contextmanager
def _made_beside(path: Path) -> Iterator[Path]:
    """Make a directory where the first missing part of a path would be made, and remove it."""
    place = path.parent
    while not place.exists() and place != place.parent:
        place = place.parent
    made = Path(tempfile.mkdtemp(prefix=_TRY, dir=place))
    try:
        yield made
    finally:
        made.rmdir()


def _why(error: OSError) -> str:
    return error.strerror or type(error).__name__
