"""``hublog spool verify``."""

import json
import os
import shutil
import struct
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.kits.spools import FRAME, kill, kinds, leave, make_unreadable, reject, segments, snapshot
from tests.spool.independent import A, B, C, make_lines, make_segment

from hublog.cli.spool_inspection import inspect_directory


def test_a_sound_spool_has_no_fault(root, run, live):
    live(3)
    leave(root, A, make_segment(make_lines(3)), b"", cursor=(1, 8))
    reject(root, b'{"rejected_at":"x"}\n{"rej')
    assert run("verify") == (
        0,
        "6 good records in 3 segments of 2 directories and 1 rejected record: no fault.\n",
        "",
    )


def test_damage_is_reported_with_its_bytes(root, run, as_json):
    lines = make_lines(3, size=20)
    data = bytearray(make_segment(lines))
    begin = 8 + FRAME + len(lines[0])
    data[begin + 20] ^= 1
    leave(root, A, bytes(data), make_segment(lines))
    verdict = as_json("verify", status=1)
    end = begin + FRAME + len(lines[1])
    assert verdict["records"] == 5
    assert [(each["path"], each["kind"], each["begin"], each["end"]) for each in verdict["findings"]] == [
        (f"{A}/00000001.seg", "damaged", begin, end)
    ]
    status, out, _ = run("verify")
    assert (status, out.splitlines()) == (
        1,
        [
            f"{A}/00000001.seg: bytes {begin} to {end} cannot be read",
            "5 good records in 2 segments of 1 directory: 1 fault.",
        ],
    )


def test_a_header_that_is_gone_is_damage(root, as_json):
    lines = make_lines(3)
    data = bytes(16 + len(lines[0])) + make_segment(lines)[16 + len(lines[0]) :]
    leave(root, A, data)
    verdict = as_json("verify", status=1)
    assert verdict["records"] == 2
    [found] = verdict["findings"]
    assert (found["kind"], found["begin"], found["end"]) == ("damaged", 0, 16 + len(lines[0]))


@pytest.mark.parametrize(
    ("size", "begin"), [(-3, 8), (4, 0), (12, 8)], ids=["in a line", "in the header", "in a frame"]
)
def test_an_unfinished_end_of_a_killed_writer_is_torn(root, as_json, size, begin):
    leave(root, A, make_segment(make_lines(1))[:size])
    [found] = as_json("verify", status=1)["findings"]
    assert (found["kind"], found["begin"]) == ("torn", begin)


def test_an_end_that_a_living_owner_is_writing_is_not_torn(as_json, live):
    process, path = live(2)
    with (path / "00000001.seg").open("ab") as file:
        file.write(make_segment(make_lines(1))[8:-3])
    assert as_json("list")["sum"]["damage"] == 0
    assert kinds(as_json("verify")) == [(f"{path.name}/00000001.seg", "open")]
    kill(process)
    assert as_json("list")["sum"]["damage"] == 1
    assert kinds(as_json("verify", status=1)) == [(f"{path.name}/00000001.seg", "torn")]


def test_the_end_of_a_segment_that_has_a_next_one_is_torn_although_the_owner_lives(as_json, live):
    _, path = live(8, max_bytes=40)
    with (path / "00000001.seg").open("ab") as file:
        file.write(b"\1\2\3")
    assert kinds(as_json("verify", status=1)) == [(f"{path.name}/00000001.seg", "torn")]


@pytest.mark.parametrize(
    "lock",
    [
        pytest.param(struct.pack("<QQ", 1, 9), id="inside of a frame"),
        pytest.param(struct.pack("<QQ", 1, 4096), id="behind the end"),
        pytest.param(struct.pack("<QQ", 7, 8), id="a segment that is not there"),
        pytest.param(b"", id="nothing"),
        pytest.param(bytes(17), id="more than a cursor"),
    ],
)
def test_an_invalid_cursor_is_reported(root, as_json, lock):
    path = leave(root, A, make_segment(make_lines(2)))
    (path / "lock").write_bytes(lock)
    assert kinds(as_json("verify", status=1)) == [(f"{A}/lock", "cursor")]


def test_the_cursor_may_stand_behind_damage(root, as_json):
    data = make_segment(make_lines(1)) + b"\0" * 9 + make_segment(make_lines(1))[8:]
    leave(root, A, data, cursor=(1, len(make_segment(make_lines(1))) + 9))
    assert kinds(as_json("verify", status=1)) == [(f"{A}/00000001.seg", "damaged")]


