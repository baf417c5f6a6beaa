"""The slow way from a record to a row: field by field, so that one odd value costs only itself.

And the way to make a row fit: what is long is cut in a fixed order, ids are kept, ``truncated`` is set.
"""

import logging
from collections.abc import Callable, Collection, Iterable, Mapping
from types import MappingProxyType
from typing import Any, Final, NamedTuple, TypeVar

import orjson

from hublog.capture import context
from hublog.capture.arguments import arguments, unfit
from hublog.capture.columns import OPEN_COLUMNS
from hublog.capture.exceptions import MAX_STACKTRACE, from_record
from hublog.capture.json_safe import (
    MAX_ITEMS,
    MAX_NAME,
    MAX_TEXT_IN_ALL,
    Distinct,
    Plain,
    clean,
    key_of,
    mark,
    whole_text_of,
)
from hublog.capture.serving import note_shown
from hublog.capture.source import call_site, thread_of
from hublog.capture.typed_columns import END_OF_TIME, EncodedContext, as_text, encode_context, put, utc_text
from hublog.redaction.redactor import SHORTEST, Redactor
from hublog.redaction.text_ranges import cut_middle

#: What is kept of a record to the last, each if it is no longer than an id may be.
_KEPT: Final = (
    "level",
    "level_number",
    "severity_number",
    "record_type",
    "trace_id",
    "span_id",
    "request_id",
    "truncated",
)
_MAX_ID: Final = 64
#: How often the texts of a record may fill its line before no further one is looked at.
_LOOKED_AT: Final = 4
_TEXTS: Final = frozenset(
    {"message", "message_template", "exception_stacktrace", "stack_info", "exception_message"}
)
_T = TypeVar("_T")
_NOTHING: Final[Mapping[str, object]] = MappingProxyType({})


class CarefulRow(NamedTuple):
    """The columns of a record.

    Attributes:
        columns: plain data.
        misfits: names of those columns whose value did not fit.
        left_out: bytes that were cut out of texts too long for the line.
    """

    columns: dict[str, object]
    misfits: list[str]
    left_out: int


def careful_row(
    record: logging.LogRecord,
    added: Iterable[str],
    *,
    timestamp: str,
    redactor: Redactor,
    max_bytes: int,
) -> CarefulRow:
    """Return the columns of a record behind the head of its line, each field read by itself.

    A text that cannot fit into the line is cut here already, so that not all of it is looked at for
    secrets; ``truncated`` says so.

    Args:
        record: whatever the application logged.
        added: names of its attributes that are the application's own.
        timestamp: in the head of the line; ``record.created`` may be anything.
        redactor: takes the secrets out.
        max_bytes: limit of the line.
    """
    row = _Row(redactor, max_bytes)
    if _attempt(lambda: timestamp_of(record.created), "") != timestamp:
        row.put("timestamp", record.created, fits=False)
    for name, value in _attempt(lambda: call_site(record), _NOTHING).items():
        row.put(name, value)
    message = _attempt(lambda: _message(record, redactor), mark("message that cannot be shown"))
    row.columns["message"] = row.bounded(message)
    template = whole_text_of(record.msg)
    row.columns["message_template"] = row.columns["message"] if template == message else row.bounded(template)
    row.columns["record_type"] = "log"
    for name, value in _attempt(lambda: thread_of(record), _NOTHING).items():
        row.put(name, value)
    found = _attempt(lambda: from_record(record.exc_info, getattr(record, "exc_text", None), redactor), None)
    if found is not None:
        row.columns["record_type"] = "exception"
        _attempt(lambda: note_shown(record), None)
    row.take(_attempt(lambda: _context(redactor), None))
    if found is not None:
        row.columns |= found.columns()
    if record.stack_info:
        stack = whole_text_of(record.stack_info)
        row.columns["stack_info"] = redactor.bounded(stack, MAX_STACKTRACE, MAX_STACKTRACE)
        if len(stack) > MAX_STACKTRACE:
            row.columns["truncated"] = True
    row.put("async_task_name", record.__dict__.get("taskName"))
    row.add_all(added, record.__dict__)
    if row.extra:
        row.columns["extra"] = row.extra
    return CarefulRow(row.columns, row.misfits, row.left_out)


