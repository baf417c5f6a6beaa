"""Django's system checks: each appears where its mis-setup is, and in no good set-up."""

import logging
import os
import re
import subprocess
import sys
import types
from pathlib import Path

import pytest
from django.core.checks import Info, Tags, Warning, run_checks  # noqa: A004  # Django's name
from django.test import override_settings
from hypothesis import given
from hypothesis import strategies as st

import hublog.django
from hublog.django.checks import CHECKS, TABLE, checks_table, run_all
from hublog.django.workers import known_workers
from hublog.settings import SETTINGS

ROOT = Path(__file__).parent.parent.parent
KEY = "c2VjcmV0LWtleS1vZi10aGUtaHVi"
REAL = f"Endpoint=sb://shop.servicebus.windows.net/;SharedAccessKeyName=send;SharedAccessKey={KEY}"
EMULATOR = f"Endpoint=sb://127.0.0.1;SharedAccessKeyName=n;SharedAccessKey={KEY};UseDevelopmentEmulator=true"
OURS = "hublog.django.middleware.RequestContextMiddleware"
CONSOLE = {"class": "logging.StreamHandler"}
HUB = {"class": "hublog.EventHubHandler"}
COUNTED = [setting.name for setting in SETTINGS]


@pytest.fixture(autouse=True)
def environ(monkeypatch, tmp_path):
    names = ("WEB_CONCURRENCY", "GUNICORN_CMD_ARGS", "UWSGI_PROCESSES", "UWSGI_WORKERS")
    for name in (*COUNTED, *names):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)
    return monkeypatch


def found(**changed):
    """The messages of ours, as Django would show them."""
    with override_settings(**changed):
        ours = [message for message in run_checks() if message.id.startswith("hublog.")]
    return sorted(ours, key=lambda message: (message.id, message.msg))


def ids(**changed):
    return sorted(message.id.removeprefix("hublog.") for message in found(**changed))


def dict_config(handlers=None, loggers=None, root=None, **more):
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "handlers": handlers or {},
        "loggers": loggers or {},
        "root": root or {"level": "INFO"},
        **more,
    }


GOOD = {
    "EVENTHUB_LOGGING_ENABLED": True,
    "EVENTHUB_NAMESPACE_CONNECTION_STRING": EMULATOR,
    "LOGGING": dict_config(
        {"hub": HUB, "console": CONSOLE}, root={"handlers": ["hub", "console"], "level": "INFO"}
    ),
}


# Good set-ups.


@pytest.mark.parametrize("is_debug", [True, False])
def test_a_good_set_up_has_nothing_to_tell(is_debug):
    assert ids(DEBUG=is_debug, **GOOD) == []


def test_what_logging_config_makes_has_nothing_to_tell(environ, tmp_path):
    environ.setenv("WEB_CONCURRENCY", "4")
    config = hublog.django.logging_config({"LOG_DIR": str(tmp_path / "logs")})
    assert ids(**{**GOOD, "LOGGING": config}) == []


def test_nothing_is_made_on_disk_by_the_checks(tmp_path):
    config = hublog.django.logging_config({"LOG_DIR": str(tmp_path / "logs")})
    with override_settings(EVENTHUB_LOG_SPOOL_DIR=str(tmp_path / "spool"), **{**GOOD, "LOGGING": config}):
        run_all()
    assert list(tmp_path.iterdir()) == []


