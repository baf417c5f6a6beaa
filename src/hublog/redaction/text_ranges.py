"""Where in a text a secret stands, and what becomes of the places."""

import re
from collections.abc import Callable, Iterable
from typing import Final, NamedTuple

#: The mark of a secret; with a key the hash stands in it: ``[redacted:0123456789abcdef]``.
MARK: Final = "[redacted]"
MARKED: Final = re.compile(r"\[redacted(?::[0-9a-f]{16})?\]")

_PERCENT: Final = re.compile(r"%[0-9A-Fa-f]{2}")


class Span(NamedTuple):
    """A secret in a text, from ``start`` to before ``end``; ``kind`` says what it looks like."""

    start: int
    end: int
    kind: str


def is_mark(text: str) -> bool:
    """Return whether a text is a mark."""
    return MARKED.fullmatch(text) is not None


def is_in_word(text: str, start: int) -> bool:
    """Return whether a letter or digit stands before ``start``, other than the end of an escape.

    Escapes are those of line breaks in a repr, and ``%3D`` in a query.
    """
    before = text[start - 1 : start]
    if not before.isalnum():
        return False
    is_escape = before in "nrt" and text[start - 2 : start - 1] == "\\"
    return not (is_escape or _PERCENT.fullmatch(text, max(start - 3, 0), start))


def merged(spans: Iterable[Span]) -> list[Span]:
    """Return the spans in order, those that overlap as one."""
    found: list[Span] = []
    for span in sorted(spans):
        if found and span.start < found[-1].end:
            last = found[-1]
            found[-1] = Span(last.start, max(last.end, span.end), last.kind)
        else:
            found.append(span)
    return found


def replaced(text: str, spans: Iterable[Span], mark: Callable[[str], str]) -> str:
    """Return the text with a mark in place of each span."""
    parts: list[str] = []
    done = 0
    for start, end, _ in merged(spans):
        parts += (text[done:start], mark(text[start:end]))
        done = end
    parts.append(text[done:])
    return "".join(parts)
