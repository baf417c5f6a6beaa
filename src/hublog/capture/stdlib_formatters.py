"""Formatters and a handler for ``logging``: the console's text, and the line of the Event Hub as text."""

import contextlib
import io
import logging
import os
import sys
import time
from collections.abc import Mapping
from dataclasses import fields
from functools import lru_cache
from typing import Any, Final, TextIO

from hublog.capture.columns import BY_NAME
from hublog.capture.context import stored
from hublog.capture.exceptions import frames_of, is_ordinary, print_of
from hublog.capture.formatter import LineFormatter
from hublog.capture.interop import read, take_as_meant
from hublog.capture.json_safe import mark, plain, text_of, whole_text_of
from hublog.capture.origin import format_where_made
from hublog.capture.slow_path import rendered
from hublog.errors import SettingsError
from hublog.internal_log import LogOutput, cause_of
from hublog.line import NO_DATACLASSES, dumps, escape_line_ends, loads, with_last
from hublog.redaction.redactor import Redactor, redaction_of, redactor_for
from hublog.settings import RedactionSettings, ServiceSettings
from hublog.terminal import WERKZEUG, harmless_lines, is_usual, of_werkzeug

#: A longer text that may hold secrets is shown by its ends of together ``MAX_SHOWN`` characters.
MAX_WHOLE: Final = 65_536
MAX_SHOWN: Final = 32_768
_INDENT: Final = "\n    "
#: Encodings without a mark at the begin; on Windows line breaks differ, and the stream does all of it.
_ENCODINGS: Final = frozenset(
    {"utf-8", "ascii", "us-ascii", "iso-8859-1", "iso8859-1", "latin-1"} if os.sep == "/" else ()
)


class ConsoleFormatter(logging.Formatter):
    """Formats a record as ``2026-11-23 13:10:31,123 INFO     shop.orders [request id] message``.

    No text of the application can look like a record of its own, hide what follows or move the cursor:
    further lines of a message and all lines of a traceback are indented, and what a terminal obeys instead
    of showing it is written out. Colours are left out but for those of Werkzeug's own log. The request id
    is there inside a request only. Secrets are taken out of message and traceback; of a text that is longer
    than ``MAX_WHOLE`` characters and may hold some, the ends are shown.

    Args:
        redaction: what is taken out, as settings or as a mapping of their fields; None for what the
            environment says.
        datefmt: not used, like the next two: logging passes them for the key ``class`` of ``dictConfig``.
        style: not used.
        validate: not used.

    Raises:
        SettingsError: the mapping is invalid; each problem is named.
    """

    def __init__(
        self,
        redaction: RedactionSettings | Mapping[str, object] | None = None,
        datefmt: str | None = None,
        style: str = "%",
        validate: bool = True,  # noqa: FBT001, FBT002  # the place and name are logging's
    ) -> None:
        super().__init__()
        del datefmt, style, validate
        problems: list[str] = []
        taken_out = redaction_of(redaction, problems)
        if problems:
            raise SettingsError(problems)
        self._redactor = redactor_for(taken_out)
        self._second: tuple[float | None, str] = (None, "")

    def format(self, record: logging.LogRecord) -> str:
        """Return the text of a record; a message that cannot be made is shown by its template."""
        return format_where_made(record, self._format)

    def formatTime(self, record: logging.LogRecord, datefmt: str | None = None) -> str:  # noqa: N802  # logging's
        """Return the time as ``logging`` does; its second is shown anew once a second (1.3 -> 0.4 µs)."""
        if datefmt:
            return super().formatTime(record, datefmt)
        second = record.created // 1
        last, text = self._second
        if second != last:
            text = time.strftime(self.default_time_format, self.converter(second))
            self._second = second, text
        return self.default_msec_format % (text, record.msecs) if self.default_msec_format else text

    def _format(self, record: logging.LogRecord) -> str:
        head = f"{_time(self, record)} {_place(record.levelname, record.name)}"
        request_id = stored().fields.get("request_id")
        if request_id:
            head = f"{head} [{text_of(request_id)}]"
        template: object = record.msg
        message = _message(record, self._redactor)
        if isinstance(template, dict):
            record, message = _event(record, message, self._redactor)
        if not (type(template) is str and self._redactor.completes_none(template, message)):
            message = self._scrub(message)
        text = f"{head} {message}"
        if not is_usual(text):
            show = of_werkzeug if record.name == WERKZEUG else harmless_lines
            text = f"{harmless_lines(head)} {show(message)}"
        details = record.exc_text or (self.formatException(record.exc_info) if record.exc_info else "")
        for part in (details, self.formatStack(record.stack_info) if record.stack_info else ""):
            if part:
                text = f"{text}{_INDENT}{harmless_lines(self._scrub(part))}"
        return text

    def formatException(self, ei: Any) -> str:  # noqa: ANN401, N802  # name and type are logging's
        """Return a traceback as Python prints it, and bounded where that would be without end."""
        if is_ordinary(ei[1]):
            try:
                return super().formatException(ei)
            except Exception:  # noqa: BLE001, S110  # its own names may be anything, which Python relies upon
                pass
        return print_of(ei[1], frames_of(ei[2]), self._redactor).rstrip("\n") if ei[1] is not None else ""

    def _scrub(self, text: str) -> str:
        redactor = self._redactor
        if not redactor.is_on or (len(text) > MAX_WHOLE and redactor.cannot_hold_secret(text)):
            return text
        return redactor.bounded(text, MAX_WHOLE, MAX_SHOWN)


