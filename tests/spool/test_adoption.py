"""What a dead process left, and what may have happened to it."""

import contextlib
import errno
import fcntl
import os

import pytest
from tests.spool.independent import (
    ALL,
    is_locked,
    leave_orphan,
    make_lines,
    make_segment,
    make_three_segments,
    names_of,
)

from hublog.spool.directory import SpoolDirectory
from hublog.spool.locking import SpoolUnavailableError


@pytest.fixture
def orphan(tmp_path):
    """Makes what a dead process left."""

    def make_orphan(*segments, cursor=(0, 0), first=1):
        return leave_orphan(tmp_path, "0000000000000001-00000001", *segments, cursor=cursor, first=first)

    return make_orphan


def test_the_lines_of_a_dead_process_are_taken_over_in_their_order(make):
    directory, lines = make_three_segments(make)
    directory.settle(directory.read(1 << 20, 1)[1])
    directory.close()
    adopted = SpoolDirectory.adopt(directory.path)
    assert is_locked(adopted.path)
    assert (adopted.recovered_total, adopted.backlog_lines) == (5, 5)
    assert adopted.backlog_bytes == len(make_segment(lines[1:], head=b""))
    assert adopted.append(lines) == 0
    found, position = adopted.read(*ALL)
    assert found == lines[1:]
    adopted.settle(position)
    assert adopted.remove_if_empty()
    assert not adopted.path.exists()


def test_the_living_are_not_adopted(make):
    directory, _ = make_three_segments(make)
    assert SpoolDirectory.adopt(directory.path) is None
    assert SpoolDirectory.adopt(directory.path.parent) is None


@pytest.mark.parametrize(
    ("cursor", "left"),
    [
        pytest.param((0, 0), 6, id="never written"),
        pytest.param((2, 8), 6, id="before the first segment that is left"),
        pytest.param((3, 0), 6, id="at its beginning"),
        pytest.param((3, 8 + 2 * 17), 4, id="inside"),
        pytest.param((3, 8 + 3 * 17), 3, id="at its end"),
        pytest.param((4, 8), 3, id="at the next"),
        pytest.param((3, 1 << 40), 6, id="behind the end of the file"),
        pytest.param((5, 8), 6, id="behind the last segment"),
        pytest.param(((1 << 64) - 1, (1 << 64) - 1), 6, id="nowhere"),
    ],
)
def test_a_cursor_is_followed_when_it_points_somewhere(orphan, cursor, left):
    lines = [b'{"n":%03d}' % number for number in range(6)]
    path = orphan(make_segment(lines[:3]), make_segment(lines[3:]), cursor=cursor, first=3)
    adopted = SpoolDirectory.adopt(path)
    assert adopted.backlog_lines == left
    assert adopted.read(*ALL)[0] == lines[6 - left :]
    adopted.close()


def test_a_lock_file_without_a_cursor_means_that_nothing_is_settled(orphan):
    path = orphan(make_segment(make_lines(3)))
    (path / "lock").write_bytes(b"\x01")
    adopted = SpoolDirectory.adopt(path)
    assert adopted.backlog_lines == 3
    adopted.close()


def test_a_cursor_on_a_directory_without_segments_is_no_harm(orphan):
    adopted = SpoolDirectory.adopt(orphan(cursor=(7, 99)))
    assert adopted.read(*ALL)[0] == []
    assert adopted.remove_if_empty()


def test_damage_is_counted_once_however_often_it_is_read(orphan):
    lines = make_lines(4)
    torn = make_segment(lines[:2]) + b"\0" * 99 + make_segment(lines[2:], head=b"")[:-1]
    adopted = SpoolDirectory.adopt(orphan(torn))
    for _ in range(2):
        adopted.rewind()
        found, position = adopted.read(*ALL)
    assert found == lines[:3]
    adopted.settle(position)
    assert (adopted.damage_total, adopted.damaged_total, adopted.settled_total) == (2, 0, 3)
    assert adopted.remove_if_empty()


