"""Files of snapshots: written once a second, read by others, added up when their process has ended."""

import contextlib
import fcntl
import os
import signal
import subprocess
import sys
import time

import pytest
from tests.kits.environ import inherited

from hublog.delivery.accounting import State
from hublog.operations import publishing
from hublog.operations.overview import read_overview
from hublog.operations.publishing import (
    ENDED,
    FOLDER,
    RETRY_S,
    SNAPSHOT_S,
    Publisher,
    merge_ended,
    read_snapshot,
    snapshot_files,
)
from hublog.operations.snapshot import COUNTERS, GAUGES, PipelineSnapshot, ProcessSnapshot, encode
from hublog.testing import FakeClock

LIMIT_S = 30
NOBODY = 65_534


def snapshot(sent=0, *, spooled=0, pid=1, state=State.HEALTHY, oldest_s=None):
    counters = dict.fromkeys(COUNTERS, 0) | {"sent_total": sent}
    gauges = dict.fromkeys(GAUGES, 0) | {"spooled": spooled}
    part = PipelineSnapshot(
        destination="hub", counters=counters, gauges=gauges, state=state, state_since_s=1.0, oldest_s=oldest_s
    )
    return ProcessSnapshot(pid=pid, service="shop", pipelines=(part,))


class Process:
    """A process that publishes; several of them are in this one, since each holds its own lock."""

    def __init__(self, root):
        self.clock, self.wall = FakeClock(), FakeClock(1_790_000_000.0)
        self.publisher = Publisher(root, now=self.clock, wall=self.wall)

    def publish(self, made, seconds=SNAPSHOT_S, **known):
        self.clock.advance(seconds)
        self.wall.advance(seconds)
        return self.publisher.publish(lambda: made, **known)

    def die(self):
        self.publisher._close()


@pytest.fixture
def begin(tmp_path):
    processes = []

    def begin_process(made=None):
        processes.append(Process(tmp_path))
        if made is not None:
            processes[-1].publish(made)
        return processes[-1]

    yield begin_process
    for process in processes:
        process.die()


def sent(root):
    return read_overview(root).total.counters["sent_total"]


def files(root):
    return [path.name for path in snapshot_files(root / FOLDER)]


def test_a_snapshot_is_written_once_a_second_and_only_if_it_has_changed(begin, tmp_path):
    process = begin(snapshot(1))
    assert sent(tmp_path) == 1
    assert process.publish(snapshot(2), 0.3) == pytest.approx(0.7)
    assert sent(tmp_path) == 1
    assert process.publish(snapshot(2), 0.7) == float("inf")
    assert sent(tmp_path) == 2
    [path] = snapshot_files(tmp_path / FOLDER)
    before = path.stat().st_mtime_ns
    assert process.publish(snapshot(2), 60.0) == float("inf")
    assert path.stat().st_mtime_ns == before
    assert process.publish(snapshot(3), 0.0, at_once=True) == float("inf")
    assert sent(tmp_path) == 3


def test_a_file_is_for_its_user_alone_and_is_not_replaced(begin, tmp_path):
    process = begin(snapshot(1))
    [path] = snapshot_files(tmp_path / FOLDER)
    before = path.stat()
    assert (before.st_mode & 0o777, (tmp_path / FOLDER).stat().st_mode & 0o777) == (0o600, 0o700)
    process.publish(snapshot(2))
    assert path.stat().st_ino == before.st_ino


def test_all_processes_are_shown_and_added_up(begin, tmp_path):
    begin(snapshot(1, pid=11))
    begin(snapshot(20, pid=12, state=State.OPEN, oldest_s=5.0))
    found = read_overview(tmp_path)
    assert {(each.pid, each.is_alive) for each in found.processes} == {(11, True), (12, True)}
    assert (found.total.counters["sent_total"], found.total.state, found.total.oldest_s) == (
        21,
        State.OPEN,
        5.0,
    )
    assert found.problems == ()


def test_a_dead_process_stays_in_the_sums_and_its_state_does_not(begin, tmp_path):
    begin(snapshot(1))
    dead = begin(snapshot(20, state=State.OPEN))
    dead.die()
    found = read_overview(tmp_path)
    assert sorted(each.is_alive for each in found.processes) == [False, True]
    assert (found.total.counters["sent_total"], found.total.state) == (21, State.HEALTHY)
    assert merge_ended(tmp_path) == 1
    assert merge_ended(tmp_path) == 0
    found = read_overview(tmp_path)
    assert (len(found.processes), found.total.counters["sent_total"]) == (1, 21)
    assert found.ended.counters["sent_total"] == 20


def test_what_a_dead_process_has_on_disk_counts_until_it_is_taken_over(begin, tmp_path, monkeypatch):
    dead = begin(snapshot(20, spooled=7))
    dead.die()
    monkeypatch.setattr(publishing, "has_orphans", lambda root: True)
    assert merge_ended(tmp_path) == 0
    assert read_overview(tmp_path).total.gauges["spooled"] == 7
    monkeypatch.setattr(publishing, "has_orphans", lambda root: False)
    assert merge_ended(tmp_path) == 1
    total = read_overview(tmp_path).total
    assert (total.gauges["spooled"], total.counters["sent_total"]) == (0, 20)


