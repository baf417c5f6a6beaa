import random
import struct
import zlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.spool.independent import lines_of, make_lines, make_segment

from hublog.spool import segments as segment_format
from hublog.spool.segments import HEADER, FrameReader, encode, is_foreign, survey

LINES = st.lists(
    st.binary(max_size=60).map(lambda data: b"{" + data.replace(b"\n", b"") + b"}"), min_size=1, max_size=30
)


def read_all(data, at=None):
    reader = FrameReader(data, at=len(HEADER) if at is None else at)
    lines = []
    while (line := reader.next_line()) is not None:
        lines.append(line)
    assert reader.is_at_end
    return lines, reader.damage


def bounds_of(lines):
    """Where each frame begins and ends."""
    at, bounds = len(HEADER), []
    for line in lines:
        bounds.append((at, at + 8 + len(line)))
        at = bounds[-1][1]
    return bounds


@given(LINES)
def test_what_is_written_is_what_others_read_and_what_is_read(lines):
    data = HEADER + b"".join(map(encode, lines))
    assert data == make_segment(lines)
    assert lines_of(data) == lines
    assert read_all(data) == (lines, [])
    assert survey(data) == (len(lines), 0, False)


@pytest.mark.parametrize(
    "line",
    [
        pytest.param(b"", id="nothing"),
        pytest.param(b"{", id="one brace"),
        pytest.param(b"[]", id="no object"),
        pytest.param(b'{"a":1} ', id="blank behind"),
        pytest.param(b'{"a":\n1}', id="line break"),
        pytest.param(b"{" + b" " * (1 << 24) + b"}", id="too long"),
    ],
)
def test_what_is_no_line_is_refused(line):
    with pytest.raises(ValueError, match="A line"):
        encode(line)


@pytest.mark.parametrize(
    "frame",
    [
        pytest.param(bytes(4096), id="zeroed block"),
        pytest.param(struct.pack("<II", 0, 0), id="length 0 with its right checksum"),
        pytest.param(struct.pack("<II", 3, zlib.crc32(b"abc")) + b"abc", id="no braces"),
        pytest.param(struct.pack("<II", 3, zlib.crc32(b"{\n}")) + b"{\n}", id="line break"),
        pytest.param(struct.pack("<II", 2, 7) + b"{}", id="wrong checksum"),
        pytest.param(struct.pack("<II", 0xFFFFFFFF, 7) + b"{}", id="absurd length"),
        pytest.param(struct.pack("<II", 1 << 20, 7) + b"{}", id="length behind the end"),
        pytest.param(b"\x01", id="one byte"),
    ],
)
def test_what_is_no_frame_is_stepped_over(frame):
    before, behind = make_lines(3), make_lines(3, start=3)
    data = make_segment(before) + frame + make_segment(behind, head=b"")
    begin = len(make_segment(before))
    assert read_all(data) == (before + behind, [(begin, begin + len(frame))])
    assert read_all(make_segment(before) + frame) == (before, [(begin, begin + len(frame))])


def test_a_tail_that_was_torn_off_is_told():
    data = make_segment(make_lines(3))
    assert survey(data[:-1]) == (2, 1, True)
    assert survey(data[:-40] + b"\0" + data[-40:]).is_torn is False


@settings(deadline=None, max_examples=150)
@given(st.integers(0, 2**32), st.sampled_from(["zeros", "noise", "cut", "anywhere"]))
def test_damage_costs_the_records_it_touched_and_invents_none(seed, kind):
    rng = random.Random(seed)  # noqa: S311  # damage is no secret
    lines = [b'{"n":%d,"s":"%s"}' % (n, b"{}x" * rng.randrange(120)) for n in range(200)]
    data = bytearray(make_segment(lines))
    begin = rng.randrange(len(data)) if kind in ("cut", "anywhere") else rng.randrange(len(data) // 512) * 512
    end = len(data) if kind == "cut" else min(begin + 512, len(data))
    if kind == "cut":
        del data[begin:]
    else:
        data[begin:end] = bytes(end - begin) if kind == "zeros" else rng.randbytes(end - begin)
    assert not is_foreign(bytes(data))
    sound = [
        line
        for line, (first, last) in zip(lines, bounds_of(lines), strict=True)
        if last <= begin or first >= end
    ]
    found, damage = read_all(bytes(data))
    assert found == sound
    assert len(damage) <= 1


@given(st.binary(max_size=2000))
def test_bytes_of_others_give_no_lines(data):
    assert read_all(data, at=0)[0] == []


@settings(deadline=None)
@given(LINES, st.data())
def test_a_file_that_is_cut_anywhere_gives_the_whole_frames_before(lines, data):
    whole = make_segment(lines)
    cut = data.draw(st.integers(0, len(whole)))
    kept = [line for line, (_, end) in zip(lines, bounds_of(lines), strict=True) if end <= cut]
    assert read_all(whole[:cut])[0] == kept
    assert not is_foreign(whole[:cut])


@pytest.mark.parametrize(
    ("data", "is_left_alone"),
    [
        pytest.param(make_segment(make_lines(2), head=b"hublog\x00\x03"), True, id="newer version"),
        pytest.param(make_segment(make_lines(2), head=b"hublog\x00\x00"), True, id="older version"),
        pytest.param(make_segment(make_lines(2), head=b"SQLite f"), True, id="strange header, sound frame"),
        pytest.param(b"SQLite format 3\x00" + b"x" * 5000, True, id="no frames at all"),
        pytest.param(b"hub", False, id="header cut"),
        pytest.param(b"", False, id="empty"),
        pytest.param(bytes(4096), False, id="zeros"),
        pytest.param(b"\xff" * 512 + make_segment(make_lines(9))[512:], True, id="noise without frames"),
        pytest.param(b"\xff" * 512 + make_segment(make_lines(99))[512:], False, id="first sector lost"),
    ],
)
def test_only_files_of_this_version_are_touched(data, is_left_alone):
    assert is_foreign(data) is is_left_alone


def test_bytes_made_to_keep_the_reader_busy_are_given_up(monkeypatch):
    monkeypatch.setattr(segment_format, "_WASTE_MAX", 10_000)
    bad = struct.pack("<II", 1_000, 1) + b"{}"
    tail = b"}" * 2_000 + b"}"
    data = HEADER + bad * 100 + tail + make_segment(make_lines(1), head=b"")
    assert read_all(data) == ([], [(len(HEADER), len(data))])


def test_a_file_of_braces_is_given_up_after_a_bounded_number_of_looks(monkeypatch):
    looks = 0
    look = FrameReader._line_at

    def counted(self, at):
        nonlocal looks
        looks += 1
        return look(self, at)

    monkeypatch.setattr(FrameReader, "_line_at", counted)
    assert FrameReader(HEADER + b"{" * (2 << 20), at=len(HEADER)).next_line() is None
    assert looks <= (1 << 20) + 10
