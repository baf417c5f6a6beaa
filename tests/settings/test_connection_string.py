import logging
from datetime import UTC, datetime

import pytest
from azure.eventhub import EventHubProducerClient
from hypothesis import given
from hypothesis import strategies as st

from hublog.settings import read_settings
from hublog.settings.connection import expiry_of, signature_of

KEY = "S3cretKeyS3cretKeyS3cretKeyS3cretKeyS3cretK="
ENDPOINT = "Endpoint=sb://shop.servicebus.windows.net/"
GOOD = f"{ENDPOINT};SharedAccessKeyName=send;SharedAccessKey={KEY}"
#: As generators write it: the resource and the signature are escaped, the parts come in any order.
TOKEN = "sr=sb%3a%2f%2fshop.servicebus.windows.net%2forders&sig=c2VjcmV0c2VjcmV0%3D&se=4102444800&skn=send"
SIGNED = f"{ENDPOINT};SharedAccessSignature=SharedAccessSignature {TOKEN}"
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
        (SIGNED, None),
        (f"{SIGNED};EntityPath=orders;", f"{SIGNED};EntityPath=orders"),
        (SIGNED.replace("Signature sr", "Signature%20sr"), SIGNED),
        (SIGNED.replace("Signature sr", "Signature+sr"), SIGNED),
        (SIGNED.replace("SharedAccessSignature sr", "sharedaccesssignature  sr"), SIGNED),
        (SIGNED.replace("=SharedAccessSignature sr", "=sr"), SIGNED),
        (SIGNED.replace(";Shared", ";SharedAccessKeyName=send;Shared"), SIGNED),
        (f"{GOOD};SharedAccessSignature=SharedAccessSignature {TOKEN}", SIGNED),
        (f'"{GOOD}"', GOOD),
        (f"'{GOOD};'\n", f"{GOOD};".rstrip(";")),
        (f'"{SIGNED}"', SIGNED),
        (f"\N{LEFT DOUBLE QUOTATION MARK}{GOOD}\N{RIGHT DOUBLE QUOTATION MARK}", GOOD),
        (GOOD.replace(KEY, f'"{KEY}"'), GOOD),
        (GOOD.replace(";", ";\r\n"), GOOD),
        (f"\ufeff{GOOD}\r\n", GOOD),
        (GOOD.upper().replace(KEY.upper(), KEY).replace("SB://", "sb://"), None),
        (GOOD.replace(KEY, "a+b/c=="), None),
        ("Endpoint=sb://eventhubs_emulator:5672;SharedAccessKeyName=a;SharedAccessKey=b", None),
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
        (f'"{GOOD}', "has a quotation mark at one end only"),
        (f"{GOOD}'", "has a quotation mark at one end only"),
        (f"{ENDPOINT};SharedAccessSignature={KEY}", "has a SharedAccessSignature that is not Shared"),
        (
            f"{ENDPOINT};SharedAccessSignature=SharedAccessSignature",
            "has a SharedAccessSignature that is not",
        ),
        (
            SIGNED.replace("&skn=send", ""),
            "has a SharedAccessSignature that is not SharedAccessSignature sr=",
        ),
        (
            SIGNED.replace("&sig=", "&xig="),
            "has a SharedAccessSignature that is not SharedAccessSignature sr=",
        ),
        (SIGNED.replace("4102444800", "tomorrow"), "has a SharedAccessSignature whose se= is not a number"),
        (SIGNED.replace("&se", " &se"), "has white space or control characters inside a part"),
        (f"{SIGNED};SharedAccessSignature={TOKEN}", "has a part more than once"),
        (f"SharedAccessKeyName=send;SharedAccessKey={KEY}", "has no Endpoint=sb://<host>/"),
        (GOOD.replace("sb://", "https://"), "has no Endpoint=sb://<host>/"),
        (GOOD.replace("shop.servicebus.windows.net", "<namespace>"), "has no Endpoint=sb://<host>/"),
        (ENDPOINT, "has no SharedAccessKeyName and no SharedAccessKey"),
        (f"{ENDPOINT};SharedAccessKey={KEY}", "has no SharedAccessKeyName"),
        (f"{ENDPOINT};SharedAccessKeyName=send", "has no SharedAccessKey"),
        (f"{GOOD};SharedAccessKey={KEY}", "has a part more than once"),
        (GOOD.replace(KEY, f"{KEY[:20]}\n{KEY[20:]}"), "has white space or control characters inside a part"),
        (f"{GOOD};UseDevelopmentEmulator=yes", "has a UseDevelopmentEmulator that is neither true nor false"),
        (f"{GOOD};EntityPath=a/b", "has an EntityPath that is not the name of an event hub"),
    ],
)
def test_a_malformed_connection_string_is_a_problem_that_says_what_is_missing_and_no_more(text, seen):
    reading = read(text)
    assert len(reading.problems) == 1
    assert reading.problems[0].startswith(f"{NAME} {seen}")
    assert "; it must be Endpoint=sb://<host>/;" in reading.problems[0]
    assert KEY[:12] not in reading.problems[0]
    assert "c2VjcmV0" not in reading.problems[0]
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


