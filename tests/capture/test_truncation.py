import json
import logging

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hublog.capture.formatter import LineFormatter
from hublog.capture.truncation import shortened
from hublog.line import RecordIds
from hublog.settings import ServiceSettings

FORMATTER = LineFormatter(ServiceSettings(name="shop"), max_record_bytes=1_000_000, ids=RecordIds())


def line_of(message="m", **extra):
    record = logging.LogRecord("shop.cart", logging.ERROR, "cart.py", 7, message, None, None)
    record.__dict__.update(extra)
    return FORMATTER.encode(record)


def test_what_names_the_record_stays_and_the_cut_is_marked():
    line = line_of("x" * 300_000, basket=list(range(1_000)))
    whole, cut = json.loads(line), json.loads(shortened(line, 100_000))
    assert cut["truncated"] is True
    assert cut["extra"]["original_bytes"] == len(line)
    for name in (
        "timestamp",
        "record_id",
        "sequence",
        "level",
        "level_number",
        "logger_name",
        "service_name",
    ):
        assert cut[name] == whole[name]
    assert cut["message"].startswith("xxx")


@given(
    st.text(max_size=3_000),
    st.dictionaries(st.text(max_size=10), st.text(max_size=500)),
    st.integers(1_500, 9_000),
)
def test_a_cut_line_is_one_line_of_json_within_its_limit(message, extra, limit):
    cut = shortened(line_of(message, **{f"x_{name}": value for name, value in extra.items()}), limit)
    assert cut is not None
    assert len(cut) <= limit
    assert b"\n" not in cut
    assert json.loads(cut)["logger_name"] == "shop.cart"


@pytest.mark.parametrize("line", [b"", b"[1]", b"{", b"no json", line_of("x" * 500)])
def test_what_cannot_be_cut_is_not(line):
    assert shortened(line, 100) is None
