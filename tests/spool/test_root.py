import errno
import fcntl
import os
import re
import resource
import shutil
import stat
import tempfile
from pathlib import Path

import pytest
from tests.spool.independent import (
    ALL,
    A,
    B,
    C,
    leave_orphan,
    make_lines,
    make_segment,
    names_of,
    segments_of,
)

from hublog.settings import SyncPolicy
from hublog.spool import locking
from hublog.spool.directory import SpoolDirectory
from hublog.spool.locking import SpoolUnavailableError

# preparing


@pytest.mark.parametrize("umask", [0, 0o077, 0o777])
def test_the_root_is_made_for_its_owner_alone(make_root, tmp_path, umask):
    (tmp_path / "a").mkdir()
    root = make_root(path=tmp_path / "a" / "spool")
    before = os.umask(umask)
    try:
        root.prepare()
    finally:
        os.umask(before)
    assert stat.S_IMODE(root.path.stat().st_mode) == 0o700
    assert names_of(root.path) == []
    root.prepare()


def test_missing_parents_are_made(make_root, tmp_path):
    root = make_root(path=tmp_path / "var" / "log" / "spool")
    root.prepare()
    assert root.create_directory().append(make_lines(1)) == 1


def test_a_root_that_is_there_keeps_its_mode(make_root, tmp_path):
    path = tmp_path / "spool"
    path.mkdir()
    path.chmod(0o750)
    make_root(path=path).prepare()
    assert stat.S_IMODE(path.stat().st_mode) == 0o750


def assert_unavailable(root, *words):
    with pytest.raises(SpoolUnavailableError) as caught:
        root.prepare()
    message = str(caught.value)
    assert "\n" not in message
    assert str(root.path) in message
    for word in (*words, "EVENTHUB_LOG_SPOOL"):
        assert word in message


def test_a_root_that_is_a_file_is_told_and_a_repair_is_picked_up(make_root, tmp_path):
    root = make_root()
    root.path.write_text("a file")
    assert_unavailable(root, "File exists", "must be a directory")
    root.path.unlink()
    root.prepare()
    assert root.create_directory().append(make_lines(1)) == 1


def test_a_root_below_a_file_is_told(make_root, tmp_path):
    (tmp_path / "file").write_text("")
    assert_unavailable(make_root(path=tmp_path / "file" / "spool"), "irectory")


@pytest.fixture
def ordinary():
    """A directory of an ordinary user, who this process is meanwhile: the administrator may do all."""
    path = Path(tempfile.mkdtemp())
    is_root = os.geteuid() == 0
    if is_root:
        os.chown(path, 65_534, 65_534)
        os.seteuid(65_534)
    yield path
    if is_root:
        os.seteuid(0)
    (path / "spool").chmod(0o700)
    shutil.rmtree(path)


@pytest.mark.parametrize("mode", [0o000, 0o500], ids=["unreadable", "read-only"])
def test_a_root_that_cannot_be_written_is_told_and_a_repair_is_picked_up(make_root, ordinary, mode):
    root = make_root(path=ordinary / "spool")
    root.path.mkdir()
    root.path.chmod(mode)
    assert_unavailable(root, "Permission denied", f"uid {os.geteuid()}")
    with pytest.raises(SpoolUnavailableError, match="Permission denied"):
        root.create_directory()
    assert root.adopt_orphans() == []
    assert root.enforce_bound() == 0
    root.path.chmod(0o700)
    root.prepare()
    assert names_of(root.path) == []


def test_a_root_of_another_owner_is_told(make_root, monkeypatch):
    root = make_root()
    root.path.mkdir()
    uid = os.geteuid()
    monkeypatch.setattr(os, "geteuid", lambda: uid + 1)
    assert_unavailable(root, f"belongs to uid {uid}", f"runs as uid {uid + 1}")


def test_a_root_that_everybody_may_write_is_refused_and_told(make_root):
    root = make_root()
    root.path.mkdir()
    root.path.chmod(0o777)
    assert_unavailable(root, "its mode is 0777, so every user may rename what is in it", "Make it 0700")
    root.path.chmod(0o1777)  # nobody may rename what belongs to others
    root.prepare()
    root.path.chmod(0o2775)  # Kubernetes makes the volume of a group so
    root.prepare()


