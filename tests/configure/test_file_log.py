"""The log file: nothing is lost or torn by several processes, and trouble with it stops nothing."""

import gzip
import json
import logging
import multiprocessing
import os
import stat
import subprocess
import sys
import threading
from collections import Counter
from pathlib import Path

import pytest

from hublog.testing import FakeClock

WRITER = """
import logging, sys
from hublog.capture.stdlib_formatters import JsonFormatter
from hublog.configure.file_log import FileLogHandler

handler = FileLogHandler(sys.argv[1], max_bytes=int(sys.argv[2]), backup_count=500)
handler.setFormatter(JsonFormatter())
logging.getLogger().addHandler(handler)
print("ready", flush=True)
sys.stdin.readline()
for number in range(int(sys.argv[4])):
    logging.warning("line", extra={"writer": sys.argv[3], "number": number})
"""


def rows_of(directory, stem="application"):
    """Return the rows of the live file and of all archives; a line that is no JSON object raises."""
    texts = []
    for path in directory.glob(f"{stem}.log*"):
        content = path.read_bytes()
        texts.append(gzip.decompress(content) if path.suffix == ".gz" else content)
    assert all(text.endswith(b"\n") for text in texts if text)
    return [json.loads(line) for text in texts for line in text.splitlines()]


def key(row):
    return row["extra"]["writer"], row["extra"]["number"]


@pytest.fixture
def reports(caplog):
    caplog.set_level(logging.INFO, "hublog.internal")
    return lambda: [found.getMessage() for found in caplog.records if found.name == "hublog.internal"]


def record(number=0, writer="w"):
    made = logging.LogRecord("shop", logging.INFO, "shop.py", 7, "line", (), None)
    made.writer, made.number = writer, number
    return made


def test_four_processes_lose_no_line_and_tear_none_while_they_archive(tmp_path):
    writers, lines = 4, 5_000
    path = tmp_path / "application.log"
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", WRITER, str(path), "200000", str(number), str(lines)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for number in range(writers)
    ]
    for process in processes:
        assert process.stdout.readline() == "ready\n"
    for process in processes:
        process.stdin.write("go\n")
        process.stdin.flush()
    for process in processes:
        _, errors = process.communicate(timeout=100)
        assert (process.returncode, errors) == (0, "")

    found = Counter(key(row) for row in rows_of(tmp_path))

    assert found == Counter((str(writer), number) for writer in range(writers) for number in range(lines))
    assert len(list(tmp_path.glob("application.log.*.gz"))) > 10
    assert {path.name for path in tmp_path.iterdir() if path.suffix != ".gz"} == {
        "application.log",
        ".__application.lock",
    }


def _write(handler, writer, lines):
    for number in range(lines):
        handler.handle(record(number, writer))


@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
def test_forked_children_share_an_inherited_handler_without_loss(make, tmp_path):
    handler = make(max_bytes=50_000, backup_count=100)
    handler.handle(record(0, "parent"))
    fork = multiprocessing.get_context("fork")
    children = [fork.Process(target=_write, args=(handler, f"child {number}", 300)) for number in range(3)]
    for child in children:
        child.start()
    for number in range(1, 300):
        handler.handle(record(number, "parent"))
    for child in children:
        child.join(60)
        assert child.exitcode == 0
    handler.close()  # waits for an archive that is being compressed
    found = Counter(key(row) for row in rows_of(tmp_path))
    assert found == Counter(
        (writer, number) for writer in ("parent", "child 0", "child 1", "child 2") for number in range(300)
    )


