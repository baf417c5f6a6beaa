"""A burst in mode ``overflow``: nothing is dropped while disk or memory has room."""

import threading

import pytest
from tests.delivery.bench import Bench, Hub

from hublog.delivery import disk_store

LIMIT_S = 20.0


@pytest.fixture
def slow_disk(monkeypatch, tmp_path):
    """A queue of 100 lines, full, and a thread that is making the first directory until it is let go."""
    monkeypatch.setattr(disk_store, "_MAKING_WAIT_S", 0.001)
    found = Bench(Hub(), tmp_path / "spool", max_lines=100, max_bytes=100_000)
    found.log(90)  # the last tenth is for errors
    begun, let_go = threading.Event(), threading.Event()
    make = found.spooler.live._make

    def slow():
        begun.set()
        assert let_go.wait(LIMIT_S)
        return make()

    found.spooler.live._make = slow
    first = threading.Thread(
        target=found.stores.put_when_full, args=(b"{}", 20), kwargs={"level": "INFO", "logger": "shop"}
    )
    first.start()
    assert begun.wait(LIMIT_S)
    yield found, let_go
    let_go.set()
    first.join(LIMIT_S)


def test_records_pass_the_bound_of_memory_while_the_disk_is_prepared(slow_disk):
    found, let_go = slow_disk
    before = len(found.kept)
    for number in range(60):
        assert found.stores.put_when_full(b"{}", 20, level="INFO", logger="shop"), number
    assert found.stats.dropped_total == 0
    let_go.set()
    assert len(found.queue) == before + 60


def test_the_bound_is_passed_by_a_bounded_number_of_records(slow_disk):
    found, _ = slow_disk
    taken = [found.stores.put_when_full(b"{}", 20, level="INFO", logger="shop") for _ in range(200)]
    assert taken.count(True) == 110
    assert found.stats.dropped_total == 90


def test_the_bound_is_passed_by_a_bounded_number_of_bytes(slow_disk):
    found, _ = slow_disk
    line = b'{"x":"%b"}' % (b"x" * 10_000)
    taken = [found.stores.put_when_full(line, 20, level="INFO", logger="shop") for _ in range(200)]
    assert 1 <= taken.count(True) <= 12
    assert found.queue.held_bytes <= 125_000
