import errno
import os
import re
import stat
import struct

import pytest
from tests.spool.independent import (
    ALL,
    is_locked,
    lines_of,
    lines_on_disk,
    make_lines,
    make_segment,
    make_three_segments,
    names_of,
    segments_of,
)

from hublog.spool import directory as directories
from hublog.spool.directory import SpoolDirectory
from hublog.spool.locking import SpoolUnavailableError
from hublog.spool.segments import Position

# making


def test_a_new_directory_is_named_and_locked(make, tmp_path):
    directory = make()
    assert names_of(tmp_path) == [directory.path.name]
    assert re.fullmatch(r"[0-9a-f]{16}-[0-9a-f]{8}", directory.path.name)
    assert (directory.path / "lock").read_bytes() == bytes(16)
    assert is_locked(directory.path)
    assert (directory.is_open, directory.is_owned) == (True, True)


@pytest.mark.parametrize("umask", [0, 0o777])
def test_nobody_else_can_read_whatever_the_umask(make, umask):
    before = os.umask(umask)
    try:
        directory = make()
        directory.append(make_lines(1))
    finally:
        os.umask(before)
    assert stat.S_IMODE(directory.path.stat().st_mode) == 0o700
    assert {stat.S_IMODE(path.stat().st_mode) for path in directory.path.iterdir()} == {0o600}


def test_a_root_that_is_not_there_is_told(tmp_path):
    with pytest.raises(SpoolUnavailableError, match=r"nowhere cannot be used: what is made in it vanishes"):
        SpoolDirectory.create(tmp_path / "nowhere")


# appending


def test_lines_are_on_disk_when_append_returns(make):
    directory = make()
    lines = make_lines(3)
    assert directory.append(lines) == 3
    (path,) = segments_of(directory.path)
    assert path.name == "00000001.seg"
    assert path.read_bytes() == make_segment(lines)
    assert (directory.appended_total, directory.backlog_lines) == (3, 3)
    assert directory.backlog_bytes == len(make_segment(lines, head=b""))


def test_nothing_is_written_when_one_is_no_line(make):
    directory = make()
    with pytest.raises(ValueError, match="one JSON object"):
        directory.append([b"{}", b"no line"])
    assert segments_of(directory.path) == []
    assert directory.append([]) == 0


def test_a_segment_ends_at_its_size(make):
    directory = make(max_bytes=1_000)
    lines = make_lines(100, size=50)
    directory.append(lines)
    for line in lines:
        directory.append([line])
    files = segments_of(directory.path)
    assert all(path.stat().st_size <= 1_000 for path in files)
    assert lines_on_disk(directory.path) == lines * 2


def test_a_line_longer_than_a_segment_has_one_for_itself(make):
    directory = make(max_bytes=1_000)
    lines = [*make_lines(2), *make_lines(1, size=5_000), *make_lines(2)]
    assert directory.append(lines) == 5
    assert [len(lines_of(path.read_bytes())) for path in segments_of(directory.path)] == [2, 1, 2]


def test_a_segment_ends_at_its_age(make, clock):
    directory = make()
    for seconds in (0, 4.9, 0.2, 4.9):
        clock.advance(seconds)
        directory.append(make_lines(1))
    assert [len(lines_of(path.read_bytes())) for path in segments_of(directory.path)] == [2, 2]


def test_an_outage_of_three_days_does_not_make_a_file_each_five_seconds(make, clock):
    directory = make()
    for _ in range(3 * 24 * 60):
        clock.advance(60)
        directory.append(make_lines(1))
    assert len(segments_of(directory.path)) < 1_000
    assert directory.backlog_lines == 3 * 24 * 60


def test_the_worker_ends_an_old_segment_too(make, clock):
    directory = make()
    directory.append(make_lines(1))
    directory.sync_if_due()
    directory.append(make_lines(1))
    clock.advance(5)
    directory.sync_if_due()
    directory.append(make_lines(1))
    assert [len(lines_of(path.read_bytes())) for path in segments_of(directory.path)] == [2, 1]


# reading and settling


def test_reading_goes_on_and_settling_unlinks_whole_segments(make):
    directory = make(max_bytes=300)
    lines = make_lines(30, size=40)
    directory.append(lines)
    count = len(segments_of(directory.path))
    first, position = directory.read(1 << 20, 10)
    second, _ = directory.read(1 << 20, 10)
    assert first + second == lines[:20]
    assert len(segments_of(directory.path)) == count
    directory.settle(position)
    assert lines_on_disk(directory.path) == lines[10:]
    assert len(segments_of(directory.path)) < count
    assert (directory.settled_total, directory.backlog_lines) == (10, 20)


def test_what_is_appended_later_is_read_later(make):
    directory = make()
    directory.append(make_lines(2))
    assert directory.read(*ALL)[0] == make_lines(2)
    assert directory.read(*ALL)[0] == []
    directory.append(make_lines(2, start=2))
    assert directory.read(*ALL)[0] == make_lines(2, start=2)


