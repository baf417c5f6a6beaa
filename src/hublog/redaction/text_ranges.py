"""Where in a text a secret stands, and what is shown instead.

A text is searched as it is displayed: without the colors of a terminal, which stand between a name and its
value, and once more with the escapes of JSON and HTML decoded. One that is too long is searched where
something of it stays: no secret is cut in two.
"""

import re
from bisect import bisect_right
from collections.abc import Callable, Iterable
from html import unescape
from typing import Final, NamedTuple, TypeAlias

#: The mark of a secret; with a key the hash stands in it: ``[redacted:0123456789abcdef]``.
MARK: Final = "[redacted]"
MARKED: Final = re.compile(r"\[redacted(?::[0-9a-f]{16})?\]")

#: Colors as a terminal takes them, and as a repr or JSON writes them.
_COLOR: Final = re.compile(r"(?:\x1b|\\{1,4}(?:x1b|u001b|033|e))\[[0-9;:]{0,32}m", re.IGNORECASE)
#: Quotes and signs that separate a name and its value, as JSON and HTML escape them.
_ESCAPED: Final = re.compile(
    r"\\{1,7}u00(?:2[267]|3[ac-eAC-E])"
    r"|&(?:quot|apos|amp|lt|gt|equals|colon|#0{0,3}(?:3[489]|58|6[0-2])|#[xX]0{0,3}(?:2[267]|3[ac-eAC-E]));"
)
_PERCENT: Final = re.compile(r"%[0-9A-Fa-f]{2}")
#: What a private key ends with.
KEY_END: Final = re.compile(r"-----END[A-Z0-9 ]{1,40}PRIVATE KEY(?: BLOCK)?-----")
#: How far beyond a cut a text is looked at: the longest private keys in use have 13,000 characters.
MARGIN: Final = 16_384

_LEFT_OUT: Final = re.compile(r"\n\.\.\. ([0-9]{1,18}) characters left out \.\.\.\n")


class Span(NamedTuple):
    """A secret in a text, from ``start`` to before ``end``; ``kind`` says what it looks like."""

    start: int
    end: int
    kind: str


Find: TypeAlias = Callable[[str], Iterable[Span]]
Mark: TypeAlias = Callable[[str], str]


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
    ranges: list[Span] = []
    for span in sorted(spans):
        if ranges and span.start < ranges[-1].end:
            last = ranges[-1]
            ranges[-1] = Span(last.start, max(last.end, span.end), last.kind)
        else:
            ranges.append(span)
    return ranges


def replaced(text: str, spans: Iterable[Span], mark: Callable[[str], str]) -> str:
    """Return the text with a mark in place of each span."""
    parts: list[str] = []
    done = 0
    for start, end, _ in merged(spans):
        parts += (text[done:start], mark(text[start:end]))
        done = end
    parts.append(text[done:])
    return "".join(parts)


class View(NamedTuple):
    """A text as it is displayed.

    Attributes:
        text: with some parts of the original left out or replaced.
        begins: where each of its pieces begins.
        origins: from where to where the piece stands in the original.
    """

    text: str
    begins: list[int]
    origins: list[tuple[int, int]]

    def in_original(self, span: Span) -> Span:
        """Return where a secret stands in the original; part of a replacement is all that it replaces."""
        first, last = bisect_right(self.begins, span.start) - 1, bisect_right(self.begins, span.end - 1) - 1
        start, end = self.origins[first][0], self.origins[last][1]
        if end - self.origins[last][0] == self._length(last):
            end = self.origins[last][0] + span.end - self.begins[last]
        if self.origins[first][1] - start == self._length(first):
            start += span.start - self.begins[first]
        return Span(start, end, span.kind)

    def _length(self, piece: int) -> int:
        following = self.begins[piece + 1] if piece + 1 < len(self.begins) else len(self.text)
        return following - self.begins[piece]


def without_colors(text: str) -> View | None:
    """Return a text without its colors; None if it has none."""
    if "[" not in text or not ("\x1b" in text or "x1b[" in text or "u001b[" in text or "033[" in text):
        return None
    return _view(text, _COLOR, lambda _: "")


def without_escapes(text: str) -> View | None:
    """Return a text with the escapes of quotes and separators decoded; None if it has none."""
    if "\\u00" not in text and not ("&" in text and ";" in text):
        return None
    return _view(
        text, _ESCAPED, lambda escape: chr(int(escape[-2:], 16)) if escape[0] == "\\" else unescape(escape)
    )


def _view(text: str, parts: re.Pattern[str], displayed: Callable[[str], str]) -> View | None:
    pieces: list[str] = []
    begins: list[int] = []
    origins: list[tuple[int, int]] = []
    done = length = 0
    for part in (*parts.finditer(text), None):
        start, end = part.span() if part else (len(text), len(text))
        for piece, origin in (
            (text[done:start], (done, start)),
            (displayed(part[0]) if part else "", (start, end)),
        ):
            if piece:
                pieces.append(piece)
                begins.append(length)
                origins.append(origin)
                length += len(piece)
        done = end
    return View("".join(pieces), begins, origins) if origins != [(0, len(text))] else None


def head(text: str, limit: int, find: Find, mark: Mark) -> str:
    """Return the first ``limit`` characters of a text without secrets; one that goes on is left out whole."""
    return _head(text, limit, find, mark)[0]


def _head(text: str, limit: int, find: Find, mark: Mark) -> tuple[str, int]:
    window = text[: limit + MARGIN]
    spans = [span for span in merged(find(window)) if span.start < limit]
    end = min(max(limit, spans[-1].end if spans else 0), len(window))
    return replaced(window[:end], spans, mark), end


def ends(text: str, limit: int, find: Find, mark: Mark) -> str:
    """Return a text without secrets, cut as ``cut_middle`` does."""
    if len(text) <= 2 * (limit + MARGIN):
        return cut_middle(replaced(text, find(text), mark), limit)
    first, end = _head(text, limit, find, mark)
    window = text[-(limit + MARGIN) :]
    spans = merged((*find(window), *_begun_before(window)))
    begin = next((span.start for span in spans if span.start < MARGIN < span.end), MARGIN)
    shifted = [Span(span.start - begin, span.end - begin, span.kind) for span in spans if span.start >= begin]
    last = replaced(window[begin:], shifted, mark)
    return cut_middle(f"{first}{left_out(len(text) - end - len(window) + begin)}{last}", limit)


def _begun_before(window: str) -> Iterable[Span]:
    """Return what belongs to a secret whose beginning is not in the window."""
    key = KEY_END.search(window)
    if key and "-----BEGIN" not in window[: key.start()]:
        yield Span(0, key.end(), "private key")


def cut_middle(text: str, limit: int) -> str:
    """Keep the first third and the last two thirds of a long text: both ends of a traceback explain it.

    A text that was cut before says afterwards how much is missing in all.
    """
    if len(text) <= limit:
        return text
    before = after = text
    missing = len(text)
    if cut := _LEFT_OUT.search(text):
        before, after = text[: cut.start()], text[cut.end() :]
        missing = len(before) + len(after) + int(cut[1])
    room = max(limit - len(left_out(missing)), 0)
    head = before[: room // 3]
    tail = after[-(room - len(head)) :] if room > len(head) else ""
    return head + left_out(missing - len(head) - len(tail)) + tail


def left_out(characters: int) -> str:
    """Return what replaces this number of characters."""
    return f"\n... {characters} characters left out ...\n"
