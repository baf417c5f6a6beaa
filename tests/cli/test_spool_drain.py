"""``hublog spool drain``: sends orphaned records."""

import gzip
import io
import json
import os
import re
import signal
import subprocess
import sys
import threading
from dataclasses import replace

import pytest
from tests.kits.environ import inherited
from tests.spool.independent import (
    A,
    B,
    C,
    envelope,
    is_locked,
    leave_orphan,
    make_segment,
    names_of,
)

from hublog.cli import main, spool_drain
from hublog.cli.spool_drain import DrainMonitor, DrainResult, OrphanedRecords, drain_spool
from hublog.delivery.accounting import Drop, Stats
from hublog.delivery.worker import THREAD_NAME
from hublog.errors import PermanentSendError, RejectedSendError, TransientSendError
from hublog.settings import SETTINGS, EventHubSettings, Packing, Settings, SpoolMode
from hublog.spool.directory import SpoolDirectory
from hublog.spool.envelope import Destination
from hublog.testing import FakeClock, MemorySender
from hublog_local import LocalHub

LIMIT_S = 60
HUB = "application-logs"
NAMESPACE = "x.servicebus.windows.net"
PROGRESS = re.compile(r"[\d,]+ records? sent, [\d,]+ waiting")


def make_records(count, *, start=0):
    return [json.dumps({"message": f"m{number}"}).encode() for number in range(start, start + count)]


@pytest.fixture
def root(tmp_path):
    path = tmp_path / "spool"
    path.mkdir(0o700)
    return path


@pytest.fixture
def environ(monkeypatch):
    for setting in SETTINGS:
        monkeypatch.delenv(setting.name, raising=False)
    return monkeypatch


# watching


class Delivery:
    """What is left and what is held at each look; time passes with each pause."""

    def __init__(self, *looks):
        self.looks = list(looks)
        self.clock = FakeClock()
        self.reported = []
        self.watch = DrainMonitor(
            lambda: self.looks[0][0],
            lambda: Stats(spooled=self.looks[0][1], sent_total=self.looks[0][2]),
            report=self.reported.append,
            now=self.clock,
            pause=self.pause,
        )

    def pause(self, seconds):
        self.clock.advance(seconds)
        if len(self.looks) > 1:
            del self.looks[0]


def test_the_wait_ends_once_no_record_is_left_and_none_is_held():
    delivery = Delivery((7, 0, 0), (0, 7, 0), (0, 2, 5), (0, 0, 7), (0, 9, 7))
    assert delivery.watch.wait(60).stats.sent_total == 7
    assert delivery.reported == []


def test_the_wait_ends_at_the_timeout():
    delivery = Delivery((0, 5, 0))
    begin = delivery.clock()
    assert delivery.watch.wait(2.5).left == 5
    assert delivery.clock() - begin == pytest.approx(2.5)


def test_progress_is_reported_once_a_second_where_there_is_some():
    looks = [(0, 5_000 - step, step) for step in range(21)] + [(0, 4_980, 20)]
    delivery = Delivery(*looks)
    delivery.watch.wait(10)
    assert delivery.reported == [
        "10 records sent, 4,990 waiting",
        "20 records sent, 4,980 waiting",
    ]


def test_a_permanent_failure_ends_the_wait_and_a_transient_one_does_not():
    delivery = Delivery((0, 5, 0))
    delivery.watch.failed("hublog", error=TransientSendError("away"))
    assert delivery.watch.wait(1).left == 5
    begin = delivery.clock()
    delivery.watch.failed("hublog", error=PermanentSendError("wrong key"))
    delivery.watch.wait(60)
    assert delivery.clock() == begin
    delivery.watch.succeeded("hublog")
    assert delivery.watch.error is None


def test_records_recovered_during_a_count_are_counted_once():
    after = Stats(recovered_total=5, spooled=5)
    watch = DrainMonitor(
        iter([5, 0]).__next__, iter([Stats(), after, after]).__next__, report=print, now=FakeClock()
    )
    assert watch.wait(0).left == 5


def test_only_records_that_no_running_process_owns_are_orphaned(root):
    leave_orphan(root, A, make_segment(make_records(3)))
    leave_orphan(root, B, make_segment(make_records(4)), cursor=(1, len(make_segment(make_records(1)))))
    leave_orphan(root, C, make_segment([], head=b"hublog\x00\x07"))
    left = OrphanedRecords(root, Destination(namespace=NAMESPACE, eventhub=HUB))
    assert left.records() == 6
    adopted = SpoolDirectory.adopt(root / A)
    assert left.records() == 3
    adopted.close()
    assert left.records() == 6


