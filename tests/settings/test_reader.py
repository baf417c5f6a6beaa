"""One reader: every setting, from every source, in one order, with all problems told together."""

import copy
import logging
import pickle
from pathlib import Path

import flask
import pytest
import yaml
from django.conf import UserSettingsHolder, global_settings
from hypothesis import given
from hypothesis import strategies as st

from hublog.errors import SettingsError
from hublog.settings import (
    SETTINGS,
    Mask,
    Packing,
    PersonalData,
    Settings,
    SpoolMode,
    SyncPolicy,
    Transport,
    read_settings,
)
from hublog.settings.values import BOOLEAN

CONNECTION = (
    "Endpoint=sb://shop.servicebus.windows.net/;SharedAccessKeyName=send;SharedAccessKey=S3cretS3cret="
)

PROXY = "http://send:S3cretS3cret@proxy:3128"

#: Path: the text that stands in environment and YAML, the Python object that code may give, what is read.
SAMPLES = {
    "level": ("warning", 30, 30),
    "log_to_stdout": ("off", False, False),
    "log_dir": ("/var/log/shop", Path("/var/log/shop"), Path("/var/log/shop")),
    "uncaught_exceptions": ("off", False, False),
    "reload_on_sighup": ("on", True, True),
    "status_token": ("0123456789abcdef", "0123456789abcdef", "0123456789abcdef"),
    "file_logging.enabled": ("no", False, False),
    "file_logging.level": ("15", 15, 15),
    "file_logging.max_bytes": ("2MB", 2_000_000, 2_000_000),
    "file_logging.backup_count": ("3", 3, 3),
    "eventhub_logging.enabled": ("0", 0, False),
    "eventhub_logging.level": ("Error", 40, 40),
    "eventhub_logging.connection_string": (CONNECTION, CONNECTION, CONNECTION),
    "eventhub_logging.connection_string_file": ("/run/key", Path("/run/key"), Path("/run/key")),
    "eventhub_logging.fully_qualified_namespace": (
        "shop.servicebus.windows.net",
        "shop.servicebus.windows.net",
        "shop.servicebus.windows.net",
    ),
    "eventhub_logging.eventhub_name": ("shop-logs", "shop-logs", "shop-logs"),
    "eventhub_logging.transport": ("WebSocket", Transport.WEBSOCKET, Transport.WEBSOCKET),
    "eventhub_logging.proxy": (PROXY, PROXY, PROXY),
    "eventhub_logging.endpoint": ("https://10.0.0.4:443/", "10.0.0.4:443", "10.0.0.4:443"),
    "eventhub_logging.ca_file": ("/etc/ca.pem", Path("/etc/ca.pem"), Path("/etc/ca.pem")),
    "eventhub_logging.batch_size": ("7", 7, 7),
    "eventhub_logging.batch_timeout_seconds": ("2.5", 2.5, 2.5),
    "eventhub_logging.urgent_level": ("CRITICAL", 50, 50),
    "eventhub_logging.max_queue_size": ("20_000", 20_000, 20_000),
    "eventhub_logging.max_queue_bytes": ("1MiB", 1 << 20, 1 << 20),
    "eventhub_logging.circuit_breaker_threshold": ("9", 9, 9),
    "eventhub_logging.circuit_breaker_cooldown_seconds": ("1e1", 10, 10.0),
    "eventhub_logging.packing": ("GZIP", Packing.GZIP, Packing.GZIP),
    "eventhub_logging.gzip_level": ("9", 9, 9),
    "eventhub_logging.route_database": ("logs-prod", "logs-prod", "logs-prod"),
    "eventhub_logging.route_table": ("ShopLogs", "ShopLogs", "ShopLogs"),
    "eventhub_logging.route_format": ("json", "json", "json"),
    "eventhub_logging.route_mapping": ("Shop.Mapping_2", "Shop.Mapping_2", "Shop.Mapping_2"),
    "eventhub_logging.max_record_bytes": ("32 kib", 32_768, 32_768),
    "eventhub_logging.spool": ("always", SpoolMode.ALWAYS, SpoolMode.ALWAYS),
    "eventhub_logging.spool_dir": ("/var/spool/shop", Path("/var/spool/shop"), Path("/var/spool/shop")),
    "eventhub_logging.spool_max_bytes": ("1GiB", 1 << 30, 1 << 30),
    "eventhub_logging.spool_sync": ("batch", SyncPolicy.BATCH, SyncPolicy.BATCH),
    "eventhub_logging.send_timeout_seconds": ("12.5", 12.5, 12.5),
    "eventhub_logging.exit_timeout_seconds": ("0.5", 0.5, 0.5),
    "eventhub_logging.heartbeat_seconds": ("300", 300.0, 300.0),
    "eventhub_logging.flush_on_sigterm": ("true", True, True),
    "eventhub_logging.tail_sampling": ("yes", True, True),
    "eventhub_logging.tail_max_records": ("50", 50, 50),
    "eventhub_logging.dedup_seconds": ("2.5", 2.5, 2.5),
    "eventhub_logging.rate_limit": ("500", 500, 500),
    "eventhub_logging.rate_burst": ("7", 7, 7),
    "service.name": ("shop", "shop", "shop"),
    "service.namespace": ("retail", "retail", "retail"),
    "service.version": ("1.10", "1.10", "1.10"),
    "service.instance_id": ("7", 7, "7"),
    "service.environment": ("production", "production", "production"),
    "request.id_header": ("X-Correlation-ID", "X-Correlation-ID", "X-Correlation-ID"),
    "request.trust_request_id": ("FALSE", False, False),
    "request.trusted_proxy_count": ("2", 2, 2),
    "request.access_records": ("0", False, False),
    "request.excluded_paths": ("/healthz, /static/*", ["/healthz", "/static/*"], ("/healthz", "/static/*")),
    "request.slow_seconds": ("0.5", 0.5, 0.5),
    "request.query": ("on", True, True),
    "request.session": ("1", True, True),
    "request.easy_auth": ("True", True, True),
    "request.count_db_queries": ("off", False, False),
    "request.context_in_threads": ("no", False, False),
    "redaction.enabled": ("false", False, False),
    "redaction.mode": ("Hash", Mask.HASH, Mask.HASH),
    "redaction.hash_key": ("k3y-of-hashes", "k3y-of-hashes", "k3y-of-hashes"),
    "redaction.keys": ("iban", ("iban",), ("iban",)),
    "redaction.patterns": (r"IBAN [A-Z0-9]+", [r"IBAN [A-Z0-9]+"], (r"IBAN [A-Z0-9]+",)),
    "redaction.personal_data": ("off", False, PersonalData.DROP),
}


