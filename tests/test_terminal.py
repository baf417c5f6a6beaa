"""What a terminal obeys is written out, on our console and in the tools for development alike."""

import json
import sys
import unicodedata

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hublog.terminal import harmless, harmless_json, harmless_lines, of_werkzeug, without_colours

TEXTS = st.text(
    st.one_of(st.characters(exclude_categories=["Cs"]), st.sampled_from("\n\r\x1b\u202e\u200b[31m"))
)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain ü€😀❤️ [bold]", "plain ü€😀❤️ [bold]"),
        ("\x1b[31m", "\\x1b[31m"),
        ("a\nb\tc\rd", "a\\nb\\tc\\rd"),
        ("\x9b\x7f\x00", "\\x9b\\x7f\\x00"),
        ("\u202e\u2066\ufeff\xad", "\\u202e\\u2066\\ufeff\\xad"),
        ("\ud800", "\\ud800"),
        ("\U000e0041", "\\U000e0041"),
    ],
)
def test_what_a_terminal_obeys_is_written_out(text, shown):
    assert harmless(text) == shown


def test_no_character_that_moves_the_cursor_turns_the_writing_or_is_not_seen_is_left():
    kinds = {"Cc", "Cf", "Cs", "Zl", "Zp"}
    left = [
        hex(code)
        for code in range(sys.maxunicode + 1)
        if unicodedata.category(chr(code)) in kinds and harmless(chr(code)) == chr(code)
    ]
    assert left == []


@given(TEXTS)
def test_harmless_json_means_the_same_and_has_nothing_that_a_terminal_obeys(text):
    line = harmless_json(orjson.dumps({"message": text}))
    assert json.loads(line) == {"message": text}
    assert harmless(line.decode()) == line.decode()


@given(TEXTS)
def test_lines_of_a_text_are_indented_and_a_terminal_obeys_none_of_them(text):
    first, *others = harmless_lines(text).split("\n")
    assert all(line.startswith("    ") for line in others)
    assert all(harmless(line.replace("\t", "")) == line.replace("\t", "") for line in (first, *others))


def test_colours_are_left_out_and_what_remains_of_them_is_written_out():
    assert harmless_lines("a \x1b[1;31mred\x1b[0m b\x1b[8m c") == "a red b c"
    assert harmless_lines("\x1b[3\x1b[0m1m\x1b[2Jx") == "\\x1b[31m\\x1b[2Jx"


@pytest.mark.parametrize(
    ("text", "shown", "stored"),
    [
        (
            '127.0.0.1 - - [x] "\x1b[35m\x1b[1mGET /a HTTP/1.1\x1b[0m" 500 -',
            '127.0.0.1 - - [x] "\x1b[35m\x1b[1mGET /a HTTP/1.1\x1b[0m" 500 -',
            '127.0.0.1 - - [x] "GET /a HTTP/1.1" 500 -',
        ),
        (
            '127.0.0.1 - - [x] "\x1b[36mGET /\x1b[8m\x1b[0m\n2026 HTTP/1.1\x1b[0m" 304 -',
            '127.0.0.1 - - [x] "\x1b[36mGET /\\x1b[8m\\x1b[0m\n    2026 HTTP/1.1\x1b[0m" 304 -',
            '127.0.0.1 - - [x] "GET /\x1b[8m\x1b[0m\n2026 HTTP/1.1" 304 -',
        ),
        (
            '127.0.0.1 - - [x] "GET /"\x1b[31m HTTP/1.1" 200 -\x1b[0m',
            '127.0.0.1 - - [x] "GET /" HTTP/1.1" 200 -',
            '127.0.0.1 - - [x] "GET /"\x1b[31m HTTP/1.1" 200 -\x1b[0m',
        ),
        (
            "\x1b[31m\x1b[1mWARNING: development\x1b[0m\n * Running",
            "\x1b[31m\x1b[1mWARNING: development\x1b[0m\n     * Running",
            "WARNING: development\n * Running",
        ),
        (
            "\x1b[33mPress CTRL+C to quit\x1b[0m",
            "\x1b[33mPress CTRL+C to quit\x1b[0m",
            "Press CTRL+C to quit",
        ),
        ("GET /\x1b[8m", "GET /", "GET /\x1b[8m"),
    ],
    ids=["request", "colours of a client", "colours behind another quote", "banner", "hint", "not its own"],
)
def test_of_werkzeugs_colours_only_its_own_are_shown_and_none_of_those_is_stored(text, shown, stored):
    assert of_werkzeug(text) == shown
    assert without_colours(text) == stored