def test_a_segment_with_nothing_but_damage_is_removed(orphan):
    adopted = SpoolDirectory.adopt(orphan(b"hublog\x00\x01" + bytes(5_000), b"", b"hub"))
    assert (adopted.backlog_lines, adopted.damage_total) == (0, 1)
    assert adopted.read(*ALL)[0] == []
    assert adopted.remove_if_empty()


def test_files_of_other_versions_and_of_others_are_left_in_place(orphan):
    lines = make_lines(4)
    newer = make_segment(lines, head=b"hublog\x00\x03")
    path = orphan(make_segment(lines[:2]), newer, b"PK\x03\x04" + b"zip" * 99, make_segment(lines[2:]))
    os.truncate(path / "00000003.seg", (1 << 26) + 1)
    (path / "00000009.seg").mkdir()
    (path / "notes.txt").write_text("mine")
    adopted = SpoolDirectory.adopt(path)
    assert [file.name for file in adopted.unknown] == ["00000002.seg", "00000003.seg"]
    found, position = adopted.read(*ALL)
    assert found == lines
    adopted.settle(position)
    assert not adopted.remove_if_empty()
    assert names_of(path) == ["00000002.seg", "00000003.seg", "00000009.seg", "lock", "notes.txt"]
    assert (path / "00000002.seg").read_bytes() == newer
    adopted.close()
    assert not is_locked(path)


def test_a_segment_that_cannot_be_read_does_not_stop_the_adoption(orphan, monkeypatch):
    path = orphan(make_segment(make_lines(2)), make_segment(make_lines(2, start=2)), make_segment([b"{}"]))
    opened = os.open

    def refuse(name, *args):
        if str(name).endswith("1.seg"):
            raise PermissionError(errno.EACCES, "no")
        if str(name).endswith("3.seg"):
            raise FileNotFoundError(errno.ENOENT, "taken by the bound")
        return opened(name, *args)

    monkeypatch.setattr(os, "open", refuse)
    adopted = SpoolDirectory.adopt(path)
    assert [file.name for file in adopted.unknown] == ["00000001.seg"]
    assert adopted.read(*ALL)[0] == make_lines(2, start=2)
    adopted.close()


def test_files_that_vanish_while_they_are_listed_are_not_there(orphan, monkeypatch):
    path = orphan(make_segment(make_lines(2)), make_segment(make_lines(2, start=2)))
    listed = os.scandir

    def list_and_unlink(name):
        with listed(name) as found:
            entries = list(found)
        (path / "00000001.seg").unlink(missing_ok=True)
        return contextlib.nullcontext(entries)

    monkeypatch.setattr(os, "scandir", list_and_unlink)
    adopted = SpoolDirectory.adopt(path)
    assert adopted.read(*ALL)[0] == make_lines(2, start=2)
    adopted.close()


def test_a_directory_that_cannot_be_listed_is_told_and_left_free(orphan, monkeypatch):
    path = orphan(make_segment(make_lines(2)))

    def refuse(name):
        raise PermissionError(errno.EACCES, "no entry")

    with monkeypatch.context() as patch:
        patch.setattr(os, "scandir", refuse)
        with pytest.raises(SpoolUnavailableError, match="no entry"):
            SpoolDirectory.adopt(path)
    assert not is_locked(path)


def test_a_lock_file_that_cannot_be_locked_is_told(orphan, monkeypatch):
    path = orphan(make_segment(make_lines(2)))

    def refuse(fd, how):
        raise OSError(errno.ENOLCK, "No locks available")

    with monkeypatch.context() as patch:
        patch.setattr(fcntl, "flock", refuse)
        with pytest.raises(SpoolUnavailableError, match="No locks available"):
            SpoolDirectory.adopt(path)


def test_an_interruption_of_the_adoption_leaves_the_directory_free(orphan, monkeypatch):
    path = orphan(make_segment(make_lines(2)))

    def interrupt(name):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(os, "scandir", interrupt)
        with pytest.raises(KeyboardInterrupt):
            SpoolDirectory.adopt(path)
    assert not is_locked(path)