@pytest.mark.parametrize(("text", "is_signed"), [(GOOD, False), (SIGNED, True)], ids=["key", "token"])
def test_a_connection_string_goes_by_a_key_or_by_a_token_whose_end_is_known(text, is_signed):
    assert signature_of(text) == ("c2VjcmV0c2VjcmV0%3D" if is_signed else "")
    assert expiry_of(text) == (datetime(2100, 1, 1, tzinfo=UTC) if is_signed else None)


def test_the_end_of_a_token_that_is_no_moment_is_none():
    assert expiry_of(SIGNED.replace("4102444800", "999999999999")) is None


def test_the_client_offers_the_token_as_it_was_given():
    hub = read(f"'{SIGNED};EntityPath=orders'").settings.eventhub
    with EventHubProducerClient.from_connection_string(hub.connection_string) as client:
        assert client._credential.get_token("any").token == f"SharedAccessSignature {TOKEN}"
        assert client.eventhub_name == "orders"


@given(st.text() | st.text(alphabet=";=Ee&ndpoint:/sbSharedAccessKeyName.", min_size=1))
def test_every_connection_string_that_is_taken_is_one_for_the_client(text):
    hub = read(text).settings.eventhub
    if hub.connection_string:
        EventHubProducerClient.from_connection_string(hub.connection_string, eventhub_name="a").close()


# The file.

FILE_NAME = f"{NAME}_FILE"


def test_a_file_holds_the_connection_string(tmp_path):
    path = tmp_path / "secret"
    path.write_text(f"{GOOD};EntityPath=orders\n")
    reading = read_settings(environ={FILE_NAME: str(path)})
    assert reading.problems == ()
    hub = reading.settings.eventhub
    assert (hub.connection_string, hub.eventhub_name) == (f"{GOOD};EntityPath=orders", "orders")
    assert hub.is_configured
    assert KEY not in repr(hub)


def test_the_connection_string_itself_wins_over_the_file(tmp_path):
    reading = read(GOOD, **{FILE_NAME: str(tmp_path / "missing")})
    assert (reading.problems, reading.settings.eventhub.connection_string) == ((), GOOD)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (None, "which cannot be read (there is no such file)"),
        (b"", "whose content has no Endpoint=sb://<host>/"),
        (GOOD.replace("Endpoint", "Endpunkt").encode(), "whose content has no Endpoint=sb://<host>/"),
        (b"\xff\xfe", "which cannot be read (it is not text)"),
    ],
)
def test_a_file_without_a_connection_string_is_a_problem_that_shows_nothing_of_it(tmp_path, content, reason):
    path = tmp_path / "secret"
    if content is not None:
        path.write_bytes(content)
    reading = read_settings(environ={FILE_NAME: str(path)})
    [problem] = reading.problems
    assert problem == f"{FILE_NAME} is {path}, {reason}; it must be a file that holds a connection string."
    assert not reading.settings.eventhub.is_configured


def test_an_event_hub_that_the_file_does_not_name_is_a_problem_of_the_file(tmp_path):
    path = tmp_path / "secret"
    path.write_text(f"{GOOD};EntityPath=orders")
    reading = read_settings(environ={FILE_NAME: str(path), "EVENTHUB_LOGS_NAME": "other"})
    assert f"but the EntityPath of {FILE_NAME} names another event hub" in reading.problems[0]
