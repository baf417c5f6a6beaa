"""The file under other processes: killed, of another user, with a lock, in the place of the file."""

import errno
import fcntl
import gzip
import json
import logging
import os
import signal
import stat
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import pytest
from tests.kits.environ import inherited

from hublog.configure import archives, rotating_file
from hublog.testing import FakeClock

APP_UID, APP_GID = 4321, 4322
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root may be another user")


@pytest.fixture
def reports(caplog):
    caplog.set_level(logging.INFO, "hublog.internal")
    return lambda: [found.getMessage() for found in caplog.records if found.name == "hublog.internal"]


def record(text="line"):
    return logging.LogRecord("shop", logging.INFO, "shop.py", 7, text, (), None)


def messages(path):
    content = path.read_bytes()
    lines = (gzip.decompress(content) if path.suffix == ".gz" else content).splitlines()
    return [json.loads(line)["message"] for line in lines]


def names(directory):
    return sorted(path.name for path in directory.iterdir())


# Killed in the middle.


def test_a_line_begins_after_the_half_line_of_a_dead_process(make, tmp_path):
    path = tmp_path / "application.log"
    path.write_bytes(b'{"message":"whole"}\n{"message":"ha')
    make().handle(record("next"))
    lines = path.read_bytes().splitlines()
    assert lines[:2] == [b'{"message":"whole"}', b'{"message":"ha']
    assert json.loads(lines[2])["message"] == "next"


def test_a_half_line_that_comes_later_does_not_spoil_the_next_one(make, tmp_path):
    path = tmp_path / "application.log"
    handler = make()
    handler.handle(record("first"))
    with path.open("ab") as file:
        file.write(b'{"message":"ha')
    handler.handle(record("second"))
    lines = path.read_bytes().splitlines()
    assert [json.loads(lines[number])["message"] for number in (0, 2)] == ["first", "second"]


def test_a_line_that_was_glued_between_look_and_write_is_written_again(make, tmp_path, monkeypatch):
    path = tmp_path / "application.log"
    handler = make()
    handler.handle(record("first"))
    write, halves = os.write, [b'{"message":"ha']

    def killed_before(descriptor, data):
        if halves and b"second" in bytes(data):
            with path.open("ab") as file:
                file.write(halves.pop())
        return write(descriptor, data)

    monkeypatch.setattr(os, "write", killed_before)
    handler.handle(record("second"))
    lines = path.read_bytes().splitlines()
    assert json.loads(lines[-1])["message"] == "second"
    assert len(lines) == 3


@pytest.mark.parametrize("waits", ["utime", "write"])
def test_a_line_that_another_process_is_writing_is_not_taken_for_a_half_one(
    waits, make, tmp_path, monkeypatch
):
    path, clock = tmp_path / "application.log", FakeClock()
    handler = make(now=clock)
    handler.handle(record("first"))
    halves = [b'{"message":"of another', b' process"}\n']
    with path.open("ab") as file:
        file.write(halves.pop(0))
    call = getattr(os, waits)

    def rest_comes(*args):  # to write or to set the time waits for the write that is under way
        with path.open("ab") as file:
            file.write(halves.pop() if halves else b"")
        return call(*args)

    monkeypatch.setattr(os, waits, rest_comes)
    if waits == "utime":
        clock.advance(rotating_file.LOOK_S)
    handler.handle(record("second"))
    assert messages(path) == ["first", "of another process", "second"]


def test_a_line_that_a_signal_handler_logs_behind_another_is_no_reason_to_write_that_again(
    make, tmp_path, monkeypatch
):
    handler = make()
    handler.handle(record("first"))
    seek = os.lseek

    def interrupted(*args):
        if messages(tmp_path / "application.log")[-1] == "second":
            monkeypatch.setattr(os, "lseek", seek)
            handler.handle(record("of the signal handler"))
        return seek(*args)

    monkeypatch.setattr(os, "lseek", interrupted)
    handler.handle(record("second"))
    assert messages(tmp_path / "application.log") == ["first", "second", "of the signal handler"]