def beside(setting):
    """Return what the environment must hold for the setting to be valid."""
    if setting.path == "eventhub_logging.connection_string_file":  # the file itself is not there
        return {"EVENTHUB_NAMESPACE_CONNECTION_STRING": SAMPLES["eventhub_logging.connection_string"][0]}
    return {"LOG_REDACTION_HASH_KEY": "k3y"} if setting.path == "redaction.mode" else {}


def nested(setting, value):
    return {setting.section: {setting.field: value}} if setting.section else {setting.field: value}


def from_argument(setting, value, tmp_path):
    return read_settings(nested(setting, value), environ=beside(setting))


def from_framework(setting, value, tmp_path):
    return read_settings(framework={setting.name: value}.get, environ=beside(setting))


def from_environment(setting, value, tmp_path):
    return read_settings(environ={**beside(setting), setting.name: value})


def from_yaml(setting, value, tmp_path):
    path = tmp_path / "config.yaml"
    path.write_text(yaml.safe_dump({"logging": nested(setting, value)}), encoding="utf-8")
    return read_settings(environ=beside(setting), document=path)


def from_yaml_variable(setting, value, tmp_path):
    path = tmp_path / "config.yaml"
    path.write_text(yaml.safe_dump({"logging": nested(setting, "${OTHER_NAME:-}")}), encoding="utf-8")
    return read_settings(environ={**beside(setting), "OTHER_NAME": value}, document=str(path))


def from_yaml_default(setting, value, tmp_path):
    path = tmp_path / "config.yaml"
    path.write_text(yaml.safe_dump({"logging": nested(setting, f"${{NOT_SET:-{value}}}")}), encoding="utf-8")
    return read_settings(environ=beside(setting), document=path)


SOURCES = (
    from_argument,
    from_framework,
    from_environment,
    from_yaml,
    from_yaml_variable,
    from_yaml_default,
)