# refusing


@pytest.mark.parametrize(
    ("variables", "said"),
    [
        pytest.param({}, "No connection to an Event Hub is configured", id="not configured"),
        pytest.param(
            {"EVENTHUB_LOGGING_ENABLED": "false", "EVENTHUB_FULLY_QUALIFIED_NAMESPACE": NAMESPACE},
            "EVENTHUB_LOGGING_ENABLED is false",
            id="switched off",
        ),
        pytest.param({"EVENTHUB_LOG_BATCH_SIZE": "0"}, "EVENTHUB_LOG_BATCH_SIZE is 0", id="invalid"),
    ],
)
def test_without_a_hub_it_fails_and_all_records_stay(root, environ, capsys, variables, said):
    leave_orphan(root, A, make_segment(make_records(1)))
    for name, value in variables.items():
        environ.setenv(name, value)
    assert main(["spool", "drain", "--dir", str(root)]) == 1
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.startswith(f"hublog: {said}")
    assert names_of(root) == [A]


def test_a_spool_of_another_user_is_refused(root, environ, capsys):
    environ.setenv("EVENTHUB_FULLY_QUALIFIED_NAMESPACE", NAMESPACE)
    leave_orphan(root, A, make_segment(make_records(1)))
    uid = os.geteuid()
    environ.setattr(os, "geteuid", lambda: uid + 1)
    assert main(["spool", "drain", "--dir", str(root)]) == 1
    assert f"belongs to uid {uid}" in capsys.readouterr().err


@pytest.mark.parametrize("timeout", ["-1", "soon", "nan", "1e9"])
def test_a_timeout_is_a_number_of_seconds(root, capsys, timeout):
    assert main(["spool", "drain", "--dir", str(root), f"--timeout={timeout}"]) == 2
    assert (
        f"argument --timeout: is '{timeout}'; it must be a number from 0 to 86,400."
        in capsys.readouterr().err
    )


# sending


def drain(root, sender, *, timeout_s=30.0, **hub):
    out, printed = io.StringIO(), []

    def report(line):
        if not PROGRESS.fullmatch(line):  # one for each second that it takes
            printed.append(line)

    wanted = EventHubSettings(fully_qualified_namespace=NAMESPACE, batch_timeout_seconds=0.05)
    status = drain_spool(
        root,
        Settings(eventhub=replace(wanted, **hub)),
        timeout_s=timeout_s,
        out=out,
        report=report,
        make_sender=lambda _: sender,
    )
    return status, out.getvalue(), printed


def messages_of(bodies):
    return [json.loads(line)["message"] for body in bodies for line in body.splitlines()]


@pytest.mark.parametrize("mode", SpoolMode)
def test_orphaned_records_are_sent_in_every_mode_and_the_spool_is_empty_then(root, mode):
    leave_orphan(root, A, make_segment(make_records(3)), make_segment(make_records(3, start=3)))
    leave_orphan(
        root, B, make_segment(make_records(2, start=4)), cursor=(1, len(make_segment(make_records(1))))
    )
    sender = MemorySender()
    status, out, printed = drain(root, sender, spool=mode)
    assert (status, printed) == (0, [])
    assert out == f"7 records sent.\nNo orphaned records left in {root}.\n"
    assert sorted(messages_of(sender.bodies)) == ["m0", "m1", "m2", "m3", "m4", "m5", "m5"]
    assert names_of(root) == []
    assert THREAD_NAME not in [thread.name for thread in threading.enumerate()]


def leave_for(root, name, eventhub, records, **options):
    made = envelope(eventhub, **{"namespace": NAMESPACE, **options})
    leave_orphan(root, name, make_segment(records, envelope=made), envelope=made)


