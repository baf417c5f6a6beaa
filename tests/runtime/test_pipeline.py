import json
import logging
import os
import threading
import time

import pytest
from tests.kits.pipelines import CONNECTED, Front, end_pipeline, make_settings

from hublog.capture.reentry_guard import MAX_DEPTH, MAX_INSIDE
from hublog.delivery.accounting import Circuit, Drop
from hublog.errors import TransientSendError
from hublog.runtime import registry
from hublog.runtime.pipeline import Pipeline
from hublog.runtime.shared import Runtime, runtime
from hublog.settings import Settings, SpoolMode
from hublog.testing import MemorySender


@pytest.fixture
def ended():
    """Return a list of pipelines; what is in it at the end of the test is ended, with its threads."""
    pipelines = []
    yield pipelines
    for pipeline in pipelines:
        end_pipeline(pipeline)


@pytest.fixture
def make_logger(ended):
    def make(sender, **hub):
        pipeline = Pipeline(make_settings(**hub), make_sender=lambda settings: sender)
        logger = logging.Logger(f"test.{len(ended)}")
        logger.addHandler(Front(pipeline))
        ended.append(pipeline)
        return logger, pipeline

    return make


def rows(sender):
    return [json.loads(line) for body in sender.bodies for line in body.splitlines()]


def test_records_arrive_in_order_with_their_numbers(make_logger):
    sender = MemorySender()
    logger, pipeline = make_logger(sender)
    for number in range(250):
        logger.info("record %d", number)
    assert pipeline.flush(10)
    assert [row["message"] for row in rows(sender)] == [f"record {number}" for number in range(250)]
    assert [row["sequence"] for row in rows(sender)] == list(range(1, 251))
    stats = pipeline.stats()
    assert (stats.accepted_total, stats.sent_total, stats.held, stats.dropped_total) == (250, 250, 0, 0)


def test_a_record_leaves_after_the_linger_without_a_flush(make_logger):
    sender = MemorySender()
    logger, _ = make_logger(sender)
    logger.info("alone")
    assert sender.wait_for(1)


def test_an_error_leaves_at_once(make_logger):
    sender = MemorySender()
    logger, _ = make_logger(sender, batch_timeout_seconds=3_600.0)
    logger.info("before")
    logger.error("urgent")
    assert sender.wait_for(1)
    assert [row["message"] for row in rows(sender)] == ["before", "urgent"]


def test_no_thread_is_made_before_the_first_record(make_logger):
    _, pipeline = make_logger(MemorySender())
    assert pipeline.process is None
    assert not [thread for thread in threading.enumerate() if thread.name == "hublog"]


def test_a_hub_that_is_away_holds_nobody_up_and_the_records_are_kept(make_logger):
    sender = MemorySender(*[TransientSendError("away")] * 3)
    logger, pipeline = make_logger(sender)
    for number in range(10):
        logger.info("record %d", number)
    assert sender.wait_for(1, timeout_s=20)
    assert len(rows(sender)) == 10
    assert pipeline.stats().failures_total == 3


def test_what_a_full_queue_refuses_is_counted(make_logger):
    gate = threading.Event()

    class Gated(MemorySender):
        def send(self, bodies, properties):
            assert gate.wait(20)
            return super().send(bodies, properties)

    sender = Gated()
    logger, pipeline = make_logger(sender, max_queue_size=50)
    for _ in range(200):
        logger.info("x")
    stats = pipeline.stats()
    assert (stats.accepted_total, stats.held, stats.dropped) == (200, 45, {Drop.QUEUE_FULL: 155})
    logger.error("the last tenth is for errors")
    gate.set()
    assert pipeline.flush(10)
    messages = [row["message"] for row in rows(sender) if row.get("event_name") != "hublog.records_dropped"]
    assert messages == ["x"] * 45 + ["the last tenth is for errors"]


def test_a_flush_does_not_wait_longer_than_it_is_told(make_logger):
    gate = threading.Event()

    class Gated(MemorySender):
        def send(self, bodies, properties):
            gate.wait(20)
            return super().send(bodies, properties)

    logger, pipeline = make_logger(Gated())
    logger.info("x")
    assert not pipeline.flush(0.05)
    gate.set()
    assert pipeline.flush(10)