@pytest.mark.parametrize("step", ["link", "rename", "unlink"])
def test_an_archiving_that_was_killed_is_finished_by_the_next_one(step, make, tmp_path, monkeypatch):
    def write(text):
        handler = make(max_bytes=1, backup_count=4)
        handler.handle(record(text))
        handler.close()

    class KilledError(BaseException):
        pass

    def killed(*_args, **_kwargs):
        raise KilledError

    for number in range(3):
        write(f"before {number}")
    handler = make(max_bytes=1, backup_count=4)
    with monkeypatch.context() as patch:
        patch.setattr(os, step, killed)
        with pytest.raises(KilledError):
            handler.handle(record("killed"))
    handler._file._leave()
    for number in range(2):
        write(f"after {number}")
    found = [name for name in names(tmp_path) if not name.startswith(".")]
    assert found == ["application.log", *(f"application.log.{number}.gz" for number in range(1, len(found)))]
    assert [messages(tmp_path / name) for name in found][: len(found)] == [
        ["after 1"],
        ["after 0"],
        *([f"before {number}"] for number in (2, 1, 0)),
    ]
    assert [name for name in names(tmp_path) if name.startswith(".")] == [".__application.lock"]


def test_what_concurrent_log_handler_left_of_a_killed_archiving_counts_as_archive(make, tmp_path):
    (tmp_path / "application.log.rotate.4711").write_text('{"message":"left"}\n')
    (tmp_path / "application.log.rotate.4711.gz").write_bytes(b"half of it")
    handler = make(max_bytes=1, backup_count=2)
    handler.handle(record("first"))
    handler.handle(record("second"))
    handler.close()
    assert names(tmp_path) == [
        ".__application.lock",
        "application.log",
        "application.log.1.gz",
        "application.log.2.gz",
    ]
    assert messages(tmp_path / "application.log.2.gz") == ["left"]
    handler.handle(record("third"))
    assert messages(tmp_path / "application.log.2.gz") == ["first"]


def test_an_archive_that_is_not_compressed_is_compressed_at_the_next_start(make, tmp_path):
    (tmp_path / "application.log.1").write_text('{"message":"plain"}\n')
    (tmp_path / ".__application.gz").write_bytes(b"half of it")
    handler = make()
    handler.handle(record("start"))
    handler.close()
    assert names(tmp_path) == [".__application.lock", "application.log", "application.log.1.gz"]
    assert messages(tmp_path / "application.log.1.gz") == ["plain"]


def test_files_that_are_no_archives_stay(make, tmp_path):
    others = ["application.log.bak", "application.log.2026", "application.log.01", "application.log-1.gz"]
    for name in others:
        (tmp_path / name).write_text("mine")
    handler = make(max_bytes=1, backup_count=2)
    for number in range(5):
        handler.handle(record(str(number)))
    assert [(tmp_path / name).read_text() for name in others] == ["mine"] * len(others)


def test_an_archive_that_a_process_still_has_open_is_not_compressed_before_it_has_left(make, tmp_path):
    slow, fast = make(max_bytes=10), make(max_bytes=10)
    slow.handle(record("of slow"))
    fast.handle(record("of fast"))
    assert messages(tmp_path / "application.log.1") == ["of slow"]
    os.write(slow._file._descriptor, b'{"message":"late"}\n')  # between its look and its write
    slow.close()
    fast.close()  # the thread of either may do it
    assert messages(tmp_path / "application.log.1.gz") == ["of slow", "late"]


def test_an_archive_that_an_idle_process_has_open_is_compressed_in_the_end(make, tmp_path):
    idle, busy = make(max_bytes=10), make(max_bytes=10)
    idle.handle(record("of idle"))
    busy.handle(record("of busy"))
    old = time.time() - archives.QUIET_S - 1
    os.utime(tmp_path / "application.log.1", (old, old))
    busy.handle(record("more"))
    busy.close()
    assert messages(tmp_path / "application.log.2.gz") == ["of idle"]


def test_an_archive_is_compressed_in_a_thread(make, tmp_path):
    handler = make(max_bytes=10)
    handler.handle(record("x" * 200_000))
    handler.handle(record("next"))
    assert (
        "hublog-archive" in [thread.name for thread in threading.enumerate()]
        or (tmp_path / "application.log.1.gz").exists()
    )
    handler.close()
    assert names(tmp_path) == [".__application.lock", "application.log", "application.log.1.gz"]


# Other users.


@needs_root
def test_owner_and_mode_stay_when_root_archives(make, tmp_path):
    os.chown(tmp_path, APP_UID, APP_GID)
    path = tmp_path / "application.log"
    path.write_text('{"message":"of the application"}\n')
    os.chown(path, APP_UID, APP_GID)
    path.chmod(0o660)
    handler = make(max_bytes=1)
    handler.handle(record("of root"))
    handler.close()
    for name in ("application.log", "application.log.1.gz", ".__application.lock"):
        found = (tmp_path / name).stat()
        assert (found.st_uid, found.st_gid, stat.S_IMODE(found.st_mode)) == (APP_UID, APP_GID, 0o660), name


