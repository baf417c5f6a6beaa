"""The slow way from a record to a row: field by field, so that one odd value costs only itself.

And the way to make a row fit: what is long is cut in a fixed order, ids are kept, ``truncated`` is set.
"""

import logging
from collections.abc import Callable, Iterable, Mapping
from types import MappingProxyType
from typing import Final, TypeVar

import orjson

from hublog.capture import context
from hublog.capture.columns import OPEN_COLUMNS
from hublog.capture.exceptions import MAX_STACKTRACE, cut_middle, from_exc_info
from hublog.capture.fields import EncodedContext, encode_context, put, utc_text
from hublog.capture.plain import clean, mark, plain, text_of
from hublog.capture.source import call_site, fitting, thread_of

MAX_MESSAGE: Final = 1 << 20
_T = TypeVar("_T")
_NOTHING: Final[Mapping[str, object]] = MappingProxyType({})


def careful_row(record: logging.LogRecord, added: Iterable[str]) -> dict[str, object]:
    """Return the columns of a record as plain data.

    Args:
        record: whatever the application logged.
        added: names of its attributes that are the application's own.
    """
    row: dict[str, object] = {
        "timestamp": _attempt(lambda: _timestamp(record.created), "1970-01-01T00:00:00Z")
    }
    row.update(_attempt(lambda: call_site(record), _NOTHING))
    row["message"] = _attempt(lambda: _message(record), mark("message that cannot be shown"))
    row["message_template"] = text_of(record.msg)
    row["record_type"] = "log"
    row.update(_attempt(lambda: thread_of(record), _NOTHING))
    found = _attempt(lambda: from_exc_info(record.exc_info), None)
    if found is not None:
        row["record_type"] = "exception"
    row.update(_attempt(_context_columns, _NOTHING))
    if found is not None:
        row |= found.columns()
    if record.stack_info:
        row["stack_info"] = cut_middle(text_of(record.stack_info), MAX_STACKTRACE)
    row |= fitting(async_task_name=record.__dict__.get("taskName"))
    extra = dict(_attempt(lambda: _context().extra, _NOTHING))
    for name in added:
        shown = plain(record.__dict__[name])
        key = clean(name) if type(name) is str else text_of(name)
        if key not in OPEN_COLUMNS or not put(row, key, shown):
            extra[key] = shown
    if extra:
        row["extra"] = extra
    return row


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
        encode: makes the whole line, ids and static columns included.
        max_bytes: limit of the line; below about 2 KiB only the ids and the head of the message are left.
        original: length of the whole line where it is known already.
    """
    line = encode(row)
    if len(line) <= max_bytes:
        return line
    original = max(original, len(line))
    row = {**row, "truncated": True}
    for cut in (_cut_stack, _cut_extra_values, _drop_extra, _cut_message, _drop_rest):
        row = cut(row, max_bytes)
        extra = row.get("extra")
        noted = {**(extra if isinstance(extra, dict) else {}), "original_bytes": original}
        line = encode({**row, "extra": noted})
        if len(line) <= max_bytes:
            return line
    return line


def _attempt(read: Callable[[], _T], otherwise: _T) -> _T:
    try:
        return read()
    except (Exception, SystemExit):  # noqa: BLE001  # a log call never raises
        return otherwise


def _timestamp(created: float) -> str:
    second = int(created // 1)
    return f"{utc_text(second)}.{int((created - second) * 1_000_000):06d}Z"


def _message(record: logging.LogRecord) -> str:
    """Render the message; where that fails, show the template, the arguments and the reason."""
    template = text_of(record.msg)
    if not record.args:
        return template
    try:
        return clean(str(template % record.args)[:MAX_MESSAGE])
    except (Exception, SystemExit) as error:  # noqa: BLE001  # a log call never raises
        shown = orjson.dumps(plain(record.args)).decode()
        return f"{template} {mark(f'arguments {shown} do not fit: {type(error).__name__}')}"


def _context() -> EncodedContext:
    now = context.current()
    return now.encoded or encode_context(now)


def _context_columns() -> Mapping[str, object]:
    found = _context()
    kind = {"record_type": found.record_type} if found.record_type else {}
    return {**found.columns, **kind}


def _cut_stack(row: dict[str, object], max_bytes: int) -> dict[str, object]:
    limit = max(max_bytes // 4, 256)
    names = ("exception_stacktrace", "stack_info", "exception_message")
    return {name: _cut(value, limit) if name in names else value for name, value in row.items()}


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
    limit = max(max_bytes // 16, 64)  # escapes make up to six bytes of a character, and there are two texts
    names = ("message", "message_template", "exception_stacktrace", "stack_info", "exception_message")
    return {name: _cut(value, limit) if name in names else value for name, value in row.items()}


def _drop_rest(row: dict[str, object], max_bytes: int) -> dict[str, object]:
    """The last resort: what names the record, and as much of the message as is sure to fit."""
    kept = ("timestamp", "level", "level_number", "severity_number", "record_type", "trace_id", "truncated")
    short = {name: row[name] for name in kept if name in row}
    limit = max(min((max_bytes - 1_600) // 6, 512), 8)
    return {**short, "message": _cut(row.get("message", ""), limit)}


def _cut(value: object, limit: int) -> object:
    return cut_middle(value, limit) if isinstance(value, str) else value