def test_a_read_only_file_system_is_told(make_root, monkeypatch):
    root = make_root()
    root.path.mkdir()

    def refuse(path, mode=0o777, **kwargs):
        raise OSError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr("pathlib.Path.mkdir", refuse)
    assert_unavailable(root, "Read-only file system")


@pytest.mark.parametrize(
    ("answers", "words"),
    [
        pytest.param([OSError(errno.ENOLCK, "No locks available")], "No locks available", id="refused"),
        pytest.param(
            [None, OSError(errno.EIO, "lock manager lost")], "lock manager lost", id="second refused"
        ),
        pytest.param([None, None], "one lock to two owners", id="pretended"),
    ],
)
def test_a_file_system_without_locks_is_told_and_nothing_is_left_there(
    make_root, monkeypatch, answers, words
):
    def pretend(fd, how):
        answer = answers.pop(0) if answers and how != fcntl.LOCK_UN else None
        if answer is not None:
            raise answer

    monkeypatch.setattr(fcntl, "flock", pretend)
    root = make_root()
    assert_unavailable(root, words)
    assert names_of(root.path) == []


def test_a_directory_that_cannot_be_locked_is_not_made(root, monkeypatch):
    def refuse(fd, how):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", refuse)
    with pytest.raises(SpoolUnavailableError, match="No locks available"):
        root.create_directory()
    assert names_of(root.path) == []


def test_a_lock_can_be_given_back_twice(root):
    claim = locking.take(leave_orphan(root.path, A))
    claim.release()
    claim.release()
    assert not claim.is_held


def test_files_that_may_have_no_size_are_told(make_root):
    root = make_root()
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1_000, before[1]))
    try:
        assert_unavailable(root, "1000 bytes", "RLIMIT_FSIZE")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


# making directories


@pytest.mark.parametrize("sync", list(SyncPolicy))
def test_a_directory_of_the_root_is_named_by_its_time(make_root, sync):
    root = make_root(sync=sync)
    root.prepare()
    directory = root.create_directory()
    assert re.fullmatch(f"{1_000_000:016x}-[0-9a-f]{{8}}", directory.path.name)
    assert directory.append(make_lines(2)) == 2


def test_a_creator_that_was_taken_for_dead_begins_anew(root, monkeypatch):
    """Each step of making a directory may meet somebody who cleans up: see ``clean_hidden``."""
    steps = []
    real_flock, real_mkdir = fcntl.flock, Path.mkdir

    def flock(fd, how):
        if not steps:
            steps.append("locked by the cleaner")
            raise BlockingIOError
        real_flock(fd, how)

    def mkdir(path, *args, **kwargs):
        real_mkdir(path, *args, **kwargs)
        if len(steps) == 1:
            steps.append("removed by the cleaner")
            path.rmdir()

    monkeypatch.setattr(fcntl, "flock", flock)
    monkeypatch.setattr(Path, "mkdir", mkdir)
    directory = root.create_directory()
    assert len(steps) == 2
    assert directory.append(make_lines(1)) == 1


def test_a_root_in_which_nothing_stays_is_told(root, monkeypatch):
    mkdir = Path.mkdir

    def vanish(path, *args, **kwargs):
        mkdir(path, *args, **kwargs)
        path.rmdir()

    monkeypatch.setattr(Path, "mkdir", vanish)
    assert_unavailable(root, "vanishes")


def test_names_that_are_taken_are_not_used(root, monkeypatch):
    numbers = iter([b"\0\0\0\1", b"\0\0\0\1", b"\0\0\0\2"])
    monkeypatch.setattr(os, "urandom", lambda size: next(numbers))
    (root.path / f".{1_000_000:016x}-00000001").mkdir()
    assert root.create_directory().path.name.endswith("-00000002")