def test_threads_lose_no_line_while_they_archive(make, tmp_path):
    handler = make(max_bytes=20_000, backup_count=100)
    threads = [threading.Thread(target=_write, args=(handler, str(number), 200)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    handler.close()
    assert len(Counter(key(row) for row in rows_of(tmp_path))) == 800


def test_a_process_that_is_killed_leaves_no_lock_behind(tmp_path, make):
    path = tmp_path / "application.log"
    with subprocess.Popen(
        [sys.executable, "-c", WRITER, str(path), "100000", "killed", "1000000"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        process.stdout.readline()
        process.stdin.write("go\n")
        process.stdin.flush()
        while not path.exists() and process.poll() is None:
            pass
        process.kill()
    handler = make()
    written = threading.Thread(target=handler.handle, args=(record(1, "after"),))
    written.start()
    written.join(30)
    assert not written.is_alive()
    assert path.read_bytes().splitlines()[-1].find(b'"writer":"after"') > 0


def test_archives_are_numbered_and_only_so_many_are_kept(make, tmp_path):
    handler = make(max_bytes=1, backup_count=3)
    for number in range(10):
        handler.handle(record(number))
        handler._file.wait(30)  # while it compresses one it may not archive another
    handler.close()
    assert sorted(path.name for path in tmp_path.glob("application.log*")) == [
        "application.log",
        "application.log.1.gz",
        "application.log.2.gz",
        "application.log.3.gz",
    ]
    assert sorted(row["extra"]["number"] for row in rows_of(tmp_path)) == [6, 7, 8, 9]


def test_no_limit_means_no_archive(make, tmp_path):
    handler = make(max_bytes=0)
    for number in range(100):
        handler.handle(record(number))
    assert not list(tmp_path.glob("*.gz"))


def test_a_backup_count_of_zero_does_not_throw_the_full_file_away(make, tmp_path):
    handler = make(max_bytes=1, backup_count=0)
    handler.handle(record(0))
    handler.handle(record(1))
    assert sorted(row["extra"]["number"] for row in rows_of(tmp_path)) == [0, 1]


def test_missing_directories_are_made_and_others_cannot_read(make, tmp_path):
    handler = make(tmp_path / "a" / "b" / "application.log", max_bytes=1)
    handler.handle(record(0))
    handler.handle(record(1))
    handler.close()
    directory = tmp_path / "a" / "b"
    assert stat.S_IMODE(directory.stat().st_mode) & 0o027 == 0
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in directory.iterdir()}
    assert modes == {"application.log": 0o640, "application.log.1.gz": 0o640, ".__application.lock": 0o640}


def test_a_directory_that_went_away_is_made_again_without_loss(make, tmp_path, reports):
    clock = FakeClock()
    handler = make(tmp_path / "logs" / "application.log", now=clock)
    handler.handle(record(0))
    for path in (tmp_path / "logs").iterdir():
        path.unlink()
    (tmp_path / "logs").rmdir()
    clock.advance(0.1)
    handler.handle(record(1))
    assert [row["extra"]["number"] for row in rows_of(tmp_path / "logs")] == [1]
    assert reports() == []


def test_a_file_that_cannot_be_written_is_told_once_and_raises_nothing(make, tmp_path, reports, capsys):
    (tmp_path / "logs").write_text("a file where the directory should be", encoding="utf-8")
    handler = make(tmp_path / "logs" / "application.log")
    for number in range(5):
        handler.handle(record(number))
    assert [text.partition(" cannot be written (")[0] for text in reports()] == [
        f"The log file {tmp_path}/logs/application.log"
    ]
    assert "change LOG_DIR or set FILE_LOGGING_ENABLED=false" in reports()[0]
    assert capsys.readouterr().err == ""


def test_a_directory_that_cannot_be_made_is_told_once(make, tmp_path, reports):
    (tmp_path / "logs").symlink_to(tmp_path / "not mounted")
    handler = make(tmp_path / "logs" / "application.log")
    handler.handle(record(0))
    handler.handle(record(1))
    assert [" cannot be written (File exists)" in text for text in reports()] == [True]


def test_once_the_file_can_be_written_records_go_there_again(make, tmp_path, reports):
    (tmp_path / "logs").write_text("", encoding="utf-8")
    handler = make(tmp_path / "logs" / "application.log")
    handler.handle(record(0))
    (tmp_path / "logs").unlink()
    handler.handle(record(1))
    assert [row["extra"]["number"] for row in rows_of(tmp_path / "logs")] == [1]
    assert len(reports()) == 1


def test_a_file_that_works_and_fails_in_turn_is_told_once_a_minute(make, tmp_path, reports):
    clock = FakeClock()
    handler = make(tmp_path / "logs" / "application.log", now=clock)

    def fail_and_recover():
        (tmp_path / "logs").write_text("", encoding="utf-8")
        handler.close()
        handler.handle(record(0))
        (tmp_path / "logs").unlink()
        handler.handle(record(1))
        handler.close()
        for path in (tmp_path / "logs").iterdir():
            path.unlink()
        (tmp_path / "logs").rmdir()

    fail_and_recover()
    fail_and_recover()
    assert len(reports()) == 1
    clock.advance(60.0)
    fail_and_recover()
    assert len(reports()) == 2


def test_where_only_the_failing_file_listens_standard_error_is_told(tmp_path):
    (tmp_path / "logs").write_text("", encoding="utf-8")
    code = (
        "import logging, sys; from hublog.configure.file_log import FileLogHandler;"
        "logging.getLogger().addHandler(FileLogHandler(sys.argv[1]));"
        "logging.warning('a'); logging.warning('b')"
    )
    result = subprocess.run(
        [sys.executable, "-c", code, tmp_path / "logs" / "application.log"],
        check=True,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert result.stderr.count("cannot be written") == 1
    assert "Traceback" not in result.stderr


def test_the_check_tells_before_the_first_record_and_makes_no_file(make, tmp_path, reports):
    assert make(tmp_path / "new" / "application.log").check()
    assert list((tmp_path / "new").iterdir()) == []
    (tmp_path / "logs").write_text("", encoding="utf-8")
    handler = make(tmp_path / "logs" / "application.log")
    assert not handler.check()
    handler.handle(record())
    assert len(reports()) == 1


def test_a_directory_without_the_right_to_write_fails_the_check(make, tmp_path, reports, monkeypatch):
    monkeypatch.setattr(
        os, "access", lambda path, mode: False
    )  # the tests may run as root, who has every right
    assert not make().check()
    assert "(no write permission)" in reports()[0]


def test_the_file_is_utf_8_whatever_the_locale(make, tmp_path):
    handler = make()
    made = record()
    made.msg = "Größe \U0001f600 \udc80"
    handler.handle(made)
    assert rows_of(tmp_path)[0]["message"] == "Größe \U0001f600 \\udc80"


def test_the_handler_starts_no_thread(make):
    before = threading.active_count()
    handler = make()
    handler.handle(record())
    assert threading.active_count() == before
    assert Path(handler.lockFilename).name == ".__application.lock"