@pytest.mark.parametrize("step", ["pwrite", "unlink"])
def test_one_that_is_killed_while_it_adds_adds_nothing_twice(begin, tmp_path, monkeypatch, step):
    for number in (1, 20, 300):
        begin(snapshot(number)).die()

    class Killed(BaseException):
        pass

    def kill(*_, **__):
        raise Killed

    for _ in range(3):
        with monkeypatch.context() as patch, contextlib.suppress(Killed):
            if step == "unlink":
                patch.setattr("pathlib.Path.unlink", kill)
            else:
                patch.setattr(os, "pwrite", kill)
            merge_ended(tmp_path)
        assert sent(tmp_path) == 321
    merge_ended(tmp_path)
    assert (sent(tmp_path), files(tmp_path)) == (321, [])


def test_two_that_add_at_the_same_moment_add_each_once(begin, tmp_path):
    for number in (1, 20, 300):
        begin(snapshot(number)).die()
    script = (
        "import sys\nfrom pathlib import Path\nfrom hublog.operations.publishing import merge_ended\n"
        "try: merge_ended(Path(sys.argv[1]))\nexcept BlockingIOError: pass"
    )
    running = [subprocess.Popen([sys.executable, "-c", script, str(tmp_path)]) for _ in range(4)]
    while any(process.poll() is None for process in running):
        assert sent(tmp_path) == 321
    merge_ended(tmp_path)
    assert (sent(tmp_path), files(tmp_path)) == (321, [])


def test_a_process_adds_what_others_have_left_now_and_then(begin, tmp_path):
    process = begin(snapshot(1))
    begin(snapshot(20)).die()
    process.publisher.merge()
    assert len(files(tmp_path)) == 1
    begin(snapshot(300)).die()
    process.publisher.merge()
    assert len(files(tmp_path)) == 2, "not at each step"
    process.clock.advance(RETRY_S)
    process.publisher.merge()
    assert (len(files(tmp_path)), sent(tmp_path)) == (1, 321)


def test_a_forked_child_has_a_file_of_its_own(begin, tmp_path):
    process = begin(snapshot(1, pid=11))
    reader, writer = os.pipe()
    child = os.fork()
    if not child:
        try:
            process.publisher.abandon_after_fork()
            process.publish(snapshot(20, pid=12))
            os.write(writer, b"x")
            signal.pause()
        finally:
            os._exit(0)
    try:
        assert os.read(reader, 1) == b"x"
        assert sorted(each.pid for each in read_overview(tmp_path).living) == [11, 12]
        process.die()
        assert [each.pid for each in read_overview(tmp_path).living] == [12], "the child does not hold it"
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        os.close(reader)
        os.close(writer)
    assert sent(tmp_path) == 21


# Faults


def test_a_directory_that_cannot_be_written_is_tried_again_and_shown_by_the_process_itself(begin, tmp_path):
    (tmp_path / FOLDER).write_text("a file")
    process = begin(snapshot(1))
    assert isinstance(process.publisher.error, OSError)
    assert process.publisher.snapshot.total.counters["sent_total"] == 1
    (tmp_path / FOLDER).unlink()
    process.publish(snapshot(2))
    assert process.publisher.error is not None, "not at each second"
    process.publish(snapshot(3), RETRY_S)
    assert (process.publisher.error, sent(tmp_path)) == (None, 3)


def test_a_full_disk_is_an_error_and_the_file_goes_on_when_there_is_room(begin, tmp_path, monkeypatch):
    process = begin(snapshot(1))
    with monkeypatch.context() as patch:
        patch.setattr(os, "pwrite", lambda fd, data, offset: 3)
        process.publish(snapshot(2))
    assert "a part of it" in str(process.publisher.error)
    process.publish(snapshot(3), RETRY_S)
    assert process.publisher.error is None
    assert sent(tmp_path) == 1 + 3  # the first file is that of a process that is gone


@pytest.mark.parametrize("what", ["link", "file of another user", "writable by everybody"])
def test_a_directory_that_others_may_have_made_is_not_used(tmp_path, what):
    folder = tmp_path / FOLDER
    if what == "link":
        (tmp_path / "elsewhere").mkdir()
        folder.symlink_to(tmp_path / "elsewhere")
    else:
        folder.mkdir()
        if what == "writable by everybody":
            folder.chmod(0o777)
        else:
            os.chown(folder, NOBODY, NOBODY)
    process = Process(tmp_path)
    process.publish(snapshot(1))
    assert isinstance(process.publisher.error, OSError)
    assert list((tmp_path / "elsewhere").glob("*") if what == "link" else folder.iterdir()) == []