def test_what_others_may_read_or_write_is_reported(root, as_json):
    path = leave(root, A, make_segment(make_lines(1)))
    rejected = reject(root, b"{}\n")
    root.chmod(0o770)
    path.chmod(0o755)
    (path / "lock").chmod(0o640)
    (path / "00000001.seg").chmod(0o604)
    rejected.parent.chmod(0o750)
    rejected.chmod(0o644)
    verdict = as_json("verify", status=1)
    assert {finding["kind"] for finding in verdict["findings"]} == {"mode"}
    assert {finding["path"]: finding["text"] for finding in verdict["findings"]} == {
        "": "its mode is 0770, so others may write to it",
        A: "its mode is 0755; it must be 0700",
        f"{A}/lock": "its mode is 0640; it must be 0600",
        f"{A}/00000001.seg": "its mode is 0604; it must be 0600",
        "rejected": "its mode is 0750; it must be 0700",
        "rejected/a.jsonl": "its mode is 0644; it must be 0600",
    }


def test_a_root_that_others_may_read_is_allowed(root, run):
    root.chmod(0o755)
    assert run("verify")[0] == 0


@pytest.mark.skipif(os.geteuid() != 0, reason="only the administrator gives files away")
def test_files_of_another_user_are_reported(root, as_json):
    path = leave(root, A, make_segment(make_lines(1)))
    os.chown(path / "00000001.seg", 65_534, 65_534)
    [found] = as_json("verify", status=1)["findings"]
    assert (found["path"], found["kind"]) == (f"{A}/00000001.seg", "uid")
    assert found["text"] == "belongs to uid 65534; the spool belongs to uid 0"


def test_a_spool_of_another_user_is_reported(root, as_json, monkeypatch):
    uid = os.geteuid()
    monkeypatch.setattr(os, "geteuid", lambda: uid + 1)
    assert kinds(as_json("verify", status=1)) == [("", "uid")]


def test_what_cannot_be_read_is_a_fault(ordinary, run):
    root = ordinary / "spool"
    make_unreadable(root)
    status, out, _ = run("verify", "--json", directory=root)
    assert status == 1
    assert sorted(kinds(json.loads(out))) == [
        (A, "unreadable"),
        (B, "lock"),
        (f"{C}/00000001.seg", "foreign"),
        ("rejected/a.jsonl", "foreign"),
    ]


def test_foreign_files_are_faults_where_they_keep_a_directory_and_none_in_the_root(root, as_json):
    path = leave(root, A, make_segment(make_lines(1)), make_segment([], head=b"hublog\x00\x07"))
    (path / "00000003.seg").write_bytes(b"no segment at all")
    (path / "core").touch()
    for file in path.iterdir():
        file.chmod(0o600)
    (root / "lost+found").mkdir()
    assert sorted(kinds(as_json("verify", status=1))) == [
        (f"{A}/00000002.seg", "foreign"),
        (f"{A}/00000003.seg", "foreign"),
        (f"{A}/core", "foreign"),
        ("lost+found", "strange"),
    ]


def test_lines_of_rejected_records_that_are_not_json_are_reported_by_number(root, as_json):
    deep = b"[" * 100_000
    reject(root, b'{"a":1}\n{"b":\n[]\n\xff\n' + deep + b"\n{}\n")
    verdict = as_json("verify", status=1)
    assert [finding["text"].split()[1] for finding in verdict["findings"]] == ["2", "3", "4", "5"]


def test_of_many_bad_lines_the_first_are_reported(root, as_json):
    reject(root, b"\n" * 1_000)
    assert as_json("verify", status=1)["faults"] == 10


@given(contents=st.lists(segments(), min_size=1, max_size=3))
@settings(deadline=None)
def test_each_byte_is_of_a_good_record_or_reported_as_damaged_and_none_is_changed(contents):
    root = Path(tempfile.mkdtemp())
    try:
        path = leave(root, A, *contents)
        before = snapshot(root)
        found = inspect_directory(path)
        for segment in found.content.segments:
            data = segment.path.read_bytes()
            ends = [(segment.torn_at, len(data))] if segment.torn_at is not None else []
            stretches = [*segment.damage, *ends]
            whole = bytearray(data)
            for begin, end in reversed(stretches):
                del whole[begin:end]
            if not stretches or stretches[0][0] > 0:
                del whole[:8]
            assert count_frames(bytes(whole)) == segment.good
        assert snapshot(root) == before
    finally:
        shutil.rmtree(root)


def count_frames(data):
    at = count = 0
    while at < len(data):
        at += FRAME + struct.unpack_from("<I", data, at)[0]
        count += 1
    assert at == len(data)
    return count
