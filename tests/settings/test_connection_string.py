import logging

import pytest
from azure.eventhub import EventHubProducerClient
from hypothesis import given
from hypothesis import strategies as st

from hublog.settings import read_settings

KEY = "S3cretKeyS3cretKeyS3cretKeyS3cretKeyS3cretK="
ENDPOINT = "Endpoint=sb://shop.servicebus.windows.net/"
GOOD = f"{ENDPOINT};SharedAccessKeyName=send;SharedAccessKey={KEY}"
NAME = "EVENTHUB_NAMESPACE_CONNECTION_STRING"


def read(text, **others):
    return read_settings(environ={NAME: text, **others})


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (GOOD, GOOD),
        (f"{GOOD};", GOOD),
        (f"  {GOOD}  \n", GOOD),
        (GOOD.replace(";", " ; "), GOOD),
        (f"{ENDPOINT};SharedAccessSignature=SharedAccessSignature", None),
        (f"{GOOD};EntityPath=orders", None),
        ("endpoint=SB://127.0.0.1:5672;sharedaccesskeyname=local;sharedaccesskey=local", None),
        ("Endpoint=sb://[::1]:5672;SharedAccessKeyName=local;SharedAccessKey=local", None),
        (f"{GOOD};UseDevelopmentEmulator=True", f"{GOOD};UseDevelopmentEmulator=true"),
        (f"{GOOD};usedevelopmentemulator=FALSE", f"{GOOD};usedevelopmentemulator=false"),
    ],
)
def test_a_connection_string_is_taken_and_put_into_the_form_that_the_client_reads(text, expected):
    reading = read(text)
    assert reading.problems == ()
    assert reading.settings.eventhub.connection_string == (expected or text)


def test_the_client_honours_the_emulator_however_it_was_written():
    text = (
        "Endpoint=sb://127.0.0.1:5672; SharedAccessKeyName=a; SharedAccessKey=b; UseDevelopmentEmulator=TRUE"
    )
    hub = read(text).settings.eventhub
    client = EventHubProducerClient.from_connection_string(
        hub.connection_string, eventhub_name=hub.eventhub_name
    )
    assert client._config.use_tls is False
    client.close()


@pytest.mark.parametrize(
    ("text", "seen"),
    [
        ("nonsense", "has a part that is not Name=value"),
        (KEY, "has a part that is not Name=value"),
        (f"{GOOD};EntityPath=", "has a part that is not Name=value"),
        (f'"{GOOD}"', "has no Endpoint=sb://<host>/"),
        (f"SharedAccessKeyName=send;SharedAccessKey={KEY}", "has no Endpoint=sb://<host>/"),
        (GOOD.replace("sb://", "https://"), "has no Endpoint=sb://<host>/"),
        (GOOD.replace("shop.servicebus.windows.net", "<namespace>"), "has no Endpoint=sb://<host>/"),
        (ENDPOINT, "has no SharedAccessKeyName and no SharedAccessKey"),
        (f"{ENDPOINT};SharedAccessKey={KEY}", "has no SharedAccessKeyName"),
        (f"{ENDPOINT};SharedAccessKeyName=send", "has no SharedAccessKey"),
        (f"{GOOD};SharedAccessKey={KEY}", "has a part twice"),
        (GOOD.replace(KEY, f"{KEY[:20]}\n{KEY[20:]}"), "has white space or control characters inside a part"),
        (f"{GOOD};UseDevelopmentEmulator=yes", "has a UseDevelopmentEmulator that is neither true nor false"),
        (f"{GOOD};EntityPath=a/b", "has an EntityPath that is not the name of an event hub"),
    ],
)
def test_a_malformed_connection_string_is_a_problem_that_says_what_is_missing_and_no_more(text, seen):
    reading = read(text)
    assert len(reading.problems) == 1
    assert reading.problems[0].startswith(f"{NAME} {seen}; it must be Endpoint=sb://<host>/;")
    assert KEY[:12] not in reading.problems[0]
    assert "shop" not in reading.problems[0]
    assert reading.settings.eventhub.connection_string == ""
    assert not reading.settings.eventhub.is_configured


