"""Exceptions that end a process or a thread: one record each, and the former hook is called."""

import json
import logging
import sys
import threading
from types import SimpleNamespace

import pytest
from tests.kits.file_hub import Program

from hublog.capture import context, thread_context
from hublog.runtime import uncaught
from hublog.testing import capture_records

LIMIT_S = 10
HEAD = """
import logging, sys, threading
import file_hub
file_hub.set_up(logger=logging.getLogger(), linger_s=60.0)
import hublog
logging.getLogger("shop").info("begun")
"""


def ended(tmp_path, code, status, **environ):
    """Run a program to its end; return its rows and what it printed."""
    (tmp_path / "program.py").write_text(HEAD + code)
    with Program(tmp_path, "program.py", **environ) as program:
        assert program.process.wait(60) == status, program.text()
        text = program.text()
    rows = [json.loads(line) for line in (tmp_path / "arrived").read_text().splitlines()]
    return [row for row in rows if row["message"] != "begun"], text


def test_a_crash_of_the_process_is_one_record_that_arrives_and_python_shows_it_as_ever(tmp_path):
    code = "hublog.bind(request_id='req-1')\nraise LookupError('gone')\n"
    [row], text = ended(tmp_path, code, 1)
    assert (row["level"], row["logger_name"], row["event_name"]) == (
        "CRITICAL",
        "hublog.uncaught",
        "process.failed",
    )
    assert (row["exception_type"], row["exception_message"]) == ("LookupError", "gone")
    assert "program.py" in row["exception_stacktrace"]
    assert row["request_id"] == "req-1"
    assert row["message"] == "Uncaught LookupError ends the process"
    assert text.count("LookupError: gone") == 1


@pytest.mark.parametrize(
    ("code", "status"),
    [
        ("raise SystemExit(3)", 3),
        ("raise KeyboardInterrupt", -2),
        ("sys.exit('sorry')", 1),
    ],
)
def test_what_ends_a_process_on_purpose_is_no_record(tmp_path, code, status):
    rows, _ = ended(tmp_path, code, status)
    assert rows == []


LOGGING_HOOK = """
def hook(kind, error, trace):
    logging.getLogger("shop").critical("own", exc_info=(kind, error, trace))
    FORMER(kind, error, trace)
FORMER = sys.excepthook
sys.excepthook = hook
"""


@pytest.mark.parametrize("is_theirs_first", [False, True])
def test_a_hook_of_the_application_that_logs_makes_one_record_in_all(tmp_path, is_theirs_first):
    again = "hublog.EventHubHandler.__init__\nfrom hublog.runtime import uncaught\n"
    again += "uncaught.uninstall()\n" + LOGGING_HOOK + "uncaught.install()\n"
    if is_theirs_first:
        rows, _ = ended(tmp_path, again + "raise LookupError('gone')\n", 1)
        assert [row["message"] for row in rows] == ["own"]
    else:
        rows, text = ended(tmp_path, LOGGING_HOOK + "raise LookupError('gone')\n", 1)
        assert sorted(row["message"] for row in rows) == ["Uncaught LookupError ends the process", "own"]
        assert text.count("LookupError: gone") == 1


@pytest.fixture
def hook(monkeypatch):
    """Stand in for the former hook of threads, and let pytest see no exception of theirs."""
    called = []

    def former(args):
        called.append(args.exc_value)

    former.__module__ = "threading"
    monkeypatch.setattr(threading, "excepthook", former)
    monkeypatch.setattr(sys, "excepthook", lambda *args: called.append(args[1]))
    uncaught.install()
    yield called
    uncaught.uninstall()


@pytest.fixture
def records():
    with capture_records(level="DEBUG") as records:
        yield records


def fail(error):
    raise error


def run(error):
    thread = threading.Thread(target=fail, args=(error,), name="importer")
    thread.start()
    thread.join(LIMIT_S)
    assert not thread.is_alive()


def test_a_thread_that_crashes_is_one_record_with_the_fields_of_its_request(hook, records):
    thread_context.install()
    token = context.enter({"request_id": "req-1"})
    error = LookupError("gone")
    run(error)
    context.leave(token)
    [row] = records.rows
    assert row["message"] == "Uncaught LookupError ends the thread importer"
    assert (row["level"], row["event_name"], row["request_id"]) == ("CRITICAL", "thread.failed", "req-1")
    assert row["exception_type"] == "LookupError"
    assert hook == [error]


def test_a_thread_that_exits_is_no_record(hook, records):
    run(SystemExit(1))
    assert list(records.rows) == []


def test_a_record_that_cannot_be_made_does_not_keep_the_former_hook_from_its_call(hook, records):
    class Broken(logging.Filter):
        def filter(self, record):
            raise ValueError

    logger = logging.getLogger(uncaught.LOGGER_NAME)
    broken = Broken()
    logger.addFilter(broken)
    error = LookupError("gone")
    try:
        run(error)
    finally:
        logger.removeFilter(broken)
    assert hook == [error]


def test_a_former_hook_that_raises_raises_as_before_and_the_record_is_there(records, monkeypatch):
    def former(*args):
        raise ValueError("of the hook")

    monkeypatch.setattr(sys, "excepthook", former)
    uncaught.install()
    error = LookupError("gone")
    with pytest.raises(ValueError, match="of the hook"):
        sys.excepthook(LookupError, error, None)
    uncaught.uninstall()
    assert sys.excepthook is former
    assert [row["exception_type"] for row in records.rows] == ["LookupError"]


def test_installing_twice_wraps_once_and_off_is_off(hook, records):
    first = sys.excepthook
    uncaught.install()
    assert sys.excepthook is first
    uncaught.follow(SimpleNamespace(uncaught_exceptions=False))
    assert sys.excepthook is not first
    run(LookupError("gone"))
    first(LookupError, LookupError("gone"), None)
    assert list(records.rows) == []


def test_without_a_handler_nothing_is_printed_twice(hook, monkeypatch, capsys):
    monkeypatch.setattr(logging.root, "handlers", [])
    run(LookupError("gone"))
    assert len(hook) == 1
    assert capsys.readouterr().err == ""