def test_only_records_for_the_destination_are_sent_and_the_others_are_listed(root):
    leave_for(root, A, HUB, make_records(3))
    leave_for(root, B, "audit", make_records(2, start=3))
    leave_for(root, C, "audit", make_records(1, start=5))
    sender = MemorySender()
    status, out, printed = drain(root, sender)
    assert (status, out) == (1, "3 records sent.\n")
    assert printed == [
        (
            f"3 orphaned records for event hub audit of {NAMESPACE} not sent, since these settings send to"
            f" event hub {HUB} of {NAMESPACE}; run hublog spool drain with the settings of that destination"
        )
    ]
    assert sorted(messages_of(sender.bodies)) == ["m0", "m1", "m2"]
    assert names_of(root) == [B, C]
    audit = MemorySender()
    assert drain(root, audit, eventhub_name="audit")[0] == 0
    assert sorted(messages_of(audit.bodies)) == ["m3", "m4", "m5"]
    assert names_of(root) == []


def test_records_for_another_namespace_stay(root):
    leave_for(root, A, HUB, make_records(2), namespace="y.servicebus.windows.net")
    sender = MemorySender(PermanentSendError("wrong key"))
    status, out, printed = drain(root, sender)
    assert (status, out, sender.sends_total, names_of(root)) == (1, "0 records sent.\n", 0, [A])
    assert "of y.servicebus.windows.net not sent" in printed[0]


def test_each_record_is_sent_as_was_set_when_it_was_accepted(root):
    leave_for(root, A, HUB, make_records(2), packing="gzip", Table="Old")
    leave_for(root, B, HUB, make_records(2, start=2), packing="single")
    leave_for(root, C, HUB, make_records(2, start=4), packing="lines", Table="Old")
    sender = MemorySender()
    assert drain(root, sender, packing=Packing.LINES, route_table="New")[0] == 0
    found = [
        (sorted(properties.items()), gzip.decompress(body) if body.startswith(b"\x1f") else body)
        for body, properties in zip(sender.bodies, sender.properties, strict=True)
    ]
    assert [(properties, messages_of([body])) for properties, body in found] == [
        ([("Compression", "gzip"), ("Table", "Old")], ["m0", "m1"]),
        ([], ["m2"]),
        ([], ["m3"]),
        ([("Table", "Old")], ["m4", "m5"]),
    ]


def test_without_waiting_records_no_connection_is_opened(root):
    sender = MemorySender(PermanentSendError("wrong key"))
    status, out, _ = drain(root, sender)
    assert (status, sender.sends_total) == (0, 0)
    assert out == f"0 records sent.\nNo orphaned records left in {root}.\n"


def test_more_than_the_size_limit_is_sent(root):
    for number in range(4):
        leave_orphan(root, f"{number:016x}-00000001", make_segment(make_records(1_000)))
    status, out, _ = drain(root, MemorySender(), spool_max_bytes=1_024)
    assert (status, out.splitlines()[0]) == (0, "4,000 records sent.")


def test_records_of_a_running_process_stay_with_it(root):
    leave_orphan(root, A, make_segment(make_records(2)))
    leave_orphan(root, B, make_segment(make_records(3)))
    adopted = SpoolDirectory.adopt(root / A)
    status, out, _ = drain(root, MemorySender())
    assert (status, out.splitlines()[0]) == (0, "3 records sent.")
    assert (names_of(root), adopted.backlog_lines) == ([A], 2)
    adopted.close()


class PickySender(MemorySender):
    """A hub that refuses events with something bad in them."""

    def send(self, bodies, properties):
        if any(b"bad" in body for body in bodies):
            raise RejectedSendError("amqp:not-allowed")
        return super().send(bodies, properties)


def test_rejected_records_are_kept_and_reported(root):
    leave_orphan(root, A, make_segment([*make_records(3), b'{"message":"bad"}', *make_records(3, start=3)]))
    sender = PickySender()
    status, out, _ = drain(root, sender)
    assert status == 0
    assert "1 record rejected by the event hub, moved to rejected/.\n" in out
    assert {f"m{number}" for number in range(6)} <= set(messages_of(sender.bodies))
    [file] = (root / "rejected").iterdir()
    assert b'"message":"bad"' in file.read_bytes()


def test_records_that_no_process_can_recover_are_reported_and_are_status_1(root):
    leave_orphan(root, A, make_segment(make_records(2)))
    leave_orphan(root, B, make_segment(make_records(3)))
    (root / A / "lock").unlink()
    status, out, printed = drain(root, MemorySender())
    assert (status, out) == (1, "3 records sent.\n")
    assert printed == ["2 records cannot be recovered by any process; see hublog spool verify"]
    assert names_of(root) == [A]


