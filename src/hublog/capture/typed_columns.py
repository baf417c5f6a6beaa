"""Columns become JSON: each value in the type of its column, since ADX turns a misfit into null unseen.

Of a record: the place of its log call, its thread, what the application added and what is bound.
"""

import logging
import os
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from itertools import islice
from math import inf, isfinite
from typing import Any, Final, Generic, NamedTuple, TypeVar

from hublog.capture.columns import BY_NAME, OPEN_COLUMNS, Kind
from hublog.capture.context import Context, looked
from hublog.capture.json_safe import INT64, MAX_ITEMS, MAX_NAME, Distinct, Plain, key_of, mark, plain, text_of
from hublog.internal_log import AtomicCounter
from hublog.line import dumps, loads
from hublog.redaction.redactor import CARD_FROM, PERSONAL_COLUMNS, SHORTEST, Redactor

#: What every LogRecord has, in the order in which its constructor sets it; what follows is ``extra``.
_STANDARD: Final = tuple(logging.LogRecord("", 0, "", 0, None, None, None).__dict__)
#: How many these are: a record with as many attributes has nothing added.
STANDARD_LENGTH: Final = len(_STANDARD)
#: These, and what other formatters set on the record they share with us.
NOT_ADDED: Final = frozenset({*_STANDARD, "message", "asctime"})

#: What ``dumps`` writes as it is. Of ints it takes 64 bits without a sign, one more than ADX holds.
_SAFE: Final = frozenset({bool, type(None)})
#: A record with more attributes has names made at run time, and the slow way bounds their number.
_PLAN_MAX: Final = 128

_Key = TypeVar("_Key")
_Value = TypeVar("_Value")

ENTRIES_MAX: Final = 4_096
#: Of all keys and values of one cache.
BYTES_MAX: Final = 4 << 20
#: Of one entry: what is longer is unlikely to come again.
ENTRY_MAX: Final = 8_192

MAX_COLUMN_TEXT: Final = 2_048
#: A longer text is unlikely to be bound again; it cannot become too long for its column by marks.
_KNOWN_LONGEST: Final = 256
#: Columns whose text most requests have alone.
_IDS: Final = frozenset({"trace_id", "span_id", "parent_span_id", "request_id", "correlation_id"})
#: The first second that a Kusto datetime cannot hold: the year 10000.
END_OF_TIME: Final = 253_402_300_800.0
#: What the numbers of a column stay below.
_BOUNDS: Final = {Kind.INT: 1 << 31, Kind.LONG: INT64}
_KINDS: Final = {name: column.kind for name, column in BY_NAME.items()}
#: The type of most values of a column, and of numbers what they stay between, as long as they are no card's.
_USUAL: Final[dict[Kind, tuple[type, float, float]]] = {
    Kind.STRING: (str, 0, 0),
    Kind.INT: (int, -(1 << 31) - 1, 1 << 31),
    Kind.LONG: (int, -INT64 - 1, CARD_FROM),
    Kind.REAL: (float, -inf, inf),
    Kind.BOOL: (bool, -1, 2),
}
_UNUSUAL: Final = (Kind, 0, 0)


class BoundedCache(dict[_Key, _Value], Generic[_Key, _Value]):
    """A dictionary to read from as usual; ``keep`` adds to it. Any thread may do both.

    What does not fit makes it empty: an application has as many places in its code as it has, so that a cache
    that is full is full of what a client has made.
    """

    __slots__ = ("_size",)

    def __init__(self) -> None:
        super().__init__()
        self._size = 0

    def keep(self, key: _Key, value: _Value, size: int) -> _Value:
        """Remember a value unless it is too large, and return it.

        Args:
            key: what it is looked up by.
            value: what is kept.
            size: bytes of both, about.
        """
        if size > ENTRY_MAX:
            return value
        if len(self) >= ENTRIES_MAX or self._size + size > BYTES_MAX:
            self.clear()
            self._size = 0
        self._size += size
        self[key] = value
        return value


#: Columns that requests have in common (host, route, client), by all that they depend on.
_known: Final[BoundedCache[tuple[Redactor, str, str], bytes]] = BoundedCache()


class EncodedContext(NamedTuple):
    """What the formatter keeps of a context, so that a request's fields are encoded once.

    Attributes:
        names: of the bound fields; none of them is written twice.
        extra: the bound free names, plain.
        record_type: the bound record type, or empty.
        misfits: names of the columns whose bound value did not fit.
        redactor: took the secrets out; another one's result is of no use.
        columns_json: ``"name":value,`` for each column.
        fragment: the columns and the ``extra`` object, for records that add nothing.
    """

    names: Mapping[str, object]
    extra: Mapping[str, object]
    record_type: str
    misfits: Sequence[str]
    redactor: Redactor
    columns_json: bytes
    fragment: bytes

    @property
    def columns(self) -> dict[str, object]:
        """The bound columns, read off their JSON: few records have one of the same name."""
        return dict(loads(b"{%b}" % self.columns_json[:-1]))


