"""Settings that change while records wait: each one goes where it was accepted for, and is counted once."""

import json
import sys

import pytest
from tests.kits.changing_app import CONNECTED, LIMIT_S, MODES, ChangingApp

import hublog.flask
from hublog.cli.spool_inspection import inspect_spool
from hublog.runtime.shared import runtime


@pytest.fixture
def shop(monkeypatch, tmp_path):
    made = ChangingApp(monkeypatch, tmp_path)
    yield made
    for hub in made.hubs.values():
        hub.is_away = False
    made.end()


CHANGES = {
    "directory": {"EVENTHUB_LOG_SPOOL_DIR": "later"},
    "log directory": {"LOG_DIR": "logs", "EVENTHUB_LOG_SPOOL_DIR": "logs/spool"},
    "event hub": {"EVENTHUB_LOGS_NAME": "second"},
    "event hub and directory": {"EVENTHUB_LOGS_NAME": "second", "EVENTHUB_LOG_SPOOL_DIR": "later"},
    "packing": {"EVENTHUB_LOG_PACKING": "single"},
    "routing": {"EVENTHUB_LOG_ROUTE_TABLE": "Later"},
    "memory": {"EVENTHUB_LOG_SPOOL": "memory"},
    "overflow": {"EVENTHUB_LOG_SPOOL": "overflow"},
    "always": {"EVENTHUB_LOG_SPOOL": "always"},
    "bound": {"EVENTHUB_LOG_SPOOL_BYTES": "64MiB"},
    "queue": {"EVENTHUB_LOG_QUEUE_SIZE": "50", "EVENTHUB_LOG_BATCH_SIZE": "2"},
    "key": {"EVENTHUB_NAMESPACE_CONNECTION_STRING": CONNECTED.replace("Key=k", "Key=other")},
}


def changes_of(name, tmp_path):
    found = dict(CHANGES[name])
    for key in ("EVENTHUB_LOG_SPOOL_DIR", "LOG_DIR"):
        if key in found:
            found[key] = str(tmp_path / found[key])
    return found


@pytest.mark.parametrize("is_away", [False, True], ids=["available", "unavailable"])
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("change", CHANGES)
def test_what_was_accepted_before_a_change_and_after_it_arrives_once_each(
    shop, tmp_path, change, mode, is_away
):
    changes = changes_of(change, tmp_path)
    shop.set(EVENTHUB_LOG_SPOOL=mode)
    for name in ("first", "second"):
        shop.hub(name).is_away = is_away
    shop.log("early")
    shop.change(**changes)
    shop.check_accounting()
    shop.log("late")
    assert shop.pipeline.flush(0.3 if is_away else LIMIT_S) is not is_away
    stats = shop.check_accounting()
    assert stats.held == (20 if is_away else 0)
    for name in ("first", "second"):
        shop.hub(name).is_away = False
    assert shop.pipeline.flush(LIMIT_S)
    assert shop.check_accounting().sent_total == 20
    later = changes.get("EVENTHUB_LOGS_NAME", "first")
    early = [text for text in shop.arrived("first") if text.startswith("early")]
    late = [text for text in shop.arrived(later) if text.startswith("late")]
    assert (len(early), sorted(early), sorted(late)) == (10, shop.wanted[:10], shop.wanted[10:])


def test_what_comes_after_a_change_of_the_directory_lies_in_the_new_one(shop, tmp_path):
    shop.set(EVENTHUB_LOG_SPOOL="always")
    shop.hub("first").is_away = True
    shop.log("early")
    shop.change(EVENTHUB_LOG_SPOOL_DIR=str(tmp_path / "later"))
    shop.log("late")
    assert not shop.pipeline.flush(0.1)
    assert sorted(shop.on_disk("former")) == shop.wanted[:10]
    assert sorted(shop.on_disk("later")) == shop.wanted[10:]