def value_of(settings, setting):
    part = {
        "": settings,
        "file_logging": settings.file,
        "eventhub_logging": settings.eventhub,
        "service": settings.service,
        "request": settings.request,
        "redaction": settings.redaction,
    }[setting.section]
    return getattr(part, setting.field)


def test_the_samples_cover_every_setting_with_a_value_that_is_not_its_default():
    assert [setting.path for setting in SETTINGS] == list(SAMPLES)
    assert all(setting.default != SAMPLES[setting.path][2] for setting in SETTINGS)


@pytest.mark.parametrize("source", SOURCES, ids=lambda source: source.__name__)
@pytest.mark.parametrize("setting", SETTINGS, ids=lambda setting: setting.name)
def test_the_same_text_gives_the_same_value_from_every_source(setting, source, tmp_path):
    text, _, expected = SAMPLES[setting.path]
    reading = source(setting, text, tmp_path)
    assert reading.problems == ()
    found = value_of(reading.settings, setting)
    assert (found, type(found)) == (expected, type(expected))


@pytest.mark.parametrize("source", [from_argument, from_framework], ids=lambda source: source.__name__)
@pytest.mark.parametrize("setting", SETTINGS, ids=lambda setting: setting.name)
def test_a_python_object_gives_the_same_value_as_its_text(setting, source, tmp_path):
    _, native, expected = SAMPLES[setting.path]
    reading = source(setting, native, tmp_path)
    assert reading.problems == ()
    assert value_of(reading.settings, setting) == expected


def test_all_settings_at_once_are_the_same_from_every_source(tmp_path):
    by_name = {setting.name: SAMPLES[setting.path][0] for setting in SETTINGS}
    by_section = {}
    for setting in SETTINGS:
        at = by_section.setdefault(setting.section, {}) if setting.section else by_section
        at[setting.field] = SAMPLES[setting.path][0]
    path = tmp_path / "config.yaml"
    path.write_text(yaml.safe_dump({"logging": by_section}), encoding="utf-8")

    readings = [
        read_settings(by_section, environ={}),
        read_settings(framework=by_name.get, environ={}),
        read_settings(environ=by_name),
        read_settings(environ={}, document=path),
        read_settings(environ={}, document={"logging": by_section}),
        read_settings(environ={}, document=by_section),
    ]

    assert all(reading == readings[0] for reading in readings)
    assert readings[0].problems == ()


def test_flask_config_from_prefixed_variables_is_read(monkeypatch):
    monkeypatch.setenv("FLASK_LOG_LEVEL", "10")
    monkeypatch.setenv("FLASK_LOG_TO_STDOUT", "false")
    monkeypatch.setenv("FLASK_EVENTHUB_LOG_BATCH_TIMEOUT", "0.5")
    monkeypatch.setenv("FLASK_EVENTHUB_NAMESPACE_CONNECTION_STRING", CONNECTION)
    app = flask.Flask("shop")
    app.config.from_prefixed_env()
    reading = read_settings(framework=app.config.get, environ={"LOG_LEVEL": "ERROR"})
    assert reading.problems == ()
    found = reading.settings
    assert (found.level, found.log_to_stdout) == (10, False)
    assert (found.eventhub.batch_timeout_seconds, found.eventhub.connection_string) == (0.5, CONNECTION)


def test_django_settings_are_read():
    holder = UserSettingsHolder(global_settings)
    holder.LOG_LEVEL, holder.EVENTHUB_LOGGING_ENABLED, holder.LOG_DIR = logging.ERROR, False, Path("/var/log")
    reading = read_settings(
        framework=lambda name: getattr(holder, name, None), environ={"LOG_LEVEL": "DEBUG"}
    )
    assert reading.problems == ()
    assert (reading.settings.level, reading.settings.eventhub.enabled) == (40, False)
    assert reading.settings.log_dir == Path("/var/log")


@pytest.mark.parametrize("empty", ["", "  ", None], ids=["empty", "blank", "none"])
@pytest.mark.parametrize("source", [from_argument, from_framework, from_environment, from_yaml])
@pytest.mark.parametrize("setting", SETTINGS, ids=lambda setting: setting.name)
def test_an_empty_value_is_not_set(setting, source, empty, monkeypatch, tmp_path):
    monkeypatch.setitem(globals(), "beside", lambda setting: {})
    reading = source(setting, empty, tmp_path)
    assert reading.problems == ()
    assert reading.settings == Settings()