def test_a_change_of_the_working_directory_changes_nothing(make_root, tmp_path, monkeypatch):
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path)
    root = make_root(path=Path("logs/spool"))
    root.prepare()
    directory = root.create_directory()
    lonely = SpoolDirectory.create(Path("logs/spool"))
    monkeypatch.chdir("elsewhere")
    for each in (directory, lonely):
        assert each.append(make_lines(2)) == 2
        assert each.read(*ALL)[0] == make_lines(2)
        each.close()
    assert len(root.adopt_orphans()) == 2
    assert names_of(tmp_path) == ["elsewhere", "logs"]


# adoption


def test_only_the_lines_of_the_dead_are_adopted_oldest_first(root, make_root):
    living = make_root().create_directory()
    living.append(make_lines(1))
    leave_orphan(root.path, B, make_segment(make_lines(2)))
    leave_orphan(root.path, A, make_segment(make_lines(3)))
    own = root.create_directory()
    adopted = root.adopt_orphans()
    assert [directory.path.name for directory in adopted] == [A, B]
    assert [directory.backlog_lines for directory in adopted] == [3, 2]
    assert root.adopt_orphans() == []
    assert make_root().adopt_orphans() == []
    assert (own.is_open, living.is_open) == (True, True)


def test_what_an_adopter_left_behind_is_adopted_again(root, make_root):
    leave_orphan(root.path, A, make_segment(make_lines(5)))
    (first,) = root.adopt_orphans()
    lines, position = first.read(1 << 20, 2)
    first.settle(position)
    first.read(1 << 20, 2)
    first.close()
    (second,) = make_root().adopt_orphans()
    assert lines + second.read(*ALL)[0] == make_lines(5)


def test_what_is_empty_is_removed(root):
    leave_orphan(root.path, A)
    leave_orphan(root.path, B, make_segment(make_lines(2)), cursor=(1, len(make_segment(make_lines(2)))))
    (root.path / C).mkdir()
    assert root.adopt_orphans() == []
    assert names_of(root.path) == []


def test_what_dead_creators_left_is_removed_and_what_the_living_make_is_not(root, make_root):
    (root.path / f".{A}").mkdir()
    hidden = root.path / f".{B}"
    hidden.mkdir()
    (hidden / "lock").write_bytes(b"")
    living = leave_orphan(root.path, f".{C}")
    fd = os.open(living / "lock", os.O_RDWR)
    fcntl.flock(fd, fcntl.LOCK_EX)
    assert root.adopt_orphans() == []
    assert names_of(root.path) == [f".{C}"]
    os.close(fd)
    assert root.adopt_orphans() == []
    assert names_of(root.path) == []


def test_a_hidden_directory_with_anything_in_it_is_left(root):
    hidden = leave_orphan(root.path, f".{A}", make_segment(make_lines(2)))
    root.adopt_orphans()
    root.adopt_orphans()
    assert names_of(hidden) == ["00000001.seg", "lock"]


def test_what_is_not_ours_in_the_root_is_not_touched(root):
    (root.path / "lost+found").mkdir()
    (root.path / "notes.txt").write_text("mine")
    (root.path / A).write_text("a file")
    assert root.adopt_orphans() == []
    assert root.enforce_bound() == 0
    assert names_of(root.path) == [A, "lost+found", "notes.txt"]


def test_segments_without_a_lock_file_may_be_in_use_and_are_left(root):
    path = leave_orphan(root.path, A, make_segment(make_lines(2)))
    (path / "lock").unlink()
    assert root.adopt_orphans() == []
    assert root.unknown == {path}
    assert names_of(path) == ["00000001.seg"]


def test_files_of_another_version_are_told_and_left(root, make_root):
    path = leave_orphan(root.path, A, make_segment(make_lines(2), head=b"hublog\x00\x03"))
    for _ in range(2):
        assert root.adopt_orphans() == []
        assert root.unknown == {path, path / "00000001.seg"}
    assert names_of(path) == ["00000001.seg", "lock"]
    (path / "00000001.seg").unlink()
    assert make_root().adopt_orphans() == []
    assert names_of(root.path) == []


