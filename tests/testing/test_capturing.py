import asyncio
import contextlib
import json
import logging
import logging.config
import logging.handlers
import os
import queue
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from tests.testing.scene import CONNECTION, attached

import hublog
from hublog.capture.columns import BY_NAME
from hublog.errors import PermanentSendError
from hublog.runtime import registry
from hublog.runtime.pipeline import Pipeline
from hublog.runtime.shared import runtime
from hublog.settings import EventHubSettings, Packing, ServiceSettings, Settings, SpoolMode
from hublog.testing import MemorySender, capture_records

SETTINGS = Settings(
    eventhub=EventHubSettings(connection_string=CONNECTION, packing=Packing.GZIP, spool=SpoolMode.MEMORY),
    service=ServiceSettings(name="shop"),
)


def state():
    """What must be as it was."""
    loggers = [logging.getLogger(), *logging.root.manager.loggerDict.values()]
    return (
        {
            logger.name: (logger.level, list(logger.handlers), logger.propagate, logger.disabled)
            for logger in loggers
            if isinstance(logger, logging.Logger) and (logger.handlers or logger.level or logger.disabled)
        },
        runtime.pipelines,
        (runtime.lookup, runtime.framework, runtime.is_hub_replaced),
        dict(os.environ),
        dict(hublog.bound()),
        (threading.Thread.start, ThreadPoolExecutor.submit),
    )


@contextlib.contextmanager
def captured(**arguments):
    """Capture records, and find everything as it was afterwards."""
    before = state()
    with capture_records(**arguments) as records:
        yield records
    assert state() == before


# The ways in which an application sets logging up.


@pytest.mark.usefixtures("calls")
class TestEachWayOfSettingUpArrives:
    def test_nothing_is_set_up(self, logger):
        with captured() as records:
            logger.info("order %d", 7)
            logger.debug("too low")
        assert records.messages == ["order 7"]

    def test_nothing_is_set_up_and_a_level_is_asked_for(self, logger):
        with captured(level="debug") as records:
            logger.debug("low")
        assert records.messages == ["low"]

    def test_a_handler_stands_on_the_root_logger_before(self, logger, monkeypatch):
        monkeypatch.setenv("EVENTHUB_NAMESPACE_CONNECTION_STRING", CONNECTION)
        with attached(hublog.EventHubHandler()), captured() as records:
            logger.warning("order")
            assert records.messages == ["order"]

    def test_a_handler_comes_later(self, logger, monkeypatch):
        monkeypatch.setenv("EVENTHUB_LOGGING_ENABLED", "false")  # as in the settings of many a test
        with captured() as records:
            logger.info("standing by")
            logging.getLogger().addHandler(hublog.EventHubHandler())
            logger.warning("order")
        assert records.messages == ["standing by", "order"]

    @pytest.mark.parametrize("connection", ["", CONNECTION])
    def test_setup_logging_is_called_meanwhile(self, logger, connection, monkeypatch):
        monkeypatch.setenv("EVENTHUB_NAMESPACE_CONNECTION_STRING", connection)
        with captured() as records:
            hublog.setup_logging(eventhub_config={"level": "WARNING"})
            logger.info("too low")
            logger.warning("order")
            assert records.messages == ["order"]
            assert logging.getLogger().level == logging.WARNING

    def test_an_app_of_flask_is_made_meanwhile(self):
        with captured() as records:
            app = flask_app()
            app.test_client().get("/orders/7")
            row = records.assert_logged(message="looked at order 7", http_route="/orders/<int:number>")
            records.assert_logged(record_type="request", http_status_code=200)
        assert (row["framework"], row["service_name"]) == ("flask", "shop")

    def test_a_dictionary_names_the_handler_meanwhile(self, logger):
        with captured() as records:
            logging.config.dictConfig(
                {
                    "version": 1,
                    "handlers": {"hub": {"class": "hublog.EventHubHandler", "level": "ERROR"}},
                    "loggers": {"shop": {"handlers": ["hub"], "level": "INFO"}},
                }
            )
            logging.getLogger("shop.new").warning("too low")
            logging.getLogger("shop.new").error("order")
            logging.getLogger("stock").error("elsewhere")
        assert records.messages == ["order"]


