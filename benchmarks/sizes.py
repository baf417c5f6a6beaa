"""The realistic lines at another mean size, for applications that log more or less in a record."""

from collections.abc import Iterator, Sequence
from typing import Any, Final

import orjson

#: Left out one after the other to make lines shorter: what is the same in all of them comes first, so
#: that what remains compresses worse, as short records do.
_LEFT_OUT: Final = (
    "handler_version",
    "schema_version",
    "process_name",
    "framework",
    "environment",
    "service_version",
    "service_instance_id",
    "severity_number",
    "source_module",
    "thread_id",
    "thread_name",
    "process_id",
    "host_name",
    "service_name",
    "http_user_agent",
    "http_host",
    "source_function",
    "view_name",
    "user_authenticated",
    "parent_span_id",
    "source_line",
    "source_file",
    "client_ip",
    "http_route",
    "message_template",
    "exception_stacktrace",
    "span_id",
)
#: What is taken from another record to make a line longer.
_ADDED: Final = ("message", "extra")
#: So far away is that record that the compression, which looks back 32 KiB, does not know it.
_FAR: Final = 0.5
_DETAIL: Final = "detail"


def smallest(lines: Sequence[bytes]) -> float:
    """Return the least mean to which ``resized`` can bring the lines."""
    return _mean([_without(orjson.loads(line), len(_LEFT_OUT)) for line in lines])


def resized(lines: Sequence[bytes], mean: float) -> list[bytes]:
    """Return lines of the same records, in the same order, with this mean length.

    Shorter ones lose columns, those that are the same in all records first. Longer ones get text of
    other records into ``extra``: far ones, so that it is new to the compression.

    Args:
        lines: JSON objects.
        mean: bytes of a line, from ``smallest`` to about 60,000.
    """
    now = _mean(lines)
    return _longer(lines, mean - now) if mean >= now else _shorter(lines, mean)


def _shorter(lines: Sequence[bytes], mean: float) -> list[bytes]:
    rows = [orjson.loads(line) for line in lines]
    longer, shorter, count = list(lines), list(lines), 0
    while _mean(shorter) > mean and count < len(_LEFT_OUT):
        count += 1
        longer, shorter = shorter, [_without(row, count) for row in rows]
    # Between two steps: some lines of the one, some of the other, spread evenly.
    found, owed = [], 0.0
    for long, short in zip(longer, shorter, strict=True):
        owed += mean - len(short)
        chosen = long if owed > 0 else short
        owed -= len(chosen) - len(short)
        found.append(chosen)
    return found


def _longer(lines: Sequence[bytes], more: float) -> list[bytes]:
    rows = [orjson.loads(line) for line in lines]
    text = _far_text(rows)
    found, owed = [], 0.0
    for row, line in zip(rows, lines, strict=True):
        owed += more
        extra = dict(row.get("extra", {}))
        bare = len(orjson.dumps({**row, "extra": {**extra, _DETAIL: ""}})) - len(line)
        if owed < bare:
            found.append(line)
            continue
        extra[_DETAIL] = _take(text, round(owed) - bare)
        found.append(orjson.dumps({**row, "extra": extra}))
        owed -= len(found[-1]) - len(line)
    return found


def _take(text: Iterator[str], size: int) -> str:
    """Return about so many bytes of text, in whole words."""
    words: list[str] = []
    while size > 0:
        word = next(text)
        words.append(word)
        size -= len(word.encode()) + 1
    return " ".join(words)


def _far_text(rows: Sequence[dict[str, Any]]) -> Iterator[str]:
    """Give the words of the records without end, from the middle on."""
    words = [
        word.translate(_PLAIN)
        for row in (*rows[int(len(rows) * _FAR) :], *rows[: int(len(rows) * _FAR)])
        for name in _ADDED
        if name in row
        for word in str(row[name]).split()
    ]
    while True:
        yield from words


#: JSON would write two characters for one of these.
_PLAIN: Final = {ord(char): None for char in '"\\'}


def _without(row: dict[str, Any], count: int) -> bytes:
    left_out = _LEFT_OUT[:count]
    return orjson.dumps({name: value for name, value in row.items() if name not in left_out})


def _mean(lines: Sequence[bytes]) -> float:
    return sum(map(len, lines)) / len(lines)
