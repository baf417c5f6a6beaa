"""A text too long to be looked at whole: its ends without secrets, and none cut in two."""

import re
from collections.abc import Callable, Iterable
from typing import Final, TypeAlias

from hublog.redaction.text_ranges import Span, merged, replaced
from hublog.redaction.token_forms import KEY_END

#: How far beyond a cut a text is looked at: the longest private keys in use have 13,000 characters.
MARGIN: Final = 16_384

_LEFT_OUT: Final = re.compile(r"\n\.\.\. ([0-9]{1,18}) characters left out \.\.\.\n")

Find: TypeAlias = Callable[[str], Iterable[Span]]
Mark: TypeAlias = Callable[[str], str]


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
    """Return what stands in place of so many characters."""
    return f"\n... {characters} characters left out ...\n"
