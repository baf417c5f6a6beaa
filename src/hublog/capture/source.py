"""Where a record was made: file, line, function, level, logger, thread; encoded once for each place."""

import logging
import os
import sys
from typing import Final

from hublog.capture.json_safe import plain, text_of
from hublog.capture.typed_columns import encode_columns, put

_SEVERITIES: Final = ((50, 21), (40, 17), (30, 13), (20, 9), (10, 5))
_TRACE: Final = 1
_PACKAGES: Final = (f"{os.sep}site-packages{os.sep}", f"{os.sep}dist-packages{os.sep}")


def call_site(record: logging.LogRecord) -> dict[str, object]:
    """Return what is the same for every record of this place in the code, as it stands on the record."""
    return {
        "level": record.levelname,
        "level_number": record.levelno,
        "severity_number": severity(record.levelno),
        "logger_name": record.name,
        "source_file": relative(text_of(record.pathname)),
        "source_module": record.module,
        "source_function": record.funcName,
        "source_line": record.lineno,
    }


def thread_of(record: logging.LogRecord) -> dict[str, object]:
    """Return what is the same for every record of this thread and process, as it stands on the record."""
    return {
        "process_id": record.process,
        "thread_id": record.thread,
        "thread_name": record.threadName,
        "process_name": record.processName,
    }


def encoded_call_site(record: logging.LogRecord) -> bytes:
    """Return the call site's columns as a fragment of the line.

    Raises:
        ValueError: a value does not fit its column; the slow way puts it elsewhere.
    """
    return _encoded(call_site(record))


def encoded_thread(record: logging.LogRecord) -> bytes:
    """Return the thread's columns as a fragment of the line.

    Raises:
        ValueError: a value does not fit its column; the slow way puts it elsewhere.
    """
    return _encoded(thread_of(record))


def _encoded(values: dict[str, object]) -> bytes:
    columns: dict[str, object] = {}
    for name, value in values.items():
        if not put(columns, name, plain(value)):
            raise ValueError(name)
    return encode_columns(columns)


def severity(level: object) -> int:
    """Return the OpenTelemetry severity number (1 to 21) of a Python level."""
    number = level if isinstance(level, int) else 0
    return next((severity for border, severity in _SEVERITIES if number >= border), _TRACE)


def relative(path: str) -> str:
    """Shorten a path: below the working directory, or below an installed-packages directory."""
    for marker in _PACKAGES:
        _, found, rest = path.rpartition(marker)
        if found:
            return rest
    root = _working_directory()
    if root and path.startswith(root):
        return path[len(root) :]
    return path


def _working_directory() -> str:
    try:
        return os.path.join(os.getcwd(), "")  # noqa: PTH109, PTH118  # text in, text out, in the log call
    except OSError:  # it was deleted
        return sys.prefix + os.sep
