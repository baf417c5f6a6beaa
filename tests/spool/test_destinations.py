"""Whose records a process takes over: those of its own destination, as they are written down with them."""

import os
import struct
import subprocess
import sys
from pathlib import Path

import pytest
from tests.spool.independent import (
    ALL,
    A,
    B,
    C,
    envelope,
    is_locked,
    leave_orphan,
    lines_on_disk,
    make_lines,
    make_segment,
    names_of,
    segments_of,
)

from hublog.settings import Packing
from hublog.spool.directory import SpoolDirectory
from hublog.spool.envelope import Destination, Envelope

NAMESPACE = "shop.servicebus.windows.net"


def to(eventhub, packing=Packing.LINES, **routing):
    destination = Destination(namespace=NAMESPACE, eventhub=eventhub)
    return Envelope(destination=destination, packing=packing, routing=routing)


def leave_for(root, name, eventhub, lines, **options):
    made = envelope(eventhub, **options)
    return leave_orphan(root, name, make_segment(lines, envelope=made), envelope=made)


@pytest.fixture
def sends(make_root):
    """A root of a process that sends to an event hub."""

    def make(eventhub, **options):
        made = make_root(envelope=to(eventhub, **options))
        made.prepare()
        return made

    return make


def test_what_a_process_writes_says_where_it_goes(sends):
    root = sends("audit", packing=Packing.GZIP, Table="Audit")
    directory = root.create_directory()
    directory.append(make_lines(3))
    wanted = envelope("audit", packing="gzip", Table="Audit").replace(b'", "', b'","')
    data = segments_of(directory.path)[0].read_bytes()
    assert data[:8] == b"hublog\x00\x02"
    lock = (directory.path / "lock").read_bytes()
    assert lock[16:] == data[8 : 8 + len(lock) - 16]
    assert wanted[8:].replace(b" ", b"") == lock[24:]
    assert lines_on_disk(directory.path) == make_lines(3)


def test_a_process_takes_over_what_goes_where_it_sends(sends):
    root = sends("audit")
    leave_for(root.path, A, "audit", make_lines(2), packing="gzip", Table="Audit")
    leave_for(root.path, B, "AUDIT", make_lines(1))
    adopted = root.adopt_orphans()
    assert [each.read(*ALL)[0] for each in adopted] == [make_lines(2), make_lines(1)]
    assert adopted[0].envelope == to("audit", packing=Packing.GZIP, Table="Audit")


@pytest.mark.parametrize(
    "other",
    [
        pytest.param({"eventhub": "plain"}, id="event hub"),
        pytest.param({"eventhub": "audit", "namespace": "other.servicebus.windows.net"}, id="namespace"),
        pytest.param({"eventhub": "audit", "namespace": f"{NAMESPACE}:5672"}, id="port"),
    ],
)
def test_a_process_leaves_what_goes_elsewhere(sends, other):
    root = sends("audit")
    made = envelope(**other)
    path = leave_orphan(root.path, A, make_segment(make_lines(2), envelope=made), envelope=made)
    for _ in range(3):
        assert root.adopt_orphans() == []
    assert list(root.others) == [path]
    assert not is_locked(path)
    assert lines_on_disk(path) == make_lines(2)
    assert root.unknown == set()


def test_what_went_elsewhere_is_taken_over_once_the_process_sends_there(sends):
    root = sends("application-logs")  # the framework's configuration is still to come
    leave_for(root.path, A, "audit", make_lines(2))
    assert root.adopt_orphans() == []
    root.envelope = to("audit")
    (taken,) = root.adopt_orphans()
    assert taken.read(*ALL)[0] == make_lines(2)
    assert root.others == {}


def test_what_went_elsewhere_is_forgotten_when_it_is_gone(sends):
    root = sends("audit")
    leave_for(root.path, A, "plain", make_lines(2))
    root.adopt_orphans()
    other = sends("plain")
    (taken,) = other.adopt_orphans()
    taken.settle(taken.read(*ALL)[1])
    assert taken.remove_if_empty()
    root.adopt_orphans()
    assert root.others == {}


def test_a_directory_without_a_segment_is_cleaned_up_whoever_finds_it(sends):
    root = sends("audit")
    leave_orphan(root.path, A, envelope=envelope("plain"))
    assert root.adopt_orphans() == []
    assert names_of(root.path) == []


