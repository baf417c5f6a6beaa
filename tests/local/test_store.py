import json
import os
import subprocess
import sys

import pytest

from hublog_local.errors import LocalHubError
from hublog_local.store import Store, active_file, table_files


def line(number, size=0):
    return json.dumps({"n": number, "x": "y" * size}).encode() + b"\n"


def numbers(directory):
    return [
        json.loads(each)["n"] for path in table_files(directory) for each in path.read_bytes().splitlines()
    ]


def test_rows_are_there_as_soon_as_they_are_appended(tmp_path):
    with Store(tmp_path / "new" / "data") as store:
        store.append(line(1) + line(2))
        assert numbers(tmp_path / "new" / "data") == [1, 2]


def test_rows_survive_a_restart(tmp_path):
    for number in range(3):
        with Store(tmp_path) as store:
            store.append(line(number))
    assert numbers(tmp_path) == [0, 1, 2]


def test_the_file_is_there_before_the_first_row(tmp_path):
    with Store(tmp_path):
        assert active_file(tmp_path).read_bytes() == b""
    assert active_file(tmp_path).name == "PipelineLogs.jsonl"


@pytest.mark.parametrize("half", [b'{"n": 9, "x"', b"x" * 200_000])
def test_half_a_line_of_a_killed_process_is_dropped(tmp_path, half):
    active_file(tmp_path).write_bytes(line(1) + half)
    with Store(tmp_path) as store:
        store.append(line(2))
    assert numbers(tmp_path) == [1, 2]


def test_a_full_file_is_renamed_and_the_next_one_begun(tmp_path):
    with Store(tmp_path, max_file_bytes=300) as store:
        for number in range(10):
            store.append(line(number, size=100))
    names = [path.name for path in table_files(tmp_path)]
    assert names[:2] == ["PipelineLogs.000001.jsonl", "PipelineLogs.000002.jsonl"]
    assert names[-1] == "PipelineLogs.jsonl"
    assert numbers(tmp_path) == list(range(10))
    assert all(path.stat().st_size <= 300 for path in table_files(tmp_path))


def test_the_oldest_file_goes_when_there_are_too_many(tmp_path):
    with Store(tmp_path, max_file_bytes=300, max_files=3) as store:
        for number in range(20):
            store.append(line(number, size=100))
            assert len(table_files(tmp_path)) <= 3
    kept = numbers(tmp_path)
    assert kept == list(range(20 - len(kept), 20))
    assert len(kept) >= 5


def test_numbers_go_on_after_a_restart_and_sort_as_numbers(tmp_path):
    for name in ("PipelineLogs.999999.jsonl", "PipelineLogs.1000000.jsonl"):
        (tmp_path / name).write_bytes(line(len(name)))
    with Store(tmp_path, max_file_bytes=10) as store:
        store.append(line(1))
        store.append(line(2))
    assert [path.name for path in table_files(tmp_path)][:3] == [
        "PipelineLogs.999999.jsonl",
        "PipelineLogs.1000000.jsonl",
        "PipelineLogs.1000001.jsonl",
    ]


def test_an_append_larger_than_a_file_is_kept_whole(tmp_path):
    with Store(tmp_path, max_file_bytes=10) as store:
        store.append(line(1, size=1000))
    assert numbers(tmp_path) == [1]


def test_a_new_directory_is_for_this_user_alone_and_not_for_git(tmp_path):
    with Store(tmp_path / "data") as store:
        store.append(line(1))
    assert (tmp_path / "data").stat().st_mode & 0o777 == 0o700
    assert active_file(tmp_path / "data").stat().st_mode & 0o777 == 0o600
    assert (tmp_path / "data" / ".gitignore").read_text() == "*\n"


def test_a_directory_that_was_there_is_left_as_it_is(tmp_path):
    Store(tmp_path).close()
    assert {path.name for path in tmp_path.iterdir()} == {"PipelineLogs.jsonl", "writer.lock"}


def test_a_second_writer_is_refused_with_the_process_of_the_first(tmp_path):
    with Store(tmp_path), pytest.raises(LocalHubError, match=f"Process {os.getpid()} .*--data"):
        Store(tmp_path)
    Store(tmp_path).close()


def test_the_lock_ends_with_the_process_however_that_ends(tmp_path):
    script = (
        "import os, sys, pathlib\nfrom hublog_local.store import Store\n"
        "Store(pathlib.Path(sys.argv[1]))\nos.abort()"
    )
    subprocess.run([sys.executable, "-c", script, str(tmp_path)], check=False, stderr=subprocess.DEVNULL)
    Store(tmp_path).close()


def test_a_directory_that_cannot_be_made_is_a_clear_error(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(LocalHubError, match=r"cannot be used \(.*\); name another directory with --data"):
        Store(tmp_path / "file")


def test_a_deleted_directory_is_made_again(tmp_path):
    directory = tmp_path / "data"
    with Store(directory) as store:
        store.append(line(1))
        for path in directory.iterdir():
            path.unlink()
        directory.rmdir()
        store.append(line(2))
        assert numbers(directory) == [2]


def test_nothing_of_a_failed_append_is_kept(tmp_path, monkeypatch):
    with Store(tmp_path) as store:
        store.append(line(1))
        real_write = os.write
        written = []

        def write_a_little_then_fail(file, data):
            written.append(real_write(file if not written else -1, data[:5]))
            return written[-1]

        monkeypatch.setattr(os, "write", write_a_little_then_fail)
        with pytest.raises(OSError, match="Bad file descriptor"):
            store.append(line(2))
        monkeypatch.undo()
        store.append(line(3))
    assert numbers(tmp_path) == [1, 3]


def test_other_files_are_no_files_of_the_table(tmp_path):
    for name in ("Other.jsonl", "PipelineLogs.x.jsonl", "PipelineLogs.1.jsonl.bak", "writer.lock"):
        (tmp_path / name).write_text("")
    assert table_files(tmp_path) == []
    assert table_files(tmp_path / "missing") == []
