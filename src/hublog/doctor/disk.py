"""The steps on disk: the spool, and the log files."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Final

from hublog.doctor.limits import Budget, TookTooLongError, within
from hublog.doctor.places import whole, why_no_log_file, why_no_spool
from hublog.doctor.result import Result, fail, ok, warn
from hublog.settings import EventHubSettings

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
