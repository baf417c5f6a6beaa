import errno
import logging
import os
import shutil
from pathlib import Path

import pytest
from tests.delivery.bench import ids_on_disk, line_of
from tests.spool.independent import A, B, envelope, leave_orphan, make_segment, names_of

from hublog.delivery.accounting import Accounting, Drop
from hublog.delivery.disk_store import IDLE_LOOK_S, LOOK_S, SYNC_S, DiskStore
from hublog.delivery.spool_access import OTHERS_S, RETRY_S
from hublog.line import SENT_AT_BYTES
from hublog.settings import Packing, SyncPolicy
from hublog.spool.envelope import Destination, Envelope
from hublog.testing import FakeClock

ANY = {"max_lines": 1 << 30, "max_bytes": 1 << 30}


def lines(count, *, start=0, size=20):
    return [line_of(f"n{number}", size=size) for number in range(start, start + count)]


class Disk:
    """A spooler, and what it told."""

    def __init__(self, path, *, clock=None, max_bytes=1 << 28, sync=SyncPolicy.NONE, envelope=None):
        self.path = path
        self.clock = clock or FakeClock()
        self.told = []
        self.accounting = Accounting()
        self.spooler = DiskStore(
            path,
            max_bytes=max_bytes,
            sync=sync,
            accounting=self.accounting,
            report=lambda level, text: self.told.append((logging.getLevelName(level), text)),
            now=self.clock,
            wall=self.clock,
            envelope=envelope,
        )

    def look(self):
        """Let the next look come."""
        self.clock.advance(LOOK_S)
        self.spooler.maintain()

    @property
    def held(self):
        return self.spooler.counts().spooled


@pytest.fixture
def path(tmp_path):
    return tmp_path / "logs" / "spool"


@pytest.fixture
def make(path):
    made = []

    def make_disk(**options):
        made.append(Disk(path, **options))
        return made[-1]

    yield make_disk
    for disk in made:
        disk.spooler.close()


@pytest.fixture
def disk(make):
    return make()


# What is written.


def test_nothing_is_made_before_the_first_line(disk, path):
    assert not path.exists()
    disk.spooler.append(lines(1))
    assert len(names_of(path)) == 1


def test_what_is_written_comes_back_through_the_live_log(disk):
    assert disk.spooler.append(lines(5)) == 5
    assert len(disk.spooler.live) == 5
    batch = disk.spooler.live.take(max_lines=3, max_bytes=1 << 20)
    assert batch.lines == lines(3)
    disk.spooler.settle(batch)
    assert (len(disk.spooler.live), disk.held) == (2, 2)


def test_a_line_counts_with_what_packing_adds(disk):
    disk.spooler.append(lines(5))
    size = len(lines(1)[0])
    assert len(disk.spooler.live.take(max_lines=5, max_bytes=2 * (size + SENT_AT_BYTES) - 1).lines) == 1
    assert len(disk.spooler.live.take(max_lines=5, max_bytes=2 * (size + SENT_AT_BYTES)).lines) == 2


def test_what_was_not_settled_is_taken_again(disk):
    disk.spooler.append(lines(5))
    disk.spooler.live.take(**ANY)
    assert disk.spooler.live.take(**ANY) is None
    disk.spooler.rewind()
    assert disk.spooler.live.take(**ANY).lines == lines(5)


def test_what_is_retired_is_counted_at_every_moment(disk):
    class Watched(list):
        def append(self, directory):
            found.append(disk.spooler.on_disk_lines)
            super().append(directory)
            found.append(disk.spooler.on_disk_lines)

    found = []
    disk.spooler.append(lines(5))
    disk.spooler._stored = Watched()
    disk.spooler.retire()
    found.append(disk.spooler.on_disk_lines)
    assert min(found) == 5


def test_what_is_retired_waits_beside_what_is_new(disk):
    disk.spooler.append(lines(5))
    disk.spooler.retire()
    disk.spooler.append(lines(2, start=5))
    assert (disk.spooler.stored_lines, len(disk.spooler.live)) == (5, 2)
    assert disk.spooler.live.take(**ANY).lines == lines(2, start=5)
    batch = disk.spooler.take_stored(**ANY)
    assert batch.lines == lines(5)
    disk.spooler.settle(batch)
    assert disk.held == 2


