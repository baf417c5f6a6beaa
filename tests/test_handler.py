import contextvars
import gc
import logging
import logging.config
import threading

import pytest

import hublog
from hublog.capture.reentry_guard import enter_own_thread
from hublog.delivery.accounting import Drop
from hublog.errors import SettingsError
from hublog.handler import EventHubHandler
from hublog.runtime import registry
from hublog.runtime.pipeline import Pipeline
from hublog.runtime.shared import runtime
from hublog.settings import EventHubSettings, Settings
from hublog.testing import MemorySender

CONNECTED = (
    "Endpoint=sb://127.0.0.1:1;SharedAccessKeyName=n;SharedAccessKey=verysecret;UseDevelopmentEmulator=true"
)
SETTINGS = Settings(eventhub=EventHubSettings(connection_string=CONNECTED, batch_timeout_seconds=0.05))


@pytest.fixture
def sender():
    """All pipelines of the test send to this one."""
    gc.collect()  # handlers of other tests that nobody holds any more would feed them, too
    found, made = MemorySender(), []

    def make(settings, *, make_sender, **arguments):
        made.append(Pipeline(settings, make_sender=lambda settings: found, **arguments))
        return made[-1]

    with registry.replaced(make):
        yield found
    for pipeline in made:
        if pipeline.process is not None:
            pipeline.process.shipper.drop_held(Drop.EXIT)
            pipeline.retire()
            assert pipeline.process.worker.wait_until_ended(5.0)


@pytest.fixture
def logger():
    found = logging.getLogger("tests.handler")
    found.setLevel(logging.DEBUG)
    yield found
    found.handlers.clear()
    found.setLevel(logging.NOTSET)


def messages(sender):
    import json

    return [json.loads(line)["message"] for body in sender.bodies for line in body.splitlines()]


def test_two_handlers_of_one_configuration_ship_a_record_once(hublog_records, logger):
    parent = logging.getLogger("tests")
    child_handler, parent_handler = EventHubHandler(settings=SETTINGS), EventHubHandler(settings=SETTINGS)
    logger.addHandler(child_handler)
    parent.addHandler(parent_handler)
    try:
        for number in range(3):
            logger.warning("record %d", number)
    finally:
        parent.removeHandler(parent_handler)
    assert child_handler.pipeline is parent_handler.pipeline
    assert hublog_records.messages == ["record 0", "record 1", "record 2"]


def test_handlers_of_two_configurations_are_two_pipelines(sender):
    other = Settings(eventhub=EventHubSettings(connection_string=CONNECTED, eventhub_name="other"))
    assert EventHubHandler(settings=SETTINGS).pipeline is not EventHubHandler(settings=other).pipeline


def test_the_level_of_the_destination_applies_to_a_handler_without_one(hublog_records, logger):
    logger.addHandler(EventHubHandler(settings=SETTINGS))
    logger.debug("too low")
    logger.info("enough")
    assert hublog_records.messages == ["enough"]


def test_a_handlers_own_level_wins(hublog_records, logger):
    logger.addHandler(EventHubHandler(logging.DEBUG, settings=SETTINGS))
    logger.debug("low")
    assert hublog_records.messages == ["low"]


def test_dictconfig_makes_a_handler_of_plain_data(hublog_records):
    config = {
        "version": 1,
        "disable_existing_loggers": False,
        "handlers": {
            "eventhub": {
                "class": "hublog.EventHubHandler",
                "level": "INFO",
                "connection_string": CONNECTED,
                "batch_timeout_seconds": 0.05,
            }
        },
        "loggers": {"tests.dictconfig": {"handlers": ["eventhub"], "level": "INFO"}},
    }
    logger = logging.getLogger("tests.dictconfig")
    logging.config.dictConfig(config)
    logger.info("first")
    logging.config.dictConfig(config)
    logger.info("second")
    assert hublog_records.messages == ["first", "second"]
    assert len(hublog.stats().pipelines) == 1
    logger.handlers.clear()


def test_dictconfig_does_not_wait_for_a_hub_that_hangs(sender, logger):
    gate = threading.Event()
    accept = sender.send

    def hang(bodies, properties):
        gate.wait(30)
        return accept(bodies, properties)

    sender.send = hang
    handler = EventHubHandler(settings=SETTINGS)
    logger.addHandler(handler)
    logger.error("stuck")
    done = threading.Event()

    def reconfigure():
        logging.config.dictConfig({"version": 1, "disable_existing_loggers": False})
        done.set()

    thread = threading.Thread(target=reconfigure, daemon=True)
    thread.start()
    assert done.wait(4), "dictConfig waited for the network"
    gate.set()
    thread.join(5)
    assert hublog.flush(10)