def test_a_sender_that_logs_feeds_nothing_back(make_logger):
    class Talkative(MemorySender):
        def send(self, bodies, properties):
            for name in ("azure.eventhub", "urllib3", "shop"):
                child = logger.getChild(name) if name else logger
                child.handlers = logger.handlers
                child.error("sending %d", len(bodies))
            logger.error("from the sender's own thread")
            return super().send(bodies, properties)

    sender = Talkative()
    logger, pipeline = make_logger(sender)
    logger.info("real")
    assert pipeline.flush(10)
    assert pipeline.stats().accepted_total == 1
    assert [row["message"] for row in rows(sender)] == ["real"]


@pytest.mark.parametrize("name", ["azure", "azure.core.pipeline", "msal.token", "uamqp", "hublog.internal"])
def test_records_of_the_delivery_libraries_are_not_shipped(make_logger, name):
    logger, pipeline = make_logger(MemorySender())
    logger.name = name
    logger.error("x")
    assert pipeline.process is None


def test_a_logger_whose_name_only_begins_alike_is_shipped(make_logger):
    logger, pipeline = make_logger(MemorySender())
    logger.name = "azurite"
    logger.info("x")
    assert pipeline.flush(10)
    assert pipeline.stats().sent_total == 1


def test_a_str_that_logs_is_shipped_too(make_logger):
    sender = MemorySender()
    logger, pipeline = make_logger(sender)

    class Chatty:
        def __str__(self):
            logger.info("inner")
            return "outer"

    logger.info("%s", Chatty())
    assert pipeline.flush(10)
    assert {row["message"] for row in rows(sender)} == {"inner", "outer"}


def test_a_str_that_logs_itself_ends_and_what_is_lost_is_counted_and_told(make_logger, caplog):
    sender = MemorySender()
    logger, pipeline = make_logger(sender)
    calls = []

    class Endless:
        def __str__(self):
            calls.append(1)
            logger.info("%s", self, extra={"shown": self})
            return "done"

    with caplog.at_level(logging.WARNING, "hublog.internal"):
        logger.info("%s", Endless())
        assert pipeline.flush(10)
    found = [row for row in rows(sender) if row["message"] == "done"]
    assert MAX_DEPTH <= len(found) <= 3 * MAX_INSIDE
    assert pipeline.stats().dropped == {Drop.NESTED: len(calls) + 1 - len(found)}
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert "__str__ that logs itself" in caplog.text


def test_with_always_records_deep_inside_others_wait_in_memory_and_no_others(make_logger, tmp_path):
    logger, pipeline = make_logger(
        MemorySender(), spool=SpoolMode.ALWAYS, spool_dir=tmp_path / "spool", batch_timeout_seconds=60.0
    )

    class Nested:
        def __init__(self, depth):
            self.depth = depth

        def __str__(self):
            if self.depth:
                logger.info("%s", Nested(self.depth - 1))
            return f"depth {self.depth}"

    logger.info("%s", Nested(4))
    stats = pipeline.stats()
    assert (stats.queued, stats.spooled) == (3, 2)
    assert pipeline.flush(10)
    assert pipeline.stats().sent_total == 5


def test_each_of_many_records_inside_one_log_call_is_taken(make_logger):
    sender = MemorySender()
    logger, pipeline = make_logger(sender)

    class Chatty:
        def __str__(self):
            for number in range(300):
                logger.info("inner %d", number)
            return "outer"

    logger.info("%s", Chatty())
    assert pipeline.flush(10)
    assert len({row["message"] for row in rows(sender)}) == 301
    assert pipeline.stats().dropped == {}


def test_no_connection_is_one_warning_and_the_records_are_counted(caplog, ended):
    pipeline = Pipeline(Settings(), make_sender=lambda settings: MemorySender())
    ended.append(pipeline)
    logger = logging.Logger("test.unconfigured")
    logger.addHandler(Front(pipeline))
    with caplog.at_level(logging.WARNING, "hublog.internal"):
        for _ in range(3):
            logger.info("x")
        assert pipeline.flush(10)
        logger.info("later")
    assert pipeline.stats().dropped == {Drop.NOT_CONFIGURED: 4}
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert "EVENTHUB_NAMESPACE_CONNECTION_STRING" in caplog.text