def test_nothing_set_gives_the_defaults():
    assert read_settings(environ={}).settings == Settings()


def test_the_order_is_argument_framework_environment_yaml_default():
    sources = {
        "arguments": {"level": 1},
        "framework": {"LOG_LEVEL": 2}.get,
        "environ": {"LOG_LEVEL": "3"},
        "document": {"logging": {"level": 4}},
    }
    levels = []
    for name in ("arguments", "framework", "environ", "document"):
        levels.append(read_settings(**sources).settings.level)
        sources[name] = {} if name != "framework" else None
    levels.append(read_settings(**sources).settings.level)
    assert levels == [1, 2, 3, 4, 20]


def test_the_environment_is_read_when_none_is_given(monkeypatch):
    monkeypatch.setenv("EVENTHUB_LOG_BATCH_SIZE", "12")
    assert read_settings().settings.eventhub.batch_size == 12


def test_all_problems_are_told_together_each_with_value_limits_and_name():
    reading = read_settings(
        {"eventhub_logging": {"batch_size": 0}},
        framework={"LOG_TO_STDOUT": "maybe"}.get,
        environ={"LOG_LEVEL": "LOUD", "EVENTHUB_LOG_BATCH_TIMEOUT": "nan"},
        document={"logging": {"file_logging": {"backup_count": -1}}},
    )
    assert reading.problems == (
        "The argument eventhub_logging.batch_size is 0; it must be a whole number, 1 or more.",
        "LOG_LEVEL is LOUD; it must be DEBUG, INFO, WARNING, ERROR, CRITICAL or a number, 0 or more.",
        f"LOG_TO_STDOUT in the application's configuration is maybe; it must be {BOOLEAN.allowed}.",
        "logging.file_logging.backup_count is -1; it must be a whole number, from 1 to 1000.",
        "EVENTHUB_LOG_BATCH_TIMEOUT is nan; it must be a number of seconds above 0, at most 86400.",
    )
    assert reading.wrong_arguments == reading.problems[:1]
    assert reading.settings == Settings()
    assert reading.invalid == {
        "eventhub_logging.batch_size",
        "level",
        "log_to_stdout",
        "file_logging.backup_count",
        "eventhub_logging.batch_timeout_seconds",
    }


def test_an_invalid_value_takes_the_default_and_not_the_next_source():
    reading = read_settings(environ={"LOG_LEVEL": "LOUD"}, document={"logging": {"level": "ERROR"}})
    assert reading.settings.level == 20


def test_strict_returns_valid_settings_and_raises_all_problems_of_invalid_ones():
    assert read_settings(environ={}).strict() == Settings()
    with pytest.raises(SettingsError, match=r"LOG_LEVEL is LOUD.* LOG_TO_STDOUT is maybe") as caught:
        read_settings(environ={"LOG_LEVEL": "LOUD", "LOG_TO_STDOUT": "maybe"}).strict()
    assert len(caught.value.problems) == 2


@pytest.mark.parametrize(
    ("section", "key", "advice"),
    [
        ("", "levl", "did you mean level?"),
        ("", "batch_size", "did you mean eventhub_logging.batch_size?"),
        ("", "LOG_LEVEL", "did you mean level?"),
        ("", "file_loging", "did you mean file_logging?"),
        ("eventhub_logging", "batchsize", "did you mean batch_size?"),
        ("eventhub_logging", "EVENTHUB_LOG_QUEUE_SIZE", "did you mean eventhub_logging.max_queue_size?"),
        ("file_logging", "zzz", "known are enabled, level, max_bytes, backup_count."),
        ("file_logging", 5, "known are enabled, level, max_bytes, backup_count."),
    ],
)
def test_an_unknown_key_is_a_problem_that_names_the_nearest(section, key, advice):
    content = {section: {key: 1}} if section else {key: 1}
    where = f"{section}." if section else ""
    by_argument = read_settings(content, environ={})
    by_yaml = read_settings(environ={}, document={"logging": content})
    assert by_argument.wrong_arguments == (f"The argument {where}{key} is not known; {advice}",)
    assert by_yaml.problems == (f"logging.{where}{key} is not known; {advice}",)
    assert by_yaml.wrong_arguments == ()