@pytest.mark.parametrize(
    ("keywords", "named"),
    [
        ({"batch_size": 0}, "batch_size"),
        ({"batchsize": 5}, "batchsize"),
        ({"packing": "zip"}, "packing"),
    ],
)
def test_a_wrong_keyword_raises_at_once_and_is_named(sender, keywords, named):
    with pytest.raises(SettingsError, match=named):
        EventHubHandler(**keywords)


def test_a_secret_is_in_no_repr_and_no_error(sender):
    assert "verysecret" not in repr(EventHubHandler(settings=SETTINGS))
    assert "verysecret" not in repr(SETTINGS)
    with pytest.raises(SettingsError) as error:
        EventHubHandler(connection_string=CONNECTED.replace("Endpoint=", "Endpont="))
    assert "verysecret" not in str(error.value)


def test_switched_off_it_takes_nothing_and_starts_nothing(sender, logger, monkeypatch):
    monkeypatch.setenv("EVENTHUB_LOGGING_ENABLED", "false")
    handler = EventHubHandler(connection_string=CONNECTED)
    logger.addHandler(handler)
    logger.error("x")
    assert handler.pipeline.process is None


@pytest.mark.parametrize("value", ["false", '"0"', "Off"])
def test_the_environment_switches_off_what_code_has_made(sender, logger, monkeypatch, value):
    monkeypatch.setenv("EVENTHUB_LOGGING_ENABLED", value)
    handler = EventHubHandler(settings=SETTINGS)
    logger.addHandler(handler)
    logger.error("x")
    assert not handler.pipeline.is_enabled
    assert handler.pipeline.process is None


def test_a_filter_may_refuse_and_replace_records(hublog_records, logger):
    handler = EventHubHandler(settings=SETTINGS)
    handler.addFilter(lambda record: "secret" not in record.getMessage())
    logger.addHandler(handler)
    logger.info("secret")
    logger.info("open")
    assert hublog_records.messages == ["open"]


def test_the_console_beside_it_sees_the_record_unchanged(sender, logger):
    seen = []

    class Beside(logging.Handler):
        def emit(self, record):
            seen.append(dict(record.__dict__))

    before, after = Beside(), Beside()
    for handler in (before, EventHubHandler(settings=SETTINGS), after):
        logger.addHandler(handler)
    logger.info("m %s", [1], extra={"x": {1}})
    assert seen[0] == seen[1]


def test_flush_of_the_handler_waits_for_delivery(sender, logger):
    handler = EventHubHandler(settings=SETTINGS)
    logger.addHandler(handler)
    logger.info("x")
    handler.flush()
    assert messages(sender) == ["x"]


def test_the_last_handler_to_close_ends_the_thread_and_a_new_one_goes_on(sender, logger):
    handler = EventHubHandler(settings=SETTINGS)
    logger.addHandler(handler)
    logger.info("first")
    handler.close()
    worker = handler.pipeline.process.worker
    assert worker.wait_until_ended(10)
    assert sender.wait_until_closed(10)
    assert messages(sender) == ["first"]
    logger.info("second")
    assert hublog.flush(10)
    assert messages(sender) == ["first", "second"]


def test_a_record_that_comes_while_the_settings_are_being_read_is_taken(sender, logger, monkeypatch):
    monkeypatch.setenv("EVENTHUB_NAMESPACE_CONNECTION_STRING", CONNECTED)
    seen = []

    def follow(settings):
        if not seen:  # as a signal handler does that logs, or another thread
            seen.append(settings)
            logger.info("amid")

    runtime.followers.append(follow)
    try:
        handler = EventHubHandler()
        logger.addHandler(handler)
        logger.info("first")
        assert hublog.flush(10)
    finally:
        runtime.followers.remove(follow)
    assert sorted(messages(sender)) == ["amid", "first"]


def test_closing_and_logging_in_turn_loses_nothing(hublog_records, logger):
    for number in range(200):
        handler = EventHubHandler(settings=SETTINGS)
        logger.addHandler(handler)
        logger.info("record %d", number)
        logger.removeHandler(handler)
        handler.close()
    assert hublog_records.messages == [f"record {number}" for number in range(200)]
    assert len(hublog.stats().pipelines) == 1