def test_a_settled_directory_is_gone(disk, path):
    disk.spooler.append(lines(5))
    disk.spooler.retire()
    disk.spooler.settle(disk.spooler.take_stored(**ANY))
    assert names_of(path) == []


def test_each_insured_group_is_settled_by_itself(disk, path):
    first, second = disk.spooler.insure([lines(3), lines(2, start=3)])
    assert ids_on_disk(path) == [f"n{number}" for number in range(5)]
    assert disk.spooler.stored_lines == 0, "they are on their way"
    disk.spooler.settle(first)
    assert ids_on_disk(path) == ["n3", "n4"]
    disk.spooler.rewind()
    assert disk.spooler.take_stored(**ANY).lines == lines(2, start=3)
    disk.spooler.settle(second)
    assert names_of(path) == []


def test_new_lines_do_not_stand_between_insured_ones(disk):
    disk.spooler.append(lines(3, start=100))
    (batch,) = disk.spooler.insure([lines(3)])
    disk.spooler.append(lines(3, start=103))
    disk.spooler.settle(batch)
    assert disk.held == 6


def test_a_mark_is_past_when_what_was_there_is_settled(disk):
    disk.spooler.append(lines(3))
    mark = disk.spooler.mark()
    disk.spooler.append(lines(3, start=3))
    batch = disk.spooler.live.take(max_lines=3, max_bytes=1 << 20)
    assert not disk.spooler.is_past(mark)
    disk.spooler.settle(batch)
    assert disk.spooler.is_past(mark)
    assert not disk.spooler.is_past(disk.spooler.mark())


def test_a_mark_follows_lines_that_are_written_anew(disk):
    disk.spooler.append(lines(3))
    mark = disk.spooler.mark()
    batch = disk.spooler.live.take(**ANY)
    assert disk.spooler.rewrite(batch.lines[1:])
    disk.spooler.settle(batch)
    assert not disk.spooler.is_past(mark)
    disk.spooler.settle(disk.spooler.live.take(**ANY))
    assert disk.spooler.is_past(mark)
    assert disk.spooler.counts().accepted_total == 3


def test_an_urgent_line_wakes_and_others_at_the_border(disk):
    woken = []
    disk.spooler.append(lines(1))
    disk.spooler.live.wake = lambda: woken.append(1)
    disk.spooler.live.wake_at = 3
    disk.spooler.live.put(line_of("a"))
    assert woken == []
    disk.spooler.live.put(line_of("b", logging.ERROR), logging.ERROR)
    assert (woken, disk.spooler.live.urgent) == ([1], True)
    disk.spooler.live.put(line_of("c"))
    assert woken == [1, 1]


# What is left and taken over.


def test_an_empty_spool_is_left_empty(disk, path):
    disk.spooler.append(lines(3))
    disk.spooler.settle(disk.spooler.live.take(**ANY))
    disk.spooler.close()
    assert names_of(path) == []


def test_lines_that_come_after_the_end_go_to_a_new_directory(disk, path):
    disk.spooler.append(lines(3))
    disk.spooler.close()
    disk.spooler.append(lines(2, start=3))
    assert len(names_of(path)) == 2
    assert (disk.held, disk.spooler.on_disk_lines) == (5, 2)


def test_what_we_left_and_take_up_again_is_not_new(disk):
    disk.spooler.append(lines(3))
    disk.spooler.close()
    disk.look()
    assert disk.spooler.counts() == (3, 0, 3)
    assert disk.spooler.take_stored(**ANY).lines == lines(3)


def test_dead_owners_are_taken_over_oldest_first(disk, path):
    path.mkdir(parents=True)
    leave_orphan(path, B, make_segment(lines(2, start=2)))
    leave_orphan(path, A, make_segment(lines(2)))
    disk.spooler.maintain()
    assert disk.spooler.counts() == (0, 4, 4)
    assert disk.spooler.take_stored(**ANY).lines == lines(2)


def test_at_its_end_a_process_takes_over_nothing(disk, path):
    path.mkdir(parents=True)
    leave_orphan(path, A, make_segment(lines(2)))
    disk.spooler.adopts = False
    disk.look()
    assert disk.spooler.stored_lines == 0


