"""Where records go: which settings mean the same event hub, and what is written down of it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hublog.settings import Packing, read_settings
from hublog.spool.envelope import ENVELOPE_MAX_BYTES, Destination, Envelope, envelope_of

KEY = "SharedAccessKeyName=send;SharedAccessKey=c2VjcmV0"
SHOP = {"EVENTHUB_NAMESPACE_CONNECTION_STRING": f"Endpoint=sb://shop.servicebus.windows.net/;{KEY}"}
PLAIN = {
    "EVENTHUB_NAMESPACE_CONNECTION_STRING": f"Endpoint=sb://127.0.0.1/;{KEY};UseDevelopmentEmulator=true"
}


def of(environ, **more):
    return envelope_of(read_settings(environ={**environ, **more}).strict().eventhub)


def connection(endpoint, more=""):
    return {"EVENTHUB_NAMESPACE_CONNECTION_STRING": f"Endpoint={endpoint};{KEY}{more}"}


@pytest.mark.parametrize(
    "environ",
    [
        pytest.param(connection("sb://shop.servicebus.windows.net"), id="without slash"),
        pytest.param(connection("sb://Shop.ServiceBus.Windows.net/"), id="other case"),
        pytest.param(connection("sb://shop.servicebus.windows.net:5671/"), id="with the port of AMQP"),
        pytest.param(
            {
                "EVENTHUB_NAMESPACE_CONNECTION_STRING": "Endpoint=sb://shop.servicebus.windows.net/;"
                "SharedAccessKeyName=other;SharedAccessKey=bmV3"
            },
            id="another key",
        ),
        pytest.param(
            {"EVENTHUB_FULLY_QUALIFIED_NAMESPACE": "shop.servicebus.windows.net"}, id="passwordless"
        ),
        pytest.param(
            {"EVENTHUB_FULLY_QUALIFIED_NAMESPACE": "SHOP.servicebus.windows.net"},
            id="passwordless, other case",
        ),
        pytest.param(
            connection("sb://shop.servicebus.windows.net/", ";EntityPath=application-logs"), id="EntityPath"
        ),
        pytest.param({**SHOP, "EVENTHUB_LOGS_NAME": "Application-Logs"}, id="hub in another case"),
    ],
)
def test_these_settings_mean_one_event_hub(environ):
    mine, other = of(SHOP).destination, of(environ).destination
    assert mine.takes(other)
    assert other.takes(mine)
    assert mine.namespace == other.namespace == "shop.servicebus.windows.net"


@pytest.mark.parametrize(
    ("one", "other"),
    [
        pytest.param(SHOP, {**SHOP, "EVENTHUB_LOGS_NAME": "audit"}, id="hub"),
        pytest.param(SHOP, connection("sb://shop2.servicebus.windows.net/"), id="namespace"),
        pytest.param(PLAIN, connection("sb://127.0.0.1:5673/", ";UseDevelopmentEmulator=true"), id="port"),
        pytest.param(PLAIN, connection("sb://127.0.0.1/"), id="emulator or not"),
        pytest.param(SHOP, connection("sb://shop.servicebus.windows.net/", ";EntityPath=audit"), id="path"),
    ],
)
def test_these_settings_mean_two(one, other):
    assert not of(one).destination.takes(of(other).destination)
    assert not of(other).destination.takes(of(one).destination)


def test_an_emulator_is_named_with_its_port():
    assert of(PLAIN).destination.namespace == "127.0.0.1:5672"
    found = of(connection("sb://[::1]:7000", ";UseDevelopmentEmulator=true"))
    assert found.destination.namespace == "::1:7000"


@pytest.mark.parametrize("name", ["", "audit"])
def test_what_is_logged_before_a_connection_is_configured_is_for_whichever_is(name):
    early = of({"EVENTHUB_LOGS_NAME": name} if name else {})
    assert early == Envelope(destination=Destination(namespace="", eventhub=name))
    assert of({**SHOP, "EVENTHUB_LOGS_NAME": "audit"}).destination.takes(early.destination)
    assert of(SHOP).destination.takes(early.destination) is (name == "")


def test_no_key_is_written_down():
    found = of(SHOP, EVENTHUB_LOG_ROUTE_TABLE="Shop", EVENTHUB_LOG_PACKING="gzip")
    assert found.encode() == (b'["shop.servicebus.windows.net","application-logs","gzip",{"Table":"Shop"}]')
    assert b"c2VjcmV0" not in found.encode()
    assert "c2VjcmV0" not in repr(found)


texts = st.text(st.characters(exclude_categories=["C", "Z"]), max_size=20)


@given(texts, texts, st.sampled_from([None, *Packing]), st.dictionaries(texts, texts, max_size=4))
def test_what_is_written_is_read_again(namespace, eventhub, packing, routing):
    made = Envelope(
        destination=Destination(namespace=namespace, eventhub=eventhub), packing=packing, routing=routing
    )
    assert Envelope.decode(made.encode()) == made
    assert not made.encode().startswith(b"{")


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(b"", id="nothing"),
        pytest.param(b"\xff\xfe", id="no text"),
        pytest.param(b"{}", id="no array"),
        pytest.param(b'["a","b","lines"]', id="too short"),
        pytest.param(b'["a","b","lines",{},1]', id="too long"),
        pytest.param(b'["a","b","brotli",{}]', id="a packing of a newer version"),
        pytest.param(b'["a",7,"lines",{}]', id="a number"),
        pytest.param(b'["a","b","lines",[]]', id="routing that is none"),
        pytest.param(b'["a","b","lines",{"Table":null}]', id="a property without a text"),
        pytest.param(b'["a\\u001b[2J","b","lines",{}]', id="what a terminal obeys"),
        pytest.param(b'["' + b"a" * ENVELOPE_MAX_BYTES + b'","b","lines",{}]', id="huge"),
        pytest.param(b"[" * 60_000, id="deep"),
    ],
)
def test_what_is_no_envelope_of_this_version_is_none(data):
    assert Envelope.decode(data) is None