@pytest.mark.parametrize("name", [None, 7, [], {"a": 1}, b"shop"], ids=repr)
def test_a_record_with_a_name_that_no_logger_has_is_taken(hublog_records, name):
    handler = EventHubHandler(settings=SETTINGS)
    record = logging.makeLogRecord({"msg": "made by hand", "levelno": logging.INFO, "levelname": "INFO"})
    record.name = name
    handler.handle(record)
    assert hublog_records.messages == ["made by hand"]
    handler.close()


def test_a_record_without_a_name_is_taken(hublog_records):
    handler = EventHubHandler(settings=SETTINGS)
    record = logging.makeLogRecord({"msg": "made by hand", "levelno": logging.INFO, "levelname": "INFO"})
    del record.name
    handler.handle(record)
    assert hublog_records.messages == ["made by hand"]
    handler.close()


@pytest.mark.parametrize(
    ("loggers", "level"),
    [({}, logging.WARNING), ({"azure": {"level": "INFO"}}, logging.INFO), ({"azure": {}}, logging.WARNING)],
    ids=["not named", "a level", "no level"],
)
@pytest.mark.usefixtures("sender")
def test_a_hand_made_configuration_has_the_azure_packages_quiet_unless_it_gives_them_a_level(loggers, level):
    root = logging.getLogger()
    before = root.level, list(root.handlers)
    handlers = {"hub": {"class": "hublog.EventHubHandler"}}
    try:
        logging.config.dictConfig(
            {
                "version": 1,
                "disable_existing_loggers": False,
                "handlers": handlers,
                "loggers": loggers,
                "root": {"level": "INFO", "handlers": ["hub"]},
            }
        )
        assert logging.getLogger("azure.eventhub._pyamqp").getEffectiveLevel() == level
        assert logging.getLogger("msal").level == logging.WARNING
    finally:
        root.setLevel(before[0])
        root.handlers[:] = before[1]


def test_a_level_that_the_application_gave_the_azure_packages_stays():
    logging.getLogger("azure").setLevel(logging.DEBUG)
    EventHubHandler(settings=SETTINGS).close()
    assert logging.getLogger("azure").level == logging.DEBUG


@pytest.mark.usefixtures("sender")
@pytest.mark.parametrize(
    ("error", "reason", "cause"),
    [
        (MemoryError(), "resource_exhausted", "no memory is left"),
        (OSError(28, "No space left on device"), "resource_exhausted", "No space left on device"),
        (OSError(24, "Too many open files"), "resource_exhausted", "Too many open files"),
        (RuntimeError("can't start new thread"), "resource_exhausted", "no thread can be started"),
        (KeyError("x"), "internal_error", "KeyError"),
        (OSError(5, "Input/output error"), "internal_error", "Input/output error"),
    ],
    ids=repr,
)
def test_a_record_that_could_not_be_taken_is_counted_and_its_cause_is_named(
    error, reason, cause, logger, caplog
):
    handler = EventHubHandler(settings=SETTINGS)
    logger.addHandler(handler)
    logger.warning("first")
    handler.pipeline.failed(error)
    handler.pipeline.failed(error)
    assert handler.pipeline.stats().dropped[reason] == 2
    told = [found.getMessage() for found in caplog.records if found.name == "hublog.internal"]
    assert told == [f"A record could not be taken: {cause}. It is counted as dropped."]


def test_a_record_at_the_end_of_the_stack_is_counted_and_raises_nothing(sender, logger, caplog):
    handler = EventHubHandler(settings=SETTINGS)
    logger.addHandler(handler)
    logger.warning("first")
    handler.pipeline.failed(RecursionError())
    assert handler.pipeline.stats().dropped["resource_exhausted"] == 1
    assert [found for found in caplog.records if found.name == "hublog.internal"] == []


def test_the_collector_changes_no_context_variable_of_a_thread_of_ours():
    def changes():
        enter_own_thread()
        before = dict(contextvars.copy_context())
        for phase in ("start", "stop"):
            for callback in gc.callbacks:
                callback(phase, {"generation": 0, "collected": 0, "uncollectable": 0})
            yield dict(contextvars.copy_context()) == before

    assert contextvars.Context().run(lambda: list(changes())) == [True, True]