def test_a_section_that_is_no_mapping_is_a_problem():
    reading = read_settings(environ={}, document={"logging": {"file_logging": 5, "service": None}})
    assert reading.problems == ("logging.file_logging is 5; it must be a mapping.",)
    assert reading.settings == Settings()


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        ({"OTEL_SERVICE_NAME": "otel"}, "otel"),
        ({"LOG_SERVICE_NAME": "own", "OTEL_SERVICE_NAME": "otel"}, "own"),
        ({"OTEL_RESOURCE_ATTRIBUTES": "a=b,service.name=from%20attributes"}, "from attributes"),
        ({"OTEL_SERVICE_NAME": "otel", "OTEL_RESOURCE_ATTRIBUTES": "service.name=attribute"}, "otel"),
        ({"OTEL_RESOURCE_ATTRIBUTES": ",,=,service.name,"}, ""),
    ],
    ids=["otel", "own wins", "attributes", "variable before attributes", "malformed"],
)
def test_the_service_name_falls_back_to_open_telemetry(environ, expected):
    reading = read_settings(environ=environ)
    assert (reading.settings.service.name, reading.problems) == (expected, ())


def test_the_other_service_fields_fall_back_to_resource_attributes():
    attributes = (
        "service.namespace=ns,service.version=1.2,service.instance.id=i7,deployment.environment.name=prod"
    )
    found = read_settings(environ={"OTEL_RESOURCE_ATTRIBUTES": attributes}).settings.service
    assert (found.namespace, found.version, found.instance_id, found.environment) == (
        "ns",
        "1.2",
        "i7",
        "prod",
    )


def test_yaml_is_asked_before_open_telemetry():
    reading = read_settings(
        environ={"OTEL_SERVICE_NAME": "otel"}, document={"logging": {"service": {"name": "yaml"}}}
    )
    assert reading.settings.service.name == "yaml"


def test_settings_are_values():
    text = {setting.name: SAMPLES[setting.path][0] for setting in SETTINGS}
    first, second = read_settings(environ=text).settings, read_settings(environ=text).settings
    assert hash(first) == hash(second)
    assert {first: 1}[second] == 1
    assert pickle.loads(pickle.dumps(first)) == copy.deepcopy(first) == first  # noqa: S301  # our own bytes
    with pytest.raises(AttributeError):
        first.level = 1


def test_the_spool_lies_in_the_log_directory_unless_it_is_set():
    assert read_settings(environ={"LOG_DIR": "/var/log"}).settings.spool_dir == Path("/var/log/spool")
    assert read_settings(environ={"EVENTHUB_LOG_SPOOL_DIR": "/data"}).settings.spool_dir == Path("/data")


@pytest.mark.parametrize("wrong", [5, ["level"], object()])
def test_arguments_and_document_of_a_wrong_type_raise(wrong):
    with pytest.raises(TypeError, match="must be a mapping"):
        read_settings(wrong, environ={})
    with pytest.raises(TypeError, match="must be a path or a mapping"):
        read_settings(environ={}, document=wrong)


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=20), inner, max_size=3),
    max_leaves=8,
)


@given(
    anything.filter(lambda value: isinstance(value, dict)),
    st.dictionaries(st.sampled_from(list(SAMPLES)), anything),
)
def test_no_content_of_a_source_makes_the_reader_fail(content, stated):
    names = {setting.name: stated[setting.path] for setting in SETTINGS if setting.path in stated}
    reading = read_settings({}, framework=names.get, environ={}, document={"logging": {**content, **stated}})
    assert isinstance(hash(reading.settings), int)
    assert all("\n" not in problem for problem in reading.problems)


def test_a_wrong_hash_key_is_told_and_not_shown():
    reading = read_settings(environ={"LOG_REDACTION_HASH_KEY": "k3y\nof-hashes"})
    assert reading.settings.redaction.hash_key == ""
    assert len(reading.problems) == 1
    assert reading.problems[0].startswith("LOG_REDACTION_HASH_KEY is a str that is not shown")
    assert "k3y" not in reading.problems[0]