def test_a_large_inheritance_is_taken_in_parts_without_a_pause(disk, path, monkeypatch):
    monkeypatch.setattr("hublog.delivery.spool_access.ADOPTED_BYTES", 100)
    monkeypatch.setattr("hublog.delivery.disk_store.ADOPTED_BYTES", 100)
    path.mkdir(parents=True)
    for name in (A, B):
        leave_orphan(path, name, make_segment(lines(5)))
    disk.spooler.maintain()
    assert (disk.spooler.stored_lines, disk.spooler.wait_s()) == (5, 0.0)
    disk.spooler.maintain()
    assert disk.spooler.stored_lines == 10


# The bound.


def test_the_oldest_lines_go_at_the_bound_and_are_counted(make, path):
    disk = make(max_bytes=100_000)
    disk.spooler.append_or_drop(lines(400, size=500))
    disk.spooler.append_or_drop(lines(400, start=400, size=500))
    disk.spooler.maintain()
    left = ids_on_disk(path)
    assert sum(file.stat().st_size for file in path.rglob("*.seg")) <= 110_000
    assert left[-1] == "n799"
    assert disk.accounting.drops().totals == {Drop.SPOOL_FULL: 800 - len(left)}
    assert disk.spooler.counts() == (800, 0, len(left))


def test_lost_lines_are_held_until_they_are_in_the_book_of_drops(make):
    disk = make(max_bytes=100_000)
    disk.spooler.append_or_drop(lines(400, size=500))
    disk.spooler._keep_bound()
    assert disk.held + sum(disk.accounting.drops().totals.values()) == 400
    disk.look()
    assert disk.held + sum(disk.accounting.drops().totals.values()) == 400
    assert disk.held < 400


def test_a_writer_that_passes_the_bound_asks_for_a_look(make):
    disk = make(max_bytes=100_000)
    disk.spooler.append(lines(1))
    disk.look()
    woken = []
    disk.spooler.live.wake = lambda: woken.append(1)
    for start in range(0, 400, 50):
        disk.spooler.append(lines(50, start=start, size=500))
    assert woken == [1]
    assert disk.spooler.wait_s() < LOOK_S / 2


def test_a_process_at_rest_looks_less_often_and_a_busy_one_at_once_again(make):
    disk = make()
    disk.spooler.maintain()
    for wait_s in (LOOK_S, 2 * LOOK_S, IDLE_LOOK_S, IDLE_LOOK_S):
        assert disk.spooler.wait_s() == pytest.approx(wait_s)
        disk.clock.advance(wait_s)
        disk.spooler.maintain()
    disk.clock.advance(0.5)
    for _ in range(3):
        disk.spooler.maintain()  # a record has come, and what it brings about
    assert disk.spooler.wait_s() == pytest.approx(LOOK_S)
    disk.clock.advance(LOOK_S)
    disk.spooler.maintain()
    assert disk.spooler.wait_s() == pytest.approx(LOOK_S)


def test_lines_of_dead_owners_that_the_bound_takes_are_adopted_and_dropped(make, path):
    path.mkdir(parents=True)
    leave_orphan(path, A, *[make_segment(lines(100, size=500))] * 4)
    disk = make(max_bytes=100_000)
    disk.spooler.append_or_drop(lines(400, size=500))
    disk.look()
    counts = disk.spooler.counts()
    assert counts.accepted_total + counts.recovered_total == counts.spooled + sum(
        disk.accounting.drops().totals.values()
    )
    assert counts.recovered_total == 400


# A disk that does not do what it should.


def fail_writes(monkeypatch, number):
    def fail(fd, data):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "write", fail)


def test_a_full_disk_loses_the_oldest_segment_first(make, path, monkeypatch):
    disk = make(max_bytes=100_000)
    disk.spooler.append_or_drop(lines(100, size=500))
    real, left = os.write, [60_000]

    def write(fd, data):
        used = sum(file.stat().st_size for file in path.rglob("*.seg"))
        if used + len(data) > left[0]:
            raise OSError(errno.ENOSPC, "No space left on device")
        return real(fd, data)

    monkeypatch.setattr(os, "write", write)
    assert disk.spooler.append_or_drop(lines(50, start=100, size=500)) == 50
    disk.look()
    assert ids_on_disk(path)[-1] == "n149"
    assert disk.accounting.drops().totals[Drop.SPOOL_FULL] + len(ids_on_disk(path)) == 150