class FormatsFirst(logging.Handler):
    """A handler that formats a record before it takes its lock, which is held for the write alone."""

    def handle(self, record: logging.LogRecord) -> bool:
        """Emit a record unless a filter rejects it."""
        passed: object = self.filter(record)
        if passed:
            self.emit(passed if isinstance(passed, logging.LogRecord) else record)
        return bool(passed)


class ConsoleHandler(FormatsFirst, logging.StreamHandler[TextIO]):
    """Writes to ``sys.stdout``, looked up for each record since test runners replace it.

    What is no text stream is passed by for the process's own standard output: Celery's stand-in logs
    what is written to it, and would send each record around once more. While it cannot be written
    (closed, full, nobody reads the pipe), records are counted, and one warning on ``hublog.internal``
    names the cause; no record is shown elsewhere and nothing is raised.
    """

    def __init__(self, level: int = logging.NOTSET) -> None:
        logging.Handler.__init__(self, level)
        self._state = LogOutput("The console lacks {records}: it could not be written.")
        #: What a pipe that is full left over of a record, and the descriptor it belongs to.
        self._rest: tuple[int, bytes] | None = None

    @property
    def stream(self) -> TextIO | None:  # type: ignore[override]  # logging's own last resort does the same
        """Standard output as it is now; None in a process that has none."""
        stream: object = sys.stdout
        return sys.stdout if isinstance(stream, io.TextIOBase) else sys.__stdout__

    @property
    def lost_total(self) -> int:
        """Records that are not on the console, since it could not be written."""
        return self._state.lost_total

    @property
    def hublog_skips_reports(self) -> bool:
        """Read by ``reports``: a report goes elsewhere while the console cannot take it."""
        return self._state.is_failing or self.stream is None

    def emit(self, record: logging.LogRecord) -> None:
        """Write a record; what the stream's encoding lacks is written escaped."""
        stream: TextIO | None = sys.stdout
        # 0.3 µs to look for a stand-in.
        if type(stream) is not io.TextIOWrapper and (stream := self.stream) is None:
            return
        state = self._state
        try:
            text = self.format(record) + self.terminator
        except RecursionError:
            raise
        except (Exception, SystemExit) as error:  # noqa: BLE001  # a log call never raises, and shows no record
            state.lose(record)
            state.report(f"A record is not on the console: its formatter raised {type(error).__name__}.")
            return
        try:
            self._write(stream, text)
        except RecursionError:
            raise
        except Exception as error:  # noqa: BLE001  # as above
            cause = "standard output is closed" if isinstance(error, ValueError) else cause_of(error)
            state.lose(record)
            state.fails(
                f"The console cannot be written ({cause}), everything else goes on; see where"
                " standard output leads, or set LOG_TO_STDOUT=false."
            )
        else:
            if state.failures or state.lost_total:
                state.works()

    def _write(self, stream: TextIO, text: str) -> None:
        """Write past the stream's buffer, which would keep what cannot be written and fail again at exit."""
        descriptor = _descriptor_of(stream)
        if lock := self.lock:
            lock.acquire()  # a third of the cost of ``with``
        try:
            if descriptor is None:
                _write(stream, text)
                return
            stream.flush()
            if self._rest is not None:
                rest, self._rest = self._rest, None
                if rest[0] == descriptor:
                    self._put(descriptor, rest[1], is_begun=True)
                    self._state.lost_total -= 1
            self._put(descriptor, _encoded(stream, text))
        finally:
            if lock:
                lock.release()

    def _put(self, descriptor: int, data: bytes, *, is_begun: bool = False) -> None:
        left = data
        while left:
            try:
                left = left[os.write(descriptor, left) :]
            except OSError:
                if is_begun or len(left) < len(data):  # the other half comes first once there is room
                    self._rest = descriptor, left
                raise

    def flush(self) -> None:
        """Flush standard output, if there is one that is open; report how many records it did not take."""
        stream = self.stream
        with contextlib.suppress(OSError, ValueError):
            if stream is not None and not stream.closed:
                stream.flush()
        self._state.flush()


