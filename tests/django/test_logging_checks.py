"""The checks of ``LOGGING``, and of what writes to disk."""

import logging
import sys
import types

import pytest
from django.core.checks import Info, Warning  # noqa: A004  # Django's name
from tests.django.setups import CONSOLE, GOOD, HUB, dict_config, found, ids, project

from hublog.django.checks import known_workers

pytestmark = pytest.mark.usefixtures("environ")


def logger(*handlers, **more):
    return {"handlers": list(handlers), **more}


SHOP = logger("hub")
ROOT_LOGGER = logger("hub", level="INFO")
EVERY = [
    pytest.param({"shop": SHOP}, ROOT_LOGGER, 1, id="logger and root"),
    pytest.param({"shop": SHOP, "shop.cart.items": SHOP}, None, 1, id="logger and ancestor"),
    pytest.param({"shop": logger("hub", "other")}, None, 1, id="one list"),
    pytest.param({"shop": logger("hub", "hub")}, None, 1, id="one name in one list"),
    pytest.param({"shop": logger("same")}, logger("file", level="INFO"), 1, id="two handlers of one file"),
    pytest.param({"django": logger("console")}, logger("console", level="INFO"), 1, id="console"),
    pytest.param({"shop": logger("hub", propagate=False)}, ROOT_LOGGER, 0, id="no propagation"),
    pytest.param({"a": {"propagate": False}, "a.b": SHOP}, ROOT_LOGGER, 0, id="no propagation between"),
    pytest.param({"shop": SHOP, "other": SHOP}, None, 0, id="neighbours"),
    pytest.param({"shop": SHOP, "shopping": SHOP}, None, 0, id="like names"),
    pytest.param({"shop": logger("elsewhere")}, ROOT_LOGGER, 0, id="two hubs"),
]


@pytest.mark.parametrize(("loggers", "root", "number"), EVERY)
def test_a_handler_that_meets_a_record_twice_is_told_once(tmp_path, loggers, root, number):
    file = {"class": "logging.FileHandler", "filename": str(tmp_path / "a.log")}
    handlers = {
        "hub": HUB,
        "other": {**HUB, "level": "ERROR"},
        "elsewhere": {**HUB, "eventhub_name": "audit"},
        "file": file,
        "same": {**file, "filename": tmp_path / "b" / ".." / "a.log"},
        "console": CONSOLE,
    }
    config = dict_config(handlers, loggers, root)
    # Without request records, since most of these reach no hub.
    assert ids(**{**GOOD, "LOGGING": config, "LOG_ACCESS_RECORDS": False}) == ["W004"] * number


ERRORS = {"class": "logging.StreamHandler", "stream": "ext://sys.stderr"}
OUTPUT = {"class": "logging.StreamHandler", "stream": "ext://sys.stdout"}
IN_DEBUG = {"debug": {"()": "django.utils.log.RequireDebugTrue"}}


@pytest.mark.parametrize(
    ("handlers", "loggers", "debug", "number"),
    [
        pytest.param({"console": CONSOLE}, {}, True, 1, id="Django's console with DEBUG"),
        pytest.param({"console": CONSOLE}, {}, False, 0, id="Django's console without DEBUG"),
        pytest.param(
            {"ours": {"class": "hublog.ConsoleHandler"}}, {}, True, 1, id="our console and Django's"
        ),
        pytest.param({"console": CONSOLE}, {"django": {"level": "INFO"}}, True, 0, id="taken from django"),
        pytest.param({}, {}, True, 0, id="Django's alone"),
        pytest.param({"out": OUTPUT, "errors": ERRORS}, {"django": {}}, False, 1, id="stdout and stderr"),
        pytest.param(
            {"out": OUTPUT, "errors": {**ERRORS, "filters": ["debug"]}},
            {"django": {}},
            False,
            0,
            id="filtered",
        ),
        pytest.param(
            {"out": OUTPUT, "errors": {**ERRORS, "filters": ["debug"]}}, {"django": {}}, True, 1, id="passing"
        ),
        pytest.param(
            {"out": OUTPUT, "errors": {**ERRORS, "filters": ["own"]}},
            {"django": {}},
            True,
            0,
            id="own filter",
        ),
    ],
)
def test_a_record_that_is_on_the_terminal_twice_is_found(handlers, loggers, debug, number):
    filters = {**IN_DEBUG, "own": {"()": "logging.Filter"}}
    root = {"handlers": ["hub", *handlers], "level": "INFO"}
    config = dict_config({"hub": HUB, **handlers}, loggers, root, filters=filters)
    applied = "logging.config.dictConfig"
    found = ids(**{**GOOD, "DEBUG": debug, "LOGGING": config, "LOGGING_CONFIG": applied})
    assert found == ["W004"] * number