@needs_root
def test_root_who_comes_first_makes_the_file_for_the_user_of_the_directory(make, tmp_path):
    os.chown(tmp_path, APP_UID, APP_GID)
    handler = make(max_bytes=1)
    handler.handle(record("of root"))
    handler.close()
    for name in ("application.log", ".__application.lock"):
        found = (tmp_path / name).stat()
        assert (found.st_uid, found.st_gid, stat.S_IMODE(found.st_mode)) == (APP_UID, APP_GID, 0o640), name


@pytest.fixture
def open_path():
    """Return a directory that other users reach, unlike those of pytest."""
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o755)
        yield Path(name)


@needs_root
def test_the_application_writes_on_after_root_has_archived(make, open_path):
    os.chown(open_path, APP_UID, APP_GID)
    code = (
        "import logging, os, sys; from hublog.configure.file_log import FileLogHandler;"
        "handler = FileLogHandler(sys.argv[1], max_bytes=1); record = logging.makeLogRecord({'msg': '{}'});"
        f"os.setgroups([]); os.setgid({APP_GID}); os.setuid({APP_UID});"
        "handler.handle(record); print('one', flush=True); sys.stdin.readline(); handler.handle(record)"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, str(open_path / "application.log")],
        env=inherited("COVERAGE"),  # who has become another user cannot write its file
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout.readline() == "one\n", process.stderr.read()
        make(open_path / "application.log", max_bytes=1).handle(record("of root"))
        _, errors = process.communicate("go on\n", timeout=60)
    assert errors == ""
    assert (open_path / "application.log").read_text() == "{}\n"


def test_the_mode_of_a_file_that_is_there_is_not_changed(make, tmp_path):
    path = tmp_path / "application.log"
    path.touch(0o600)
    make().handle(record())
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


# In the place of the file.


@pytest.mark.parametrize("name", ["application.log", ".__application.lock"])
def test_a_link_is_refused_and_what_it_leads_to_is_untouched(name, make, tmp_path, reports):
    (tmp_path / "logs").mkdir()
    target = tmp_path / "secret"
    target.write_text("mine")
    target.chmod(0o600)
    (tmp_path / "logs" / name).symlink_to(target)
    handler = make(tmp_path / "logs" / "application.log", max_bytes=1)
    for _ in range(3):
        handler.handle(record())
    assert target.read_text() == "mine"
    assert stat.S_IMODE(target.stat().st_mode) == 0o600
    assert len(reports()) == 1
    assert f"{name} is a symbolic link, not a file" in reports()[0]


def test_a_link_in_place_of_a_temporary_file_is_not_followed(make, tmp_path):
    (tmp_path / "logs").mkdir()
    target = tmp_path / "secret"
    target.write_text("mine")
    for name in (".__application.new", ".__application.gz"):
        (tmp_path / "logs" / name).symlink_to(target)
    handler = make(tmp_path / "logs" / "application.log", max_bytes=1)
    for _ in range(3):
        handler.handle(record())
    assert target.read_text() == "mine"


def test_a_directory_that_is_a_link_is_the_operators(make, tmp_path):
    (tmp_path / "volume").mkdir()
    (tmp_path / "logs").symlink_to(tmp_path / "volume")
    make(tmp_path / "logs" / "application.log").handle(record("through the link"))
    assert messages(tmp_path / "volume" / "application.log") == ["through the link"]


@pytest.mark.parametrize("name", ["application.log", ".__application.lock"])
def test_a_named_pipe_is_refused_without_a_wait(name, make, tmp_path, reports):
    os.mkfifo(tmp_path / name)
    handler = make(max_bytes=1)
    written = threading.Thread(target=lambda: [handler.handle(record()) for _ in range(3)])
    written.start()
    written.join(30)
    assert not written.is_alive()
    assert [f"{name} is a named pipe (FIFO), not a file" in text for text in reports()] == [True]


def test_a_directory_in_place_of_the_file_is_named(make, tmp_path, reports):
    (tmp_path / "application.log").mkdir()
    handler = make()
    assert not handler.check()
    handler.handle(record())
    assert ["application.log is a directory, not a file" in text for text in reports()] == [True]