def test_what_is_logged_before_the_framework_hands_over_its_settings_arrives(monkeypatch, ended):
    monkeypatch.delenv("EVENTHUB_NAMESPACE_CONNECTION_STRING", raising=False)
    monkeypatch.setattr(runtime, "pipelines", {})
    sender = MemorySender()
    pipeline = runtime.pipelines["default"] = Pipeline(make_sender=lambda settings: sender)
    ended.append(pipeline)
    logger = logging.Logger("test.early")
    logger.addHandler(Front(pipeline))
    logger.info("early")
    values = {"EVENTHUB_NAMESPACE_CONNECTION_STRING": CONNECTED, "LOG_SERVICE_NAME": "shop"}
    registry.use_lookup(values.get, framework="django")
    logger.info("late")
    assert pipeline.flush(10)
    arrived = {row["message"]: row for row in rows(sender)}
    assert sorted(row["message"] for row in rows(sender)) == ["early", "late"]  # two states send them
    assert (arrived["late"]["service_name"], arrived["late"]["framework"]) == ("shop", "django")


def test_an_outage_is_told_once_and_its_end_too(make_logger, caplog):
    sender = MemorySender(*[TransientSendError("away")] * 3)
    with caplog.at_level(logging.INFO, "hublog.internal"):
        logger, pipeline = make_logger(sender)
        logger.info("x")
        assert sender.wait_for(1, timeout_s=20)
        for _ in range(5):
            logger.info("y")
        assert sender.wait_for(2, timeout_s=20)
        assert pipeline.flush(10)  # the end is told after the send, and before a flush has ended
    assert [record.levelname for record in caplog.records] == ["WARNING", "INFO"]
    assert "Away" in caplog.text


def test_stats_show_the_circuit(make_logger):
    logger, pipeline = make_logger(
        MemorySender(*[TransientSendError("away")] * 99), circuit_breaker_threshold=1
    )
    logger.info("x")
    assert not pipeline.flush(0.5)
    assert pipeline.stats().circuit is Circuit.OPEN


