"""Secrets out of keys, messages, arguments, tracebacks and URLs."""

from collections.abc import Iterator
from typing import Final

from hublog.capture.redaction.cards import RUN, find_cards
from hublog.capture.redaction.keyed import STEMS, find_keyed
from hublog.capture.redaction.names import Names
from hublog.capture.redaction.shapes import find_sign_ins, find_tokens, may_hold_token
from hublog.capture.redaction.spans import Span, merged

_NAMES: Final = Names()


def find_secrets(text: str) -> list[str]:
    """Return what in a text looks like a secret, never the secret itself.

    Args:
        text: any text; a row as JSON is fine, and our own marks are no secrets.

    Returns:
        One entry for each: what it is and where, like ``value of password at 12-19`` (characters, from 0).
    """
    return [f"{span.kind} at {span.start}-{span.end}" for span in merged(find_spans(text, _NAMES))]


def find_spans(text: str, names: Names) -> Iterator[Span]:
    """Find all secrets in a text; the spans may overlap and have no order."""
    if may_name_secret(text, names):
        yield from find_keyed(text, names)
    if "@" in text and "://" in text:
        yield from find_sign_ins(text)
    if may_hold_token(text):
        yield from find_tokens(text)
    if RUN.search(text):
        yield from find_cards(text)


def may_name_secret(text: str, names: Names) -> bool:
    """Return whether ``find_keyed`` could find anything."""
    if not ("=" in text or ":" in text or "%3" in text or "--" in text or ">" in text):
        return False
    low = text.lower()
    return any(stem in low for stem in STEMS) or any(stem in low for stem in names.stems)
