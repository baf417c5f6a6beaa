"""A long text loses its middle."""

import re
from typing import Final

#: How far beyond a cut a text is looked at: the longest private keys in use have 13,000 characters.
MARGIN: Final = 16_384

_LEFT_OUT: Final = re.compile(r"\n\.\.\. ([0-9]{1,18}) characters left out \.\.\.\n")


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