@pytest.mark.usefixtures("leaky_client")
def test_two_real_handlers_of_one_hub_send_a_record_once_and_one_at_two_loggers_twice():
    """What the messages of W004 say."""
    from hublog import EventHubHandler
    from hublog.runtime.registry import flush
    from hublog_local import LocalHub

    with LocalHub({"application-logs": 1}) as hub:
        handlers = [EventHubHandler(connection_string=hub.connection_string()) for _ in range(2)]
        parent, child = logging.getLogger("w004"), logging.getLogger("w004.child")
        parent.propagate = False
        try:
            parent.addHandler(handlers[0])
            child.addHandler(handlers[1])
            child.warning("once")
            assert flush(10)
            child.removeHandler(handlers[1])
            child.addHandler(handlers[0])
            handlers[1].close()
            child.warning("at least once")
            assert flush(10)
        finally:
            parent.removeHandler(handlers[0])
            child.removeHandler(handlers[0])
            handlers[0].close()
        sent = b"".join(event.body for event in hub.events())
    assert sent.count(b'"message":"once"') == 1
    assert sent.count(b'"message":"at least once"') >= 1


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        ({"disable_existing_loggers": True}, ["W005"]),
        ({"disable_existing_loggers": True, "loggers": {"django": {}}}, []),
        ({"disable_existing_loggers": True, "loggers": {"django.request": {}}}, ["W005"]),
        ({"disable_existing_loggers": False}, []),
        ({"disable_existing_loggers": True, "incremental": True}, []),
    ],
    ids=["on", "named", "one of them named", "off", "incremental"],
)
def test_loggers_that_are_silenced_are_told(changed, expected):
    assert ids(**{**GOOD, "LOGGING": {**dict_config({"hub": HUB}), **changed}}) == expected


def test_a_logger_that_is_silenced_now_is_named():
    silenced = logging.getLogger("aaa.silenced")
    config = {"version": 1, "handlers": {"hub": HUB}, "loggers": {"django": {}}}
    silenced.disabled = True
    try:
        [message] = found(**{**GOOD, "LOGGING": config})
        assert message.id == "hublog.W005"
        assert "aaa.silenced" in message.msg
        assert ids(**{**GOOD, "LOGGING": {**config, "loggers": {"django": {}, "aaa": {}}}}) == []
    finally:
        silenced.disabled = False


LOGGING = """
EVENTHUB_LOGGING_ENABLED = False
LOGGING = {"version": 1, "handlers": {"c": {"class": "logging.StreamHandler"}}, "root": {"handlers": ["c"]}}
"""


def test_in_a_real_project_it_is_on_unless_it_is_said_and_silences_djangos_loggers(tmp_path):
    assert project(tmp_path / "first", LOGGING) == ["W005"]
    assert project(tmp_path / "second", LOGGING + 'LOGGING["disable_existing_loggers"] = False') == []


ROTATING = {
    "class": "logging.handlers.RotatingFileHandler",
    "filename": "a.log",
    "maxBytes": 1,
    "delay": True,
}
TIMED = {"class": "logging.handlers.TimedRotatingFileHandler", "filename": "a.log", "delay": True}


