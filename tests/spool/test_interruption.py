"""Signal handlers, finalizers, the exit and forks in the middle of an append."""

import errno

import pytest
from tests.spool.independent import ALL, lines_of, lines_on_disk, make_lines, run_thread, segments_of

from hublog.settings import SyncPolicy

FULL = OSError(errno.ENOSPC, "No space left on device")


def test_what_interrupts_an_append_is_written_and_comes_next(make, disk):
    directory = make()
    directory.append(make_lines(1))
    disk.plan("write", lambda: directory.append(make_lines(2, start=2)))
    assert directory.append(make_lines(1, start=1)) == 1
    directory.append(make_lines(1, start=4))
    assert directory.read(*ALL)[0] == make_lines(5)
    assert [len(lines_of(path.read_bytes())) for path in segments_of(directory.path)] == [2, 2, 1]
    assert directory.appended_total == directory.backlog_lines == 5


def test_what_interrupts_an_interruption_is_written_too(make, disk):
    directory = make()
    directory.append(make_lines(1))
    written = []
    disk.plan(
        "write",
        lambda: written.append(directory.append(make_lines(1, start=2))),
        lambda: written.append(directory.append(make_lines(1, start=3))),
    )
    directory.append(make_lines(1, start=1))
    assert written == [1, 1]
    assert directory.read(*ALL)[0] == make_lines(4)


def test_what_interrupts_is_on_disk_when_its_call_returns(make, disk):
    directory = make(sync=SyncPolicy.BATCH)
    found = []

    def interrupt():
        directory.append(make_lines(1, start=7))
        found.extend(lines_on_disk(directory.path))

    disk.plan("write", interrupt)
    directory.append(make_lines(1))
    assert make_lines(1, start=7)[0] in found


def test_what_interrupts_a_roll_is_not_overtaken_by_the_reader(make, disk):
    directory = make(max_bytes=100)
    directory.append(make_lines(2, size=20))
    seen = []

    def interrupt():
        directory.append(make_lines(1, start=3))
        thread, results = run_thread(lambda: directory.read(*ALL)[0])
        thread.join(30)
        seen.extend(results[0])

    disk.plan("write", interrupt)  # the header of the second segment
    directory.append(make_lines(1, size=20, start=2))
    seen += directory.read(*ALL)[0]
    assert sorted(seen) == sorted(make_lines(3, size=20) + make_lines(1, start=3))
    assert directory.backlog_lines == 4


def test_what_interrupts_on_a_full_disk_is_the_callers(make, disk):
    directory = make()
    directory.append(make_lines(1))
    written = []
    disk.plan("write", lambda: written.append(directory.append(make_lines(1, start=2))), FULL)
    assert directory.append(make_lines(1, start=1)) == 1
    assert written == [0]
    assert directory.read(*ALL)[0] == make_lines(2)


def test_what_interrupts_takes_no_more_than_a_file_may_have(make, disk, file_limit):
    directory = make()
    directory.append(make_lines(1))
    written = []
    lines = make_lines(200, size=1_000, start=2)
    disk.plan(
        "write",
        lambda: written.append(directory.append(lines)),
        lambda: written.append(directory.append(make_lines(1, size=file_limit))),
    )
    directory.append(make_lines(1, start=1))
    assert written[0] == 0
    assert 90 < written[1] < 100
    assert directory.read(*ALL)[0] == make_lines(2) + lines[: written[1]]


def test_an_exception_of_a_signal_handler_spoils_nothing(make, disk):
    directory = make()
    directory.append(make_lines(1))

    def leave():
        raise SystemExit

    disk.plan("write", leave)
    with pytest.raises(SystemExit):
        directory.append(make_lines(1, start=99))
    assert directory.append(make_lines(1, start=1)) == 1
    assert directory.read(*ALL)[0] == make_lines(2)
    assert lines_on_disk(directory.path) == make_lines(2)


def test_an_exception_while_a_segment_is_begun_leaves_no_file(make, disk):
    directory = make()

    def leave():
        raise SystemExit

    disk.plan("write", leave)
    with pytest.raises(SystemExit):
        directory.append(make_lines(1))
    assert segments_of(directory.path) == []
    assert directory.append(make_lines(1)) == 1


def test_an_exception_while_the_interruptions_are_joined_hides_none(make, disk, monkeypatch):
    directory = make()
    directory.append(make_lines(1))
    disk.plan("write", lambda: directory.append(make_lines(1, start=2)))
    finish, steps = directory._writer.finish, [KeyboardInterrupt]

    def interrupted():
        if steps:
            raise steps.pop()
        finish()

    monkeypatch.setattr(directory._writer, "finish", interrupted)
    with pytest.raises(KeyboardInterrupt):
        directory.append(make_lines(1, start=1))
    assert directory.append(make_lines(1, start=3)) == 1
    assert directory.read(*ALL)[0] == make_lines(4)


def test_an_append_that_is_interrupted_by_the_exit_still_ends(make, disk):
    directory = make()
    directory.append(make_lines(1))
    disk.plan("write", directory.close)
    assert directory.append(make_lines(1, start=1)) == 1
    assert (directory.is_open, directory.is_owned) == (False, False)
    assert lines_on_disk(directory.path) == make_lines(2)
    assert directory.append(make_lines(1)) == 0


def test_an_interruption_takes_nothing_away(make, disk):
    directory = make(sync=SyncPolicy.INTERVAL)
    directory.append(make_lines(1))
    results = []
    disk.plan(
        "write",
        lambda: results.append(
            (
                directory.drop_oldest(),
                directory.reconcile(),
                directory.remove_if_empty(),
                directory.sync_if_due(),
            )
        ),
    )
    directory.append(make_lines(1, start=1))
    assert results == [(None, 0, False, False)]
    assert directory.read(*ALL)[0] == make_lines(2)


def test_an_append_that_forks_writes_nothing_in_the_child(make, disk):
    directory = make()
    directory.append(make_lines(1))
    disk.plan("write", directory.abandon_after_fork)
    directory.append(make_lines(1, start=1))
    assert directory.append(make_lines(1, start=2)) == 0
    assert lines_on_disk(directory.path) == make_lines(2)
    assert not directory.is_owned


def test_a_fork_while_a_segment_is_begun_leaves_the_child_without_one(make, disk):
    directory = make()
    disk.plan("write", directory.abandon_after_fork)
    assert directory.append(make_lines(1)) == 0
    assert not directory.is_open


def test_a_child_that_leaves_while_a_segment_is_begun_leaves_the_file_to_its_parent(make, disk):
    directory = make()

    def fork_and_leave():
        directory.abandon_after_fork()
        raise SystemExit

    disk.plan("write", fork_and_leave)
    with pytest.raises(SystemExit):
        directory.append(make_lines(1))
    assert len(segments_of(directory.path)) == 1


def test_a_child_waits_for_no_lock_of_its_parent(make):
    directory = make()
    directory.append(make_lines(2))
    _, position = directory.read(100, 1)
    with directory._lock, directory._writer.lock:
        directory.abandon_after_fork()

        def use():
            directory.settle(position)
            directory.rewind()
            directory.close()
            directory.abandon_after_fork()
            return (
                directory.append(make_lines(1)),
                directory.read(*ALL)[0],
                directory.drop_oldest(),
                directory.reconcile(),
                directory.remove_if_empty(),
                directory.sync_if_due(),
            )

        thread, results = run_thread(use)
        thread.join(30)
    assert results == [(0, [], None, 0, False, False)]
    assert lines_on_disk(directory.path) == make_lines(2)
