"""Writers that are refused by the disk, that sync, and that are many."""

import errno
import os
import threading

import pytest
from tests.spool.independent import ALL, lines_of, lines_on_disk, make_lines, run_thread, segments_of

from hublog.settings import SyncPolicy
from hublog.spool import writer as writers
from hublog.spool.directory import SpoolDirectory

FULL = OSError(errno.ENOSPC, "No space left on device")
LARGE = OSError(errno.EFBIG, "File too large")
BROKEN = OSError(errno.EIO, "Input/output error")


# refused by the disk


@pytest.mark.parametrize("step", [FULL, BROKEN, 0, 5, 30], ids=str)
def test_a_refused_write_leaves_a_readable_file_and_the_next_segment_takes_over(make, disk, step):
    directory = make()
    directory.append(make_lines(2))
    disk.plan("write", step)
    assert directory.append(make_lines(2, start=2)) == 2
    assert [lines_of(path.read_bytes()) for path in segments_of(directory.path)] == [
        make_lines(2),
        make_lines(2, start=2),
    ]
    assert directory.read(*ALL)[0] == make_lines(4)
    assert directory.failures_total == 1
    assert isinstance(directory.error, OSError)


def test_a_refused_part_goes_into_the_next_segment(make, disk):
    directory = make(max_bytes=200)
    directory.append(make_lines(1))
    disk.plan("write", FULL)
    assert directory.append(make_lines(20, start=1)) == 20
    assert directory.read(*ALL)[0] == make_lines(21)
    assert directory.failures_total == 1


def test_an_exception_in_the_middle_of_many_keeps_the_books_right(make, disk):
    directory = make(max_bytes=200)

    def leave():
        raise SystemExit

    disk.plan("write", None, None, None, leave)
    with pytest.raises(SystemExit):
        directory.append(make_lines(20))
    assert 0 < directory.appended_total == directory.backlog_lines < 20
    assert directory.append(make_lines(1, start=directory.appended_total)) == 1
    assert directory.read(*ALL)[0] == make_lines(directory.appended_total)


def test_a_full_disk_is_asked_again_after_a_second(make, disk, clock):
    directory = make()
    directory.append(make_lines(2))
    disk.plan("write", 30, FULL)
    assert directory.append(make_lines(2, start=2)) == 0
    assert directory.append(make_lines(2, start=2)) == 0
    assert len(segments_of(directory.path)) == 1
    assert (directory.failures_total, directory.error) == (2, FULL)
    clock.advance(1)
    assert directory.append(make_lines(2, start=2)) == 2
    assert directory.read(*ALL)[0] == make_lines(4)


def test_a_full_disk_is_asked_at_once_when_room_was_made(make, disk):
    directory = make()
    disk.plan("write", FULL)
    assert directory.append(make_lines(2)) == 0
    assert segments_of(directory.path) == []
    directory.retry()
    assert directory.append(make_lines(2)) == 2


def test_a_new_segment_that_takes_nothing_is_removed_again(make, disk, clock):
    directory = make()
    disk.plan("write", None, 30)
    assert directory.append(make_lines(2)) == 0
    assert segments_of(directory.path) == []
    assert directory.append(make_lines(2)) == 0
    clock.advance(1)
    assert directory.append(make_lines(2)) == 2


def test_the_first_lines_count_when_the_later_are_refused(make, disk):
    directory = make(max_bytes=200)
    lines = make_lines(10, size=40)
    disk.plan("write", None, None, None, FULL)
    written = directory.append(lines)
    assert 0 < written < 10
    assert lines_on_disk(directory.path) == lines[:written]
    assert directory.appended_total == directory.backlog_lines == written


def test_a_file_that_cannot_be_cut_is_left_for_a_new_one(make, disk):
    directory = make()
    directory.append(make_lines(2))
    disk.plan("write", 20)
    disk.plan("ftruncate", BROKEN, BROKEN)
    assert directory.append(make_lines(2, start=2)) == 2
    assert directory.read(*ALL)[0] == make_lines(4)
    assert directory.damage_total == 0
    directory.close()
    adopted = SpoolDirectory.adopt(directory.path)
    assert adopted.read(*ALL)[0] == make_lines(4)
    assert adopted.damage_total == 1
    adopted.close()