def test_records_are_packed_and_routed_as_was_set_when_they_were_accepted(shop):
    shop.set(EVENTHUB_LOG_SPOOL="overflow", EVENTHUB_LOG_ROUTE_TABLE="Early")
    shop.hub("first").is_away = True
    shop.log("early")
    shop.change(EVENTHUB_LOG_ROUTE_TABLE="Late", EVENTHUB_LOG_PACKING="single")
    shop.log("late")
    assert not shop.pipeline.flush(0.1)
    shop.hub("first").is_away = False
    assert shop.pipeline.flush(LIMIT_S)
    hub = shop.hub("first")
    for body, properties in zip(hub.bodies, hub.properties, strict=True):
        texts = [json.loads(line)["message"] for line in body.splitlines()]
        wanted = "Early" if texts[0].startswith("early") else "Late"
        assert properties == {"Table": wanted}
        assert len(texts) == 1 or wanted == "Early"


@pytest.mark.parametrize("mode", MODES)
def test_what_was_accepted_before_the_hub_was_switched_off_arrives_and_so_does_what_follows(shop, mode):
    shop.set(EVENTHUB_LOG_SPOOL=mode)
    shop.hub("first").is_away = True
    shop.log("early")
    shop.change(EVENTHUB_LOGGING_ENABLED="false")
    assert not shop.pipeline.is_enabled
    shop.check_accounting()
    shop.change()
    shop.log("late")
    assert not shop.pipeline.flush(0.1)
    assert bool(shop.pipeline.process.stores.spooler) is (mode != "memory")
    shop.check_accounting()
    shop.hub("first").is_away = False
    assert shop.pipeline.flush(LIMIT_S)
    assert shop.check_accounting().sent_total == 20
    assert sorted(shop.arrived("first")) == shop.wanted


@pytest.mark.parametrize("mode", MODES)
def test_many_changes_lose_nothing(shop, tmp_path, mode):
    shop.set(EVENTHUB_LOG_SPOOL=mode)
    names = [f"hub-{number}" for number in range(12)]
    for name in names:
        shop.hub(name).is_away = True
        shop.change(EVENTHUB_LOGS_NAME=name, EVENTHUB_LOG_SPOOL_DIR=str(tmp_path / name))
        shop.log(name, 3)
    shop.check_accounting()
    for name in names:
        shop.hub(name).is_away = False
    assert shop.pipeline.flush(LIMIT_S)
    assert shop.check_accounting().sent_total == 36
    # Sorted: after an outage what had waited is sent beside what is new.
    found = [sorted(shop.arrived(name)) for name in names]
    assert found == [[f"{name}-{number}" for number in range(3)] for name in names]


@pytest.mark.parametrize("mode", MODES)
def test_what_was_sent_before_a_change_of_the_directory_stays_counted(shop, tmp_path, mode):
    shop.set(EVENTHUB_LOG_SPOOL=mode)
    shop.log("early")
    assert shop.pipeline.flush(LIMIT_S)
    shop.pipeline.retire()  # so that nothing is left in the directory of before
    assert shop.pipeline.process.worker.wait_until_ended(LIMIT_S)
    shop.change(EVENTHUB_LOG_SPOOL_DIR=str(tmp_path / "later"))
    assert shop.check_accounting().sent_total == 10
    shop.log("late")
    assert shop.pipeline.flush(LIMIT_S)
    assert shop.check_accounting().sent_total == 20


def test_a_change_that_is_taken_back_before_the_thread_sees_it_leaves_the_disk(shop, tmp_path):
    shop.hub("first").is_away = True
    shop.pipeline.start()  # and no thread yet
    shop.change(EVENTHUB_LOG_SPOOL_DIR=str(tmp_path / "later"))
    shop.change()
    shop.log("late")
    assert not shop.pipeline.flush(0.1)
    assert shop.pipeline.process.secure() == 0
    assert shop.check_accounting().spooled == 10
    assert sorted(shop.on_disk("former")) == shop.wanted


