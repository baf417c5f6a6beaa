"""``hublog spool list``, and what all of its tools have in common."""

import errno
import fcntl
import json
import os
import shutil
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.kits.spools import (
    NAME,
    SECRET,
    kill,
    kinds,
    leave,
    make_hostile,
    make_unreadable,
    reject,
    segments,
    snapshot,
)
from tests.spool.independent import A, B, C, envelope, is_locked, make_lines, make_segment

from hublog.cli import main
from hublog.cli.spool_inspection import inspect_directory
from hublog.settings import SETTINGS
from hublog.spool.directory import SpoolDirectory


def test_each_process_has_a_row_and_the_last_row_is_the_sum(root, run):
    segment = make_segment(make_lines(3))
    leave(root, A, segment, segment, cursor=(1, 8))
    leave(root, NAME, segment)
    status, out, err = run("list")
    assert (status, err) == (0, "")
    assert [line.split() for line in out.splitlines()] == [
        ["directory", "since", "owner", "destination", "segments", "records", "bytes", "damage"],
        [A, "1970-01-01T00:00:00Z", "dead", "-", "2", "6", str(2 * len(segment)), "0"],
        [NAME, "2026-11-23T14:00:00Z", "dead", "-", "1", "3", str(len(segment)), "0"],
        ["sum", "3", "9", str(3 * len(segment)), "0"],
    ]


def test_json_has_the_same_and_names_ignored_entries(root, as_json):
    segment = make_segment(make_lines(3))
    leave(root, NAME, segment)
    (root / ".hublog").mkdir()
    (root / f".{A}").mkdir()
    assert as_json("list") == {
        "directory": str(root),
        "owners": [
            {
                "name": NAME,
                "since": "2026-11-23T14:00:00Z",
                "owner": "dead",
                "destination": None,
                "packing": None,
                "routing": {},
                "segments": 1,
                "records": 3,
                "bytes": len(segment),
                "damage": 0,
            }
        ],
        "sum": {"segments": 1, "records": 3, "bytes": len(segment), "damage": 0},
        "rejected": {"files": 0, "records": 0, "bytes": 0},
        "unfinished": [f".{A}"],
        "ignored": [{"path": ".hublog", "reason": "a directory"}],
    }


def test_what_is_settled_does_not_count(root, as_json):
    first, second = make_segment(make_lines(5)), make_segment(make_lines(4))
    leave(root, A, first, second, cursor=(2, len(make_segment(make_lines(3)))))
    assert as_json("list")["sum"]["records"] == 1


def test_a_name_without_a_date_has_none(root, as_json):
    leave(root, "ffffffffffffffff-00000000", make_segment(make_lines(1)))
    assert as_json("list")["owners"][0]["since"] is None


def test_an_owner_is_alive_until_it_is_killed(as_json, live):
    process, path = live(7)
    [row] = as_json("list")["owners"]
    assert (row["name"], row["owner"], row["records"]) == (path.name, "alive", 7)
    kill(process)
    [row] = as_json("list")["owners"]
    assert (row["name"], row["owner"], row["records"]) == (path.name, "dead", 7)


@pytest.mark.parametrize("tool", ["list", "verify"])
def test_an_inspection_neither_disturbs_an_owner_nor_a_recovery(root, run, live, tool):
    process, path = live(1)
    left = leave(root, A, make_segment(make_lines(2)))
    assert run(tool)[0] == 0
    assert is_locked(path)
    assert not is_locked(left)
    process.stdin.write(b"more\n")
    process.stdin.flush()
    assert process.stdout.readline() == b"written\n"
    adopted = SpoolDirectory.adopt(left)
    assert adopted.backlog_lines == 2
    adopted.close()


def test_two_inspections_at_once_do_not_take_each_other_for_an_owner(root, as_json):
    left = leave(root, A, make_segment(make_lines(2)))
    with (left / "lock").open("rb") as other:
        fcntl.flock(other, fcntl.LOCK_SH)
        assert as_json("list")["owners"][0]["owner"] == "dead"