def test_what_cannot_be_written_is_counted_and_reported_when_it_can(make, tmp_path, reports):
    clock = FakeClock()
    (tmp_path / "application.log").mkdir()
    handler = make(now=clock)
    for _ in range(25):
        handler.handle(record())
    assert handler.lost_total == 25
    (tmp_path / "application.log").rmdir()
    clock.advance(60.0)
    handler.handle(record("again"))
    assert messages(tmp_path / "application.log") == ["again"]
    assert reports()[1:] == [
        f"The log file {tmp_path}/application.log lacks 25 records: it could not be written."
    ]


def test_a_file_that_cannot_be_opened_is_not_tried_with_each_record(make, tmp_path, monkeypatch):
    clock = FakeClock()
    (tmp_path / "application.log").mkdir()
    handler = make(now=clock)
    tries = []
    monkeypatch.setattr(
        rotating_file, "open_safely", lambda *args: tries.append(args) or os.open("/nowhere/x", os.O_RDWR)
    )
    for _ in range(1_000):
        handler.handle(record())
    assert len(tries) < 50
    before = len(tries)
    clock.advance(1.1)
    handler.handle(record())
    assert len(tries) > before


# Locks.


@pytest.mark.parametrize("name", ["application.log", ".__application.lock"])
def test_a_lock_that_another_process_holds_for_ever_keeps_no_record_out(name, make, tmp_path, reports):
    path = tmp_path / name
    path.touch()
    with path.open("rb") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        handler = make(max_bytes=100, backup_count=100)
        written = threading.Thread(
            target=lambda: [handler.handle(record(str(number))) for number in range(50)]
        )
        written.start()
        written.join(30)
        assert not written.is_alive()
    assert [f"process {os.getpid()} holds a lock on {path}" in text for text in reports()] == [True]
    handler.close()  # archives are compressed in a thread, which ends here
    found = [messages(path) for path in tmp_path.glob("application.log*")]
    assert sorted(int(text) for texts in found for text in texts) == list(range(50))


def test_a_process_that_archives_while_another_one_starts_is_no_trouble(make, tmp_path, reports):
    handler = make(max_bytes=100)
    with archives.locked(str(tmp_path / ".__application.lock"), None) as is_taken:
        assert is_taken
        handler.handle(record("at the start"))
    assert messages(tmp_path / "application.log") == ["at the start"]
    assert reports() == []


def test_with_the_lock_held_the_file_grows_and_is_archived_afterwards(make, tmp_path):
    clock = FakeClock()
    lock = tmp_path / ".__application.lock"
    lock.touch()
    handler = make(max_bytes=100, now=clock)
    with lock.open("rb") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        for number in range(5):
            handler.handle(record(str(number)))
            clock.advance(10.0)
        assert messages(tmp_path / "application.log") == [str(number) for number in range(5)]
    clock.advance(60.0)
    handler.handle(record("after"))
    assert messages(tmp_path / "application.log") == ["after"]


def test_a_file_system_without_locks_is_named_and_costs_no_wait(make, tmp_path, monkeypatch, reports):
    calls = []

    def none(*args):
        calls.append(args)
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", none)
    handler = make(max_bytes=1)
    for number in range(200):
        handler.handle(record(str(number)))
    assert messages(tmp_path / "application.log") == [str(number) for number in range(200)]
    assert len(reports()) == 1
    assert (
        "is not archived and grows (its file system has no file locks); put LOG_DIR on a local"
        in reports()[0]
    )
    assert len(calls) < 10


# Places.


def test_a_working_directory_that_was_removed_raises_nothing_and_is_the_cause(tmp_path):
    program = tmp_path / "program.py"  # with -c, CPython 3.13.0 cannot import socket there
    program.write_text(
        "import os, sys; os.mkdir('gone'); os.chdir('gone'); os.rmdir('../gone');"
        "import logging, hublog; hublog.setup_logging(); logging.warning('still here')"
    )
    result = subprocess.run(
        [sys.executable, program], cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False
    )
    assert (result.returncode, result.stderr) == (0, "")
    assert result.stdout.count("still here") == 1
    assert result.stdout.count("the working directory of the process was removed") == 1


def test_a_disk_that_was_full_leaves_whole_lines_once_it_has_room(make, tmp_path):
    import resource

    handler = make(max_bytes=0)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    old = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    handler.handle(record("first"))
    size = (tmp_path / "application.log").stat().st_size
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (size + 10, before[1]))
        handler.handle(record("in half"))
        assert (tmp_path / "application.log").stat().st_size == size + 10
        handler.handle(record("lost"))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, old)
    assert handler.lost_total == 2
    handler.handle(record("last"))
    assert messages(tmp_path / "application.log") == ["first", "in half", "last"]
    assert handler.lost_total == 1