def manage(*arguments, **environ):
    return subprocess.run(
        [sys.executable, "manage.py", *arguments],
        cwd=ROOT / "example_django",
        env={"PATH": os.environ["PATH"], **environ},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_the_example_is_clean_when_it_is_deployed_with_a_hub(tmp_path):
    done = manage(
        "check", "--deploy", LOG_DIR=str(tmp_path / "logs"), EVENTHUB_NAMESPACE_CONNECTION_STRING=REAL
    )
    assert done.returncode == 0
    assert "System check identified" in done.stdout + done.stderr
    assert "(hublog." not in done.stdout + done.stderr


def test_ours_can_be_run_alone_by_their_tag(tmp_path):
    done = manage("check", "--tag", "hublog", LOG_DIR=str(tmp_path / "logs"))
    assert "(hublog.W012)" in done.stderr
    assert "(security." not in done.stderr


# One after the other.


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        pytest.param({"EVENTHUB_LOG_BATCH_SIZE": 0}, ["E001"], id="invalid"),
        pytest.param({"LOG_REDACTION_MODE": "hash"}, ["E002"], id="hash without a key"),
        pytest.param({"MIDDLEWARE": []}, ["W001"], id="no middleware"),
        pytest.param(
            {"MIDDLEWARE": ["django.middleware.common.CommonMiddleware", OURS]}, ["W002"], id="not first"
        ),
        pytest.param({"LOGGING": dict_config({"console": CONSOLE})}, ["W003"], id="no handler"),
        pytest.param({"EVENTHUB_LOG_BACH_SIZE": 5}, ["W008"], id="misspelt"),
        pytest.param({"EVENTHUB_LOG_SPOOL_DIR": "/dev/null/spool"}, ["W010"], id="spool"),
        pytest.param({"EVENTHUB_NAMESPACE_CONNECTION_STRING": ""}, ["W012"], id="no connection"),
        pytest.param({"LOG_REDACTION": False}, ["W013"], id="no redaction"),
        pytest.param({"EVENTHUB_NAMESPACE_CONNECTION_STRING": REAL}, ["W007"], id="secret"),
    ],
)
def test_each_mis_setup_is_found_by_its_id_alone(changed, expected):
    assert ids(**{**GOOD, **changed}) == expected


@pytest.mark.parametrize(
    "changed",
    [
        {"LOG_REDACTION_MODE": "hash", "LOG_REDACTION": False, "DEBUG": True},
        {"EVENTHUB_NAMESPACE_CONNECTION_STRING": "", "DEBUG": True},
        {"EVENTHUB_NAMESPACE_CONNECTION_STRING": "", "EVENTHUB_LOGGING_ENABLED": False},
        {"LOG_REDACTION": False, "DEBUG": True},
        {"EVENTHUB_LOG_SPOOL_DIR": "/dev/null/spool", "EVENTHUB_LOG_SPOOL": "memory"},
    ],
    ids=["hash not used", "no hub while developing", "hub off", "no redaction while developing", "no spool"],
)
def test_what_is_meant_so_is_not_told(changed):
    assert ids(**{**GOOD, **changed}) == []


def test_a_malformed_connection_string_is_told_once_and_without_its_key():
    messages = found(
        **{**GOOD, "EVENTHUB_NAMESPACE_CONNECTION_STRING": f"SharedAccessKey={KEY}", "DEBUG": True}
    )
    assert [message.id for message in messages] == ["hublog.E001", "hublog.W007"]
    assert KEY not in str(messages)


def test_a_namespace_without_a_key_needs_the_package_that_signs_in(environ):
    hub = {
        "EVENTHUB_NAMESPACE_CONNECTION_STRING": "",
        "EVENTHUB_FULLY_QUALIFIED_NAMESPACE": "x.servicebus.windows.net",
    }
    assert ids(**{**GOOD, **hub}) == []
    environ.setitem(sys.modules, "azure.identity", None)
    assert ids(**{**GOOD, **hub}) == ["E003"]
    assert ids(**{**GOOD, "EVENTHUB_FULLY_QUALIFIED_NAMESPACE": "x.servicebus.windows.net"}) == []


# A secret in the settings.


@pytest.mark.parametrize("name", ["EVENTHUB_NAMESPACE_CONNECTION_STRING", "SHOP_HUB", "SHOP_KEY"])
def test_a_secret_from_the_environment_is_none_in_the_settings(environ, name):
    environ.setenv(name, KEY if name == "SHOP_KEY" else REAL)
    assert ids(**{**GOOD, "EVENTHUB_NAMESPACE_CONNECTION_STRING": REAL}) == []


@pytest.mark.parametrize(
    "changed",
    [
        {"EVENTHUB_NAMESPACE_CONNECTION_STRING": REAL},
        {"LOG_REDACTION_HASH_KEY": KEY},
        {"LOGGING": dict_config({"hub": {**HUB, "connection_string": REAL}})},
    ],
    ids=["connection string", "key of the hashes", "keyword of a handler"],
)
def test_a_secret_in_the_settings_is_told_and_not_shown(changed):
    messages = found(**{**GOOD, **changed})
    assert [message.id for message in messages] == ["hublog.W007"]
    assert KEY not in str(messages)


