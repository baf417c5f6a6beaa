"""A text in colours is searched without them, since they stand between a name and its value."""

import re
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator
from typing import Final

from hublog.redaction.text_ranges import Span

#: As a terminal takes them, and as a repr or JSON writes them.
_COLOUR: Final = re.compile(r"(?:\x1b|\\{1,4}(?:x1b|u001b|033|e))\[[0-9;:]{0,32}m", re.IGNORECASE)


def find_under(text: str, find: Callable[[str], Iterable[Span]]) -> Iterator[Span]:
    """Find secrets in a text as if it had no colours.

    Args:
        text: any text.
        find: finds them in one without colours.
    """
    if "[" not in text or not ("\x1b" in text or "x1b[" in text or "u001b[" in text or "033[" in text):
        yield from find(text)
        return
    plain: list[str] = []
    begins: list[int] = []  # of each part, in the text without colours
    shifts: list[int] = []
    done = length = 0
    for colour in (*_COLOUR.finditer(text), None):
        start = colour.start() if colour else len(text)
        if start > done:
            plain.append(text[done:start])
            begins.append(length)
            shifts.append(done - length)
            length += start - done
        done = colour.end() if colour else done
    if not begins:
        return
    for span in find("".join(plain)):
        last = bisect_right(begins, span.end - 1) - 1
        first = bisect_right(begins, span.start) - 1
        yield Span(span.start + shifts[first], span.end + shifts[last], span.kind)