def encode_context(context: Context, redactor: Redactor) -> EncodedContext:
    """Encode the bound fields, with what has become known since, and keep the result on the context."""
    look = context.look
    if look is None or context.is_settled:
        context.encoded = encoded = _encoded(context, redactor)
        return encoded
    now = looked(context)
    if now.look is None:
        return now.encoded or encode_context(now, redactor)
    partial: EncodedContext | None = now.partial
    if partial is None or partial.redactor is not redactor:
        now.partial = partial = _encoded(now, redactor)
    return partial


def _encoded(context: Context, redactor: Redactor) -> EncodedContext:
    """Join the columns that are known with what is new: most of a request's fields were those of others."""
    fields = context.fields
    known: list[bytes] = []
    new: dict[str, object] = {}
    for name, value in fields.items():
        if type(value) is str:
            column = _known.get((redactor, name, value))
            if column is None and name in _IDS and redactor.is_id(name, value):  # it comes once
                column = f'"{name}":"{value}",'.encode()
            if column is not None:
                known.append(column)
                continue
        new[name] = value
    columns, extra, misfits = _read(new, redactor)
    names = {**fields, "truncated": True} if "truncated" in columns else fields
    record_type = columns.pop("record_type", "")
    columns_json = b"".join(known) + encode_columns(columns)
    fragment = columns_json + encode_columns({"extra": extra}) if extra else columns_json
    return EncodedContext(names, extra, str(record_type), misfits, redactor, columns_json, fragment)


def _read(
    fields: Mapping[str, object], redactor: Redactor
) -> tuple[dict[str, object], dict[str, object], list[str]]:
    """Return the columns and free names among bound fields, and the columns whose value did not fit."""
    columns: dict[str, object] = {}
    extra: dict[str, object] = {}
    misfits: list[str] = []
    walk, distinct = Plain(redactor.head), Distinct()
    for name, value in islice(fields.items(), MAX_ITEMS):
        # Most are short strings, which need no look.
        is_plain = type(value) is str and len(value) <= MAX_COLUMN_TEXT and value.isascii()
        shown = value if is_plain else walk.value(value)
        if name not in OPEN_COLUMNS:
            if name not in PERSONAL_COLUMNS:
                key = key_of(name, MAX_NAME)
                key = redactor.text(key) if len(key) >= SHORTEST else key
                extra[distinct.name(key, extra)] = redactor.value(shown, name)
            elif (shown := redactor.column(name, shown)) is not None:
                extra[name] = shown
            continue
        shown = redactor.column(name, shown)
        if not put(columns, name, shown):
            extra[name] = as_text(shown)
            misfits.append(name)
        elif type(value) is str and len(value) <= _KNOWN_LONGEST and name != "record_type":
            column = encode_columns({name: columns[name]} if name in columns else {})
            _known.keep((redactor, name, value), column, 2 * _KNOWN_LONGEST + len(column))
    if len(fields) > MAX_ITEMS:
        extra[mark("left out")] = len(fields) - MAX_ITEMS
        columns["truncated"] = True
    return columns, extra, misfits


def put(columns: dict[str, object], name: str, value: object) -> bool:
    """Set a column if the value fits its type.

    Args:
        columns: receives the value; None and empty text are left out, which ADX reads as null.
        name: a column.
        value: plain data.

    Returns:
        False when the value does not fit and must be kept elsewhere.
    """
    if value is None or value == "":
        return True
    kind = _KINDS[name]
    if kind is Kind.STRING:
        value = as_text(value)
        if len(value) > MAX_COLUMN_TEXT:
            value = value[:MAX_COLUMN_TEXT]
            columns["truncated"] = True
    elif not _fits(kind, value):
        return False
    columns[name] = value
    return True


def as_text(value: object) -> str:
    """Return a text as it is, anything else as its JSON."""
    return value if isinstance(value, str) else dumps(value).decode()


def _fits(kind: Kind, value: object) -> bool:
    if kind is Kind.BOOL:
        return type(value) is bool
    if kind is Kind.REAL:
        return type(value) is int or (type(value) is float and isfinite(value))
    bound = _BOUNDS.get(kind)
    if bound is None:
        return kind is Kind.DYNAMIC
    return type(value) is int and -bound <= value < bound


def encode_columns(columns: Mapping[str, object]) -> bytes:
    """Return ``"name":value,`` for each column, ready to stand inside an object."""
    if not columns:
        return b""
    return dumps(columns)[1:-1] + b","


class Misfits:
    """Counts values that did not fit the type of their column; any thread may add."""

    __slots__ = ("_total", "is_reported", "last")

    def __init__(self) -> None:
        self._total = AtomicCounter()
        #: The column that was met last, empty if none was.
        self.last = ""
        #: Whether it has been reported; set by the caller that reports.
        self.is_reported = False

    def add(self, names: Iterable[str]) -> None:
        """Count one value for each of these columns."""
        for name in names:
            self._total.add()
            self.last = name

    def read(self) -> int:
        """Return how many there were."""
        return self._total.read()