def _descriptor_of(stream: TextIO) -> int | None:
    """Return the descriptor of a stream that is Python's own, whose text may be encoded here."""
    if type(stream) is not io.TextIOWrapper or stream.encoding.lower() not in _ENCODINGS:
        return None
    raw: object = getattr(stream.buffer, "raw", stream.buffer)  # python -u has no buffer
    return raw.fileno() if type(raw) is io.FileIO else None


def _encoded(stream: TextIO, text: str) -> bytes:
    try:
        return text.encode(stream.encoding, stream.errors or "strict")
    except UnicodeEncodeError:
        return text.encode(stream.encoding, "backslashreplace")


def _write(stream: TextIO, text: str) -> None:
    try:
        stream.write(text)
    except UnicodeEncodeError:
        encoding = stream.encoding or "ascii"
        stream.write(text.encode(encoding, "backslashreplace").decode(encoding))
    stream.flush()


@lru_cache(maxsize=512)
def _place(level: str, logger: str) -> str:
    """Return what stands behind the time; to fill up with blanks takes longer than all else of the head."""
    return f"{level:<8} {logger}"


def _time(formatter: logging.Formatter, record: logging.LogRecord) -> str:
    try:
        return formatter.formatTime(record)
    except Exception:  # noqa: BLE001  # made by hand, at no time that a calendar has
        return mark("no time")


def _message(record: logging.LogRecord, redactor: Redactor) -> str:
    try:
        return rendered(record, redactor)
    except (Exception, SystemExit) as error:  # noqa: BLE001  # a log call never raises
        return f"{whole_text_of(record.msg)} {mark(f'arguments do not fit: {type(error).__name__}')}"


def _event(record: logging.LogRecord, message: str, redactor: Redactor) -> tuple[logging.LogRecord, str]:
    """Return what a message that is a mapping means: its text, and its other items as ``name=value``."""
    meant = read(record)
    text: object = meant.record.msg if meant is not None else None
    if meant is None or isinstance(text, dict):  # it has none
        return record, message
    added = {name: value for name, value in meant.record.__dict__.items() if name not in record.__dict__}
    items = [f"{name}={text_of(plain(value))}" for name, value in {**added, **meant.fields}.items()]
    return meant.record, " ".join([_message(meant.record, redactor), *items])


_FIXED: Final = "format, datefmt and style do not apply to a line of JSON; leave them out."
_SERVICE: Final = tuple(field.name for field in fields(ServiceSettings))