def test_a_disk_that_refuses_is_told_once_a_minute_and_taken_again(disk, monkeypatch):
    disk.spooler.append(lines(1))
    with monkeypatch.context() as patch:
        fail_writes(patch, errno.EIO)
        for _ in range(30):
            assert disk.spooler.append(lines(1)) == 0
            disk.look()
    (told,) = disk.told
    assert told[0] == "WARNING"
    assert "cannot be written" in told[1]
    disk.look()
    assert disk.spooler.append(lines(1)) == 1


@pytest.mark.parametrize("trouble", ["a file", "not writable", "a dangling link"])
def test_a_root_that_cannot_be_used_is_told_once_and_tried_again(disk, path, trouble):
    path.parent.mkdir()
    if trouble == "a file":
        path.write_text("in the way")
    elif trouble == "a dangling link":
        path.symlink_to(path.parent / "nowhere" / "deep")
    else:
        path.parent.rmdir()
        path.parent.write_text("in the way")
    for _ in range(10):
        assert disk.spooler.append(lines(1)) == 0
        disk.look()
    assert [level for level, _ in disk.told] == ["WARNING"]
    assert "EVENTHUB_LOG_SPOOL_DIR" in disk.told[0][1]
    assert "memory only" in disk.told[0][1]
    (path.parent if trouble == "not writable" else path).unlink()
    disk.clock.advance(RETRY_S)
    disk.look()
    assert disk.spooler.append(lines(1)) == 1
    assert disk.told[1] == ("INFO", f"The spool directory {path} can be used again.")


def test_a_root_that_somebody_removes_is_made_again(disk, path):
    disk.spooler.append(lines(3))
    shutil.rmtree(path)
    disk.look()
    assert disk.spooler.append(lines(2, start=3)) == 2
    assert ids_on_disk(path) == ["n3", "n4"]
    disk.look()
    assert disk.spooler.counts() == (5, 0, 2)
    assert disk.accounting.drops().totals == {Drop.SPOOL_FULL: 3}


def test_what_cannot_be_read_is_told_once_and_all_around_it_is_sent(disk, path):
    path.mkdir(parents=True)
    good = make_segment(lines(30))
    hurt = good[:800] + b"\0" * 200 + good[1000:]
    leave_orphan(path, A, hurt, b"something else that is no segment at all")
    for _ in range(5):
        disk.look()
    assert [level for level, _ in disk.told] == ["WARNING", "WARNING"]
    assert "another version" in disk.told[0][1] or "another version" in disk.told[1][1]
    batch = disk.spooler.take_stored(**ANY)
    assert 20 < len(batch.lines) < 30
    disk.spooler.settle(batch)
    assert disk.held == 0


def test_what_is_to_be_forced_onto_the_device_shortens_the_wait(make, monkeypatch):
    disk = make(sync=SyncPolicy.INTERVAL)
    disk.spooler.maintain()
    synced = []
    monkeypatch.setattr("hublog.spool.writer.sync_path", lambda path: synced.append(path.suffix))
    disk.spooler.append(lines(1))
    assert 0 < disk.spooler.wait_s() <= SYNC_S
    disk.clock.advance(SYNC_S)
    disk.spooler.maintain()
    assert synced == ["", ".seg"]  # the directory and its segment
    assert disk.spooler.wait_s() > 0


# Records that the hub does not take.


def test_refused_records_are_set_aside_and_the_oldest_files_go(make, path):
    disk = make(max_bytes=1)
    for number in range(300):
        disk.clock.advance(1)
        assert disk.spooler.write_dead_letters([line_of(f"n{number}", size=5_000)], "no " * 1_000)
    files = sorted((path / "rejected").iterdir())
    assert sum(file.stat().st_size for file in files) <= 1 << 16
    assert b"n299" in files[-1].read_bytes()


