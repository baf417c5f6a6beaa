"""The checks that need no network: misspelt settings, the spool, and the log files."""

import contextlib
import difflib
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

from hublog.doctor.steps import StepResult, StepTimeoutError, TimeBudget, fail, ok, run_with_timeout, warn
from hublog.errors import HublogError
from hublog.settings import SETTINGS, EventHubSettings, Settings, SpoolMode
from hublog.settings.values import InvalidValueError

_TRY: Final = ".hublog-try-"
_GONE: Final = "the working directory of the process was removed, and the path is relative to it"


def spool_problem(root: Path) -> str:
    """Return why a directory cannot be a spool; empty if it can.

    An existing root is tested as each process tests it at its start; for a missing one, whether it could be
    created.
    """
    try:
        from hublog.spool import locking  # noqa: PLC0415  # needs fcntl
    except ImportError:
        return "this system has no file locks (fcntl)"
    root = absolute(root)
    if not root.is_absolute():
        return _GONE
    try:
        if root.exists():
            reason = locking.why_unsafe_root(root.stat())
            if reason:
                return reason
            locking.probe(root)
        else:
            with _probe_directory(root) as tried:
                locking.probe(tried)
    except OSError as error:
        return _why(error)
    except HublogError as error:
        return _why(error.__cause__) if isinstance(error.__cause__, OSError) else str(error)
    return ""


def log_files(settings: Settings) -> list[Path]:
    """Return the log files that these settings write, as absolute paths."""
    from hublog.configure.handlers import file_name  # noqa: PLC0415  # loads the handlers

    return [absolute(settings.log_dir / file_name())] if settings.file.enabled else []


def absolute(path: Path) -> Path:
    """Return an absolute path; the path itself where the working directory was removed."""
    try:
        return path.absolute()
    except FileNotFoundError:
        return path


def log_file_problem(path: Path, *, is_ours: bool = False) -> str:
    """Return why a log file cannot be written; empty if it can, also where it is still to be created.

    Hublog's own handler does not follow links.
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
                return f"{path} is not a file"
            check_right(str(path))
            return ""
        with _probe_directory(path):
            return ""
    except OSError as error:
        return _why(error)


@contextlib.contextmanager
def _probe_directory(path: Path) -> Iterator[Path]:
    """Create a directory where the first missing part of a path would be created, and remove it."""
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


#: Checks the records in an existing spool.
CheckSpoolContent = Callable[[Path, EventHubSettings], StepResult]

_SLOW: Final = "no answer in time; a network drive may be unavailable"
_SPOOL_HINT: Final = (
    "It must be a directory on a local disk, owned by the user of the process: fix it, or set"
    " EVENTHUB_LOG_SPOOL_DIR. Until then records are buffered in memory only."
)
_FILE_HINT: Final = "Make its directory writable, change LOG_DIR, or set FILE_LOGGING_ENABLED=false."


def check_disk(
    settings: Settings, paths: Sequence[Path], check_content: CheckSpoolContent, budget: TimeBudget
) -> Iterator[StepResult]:
    """Check the spool, where one is used, and the log files; for both ``doctor`` and ``status``."""
    hub = settings.eventhub
    if hub.enabled and hub.spool is not SpoolMode.MEMORY:
        yield _check_spool(settings.spool_dir, hub, check_content, budget)
    yield from _check_log_files(paths, log_files(settings), budget)


def _check_spool(
    root: Path, hub: EventHubSettings, check_content: CheckSpoolContent, budget: TimeBudget
) -> StepResult:
    """Check whether a spool can be used or created, and the records in it."""
    root = absolute(root)
    reason = _in_time(lambda: spool_problem(root), budget)
    if reason:
        return fail("spool", f"{root} cannot be used: {reason}", _SPOOL_HINT)
    try:
        return run_with_timeout(
            budget.open_s(), lambda: check_content(root, hub) if root.exists() else _nothing_in(root)
        )
    except StepTimeoutError:
        detail = f"{root} can be used; its contents could not be read in time"
        return warn("spool", detail, "Run hublog spool list, which has no time limit.")


def _check_log_files(paths: Sequence[Path], ours: Sequence[Path], budget: TimeBudget) -> Iterator[StepResult]:
    """Check whether log files can be written or created; ``ours`` are those of hublog's own handler."""
    for path in map(absolute, paths):
        reason = _in_time(lambda path=path: log_file_problem(path, is_ours=path in ours), budget)  # type: ignore[misc]  # mypy does not know the default's type
        if reason:
            yield fail("log file", f"{path} cannot be written: {reason}", _FILE_HINT)
        else:
            yield ok("log file", f"{path} can be written")


def _nothing_in(root: Path) -> StepResult:
    return ok("spool", f"{root} can be created; no records waiting")


def _in_time(find: Callable[[], str], budget: TimeBudget) -> str:
    try:
        return run_with_timeout(budget.step_s(), find)
    except StepTimeoutError:
        return _SLOW


#: Minimum similarity of a name to a setting's by its prefix: lower for prefixes that only hublog uses.
_SIMILARITY: Final = (("EVENTHUB_LOG", 0.8), ("EVENTHUB_", 0.9), ("LOG_", 0.85), ("FILE_LOG", 0.85))
_OURS: Final = "EVENTHUB_"
_KNOWN: Final = {setting.name: setting for setting in SETTINGS}
#: Names with other prefixes are not checked.
PREFIXES: Final = tuple(prefix for prefix, _ in _SIMILARITY)


def misspelt(names: Mapping[str, object]) -> Iterator[tuple[str, str]]:
    """Yield each name that is almost that of a setting, and the setting.

    A name that other software may use is reported only if its value is valid for the setting.
    """
    for name, value in names.items():
        meant = "" if name in _KNOWN else _almost(name, value)
        if meant:
            yield name, meant


def _almost(name: str, value: object) -> str:
    least = next((least for prefix, least in _SIMILARITY if name.startswith(prefix)), 0.0)
    matches = difflib.get_close_matches(name, _KNOWN, n=1, cutoff=least) if least else []
    if not matches:
        return ""
    if not name.startswith(_OURS):
        try:
            _KNOWN[matches[0]].kind.parse(value)
        except InvalidValueError:
            return ""
    return matches[0]
