"""What is too long for a line is cut in a fixed order: ids are kept, ``truncated`` is set.

``fit`` cuts the columns of a record before they are a line, ``shortened`` a line that the hub does not take.
"""

from collections.abc import Callable, Collection, Mapping
from typing import Final

from hublog.capture.resource import process_fields
from hublog.line import HEAD_COLUMNS, dumps, escape_line_ends, loads
from hublog.redaction.text_ranges import cut_middle
from hublog.settings import ServiceSettings

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
_TEXTS: Final = frozenset(
    {"message", "message_template", "exception_stacktrace", "stack_info", "exception_message"}
)
#: What says which record it is stays whole, and so does what says whose it is.
_FIXED: Final = frozenset({"service_name", "service_namespace", "service_version"}) | {
    "service_instance_id",
    "environment",
    *process_fields(ServiceSettings(), environ={}, host_name=lambda: "host"),
}


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


def shortened(line: bytes, max_bytes: int) -> bytes | None:
    """Return a line cut in the order in which the formatter cuts, and marked as ``truncated``.

    Args:
        line: as the formatter wrote it.
        max_bytes: limit of the line.

    Returns:
        None when it cannot be made that short, or is no line of ours.
    """
    try:
        row = loads(line)
    except ValueError:
        return None
    if not isinstance(row, dict):
        return None
    head = {name: row.pop(name) for name in HEAD_COLUMNS if name in row}
    fixed = {name: row.pop(name) for name in _FIXED & row.keys()}

    def encode(columns: Mapping[str, object]) -> bytes:
        return escape_line_ends(dumps({**head, **columns, **fixed}))

    cut = fit(row, encode, max_bytes=max_bytes, original=len(line))
    return cut if len(cut) <= max_bytes else None


def text_limit(max_bytes: int) -> int:
    """Return the characters of a message or template that fit into a line of this length in any case."""
    return max(max_bytes // 16, 64)  # escapes make up to six bytes of a character, and there are two texts


def _cut_endless(row: dict[str, object], max_bytes: int) -> dict[str, object]:
    """Cut texts that alone are longer than the line may be, before each try would encode all of them."""
    endless = {name for name in _TEXTS if isinstance(text := row.get(name), str) and len(text) > max_bytes}
    return _cut_each(row, endless, text_limit(max_bytes))


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
    encoded = dumps(value)
    if len(encoded) <= limit:
        return value
    return _cut(value if isinstance(value, str) else encoded.decode(), limit // 2)


def _drop_extra(row: dict[str, object], max_bytes: int) -> dict[str, object]:
    del max_bytes
    extra = row.get("extra")
    left_out = {"left_out": len(extra)} if isinstance(extra, dict) else {}
    return {**row, "extra": left_out}


def _cut_message(row: dict[str, object], max_bytes: int) -> dict[str, object]:
    return _cut_each(row, _TEXTS, text_limit(max_bytes))


def _cut_each(row: dict[str, object], names: Collection[str], limit: int) -> dict[str, object]:
    return {name: _cut(value, limit) if name in names else value for name, value in row.items()}


def _drop_rest(row: dict[str, object], max_bytes: int) -> dict[str, object]:
    """The last resort: what names the record, and as much of the message as is sure to fit."""
    short: dict[str, object] = {
        name: row[name] for name in _KEPT if name in row and len(str(row[name])) <= _MAX_ID
    }
    limit = max(min((max_bytes - 1_600) // 6, 512), 8)
    return {**short, "message": _cut(row.get("message", ""), limit)}


def _cut(value: object, limit: int) -> object:
    return cut_middle(value, limit) if isinstance(value, str) else value
