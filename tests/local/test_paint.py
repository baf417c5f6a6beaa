import json

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hublog.local.paint import harmless, harmless_json


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain ü€😀 [bold]", "plain ü€😀 [bold]"),
        ("\x1b[31m", "\\x1b[31m"),
        ("a\nb\tc\rd", "a\\nb\\tc\\rd"),
        ("\x9b\x7f\x00", "\\x9b\\x7f\\x00"),
        ("\u202e\u2066\ufeff", "\\u202e\\u2066\\ufeff"),
        ("\ud800", "\\ud800"),
    ],
)
def test_what_a_terminal_obeys_is_written_out(text, shown):
    assert harmless(text) == shown


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_harmless_json_means_the_same_and_has_nothing_that_a_terminal_obeys(text):
    line = harmless_json(orjson.dumps({"message": text}))
    assert json.loads(line) == {"message": text}
    assert harmless(line.decode()) == line.decode()