def test_a_directory_without_a_lock_is_unclear_and_reported(root, run):
    leave(root, A, make_segment(make_lines(2)))
    (root / A / "lock").unlink()
    status, out, _ = run("list")
    assert (status, out.splitlines()[1].split()[2:6]) == (0, ["unclear", "-", "1", "2"])
    assert f"ignored: {A} (has no lock file)" in out


def test_a_lock_that_cannot_be_tested_is_unclear_and_reported(root, run, monkeypatch):
    leave(root, A, make_segment(make_lines(2)))

    def refuse(fd, how):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", refuse)
    out = run("list")[1]
    assert out.splitlines()[1].split()[2:6] == ["unclear", "-", "1", "2"]
    assert f"ignored: {A} (its lock cannot be tested: No locks available)" in out


def test_what_the_hub_rejected_is_counted(root, run, as_json):
    reject(root, b'{"rejected_at":"x"}\n{"rejected_at":"y"}\n{"rej', name="1.jsonl")
    reject(root, b'{"rejected_at":"z"}\n', name="2.jsonl")
    reject(root, b"", name="notes.txt")
    found = as_json("list")
    assert found["rejected"] == {"files": 2, "records": 3, "bytes": 65}
    assert found["ignored"] == [{"path": "rejected/notes.txt", "reason": "a file"}]
    assert "rejected by the event hub: 3 records in 2 files, 65 bytes\n" in run("list")[1]


@pytest.mark.parametrize("arguments", [[], ["--json"]], ids=["text", "json"])
@pytest.mark.parametrize("tool", ["list", "verify", "purge"])
def test_no_record_is_ever_shown(root, run, tool, arguments):
    if tool == "purge":
        arguments = ["--rejected", "--dead"]
    line = b'{"message":"%s"}' % SECRET.encode()
    leave(root, A, make_segment([line]) + b"\0\0" + line, cursor=(1, 11))
    reject(root, line + b"\n" + line[:-1] + b"\n")
    _, out, err = run(tool, *arguments)
    assert out
    assert SECRET not in out + err


@pytest.mark.parametrize("tool", ["list", "verify"])
def test_control_characters_in_names_are_escaped(root, run, tool):
    leave(root, A, make_segment(make_lines(1)))
    (root / A / "\x1b[2Jgone").touch(0o600)
    (root / "two\nlines").touch()
    (root / os.fsdecode(b"\xff\xfe")).touch()
    _, out, _ = run(tool)
    assert "\\x1b[2Jgone" in out
    assert "two\\nlines" in out
    assert "\\udcff\\udcfe" in out
    assert "\x1b" not in out
    assert run(tool, "--json")[1].isascii()


def test_a_directory_that_is_being_made_is_mentioned(root, run):
    (root / f".{A}").mkdir()
    assert "unfinished: 1 directory\n" in run("list")[1]


def test_what_cannot_be_read_is_reported_and_the_rest_is_listed(ordinary, run):
    root = ordinary / "spool"
    unreadable = make_unreadable(root)
    status, out, _ = run("list", "--json", directory=root)
    found = json.loads(out)
    assert (status, found["sum"]["records"]) == (0, 5)
    printed = {item["path"]: item["reason"] for item in found["ignored"]}
    assert {path: printed[path] for path in unreadable} == unreadable
    (root / "rejected").chmod(0)
    printed = json.loads(run("list", "--json", directory=root)[1])["ignored"]
    assert {"path": "rejected/.", "reason": "cannot be read: Permission denied"} in printed


def test_a_root_that_cannot_be_read_is_one_line_and_status_1(ordinary, run):
    for path in (ordinary / "spool", ordinary / "spool" / "below"):
        (ordinary / "spool").mkdir(exist_ok=True)
        (ordinary / "spool").chmod(0)
        status, out, err = run("list", directory=path)
        assert (status, out) == (1, "")
        assert f"The spool directory {path} cannot be used: Permission denied" in err


