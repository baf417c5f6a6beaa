"""Handlers that get no records are noticed: removed by a later configuration, or behind a queue."""

import logging
import logging.config
import subprocess
import sys
from logging.handlers import QueueHandler, QueueListener
from queue import SimpleQueue

import pytest

from hublog.configure import configure
from hublog.runtime import handler_watch
from hublog.runtime.shared import runtime
from hublog.settings import EventHubSettings, Settings

CONNECTION = "Endpoint=sb://127.0.0.1:1;SharedAccessKeyName=a;SharedAccessKey=b;UseDevelopmentEmulator=true"
OTHERS = {
    "version": 1,
    "disable_existing_loggers": False,
    "handlers": {"other": {"class": "logging.NullHandler"}},
    "root": {"level": "INFO", "handlers": ["other"]},
}

pytestmark = pytest.mark.usefixtures("logging_state")


@pytest.fixture(autouse=True)
def root():
    """Put back what a configuration has removed, also from pytest."""
    found = logging.getLogger()
    before = found.level, list(found.handlers), runtime.removed
    yield found
    for handler in set(found.handlers) - set(before[1]):
        found.removeHandler(handler)
        handler.close()
    found.setLevel(before[0])
    found.handlers[:], runtime.removed = before[1:]


@pytest.fixture
def settings(tmp_path):
    hub = EventHubSettings(connection_string=CONNECTION, exit_timeout_seconds=0.1)
    return Settings(log_dir=tmp_path / "logs", eventhub=hub)


@pytest.fixture
def told():
    class Keeping(logging.Handler):
        def emit(self, record):
            texts.append(record.getMessage())

    texts, logger, handler = [], logging.getLogger("hublog.internal"), Keeping()
    logger.addHandler(handler)
    yield texts
    logger.removeHandler(handler)


def test_a_later_configuration_that_removes_the_handlers_is_reported_once_with_its_module(settings, told):
    configure(settings)
    logging.config.dictConfig(OTHERS)
    logging.config.dictConfig(OTHERS)
    text = (
        f"A logging configuration that was applied by {__name__} has removed hublog's handlers, and records"
        " no longer reach the Event Hub and the log file: call setup_logging() after it, or add the handlers"
        " to it (hublog.EventHubHandler)."
    )
    assert told == handler_watch.findings() == [text]


def test_handlers_that_are_attached_again_are_no_finding(settings):
    configure(settings)
    logging.config.dictConfig(OTHERS)
    configure(settings)
    assert handler_watch.findings() == []


@pytest.mark.parametrize(
    "config",
    [
        {"version": 1, "disable_existing_loggers": False},
        {"version": 1, "incremental": True, "root": {"level": "INFO"}},
        {**OTHERS, "handlers": {"other": {"class": "hublog.EventHubHandler"}}},
    ],
    ids=["others only", "incremental", "with our handler"],
)
def test_a_configuration_that_leaves_the_event_hub_is_not_reported(config, settings, told):
    configure(Settings(eventhub=settings.eventhub, log_dir=settings.log_dir))
    for handler in [each for each in logging.getLogger().handlers if each.name == "hublog_file"]:
        logging.getLogger().removeHandler(handler)
        handler.close()
    logging.config.dictConfig(config)
    assert told == []
    assert handler_watch.findings() == []


def test_a_queue_whose_listener_is_not_started_is_found_until_it_is(root):
    from hublog import EventHubHandler

    queue = SimpleQueue()
    hub = EventHubHandler(connection_string=CONNECTION)
    listener = QueueListener(queue, hub)
    front = QueueHandler(queue)
    root.addHandler(front)
    logging.getLogger("shop").warning("waits")
    assert [
        "is not started, so records wait in its queue (1 now)" in text for text in handler_watch.findings()
    ] == [True]
    queue.get()
    listener.start()
    try:
        assert handler_watch.findings() == []
    finally:
        listener.stop()
        hub.close()


def test_what_nobody_took_from_a_queue_is_reported_at_the_end(tmp_path):
    code = (
        "import logging, queue, hublog\n"
        "from logging.handlers import QueueHandler, QueueListener\n"
        "waiting = queue.SimpleQueue()\n"
        f"listener = QueueListener(waiting, hublog.EventHubHandler(connection_string={CONNECTION!r}))\n"
        "logging.getLogger().addHandler(QueueHandler(waiting))\n"
        "logging.warning('waits')\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stderr.count("stand behind a QueueListener that is not started") == 1
    assert "(1 now)" in done.stderr


def test_litestar_that_configures_logging_in_its_constructor_is_named(tmp_path):
    pytest.importorskip("litestar")
    code = (
        "import hublog; hublog.setup_logging()\n"
        "from litestar import Litestar\n"
        "app = Litestar([])\n"
        "import logging; logging.getLogger('shop').warning('after')\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env={"EVENTHUB_NAMESPACE_CONNECTION_STRING": CONNECTION, "EVENTHUB_LOG_EXIT_TIMEOUT": "0.1"},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert (done.stdout + done.stderr).count("that was applied by litestar") == 1
