"""What the doctor checks without a network: misspelt settings, the spool, and the log files."""

import contextlib
import difflib
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

from hublog.doctor.steps import Budget, Result, TookTooLongError, fail, ok, warn, within
from hublog.errors import HublogError
from hublog.settings import SETTINGS, EventHubSettings, Settings
from hublog.settings.values import InvalidValueError

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


#: Tells what waits in a spool, and what of it these settings do not send; the root is there.
LookAtSpool = Callable[[Path, EventHubSettings], Result]

_SLOW: Final = "it does not answer in time, as a lost network drive"
_SPOOL_HINT: Final = (
    "It must be a directory on a local disk that belongs to the user of the process; change it, or set"
    " EVENTHUB_LOG_SPOOL_DIR. Until then records wait in memory only."
)
_FILE_HINT: Final = "Make its directory writable, change LOG_DIR or set FILE_LOGGING_ENABLED=false."


def look_at_spool(root: Path, hub: EventHubSettings, look: LookAtSpool, budget: Budget) -> Result:
    """Try a spool, and tell what waits there.

    Args:
        root: of the spool; it may be missing.
        hub: where the settings send.
        look: tells what waits.
        budget: how long it may take.
    """
    root = whole(root)
    reason = _in_time(lambda: why_no_spool(root), budget)
    if reason:
        return fail("spool", f"{root} cannot be used: {reason}", _SPOOL_HINT)
    try:
        return within(budget.open_s(), lambda: look(root, hub) if root.exists() else _nothing_in(root))
    except TookTooLongError:
        detail = f"{root} can be used; what waits there could not be read in time"
        return warn("spool", detail, "Look with hublog spool list, which takes its time.")


def look_at_files(paths: Sequence[Path], ours: Sequence[Path], budget: Budget) -> Iterator[Result]:
    """Try whether log files can be written.

    Args:
        paths: of the files; they and their directories may be missing.
        ours: those that hublog's own handler writes.
        budget: how long each may take.
    """
    for path in map(whole, paths):
        reason = _in_time(lambda path=path: why_no_log_file(path, is_ours=path in ours), budget)  # type: ignore[misc]  # mypy does not know the default's type
        if reason:
            yield fail("log file", f"{path} cannot be written: {reason}", _FILE_HINT)
        else:
            yield ok("log file", f"{path} can be written")


def _nothing_in(root: Path) -> Result:
    return ok("spool", f"{root} can be made; nothing waits")


def _in_time(find: Callable[[], str], budget: Budget) -> str:
    try:
        return within(budget.step_s(), find)
    except TookTooLongError:
        return _SLOW


#: How like a name must be, by its beginning: the more a beginning is ours alone, the less.
_LIKENESS: Final = (("EVENTHUB_LOG", 0.8), ("EVENTHUB_", 0.9), ("LOG_", 0.85), ("FILE_LOG", 0.85))
_OURS: Final = "EVENTHUB_"
_KNOWN: Final = {setting.name: setting for setting in SETTINGS}
#: What is looked at; all other names are somebody else's.
BEGINNINGS: Final = tuple(beginning for beginning, _ in _LIKENESS)


def misspelt(names: Mapping[str, object]) -> Iterator[tuple[str, str]]:
    """Yield each name that is almost that of a setting, and the setting.

    A name that may be anybody's is told only if its value is one that the setting takes.

    Args:
        names: of an environment or a framework's configuration, with their values.
    """
    for name, value in names.items():
        meant = "" if name in _KNOWN else _almost(name, value)
        if meant:
            yield name, meant


def _almost(name: str, value: object) -> str:
    least = next((least for beginning, least in _LIKENESS if name.startswith(beginning)), 0.0)
    found = difflib.get_close_matches(name, _KNOWN, n=1, cutoff=least) if least else []
    if not found:
        return ""
    if not name.startswith(_OURS):
        try:
            _KNOWN[found[0]].kind.parse(value)
        except InvalidValueError:
            return ""
    return found[0]
