"""The handler of the log file: archived as gzip, safe for several processes; a failure is reported once."""

import contextlib
import errno
import logging
import os
import time
from collections.abc import Callable
from typing import Final

from hublog.capture.stdlib_formatters import FormatsFirst, JsonFormatter
from hublog.configure.archives import NO_FILE, kind_of
from hublog.configure.rotating_file import RotatingFile, absolute_path, check_right, make_directory
from hublog.internal_log import LogOutput, cause_of, is_exhausted, report
from hublog.process_hooks import process_hooks
from hublog.runtime.handler_watch import watch

#: A file that cannot be opened is tried with each of the first records, then once per interval.
_FREE_TRIES: Final = 10
_RETRY_S: Final = 1.0
#: What prevents archiving is reported once per interval.
_REPEAT_S: Final = 3_600.0
#: Process exit waits this long for an archive that is being compressed; the next process completes it.
_CLOSE_WAIT_S: Final = 2.0


class FileLogHandler(FormatsFirst, logging.FileHandler):
    """Appends each record to a file with one write, and archives the file as ``<name>.1.gz`` and so on.

    No log call waits for another process, and nothing raises, including this constructor. A missing
    directory is created (mode 0750, new files 0640; a new log file inherits owner, group and mode of the
    archived one). A link, a named pipe or a directory in place of the file is refused. While nothing can be
    written, records are counted, and one warning on ``hublog.internal`` names the cause. Archives
    are compressed in a thread.

    Args:
        filename: path of the file; all processes that share it need the same values of the other two.
        max_bytes: size at which it is archived before the next record; 0 means never.
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
        # Not FileHandler's own, which needs a working directory; isinstance checks still find a FileHandler.
        logging.Handler.__init__(self)
        process_hooks.install()
        self.stream = None  # nobody else writes to the file
        self.mode, self.encoding, self.errors, self.delay = "a", "utf-8", "backslashreplace", True
        self._now = now
        self._warnings: list[str] = []
        self._reported_mono: dict[str, float] = {}
        self._file = RotatingFile(
            _absolute(os.fsdecode(filename)),
            max_bytes=max_bytes,
            # Zero would discard the full file.
            backup_count=max(backup_count, 1),
            report=self._warnings.append,
            now=now,
        )
        path = self._file.path.replace("{", "{{").replace("}", "}}")
        self._state = LogOutput(f"The log file {path} lacks {{records}}: it could not be written.", now=now)
        self._retry_mono = 0.0
        watch()

    @property
    def baseFilename(self) -> str:  # type: ignore[override]  # noqa: N802  # the name is logging's
        """The path of the file."""
        return self._file.path

    @property
    def lockFilename(self) -> str:  # noqa: N802  # the name is that of concurrent-log-handler
        """The path of the lock file."""
        return self._file.lock_path

    @property
    def lost_total(self) -> int:
        """Records missing from the file, since it could not be written."""
        return self._state.lost_total

    @property
    def hublog_skips_reports(self) -> bool:
        """Read by ``internal_log``: reports go elsewhere while the file cannot be written."""
        return self._state.is_failing

    def check(self, *, is_reported: bool = False) -> bool:
        """Report now, not at the first record, if the file cannot be written; does not create it.

        It stays silent if a failure of this directory is reported already. Returns whether it can be written.
        """
        try:
            path = absolute_path(self.baseFilename)
            folder = os.path.dirname(path)  # noqa: PTH120  # as in the rest of the handler
            make_directory(folder)
            kind = kind_of(path)
            if kind:
                raise OSError(errno.EINVAL, f"{os.path.basename(path)} is {kind}, not a file")  # noqa: PTH119, TRY301
            check_right(path if os.path.exists(path) else folder)  # noqa: PTH110
        except (OSError, ValueError) as error:
            self._state.is_failing = is_reported
            self._fail(error)
            return False
        return True

    def emit(self, record: logging.LogRecord) -> None:
        """Write a record; a directory that was removed is created again."""
        state = self._state
        if state.failures >= _FREE_TRIES and self._now() < self._retry_mono:
            state.lose(record)
            return
        line = self._line(record)
        if not line:
            return
        try:
            if lock := self.lock:
                lock.acquire()  # a third of the cost of ``with``
            try:
                if completed := self._file.append(line):
                    state.lost_total -= completed
            finally:
                if lock:
                    lock.release()
        except Exception as error:  # noqa: BLE001  # as above
            state.lose(record)
            self._fail(error)
        else:
            if state.failures or state.lost_total:
                state.works()
        if self._warnings:
            self._report_warnings()

    def _line(self, record: logging.LogRecord) -> bytes:
        """Return the line of a record; empty if its formatter raised, which is counted and reported."""
        formatter = self.formatter
        try:
            if type(formatter) is JsonFormatter:  # a subclass may have a ``format`` of its own
                return formatter.format_bytes(record) + b"\n"
            return f"{self.format(record)}\n".encode("utf-8", "backslashreplace")
        except (Exception, SystemExit) as error:  # noqa: BLE001  # a log call never raises
            self._state.lose(record)
            if not isinstance(error, RecursionError):  # as in ``_fail``
                text = f"A record is not in the log file: its formatter raised {type(error).__name__}."
                self._state.report(text)
            return b""

    def flush(self) -> None:
        """Report the number of missing records, if any; each record is written at once."""
        self._state.flush()

    def close(self) -> None:
        """Close the file; at process exit wait for the compression of an archive, 2 s at most."""
        self.acquire()
        try:
            self._file.close()
        finally:
            self.release()
        if not _holds_logging_lock():
            self._file.wait(_CLOSE_WAIT_S)
        logging.Handler.close(self)

    def _fail(self, error: BaseException) -> None:
        if isinstance(error, RecursionError):  # a report would raise it again
            return
        self._retry_mono = self._now() + _RETRY_S
        self._state.fails(
            f"The log file {self.baseFilename} cannot be written ({cause_of(error)}); everything else"
            f" works. To fix it, {_remedy(error)}change LOG_DIR or set FILE_LOGGING_ENABLED=false."
        )

    def _report_warnings(self) -> None:
        warnings, self._warnings[:] = list(self._warnings), []
        for text in warnings:
            reported = self._reported_mono.get(text)
            if reported is None or self._now() - reported >= _REPEAT_S:
                self._reported_mono[text] = self._now()
                report(logging.WARNING, text)


def _absolute(path: str) -> str:
    """Return the absolute path; unchanged if the working directory was removed."""
    with contextlib.suppress(OSError, ValueError):
        return absolute_path(path)
    return path


def _remedy(error: BaseException) -> str:
    """Return what to do about the cause, apart from changing the directory."""
    code = error.errno if isinstance(error, OSError) else None
    if code in (errno.ENOSPC, errno.EDQUOT):
        return "free disk space, "
    if code in (errno.EMFILE, errno.ENFILE):
        return "raise the limit of open files, "
    if is_exhausted(error):
        return "raise the limits of the process, "
    if code == errno.EROFS:
        return "mount a writable volume, "
    if code in NO_FILE:
        return "remove what is in its place, "
    return "" if isinstance(error, FileNotFoundError) else "make its directory writable, "


def _holds_logging_lock() -> bool:
    """Whether this thread holds the lock of ``logging``, as ``dictConfig`` does: it must not wait then."""
    owned = getattr(getattr(logging, "_lock", None), "_is_owned", None)
    return bool(owned()) if owned is not None else True