@pytest.mark.parametrize(
    "value", [5, True, b"Endpoint", [GOOD], {"key": GOOD}, object()], ids=lambda v: type(v).__name__
)
def test_a_connection_string_of_a_wrong_type_is_a_problem_without_its_value(value):
    reading = read_settings(framework={NAME: value}.get, environ={})
    assert reading.problems[0].startswith(
        f"{NAME} in the application's configuration is a {type(value).__name__};"
    )
    assert KEY not in reading.problems[0]


def test_no_repr_and_no_error_holds_the_key(tmp_path):
    (tmp_path / "config.yaml").write_text(f"logging:\n  eventhub_logging:\n  - {GOOD}: {{", encoding="utf-8")
    readings = [
        read(GOOD),
        read(f"{GOOD};Nonsense"),
        read(
            "",
            EVENTHUB_LOGS_NAME=GOOD,
            EVENTHUB_FULLY_QUALIFIED_NAMESPACE=GOOD,
            LOG_LEVEL=KEY,
            LOG_TO_STDOUT=GOOD,
        ),
        read_settings({"eventhub_logging": {"connection_sting": GOOD, GOOD: 1}}, environ={}),
        read_settings({"eventhub_logging": GOOD, "file_logging": {"enabled": GOOD}}, environ={}),
        read_settings(
            {"eventhub_logging": {"connection_string": {"a": GOOD}, "batch_size": [GOOD]}}, environ={}
        ),
        read_settings(environ={NAME: GOOD}, document={"logging": GOOD}),
        read_settings(
            environ={"X": GOOD}, document={"logging": {"eventhub_logging": {"batch_size": "${X}"}}}
        ),
        read_settings(
            environ={}, document={"logging": {"eventhub_logging": {"connection_string": f"${{{GOOD}"}}}
        ),
        read_settings(environ={}, document=tmp_path / "config.yaml"),
    ]
    for reading in readings:
        told = repr(reading) + str(reading.problems) + repr(reading.settings) + str(reading.settings.eventhub)
        assert KEY[:12] not in told
        for problem in reading.problems:
            logging.LogRecord("x", 40, "x", 1, problem, None, None).getMessage()
    assert len([reading for reading in readings if reading.problems]) == len(readings) - 1


@pytest.mark.parametrize(
    ("stated", "expected", "is_problem"),
    [
        ({}, "orders", False),
        ({"environ": "orders"}, "orders", False),
        ({"environ": "Orders"}, "orders", False),
        ({"environ": "others"}, "orders", True),
        ({"environ": "application-logs"}, "orders", True),
        ({"yaml": "application-logs"}, "orders", False),
        ({"yaml": "${EVENTHUB_LOGS_NAME:-application-logs}"}, "orders", False),
        ({"yaml": "others"}, "orders", True),
        ({"argument": "others"}, "orders", True),
    ],
)
def test_the_entity_path_names_the_hub_and_a_stated_name_that_differs_is_a_problem(
    stated, expected, is_problem
):
    reading = read_settings(
        {"eventhub_logging": {"eventhub_name": stated.get("argument")}},
        environ={NAME: f"{GOOD};EntityPath=orders", "EVENTHUB_LOGS_NAME": stated.get("environ", "")},
        document={"logging": {"eventhub_logging": {"eventhub_name": stated.get("yaml")}}},
    )
    assert reading.settings.eventhub.eventhub_name == expected
    assert [problem.endswith("make them equal or leave one out.") for problem in reading.problems] == (
        [True] if is_problem else []
    )


def test_without_an_entity_path_the_name_is_what_is_stated():
    assert read(GOOD, EVENTHUB_LOGS_NAME="others").settings.eventhub.eventhub_name == "others"


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        ({}, False),
        ({NAME: GOOD}, True),
        ({"EVENTHUB_FULLY_QUALIFIED_NAMESPACE": "shop.servicebus.windows.net"}, True),
    ],
    ids=["nothing", "connection string", "namespace"],
)
def test_a_destination_is_configured_by_either_way(environ, expected):
    assert read_settings(environ=environ).settings.eventhub.is_configured is expected


@given(st.text() | st.text(alphabet=";=Ee&ndpoint:/sbSharedAccessKeyName.", min_size=1))
def test_every_connection_string_that_is_taken_is_one_for_the_client(text):
    hub = read(text).settings.eventhub
    if hub.connection_string:
        EventHubProducerClient.from_connection_string(hub.connection_string, eventhub_name="a").close()