def test_one_line_is_read_even_when_it_is_over_the_limit(make):
    directory = make()
    directory.append(make_lines(3, size=50))
    assert [directory.read(10, 10)[0] for _ in range(3)] == [[line] for line in make_lines(3, size=50)]


def test_rewinding_repeats_what_is_not_settled_and_only_that(make):
    directory = make(max_bytes=100)
    lines = make_lines(10, size=20)
    directory.append(lines)
    _, position = directory.read(1 << 20, 4)
    directory.read(*ALL)
    directory.settle(position)
    directory.rewind()
    assert directory.read(*ALL)[0] == lines[4:]


def test_a_send_that_turns_out_well_after_a_rewind_counts(make):
    directory = make(max_bytes=100)
    directory.append(make_lines(10, size=20))
    _, early = directory.read(1 << 20, 2)
    _, late = directory.read(1 << 20, 5)
    directory.rewind()
    directory.settle(late)
    directory.settle(early)
    assert directory.settled_total == 7
    assert directory.read(*ALL)[0] == make_lines(10, size=20)[7:]


def test_the_cursor_is_on_disk_as_described(make):
    directory = make()
    lines = make_lines(5)
    directory.append(lines)
    _, position = directory.read(1 << 20, 3)
    directory.settle(position)
    cursor = struct.unpack("<QQ", (directory.path / "lock").read_bytes())
    assert cursor == (1, len(make_segment(lines[:3])))


def test_a_cursor_that_cannot_be_written_only_means_that_more_is_sent_again(make, monkeypatch):
    directory = make()
    directory.append(make_lines(5))

    def refuse(*args):
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "pwrite", refuse)
        directory.settle(directory.read(1 << 20, 3)[1])
    assert directory.read(*ALL)[0] == make_lines(2, start=3)
    directory.close()
    adopted = SpoolDirectory.adopt(directory.path)
    assert adopted.backlog_lines == 5
    adopted.close()


def test_positions_compare_by_their_place():
    assert Position(1, 900, 9) < Position(2, 8, 0) < Position(2, 9, 1)


# damage under our hands


def test_damaged_lines_leave_the_books_when_their_segment_does(make, clock):
    directory = make()
    lines = make_lines(40, size=50)
    directory.append(lines)
    (path,) = segments_of(directory.path)
    with path.open("r+b") as file:
        file.seek(512)
        file.write(bytes(512))
    clock.advance(5)
    directory.append(make_lines(1, start=40))
    for _ in range(2):
        directory.rewind()
        found, position = directory.read(*ALL)
    assert directory.damage_total == 1
    directory.settle(position)
    lost = 41 - len(found)
    assert 8 <= lost <= 10
    assert (directory.settled_total, directory.damaged_total, directory.backlog_lines) == (41 - lost, lost, 0)


def test_a_file_that_was_cut_under_our_hands_is_damaged(make, clock):
    directory = make()
    directory.append(make_lines(40))
    (path,) = segments_of(directory.path)
    os.truncate(path, 300)
    clock.advance(5)
    directory.append(make_lines(1, start=40))
    lines, position = directory.read(*ALL)
    directory.settle(position)
    assert lines[-1] == make_lines(1, start=40)[0]
    assert directory.damage_total == 1
    assert directory.settled_total + directory.damaged_total == 41


def test_one_bad_sector_of_the_device_costs_only_its_lines(make, monkeypatch):
    directory = make()
    lines = make_lines(1_000, size=50)
    directory.append(lines)
    read = os.pread

    def pread(fd, size, at):
        if size == 16:
            return read(fd, size, at)
        if at <= 10_000 < at + size:
            raise OSError(errno.EIO, "bad sector")
        return read(fd, size, at)

    monkeypatch.setattr(os, "pread", pread)
    found, _ = directory.read(*ALL)
    assert found == [line for line in lines if line in set(found)]
    assert 1_000 - 4096 // 60 < len(found) < 1_000


def test_an_error_that_is_no_bad_sector_is_waited_for(make, monkeypatch):
    directory = make()
    directory.append(make_lines(2))

    def refuse(*args):
        raise OSError(errno.ENOMEM, "no memory")

    with monkeypatch.context() as patch:
        patch.setattr(os, "pread", refuse)
        assert directory.read(*ALL)[0] == []
    assert directory.read(*ALL)[0] == make_lines(2)


def test_a_file_that_cannot_be_opened_now_is_read_later(make, monkeypatch):
    directory = make()
    directory.append(make_lines(2))

    def refuse(*args, **kwargs):
        raise OSError(errno.EMFILE, "too many files")

    with monkeypatch.context() as patch:
        patch.setattr(os, "open", refuse)
        assert directory.read(*ALL)[0] == []
    assert directory.read(*ALL)[0] == make_lines(2)


# files that others remove


