"""hublog's own troubles, reported on the logger ``hublog.internal``: to console and file, not to the hub."""

import contextlib
import errno
import logging
import sys
import time
from collections.abc import Callable
from itertools import count
from typing import Final

LOGGER_NAME: Final = "hublog.internal"
#: Set on handlers that do not take our reports, so that a report reaches one that does.
SKIPS_REPORTS: Final = "hublog_skips_reports"

#: Trouble with one destination is reported at most once in this time.
INTERVAL_S: Final = 60.0


def report(level: int, message: str) -> None:
    """Report to the operator; where no handler would take it, standard error does.

    Args:
        level: a ``logging`` level.
        message: ready text without secrets.
    """
    logger = logging.getLogger(LOGGER_NAME)
    if not logger.isEnabledFor(level):
        return
    if _has_listener(logger, level):
        logger.log(level, "%s", message)
        return
    with contextlib.suppress(Exception):  # standard error may be closed: there is no other place
        sys.stderr.write(f"{logging.getLevelName(level)} {LOGGER_NAME}: {message}\n")


def _has_listener(logger: logging.Logger, level: int) -> bool:
    current: logging.Logger | None = logger
    while current is not None:
        for handler in current.handlers:
            if level >= handler.level and not getattr(handler, SKIPS_REPORTS, False):
                return True
        current = current.parent if current.propagate else None
    return False


class LogOutput:
    """Whether console or file work: counts the records that they did not take, and reports trouble once.

    Args:
        lost: what to say of lost records; has ``{records}`` in it, a number and its noun.
        now: monotonic seconds.
    """

    def __init__(self, lost: str, *, now: Callable[[], float] = time.monotonic) -> None:
        self._lost_text = lost
        self._now = now
        self._reported_mono: float | None = None
        #: Failed records in a row.
        self.failures = 0
        #: Whether it is known that it cannot be written, so that reports go elsewhere.
        self.is_failing = False
        #: Records that it did not take.
        self.lost_total = 0
        self._lost_reported = 0

    def lose(self, record: logging.LogRecord) -> None:
        """Count a record that is lost here; our own reports are elsewhere."""
        if record.name != LOGGER_NAME:
            self.lost_total += 1

    def fails(self, text: str) -> None:
        """Note that it cannot be written; reported when it is new.

        Args:
            text: the report: what, why, and what to do.
        """
        self.failures += 1
        if not self.is_failing:
            self.is_failing = True
            self.report(text)

    def works(self) -> None:
        """Note that it was written; the number of lost records is reported."""
        self.failures = 0
        self.is_failing = False
        if self.lost_total > self._lost_reported:
            self._report_lost()

    def flush(self) -> None:
        """Report now how many records were lost, if any."""
        if self.lost_total > self._lost_reported:
            self._reported_mono = None
            self._report_lost()

    def report(self, text: str, level: int = logging.WARNING) -> bool:
        """Report something unless the last report was just now; return whether it was done."""
        now = self._now()
        is_due = self._reported_mono is None or now - self._reported_mono >= INTERVAL_S
        if is_due:
            self._reported_mono = now
            report(level, text)
        return is_due

    def _report_lost(self) -> None:
        lost, before = self.lost_total, self._lost_reported
        self._lost_reported = lost
        # The warning named the cause; this is how much it cost.
        if not self.report(self._lost_text.format(records=count_of_records(lost - before)), logging.INFO):
            self._lost_reported = before


def count_of_records(number: int) -> str:
    """Return a number of records in words."""
    return f"{number:,} record" if number == 1 else f"{number:,} records"


#: What the machine or the limits of the process do not give any more.
_EXHAUSTED: Final = frozenset(
    {errno.ENOSPC, errno.EDQUOT, errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EAGAIN, errno.EFBIG}
)


def is_exhausted(error: BaseException) -> bool:
    """Whether memory, disk, file descriptors, threads or the stack were used up: no error of hublog."""
    if isinstance(error, OSError):
        return error.errno in _EXHAUSTED
    return isinstance(error, MemoryError | RecursionError) or "can't start new thread" in str(error)


def cause_of(error: BaseException) -> str:
    """Return why something failed, in words that hold nothing of a record."""
    if isinstance(error, MemoryError):
        return "no memory is left"
    if isinstance(error, RecursionError):
        return "the application's recursion is too deep"
    if not isinstance(error, OSError) and is_exhausted(error):
        return "no thread can be started"
    return getattr(error, "strerror", None) or type(error).__name__


class AtomicCounter:
    """Counts calls of ``add``, from any thread, signal handler or finalizer: without a lock, and exact.

    ``next`` on ``itertools.count`` is one step of the interpreter.
    """

    __slots__ = ("_count", "add")

    def __init__(self) -> None:
        self._count = count()
        self.add = self._count.__next__

    def read(self) -> int:
        """Return how often ``add`` was called; waits for nobody, of whatever kind its thread is."""
        return int(repr(self._count)[len("count(") : -1])  # to ask it in another way would count