def test_files_that_cannot_be_used_are_reported_and_harm_nobody(begin, tmp_path):
    begin(snapshot(1))
    folder = tmp_path / FOLDER
    (folder / "garbage").write_bytes(os.urandom(100_000))
    (folder / "empty").write_bytes(b"")
    (folder / "torn").write_bytes(encode(snapshot(5))[:-10])
    (folder / "link").symlink_to("/etc/passwd")
    (folder / "folder").mkdir()
    os.mkfifo(folder / "pipe")
    (folder / "foreign").write_bytes(encode(snapshot(5)))
    os.chown(folder / "foreign", NOBODY, NOBODY)
    (folder / ".hidden").write_bytes(b"x")
    found = read_overview(tmp_path)
    assert found.total.counters["sent_total"] == 1
    assert sorted(text.split(" is not shown")[0].rpartition("/")[2] for text in found.problems) == [
        "empty", "folder", "foreign", "garbage", "link", "pipe", "torn",
    ]  # fmt: skip
    merge_ended(tmp_path)
    assert len(list(folder.iterdir())) == 10, "nothing of it is removed"


def test_a_file_of_what_has_ended_that_is_damaged_is_a_problem_and_not_a_fault(begin, tmp_path):
    begin(snapshot(1))
    (tmp_path / FOLDER / ENDED).write_bytes(b"garbage")
    found = read_overview(tmp_path)
    assert (found.total.counters["sent_total"], len(found.problems)) == (1, 1)
    with pytest.raises(ValueError, match="does not begin"):
        merge_ended(tmp_path)


def test_a_spool_without_anything_is_an_empty_overview(tmp_path):
    found = read_overview(tmp_path / "none")
    assert (found.processes, found.problems, found.total.held) == ((), (), 0)


def test_a_clock_that_jumps_back_makes_no_age_negative(begin, tmp_path):
    begin(snapshot(1, oldest_s=2_000.0))
    found = read_overview(tmp_path, wall=lambda: 1_000.0)
    assert found.age_s(found.total.oldest_s) == 0.0
    assert found.age_s(None) is None


def test_a_reader_that_asks_for_the_lock_of_a_new_file_does_not_keep_it_from_its_process(
    begin, tmp_path, monkeypatch
):
    lock = fcntl.flock
    asked = []

    def busy_once(fd, operation):
        if operation == fcntl.LOCK_EX | fcntl.LOCK_NB and not asked:
            asked.append(fd)
            raise BlockingIOError
        return lock(fd, operation)

    monkeypatch.setattr(fcntl, "flock", busy_once)
    begin(snapshot(1))
    assert (len(files(tmp_path)), sent(tmp_path)) == (1, 1)


def test_two_hundred_processes_are_read_and_their_sum_is_exact(begin, tmp_path):
    for number in range(200):
        begin(snapshot(number, pid=number + 1))
    found = read_overview(tmp_path)
    assert (len(found.living), found.total.counters["sent_total"]) == (200, sum(range(200)))


PROGRAM = """
import logging, os, sys, hublog
hublog.setup_logging()
log = logging.getLogger("shop")
for line in sys.stdin:
    for _ in range(10):
        log.info("hello")
    print(os.getpid(), flush=True)
"""


@pytest.mark.parametrize("spool", ["memory", "overflow", "always"])
def test_real_processes_one_killed_one_ended_and_one_alive_have_exact_sums(tmp_path, spool):
    environ = {
        **inherited("EVENTHUB", "LOG", "FILE", "COVERAGE"),
        "LOG_DIR": str(tmp_path),
        "LOG_TO_STDOUT": "false",
        "EVENTHUB_LOG_SPOOL": spool,
        "EVENTHUB_LOG_EXIT_TIMEOUT": "0.5",
        "EVENTHUB_NAMESPACE_CONNECTION_STRING": "Endpoint=sb://127.0.0.1:1;SharedAccessKeyName=n;"
        "SharedAccessKey=a2V5;UseDevelopmentEmulator=true",
    }
    programs = [
        subprocess.Popen(
            [sys.executable, "-c", PROGRAM],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=environ,
        )
        for _ in range(3)
    ]

    def until(is_true):
        end = time.monotonic() + LIMIT_S
        while not is_true():
            assert time.monotonic() < end
            time.sleep(0.05)

    def overview():
        return read_overview(tmp_path / "spool")

    try:
        for program in programs:
            program.stdin.write("\n")
            program.stdin.flush()
            program.stdout.readline()
        until(lambda: overview().total.counters["accepted_total"] >= 30)
        killed, ended, alive = programs
        killed.kill()
        killed.wait(LIMIT_S)
        ended.stdin.close()
        assert ended.wait(LIMIT_S) == 0
        until(lambda: len(overview().living) == 1)
        until(lambda: overview().total.last_error)
        found = overview()
        assert [each.pid for each in found.living] == [alive.pid]
        assert found.total.counters["accepted_total"] == 30
        assert found.problems == ()
        assert found.living[0].service
        assert len({each.settings_hash for each in found.processes}) == 1
    finally:
        for program in programs:
            program.kill()
            program.wait(LIMIT_S)
            program.stdin.close()
            program.stdout.close()
    assert b"a2V5" not in b"".join(path.read_bytes() for path in (tmp_path / "spool" / FOLDER).iterdir())
    assert all(read_snapshot(path) for path in snapshot_files(tmp_path / "spool" / FOLDER))
