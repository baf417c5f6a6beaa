"""Card numbers: by length, issuer and check digit, so that ids, times and telephone numbers stay."""

import re
from collections.abc import Iterator
from functools import cache
from typing import Final

from hublog.redaction.text_ranges import Span, is_in_word

#: A run of digits with single blanks or dashes between them, 13 digits or more.
_RUN: Final = re.compile(r"[0-9](?:[ -]?[0-9]){12,}+")
_NO_DIGITS: Final = bytes(set(range(256)) - set(b"0123456789"))
CARD_SHORTEST: Final = 13
#: What people and forms write between the groups other than one blank or dash.
_OTHER_GAPS: Final = r"[._/\u00a0\u00b7\u2009\u202f\u2010-\u2014]|[ ]{2,4}"
#: Groups with one of these gaps, the same throughout.
_SPREAD: Final = re.compile(
    rf"(?<![\w.])(?:[2-6][0-9]{{3}}({_OTHER_GAPS})[0-9]{{4}}\1[0-9]{{4}}\1[0-9]{{4}}"
    rf"|3[47][0-9]{{2}}({_OTHER_GAPS})[0-9]{{6}}\2[0-9]{{5}})(?!\w|[./-][0-9])"
)
#: Every way to write a card number begins so.
_START: Final = re.compile(
    rf"[0-9]{{4}}(?:[ -]|{_OTHER_GAPS})?[0-9]{{4}}(?:[ -]|{_OTHER_GAPS})?[0-9]{{1,4}}"
    rf"(?:[ -]|{_OTHER_GAPS})?[0-9]"
)
#: A text with ``0`` for each digit, a blank for each byte of a gap and ``x`` for all others has one of
#: ``_BEGINS`` in it if a card number may begin: the search for these takes a tenth of the expression's time.
_GAP_BYTES: Final = " -._/\u00a0\u00b7\u2009\u202f\u2010\u2011\u2012\u2013\u2014".encode()
_OUTLINE: Final = bytes(
    ord("0") if code in b"0123456789" else ord(" ") if code in _GAP_BYTES else ord("x") for code in range(256)
)
_BEGINS: Final = (b"0" * 8, *(b"0000%b0000" % (b" " * gap) for gap in range(1, 5)))
#: What stands before a number in one piece and says that it is not the number of a card.
_OTHER: Final = r"""(?:[_-]id|[a-z]Id|\bid
    |(?i:order|invoice|ticket|tracking|par(?:cel|cels)|shipment|reference|ref|trace|span|request|message|batch|job|task|build
    |timestamp|epoch|sequence|offset|time|ts|phone|tel|fax|isbn|ean|gtin|imei)(?:[ _-]?(?i:id|nr|no|number))?)
    ["']?[ ]{0,2}[.=:#]{0,2}[ ]{0,2}["'#]?\Z"""
_OTHER_LONGEST: Final = 32
_GROUP: Final = re.compile(r"[0-9]++")
#: How the digits are written in groups, by the size of the first one.
_GROUPED: Final = {4: ((4, 4, 4, 4), (4, 6, 5), (4, 6, 4), (4, 4, 4, 4, 3), (4, 4, 5)), 6: ((6, 13),)}
_FIRST: Final = frozenset("234568")
#: First digits from, to, and the lengths of their numbers. Source: ISO/IEC 7812 as issuers use it.
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


def may_hold_card(text: str, data: bytes) -> bool:
    """Return whether ``find_cards`` could find anything in a text, at a fraction of its cost.

    Args:
        text: any text.
        data: the same in UTF-8.
    """
    if len(data.translate(None, _NO_DIGITS)) < CARD_SHORTEST:
        return False
    outline = data.translate(_OUTLINE)
    return any(outline.find(begin) >= 0 for begin in _BEGINS) and _START.search(text) is not None


def find_cards(text: str) -> Iterator[Span]:
    """Find the card numbers in a text."""
    for run in _RUN.finditer(text):
        start, end = run.span()
        if _touches(text, start, end):
            continue
        groups = [group.span() for group in _GROUP.finditer(text, start, end)]
        sizes = tuple(last - first for first, last in groups)
        at = 0
        while at < len(groups):
            taken = _card_at(text, groups, sizes, at)
            if taken and not (taken == 1 and _is_other(text, groups[at][0])):
                yield Span(groups[at][0], groups[at + taken - 1][1], "card number")
            at += taken or 1
    for spread in _SPREAD.finditer(text):
        if is_card("".join(_GROUP.findall(spread[0]))):
            yield Span(*spread.span(), "card number")


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


def _card_at(text: str, groups: list[tuple[int, int]], sizes: tuple[int, ...], at: int) -> int:
    """Return how many of the groups from ``at`` on make a card number; 0 if they make none."""
    start, end = groups[at]
    if text[start] not in _FIRST:
        return 0
    size = sizes[at]
    if size >= CARD_SHORTEST:
        return 1 if is_card(text[start:end]) else 0
    for shape in _GROUPED.get(size, ()):
        if sizes[at : at + len(shape)] == shape:
            taken = groups[at : at + len(shape)]
            if is_card("".join(text[first:last] for first, last in taken)):
                return len(shape)
    return 0


def _is_other(text: str, start: int) -> bool:
    return _other().search(text, max(start - _OTHER_LONGEST, 0), start) is not None


@cache
def _other() -> re.Pattern[str]:
    return re.compile(_OTHER, re.VERBOSE)  # when first needed: it takes milliseconds


def _touches(text: str, start: int, end: int) -> bool:
    """Return whether the digits are a part of something else: a word, an id, a decimal fraction."""
    before, after = text[start - 1 : start], text[end : end + 2]
    return (
        is_in_word(text, start)
        or before in ("_", ".", "%")
        or after[:1].isalnum()
        or after[:1] == "_"
        or (after[:1] == "." and after[1:].isdigit())
    )