def test_eight_threads_log_and_nothing_is_lost(make_logger):
    sender = MemorySender()
    logger, pipeline = make_logger(sender, max_queue_size=1_000_000)

    def work(name):
        for number in range(1_000):
            logger.info("%d:%d", name, number)

    threads = [threading.Thread(target=work, args=(name,)) for name in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert pipeline.flush(20)
    messages = [row["message"] for row in rows(sender)]
    assert len(messages) == len(set(messages)) == 8_000
    assert sorted(row["sequence"] for row in rows(sender)) == list(range(1, 8_001))
    assert len({row["record_id"] for row in rows(sender)}) == 8_000


@pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork:DeprecationWarning")  # the subject
def test_a_forked_child_ships_its_own_records_and_none_of_its_parents(make_logger):
    gate = threading.Event()

    class Gated(MemorySender):
        def send(self, bodies, properties):
            gate.wait(20)
            return super().send(bodies, properties)

    logger, pipeline = make_logger(Gated())
    for _ in range(5):
        logger.info("parent")
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        own = MemorySender()
        try:
            gate.set()
            pipeline._make_sender = lambda settings: own
            for _ in range(3):
                logger.info("child")
            delivered = pipeline.flush(10)
            found = [(row["message"], row["sequence"], row["process_id"] == os.getpid()) for row in rows(own)]
            os.write(writing, json.dumps([delivered, found]).encode())
        finally:
            os._exit(0)
    os.waitpid(child, 0)
    gate.set()
    assert json.loads(os.read(reading, 65_536)) == [True, [["child", number, True] for number in (1, 2, 3)]]
    os.close(reading)
    os.close(writing)
    assert pipeline.flush(10)
    assert pipeline.stats().sent_total == 5


def test_an_error_of_our_own_is_told_and_does_not_end_delivery(make_logger, monkeypatch, caplog):
    from hublog.delivery import worker

    monkeypatch.setattr(worker, "ERROR_PAUSE_S", 0.01)
    sender = MemorySender()
    logger, pipeline = make_logger(sender)
    logger.info("one")
    assert pipeline.flush(10)
    shipper = pipeline.process.shipper
    step = shipper.step
    failures = iter([True, True])

    def fail():
        if next(failures, False):
            raise LookupError("our own")
        return step()

    monkeypatch.setattr(shipper, "step", fail)
    with caplog.at_level(logging.ERROR, "hublog.internal"):
        logger.info("two")
        assert sender.wait_for(2)
    assert [record.levelname for record in caplog.records] == ["ERROR"]
    assert "LookupError" in caplog.text


def test_a_record_that_cannot_be_taken_is_counted_and_told_once(monkeypatch, caplog):
    from hublog.handler import EventHubHandler

    handler = EventHubHandler(settings=make_settings(eventhub_name="broken"))
    monkeypatch.setattr(handler.pipeline, "start", lambda: 1 / 0)
    logger = logging.Logger("test.broken")
    logger.addHandler(handler)
    with caplog.at_level(logging.ERROR, "hublog.internal"):
        logger.info("a")
        logger.info("b")
    assert handler.pipeline._errors.read() == 2
    assert [record.levelname for record in caplog.records] == ["ERROR"]


@pytest.mark.parametrize("begins_first", [False, True])
def test_a_flush_in_vain_and_the_exit_share_one_budget(make_logger, monkeypatch, begins_first):
    fresh = Runtime()
    monkeypatch.setattr("hublog.runtime.pipeline.runtime", fresh)
    away = MemorySender(*[TransientSendError("away")] * 99)
    logger, pipeline = make_logger(away, exit_timeout_seconds=0.3)
    logger.info("kept")
    if begins_first:  # logging.shutdown() may run behind our own hook
        fresh.begin_exit(0.0)
    assert not pipeline.flush()
    assert fresh.begin_exit(0.3) <= time.monotonic()


# With a disk.


@pytest.fixture
def spool(tmp_path):
    return tmp_path / "spool"


@pytest.mark.parametrize("mode", [SpoolMode.OVERFLOW, SpoolMode.ALWAYS])
def test_what_a_hub_does_not_take_is_on_disk_and_the_next_pipeline_sends_it(make_logger, spool, mode):
    away = MemorySender(*[TransientSendError("away")] * 99)
    logger, pipeline = make_logger(away, spool=mode, spool_dir=spool, circuit_breaker_threshold=1)
    for number in range(20):
        logger.info("record %d", number)
    assert not pipeline.flush(0.3)
    assert pipeline.process.secure() == 0
    pipeline.process.end()
    assert pipeline.stats().spooled == 20
    sender = MemorySender()
    other, _ = make_logger(sender, spool=mode, spool_dir=spool, batch_size=99)
    other.info("later")
    assert sender.wait_for(2)
    assert {row["message"] for row in rows(sender)} == {"later", *(f"record {n}" for n in range(20))}


def test_a_spool_that_cannot_be_made_is_one_warning_and_records_go_on(make_logger, tmp_path, caplog):
    (tmp_path / "spool").write_text("in the way")
    sender = MemorySender()
    with caplog.at_level(logging.WARNING, "hublog.internal"):
        logger, pipeline = make_logger(sender, spool=SpoolMode.ALWAYS, spool_dir=tmp_path / "spool")
        for _ in range(20):
            logger.info("x")
            assert pipeline.flush(10)
    assert ["EVENTHUB_LOG_SPOOL_DIR" in record.getMessage() for record in caplog.records] == [True]
    assert len(rows(sender)) == 20


def test_with_always_a_record_is_on_disk_when_the_log_call_returns(make_logger, spool):
    away = MemorySender(*[TransientSendError("away")] * 2)
    logger, _ = make_logger(away, spool=SpoolMode.ALWAYS, spool_dir=spool)
    logger.info("at once")
    assert [b"at once" in path.read_bytes() for path in spool.rglob("*.seg")] == [True]


def test_an_error_of_the_client_is_one_more_failed_send(make_logger):
    sender = MemorySender(LookupError("inside the client"))
    logger, pipeline = make_logger(sender)
    logger.info("x")
    assert pipeline.flush(10)
    assert len(rows(sender)) == 1