@pytest.mark.parametrize("handler", [ROTATING, TIMED], ids=["size", "time"])
def test_plain_rotation_is_a_warning_with_several_workers_and_else_a_word(environ, handler):
    config = {**GOOD, "LOGGING": dict_config({"hub": HUB, "file": handler})}
    [message] = found(**config)
    assert (message.id, type(message)) == ("hublog.I001", Info)
    assert ids(**config, DEBUG=True) == []
    environ.setenv("WEB_CONCURRENCY", "4")
    for is_debug in (True, False):
        [message] = found(**config, DEBUG=is_debug)
        assert (message.id, type(message)) == ("hublog.W006", Warning)
        assert "4 workers" in message.msg
    environ.setenv("WEB_CONCURRENCY", "1")
    assert ids(**config, DEBUG=True) == []


@pytest.mark.parametrize(
    "kind", ["ConcurrentRotatingFileHandler", "ConcurrentTimedRotatingFileHandler"], ids=["size", "time"]
)
def test_rotation_that_many_processes_may_share_is_fine(environ, kind):
    environ.setenv("WEB_CONCURRENCY", "4")
    handlers = {"hub": HUB, "file": {"class": f"concurrent_log_handler.{kind}", "filename": "a.log"}}
    assert ids(**{**GOOD, "LOGGING": dict_config(handlers)}) == []


@pytest.mark.parametrize(
    ("environ", "arguments", "number"),
    [
        ({}, ["manage.py"], 0),
        ({"WEB_CONCURRENCY": "3"}, [], 3),
        ({"WEB_CONCURRENCY": "many"}, [], 0),
        ({"GUNICORN_CMD_ARGS": "--bind :80 -w 5"}, [], 5),
        ({"GUNICORN_CMD_ARGS": "-w5 --workers=6"}, [], 6),
        ({"GUNICORN_CMD_ARGS": "--worker-class gthread --workers 7 'unclosed"}, [], 7),
        ({"UWSGI_PROCESSES": "8"}, [], 8),
        ({}, ["/usr/bin/gunicorn", "-w", "9", "shop.wsgi"], 9),
        ({}, ["/usr/lib/uvicorn", "--workers", "2"], 2),
        ({}, ["manage.py", "-w", "9"], 0),
        ({}, ["gunicorn", "-w"], 0),
    ],
)
def test_the_number_of_workers_is_read_where_it_is_said(environ, arguments, number):
    assert known_workers(environ, arguments, {}) == number


def test_uwsgi_says_its_number_of_workers_itself():
    assert known_workers({}, [], {"uwsgi": types.SimpleNamespace(numproc=4)}) == 4
    assert known_workers({}, [], {"uwsgi": types.SimpleNamespace(numproc=None)}) == 0


@pytest.mark.parametrize(
    ("root", "loggers", "expected"),
    [
        ({"handlers": ["hub"]}, {}, ["W014"]),
        ({"handlers": ["hub"], "level": "WARNING"}, {}, []),
        ({"handlers": ["hub"]}, {"shop": {"level": "INFO"}}, []),
        ({"handlers": ["console"]}, {}, []),
    ],
    ids=["no level", "a level", "a logger with one", "another handler"],
)
def test_a_root_that_hides_what_the_hub_wants_is_told(root, loggers, expected):
    config = {**dict_config({"hub": HUB, "console": CONSOLE}, loggers), "root": root}
    assert ids(**{**GOOD, "LOGGING": config}) == expected


def test_a_log_file_that_cannot_be_written_is_told_with_its_path(tmp_path):
    (tmp_path / "taken").write_text("")
    path = str(tmp_path / "taken" / "a.log")
    handlers = {"hub": HUB, "file": {"class": "logging.FileHandler", "filename": path, "delay": True}}
    [message] = found(**{**GOOD, "LOGGING": dict_config(handlers)})
    assert (message.id, path in message.msg) == ("hublog.W011", True)


def test_what_the_server_does_to_records_is_told(environ):
    module = types.SimpleNamespace(has_threads=0, opt={"skip-atexit": True}, numproc=1)
    environ.setitem(sys.modules, "uwsgi", module)
    messages = found(**GOOD)
    assert [message.id for message in messages] == ["hublog.W009", "hublog.W009"]
    assert "enable-threads" in messages[0].msg + messages[1].msg
    assert "skip-atexit" in messages[0].msg + messages[1].msg


