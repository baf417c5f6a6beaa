"""Whatever the application logs, every value in a line fits the Kusto type of its column."""

import logging
import uuid

from hypothesis import given, settings
from hypothesis import strategies as st
from tests.kits.any_values import VALUES
from tests.kits.lines import fits, strict

from hublog.capture import context
from hublog.capture.columns import OPEN_COLUMNS
from hublog.capture.formatter import LineFormatter
from hublog.capture.typed_columns import Misfits
from hublog.line import RecordIds
from hublog.settings import ServiceSettings

#: The names of what a LogRecord has of its own.
ATTRIBUTES = sorted({*vars(logging.LogRecord("", 0, "", 0, None, None, None)), "taskName"})


def make(extra=None, **attributes):
    record = logging.LogRecord("shop", 20, "/srv/app/shop.py", 5, "m %s", ("a",), None)
    record.__dict__.update(attributes)
    record.__dict__.update(extra or {})
    return record


def read(line):
    """Return the record of a line after looking at all of it."""
    row = strict(line)
    assert fits(row) == {}
    return row


@settings(max_examples=400, deadline=None)
@given(st.dictionaries(st.sampled_from(sorted(OPEN_COLUMNS)) | st.text(max_size=8), VALUES, max_size=6))
def test_whatever_is_added_fits_and_nothing_of_it_is_lost(extra):
    extra = {name: value for name, value in extra.items() if name not in make().__dict__}
    misfits = Misfits()
    row = read(LineFormatter(ServiceSettings(), ids=RecordIds(), misfits=misfits).encode(make(extra)))
    kept = row.get("extra", {})
    moved = [name for name in extra if name in OPEN_COLUMNS and name in kept]
    assert misfits.read() == len(moved)
    assert all(type(kept[name]) is str for name in moved), "a misfit stands in extra as text"
    for name, value in extra.items():
        if name in OPEN_COLUMNS and value not in (None, "", b""):  # what is empty is left out
            assert name in row or name in kept


@settings(max_examples=200, deadline=None)
@given(st.dictionaries(st.sampled_from(sorted(OPEN_COLUMNS)), VALUES, max_size=6))
def test_whatever_is_bound_fits_and_is_counted_for_each_record(fields):
    misfits = Misfits()
    formatter = LineFormatter(ServiceSettings(), misfits=misfits)
    token = context.enter(fields)
    try:
        rows = [read(formatter.encode(make())) for _ in range(2)]
    finally:
        context.leave(token)
    moved = [name for name in fields if name in rows[0].get("extra", {})]
    assert misfits.read() == 2 * len(moved)


@settings(max_examples=400, deadline=None)
@given(st.dictionaries(st.sampled_from(ATTRIBUTES), VALUES, max_size=5))
def test_whatever_stands_on_the_record_itself_fits(attributes):
    row = read(LineFormatter(ServiceSettings(), ids=RecordIds()).encode(make(**attributes)))
    assert uuid.UUID(row["record_id"]).version == 7
    assert "timestamp" in row


@settings(max_examples=200, deadline=None)
@given(st.floats(-1e12, 1e12) | st.floats() | st.integers(-(10**12), 10**12))
def test_the_timestamp_is_the_records_own_or_now(created):
    row = read(LineFormatter(ServiceSettings(), ids=RecordIds()).encode(make(created=created)))
    if 0 <= created < 253_402_300_800:
        assert "extra" not in row
    else:
        assert isinstance(row["extra"]["timestamp"], str)
    milliseconds = uuid.UUID(row["record_id"]).int >> 80
    assert milliseconds % 1000 == int((row["timestamp"].partition(".")[2] or "000")[:3])


@settings(max_examples=100, deadline=None)
@given(
    st.integers(1024, 20_000),
    st.dictionaries(st.text(max_size=9), VALUES | st.text(min_size=500, max_size=3000), max_size=5),
    st.text(max_size=4000),
)
def test_a_record_over_the_limit_is_cut_and_keeps_its_ids(limit, extra, text):
    extra = {name: value for name, value in extra.items() if name not in make().__dict__}
    formatter = LineFormatter(ServiceSettings(name="s" * 256), max_record_bytes=limit, ids=RecordIds())
    record = make(extra, msg=text * 3, args=None)
    whole_line = LineFormatter(
        ServiceSettings(name="s" * 256), ids=RecordIds(), max_record_bytes=1 << 30
    ).encode(record)
    line = formatter.encode(record)
    assert len(line) <= limit
    row = read(line)
    assert row["sequence"] == 1
    assert uuid.UUID(row["record_id"]).version == 7
    if len(whole_line) > limit:
        assert row["truncated"] is True


def test_an_environment_that_is_no_utf_8_does_not_stop_the_records():
    row = read(LineFormatter(ServiceSettings(name="shop\udcff")).encode(make()))
    assert row["service_name"] == "shop\\udcff"


def test_what_is_cut_in_two_places_is_marked_once():
    error = ValueError("x" * 20_000)
    record = make({"tenant_id": "y" * 3_000}, exc_info=(ValueError, error, None))
    assert read(LineFormatter(ServiceSettings()).encode(record))["truncated"] is True
