"""The log file as a destination: archived as gzip, safe for several processes; trouble is reported once."""

import contextlib
import errno
import logging
import os
import time
from collections.abc import Callable
from typing import Final

from hublog.capture.removal import watch
from hublog.configure.archives import NO_FILE, kind_of
from hublog.configure.rotating_file import RotatingFile, check_right, gone, make_directory
from hublog.internal_log import Destination, cause_of, is_exhausted, report

#: A file that cannot be opened is tried with each of the first records, then once in this time.
_FREE_TRIES: Final = 10
_RETRY_S: Final = 1.0
#: What keeps the file from being archived is reported once in this time.
_REPEAT_S: Final = 3_600.0
#: The end of a process waits this long for an archive that is being compressed; the next one finishes it.
_CLOSE_WAIT_S: Final = 2.0


class FileLogHandler(logging.FileHandler):
    """Appends each record to a file by one write, and archives the file as ``<name>.1.gz`` ....

    No log call waits for another process, and nothing is raised, also not by this constructor. A missing
    directory is made (mode 0750, new files 0640; an archived file hands on owner, group and mode). A link,
    a named pipe or a directory in place of a file is refused. While nothing can be written, records are
    counted, and one warning on ``hublog.internal`` names the cause. Archives above 64 KiB are compressed in
    a thread.

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
        # Not the one of FileHandler, which needs a working directory; the class is for those who look for it.
        logging.Handler.__init__(self)
        self.stream = None  # nobody writes past us
        self.mode, self.encoding, self.errors, self.delay = "a", "utf-8", "backslashreplace", True
        self._now = now
        self._doubts: list[str] = []
        self._doubts_told: dict[str, float] = {}
        self._file = RotatingFile(
            _absolute(os.fsdecode(filename)),
            max_bytes=max_bytes,
            # Zero would throw the full file away.
            backup_count=max(backup_count, 1),
            report=self._doubts.append,
            now=now,
        )
        path = self._file.path.replace("{", "{{").replace("}", "}}")
        self._state = Destination(f"The log file {path} lacks {{records}}: it could not be written.", now=now)
        self._retry_mono = 0.0
        watch()

    @property
    def baseFilename(self) -> str:  # type: ignore[override]  # noqa: N802  # the name is logging's
        """The path of the file."""
        return self._file.path

    @property
    def lockFilename(self) -> str:  # noqa: N802  # one name for it, whichever version of the file is asked
        """The path of the lock file."""
        return self._file.lock_path

    @property
    def is_open(self) -> bool:
        """Whether the file is open."""
        return self._file.is_open

    @property
    def lost_total(self) -> int:
        """Records that are not in the file, since it could not be written."""
        return self._state.lost_total

    @property
    def hublog_skips_reports(self) -> bool:
        """Read by ``reports``: a report goes elsewhere while this file cannot take it."""
        return self._state.is_failing

    def check(self, *, is_told: bool = False) -> bool:
        """Report now, not at the first record, if the file cannot be written; it is not made by this.

        Args:
            is_told: trouble with this directory has been reported already, so stay silent.

        Returns:
            Whether the file can be written.
        """
        try:
            path = _checked(self.baseFilename)
            folder = os.path.dirname(path)  # noqa: PTH120  # as in the rest of the handler
            make_directory(folder)
            kind = kind_of(path)
            if kind:
                raise OSError(errno.EINVAL, f"{os.path.basename(path)} is {kind}, not a file")  # noqa: PTH119, TRY301
            check_right(path if os.path.exists(path) else folder)  # noqa: PTH110
        except (OSError, ValueError) as error:
            self._state.is_failing = is_told
            self._fail(error)
            return False
        return True

    def emit(self, record: logging.LogRecord) -> None:
        """Write a record; a directory that has gone is made again."""
        state = self._state
        if state.failures >= _FREE_TRIES and self._now() < self._retry_mono:
            state.lose(record)
            return
        try:
            line = f"{self.format(record)}\n".encode("utf-8", "backslashreplace")
        except (Exception, SystemExit) as error:  # noqa: BLE001  # a log call never raises, and shows no record
            state.lose(record)
            if not isinstance(error, RecursionError):  # a report would raise it again
                state.report(f"A record is not in the log file: its formatter raised {type(error).__name__}.")
            return
        try:
            with self.lock or contextlib.nullcontext():
                state.lost_total -= self._file.append(line)
        except Exception as error:  # noqa: BLE001  # as above
            state.lose(record)
            if not isinstance(error, RecursionError):
                self._fail(error)
        else:
            if state.failures or state.lost_total:
                state.works()
        if self._doubts:
            self._report_doubts()

    def handle(self, record: logging.LogRecord) -> bool:
        """Pass a record on unless a filter refuses it; it is formatted before the threads' lock is taken."""
        found: object = self.filter(record)
        if found:
            self.emit(found if isinstance(found, logging.LogRecord) else record)
        return bool(found)

    def flush(self) -> None:
        """Report how many records are not in the file, if any; each record is written at once."""
        self._state.flush()

    def close(self) -> None:
        """Close the file; at the end of a process wait for the archive that it compresses, 2 s at most."""
        self.acquire()
        try:
            self._file.close()
        finally:
            self.release()
        if not _holds_logging_lock():
            self._file.wait(_CLOSE_WAIT_S)
        logging.Handler.close(self)

    def _fail(self, error: BaseException) -> None:
        self._retry_mono = self._now() + _RETRY_S
        self._state.fails(
            f"The log file {self.baseFilename} cannot be written ({cause_of(error)}), everything else goes"
            f" on; {_remedy(error)}change LOG_DIR or set FILE_LOGGING_ENABLED=false."
        )

    def _report_doubts(self) -> None:
        doubts, self._doubts[:] = list(self._doubts), []
        for text in doubts:
            told = self._doubts_told.get(text)
            if told is None or self._now() - told >= _REPEAT_S:
                self._doubts_told[text] = self._now()
                report(logging.WARNING, text)


def _absolute(path: str) -> str:
    """Return the whole path; as it is where the working directory was removed."""
    try:
        return os.path.abspath(path)  # noqa: PTH100  # not resolve: a link is a name of its own
    except (OSError, ValueError):
        return path


def _remedy(error: BaseException) -> str:
    """Return what to do about the cause, besides another directory."""
    code = error.errno if isinstance(error, OSError) else None
    if code in (errno.ENOSPC, errno.EDQUOT):
        return "make room on its disk, "
    if code in (errno.EMFILE, errno.ENFILE):
        return "raise the limit of open files, "
    if is_exhausted(error):
        return "raise the limits of the process, "
    if code == errno.EROFS:
        return "mount a volume there that can be written, "
    if code in NO_FILE:
        return "remove what stands in its place, "
    return "" if isinstance(error, FileNotFoundError) else "make its directory writable, "


def _checked(path: str) -> str:
    try:
        return os.path.abspath(path)  # noqa: PTH100
    except FileNotFoundError as error:
        raise gone(error) from None


def _holds_logging_lock() -> bool:
    """Whether this thread holds the lock that every thread may need: in ``dictConfig``, at least."""
    owned = getattr(getattr(logging, "_lock", None), "_is_owned", None)
    return bool(owned()) if owned is not None else True