def utc_text(second: int) -> str:
    """Return a second from 1970 to 9999 as ``2026-11-23T13:10:31``, UTC."""
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(second))


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


def encode_fitting(values: Mapping[str, object]) -> bytes:
    """Return what ``encode_columns`` makes of values as they stand on a record.

    Raises:
        ValueError: a value does not fit its column; the slow way puts it elsewhere.
    """
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
        _, package, rest = path.rpartition(marker)
        if package:
            return rest
    try:
        root = os.path.join(os.getcwd(), "")  # noqa: PTH109, PTH118  # text in, text out, in the log call
    except OSError:  # it was deleted
        root = sys.prefix + os.sep
    return path.removeprefix(root)


class AddedFields:
    """How to read what was added to a record with just these attributes.

    Records of one place in the code have the same ones, so this is worked out once. The order in which
    a constructor sets the standard attributes is not relied upon: a factory or filter may have put its
    own in front.

    Args:
        attributes: names of all attributes, in their order.
        redactor: takes the secrets out.
        max_bytes: limit of the line, and so of the characters in it.

    Raises:
        ValueError: here and in ``read``: the slow way has to cut something.
    """

    __slots__ = ("_columns", "_max_bytes", "_names", "_redactor", "_secret")

    def __init__(self, attributes: tuple[str, ...], redactor: Redactor, max_bytes: int) -> None:
        if len(attributes) > _PLAN_MAX:
            raise ValueError(len(attributes))
        names = tuple(name for name in attributes if name not in NOT_ADDED)
        for name in names:  # a client may have made them: the slow way cuts them, and hides what is secret
            if len(name) > MAX_NAME or (len(name) >= SHORTEST and redactor.text(name) is not name):
                raise ValueError(name)
        free = [(name, redactor.secrecy(name)) for name in names if name not in OPEN_COLUMNS]
        self._names = tuple(name for name, secrecy in free if not secrecy)
        self._secret = tuple((name, secrecy) for name, secrecy in free if secrecy)
        self._columns = tuple(
            (name, *(_USUAL.get(_KINDS[name], _UNUSUAL) if redactor.is_open(name) else _UNUSUAL))
            for name in names
            if name in OPEN_COLUMNS
        )
        self._redactor, self._max_bytes = redactor, max_bytes

    def read(self, attributes: dict[str, Any]) -> tuple[dict[str, object], dict[str, object], Sequence[str]]:
        """Return the free names and the columns as plain data, and the columns whose value did not fit."""
        extra: dict[str, object] = {}
        room, redactor = self._max_bytes, self._redactor
        for name in self._names:
            value = attributes[name]
            kind = type(value)
            if kind is str:
                if len(value) >= SHORTEST or "=" in value or ":" in value or redactor.checks_short_texts:
                    room -= len(value)
                    if room < 0:
                        raise ValueError(name)
                    if not redactor.is_known(value):
                        value = redactor.text(value)
            elif kind is int and -INT64 <= value < CARD_FROM:
                pass
            elif kind not in _SAFE and not (kind is float and isfinite(value)):
                room, value = self._converted(name, value, room)
            extra[name] = value
        for name, secrecy in self._secret:
            extra[name] = redactor.hidden(plain(attributes[name]), secrecy)
        if not self._columns:
            return extra, {}, ()
        return extra, *self._read_columns(attributes, extra)

    def _read_columns(
        self, attributes: dict[str, Any], extra: dict[str, object]
    ) -> tuple[dict[str, object], Sequence[str]]:
        columns: dict[str, object] = {}
        misfits: list[str] = []
        for name, usual, low, high in self._columns:
            value = attributes[name]
            kind = type(value)
            if kind is usual and kind is str and 0 < len(value) <= _KNOWN_LONGEST:
                columns[name] = self._redactor.text(value)
            elif kind is usual and kind is not str and low < value < high:
                columns[name] = value
            else:
                misfits += self._put(columns, extra, name, value)
        return columns, misfits

    def _converted(self, name: str, value: object, room: int) -> tuple[int, object]:
        """Return the room that a value leaves for others, and the value as plain data."""
        walk = Plain(self._redactor.head)
        value = self._redactor.value(walk.value(value), name)
        room -= walk.characters
        if room < 0:
            raise ValueError(name)
        return room, value

    def _put(
        self, columns: dict[str, object], extra: dict[str, object], name: str, value: object
    ) -> tuple[str, ...]:
        """Set a column to an unusual value; return its name if that does not fit, and stands in ``extra``."""
        if type(value) is str and len(value) > self._max_bytes:
            raise ValueError(name)
        value = self._redactor.column(name, plain(value, cut=self._redactor.head))
        if put(columns, name, value):
            return ()
        extra[name] = as_text(value)
        return (name,)
