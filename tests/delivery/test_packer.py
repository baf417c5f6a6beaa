import gzip
import json
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hublog.delivery import packer as module
from hublog.delivery.packer import LINE_OVERHEAD_BYTES, Packer
from hublog.settings import Packing

SENT_AT = datetime(2026, 11, 23, 13, 10, 31, 250_000, tzinfo=UTC)
LINES = [b'{"message":"a"}', b'{"message":"b"}', b"{}"]
STAMP = "2026-11-23T13:10:31.250000Z"


def unpack(packing, packed):
    body = gzip.decompress(packed.body) if packing is Packing.GZIP else packed.body
    return [json.loads(line) for line in body.splitlines()]


@pytest.mark.parametrize("packing", list(Packing))
def test_every_line_arrives_once_with_the_time_it_was_sent(packing):
    packed = Packer(packing).pack(LINES, sent_at=SENT_AT)
    rows = [row for event in packed for row in unpack(packing, event)]
    assert rows == [{**json.loads(line), "sent_at": STAMP} for line in LINES]
    assert [line for event in packed for line in event.lines] == LINES


def test_single_makes_one_event_of_each_line_and_the_others_one_of_all():
    numbers = {packing: len(Packer(packing).pack(LINES, sent_at=SENT_AT)) for packing in Packing}
    assert numbers == {Packing.SINGLE: 3, Packing.LINES: 1, Packing.GZIP: 1}


def test_only_gzip_names_its_compression():
    assert {packing: dict(Packer(packing).properties) for packing in Packing} == {
        Packing.SINGLE: {},
        Packing.LINES: {},
        Packing.GZIP: {"Compression": "gzip"},
    }


def test_the_time_is_utc_whatever_zone_it_came_in():
    elsewhere = SENT_AT.astimezone(timezone(timedelta(hours=5, minutes=30)))
    [event] = Packer(Packing.LINES).pack([b'{"a":1}'], sent_at=elsewhere)
    assert json.loads(event.body)["sent_at"] == STAMP


def test_a_whole_second_still_has_its_microseconds():
    [event] = Packer(Packing.LINES).pack([b'{"a":1}'], sent_at=SENT_AT.replace(microsecond=0))
    assert json.loads(event.body)["sent_at"] == "2026-11-23T13:10:31.000000Z"


@given(
    st.lists(st.dictionaries(st.text(max_size=5), st.text(max_size=20), max_size=3), min_size=1, max_size=20),
    st.sampled_from(list(Packing)),
)
def test_whatever_a_line_holds_it_comes_back(rows, packing):
    lines = [json.dumps({**row, "message": "m"}).encode() for row in rows]
    found = [row for event in Packer(packing).pack(lines, sent_at=SENT_AT) for row in unpack(packing, event)]
    assert found == [{**json.loads(line), "sent_at": STAMP} for line in lines]


def test_the_routing_of_an_event_stands_beside_its_compression():
    routing = {"Table": "ShopLogs", "Format": "json"}
    assert Packer(Packing.LINES, routing=routing).properties == routing
    assert Packer(Packing.GZIP, routing=routing).properties == {**routing, "Compression": "gzip"}
    assert Packer(Packing.SINGLE).properties == {}


@pytest.mark.parametrize("level", range(1, 10))
@pytest.mark.parametrize("is_isal_there", [True, False], ids=["isal", "zlib"])
def test_each_level_gives_gzip_with_isal_and_without(monkeypatch, level, is_isal_there):
    used = []
    if is_isal_there:
        found = module._isal
        monkeypatch.setattr(module, "_isal", lambda *options: used.append(options) or found(*options))
    else:
        monkeypatch.setattr(module, "_isal", None)
    [event] = Packer(Packing.GZIP, gzip_level=level).pack(LINES * 50, sent_at=SENT_AT)
    assert len(gzip.decompress(event.body).splitlines()) == 150
    assert event.body[4:8] == b"\0\0\0\0", "no time stamp"
    assert bool(used) == (is_isal_there and level <= 3)


@pytest.mark.parametrize("packing", [Packing.LINES, Packing.GZIP])
def test_a_line_becomes_longer_by_what_the_limit_counts(packing):
    [event] = Packer(packing).pack(LINES[:2], sent_at=SENT_AT)
    body = gzip.decompress(event.body) if packing is Packing.GZIP else event.body
    assert len(body) == sum(len(line) + LINE_OVERHEAD_BYTES for line in LINES[:2])


def test_what_is_compressed_may_be_longer_than_the_link_allows():
    assert Packer(Packing.LINES).raw_bytes(100_000) == 100_000
    assert Packer(Packing.GZIP).raw_bytes(100_000) == 400_000