@pytest.mark.parametrize(
    ("written", "told"),
    [
        ("[uwsgi]\nskip-atexit = true\nmodule = shop.wsgi\n", ["skip-atexit"]),
        ("[uwsgi]\nskip-atexit\n", ["skip-atexit"]),
        ("[uwsgi]\nskip-atexit = true\nskip-atexit = false\n", []),
        ("[uwsgi]\nenable-threads = false\ngevent = 100\n", ["enable-threads", "gevent"]),
        ("[uwsgi]\nenable-threads = false\nthreads = 4\n", []),
        ("[uwsgi]\nenable-threads = true\nvacuum = %(vac\n", []),
        ("[other]\nskip-atexit = true\n", []),
        ("skip-atexit = true\n", []),
        ("[uwsgi\n\0", []),
    ],
    ids=[
        "switch",
        "name alone",
        "given again",
        "threads and loop",
        "threads",
        "good",
        "other",
        "none",
        "broken",
    ],
)
def test_options_in_the_file_of_uwsgi_are_told_before_it_runs(tmp_path, written, told):
    (tmp_path / "uwsgi.ini").write_text(written)
    messages = found(**GOOD, BASE_DIR=tmp_path)
    assert [message.id for message in messages] == ["hublog.W016"] * len(told)
    text = " ".join(message.msg for message in messages)
    assert all(name in text for name in told)


def test_a_variable_of_uwsgi_goes_before_its_file(environ, tmp_path):
    (tmp_path / "uwsgi.ini").write_text("[uwsgi]\nskip-atexit = true\n")
    environ.setenv("UWSGI_SKIP_ATEXIT", "false")
    assert ids(**GOOD, BASE_DIR=str(tmp_path)) == []
    environ.setenv("UWSGI_SKIP_ATEXIT_TEARDOWN", "1")
    assert ids(**GOOD, BASE_DIR=str(tmp_path)) == ["W016"]


def test_exit_hooks_are_not_missed_where_each_record_is_on_disk(tmp_path):
    (tmp_path / "uwsgi.ini").write_text("[uwsgi]\nskip-atexit = true\n")
    assert ids(**GOOD, BASE_DIR=tmp_path, EVENTHUB_LOG_SPOOL="always") == []


# Request records, and settings that nothing follows.


def test_a_handler_on_the_applications_logger_alone_is_found(environ):
    loggers = {"tickets": {"handlers": ["hub"], "level": "INFO", "propagate": False}}
    config = dict_config(
        {"hub": HUB, "console": CONSOLE}, loggers, {"handlers": ["console"], "level": "INFO"}
    )
    messages = found(**{**GOOD, "LOGGING": config})
    assert [message.id for message in messages] == ["hublog.W018"]
    assert "only those of the logger 'tickets' do" in messages[0].msg
    assert ids(**{**GOOD, "LOGGING": config, "LOG_ACCESS_RECORDS": False}) == []


@pytest.mark.parametrize("name", ["hublog.request", "hublog"])
def test_a_handler_on_the_logger_of_requests_is_enough(name):
    loggers = {
        "tickets": {"handlers": ["hub"], "propagate": False},
        name: {"handlers": ["hub"], "propagate": False},
    }
    assert ids(**{**GOOD, "LOGGING": dict_config({"hub": HUB}, loggers)}) == []


def test_a_setting_that_no_handler_follows_is_found():
    assert ids(**{**GOOD, "FILE_LOG_LEVEL": "ERROR"}) == ["W017"]
    assert ids(**{**GOOD, "FILE_LOG_LEVEL": "ERROR", "FILE_LOGGING_ENABLED": False}) == []


def test_a_queue_that_no_listener_empties_is_found():
    from logging.handlers import QueueHandler, QueueListener
    from queue import SimpleQueue

    from tests.django.setups import EMULATOR

    from hublog import EventHubHandler

    queue, root = SimpleQueue(), logging.getLogger()
    hub, front = EventHubHandler(connection_string=EMULATOR), QueueHandler(queue)
    listener = QueueListener(queue, hub)
    root.addHandler(front)
    try:
        assert ids(**GOOD) == ["W019"]
        listener.start()
        assert ids(**GOOD) == []
        listener.stop()
    finally:
        root.removeHandler(front)
        hub.close()
