import fcntl
import json
import os
import random
import zlib

import pytest
from tests.faults.machine import damage
from tests.faults.segments import (
    CURSOR,
    FRAME,
    MAGIC,
    dead_segments,
    read_root,
    read_segment,
    set_aside,
    unsettled,
)


def line(number, *, padding=0):
    return json.dumps({"n": number, "padding": "x" * padding}).encode()


def framed(payload):
    return FRAME.pack(len(payload), zlib.crc32(payload)) + payload


def segment(path, payloads, *, tail=b""):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(MAGIC + b"".join(map(framed, payloads)) + tail)
    return path


def numbers(found):
    return [json.loads(frame.payload)["n"] for frame in found.frames]


def test_all_records_of_a_whole_segment_are_read_in_order(tmp_path):
    found = read_segment(segment(tmp_path / "00000003.seg", map(line, range(20))))
    assert numbers(found) == list(range(20))
    assert (found.number, found.damaged_bytes, found.is_torn, found.is_ours) == (3, 0, False, True)


def test_the_format_is_the_agreed_one_byte_by_byte(tmp_path):
    path = tmp_path / "00000001.seg"
    path.write_bytes(bytes.fromhex("6875626c6f6700010200000043bfa6a3") + b"{}")
    assert zlib.crc32(b"{}") == 0xA3A6BF43
    assert [frame.payload for frame in read_segment(path).frames] == [b"{}"]


def test_a_segment_says_where_its_records_go(tmp_path):
    path = tmp_path / "00000001.seg"
    path.write_bytes(MAGIC + framed(b'["shop","audit","lines",{}]') + framed(line(0)) + framed(line(1)))
    found = read_segment(path)
    assert (found.eventhub, numbers(found), found.damaged_bytes) == ("audit", [0, 1], 0)


def test_a_torn_last_record_is_refused_and_told(tmp_path):
    found = read_segment(segment(tmp_path / "00000001.seg", map(line, range(3)), tail=framed(line(3))[:-1]))
    assert numbers(found) == [0, 1, 2]
    assert found.is_torn
    assert found.damaged_bytes == len(framed(line(3))) - 1


def test_zeros_are_no_records(tmp_path):
    found = read_segment(segment(tmp_path / "00000001.seg", [line(0)], tail=bytes(4_096)))
    assert numbers(found) == [0]
    assert found.damaged_bytes == 4_096


def test_records_behind_damage_are_found_again(tmp_path):
    path = segment(tmp_path / "00000001.seg", map(line, range(50)))
    content = bytearray(path.read_bytes())
    content[300:340] = bytes(40)
    path.write_bytes(content)
    found = read_segment(path)
    assert numbers(found)[-1] == 49
    assert len(found.frames) >= 46
    assert found.damaged_bytes
    assert not found.is_torn


def test_a_file_of_somebody_else_has_no_records(tmp_path):
    path = tmp_path / "00000001.seg"
    path.write_bytes(b"hublog\x00\x03" + framed(line(0)))
    found = read_segment(path)
    assert (found.is_ours, found.frames, found.damaged_bytes) == (False, (), path.stat().st_size)


@pytest.mark.parametrize("kind", ["zeros", "random", "cut"])
def test_damage_touches_the_records_that_it_names_and_no_others(tmp_path, kind):
    chance = random.Random(3)  # noqa: S311  # the same damage each time
    for trial in range(30):
        lines = [line(number, padding=number) for number in range(60)]
        path = segment(tmp_path / f"{trial:08}.seg", lines)
        touched = damage(path, kind, chance)
        left = {frame.payload for frame in read_segment(path).frames}
        assert set(lines) - touched <= left
        assert left <= set(lines)


def test_what_lies_before_the_cursor_is_settled(tmp_path):
    first = segment(tmp_path / "one" / "00000001.seg", map(line, range(3)))
    segment(tmp_path / "one" / "00000002.seg", map(line, range(3, 6)))
    second = len(MAGIC) + len(framed(line(3)))
    (tmp_path / "one" / "lock").write_bytes(CURSOR.pack(2, second))
    assert [row["n"] for row in unsettled(tmp_path)] == [4, 5]
    assert first.exists()


def test_a_directory_without_a_cursor_has_nothing_settled(tmp_path):
    segment(tmp_path / "one" / "00000001.seg", map(line, range(3)))
    (tmp_path / "one" / "lock").touch()
    assert len(unsettled(tmp_path)) == 3


def test_a_directory_in_the_making_is_not_read(tmp_path):
    segment(tmp_path / ".one" / "00000001.seg", [line(0)])
    assert read_root(tmp_path) == []
    assert read_root(tmp_path / "none") == []


def test_a_held_lock_tells_a_living_owner_from_a_dead_one(tmp_path):
    path = segment(tmp_path / "one" / "00000001.seg", [line(0)])
    lock = tmp_path / "one" / "lock"
    descriptor = os.open(lock, os.O_RDWR | os.O_CREAT)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        assert dead_segments(tmp_path) == []
    finally:
        os.close(descriptor)
    assert dead_segments(tmp_path) == [path]


def test_records_that_were_set_aside_are_read_in_segments_and_in_lines(tmp_path):
    segment(tmp_path / "rejected" / "00000001.seg", [line(0)])
    (tmp_path / "rejected" / "lines.jsonl").write_bytes(line(1) + b"\n" + line(2) + b"\n")
    assert sorted(row["n"] for row in set_aside(tmp_path)) == [0, 1, 2]
    assert read_root(tmp_path) == []