def flask_app():
    from flask import Flask

    from hublog.flask import HubLog

    app = Flask("shop")
    app.config.update(LOG_SERVICE_NAME="shop", EVENTHUB_LOGGING_ENABLED=True)
    HubLog(app)

    @app.get("/orders/<int:number>")
    def order(number):
        app.logger.info("looked at order %d", number)
        return "tea"

    return app


def test_an_app_that_was_made_before_arrives_with_its_own_settings(calls):
    app = flask_app()
    with captured() as records:
        app.test_client().get("/orders/7")
    row = records.assert_logged(message="looked at order 7")
    assert (row["framework"], row["service_name"]) == ("flask", "shop")


def test_setup_logging_of_before_arrives_at_the_level_of_its_hub(logger):
    hublog.setup_logging(eventhub_config={"level": "ERROR"})
    with captured() as records:
        logger.warning("too low")
        logger.error("order")
    assert records.messages == ["order"]


def test_the_same_set_up_once_more_arrives(logger):
    hublog.setup_logging()
    with captured() as records:
        hublog.setup_logging()
        logger.info("order")
    assert records.messages == ["order"]


# What arrives.


def test_a_row_is_what_the_table_gets(logger):
    with attached(hublog.EventHubHandler(settings=SETTINGS)), captured() as records:
        logger.error("order %d", 7, extra={"customer": "ann", "duration_ms": 2.5}, exc_info=ValueError("no"))
        (row,) = records
    assert set(row) <= set(BY_NAME)
    assert (row["message"], row["message_template"], row["level"]) == ("order 7", "order %d", "ERROR")
    assert (row["extra"], row["duration_ms"], row["service_name"]) == ({"customer": "ann"}, 2.5, "shop")
    assert row["exception_type"] == "ValueError"
    assert row["sent_at"] > row["timestamp"]
    json.dumps(row)


def test_two_handlers_of_one_configuration_make_one_row(logger):
    on_both = attached(hublog.EventHubHandler()), attached(hublog.EventHubHandler(), logger)
    with on_both[0], on_both[1], captured() as records:
        logger.warning("order")
    assert records.messages == ["order"]


def test_a_handler_that_was_closed_and_still_stands_makes_one_row(logger):
    with attached(hublog.EventHubHandler(), logger) as handler:
        handler.close()
        with captured() as records:
            logger.warning("order")
            logging.getLogger("stock").warning("elsewhere")
    assert records.messages == ["order", "elsewhere"]


def test_rows_of_two_hubs_are_in_the_order_in_which_they_were_logged(logger):
    other = logging.getLogger("stock")
    with (
        attached(hublog.EventHubHandler(), logger),
        attached(hublog.EventHubHandler(eventhub_name="other"), other),
        captured() as records,
    ):
        for number in range(6):
            (logger, other)[number % 2].warning("%d", number)
    assert records.messages == list("012345")


def test_many_threads_lose_nothing(logger):
    with captured() as records:
        with ThreadPoolExecutor(8) as pool:
            for number in range(800):
                pool.submit(logger.info, "%d", number)
        assert len(records) == 800
    assert sorted(row["sequence"] for row in records.rows) == list(range(1, 801))


def test_tasks_of_asyncio_arrive_with_what_is_bound_in_them(logger):
    async def order(number):
        hublog.bind(order=number)
        await asyncio.sleep(0)
        logger.info("done")

    async def main():
        await asyncio.gather(*(order(number) for number in range(3)))

    with captured() as records:
        asyncio.run(main())
        assert sorted(row["extra"]["order"] for row in records) == [0, 1, 2]


@pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork:DeprecationWarning")  # the subject
def test_a_forked_child_keeps_its_records_to_itself_and_calls_nobody(logger, calls):
    with attached(hublog.EventHubHandler(settings=SETTINGS)), captured() as records:
        logger.error("parent")
        child = os.fork()
        if child == 0:
            code = 1
            try:
                logger.error("child")
                code = int(not (hublog.flush(5) and calls == []))
            finally:
                os._exit(code)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        assert records.messages == ["parent"]


# A hub that fails.


def test_what_fails_waits_and_arrives_when_it_is_read(logger):
    with captured() as records:
        logger.error("before")
        records.fail_next(7)
        logger.error("urgent")
        logger.info("patient")
        assert records.waiting == 2
        assert records.messages == ["before", "urgent", "patient"]
        assert records.waiting == 0
        stats = hublog.stats()
        assert (stats.failures_total, stats.sent_total) == (7, 3)


@pytest.mark.parametrize("error", [OSError("gone"), OSError, PermanentSendError("wrong key")], ids=repr)
def test_the_error_may_be_any(logger, error):
    with captured() as records:
        records.fail_next(2, error)
        logger.error("order")
        assert records.messages == ["order"]


def test_a_flush_of_the_application_lets_time_pass_too(logger):
    with captured() as records:
        records.fail_next(6)
        logger.info("order")
        assert hublog.flush(5)
        assert records.waiting == 0


def test_a_hub_that_stays_away_ends_the_wait_of_a_reader_and_harms_no_other_test(logger, monkeypatch):
    monkeypatch.setattr("hublog.testing.recorded.READ_LIMIT_S", 0.2)
    with captured() as records:
        records.fail_next(1_000_000)
        logger.info("order")
        with pytest.raises(TimeoutError, match="1 records have not arrived"):
            len(records)
    assert records.messages == ["order"]


@pytest.mark.parametrize(("arguments", "error"), [((0,), ValueError), ((1, "away"), TypeError)])
def test_a_wrong_failure_raises_at_once(arguments, error):
    with captured() as records, pytest.raises(error):
        records.fail_next(*arguments)


# No network.


def test_a_pipeline_that_runs_calls_nobody_and_keeps_what_it_has(logger, calls):
    sender = MemorySender()
    pipeline = registry.get_pipeline(SETTINGS, make_sender=lambda _: sender)
    with attached(hublog.EventHubHandler(settings=SETTINGS)):
        logger.error("sent before")
        assert sender.wait_for(1)
        logger.warning("waits before")
        with captured() as records:
            assert sender.wait_until_closed()
            logger.error("inside")
            assert records.messages == ["inside"]
            assert not pipeline.flush(0.05)
            assert len(sender.bodies) == 1
        assert pipeline.flush(5)
        logger.error("after")
        assert pipeline.flush(5)
    assert pipeline.stats().sent_total == 3
    assert len(sender.bodies) == 3
    assert records.messages == ["inside"]
    assert calls == []


def test_a_connection_in_the_environment_is_not_used(logger, calls, monkeypatch):
    monkeypatch.setenv("EVENTHUB_NAMESPACE_CONNECTION_STRING", CONNECTION)
    with captured() as records:
        hublog.setup_logging()
        logger.error("order")
        assert hublog.flush(5)
    assert records.messages == ["order"]
    assert calls == []


def test_records_on_the_disk_of_others_are_left_there(logger, tmp_path, monkeypatch):
    monkeypatch.setenv("EVENTHUB_LOG_SPOOL_DIR", str(tmp_path / "spool"))
    monkeypatch.setenv("EVENTHUB_LOG_SPOOL", "always")
    with captured() as records:
        hublog.setup_logging()
        logger.error("order")
        assert len(records) == 1
    assert not (tmp_path / "spool").exists()


# Everything is as it was.


