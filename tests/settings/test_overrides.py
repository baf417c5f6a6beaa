"""Which source a value comes from, what it overrides, and the one variable that always wins."""

import pytest

from hublog.settings import SETTINGS, Settings, read_settings

SWITCH = "EVENTHUB_LOGGING_ENABLED"
FALSE = ["false", "False", "0", "no", "OFF", " false ", '"false"', "'0'", '"False "', "'\"off\"'"]
SECRET = "Endpoint=sb://{0}/;SharedAccessKeyName=send;SharedAccessKey=S3cretS3cret="


def named(name):
    return next(setting for setting in SETTINGS if setting.name == name)


@pytest.mark.parametrize("value", FALSE)
@pytest.mark.parametrize(
    "others",
    [
        {"arguments": {"eventhub_logging": {"enabled": True}}},
        {"framework": {SWITCH: True}.get},
        {"framework": {SWITCH: "true"}.get, "arguments": {"eventhub_logging": {"enabled": "on"}}},
        {"document": {"logging": {"eventhub_logging": {"enabled": True}}}},
        {"framework": {SWITCH: "perhaps"}.get},
        {},
    ],
    ids=["argument", "framework", "both", "yaml", "invalid", "alone"],
)
def test_false_in_the_environment_switches_the_event_hub_off_whatever_says_otherwise(others, value):
    reading = read_settings(environ={SWITCH: value}, **others)
    assert reading.settings.eventhub.enabled is False
    assert reading.problems == ()
    assert reading.origin_of(named(SWITCH)) == "the environment"


@pytest.mark.parametrize("value", ["true", "1", "", "  ", '""'])
@pytest.mark.parametrize(
    "others",
    [{"arguments": {"eventhub_logging": {"enabled": False}}}, {"framework": {SWITCH: "no"}.get}],
    ids=["argument", "framework"],
)
def test_true_in_the_environment_switches_nothing_on_that_code_switched_off(others, value):
    assert read_settings(environ={SWITCH: value}, **others).settings.eventhub.enabled is False


@pytest.mark.parametrize(
    "code",
    [{"arguments": {"eventhub_logging": {"enabled": True}}}, {"framework": {SWITCH: True}.get}],
    ids=["argument", "framework"],
)
def test_a_misspelt_switch_in_the_environment_is_a_problem_although_code_wins(code):
    reading = read_settings(environ={SWITCH: "fasle"}, **code)
    assert reading.problems == (
        "EVENTHUB_LOGGING_ENABLED is fasle; it must be true, false, 1, 0, yes, no, on or off.",
    )
    assert reading.settings.eventhub.enabled
    assert reading.invalid == frozenset()


@pytest.mark.parametrize("value", ["''", '""', " '' ", "'\"\"'"])
def test_quotation_marks_around_nothing_are_no_value(value):
    reading = read_settings(environ={"LOG_SERVICE_NAME": value})
    assert reading.origin_of(named("LOG_SERVICE_NAME")) == "default"


def test_the_operator_is_notified_once_when_code_disagrees_with_the_switch():
    reading = read_settings(
        {"eventhub_logging": {"enabled": True}}, framework={SWITCH: False}.get, environ={SWITCH: "false"}
    )
    expected = (
        "EVENTHUB_LOGGING_ENABLED: false in the environment overrides True in an argument;"
        " false in the environment always wins."
    )
    assert reading.notices == (expected,)
    assert read_settings(framework={SWITCH: False}.get, environ={SWITCH: "false"}).notices == ()


def test_a_variable_without_effect_is_named_with_both_values():
    reading = read_settings(
        {"level": "ERROR"},
        framework={"FILE_LOG_LEVEL": 20}.get,
        environ={"LOG_LEVEL": "DEBUG", "FILE_LOG_LEVEL": "10"},
    )
    assert [override.text for override in reading.overrides] == [
        "LOG_LEVEL: ERROR in an argument overrides DEBUG in the environment.",
        "FILE_LOG_LEVEL: 20 in the application's configuration overrides 10 in the environment.",
    ]
    assert reading.notices == ()


def test_what_means_the_same_overrides_nothing():
    reading = read_settings(
        {"level": 30}, framework={"LOG_LEVEL": "WARNING"}.get, environ={"LOG_LEVEL": "30"}
    )
    assert reading.overrides == ()


