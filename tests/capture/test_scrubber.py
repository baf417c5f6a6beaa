import re

import pytest
from tests.capture.secret_texts import HARMLESS, SECRETS

from hublog.capture.scrubber import find_secrets

SECRET = re.compile("«(.*?)»", re.DOTALL)


def places(marked):
    """Return the text without its marks, and from where to where they stood."""
    text = re.sub("[«»]", "", marked)
    found, shift = [], 0
    for secret in SECRET.finditer(marked):
        found.append(f"{secret.start() - shift}-{secret.end() - shift - 2}")
        shift += 2
    return text, found


@pytest.mark.parametrize("marked", SECRETS.values(), ids=SECRETS.keys())
def test_a_secret_is_found_where_it_stands(marked):
    text, expected = places(marked)
    assert expected
    assert [entry.rpartition(" ")[2] for entry in find_secrets(text)] == expected


@pytest.mark.parametrize("text", HARMLESS)
def test_a_harmless_text_holds_no_secret(text):
    assert find_secrets(text) == []


def test_what_is_found_is_told_without_the_secret():
    assert find_secrets("password=hunter2 for 4111111111111111") == [
        "value of password at 9-16",
        "card number at 21-37",
    ]