@pytest.mark.parametrize("name", ["", "audit"])
def test_what_was_logged_before_there_was_a_connection_is_taken_over(sends, name):
    root = sends("audit")
    early = envelope(name, namespace="", packing="")
    leave_orphan(root.path, A, make_segment(make_lines(2), envelope=early), envelope=early)
    (taken,) = root.adopt_orphans()
    assert taken.envelope == Envelope(destination=Destination(namespace="", eventhub=name))


def test_what_an_older_version_left_is_taken_over_and_counted(sends):
    root = sends("audit")
    leave_orphan(root.path, A, make_segment(make_lines(2)))
    leave_for(root.path, B, "audit", make_lines(1))
    assert [each.envelope for each in root.adopt_orphans()] == [None, to("audit")]
    assert root.undirected_total == 1


def test_the_segments_say_it_where_the_lock_does_not(sends):
    root = sends("audit")
    for name, hub in ((A, "audit"), (B, "plain")):
        path = leave_for(root.path, name, hub, make_lines(2))
        (path / "lock").write_bytes(b"")
    (taken,) = root.adopt_orphans()
    assert taken.path.name == A
    assert list(root.others) == [root.path / B]


@pytest.mark.parametrize("begin", [0, 8, 16, 30])
def test_the_lock_says_it_where_a_sector_of_the_segment_is_gone(sends, begin):
    root = sends("audit")
    lines = make_lines(40, size=20)
    for name, hub in ((A, "audit"), (B, "plain")):
        path = leave_for(root.path, name, hub, lines)
        with segments_of(path)[0].open("r+b") as file:
            file.seek(begin)
            file.write(bytes(512))
    (taken,) = root.adopt_orphans()
    found = taken.read(*ALL)[0]
    assert found == lines[-len(found) :]
    assert len(found) > 20
    assert list(root.others) == [root.path / B]


def test_one_segment_says_it_for_those_that_are_damaged(sends):
    root = sends("audit")
    made = envelope("plain")
    whole = make_segment(make_lines(2), envelope=made)
    damaged = whole[:8] + b"\x00" * 20 + whole[28:]
    path = leave_orphan(root.path, A, damaged, whole)
    assert root.adopt_orphans() == []
    assert list(root.others) == [path]


def test_what_goes_nobody_can_read_where_is_left_and_reported(sends):
    root = sends("audit")
    whole = make_segment(make_lines(2), envelope=envelope("plain"))
    path = leave_orphan(root.path, A, whole[:8] + b"\x00" * 20 + whole[28:])
    before = segments_of(path)[0].read_bytes()
    assert root.adopt_orphans() == []
    assert root.causes == {path: "it cannot be read which event hub its records are for"}
    assert segments_of(path)[0].read_bytes() == before


@pytest.mark.parametrize("has_lock", [True, False], ids=["addressed", "undirected"])
def test_a_segment_that_was_moved_from_another_destination_is_left_alone(sends, has_lock):
    root = sends("audit")
    mine, other = envelope("audit") if has_lock else b"", envelope("plain")
    path = leave_orphan(
        root.path,
        A,
        make_segment(make_lines(2), envelope=mine),
        make_segment(make_lines(3), envelope=other),
        envelope=mine,
    )
    (taken,) = root.adopt_orphans()
    assert taken.read(*ALL)[0] == make_lines(2)
    assert root.unknown == {path / "00000002.seg"}


def test_an_adoption_goes_on_where_the_cursor_is(sends):
    root = sends("audit")
    lines = make_lines(6)
    path = leave_for(root.path, A, "audit", lines)
    end = len(make_segment(lines[:4], envelope=envelope("audit")))
    with (path / "lock").open("r+b") as lock:
        lock.write(struct.pack("<QQ", 1, end))
    (taken,) = root.adopt_orphans()
    assert taken.read(*ALL)[0] == lines[4:]
    assert taken.recovered_total == 2


def test_the_cursor_leaves_the_envelope_in_the_lock_alone(sends):
    root = sends("audit")
    directory = root.create_directory()
    directory.append(make_lines(2))
    directory.settle(directory.read(1 << 20, 1)[1])
    directory.close()
    (taken,) = root.adopt_orphans()
    assert taken.envelope == to("audit")
    assert taken.read(*ALL)[0] == make_lines(2)[1:]


def test_the_bound_counts_what_goes_elsewhere(make_root):
    root = make_root(1 << 16, envelope=to("audit"))
    root.prepare()
    path = leave_for(root.path, A, "plain", make_lines(80, size=1_000))
    assert root.enforce_bound() == 80
    assert root.orphans_dropped_total == 80
    assert not path.exists()