def test_no_file_can_be_made_once_the_directory_is_gone(make):
    directory = make()
    (directory.path / "lock").unlink()
    directory.path.rmdir()
    assert directory.append(make_lines(1)) == 0
    assert isinstance(directory.error, FileNotFoundError)


def test_segments_end_at_the_limit_of_files(make, file_limit):
    directory = make()
    lines = make_lines(500, size=1_000)
    assert directory.append(lines) == 500
    assert max(path.stat().st_size for path in segments_of(directory.path)) <= file_limit
    assert lines_on_disk(directory.path) == lines
    assert directory.failures_total == 0


def test_a_line_larger_than_a_file_may_be_is_the_callers(make, file_limit):
    directory = make()
    lines = [*make_lines(1), *make_lines(1, size=file_limit), *make_lines(1)]
    assert directory.append(lines) == 1
    assert "100000" in str(directory.error)
    assert directory.append(make_lines(1)) == 1


def test_a_limit_that_shrinks_begins_a_new_segment(make, disk):
    directory = make()
    directory.append(make_lines(1))
    disk.plan("write", LARGE)
    assert directory.append(make_lines(1)) == 1
    assert len(segments_of(directory.path)) == 2


# forced onto the device


def test_without_a_policy_nothing_is_synced(make, disk, clock):
    disk.record()
    directory = make(max_bytes=200)
    directory.append(make_lines(9, size=30))
    clock.advance(10)
    assert not directory.sync_if_due()
    assert {name for name, _ in disk.calls} == {"write"}


def test_batch_syncs_each_append_before_it_returns(make, disk):
    directory = make(sync=SyncPolicy.BATCH)
    disk.record()
    directory.append(make_lines(2))
    directory.append(make_lines(2))
    assert disk.calls == [
        ("write", "1"),
        ("fsync", "directory"),
        ("write", "1"),
        ("fdatasync", "1"),
        ("write", "1"),
        ("fdatasync", "1"),
    ]


@pytest.mark.parametrize("is_last", [False, True])
def test_with_interval_no_append_waits_for_the_device_and_the_old_segment_is_synced_first(
    make, disk, clock, is_last
):
    directory = make(sync=SyncPolicy.INTERVAL)
    disk.record()
    directory.append(make_lines(1))
    clock.advance(5)
    directory.append(make_lines(1, start=1))
    assert disk.calls == [("write", "1"), ("write", "1"), ("write", "2"), ("write", "2")]
    assert directory.has_unsynced
    disk.calls.clear()
    if is_last:
        directory.close()
    else:
        assert directory.sync_if_due()
    assert [name for _, name in disk.calls] == ["directory", "1", "directory", "2"]
    assert not directory.has_unsynced


def test_a_segment_that_was_settled_before_it_was_synced_is_not(make, disk, clock):
    directory = make(sync=SyncPolicy.INTERVAL)
    directory.append(make_lines(1))
    clock.advance(5)
    directory.append(make_lines(1, start=1))
    directory.settle(directory.read(*ALL)[1])
    disk.record()
    assert directory.sync_if_due()
    assert ("fsync", "1") not in disk.calls
    assert directory.failures_total == 0


def test_an_ended_segment_that_could_not_be_synced_is_tried_again(make, disk, clock):
    directory = make(sync=SyncPolicy.INTERVAL)
    directory.append(make_lines(1))
    clock.advance(5)
    directory.append(make_lines(1, start=1))
    disk.plan("fsync", BROKEN)
    directory.sync_if_due()
    assert directory.failures_total == 1
    clock.advance(1)
    assert directory.sync_if_due()
    assert not directory.has_unsynced


def test_interval_syncs_when_it_is_due_and_only_what_is_new(make, disk, clock):
    directory = make(sync=SyncPolicy.INTERVAL, sync_interval_s=0.5, max_age_s=100.0)
    disk.record()
    assert not directory.sync_if_due()
    clock.advance(0.5)
    assert not directory.sync_if_due()
    directory.append(make_lines(1))
    assert directory.sync_if_due()
    directory.append(make_lines(1))
    assert not directory.sync_if_due()
    clock.advance(0.5)
    assert directory.sync_if_due()
    clock.advance(0.5)
    assert not directory.sync_if_due()
    assert disk.calls.count(("fsync", "1")) == 2