def project(tmp_path, source, **environ):
    folder = tmp_path / "project"
    (folder / "conf").mkdir(parents=True)
    (folder / "conf" / "__init__.py").write_text("")
    base = (
        'SECRET_KEY = "x"\nINSTALLED_APPS = ["hublog.django"]\n'
        f"MIDDLEWARE = [{OURS!r}]\nLOG_DIR = {str(tmp_path / 'logs')!r}\n"
    )
    (folder / "conf" / "base.py").write_text(base)
    (folder / "conf" / "live.py").write_text("from conf.base import *\n" + source)
    done = subprocess.run(
        [sys.executable, "-m", "django", "check", "--tag", "hublog"],
        cwd=folder,
        env={"DJANGO_SETTINGS_MODULE": "conf.live", "PYTHONPATH": str(folder), "PATH": "/usr/bin", **environ},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert KEY not in done.stdout + done.stderr
    assert done.returncode == 0, done.stderr
    return re.findall(r"\(hublog\.([A-Z]\d+)\)", done.stderr)


END = "\nimport hublog.django\nLOGGING = hublog.django.logging_config(globals())\n"


def test_a_secret_that_is_put_together_in_the_source_is_found(tmp_path):
    source = f"key = {KEY!r}\nEVENTHUB_NAMESPACE_CONNECTION_STRING = {REAL.replace(KEY, '')!r} + key"
    assert project(tmp_path, source + END) == ["W007"]


def test_a_secret_from_a_file_beside_the_source_is_fine(tmp_path):
    (tmp_path / "vault").write_text(REAL)
    source = f"EVENTHUB_NAMESPACE_CONNECTION_STRING = open({str(tmp_path / 'vault')!r}).read()"
    assert project(tmp_path, source + END) == []


# LOGGING.


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
    assert ids(**{**GOOD, "LOGGING": config}) == ["W004"] * number


@pytest.mark.usefixtures("leaky_client")
def test_two_real_handlers_of_one_hub_send_a_record_once_and_one_at_two_loggers_twice():
    """What the messages of W004 say."""
    from hublog import EventHubHandler
    from hublog.local import LocalHub
    from hublog.pipelines import flush

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


# Names that are almost ours.


@pytest.mark.parametrize(
    ("name", "value", "meant"),
    [
        ("EVENTHUB_LOG_BACH_SIZE", "5", "EVENTHUB_LOG_BATCH_SIZE"),
        ("EVENTHUB_LOGS_LEVEL", "INFO", "EVENTHUB_LOG_LEVEL"),
        ("EVENTHUB_NAMESPACE_CONECTION_STRING", "x", "EVENTHUB_NAMESPACE_CONNECTION_STRING"),
        ("LOG_LEVL", "INFO", "LOG_LEVEL"),
        ("LOG_REDACTON", "false", "LOG_REDACTION"),
        ("FILE_LOG_LEVELS", "INFO", "FILE_LOG_LEVEL"),
    ],
)
def test_a_name_that_is_almost_ours_is_told_wherever_it_stands(environ, name, value, meant):
    [message] = found(**{**GOOD, name: value})
    assert message.msg == f"The setting {name} has no effect; {meant} is the name of a setting."
    environ.setenv(name, value)
    [message] = found(**GOOD)
    assert message.msg.startswith(f"The environment variable {name} has no effect")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("EVENTHUB_CONNECTION_STRING", "x"),
        ("EVENTHUB_CONSUMER_GROUP", "x"),
        ("EVENTHUB_NAME", "orders"),
        ("LOG_LEVELS", {"shop": "INFO"}),
        ("LOG_FORMAT", "%(message)s"),
        ("LOG_FILE", "a.log"),
        ("LOGIN_URL", "/login"),
        ("LOGLEVEL", "INFO"),
        *((name, None) for name in COUNTED),
    ],
)
def test_a_name_that_may_mean_something_else_is_not_told(name, value):
    assert ids(**{**GOOD, **({} if value is None else {name: value})}) == []


# Whatever stands in the settings.


class Hostile:
    def __bool__(self):
        raise RuntimeError

    def __iter__(self):
        raise RuntimeError

    def __str__(self):
        raise RuntimeError

    __repr__ = __hash__ = __eq__ = __str__


