"""Django's system checks: each appears where its mis-setup is, and in no good set-up."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from django.core.checks import Tags, run_checks
from django.test import override_settings
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from tests.django.setups import CONSOLE, GOOD, HUB, KEY, OURS, REAL, ROOT, dict_config, found, ids, project

import hublog.django
from hublog.django.check_messages import TABLE, checks_table
from hublog.django.checks import CHECKS, run_all
from hublog.settings import SETTINGS

COUNTED = [setting.name for setting in SETTINGS]
pytestmark = pytest.mark.usefixtures("environ")


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


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        ({"EVENTHUB_LOG_TRANSPORT": "websocket"}, ["E004"]),
        ({"EVENTHUB_LOG_PROXY": "http://proxy.example:3128"}, ["E004"]),
        ({"EVENTHUB_LOG_TRANSPORT": "websocket", "EVENTHUB_LOGGING_ENABLED": False}, []),
        ({"EVENTHUB_LOG_TRANSPORT": "amqp"}, []),
    ],
    ids=["transport", "proxy", "off", "amqp"],
)
def test_websockets_need_their_extra(environ, changed, expected):
    environ.setitem(sys.modules, "websocket", None)
    assert ids(**{**GOOD, **changed}) == expected
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


END = "\nimport hublog.django\nLOGGING = hublog.django.logging_config(globals())\n"


def test_a_secret_that_is_put_together_in_the_source_is_found(tmp_path):
    source = f"key = {KEY!r}\nEVENTHUB_NAMESPACE_CONNECTION_STRING = {REAL.replace(KEY, '')!r} + key"
    assert project(tmp_path, source + END) == ["W007"]


def test_a_secret_from_a_file_beside_the_source_is_fine(tmp_path):
    (tmp_path / "vault").write_text(REAL)
    source = f"EVENTHUB_NAMESPACE_CONNECTION_STRING = open({str(tmp_path / 'vault')!r}).read()"
    assert project(tmp_path, source + END) == []


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


# The first text of a run is slow to make: Hypothesis reads the tables of Unicode then.
@hypothesis_settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
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
    tests = "".join(path.read_text() for path in Path(__file__).parent.glob("test_*checks.py"))
    assert [
        number for number in numbers if f'"{number}"' not in tests and f"hublog.{number}" not in tests
    ] == []


def test_every_message_has_a_hint_and_the_level_of_its_id():
    kinds = {"E": "Error", "W": "Warning", "I": "Info"}
    for row in TABLE:
        assert row.kind.__name__ == kinds[row.number[0]]
        assert row.hint.endswith(".")
        assert row.problem.endswith(".")


def test_every_check_is_registered_with_our_tag():
    assert len(CHECKS) == len({check.__name__ for check, _ in CHECKS})
    with override_settings(MIDDLEWARE=[]):
        assert "hublog.W001" in [message.id for message in run_checks(tags=["hublog"])]
    with override_settings(**{**GOOD, "LOG_REDACTION": False}):
        assert "hublog.W013" in [message.id for message in run_checks(tags=[Tags.security])]


# What has no effect.


def test_a_setting_that_the_environment_contradicts_is_found_and_no_secret_is_shown(environ):
    environ.setenv("LOG_LEVEL", "DEBUG")
    environ.setenv("EVENTHUB_LOGGING_ENABLED", "false")
    environ.setenv("EVENTHUB_NAMESPACE_CONNECTION_STRING", REAL)
    messages = found(LOG_LEVEL="ERROR", **GOOD)
    assert [message.id for message in messages] == ["hublog.I002"] * 3
    shown = " ".join(message.msg for message in messages)
    assert "LOG_LEVEL: ERROR in the application's configuration overrides DEBUG in the environment" in shown
    assert "EVENTHUB_LOGGING_ENABLED: false in the environment overrides True" in shown
    assert KEY not in shown


def test_a_setting_that_the_environment_repeats_is_fine(environ):
    environ.setenv("LOG_LEVEL", "error")
    assert ids(LOG_LEVEL=40, **GOOD) == []
