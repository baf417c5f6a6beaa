"""What a process shows of itself: exact, whatever its settings were, and without waiting for anything."""

import threading
import time

import pytest
from tests.kits.changing_app import LIMIT_S, ChangingApp

from hublog.internal_log import AtomicCounter
from hublog.runtime.shared import runtime
from hublog.runtime.snapshots import own_total


@pytest.fixture
def shop(monkeypatch, tmp_path):
    monkeypatch.setattr(runtime, "pipelines", {})
    monkeypatch.setattr(runtime, "status_files", {})
    made = ChangingApp(monkeypatch, tmp_path)
    yield made
    made.hub("first").is_away = False
    made.end()


def shown(shop, name, number):
    """Return what the process shows once this counter has this value."""
    runtime.pipelines["shop"] = shop.pipeline
    end = time.monotonic() + LIMIT_S
    while (found := own_total()).counters[name] != number:
        assert time.monotonic() < end, found
        time.sleep(0.02)
    return found


def test_what_earlier_settings_have_counted_stays_and_the_bounds_are_those_in_force(shop):
    shop.set(EVENTHUB_LOG_QUEUE_SIZE="500")
    for size in ("400", "300", "200"):
        shop.log(size)
        assert shop.pipeline.flush(LIMIT_S)
        shop.change(EVENTHUB_LOG_QUEUE_SIZE=size)
    shop.log("late")
    assert shop.pipeline.flush(LIMIT_S)
    found = shown(shop, "sent_total", 40)
    stats = shop.check_accounting()
    assert {name: getattr(stats, name) for name in found.counters} == found.counters
    assert (found.gauges["queue_records_max"], found.held) == (200, 0)
    assert found.state_since_s > 0


def test_records_that_came_to_no_queue_are_shown(shop):
    shop.log("first")
    assert shop.pipeline.flush(LIMIT_S)
    shop.pipeline.failed(ValueError("odd"))
    assert shown(shop, "accepted_total", 11).dropped == {"internal_error": 1}


def test_nothing_waits_for_a_lock_that_another_thread_holds(shop):
    # Amid greenlets a real thread would wait for ever: the lock is released in another thread's loop.
    shop.log("first")
    assert shop.pipeline.flush(LIMIT_S)
    shown(shop, "sent_total", 10)
    found = []
    asking = threading.Thread(target=lambda: found.append(own_total()))
    with shop.pipeline.process.shipper._lock:
        asking.start()
        asking.join(LIMIT_S)
        assert found
    assert found[0].counters["sent_total"] == 10


def test_a_counter_is_read_without_being_changed():
    counter = AtomicCounter()
    for number in (0, 1, 2):
        assert (counter.read(), counter.read()) == (number, number)
        counter.add()