def test_records_recovered_by_other_processes_are_reported():
    out = io.StringIO()
    spool_drain._write_totals(
        9, DrainResult(left=1, stats=Stats(sent_total=5, dropped={Drop.CORRUPTED: 1})), out
    )
    assert out.getvalue().splitlines()[1:] == [
        "1 record damaged and lost.",
        "2 records recovered by other processes, which send them.",
    ]


# real processes, a real hub

OWNER = """
import sys, time
from pathlib import Path
from hublog.spool.envelope import Destination
from hublog.spool.directory import SpoolDirectory
directory = SpoolDirectory.create(Path(sys.argv[1]))
count = int(sys.argv[2])
assert directory.append([b'{"message":"m%d"}' % number for number in range(count)]) == count
print(directory.path.name, flush=True)
sys.stdin.read()
"""


@pytest.fixture
def hub():
    with LocalHub({HUB: 2}) as found:
        yield found


def leave_by_kill(root, count):
    process = subprocess.Popen(
        [sys.executable, "-c", OWNER, str(root), str(count)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    name = process.stdout.readline().decode().strip()
    process.kill()
    process.communicate(timeout=LIMIT_S)
    return name


@pytest.fixture
def start(root):
    """Start ``hublog spool drain``; whatever still runs at the end of the test is killed."""
    started = []

    def start_drain(connection, *arguments, **variables):
        process = subprocess.Popen(
            [
                sys.executable,
                "-W",
                "ignore::DeprecationWarning",
                "-m",
                "hublog",
                "spool",
                "drain",
                *arguments,
            ],
            env=inherited()
            | {"EVENTHUB_NAMESPACE_CONNECTION_STRING": connection, "EVENTHUB_LOG_SPOOL_DIR": str(root)}
            | variables,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        started.append(process)
        return process

    yield start_drain
    for process in started:
        process.kill()
        process.communicate(timeout=LIMIT_S)


def end(process):
    out, err = process.communicate(timeout=LIMIT_S)
    return process.returncode, out, err


def test_records_of_killed_processes_reach_the_hub_once(root, hub, start):
    leave_by_kill(root, 1_000)
    leave_by_kill(root, 500)
    status, out, err = end(start(hub.connection_string(), EVENTHUB_LOG_SPOOL="memory"))
    assert (status, out.splitlines()[0]) == (0, "1,500 records sent."), err
    assert "Traceback" not in err
    found = messages_of(event.body for event in hub.events(HUB))
    assert sorted(found) == sorted([f"m{n}" for n in range(1_000)] + [f"m{n}" for n in range(500)])
    assert names_of(root) == []


AWAY = "Endpoint=sb://127.0.0.1:1;SharedAccessKeyName=n;SharedAccessKey=k;UseDevelopmentEmulator=true;"


@pytest.mark.parametrize(
    ("timeout", "said"),
    [("3", "sending failed: connection refused by 127.0.0.1:1; "), ("0", "timed out after 0 s")],
    ids=["away", "no time"],
)
def test_records_that_cannot_be_sent_stay_and_are_reported_at_the_end(root, start, timeout, said):
    name = leave_by_kill(root, 20)
    status, out, err = end(start(AWAY, "--timeout", timeout))
    assert (status, out) == (1, "0 records sent.\n")
    # Not always the last: a send that is under way may fail a moment later.
    assert f"hublog: 20 orphaned records still in {root}: {said}" in err
    assert name in names_of(root)
    assert not is_locked(root / name)


def test_a_permanent_refusal_of_the_hub_ends_it_at_once(root, hub, start):
    leave_by_kill(root, 20)
    process = start(hub.connection_string(), EVENTHUB_LOGS_NAME="no-such-hub")
    status, _, err = end(process)
    assert status == 1
    assert "EVENTHUB_LOGS_NAME" in err
    assert "20 orphaned records still in" in err


def test_ctrl_c_ends_it_and_keeps_what_is_not_sent(root, hub, start):
    hub.faults.add("silent", times=None)
    name = leave_by_kill(root, 20)
    process = start(hub.connection_string())
    printed = next(line for line in process.stderr if line.startswith("hublog: "))
    assert printed == "hublog: 0 records sent, 20 waiting\n"
    process.send_signal(signal.SIGINT)
    status, _, err = end(process)
    assert status == 130
    assert "Traceback" not in err
    assert name in names_of(root)
    assert not is_locked(root / name)