def hostile_import(tmp_path):
    (tmp_path / "exploding_module.py").write_text("raise SystemError('no')")
    return "exploding_module.Handler"


ODD = [
    None, 5, "text", [], {"handlers": 5}, {"handlers": []}, {"handlers": {1: 2, "a": None, "b": {}}},
    {"handlers": {"a": {"class": 5}, "b": {"()": lambda: None}, "c": {"class": "no.such.Handler"}}},
    {"handlers": {"a": {"class": "logging.FileHandler"}}, "root": {"handlers": 7}},
    {"handlers": {"a": {"class": "logging.FileHandler", "filename": 5}}},
    {"handlers": {"b": {"class": "logging.FileHandler", "filename": "a\0b"}}},
    {"loggers": {None: {}, "a": 5, "b": {"handlers": [None, 5, "x"], "propagate": "no", "level": []}}},
    {"handlers": {"a": {"class": "hublog.EventHubHandler", "level": []}}, "root": {"handlers": ["a"]}},
    {"disable_existing_loggers": "perhaps", "loggers": []},
    {"handlers": {"a": {"class": "hublog.EventHubHandler", "connection_string": 5}}},
]  # fmt: skip


@pytest.mark.parametrize("config", ODD, ids=range(len(ODD)))
def test_no_check_raises_whatever_logging_is(config):
    found_ids = ids(**{**GOOD, "LOGGING": config})
    assert "W015" not in found_ids


@pytest.mark.parametrize(
    "name", ["MIDDLEWARE", "LOGGING", "LOG_DIR", "EVENTHUB_NAMESPACE_CONNECTION_STRING", "LOG_LEVL"]
)
@pytest.mark.parametrize("value", [None, 5, {}, Hostile(), object(), b"x", "\0\n"], ids=range(7))
def test_no_check_raises_whatever_a_setting_is(name, value):
    with override_settings(**{**GOOD, name: value}):
        run_all()


def test_a_handler_whose_module_explodes_is_left_to_dict_config(environ, tmp_path):
    environ.syspath_prepend(tmp_path)
    config = dict_config({"hub": HUB, "a": {"class": hostile_import(tmp_path)}})
    assert ids(**{**GOOD, "LOGGING": config}) == []


def test_a_check_that_cannot_be_made_is_told_and_the_others_go_on():
    class Odd(dict):
        def items(self):
            raise RuntimeError

    config = dict_config({"hub": HUB})
    messages = found(**{**GOOD, "MIDDLEWARE": [], "LOGGING": {**config, "handlers": Odd()}})
    told = [message.id for message in messages]
    assert "hublog.W001" in told
    assert "hublog.W015" in told
    assert "RuntimeError" in str(messages)


plain = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["handlers", "loggers", "root", "class", "()", "filename", "level", "propagate", "a", ""]
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)


@given(st.dictionaries(st.sampled_from(["handlers", "loggers", "root", "disable_existing_loggers"]), plain))
def test_no_plain_data_makes_a_check_fail(config):
    with override_settings(**{**GOOD, "LOGGING": config}):
        assert "hublog.W015" not in [message.id for message in run_all()]


# The table.


def test_the_page_holds_the_table_of_the_code():
    assert checks_table().strip() in (ROOT / "docs" / "checks.md").read_text()


def test_every_id_is_used_once_and_each_is_in_a_test():
    numbers = [row.number for row in TABLE]
    assert len(set(numbers)) == len(numbers)
    tests = Path(__file__).read_text()
    assert [
        number for number in numbers if f'"{number}"' not in tests and f"hublog.{number}" not in tests
    ] == []


def test_every_message_has_a_hint_and_the_level_of_its_id():
    kinds = {"E": "Error", "W": "Warning", "I": "Info"}
    for row in TABLE:
        assert row.kind.__name__ == kinds[row.number[0]]
        assert row.remedy.endswith(".")
        assert row.wrong.endswith(".")


def test_every_check_is_registered_with_our_tag():
    assert len(CHECKS) == len({check.__name__ for check, _ in CHECKS})
    with override_settings(MIDDLEWARE=[]):
        assert "hublog.W001" in [message.id for message in run_checks(tags=["hublog"])]
    with override_settings(**{**GOOD, "LOG_REDACTION": False}):
        assert "hublog.W013" in [message.id for message in run_checks(tags=[Tags.security])]