@pytest.mark.parametrize("what", ["directory", "lock", "segment"])
def test_what_another_user_made_is_refused_with_the_cause(sends, monkeypatch, what):
    root = sends("audit")
    path = leave_for(root.path, A, "audit", make_lines(2))
    segment = path / "00000001.seg"
    given = {"directory": path, "lock": path / "lock", "segment": segment}[what]
    real, me = Path.lstat, os.geteuid()

    def lstat(self):  # whoever runs this may not give files away
        found = real(self)
        return os.stat_result((*found[:4], me + 1, *found[5:])) if self == given else found

    monkeypatch.setattr(Path, "lstat", lstat)
    assert root.adopt_orphans() == []
    refused = segment if what == "segment" else path
    assert root.causes == {refused: f"{given.name} belongs to uid {me + 1}, and the spool to uid {me}"}
    assert refused in root.unknown
    assert lines_on_disk(path) == make_lines(2)


@pytest.mark.parametrize("what", ["directory", "lock", "segment"])
def test_what_everybody_may_write_is_refused_with_the_cause(sends, what):
    root = sends("audit")
    path = leave_for(root.path, A, "audit", make_lines(2))
    segment = path / "00000001.seg"
    given = {"directory": path, "lock": path / "lock", "segment": segment}[what]
    given.chmod(0o777)
    assert root.adopt_orphans() == []
    refused = segment if what == "segment" else path
    assert root.causes == {refused: f"{given.name} has mode 0777: everybody may write"}


@pytest.mark.parametrize("what", ["lock", "00000001.seg"])
def test_a_hard_link_is_refused_with_the_cause(sends, tmp_path, what):
    root = sends("audit")
    path = leave_for(root.path, A, "audit", make_lines(2))
    os.link(path / what, tmp_path / "elsewhere")
    assert root.adopt_orphans() == []
    refused = path if what == "lock" else path / what
    assert root.causes == {refused: f"{what} is a hard link with another name elsewhere"}


@pytest.mark.parametrize("what", ["lock", "00000001.seg"])
def test_a_link_is_not_followed(sends, tmp_path, what):
    root = sends("audit")
    path = leave_for(root.path, A, "audit", make_lines(2))
    (path / what).rename(tmp_path / "elsewhere")
    (path / what).symlink_to(tmp_path / "elsewhere")
    assert root.adopt_orphans() == []
    assert (tmp_path / "elsewhere").exists()


def test_what_the_group_of_a_volume_may_write_is_taken_over(sends):
    root = sends("audit")
    path = leave_for(root.path, A, "audit", make_lines(2))
    path.chmod(0o2770)
    for file in path.iterdir():
        file.chmod(0o660)
    assert len(root.adopt_orphans()) == 1


def test_what_is_refused_counts_for_no_bound(make_root):
    root = make_root(1 << 16, envelope=to("audit"))
    root.prepare()
    own = root.create_directory()
    own.append(make_lines(10))
    path = leave_for(root.path, C, "audit", make_lines(80, size=1_000))
    path.chmod(0o777)
    root.adopt_orphans()
    assert root.enforce_bound() == 0
    assert own.backlog_lines == 10


READ_BY_OLDER = """
import sys
from pathlib import Path
from hublog.spool import segments as segment_format
# As it was before envelopes were written.
segment_format._ADDRESSED = segment_format.HEADER
from hublog.spool.directory import SpoolDirectory
found = SpoolDirectory.adopt(Path(sys.argv[1]))
print(found.backlog_lines, [path.name for path in found.unknown])
found.close()
"""


def test_a_version_that_knows_no_envelopes_leaves_them_in_place(sends):
    root = sends("audit")
    directory = root.create_directory()
    directory.append(make_lines(3))
    directory.close()
    ran = subprocess.run(
        [sys.executable, "-c", READ_BY_OLDER, str(directory.path)],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert ran.stdout == "0 ['00000001.seg']\n"
    (taken,) = root.adopt_orphans()
    assert taken.read(*ALL)[0] == make_lines(3)


def test_a_directory_of_its_own_has_the_envelope_of_its_lines(sends):
    root = sends("audit")
    directory = root.create_directory(to("audit", packing=Packing.SINGLE))
    assert directory.envelope == to("audit", packing=Packing.SINGLE)
    directory.append(make_lines(1))
    directory.close()
    assert SpoolDirectory.adopt(directory.path).envelope == to("audit", packing=Packing.SINGLE)
