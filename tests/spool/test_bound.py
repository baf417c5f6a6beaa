import errno
import os

from tests.spool.independent import (
    ALL,
    KIB,
    A,
    leave_orphan,
    lines_of,
    lines_on_disk,
    make_lines,
    make_segment,
    names_of,
    segment_bytes,
    segments_of,
)


def fill(root, count=100, size=KIB):
    """Several segments of about 5 KiB."""
    directory = root.create_directory()
    assert directory.append(make_lines(count, size=size)) == count
    return directory


def test_segments_are_small_against_the_bound(make_root):
    sizes = [make_root(max_bytes=size).rules.max_bytes for size in (1, 160 * KIB, 1 << 28)]
    assert sizes == [4 * KIB, 10 * KIB, 1 << 20]


def test_the_oldest_lines_go_and_every_one_is_counted(make_root):
    root = make_root(max_bytes=80 * KIB)
    root.prepare()
    directory = fill(root)
    dropped = root.enforce_bound()
    assert segment_bytes(root.path) <= 80 * KIB
    kept = lines_on_disk(directory.path)
    assert kept == make_lines(100, size=KIB)[dropped:]
    assert dropped == directory.dropped_total
    assert directory.backlog_lines == len(kept) > 60
    assert directory.read(*ALL)[0] == kept
    assert root.enforce_bound() == 0


def test_the_oldest_owner_loses_first_whoever_it_is(make_root):
    root = make_root(max_bytes=80 * KIB, age=20)
    root.prepare()
    settled = len(make_segment(make_lines(1, size=KIB)))
    dead = leave_orphan(root.path, A, *[make_segment(make_lines(5, size=KIB))] * 4, cursor=(1, settled))
    old = fill(make_root(max_bytes=80 * KIB, age=10), count=40)
    young = fill(root, count=60)
    before = len(segments_of(old.path))
    dropped = root.enforce_bound()
    assert segment_bytes(root.path) <= 80 * KIB
    assert not dead.exists()
    assert 0 < len(segments_of(old.path)) < before
    assert young.dropped_total == 0
    old.reconcile()
    assert dropped == 4 * 5 - 1 + old.dropped_total
    assert old.read(*ALL)[0] == lines_on_disk(old.path)


def test_the_segment_that_a_living_process_writes_is_left_to_it(make_root):
    root = make_root(max_bytes=4 * KIB, age=20)
    root.prepare()
    living = fill(make_root(max_bytes=80 * KIB, age=10), count=40)
    last = segments_of(living.path)[-1]
    kept = len(lines_of(last.read_bytes()))
    assert root.enforce_bound() == 40 - kept
    assert segments_of(living.path) == [last]
    assert living.append(make_lines(1)) == 1
    assert len(living.read(*ALL)[0]) == kept + 1
    assert living.dropped_total == 40 - kept


def test_our_own_last_segment_goes_too_and_writing_goes_on(make_root):
    root = make_root(max_bytes=1)
    root.prepare()
    directory = fill(root, count=3)
    assert root.enforce_bound() == 3
    assert segment_bytes(root.path) == 0
    assert directory.append(make_lines(1)) == 1
    assert directory.read(*ALL)[0] == make_lines(1)


def test_our_adopted_lines_are_dropped_with_their_books(make_root):
    root = make_root(max_bytes=8 * KIB)
    root.prepare()
    leave_orphan(root.path, A, *[make_segment(make_lines(5, size=KIB))] * 2)
    (adopted,) = root.adopt_orphans()
    assert root.enforce_bound() == 5
    assert (adopted.dropped_total, adopted.backlog_lines) == (5, 5)


def test_what_is_settled_already_does_not_count_as_dropped(make_root):
    root = make_root(max_bytes=1)
    root.prepare()
    size = len(make_segment(make_lines(5)))
    leave_orphan(root.path, A, make_segment(make_lines(5)), make_segment(make_lines(5)), cursor=(2, size))
    assert root.enforce_bound() == 0
    assert names_of(root.path) == []


def test_files_of_another_version_are_not_dropped_nor_held_against_us(make_root):
    root = make_root(max_bytes=80 * KIB)
    root.prepare()
    newer = make_segment(make_lines(100, size=KIB), head=b"hublog\x00\x03")
    path = leave_orphan(root.path, A, newer)
    directory = fill(root, count=40)
    assert root.enforce_bound() == 0
    assert root.unknown == {path / "00000001.seg"}
    assert directory.backlog_lines == 40
    assert segment_bytes(root.path) - len(newer) < 80 * KIB


def test_who_is_faster_at_dropping_counts(make_root, monkeypatch):
    root = make_root(max_bytes=1)
    root.prepare()
    path = leave_orphan(root.path, A, make_segment(make_lines(5)), make_segment(make_lines(7)))
    real_read = os.pread

    def read(fd, size, at):
        if at > 0 or size > 16:
            (path / "00000001.seg").unlink(missing_ok=True)
        return real_read(fd, size, at)

    monkeypatch.setattr(os, "pread", read)
    assert root.enforce_bound() == 7


def test_a_segment_that_cannot_be_dropped_is_kept(make_root, monkeypatch):
    root = make_root(max_bytes=1)
    root.prepare()
    leave_orphan(root.path, A, make_segment(make_lines(5)))
    opened = os.open

    def refuse(path, *args, **kwargs):
        if str(path).endswith(".seg"):
            raise PermissionError(errno.EACCES, "no")
        return opened(path, *args, **kwargs)

    with monkeypatch.context() as patch:
        patch.setattr(os, "open", refuse)
        assert root.enforce_bound() == 0
        assert root.make_room() == 0
    assert root.enforce_bound() == 5


def test_room_is_made_by_the_oldest_segment_that_can_go(make_root):
    root = make_root(max_bytes=80 * KIB, age=20)
    root.prepare()
    living = fill(make_root(age=10), count=3)
    own = fill(root, count=40)
    first = len(lines_of(segments_of(own.path)[0].read_bytes()))
    assert root.make_room() == first == own.dropped_total
    assert living.backlog_lines == 3