def test_a_handler_that_another_set_up_replaces_is_put_back_open(logger, monkeypatch, tmp_path, calls):
    monkeypatch.setenv("FILE_LOGGING_ENABLED", "true")
    monkeypatch.setenv("LOG_DIR", str(tmp_path))
    hublog.setup_logging()
    before = list(logging.getLogger().handlers)
    with captured():
        hublog.setup_logging(log_level="ERROR", log_to_stdout=True)
        assert logging.getLogger().handlers != before
    assert logging.getLogger().handlers == before
    logger.info("after")
    assert "after" in (tmp_path / "application.log").read_text()
    assert hublog.setup_logging().handlers == before


def test_what_a_dictionary_did_to_all_loggers_is_undone(logger):
    seen = []
    registry.get_pipeline(SETTINGS, make_sender=lambda _: MemorySender())

    class Seeing(logging.Handler):
        def emit(self, record):
            seen.append(record.getMessage())

    with (
        attached(Seeing(logging.ERROR)) as handler,
        attached(hublog.EventHubHandler(settings=SETTINGS), logger),
    ):
        with captured() as records:
            logging.config.dictConfig({"version": 1, "root": {"level": "CRITICAL", "handlers": []}})
            logger.setLevel(logging.CRITICAL)
            handler.setLevel(logging.CRITICAL)
            logging.disable(logging.CRITICAL)
        logger.error("after")
        logger.warning("after")
        with captured() as records:
            logger.error("inside")
        assert records.messages == ["inside"]
        assert hublog.flush(5)
        assert hublog.stats().sent_total == 2
    assert seen == ["after", "inside"]


def test_files_that_were_opened_meanwhile_are_closed(tmp_path):
    with captured():
        logging.getLogger("shop.file").addHandler(handler := logging.FileHandler(tmp_path / "a.log"))
    assert handler.stream is None


def test_everything_is_as_it_was_after_an_error_too(logger):
    def fail():
        with capture_records() as records:
            records.forbid("order")
            logger.info("order")
            hublog.bind(user_id="ann")
            raise KeyError("the test's own")

    before = state()
    with pytest.raises(KeyError, match="the test's own"):
        fail()
    assert state() == before


def test_the_handler_of_a_library_that_keeps_it_quiet_stays():
    quiet = logging.NullHandler()
    library = logging.getLogger("tests.library")
    with capture_records():
        library.addHandler(quiet)
    assert library.handlers == [quiet]
    library.removeHandler(quiet)


def test_threads_of_a_test_carry_its_fields_and_those_of_the_next_nothing(logger):
    before = threading.Thread.start
    with captured() as records:
        hublog.setup_logging()
        assert threading.Thread.start is not before
        with ThreadPoolExecutor(1) as pool:
            hublog.bind(user_id="ann")
            pool.submit(logger.info, "order")
        assert records.assert_logged(message="order")["user_id"] == "ann"
    assert threading.Thread.start is before


# The border between two tests.


def test_no_thread_is_left(logger):
    before = set(threading.enumerate())
    with captured() as records:
        logger.error("order")
        assert len(records) == 1
        made = set(threading.enumerate()) - before
    for thread in made:
        thread.join(5)
    assert len(made) >= 2
    assert not any(thread.is_alive() for thread in made)


def test_fields_that_a_test_left_bound_are_not_in_the_next(logger):
    with captured() as records:
        hublog.bind(user_id="ann")
        logger.info("first")
    with captured() as others:
        logger.info("second")
    assert [row.get("user_id") for row in (*records.rows, *others.rows)] == ["ann", None]


def test_a_thread_that_a_test_left_behind_logs_into_no_other(logger):
    begun, go_on, done = threading.Event(), threading.Event(), threading.Event()

    def work():
        logger.warning("in time")
        begun.set()
        go_on.wait(10)
        logger.warning("late")
        done.set()

    with attached(hublog.EventHubHandler()):
        with captured() as records:
            thread = threading.Thread(target=work)
            thread.start()
            assert begun.wait(10)
        with captured() as others:
            go_on.set()
            assert done.wait(10)
            logger.warning("own")
            assert others.messages == ["own"]
        assert records.messages == ["in time"]
        thread.join()