def test_a_link_in_place_of_the_folder_of_refused_records_is_not_followed_into_a_file(disk, path, tmp_path):
    (path / "rejected").mkdir(parents=True)
    assert disk.spooler.write_dead_letters([line_of("n1")], "no")
    (file,) = (path / "rejected").iterdir()
    target = tmp_path / "target"
    target.write_text("")
    file.unlink()
    Path(file).symlink_to(target)
    disk.spooler.write_dead_letters([line_of("n2")], "no")
    assert target.read_text() == ""


# Where lines go.


def to(eventhub, **more):
    destination = Destination(namespace="shop.servicebus.windows.net", eventhub=eventhub)
    return Envelope(destination=destination, packing=Packing.LINES, **more)


def leave_for(path, name, eventhub, found):
    path.mkdir(parents=True, exist_ok=True)
    made = envelope(eventhub)
    return leave_orphan(path, name, make_segment(found, envelope=made), envelope=made)


def test_what_is_for_others_is_reported_once_for_each_of_them(make, path):
    disk = make(envelope=to("plain"))
    leave_for(path, A, "audit", lines(3))
    leave_for(path, B, "audit", lines(2))
    disk.look()
    assert disk.told == []
    disk.clock.advance(OTHERS_S)
    for _ in range(3):
        disk.look()
    assert disk.told == [
        (
            "WARNING",
            (
                f"In the spool {path} records of 2 ended processes are for event hub audit of"
                " shop.servicebus.windows.net, and no running process has taken them over. They are not sent"
                " elsewhere: start an application that sends there, or run hublog spool drain with its"
                " settings."
            ),
        )
    ]
    assert names_of(path) == [A, B]
    assert disk.held == 0


def test_what_others_take_over_meanwhile_is_not_reported(make, path):
    disk = make(envelope=to("plain"))
    leave_for(path, A, "audit", lines(3))
    disk.look()
    other = make(envelope=to("audit"))
    other.look()
    disk.clock.advance(OTHERS_S)
    disk.look()
    assert (disk.told, other.held) == ([], 3)


def test_what_an_older_version_left_is_taken_over_and_reported_once(make, path):
    disk = make(envelope=to("plain"))
    path.mkdir(parents=True)
    leave_orphan(path, A, make_segment(lines(3)))
    disk.look()
    leave_orphan(path, B, make_segment(lines(3)))
    disk.look()
    assert disk.held == 6
    assert disk.told == [
        (
            "WARNING",
            (
                f"The spool {path} holds records of an older version of hublog, which did not note for which"
                " event hub they are. They are sent to event hub plain of shop.servicebus.windows.net."
            ),
        )
    ]


def test_what_is_written_once_more_goes_where_it_was_meant_to(make, path):
    disk = make(envelope=to("plain", routing={"Table": "New"}))
    old = to("plain", routing={"Table": "Old"})
    disk.spooler.append(lines(1))
    assert disk.spooler.rewrite(lines(2, start=1), old)
    taken = [disk.spooler.take_stored(**ANY)]
    assert [(len(batch.lines), batch.envelope) for batch in taken] == [(2, old)]
    assert disk.spooler.live.directory.envelope.routing == {"Table": "New"}
    assert disk.held == 3 - 2 + 2


def test_what_comes_after_a_change_of_the_destination_says_so(make, path):
    disk = make(envelope=Envelope(destination=Destination(namespace="", eventhub="")))
    disk.spooler.append(lines(2))
    disk.spooler.address(to("plain"))
    disk.spooler.append(lines(3, start=2))
    found = [disk.spooler.take_stored(**ANY), disk.spooler.live.take(**ANY)]
    assert [(len(batch.lines), batch.envelope.destination.eventhub) for batch in found] == [
        (2, ""),
        (3, "plain"),
    ]


def test_the_cause_is_told_where_another_user_may_have_written(make, path):
    disk = make(envelope=to("plain"))
    leave_for(path, A, "plain", lines(3)).chmod(0o777)
    disk.look()
    assert disk.held == 0
    assert disk.told == [
        (
            "WARNING",
            (
                "What another version or owner left in the spool is not touched:"
                f" {path / A} ({A} has mode 0777: everybody may write)."
            ),
        )
    ]