class _Row:
    """Columns, what goes to ``extra``, and what did so because it does not fit its column."""

    def __init__(self, redactor: Redactor, max_bytes: int) -> None:
        self.columns: dict[str, object] = {}
        self.extra: dict[str, object] = {}
        self.misfits: list[str] = []
        self.left_out = 0
        self._redactor, self._max_bytes = redactor, max_bytes
        #: Characters of what is added that are still looked at: more than the line takes of them.
        self._room = _LOOKED_AT * max_bytes
        self._distinct = Distinct()
        self._plain = Plain(redactor.head, most=max(self._room, MAX_TEXT_IN_ALL))

    def put(self, name: str, value: object, *, fits: bool = True) -> None:
        shown = self._redactor.column(name, self._plain.value(value))
        if not (fits and put(self.columns, name, shown)):
            self.extra[name] = as_text(shown)
            self.misfits.append(name)

    def add_all(self, names: Iterable[object], values: Mapping[Any, object]) -> None:
        """Take what the application added; of very many names the first."""
        names = list(names)
        for name in names[:MAX_ITEMS]:
            self._add(name, values[name])
        if len(names) > MAX_ITEMS:
            self.extra[mark("left out")] = len(names) - MAX_ITEMS
            self.columns["truncated"] = True

    def _add(self, name: object, value: object) -> None:
        """Take one; a long text stays whole, as on the fast way: ``fit`` cuts it."""
        key = key_of(name, MAX_NAME)
        if key in OPEN_COLUMNS:
            self.put(key, value)
            return
        shown = self._redactor.text(key) if len(key) >= SHORTEST else key
        if shown != name:  # it was cut, and others may have become equal to it; what is bound gives way
            shown = self._distinct.name(shown, self.extra)
        if type(value) is not str or self._redactor.secrecy(key):
            self.extra[shown] = self._redactor.value(self._plain.value(value), key)
        elif self._room > 0:
            self._room -= len(value)
            self.extra[shown] = self.bounded(clean(value))
        else:
            self.extra[shown] = mark(f"{len(value)} characters left out")
            self.columns["truncated"] = True
            self.left_out += len(value)

    def bounded(self, text: str) -> str:
        """Return a text without its secrets, cut if it alone is longer than the line may be."""
        shown = self._redactor.bounded(text, self._max_bytes, _text_limit(self._max_bytes))
        if len(text) > self._max_bytes:
            self.columns["truncated"] = True
            self.left_out += max(_size(text) - _size(shown), 0)
        return shown

    def take(self, bound: EncodedContext | None) -> None:
        if bound is not None:
            self.columns |= bound.columns
            self.extra |= bound.extra
            self.misfits += bound.misfits
            if bound.record_type:
                self.columns["record_type"] = bound.record_type