@pytest.mark.parametrize("source", SOURCES, ids=lambda source: source.__name__)
def test_hashes_without_a_key_are_told_and_secrets_are_masked(source, monkeypatch, tmp_path):
    monkeypatch.setitem(globals(), "beside", lambda setting: {})
    [setting] = [setting for setting in SETTINGS if setting.path == "redaction.mode"]
    reading = source(setting, "hash", tmp_path)
    assert (reading.settings.redaction.mode, reading.invalid) == (Mask.MASK, {"redaction.mode"})
    [problem] = reading.problems
    assert problem.endswith(" is hash, but LOG_REDACTION_HASH_KEY is not set; secrets are masked.")
    assert "LOG_REDACTION_MODE" in problem or "redaction.mode" in problem


def test_hashes_without_a_key_are_no_mistake_where_nothing_is_redacted():
    reading = read_settings(environ={"LOG_REDACTION_MODE": "hash", "LOG_REDACTION": "false"})
    assert (reading.settings.redaction.mode, reading.problems) == (Mask.HASH, ())


def test_no_repr_shows_the_hash_key():
    settings = read_settings(environ={"LOG_REDACTION_HASH_KEY": "k3y-of-hashes"}).settings
    assert settings.redaction.hash_key == "k3y-of-hashes"
    assert "k3y" not in repr(settings)


@pytest.mark.parametrize(
    ("value", "found"),
    [(True, "keep"), ("TRUE", "keep"), (0, "drop"), ("keep", "keep"), ("Hash", "hash"), ("no", "drop")],
)
def test_personal_data_is_a_switch_or_a_word(value, found):
    assert read_settings(framework={"LOG_PERSONAL_DATA": value}.get).settings.redaction.personal_data == found


@pytest.mark.parametrize("value", [5, {"a": 1}, [1.5], "x" * 300, ["a"] * 1_001])
def test_a_list_of_texts_is_nothing_else(value):
    reading = read_settings(framework={"LOG_EXCLUDED_PATHS": value}.get, environ={})
    assert reading.settings.request.excluded_paths == ()
    assert "it must be a list of at most 1000 strings" in reading.problems[0]


def test_blanks_and_empty_parts_of_a_list_are_left_out():
    reading = read_settings(environ={"LOG_EXCLUDED_PATHS": " /healthz ,, /static/*,"})
    assert reading.settings.request.excluded_paths == ("/healthz", "/static/*")


@pytest.mark.parametrize(("value", "found"), [("0", 0.0), (0, 0), ("0.0", 0.0), ("0.25", 0.25), (3, 3.0)])
def test_a_threshold_of_zero_is_none(value, found):
    reading = read_settings(framework={"LOG_SLOW_REQUEST_SECONDS": value}.get, environ={})
    assert (reading.settings.request.slow_seconds, reading.problems) == (found, ())


@pytest.mark.parametrize("value", ["-1", False, "never", "nan", "86401"])
def test_a_threshold_is_no_negative_number(value):
    reading = read_settings(framework={"LOG_SLOW_REQUEST_SECONDS": value}.get, environ={})
    assert reading.settings.request.slow_seconds == 0.0
    assert "0 for none" in reading.problems[0]


@pytest.mark.parametrize(("value", "found"), [("0", 0.0), ("1", 1.0), (300, 300.0), ("86400", 86_400.0)])
def test_the_interval_of_heartbeats_is_a_second_at_least_or_none(value, found):
    reading = read_settings(framework={"EVENTHUB_LOG_HEARTBEAT_SECONDS": value}.get, environ={})
    assert (reading.settings.eventhub.heartbeat_seconds, reading.problems) == (found, ())


@pytest.mark.parametrize("value", ["0.5", "-1", True, "86401"])
def test_a_shorter_interval_of_heartbeats_is_refused_with_what_is_allowed(value):
    reading = read_settings(framework={"EVENTHUB_LOG_HEARTBEAT_SECONDS": value}.get, environ={})
    assert reading.settings.eventhub.heartbeat_seconds == 60.0
    assert "from 1 to 86400, 0 for none" in reading.problems[0]


def test_the_sign_in_of_the_platform_is_known_by_its_own_variable():
    assert read_settings(environ={"WEBSITE_AUTH_ENABLED": "True"}).settings.request.easy_auth is True
    both = {"WEBSITE_AUTH_ENABLED": "True", "LOG_EASY_AUTH": "false"}
    assert read_settings(environ=both).settings.request.easy_auth is False