def test_a_line_that_could_not_be_synced_was_not_written_with_batch(make, disk, monkeypatch):
    directory = make(sync=SyncPolicy.BATCH)
    directory.append(make_lines(1))
    disk.plan("fdatasync", BROKEN)
    monkeypatch.setattr(writers, "_sync", os.fdatasync)
    assert directory.append(make_lines(1, start=1)) == 1
    assert directory.read(*ALL)[0] == make_lines(2)
    assert directory.failures_total == 1


def test_a_sync_that_fails_in_the_background_is_counted_and_tried_again(make, disk, clock):
    directory = make(sync=SyncPolicy.INTERVAL, max_age_s=100.0)
    directory.append(make_lines(1))
    disk.plan("fsync", BROKEN, None, BROKEN)
    results = []
    for _ in range(3):
        clock.advance(1)
        results.append(directory.sync_if_due())
    assert results == [False, False, True]  # the directory, the segment
    assert directory.failures_total == 2
    assert not directory.has_unsynced


def test_a_device_that_refuses_for_long_has_each_file_forced_once_in_the_end(make, disk, clock):
    directory = make(sync=SyncPolicy.INTERVAL, max_age_s=1_000.0)
    directory.append(make_lines(1))
    disk.plan("fsync", *[BROKEN] * 50)
    for _ in range(50):
        clock.advance(1)
        assert not directory.sync_if_due()
    disk.record()
    clock.advance(1)
    assert directory.sync_if_due()
    assert disk.calls == [("fsync", "directory"), ("fsync", "1")]


def test_a_segment_that_ends_while_it_is_synced_in_the_background_is_synced_again(make, disk, clock):
    directory = make(sync=SyncPolicy.INTERVAL)
    directory.append(make_lines(1))

    def roll():
        clock.advance(5)
        disk.record()
        directory.append(make_lines(1))

    clock.advance(1)
    assert directory.sync_if_due()
    directory.append(make_lines(1, start=1))
    disk.plan("fsync", roll)
    clock.advance(1)
    assert directory.sync_if_due()
    assert [name for _, name in disk.calls] == ["2", "2", "1", "directory"]


def test_a_sync_waits_for_no_writer(make, clock):
    directory = make(sync=SyncPolicy.INTERVAL)
    directory.append(make_lines(1))
    clock.advance(60)
    with directory._writer.lock:
        thread, synced = run_thread(directory.sync_if_due)
        thread.join(30)
    assert synced == [True]


# many


def test_a_thread_reads_and_settles_what_others_write(make):
    directory = make(max_bytes=2_000)
    count, found = 5_000, []
    threads = [
        threading.Thread(
            target=lambda name=name: [
                directory.append([b'{"t":%d,"n":%d}' % (name, n)]) for n in range(count)
            ]
        )
        for name in range(3)
    ]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads) or directory.backlog_lines:
        lines, position = directory.read(10_000, 100)
        directory.settle(position)
        found += lines
    assert len(found) == 3 * count == directory.settled_total
    assert (directory.dropped_total, directory.damaged_total, directory.damage_total) == (0, 0, 0)
    for name in range(3):
        own = [line for line in found if line.startswith(b'{"t":%d,' % name)]
        assert own == [b'{"t":%d,"n":%d}' % (name, number) for number in range(count)]


def test_the_bound_is_kept_while_others_write_and_every_drop_is_counted(make):
    directory = make(max_bytes=1_000)
    count = 4_000
    thread, _ = run_thread(lambda: [directory.append([b'{"n":%d}' % number]) for number in range(count)])
    found = []
    while thread.is_alive():
        directory.drop_oldest()
        lines, position = directory.read(500, 10)
        directory.settle(position)
        found += lines
    thread.join()
    rest, position = directory.read(*ALL)
    directory.settle(position)
    assert len(found) + len(rest) == directory.settled_total
    assert directory.settled_total + directory.dropped_total == count
    assert directory.backlog_lines == 0