def test_sequence_numbers_go_on_after_a_change(shop):
    shop.log("early", 3)
    shop.change(EVENTHUB_LOGS_NAME="second")
    shop.log("late", 3)
    assert shop.pipeline.flush(LIMIT_S)
    bodies = [body for name in ("first", "second") for body in shop.hub(name).bodies]
    numbers = [json.loads(line)["sequence"] for body in bodies for line in body.splitlines()]
    assert sorted(numbers) == [1, 2, 3, 4, 5, 6]


@pytest.mark.parametrize("mode", MODES)
def test_what_was_logged_before_a_connection_was_configured_goes_to_the_first_one(shop, tmp_path, mode):
    for name in ("EVENTHUB_NAMESPACE_CONNECTION_STRING", "EVENTHUB_LOGS_NAME"):
        shop.patch.delenv(name)
        del shop.environ[name]
    shop.set(EVENTHUB_LOG_SPOOL=mode)
    shop.log("early")
    shop.check_accounting()
    shop.change(
        EVENTHUB_NAMESPACE_CONNECTION_STRING=CONNECTED,
        EVENTHUB_LOGS_NAME="second",
        EVENTHUB_LOG_ROUTE_TABLE="Shop",
        EVENTHUB_LOG_SPOOL_DIR=str(tmp_path / "later"),
    )
    shop.log("late")
    assert shop.pipeline.flush(LIMIT_S)
    shop.check_accounting()
    assert sorted(shop.arrived("second")) == shop.wanted
    assert {properties["Table"] for properties in shop.hub("second").properties} == {"Shop"}


def test_an_event_hub_that_only_the_default_names_gives_way_to_the_framework(shop):
    shop.patch.setitem(sys.modules, "hublog.flask", hublog.flask)
    shop.patch.delenv("EVENTHUB_LOGS_NAME")
    del shop.environ["EVENTHUB_LOGS_NAME"]
    shop.set(EVENTHUB_LOG_SPOOL="overflow")
    shop.hub("application-logs").is_away = True
    shop.log("early")
    shop.change(EVENTHUB_LOGS_NAME="second")
    shop.log("late")
    assert shop.pipeline.flush(LIMIT_S)
    assert sorted(shop.arrived("second")) == shop.wanted


def test_an_event_hub_that_only_the_default_names_is_sent_to_at_once_where_no_framework_is(shop):
    for name in ("hublog.flask", "django"):
        shop.patch.delitem(sys.modules, name, raising=False)
    shop.patch.delenv("EVENTHUB_LOGS_NAME")
    del shop.environ["EVENTHUB_LOGS_NAME"]
    shop.set(EVENTHUB_LOG_SPOOL="memory")
    shop.log("early", 1)
    assert shop.hub("application-logs").wait_for(1, timeout_s=4)


def test_what_ends_before_it_is_sent_stays_where_it_was_accepted_for(shop, tmp_path):
    shop.set(EVENTHUB_LOG_SPOOL="overflow")
    for name in ("first", "second"):
        shop.hub(name).is_away = True
    shop.log("early")
    shop.change(EVENTHUB_LOGS_NAME="second")
    shop.log("late")
    shop.pipeline.flush(0.1)
    for process in shop.pipeline.processes():
        process.secure()
        process.end()
    assert shop.check_accounting().spooled == 20
    waiting = {"first": 0, "second": 0}
    for each in inspect_spool(tmp_path / "former").directories:
        waiting[each.destination.eventhub] += each.waiting
    assert waiting == {"first": 10, "second": 10}
    for name in ("first", "second"):
        shop.hub(name).is_away = False
    again = ChangingApp(shop.patch, tmp_path)
    again.hubs = shop.hubs
    again.patch.setattr(runtime, "lookup", {"EVENTHUB_LOGS_NAME": "first"}.get)
    again.pipeline.read_again()
    again.log("again", 1)
    assert shop.hub("first").wait_for(1, timeout_s=LIMIT_S)
    assert again.pipeline.flush(LIMIT_S)
    assert set(shop.wanted[:10]) <= set(again.arrived("first"))
    assert not set(shop.wanted[10:]) & set(again.arrived("first"))
    again.end()
