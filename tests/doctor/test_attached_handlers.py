"""What the doctor says about the handlers of its own process."""

import io
import logging
import logging.handlers
import subprocess
import sys

import pytest

from hublog import ConsoleHandler, EventHubHandler
from hublog.doctor.attached_handlers import UNKNOWN, check_handlers
from hublog.settings import read_settings

CONNECTED = "Endpoint=sb://127.0.0.1:1;SharedAccessKeyName=n;SharedAccessKey=a2V5;UseDevelopmentEmulator=true"
ON = read_settings(environ={"EVENTHUB_NAMESPACE_CONNECTION_STRING": CONNECTED}).settings
OFF = read_settings(environ={"EVENTHUB_LOGGING_ENABLED": "false"}).settings


@pytest.fixture
def attach(monkeypatch):
    """Leave the loggers of this process with the handlers that a test attaches, and those alone."""
    monkeypatch.setattr(logging.root, "handlers", [])
    monkeypatch.setattr(logging.root.manager, "loggerDict", {})
    monkeypatch.setattr(logging.root, "level", logging.INFO)
    made = []

    def attach_to(name, *handlers, propagate=True):
        logging.root.handlers[:] = [each for each in logging.root.handlers if each in made]  # pytest has some
        logger = logging.getLogger(name)
        logger.propagate = propagate
        for handler in handlers:
            logger.addHandler(handler)
            made.append(handler)
        return logger

    yield attach_to
    for handler in made:
        handler.close()


def found(settings=OFF):
    return [(str(each.status), each.detail) for each in check_handlers(settings, has_application=True)]


def warnings(settings=OFF):
    return [detail for status, detail in found(settings) if status == "warn"]


def test_each_logger_is_listed_with_class_level_and_destination(attach, tmp_path):
    attach("", ConsoleHandler(logging.WARNING))
    attach("shop", logging.FileHandler(tmp_path / "shop.log"))
    assert found() == [
        ("ok", "the root logger, level INFO: hublog.ConsoleHandler WARNING to standard output"),
        ("ok", f"the logger 'shop', level INFO: logging.FileHandler to {tmp_path / 'shop.log'}"),
    ]


def test_handlers_behind_another_one_are_listed_too(attach):
    attach("", logging.handlers.MemoryHandler(10, target=ConsoleHandler()))
    assert found() == [
        ("ok", "the root logger, level INFO: logging.MemoryHandler; hublog.ConsoleHandler to standard output")
    ]


def test_a_hub_that_is_switched_on_without_a_handler_is_a_warning(attach):
    assert warnings(ON) == ["the Event Hub is switched on, but no logger has an EventHubHandler"]
    attach("shop", EventHubHandler(settings=ON))
    assert warnings(ON) == []


def test_a_handler_that_is_attached_to_two_loggers_of_a_line_is_a_warning(attach):
    handler = logging.StreamHandler(io.StringIO())
    attach("", handler)
    attach("shop.orders", handler)
    [said] = warnings()
    assert "StringIO is attached twice, on the logger 'shop.orders' and the root logger: records" in said
    assert said.endswith("of the logger 'shop.orders' come twice")
    logging.getLogger("shop.orders").propagate = False
    assert not any("twice" in each for each in warnings())


def test_two_handlers_of_one_file_are_a_warning(attach, tmp_path):
    attach("", *[logging.FileHandler(tmp_path / "a.log") for _ in range(2)])
    assert len(warnings()) == 1


def test_two_handlers_that_share_a_pipeline_send_once_and_are_no_warning(attach):
    attach("", EventHubHandler(settings=ON))
    attach("shop", EventHubHandler(settings=ON))
    assert warnings(ON) == []


def test_a_filter_may_keep_the_two_apart(attach):
    one, other = logging.StreamHandler(sys.stderr), logging.StreamHandler(sys.stderr)
    other.addFilter(lambda record: record.levelno > logging.ERROR)
    attach("", one, other)
    assert warnings() == []


def test_a_logger_that_does_not_propagate_reaches_nothing_of_ours(attach):
    attach("", ConsoleHandler())
    attach("shop", logging.NullHandler(), propagate=False)
    attach("audit", ConsoleHandler(), propagate=False)
    assert warnings() == ["records of the logger 'shop' reach none of hublog's handlers (propagate=False)"]


def test_loggers_that_a_configuration_has_disabled_are_a_warning(attach):
    attach("", ConsoleHandler())
    attach("shop").disabled = True
    [said] = warnings()
    assert said == "the logger 'shop' loses its records: a logging configuration has disabled it"


def test_logging_that_is_disabled_as_a_whole_is_a_warning(attach, monkeypatch):
    attach("", ConsoleHandler())
    monkeypatch.setattr(logging.root.manager, "disable", logging.INFO)
    assert warnings() == ["logging.disable(INFO) is in effect for all loggers"]


def test_without_an_application_it_names_the_commands_that_know():
    [result] = check_handlers(ON, has_application=False)
    assert (str(result.status), result.detail) == ("ok", UNKNOWN)


FLASK = """
import logging
from flask import Flask
from hublog.flask import HubLog

app = Flask("shop")
HubLog(app)
logging.getLogger("shop.quiet").propagate = False
"""


def test_flask_hublog_doctor_lists_what_the_application_has_attached(tmp_path):
    (tmp_path / "shop.py").write_text(FLASK)
    run = subprocess.run(
        [sys.executable, "-m", "flask", "--app", "shop", "hublog", "doctor"],
        cwd=tmp_path,
        env={"EVENTHUB_LOGGING_ENABLED": "false", "LOG_DIR": str(tmp_path / "logs"), "PYTHONPATH": "."},
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stdout + run.stderr
    assert (
        "ok    handlers      the root logger, level DEBUG: hublog.ConsoleHandler INFO to standard output;"
        in run.stdout
    )
    assert f"hublog.FileLogHandler DEBUG to {tmp_path}/logs/application.log" in run.stdout
    assert "warn  handlers      records of the logger 'shop.quiet' reach none of hublog's" in run.stdout