def test_a_directory_that_vanishes_while_it_is_read_is_left_out(root, as_json, during):
    path = leave(root, A, make_segment(make_lines(1)), make_segment(make_lines(2)))
    leave(root, B, make_segment(make_lines(4)))
    during(lambda: shutil.rmtree(path))
    assert [row["name"] for row in as_json("list")["owners"]] == [B]


def test_a_directory_that_is_recovered_while_it_is_read_is_alive(root, as_json, during):
    path, adopted = leave(root, A, make_segment(make_lines(3)), cursor=(1, 9)), []
    during(lambda: adopted.append(SpoolDirectory.adopt(path)))
    assert as_json("list")["owners"][0]["owner"] == "alive"
    assert kinds(as_json("verify")) == []
    adopted[0].close()


def test_segments_that_come_and_go_while_they_are_read_are_not_ignored_entries(root, as_json, during):
    shop = envelope("audit")
    segment = make_segment(make_lines(3), envelope=shop)
    path = leave(root, A, segment, segment, envelope=shop)
    during(lambda: (path / "00000002.seg").rename(path / "00000003.seg"))
    found = as_json("list")
    assert (found["sum"]["segments"], found["ignored"]) == (1, [])


def test_of_many_ignored_entries_some_are_named(root, run):
    for number in range(30):
        (root / f"{number}.txt").touch()
    out = run("list")[1]
    assert out.count("ignored: ") == 21
    assert "ignored: 10 more\n" in out


@pytest.mark.parametrize("tool", ["list", "verify"])
def test_neither_links_are_followed_nor_pipes_waited_for(root, tmp_path, as_json, tool):
    outside = tmp_path / "outside"
    outside.mkdir()
    make_hostile(root, outside)
    before = snapshot(tmp_path)
    found = as_json(tool, status=int(tool == "verify"))
    assert snapshot(tmp_path) == before
    if tool == "list":
        assert [(row["name"], row["records"], row["owner"]) for row in found["owners"]] == [
            (A, 1, "dead"),
            (C, 1, "unclear"),
            (f"{3:016x}-0000000d", 1, "unclear"),
        ]
        assert found["rejected"]["files"] == 0
    else:
        assert found["records"] == 3
        assert (B, "strange") in kinds(found)


def test_files_too_large_to_be_segments_are_not_read(root, as_json):
    left = leave(root, A, make_segment(make_lines(1)))
    for path in (left / "00000002.seg", reject(root, b"")):
        with path.open("wb") as file:
            file.truncate(1 << 40)
    [row] = as_json("list")["owners"]
    assert (row["segments"], row["records"]) == (1, 1)
    assert [name for name, kind in kinds(as_json("verify", status=1)) if kind == "foreign"] == [
        "rejected/a.jsonl",
        f"{A}/00000002.seg",
    ]


@pytest.mark.parametrize("tool", ["list", "verify", "purge", "drain"])
def test_a_root_that_is_not_a_directory_fails_and_nothing_is_created(tool, run, tmp_path, monkeypatch):
    monkeypatch.setenv("EVENTHUB_FULLY_QUALIFIED_NAMESPACE", "x.servicebus.windows.net")
    (tmp_path / "file").touch()
    before = snapshot(tmp_path)
    for name in ("none", "file"):
        status, out, err = run(tool, directory=tmp_path / name)
        assert (status, out) == (1, "")
        assert err.startswith(
            f"hublog: '{tmp_path / name}' is not a directory; name the spool with --dir or "
        )
    assert snapshot(tmp_path) == before


