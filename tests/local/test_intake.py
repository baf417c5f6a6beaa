import json
import threading
from dataclasses import dataclass, field
from datetime import UTC, datetime

from hublog_local.ingest import Ingester, Intake
from hublog_local.store import Store, active_file


@dataclass
class Arrival:
    body: bytes
    properties: dict = field(default_factory=dict)
    partition_id: str = "0"
    sequence_number: int = 0
    enqueued_at: datetime = datetime(2026, 11, 23, 14, tzinfo=UTC)


def messages(directory):
    return [json.loads(line)["message"] for line in active_file(directory).read_bytes().splitlines()]


def event(*names):
    return Arrival(b"\n".join(b'{"message":"%b"}' % name.encode() for name in names))


class FullDisk:
    def append(self, lines):
        if lines:
            raise OSError(28, "No space left on device")


class Gate:
    """A store that stops at its first append until it is opened."""

    def __init__(self):
        self.reached, self.opened, self.sizes = threading.Event(), threading.Event(), []

    def append(self, lines):
        self.reached.set()
        assert self.opened.wait(20)
        self.sizes.append(len(lines))


def test_a_step_stores_what_waits_in_the_order_of_arrival(tmp_path):
    with Store(tmp_path) as store:
        intake = Intake(store, Ingester())
        for number in range(5):
            intake.put("logs", event(f"{number}a", f"{number}b"))
        assert intake.step() == 5
        assert intake.step() == 0
    assert messages(tmp_path) == [f"{number}{part}" for number in range(5) for part in "ab"]


def test_the_thread_stores_without_being_asked(tmp_path):
    stored = threading.Event()

    class Told(Store):
        def append(self, lines):
            super().append(lines)
            if lines:
                stored.set()

    with Told(tmp_path) as store, Intake(store, Ingester()) as intake:
        intake.put("logs", event("a"))
        assert stored.wait(20)
        assert messages(tmp_path) == ["a"]


def test_closing_stores_what_many_threads_handed_over(tmp_path):
    with Store(tmp_path) as store:
        with Intake(store, Ingester()) as intake:
            threads = [
                threading.Thread(
                    target=lambda name=name: [intake.put("logs", event(f"{name}-{n}")) for n in range(300)]
                )
                for name in "abcd"
            ]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
        intake.close()
    found = messages(tmp_path)
    assert len(found) == len(set(found)) == 1200
    for name in "abcd":
        assert [one for one in found if one.startswith(name)] == [f"{name}-{n}" for n in range(300)]


def test_a_full_disk_is_reported_and_counted_and_ends_nothing(tmp_path):
    reports = []
    with Intake(FullDisk(), Ingester(), on_trouble=reports.append) as intake:
        intake.put("logs", event("a", "b"))
    assert reports == ["2 rows could not be stored (No space left on device); make room on the disk."]
    assert intake.lost_total == 2


def test_an_event_that_cannot_be_read_is_left_out_and_reported(tmp_path):
    reports = []
    with Store(tmp_path) as store, Intake(store, Ingester(), on_trouble=reports.append) as intake:
        intake.put("logs", Arrival(b"{}", properties=7))
        intake.put("logs", event("a"))
    assert messages(tmp_path) == ["a"]
    assert "cannot be read (AttributeError)" in reports[0]


def test_the_hub_waits_while_far_too_much_waits_here():
    gate = Gate()
    intake = Intake(gate, Ingester(), max_waiting_bytes=10)
    intake.start()
    intake.put("logs", event("first"))
    assert gate.reached.wait(20)
    intake.put("logs", event("second"))  # now more than 10 bytes wait
    passed = threading.Event()

    def put_third():
        intake.put("logs", event("third"))
        passed.set()

    thread = threading.Thread(target=put_third)
    thread.start()
    assert not passed.wait(0.2)
    gate.opened.set()
    assert passed.wait(20)
    thread.join()
    intake.close()
    assert sum(size > 0 for size in gate.sizes) >= 2
