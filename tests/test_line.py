import json
import logging
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.kits.lines import strict

from hublog.capture.formatter import LineFormatter
from hublog.line import (
    HEAD_COLUMNS,
    SENT_AT_BYTES,
    RecordIds,
    escape_line_ends,
    is_line,
    joined,
    level_and_logger,
    level_number,
    record_id,
    with_first,
    with_last,
    with_sent_at,
    with_sequence,
)
from hublog.sampling.sampler import UnnumberedIds
from hublog.settings import ServiceSettings

TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=60) | st.sampled_from(
    ["\u2028", '"level_number":50', '","record_id":"', "x" * 5_000]
)
MEMBERS = st.dictionaries(TEXTS, TEXTS | st.integers(-(2**53), 2**53), max_size=4)
SENT_AT = datetime(2026, 11, 23, 13, 10, 31, 5, UTC)


@st.composite
def records(draw):
    level = draw(st.integers(-100, 10_000))
    record = logging.LogRecord(draw(TEXTS), level, "/srv/shop.py", 7, draw(TEXTS), None, None)
    record.created = draw(st.floats(0, 253_402_300_799))
    record.stack_info = draw(st.sampled_from([None, "a stack"]))  # with one the slow path makes the line
    record.__dict__.update({f"x{name}": value for name, value in draw(MEMBERS).items()})
    return record


def encode(record, ids, max_record_bytes=2_048):
    formatter = LineFormatter(ServiceSettings(name="shop"), ids=ids, max_record_bytes=max_record_bytes)
    return formatter.encode(record)


def encode_object(members):
    return escape_line_ends(json.dumps(members, ensure_ascii=False).encode())


@given(records(), st.integers(1, 100_000))
def test_a_line_begins_with_its_time_and_ids_and_then_the_level(record, first):
    ids = RecordIds()
    for _ in range(first % 12):
        ids.next_number()
    line = encode(record, ids)
    row = strict(line)
    assert is_line(line)
    assert tuple(row)[:3] == HEAD_COLUMNS
    assert len(row["timestamp"]) == len("2026-11-23T13:10:31.123456Z")
    assert level_number(line) == row["level_number"] == record.levelno
    assert level_and_logger(line) == (row["level"], row.get("logger_name", ""))


@given(records())
def test_a_line_without_ids_begins_with_its_time_and_the_level(record):
    assert tuple(strict(encode(record, None)))[:2] == ("timestamp", "level")


@given(records(), st.integers(0, 1 << 40))
def test_another_sequence_number_changes_the_ids_and_nothing_else(record, sequence):
    ids = RecordIds()
    line = encode(record, UnnumberedIds(ids))
    before, after = strict(line), strict(with_sequence(line, sequence))
    prefix, _ = ids.next(int(after["record_id"].replace("-", "")[:12], 16))
    assert after["record_id"] == record_id(prefix, sequence)
    assert after == before | {"record_id": after["record_id"], "sequence": sequence}
    assert len(with_sequence(line, sequence)) - len(line) == len(str(sequence)) - len(str(before["sequence"]))


@given(records(), MEMBERS.filter(bool))
def test_members_go_to_the_front_or_to_the_end(record, members):
    members = {f"y{name}": value for name, value in members.items()}
    line, added = encode(record, None), encode_object(members)
    assert list(strict(with_first(line, added)).items()) == [*members.items(), *strict(line).items()]
    assert list(strict(with_last(line, added)).items()) == [*strict(line).items(), *members.items()]
    assert strict(with_first(b"{}", added)) == strict(with_last(b"{}", added)) == members


@given(st.lists(MEMBERS.map(encode_object), min_size=1))
def test_each_line_of_a_batch_ends_with_when_it_was_sent(lines):
    sent = with_sent_at(lines, SENT_AT)
    assert [strict(line) for line in sent.splitlines()] == [
        strict(line) | {"sent_at": "2026-11-23T13:10:31.000005Z"} for line in lines
    ]
    assert sent.count(b"\n") == len(lines)
    assert len(sent) <= sum(len(line) + SENT_AT_BYTES for line in lines)


@given(st.lists(MEMBERS.map(encode_object)))
def test_joined_lines_are_divided_by_line_breaks(lines):
    assert joined(lines).splitlines() == lines
    assert joined(lines) == b"".join(line + b"\n" for line in lines)


@given(TEXTS)
def test_no_line_has_an_end_of_line_inside(text):
    raw = json.dumps({"message": text}, ensure_ascii=False).encode()
    line = escape_line_ends(raw)
    assert is_line(line)
    assert strict(line) == {"message": text}


@pytest.mark.parametrize("data", [b"", b"{", b"}", b"[1]", b'{"a":1', b'{"a":\n1}', b'{"a":1}\n'])
def test_what_is_not_one_object_in_one_line_is_no_line(data):
    assert not is_line(data)


@given(st.binary(max_size=200))
def test_no_bytes_make_a_look_at_the_level_fail(data):
    assert level_number(data) is None or isinstance(level_number(data), int)
    assert all(isinstance(name, str) for name in level_and_logger(data))
