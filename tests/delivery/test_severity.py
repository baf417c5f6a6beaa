import json
import logging

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.delivery.made_lines import make_line

from hublog.capture.formatter import LineFormatter
from hublog.delivery.memory_queue import MOST_SEVERE, UNKNOWN, class_of, class_of_line
from hublog.line import RecordIds, level_and_logger
from hublog.settings import ServiceSettings

NAMES = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)


def encode(message="text", level=logging.INFO, logger="shop", name="", **attributes):
    record = logging.LogRecord(logger, level, __file__, 7, message, None, None)
    record.levelname = name or record.levelname
    record.__dict__.update(attributes)
    return LineFormatter(ServiceSettings(), ids=RecordIds()).encode(record)


@pytest.mark.parametrize(
    ("levelno", "severity_class"),
    [(-5, 0), (0, 0), (10, 0), (19, 0), (20, 1), (29, 1), (30, 2), (39, 2), (40, 3), (50, 3), (10**30, 3)],
)
def test_a_level_has_the_class_of_the_highest_border_it_reaches(levelno, severity_class):
    assert class_of(levelno) == severity_class
    assert class_of_line(b'{"level":"X","level_number":%d,"logger_name":"x"}' % levelno) == severity_class


@given(st.integers(-100, 10_000), NAMES, st.text(max_size=40), st.booleans())
def test_the_class_of_a_line_is_that_of_its_record(level, logger, message, is_slow):
    line = encode(message, level, logger, stack_info="a stack" if is_slow else None)
    assert class_of_line(line) == class_of(level)


@given(NAMES, NAMES)
def test_the_facts_of_a_line_are_its_columns(name, logger):
    row = json.loads(line := encode(name=name, logger=logger))
    assert level_and_logger(line) == (row.get("level", ""), row.get("logger_name", ""))


@pytest.mark.parametrize("text", ['"level_number":50,', '","level_number":50,"level":"CRITICAL"', "\\"])
def test_what_a_record_says_is_not_taken_for_its_level(text):
    line = encode(text, logger=text, name=text, level_number=text, extra_text=text)
    assert class_of_line(line) == class_of(logging.INFO)
    assert level_and_logger(line) == (text, text)


def test_a_level_of_the_application_hides_nothing():
    line = encode(level=logging.DEBUG, deeper={"level": "gold", "level_number": 50, "logger_name": "x"})
    assert class_of_line(line) == 0
    assert level_and_logger(line) == ("DEBUG", "shop")


@given(st.binary(max_size=200) | st.binary(max_size=40).map(lambda tail: make_line()[:-60] + tail))
def test_no_bytes_make_it_fail(line):
    assert 0 <= class_of_line(line) <= MOST_SEVERE
    assert [type(name) for name in level_and_logger(line)] == [str, str]


@pytest.mark.parametrize("line", [b"", b"{}", b'{"level_number":"20"}', b'{"level_number":null}'])
def test_what_says_nothing_is_neither_the_first_to_go_nor_the_last(line):
    assert class_of_line(line) == UNKNOWN
    assert level_and_logger(line) == ("", "")


@pytest.mark.parametrize(
    ("raw", "shown"),
    [
        (b"\\u00e9t\\u00e9", "été"),
        (b"\\ud800", "\\ud800"),
        (b"\\x", "\\x"),
        (b"\xff", "�"),
        (b'a\\"b', 'a"b'),
    ],
)
def test_a_damaged_name_is_shown_as_it_stands(raw, shown):
    assert level_and_logger(b'{"level":"%b","logger_name":"x"}' % raw) == (shown, "x")
