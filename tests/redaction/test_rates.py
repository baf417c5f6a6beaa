"""How much of a corpus leaks, and how many ordinary texts are changed: the rates that the page of the docs gives.

The texts are made by families, and go through each formatter by each way that an application has to log them.
One part was written before the rules and is counted by itself: what nobody has looked at leaks more often.
"""

import logging
import re
import sys
from collections import Counter
from pathlib import Path

import pytest
from tests.redaction import unseen
from tests.redaction.leaks import FAMILIES, leaks
from tests.redaction.ordinary import ordinary

from hublog.capture import context
from hublog.capture.formatter import LineFormatter
from hublog.capture.stdlib_formatters import ConsoleFormatter, JsonFormatter
from hublog.redaction.redactor import DEFAULT
from hublog.redaction.text_ranges import replaced
from hublog.settings import ServiceSettings

PAGE = (Path(__file__).parents[2] / "docs" / "redaction.md").read_text("utf-8")
LOGGER = logging.getLogger("tests.rates")
LEAKS = leaks(FAMILIES)
UNSEEN = leaks(unseen.FAMILIES)
ORDINARY = ordinary()
LINES = LineFormatter(ServiceSettings())
FORMATTERS = (
    lambda record: LINES.encode(record).decode(),
    JsonFormatter(ServiceSettings()).format,
    ConsoleFormatter().format,
)


def record(message, *args, extra=None, exc_info=None):
    return LOGGER.makeRecord("shop", logging.INFO, "/srv/shop.py", 7, message, args, exc_info, "pay", extra)


def raised(text):
    try:
        raise ValueError(text)
    except ValueError:
        return sys.exc_info()


def shown_by(way, text):
    """Return what all formatters make of a text that is logged in some way."""
    token = context.bind(**({"note": text} if way == "context" else {}))
    try:
        match way:
            case "message":
                made = record(text)
            case "argument":
                made = record("seen %s by %s", text, "kim")
            case "extra":
                made = record("seen", extra={"note": text, "more": {"list": [text]}})
            case "exception":
                made = record("failed", exc_info=raised(text))
            case _:
                made = record("seen")
        return "\n".join(formatted(made) for formatted in FORMATTERS)
    finally:
        context.unbind(token)


def leaked(corpus, way):
    """Return the texts of which a part of a secret is seen, other than in what each record has."""
    own = shown_by(way, "nothing")
    found = []
    for leak in corpus:
        shown = shown_by(way, leak.text)
        if any(part in shown for part in leak.parts() if part not in own):
            found.append(leak)
    return found


def stated(what):
    """Return the two numbers that the page gives."""
    found = re.search(rf"\| {what} \| ([0-9]+) of ([0-9]+) \|", PAGE)
    return int(found[1]), int(found[2])


def test_there_are_enough_texts_and_each_has_its_secret():
    assert len(LEAKS) >= 400
    assert len(ORDINARY) >= 300
    assert all(leak.parts() and all(part in leak.text for part in leak.parts()) for leak in LEAKS + UNSEEN)


@pytest.mark.parametrize("way", ["message", "argument", "extra", "exception", "context"])
def test_no_known_form_leaks_by_any_way_to_any_destination(way):
    assert Counter(leak.family for leak in leaked(LEAKS, way)) == {}
    assert stated("forms that the rules were made for") == (0, len(LEAKS))


def test_of_the_forms_that_the_rules_were_not_made_for_no_more_leak_than_stated():
    assert (len(leaked(UNSEEN, "message")), len(UNSEEN)) == stated("the same forms now")


def test_no_more_ordinary_texts_are_changed_than_stated():
    changed = [text for text in ORDINARY if DEFAULT.text(text) != text]
    assert (len(changed), len(ORDINARY)) == stated("ordinary strings that are changed")


def test_no_search_fails_which_would_hide_the_whole_text():
    for text in [*ORDINARY, *(leak.text for leak in LEAKS + UNSEEN)]:
        assert DEFAULT.cannot_hold_secret(text) or replaced(text, DEFAULT.find(text), str) == text