def test_a_reader_whose_segment_vanished_goes_on_with_the_next(make):
    directory, lines = make_three_segments(make)
    segments_of(directory.path)[0].unlink()
    assert directory.read(*ALL)[0] == lines[2:]
    assert (directory.dropped_total, directory.backlog_lines) == (2, 4)


def test_the_segment_being_written_may_vanish_too(make):
    directory, lines = make_three_segments(make)
    segments_of(directory.path)[2].unlink()
    assert directory.read(*ALL)[0] == lines[:4]
    directory.append(make_lines(1))
    assert directory.read(*ALL)[0] == make_lines(1)
    assert directory.dropped_total == 2


def test_what_was_read_before_its_file_went_is_settled_and_not_dropped(make):
    directory, _ = make_three_segments(make)
    _, position = directory.read(1 << 20, 1)
    assert directory.drop_oldest() == 1
    assert (directory.dropped_total, directory.backlog_lines) == (1, 5)
    directory.settle(position)
    assert (directory.settled_total, directory.dropped_total, directory.backlog_lines) == (1, 1, 4)


def test_what_was_read_before_its_file_went_is_dropped_by_the_rewind(make):
    directory, lines = make_three_segments(make)
    directory.read(1 << 20, 3)
    assert [directory.drop_oldest(), directory.drop_oldest()] == [0, 1]
    directory.rewind()
    assert (directory.dropped_total, directory.backlog_lines) == (4, 2)
    assert directory.read(*ALL)[0] == lines[4:]


def test_dropping_goes_as_far_as_the_segment_being_written(make):
    directory, _ = make_three_segments(make)
    assert [directory.drop_oldest() for _ in range(4)] == [2, 2, 2, None]
    assert segments_of(directory.path) == []
    assert directory.append(make_lines(1)) == 1
    assert directory.read(*ALL)[0] == make_lines(1)


def test_a_segment_that_cannot_be_unlinked_is_not_dropped(make, monkeypatch):
    directory, lines = make_three_segments(make)

    def refuse(self, *, missing_ok=False):
        raise PermissionError

    with monkeypatch.context() as patch:
        patch.setattr("pathlib.Path.unlink", refuse)
        assert directory.drop_oldest() is None
    assert directory.read(*ALL)[0] == lines


def test_a_directory_that_was_removed_is_noticed_and_closed(make, tmp_path):
    directory, _ = make_three_segments(make)
    assert directory.reconcile() == 0
    for path in directory.path.iterdir():
        path.unlink()
    directory.path.rmdir()
    assert directory.reconcile() == 6
    assert (directory.is_open, directory.dropped_total, directory.backlog_lines) == (False, 6, 0)
    assert directory.append(make_lines(1)) == 0
    assert directory.remove_if_empty()
    assert directory.reconcile() == 0


def test_files_that_cannot_be_looked_at_are_not_taken_as_removed(make, monkeypatch):
    directory, _ = make_three_segments(make)

    def refuse(self):
        raise PermissionError

    with monkeypatch.context() as patch:
        patch.setattr("pathlib.Path.lstat", refuse)
        assert directory.reconcile() == 0
    assert directory.backlog_lines == 6


# the end


def test_a_directory_with_everything_settled_leaves_nothing(make, tmp_path):
    directory, _ = make_three_segments(make)
    directory.settle(directory.read(*ALL)[1])
    directory.close()
    assert names_of(tmp_path) == []
    assert (directory.is_open, directory.is_owned) == (False, False)


def test_a_directory_that_was_never_used_leaves_nothing(make, tmp_path):
    make().close()
    assert names_of(tmp_path) == []


def test_a_directory_with_lines_is_left_to_others(make):
    directory, lines = make_three_segments(make)
    directory.close()
    directory.close()
    assert not is_locked(directory.path)
    assert lines_on_disk(directory.path) == lines
    assert directory.append(lines) == 0
    assert directory.read(*ALL)[0] == []
    assert directory.drop_oldest() is None
    assert not directory.remove_if_empty()


def test_a_closed_directory_cannot_move_the_cursor_of_its_heir(make):
    directory, _ = make_three_segments(make)
    _, position = directory.read(*ALL)
    directory.close()
    directory.settle(position)
    assert (directory.path / "lock").read_bytes() == bytes(16)


def test_a_directory_with_lines_is_not_removed(make):
    directory, lines = make_three_segments(make)
    assert not directory.remove_if_empty()
    assert directory.append(lines) == 6


def test_whoever_writes_for_ever_cannot_hold_up_the_exit(make, monkeypatch):
    directory, _ = make_three_segments(make)
    monkeypatch.setattr(directories, "LOCK_WAIT_S", 0.0)
    monkeypatch.setattr(directory._writer, "lock", HeldLock())
    directory.close()
    assert directory.is_owned
    assert directory.drop_oldest() is None
    segments_of(directory.path)[0].unlink()
    assert directory.reconcile() == 0
    assert directory.read(*ALL)[0] == []


class HeldLock:
    """A lock that somebody else has."""

    def acquire(self, blocking=True, timeout=-1):
        return False