def fit(
    row: dict[str, object],
    encode: Callable[[Mapping[str, object]], bytes],
    *,
    max_bytes: int,
    original: int = 0,
) -> bytes:
    """Return the line of a row, cut until it is at most ``max_bytes`` long.

    Args:
        row: what ``careful_row`` gave.
        encode: makes the whole line, head and static columns included.
        max_bytes: limit of the line, 1 KiB or more.
        original: length of the whole line where it is known to be too long already; else 0.

    Returns:
        The line. It is over the limit only if head and static columns alone are.
    """
    if not original:
        line = encode(row)
        if len(line) <= max_bytes:
            return line
        original = len(line)
    row = {**_cut_endless(row, max_bytes), "truncated": True}
    for cut in (_cut_stack, _cut_extra_values, _drop_extra, _cut_message, _drop_rest):
        row = cut(row, max_bytes)
        extra = row.get("extra")
        noted = {**(extra if isinstance(extra, dict) else {}), "original_bytes": original}
        line = encode({**row, "extra": noted})
        if len(line) <= max_bytes:
            return line
    # Static columns take all the room: of the message stays what they leave.
    least = _drop_rest({**row, "message": ""}, max_bytes)
    bare = encode(least)
    room = max((max_bytes - len(bare) - len(',"message":""')) // 6, 0)
    return encode({**least, "message": _cut(row.get("message", ""), room)}) if room else bare


def _size(text: str) -> int:
    return len(text.encode("utf-8", "surrogatepass"))


def _attempt(read: Callable[[], _T], otherwise: _T) -> _T:
    try:
        return read()
    except (Exception, SystemExit):  # noqa: BLE001  # a log call never raises
        return otherwise


def timestamp_of(created: float) -> str:
    """Return a moment as ADX reads it, in whole microseconds.

    Args:
        created: seconds since 1970, 0 or more, before the year 10000.

    Raises:
        ValueError: it is another moment, or none.
    """
    if not 0 <= created < END_OF_TIME:
        raise ValueError(created)
    second = int(created)
    return f"{utc_text(second)}.{int((created - second) * 1_000_000):06d}Z"


def has_own_message(record: logging.LogRecord) -> bool:
    """Whether a record's class makes messages in its own way, such as ``str.format``."""
    return type(record).getMessage is not logging.LogRecord.getMessage


def _message(record: logging.LogRecord, redactor: Redactor) -> str:
    """Render the message; where that fails, show the template, the arguments and the reason."""
    template = whole_text_of(record.msg)
    try:
        if has_own_message(record):
            return clean(str(record.getMessage()))
        return clean(str(template % arguments(record.args, redactor))) if record.args else template
    except (Exception, SystemExit) as error:  # noqa: BLE001  # a log call never raises
        shown = orjson.dumps(unfit(template, record.args, redactor)).decode()
        return f"{template} {mark(f'arguments {shown} do not fit: {type(error).__name__}')}"


def _context(redactor: Redactor) -> EncodedContext:
    now = context.current()
    found: EncodedContext | None = now.encoded
    return found if found and found.redactor is redactor else encode_context(now, redactor)


def _cut_endless(row: dict[str, object], max_bytes: int) -> dict[str, object]:
    """Cut texts that alone are longer than the line may be, before each try would encode all of them."""
    endless = {name for name in _TEXTS if isinstance(text := row.get(name), str) and len(text) > max_bytes}
    return _cut_each(row, endless, _text_limit(max_bytes))


def _cut_stack(row: dict[str, object], max_bytes: int) -> dict[str, object]:
    limit = max(max_bytes // 4, 256)
    names = ("exception_stacktrace", "stack_info", "exception_message")
    return _cut_each(row, names, limit)


def _cut_extra_values(row: dict[str, object], max_bytes: int) -> dict[str, object]:
    extra = row.get("extra")
    if not isinstance(extra, dict):
        return row
    limit = max(max_bytes // 64, 64)
    return {**row, "extra": {name: _short(value, limit) for name, value in extra.items()}}


def _short(value: object, limit: int) -> object:
    encoded = orjson.dumps(value)
    if len(encoded) <= limit:
        return value
    return _cut(value if isinstance(value, str) else encoded.decode(), limit // 2)


def _drop_extra(row: dict[str, object], max_bytes: int) -> dict[str, object]:
    del max_bytes
    extra = row.get("extra")
    left_out = {"left_out": len(extra)} if isinstance(extra, dict) else {}
    return {**row, "extra": left_out}


def _cut_message(row: dict[str, object], max_bytes: int) -> dict[str, object]:
    return _cut_each(row, _TEXTS, _text_limit(max_bytes))


def _cut_each(row: dict[str, object], names: Collection[str], limit: int) -> dict[str, object]:
    return {name: _cut(value, limit) if name in names else value for name, value in row.items()}


def _text_limit(max_bytes: int) -> int:
    return max(max_bytes // 16, 64)  # escapes make up to six bytes of a character, and there are two texts


def _drop_rest(row: dict[str, object], max_bytes: int) -> dict[str, object]:
    """The last resort: what names the record, and as much of the message as is sure to fit."""
    short: dict[str, object] = {
        name: row[name] for name in _KEPT if name in row and len(str(row[name])) <= _MAX_ID
    }
    limit = max(min((max_bytes - 1_600) // 6, 512), 8)
    return {**short, "message": _cut(row.get("message", ""), limit)}


def _cut(value: object, limit: int) -> object:
    return cut_middle(value, limit) if isinstance(value, str) else value