def test_a_descriptor_that_somebody_closed_and_that_is_another_file_now_is_not_written(make, tmp_path):
    handler = make()
    handler.handle(record("first"))
    descriptor = handler._file._descriptor
    os.close(descriptor)
    other = os.open(tmp_path / "other", os.O_CREAT | os.O_RDWR)
    assert other == descriptor
    handler.handle(record("second"))
    assert (tmp_path / "other").read_bytes() == b""
    assert messages(tmp_path / "application.log") == ["first", "second"]
    os.close(other)


def test_a_file_that_others_moved_is_made_anew_after_a_tenth_of_a_second(make, tmp_path):
    clock = FakeClock()
    handler = make(now=clock)
    handler.handle(record("first"))
    (tmp_path / "application.log").rename(tmp_path / "moved")
    clock.advance(0.09)
    handler.handle(record("second"))
    clock.advance(0.01)
    handler.handle(record("third"))
    assert messages(tmp_path / "moved") == ["first", "second"]
    assert messages(tmp_path / "application.log") == ["third"]


def test_an_archive_of_another_process_gets_no_second_line(make, tmp_path):
    slow, fast = make(max_bytes=2_000), make(max_bytes=2_000)
    slow.handle(record("x" * 2_000))
    fast.handle(record("of fast"))
    slow.handle(record("more of slow"))
    slow.close()
    fast.close()
    assert messages(tmp_path / "application.log.1.gz") == ["x" * 2_000]
    assert messages(tmp_path / "application.log") == ["of fast", "more of slow"]


def test_a_file_that_others_emptied_goes_on(make, tmp_path):
    handler = make()
    handler.handle(record("first"))
    os.truncate(tmp_path / "application.log", 0)
    handler.handle(record("second"))
    assert messages(tmp_path / "application.log") == ["second"]


@pytest.mark.parametrize(
    ("mode", "text"),
    [(0o777, "every user may write to"), (0o1777, ""), (0o750, "")],
    ids=["open", "sticky", "closed"],
)
def test_a_directory_that_others_may_write_is_a_warning(mode, text, make, tmp_path, reports):
    (tmp_path / "logs").mkdir()
    (tmp_path / "logs").chmod(mode)
    handler = make(tmp_path / "logs" / "application.log")
    handler.handle(record())
    handler.handle(record())
    assert [text in found for found in reports()] == ([True] if text else [])


CONNECTION = "Endpoint=sb://127.0.0.1:1;SharedAccessKeyName=a;SharedAccessKey=b;UseDevelopmentEmulator=true"


def in_a_removed_directory(tmp_path, text):
    """Run a program whose working directory is removed at once; nothing that it needs is relative to it."""
    program = tmp_path / "program.py"
    program.write_text(f"import os; os.mkdir('gone'); os.chdir('gone'); os.rmdir('../gone')\n{text}")
    connected = {"EVENTHUB_NAMESPACE_CONNECTION_STRING": CONNECTION, "EVENTHUB_LOG_EXIT_TIMEOUT": "0.1"}
    return subprocess.run(
        [sys.executable, program],
        cwd=tmp_path,
        env={**inherited("LOG_", "EVENTHUB_"), **connected},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_records_wait_in_memory_where_the_working_directory_of_the_spool_was_removed(tmp_path):
    done = in_a_removed_directory(
        tmp_path,
        "import logging, hublog\nhublog.setup_logging()\nlogging.getLogger('shop').error('hello')\n"
        # One write, since a thread may log in the middle of two.
        "stats = hublog.stats()\nprint(f'{stats.accepted_total} {stats.dropped}\\n', end='')\n",
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert "1 {}\n" in done.stdout
    assert done.stdout.count("The spool directory logs/spool cannot be used: the working directory") == 1
    assert (
        done.stdout.count("The log file logs/application.log cannot be written (the working directory") == 1
    )


@pytest.mark.parametrize("command", ["doctor", "status", "settings"])
def test_the_commands_answer_where_the_working_directory_was_removed(command, tmp_path):
    done = in_a_removed_directory(
        tmp_path, f"import sys\nsys.argv[1:] = [{command!r}]\nfrom hublog.cli import main\nsys.exit(main())\n"
    )
    assert "Traceback" not in done.stderr
    assert "report this" not in done.stdout
    if command == "doctor":
        told = [
            line for line in done.stdout.splitlines() if "the working directory of the process was" in line
        ]
        assert [line.split()[1] for line in told] == ["spool", "log"]
