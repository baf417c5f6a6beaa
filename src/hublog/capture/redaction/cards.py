"""Card numbers: by length, issuer and check digit, so that ids, times and telephone numbers stay."""

import re
from collections.abc import Iterator
from typing import Final

from hublog.capture.redaction.spans import Span

#: A run of digits with single blanks or dashes between them, 13 digits or more.
RUN: Final = re.compile(r"[0-9](?:[ -]?[0-9]){12,}+")
_GROUP: Final = re.compile(r"[0-9]++")
#: How the digits are written in groups; a single group of any length is checked too.
_GROUPED: Final = ((4, 4, 4, 4), (4, 6, 5), (4, 6, 4), (4, 4, 4, 4, 3), (4, 4, 5), (6, 13))
#: First digits from, to, and the lengths that such numbers have. Source: ISO/IEC 7812 as issuers use it.
_ISSUERS: Final = (
    ("4", "4", (13, 16, 19)),
    ("51", "55", (16,)),
    ("2221", "2720", (16,)),
    ("34", "34", (15,)),
    ("37", "37", (15,)),
    ("6011", "6011", (16, 19)),
    ("644", "659", (16, 19)),
    ("300", "305", (14,)),
    ("3095", "3095", (14,)),
    ("36", "36", (14,)),
    ("38", "39", (14,)),
    ("3528", "3589", (16,)),
    ("620", "629", (16, 17, 18, 19)),
    ("81", "81", (16,)),
)
_DOUBLED: Final = (0, 2, 4, 6, 8, 1, 3, 5, 7, 9)


def find_cards(text: str) -> Iterator[Span]:
    """Find the card numbers in a text."""
    for run in RUN.finditer(text):
        start, end = run.span()
        if _touches(text, start, end):
            continue
        groups = [group.span() for group in _GROUP.finditer(text, start, end)]
        at = 0
        while at < len(groups):
            taken = _card_at(text, groups, at)
            if taken:
                yield Span(groups[at][0], groups[at + taken - 1][1], "card number")
            at += taken or 1


def is_card(digits: str) -> bool:
    """Return whether a number is one of a payment card."""
    return (
        any(len(digits) in lengths and low <= digits[: len(low)] <= high for low, high, lengths in _ISSUERS)
        and not _sum(digits) % 10
    )


def _sum(digits: str) -> int:
    """Return the sum of Luhn's formula: ISO/IEC 7812-1, annex B."""
    return sum(
        _DOUBLED[int(digit)] if number % 2 else int(digit) for number, digit in enumerate(reversed(digits))
    )


def _card_at(text: str, groups: list[tuple[int, int]], at: int) -> int:
    """Return how many of the groups from ``at`` on make a card number; 0 if they make none."""
    shapes = [(groups[at][1] - groups[at][0],), *_GROUPED]
    for shape in shapes:
        taken = groups[at : at + len(shape)]
        if len(taken) < len(shape) or any(
            end - start != size for (start, end), size in zip(taken, shape, strict=True)
        ):
            continue
        if is_card("".join(text[start:end] for start, end in taken)):
            return len(shape)
    return 0


def _touches(text: str, start: int, end: int) -> bool:
    """Return whether the digits are a part of something else: a word, an id, a decimal fraction."""
    before, after = text[start - 1 : start], text[end : end + 2]
    return (
        before.isalnum()
        or before in ("_", ".", "%")
        or after[:1].isalnum()
        or after[:1] == "_"
        or (after[:1] == "." and after[1:].isdigit())
    )