def test_a_directory_removed_at_the_same_moment_is_no_harm(root, monkeypatch):
    leave_orphan(root.path, A)
    (root.path / B).mkdir()
    take = locking.take

    def take_late(path):
        if path.name == B:
            path.rmdir()
        return take(path)

    monkeypatch.setattr(locking, "take", take_late)
    assert root.adopt_orphans() == []
    assert root.unknown == set()


def test_a_lock_that_waits_for_a_removed_directory_is_given_back(root):
    path = leave_orphan(root.path, A)
    real_flock = fcntl.flock

    def flock(fd, how):
        if how != fcntl.LOCK_UN and (path / "lock").exists():
            (path / "lock").unlink()
        real_flock(fd, how)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fcntl, "flock", flock)
        assert locking.take(path) is None


def test_damage_in_what_is_removed_at_once_is_counted_too(root):
    leave_orphan(root.path, A, make_segment([]) + bytes(5_000))
    leave_orphan(root.path, B, make_segment(make_lines(2)) + b"torn")
    (adopted,) = root.adopt_orphans()
    assert adopted.backlog_lines == 2
    assert root.damage_total == 2


def test_a_lock_that_cannot_be_looked_at_gives_no_cursor(tmp_path):
    assert locking.peek_cursor(tmp_path) == (0, 0)


def test_a_lock_that_cannot_be_opened_does_not_stop_the_others(root, monkeypatch):
    leave_orphan(root.path, A, make_segment(make_lines(2)))
    leave_orphan(root.path, B, make_segment(make_lines(3)))
    opened = os.open

    def refuse(path, *args):
        if A in str(path) and Path(path).name == "lock":
            raise PermissionError(errno.EACCES, "no")
        return opened(path, *args)

    monkeypatch.setattr(os, "open", refuse)
    assert [directory.backlog_lines for directory in root.adopt_orphans()] == [3]


def test_a_directory_that_cannot_be_removed_is_closed_and_left(root, monkeypatch):
    path = leave_orphan(root.path, A)

    def refuse(self):
        raise PermissionError

    with monkeypatch.context() as patch:
        patch.setattr(Path, "rmdir", refuse)
        assert root.adopt_orphans() == []
    assert root.unknown == {path}


# the end


def test_directories_that_were_closed_are_forgotten(root):
    first = root.create_directory()
    first.close()
    root.create_directory()
    assert len(root._own) == 1


def test_a_child_closes_what_it_inherited(root):
    directory = root.create_directory()
    directory.append(make_lines(3))
    root.abandon_after_fork()
    assert (directory.is_open, directory.is_owned) == (False, False)
    assert directory.append(make_lines(1)) == 0
    adopted = SpoolDirectory.adopt(directory.path)
    assert adopted.backlog_lines == 3
    adopted.close()


# What somebody has put in the place of ours.


def test_a_link_in_place_of_an_owner_is_not_followed(root, tmp_path):
    outside = tmp_path / "outside"
    outside.mkdir()
    target = leave_orphan(outside, A, make_segment(make_lines(3)))
    (root.path / B).symlink_to(target)
    assert root.adopt_orphans() == []
    assert root.unknown == {root.path / B}
    assert root.make_room() == 0
    assert len(segments_of(target)) == 1


@pytest.mark.timeout(20)
def test_a_pipe_in_place_of_a_lock_keeps_nobody_waiting(root):
    path = leave_orphan(root.path, A, make_segment(make_lines(3)))
    (path / "lock").unlink()
    os.mkfifo(path / "lock")
    assert root.adopt_orphans() == []
    root.enforce_bound()
    assert len(segments_of(path)) == 1


def test_a_settled_file_of_another_version_is_left_alone(root):
    newer = make_segment(make_lines(3), head=b"hublog\x00\x03")
    path = leave_orphan(root.path, A, newer, make_segment(make_lines(2)), cursor=(2, 8))
    (adopted,) = root.adopt_orphans()
    assert root.unknown == {path / "00000001.seg"}
    assert adopted.backlog_lines == 2
    assert (path / "00000001.seg").read_bytes() == newer