class JsonFormatter(logging.Formatter):
    """The same line as text, without ``record_id`` and ``sequence``; made of plain data, for ``dictConfig``.

    Args:
        service: the names of the service, or a mapping with ``name``, ``namespace``, ``version``,
            ``instance_id`` and ``environment``, each of which may be missing.
        datefmt: not used, like the next two: logging passes them for the key ``class`` of ``dictConfig``.
        style: not used.
        validate: not used.
        framework: ``django``, ``flask`` or empty.
        rename_fields: other names for columns, as in python-json-logger: ``{"message": "msg"}``. What is
            sent to the Event Hub keeps the names of its table.
        static_fields: fields that each line has besides, plain data: ``{"team": "shop"}``.
        redaction: what is taken out, as settings or as a mapping of their fields; None for what the
            environment says.

    Raises:
        SettingsError: an option is invalid; each problem is named.
    """

    def __init__(
        self,
        service: ServiceSettings | Mapping[str, str] | None = None,
        datefmt: str | None = None,
        style: str = "%",
        validate: bool = True,  # noqa: FBT001, FBT002  # the place and name are logging's
        *,
        framework: str = "",
        rename_fields: Mapping[str, str] | None = None,
        static_fields: Mapping[str, object] | None = None,
        redaction: RedactionSettings | Mapping[str, object] | None = None,
    ) -> None:
        super().__init__()
        del validate  # there is nothing to validate in a format that is not used
        is_formatted = any((isinstance(service, str), datefmt is not None, style != "%"))
        problems = [_FIXED] if is_formatted else []
        names, renamed = _service(service, problems), _renamed(rename_fields, problems)
        static = _static(static_fields, renamed, problems)
        _check_text("framework", framework, problems)
        taken_out = redaction_of(redaction, problems)
        if problems:
            raise SettingsError(problems)
        self._lines = LineFormatter(names, framework=framework, redaction=taken_out)
        self._renamed = renamed
        self._static = dumps(static) if static else b""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line of a record; never raises."""
        return self.format_bytes(record).decode()

    def format_bytes(self, record: logging.LogRecord) -> bytes:
        """Return what ``format`` does as UTF-8, for a handler that writes bytes."""
        return format_where_made(record, self._format)

    def _format(self, record: logging.LogRecord) -> bytes:
        line = take_as_meant(record, self._lines.encode)
        if self._renamed:
            row = {self._renamed.get(name, name): value for name, value in loads(line).items()}
            line = dumps(row)
        if self._static:
            line = with_last(line, self._static)
        return escape_line_ends(line) if self._renamed or self._static else line


def _service(given: object, problems: list[str]) -> ServiceSettings:
    """Return the names of the service; adds a sentence to ``problems`` for each that is invalid."""
    if given is None or isinstance(given, str):  # a format, and reported as that
        return ServiceSettings()
    if isinstance(given, ServiceSettings):
        return given
    items = _items("service", given, problems)
    for name, value in items.items():
        if name not in _SERVICE:
            problems.append(f"service has {name!r}; it may have {', '.join(_SERVICE)}.")
        else:
            _check_text(f"service.{name}", value, problems)
    return ServiceSettings() if problems else ServiceSettings(**items)  # type: ignore[arg-type]  # checked above


def _renamed(given: object, problems: list[str]) -> dict[str, str]:
    """Return the new names by column."""
    renamed: dict[str, str] = {}
    for name, new in _items("rename_fields", given, problems).items():
        if name not in BY_NAME:
            problems.append(f"rename_fields has {name!r}; it must be a column, such as 'message'.")
        elif not _is_name(new):
            problems.append(f"rename_fields[{name!r}] is {new!r}; it must be a text that is not empty.")
        else:
            renamed[str(name)] = str(new)
    names = [renamed.get(name, name) for name in BY_NAME]
    twice = sorted({name for name in names if names.count(name) > 1})
    problems += [f"rename_fields gives two columns the name {name!r}; each needs its own." for name in twice]
    return renamed


def _static(given: object, renamed: Mapping[str, str], problems: list[str]) -> dict[str, object]:
    """Return the static fields, all of them plain data under names that no column has."""
    taken = {renamed.get(name, name) for name in BY_NAME}
    static: dict[str, object] = {}
    for name, value in _items("static_fields", given, problems).items():
        if not _is_name(name):
            problems.append(f"static_fields has {name!r}; a name must be a text that is not empty.")
        elif name in taken:
            problems.append(f"static_fields has {name!r}, which is a column; choose another name.")
        elif not _is_plain(value):
            problems.append(f"static_fields[{name!r}] is a {type(value).__name__} that JSON cannot hold.")
        else:
            static[str(name)] = value
    return static


def _items(option: str, given: object, problems: list[str]) -> dict[object, object]:
    """Return a mapping's items, each looked up: that is when ``dictConfig`` resolves ``ext://``."""
    if given is None:
        return {}
    if isinstance(given, Mapping):
        return {name: given[name] for name in given}
    problems.append(f"{option} is a {type(given).__name__}; it must be a mapping.")
    return {}


def _check_text(option: str, value: object, problems: list[str]) -> None:
    if not isinstance(value, str):
        problems.append(f"{option} is {value!r}; it must be a text.")


def _is_name(value: object) -> bool:
    return isinstance(value, str) and bool(value) and _is_plain(value)


def _is_plain(value: object) -> bool:
    try:
        dumps(value, option=NO_DATACLASSES)
    except TypeError:
        return False
    return True
