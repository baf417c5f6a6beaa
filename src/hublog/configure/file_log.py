"""The log file: rotated, archived as gzip, safe for several processes; trouble with it is told once."""

import logging
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from concurrent_log_handler import ConcurrentRotatingFileHandler

from hublog.reports import report

DIRECTORY_MODE: Final = 0o750
FILE_MODE: Final = 0o640
#: A file that works and fails in turn is told of at most once in this time.
REPORT_INTERVAL_S: Final = 60.0


class FileLogHandler(ConcurrentRotatingFileHandler):
    """Appends to a file under a lock that all processes share, and archives it as ``<name>.1.gz`` ....

    The lock is the file ``.__<stem>.lock`` beside it, held for one record or one archiving; the system
    frees it when its process dies. A forked child takes its own. There is no thread and no exit hook.
    A missing directory is made (mode 0750, new files 0640). While nothing can be written the
    handler tries again with each record, says so once on ``hublog.internal`` and raises nothing.

    Args:
        filename: path of the file; all processes that share it need the same values of the other two.
        max_bytes: size from which on it is archived before the next record; 0 means never.
        backup_count: archives kept; 1 or more.
        now: monotonic seconds.
    """

    def __init__(
        self,
        filename: str | os.PathLike[str],
        *,
        max_bytes: int = 10 << 20,
        backup_count: int = 10,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__(
            os.fspath(filename),
            maxBytes=max_bytes,
            # Zero would make the library empty the full file.
            backupCount=max(backup_count, 1),
            encoding="utf-8",
            use_gzip=True,
            chmod=FILE_MODE,
            unicode_error_policy="replace",
        )
        self._now = now
        self._told_mono: float | None = None
        self._is_failing = False
        self._may_retry = True
        #: Read by ``reports``: a report goes elsewhere while this file cannot take it.
        self.hublog_skips_reports = False

    def check(self, *, is_told: bool = False) -> bool:
        """Tell now, not at the first record, if the file cannot be written; it is not made by this.

        Args:
            is_told: trouble with this directory has been told already, so stay silent.

        Returns:
            Whether the file can be written.
        """
        path = Path(self.baseFilename)
        try:
            _make_directory(path.parent)
            target = path if path.exists() else path.parent
            if not os.access(target, os.W_OK):
                raise PermissionError(0, "no right to write")
        except OSError as error:
            self.hublog_skips_reports = is_told
            self._fail(error)
            return False
        return True

    def emit(self, record: logging.LogRecord) -> None:
        """Write a record; a directory that has gone is made again."""
        self._is_failing = False
        self._may_retry = True
        super().emit(record)
        if not self._is_failing:
            self.hublog_skips_reports = False

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802  # the name is logging's
        """Try once more if the directory was missing, else tell the operator; called in ``except``."""
        error = sys.exception()
        if isinstance(error, FileNotFoundError) and self._may_retry:
            self._may_retry = False
            try:
                _make_directory(Path(self.baseFilename).parent)
            except OSError as reason:
                self._fail(reason)
            else:
                super().emit(record)
            return
        self._fail(error)

    def _fail(self, error: BaseException | None) -> None:
        is_new = not self.hublog_skips_reports
        self._is_failing = self.hublog_skips_reports = True
        now = self._now()
        if is_new and (self._told_mono is None or now - self._told_mono >= REPORT_INTERVAL_S):
            self._told_mono = now
            reason = getattr(error, "strerror", None) or type(error).__name__
            report(
                logging.WARNING,
                f"The log file {self.baseFilename} cannot be written ({reason}), everything else goes on;"
                " make its directory writable, change LOG_DIR or set FILE_LOGGING_ENABLED=false.",
            )
            # The report came by here too, in the middle of a failing record.
            self._is_failing = True


def _make_directory(path: Path) -> None:
    path.mkdir(DIRECTORY_MODE, parents=True, exist_ok=True)