def test_the_default_directory_is_that_of_the_settings(root, monkeypatch, capsys, tmp_path):
    for setting in SETTINGS:
        monkeypatch.delenv(setting.name, raising=False)
    leave(root, A, make_segment(make_lines(2)))
    (tmp_path / "config.yaml").write_text(f"logging:\n  eventhub_logging:\n    spool_dir: {root}\n")
    assert main(["spool", "list", "--config", str(tmp_path / "config.yaml"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["sum"]["records"] == 2
    monkeypatch.setenv("EVENTHUB_LOG_SPOOL_DIR", str(root))
    assert main(["spool", "list", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["sum"]["records"] == 2
    monkeypatch.setenv("EVENTHUB_LOG_SPOOL_DIR", "a\nb")
    assert main(["spool", "list"]) == 1
    assert "EVENTHUB_LOG_SPOOL_DIR is " in capsys.readouterr().err


@given(
    contents=st.lists(segments(), min_size=1, max_size=4),
    cursor=st.tuples(st.integers(0, 6), st.integers(0, 600)),
    first=st.integers(1, 3),
)
@settings(deadline=None)
def test_records_and_damage_are_those_that_a_recovery_finds(contents, cursor, first):
    root = Path(tempfile.mkdtemp())
    try:
        path = leave(root, A, *contents, cursor=cursor, first=first)
        found = inspect_directory(path)
        adopted = SpoolDirectory.adopt(path)
        assert (found.waiting, found.damaged) == (adopted.backlog_lines, adopted.damage_total)
        still = {item.name for item in found.content.ignored if (path / item.name).exists()}
        assert still == {each.name for each in adopted.unknown}
        adopted.close()
    finally:
        shutil.rmtree(root)


def test_each_row_says_where_its_records_go(root, run, as_json):
    made = envelope("audit", packing="gzip", Table="Audit")
    leave(root, A, make_segment(make_lines(3), envelope=made), envelope=made)
    early = envelope("audit", namespace="", packing="")
    leave(root, B, make_segment(make_lines(1), envelope=early), envelope=early)
    leave(root, C, make_segment(make_lines(1)))
    found = [line.split()[3] for line in run("list")[1].splitlines()[1:4]]
    assert found == ["shop.servicebus.windows.net/audit", "*/audit", "-"]
    first, second, third = as_json("list")["owners"]
    assert first["destination"] == {"namespace": "shop.servicebus.windows.net", "eventhub": "audit"}
    assert (first["packing"], first["routing"]) == ("gzip", {"Table": "Audit"})
    assert second["destination"] == {"namespace": None, "eventhub": "audit"}
    assert third["destination"] is None
    assert all(owner["records"] for owner in (first, second, third))


def test_a_directory_that_another_user_may_have_written_is_unclear_with_the_reason(root, run):
    leave(root, A, make_segment(make_lines(2)))
    (root / A).chmod(0o777)
    out = run("list")[1]
    assert out.splitlines()[1].split()[2] == "unclear"
    assert f"ignored: {A} ({A} has mode 0777: everybody may write)" in out


def test_a_directory_with_an_unreadable_destination_is_unclear(root, run):
    whole = make_segment(make_lines(2), envelope=envelope("audit"))
    leave(root, A, whole[:8] + bytes(20) + whole[28:])
    out = run("list")[1]
    assert out.splitlines()[1].split()[2:4] == ["unclear", "-"]
    assert f"ignored: {A} (the destination of its records cannot be read)" in out


@pytest.mark.parametrize("change", ["link", "mode"])
def test_a_segment_that_is_not_recovered_is_not_counted(root, tmp_path, run, change):
    path = leave(root, A, make_segment(make_lines(2)), make_segment(make_lines(3)))
    segment = path / "00000002.seg"
    if change == "link":
        os.link(segment, tmp_path / "elsewhere")
        why = "00000002.seg is a hard link with another name elsewhere"
    else:
        segment.chmod(0o666)
        why = "00000002.seg has mode 0666: everybody may write"
    out = run("list")[1]
    assert out.splitlines()[1].split()[2:6] == ["dead", "-", "1", "2"]
    assert f"ignored: {A}/00000002.seg ({why})" in out
    assert run("verify")[0] == 1