def test_the_environment_overrides_a_file_by_design():
    reading = read_settings(environ={"LOG_LEVEL": "DEBUG"}, document={"logging": {"level": "ERROR"}})
    assert reading.overrides == ()
    assert reading.origin_of(named("LOG_LEVEL")) == "the environment"


def test_no_override_shows_a_secret():
    name = "EVENTHUB_NAMESPACE_CONNECTION_STRING"
    reading = read_settings(
        framework={name: SECRET.format("one"), "LOG_REDACTION_HASH_KEY": "k3y-one"}.get,
        environ={name: SECRET.format("two"), "LOG_REDACTION_HASH_KEY": "k3y-two"},
    )
    assert [override.text for override in reading.overrides] == [
        f"{each}: the value in the application's configuration overrides the value in the environment."
        for each in (name, "LOG_REDACTION_HASH_KEY")
    ]
    assert "k3y" not in repr(reading)
    assert SECRET.format("one") not in repr(reading)


def test_no_override_shows_a_login_in_an_address():
    name = "EVENTHUB_LOG_ENDPOINT"
    reading = read_settings(
        framework={name: "https://user:k3y@gateway.example"}.get,
        environ={name: "user:k3y@gateway.example", "EVENTHUB_LOG_PROXY": "http://user:k3y@proxy.example"},
    )
    assert len(reading.problems) == len(reading.overrides) == 1
    assert "k3y" not in f"{reading.problems}{reading.overrides[0].text}{reading}"


@pytest.mark.parametrize("mark", ["'", '"'])
@pytest.mark.parametrize(
    "sample",
    [
        ("LOG_LEVEL", "level", "ERROR", 40),
        ("EVENTHUB_LOG_BATCH_SIZE", "eventhub.batch_size", "7", 7),
        ("EVENTHUB_LOG_PACKING", "eventhub.packing", "gzip", "gzip"),
        ("LOG_SERVICE_NAME", "service.name", "shop", "shop"),
        ("LOG_EXCLUDED_PATHS", "request.excluded_paths", "/a,/b", ("/a", "/b")),
        (
            "EVENTHUB_NAMESPACE_CONNECTION_STRING",
            "eventhub.connection_string",
            SECRET.format("h"),
            SECRET.format("h"),
        ),
    ],
    ids=lambda sample: sample[0],
)
@pytest.mark.parametrize("source", ["environment", "framework", "yaml", "expanded", "argument"])
def test_quotation_marks_around_a_value_are_removed_and_reported(source, sample, mark):
    name, path, text, expected = sample
    setting = named(name)
    value = f"{mark}{text}{mark}"
    nested = {setting.field: value} if not setting.section else {setting.section: {setting.field: value}}
    reading = {
        "environment": lambda: read_settings(environ={name: value}),
        "framework": lambda: read_settings(framework={name: value}.get, environ={}),
        "yaml": lambda: read_settings(environ={}, document={"logging": nested}),
        "expanded": lambda: read_settings(
            environ={"OTHER": value},
            document={
                "logging": {setting.section: {setting.field: "${OTHER}"}}
                if setting.section
                else {setting.field: "${OTHER}"}
            },
        ),
        "argument": lambda: read_settings(nested, environ={}),
    }[source]()
    found = reading.settings
    for part in path.split("."):
        found = getattr(found, part)
    assert found == expected
    assert reading.problems == ()
    assert len(reading.notices) == 1
    assert reading.notices[0].startswith("Quotation marks around the value of ")
    assert setting.field in reading.notices[0] or name in reading.notices[0]
    assert "S3cret" not in reading.notices[0]


@pytest.mark.parametrize("text", ['"a" or "b"', "'it''s'", '"', "'", "\"mixed'"])
def test_marks_that_belong_to_the_value_stay(text):
    reading = read_settings(environ={"LOG_SERVICE_NAME": text})
    assert reading.settings.service.name == text
    assert reading.notices == ()


def test_a_setting_that_is_not_stated_comes_from_the_default():
    reading = read_settings(environ={"LOG_LEVEL": "LOUD"})
    assert reading.settings == Settings()
    assert reading.origin_of(named("LOG_LEVEL")) == "default"
    assert reading.origin_of(named("LOG_DIR")) == "default"