def test_a_record_that_such_a_thread_puts_into_a_queue_is_in_no_other_test(logger):
    waiting = queue.Queue()
    listener = logging.handlers.QueueListener(waiting, hublog.EventHubHandler(settings=SETTINGS))
    go_on, done, end = threading.Event(), threading.Event(), threading.Event()

    def work():
        go_on.wait(10)
        logger.warning("late")
        done.set()
        end.wait(10)

    thread = threading.Thread(target=work)
    with attached(logging.handlers.QueueHandler(waiting)):
        with captured() as records:
            listener.start()
            thread.start()
            logger.warning("first")
            waiting.join()
        with captured() as others:
            logger.warning("second")
            waiting.join()
            go_on.set()
            assert done.wait(10)
            waiting.join()
        end.set()
        thread.join(10)
        listener.stop()
    assert (records.messages, others.messages) == (["first"], ["second"])


def test_the_thread_of_a_pool_serves_the_next_test_too(logger):
    with ThreadPoolExecutor(1) as pool:
        with captured() as records:
            pool.submit(logger.info, "first").result()
        with captured() as others:
            pool.submit(logger.info, "second").result()
    assert (records.messages, others.messages) == (["first"], ["second"])


def test_a_record_that_was_on_its_way_when_the_test_ended_starts_no_thread(logger):
    with captured() as records:
        handler = hublog.EventHubHandler()
        logging.getLogger().addHandler(handler)
        logger.warning("in time")
        assert records.messages == ["in time"]
        late = handler.pipeline
    late.accept(logging.LogRecord("shop", logging.ERROR, "", 0, "late", None, None))
    assert late.process.worker.wait_until_ended(5)
    assert records.messages == ["in time"]


def test_an_inner_one_takes_what_is_logged_in_it(logger):
    with captured() as outer:
        logger.info("before")
        with captured() as inner:
            logger.info("inside")
        logger.info("after")
    assert (outer.messages, inner.messages) == (["before", "after"], ["inside"])


def test_a_handler_that_was_made_inside_and_is_open_takes_records_afterwards(logger):
    with capture_records():
        handler = hublog.EventHubHandler(settings=SETTINGS)
    assert type(handler.pipeline) is Pipeline
    handler.close()


@pytest.mark.parametrize("is_listening", [False, True])
def test_a_handler_that_a_test_left_behind_a_queue_takes_nothing_from_the_next_test(is_listening):
    from logging.handlers import QueueHandler, QueueListener
    from queue import Queue

    queue = Queue()
    left = hublog.EventHubHandler()
    listener = QueueListener(queue, left)
    if is_listening:
        listener.start()
    try:
        with capture_records(level="INFO") as records:
            logging.getLogger("shop").info("hello")
            assert records.messages == ["hello"]
        logging.getLogger().addHandler(QueueHandler(queue))
        with capture_records(level="INFO") as records:
            logging.getLogger("shop").warning("again")
            if is_listening:
                listener.stop()
            assert records.messages == ["again"]
    finally:
        if is_listening and listener._thread is not None:
            listener.stop()
        left.close()


def test_a_handler_behind_one_of_the_applications_own_kind_is_in_use():
    class Behind(logging.Handler):
        def __init__(self, others):
            super().__init__()
            self.others = others

        def emit(self, record):
            for other in self.others:
                other.handle(record)

    hub = hublog.EventHubHandler()
    logging.getLogger().addHandler(Behind([hub]))
    with capture_records(level="INFO") as records:
        logging.getLogger("shop").warning("hello")
        assert records.messages == ["hello"]
    hub.close()
