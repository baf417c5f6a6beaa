"""AMQP inside WebSockets: the parts by themselves, and the hub with clients that others wrote."""

import asyncio
import contextlib
import gc
import socket
import ssl
import warnings

import pytest
import trustme
import websocket
from azure.eventhub import EventData, EventHubConsumerClient, EventHubProducerClient, TransportType
from hypothesis import given
from hypothesis import strategies as st
from websockets.asyncio.client import connect

from hublog_local import LocalHub
from hublog_local.amqp.types import DecodeError
from hublog_local.hub.websocket import (
    HEAD_MAX_BYTES,
    PATH,
    FrameReader,
    UpgradeRefusedError,
    close_frame,
    frame_head,
    read_request,
)

LIMIT_S = 20
HEADERS = {
    "Host": "127.0.0.1",
    "Upgrade": "websocket",
    "Connection": "keep-alive, Upgrade",
    "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
    "Sec-WebSocket-Version": "13",
    "Sec-WebSocket-Protocol": "AMQPWSB10",
}
SASL = b"AMQP\x03\x01\x00\x00"


def request(path=PATH, **changes):
    headers = {**HEADERS, **{name.replace("_", "-"): value for name, value in changes.items()}}
    lines = [f"GET {path} HTTP/1.1", *(f"{name}: {value}" for name, value in headers.items() if value)]
    return ("\r\n".join(lines) + "\r\n\r\n").encode()


def masked(payload, *, opcode=0x82, mask=b"\x01\x02\x03\x04"):
    size = len(payload)
    head = bytes([opcode])
    if size < 126:
        head += bytes([0x80 | size])
    else:
        head += bytes([0x80 | 126]) + size.to_bytes(2) if size < 65536 else b"\xff" + size.to_bytes(8)
    return head + mask + bytes(byte ^ mask[at % 4] for at, byte in enumerate(payload))


# The upgrade.


def test_an_upgrade_is_accepted_with_the_subprotocol_of_azure():
    size, response = read_request(request() + b"more")
    assert size == len(request())
    assert response.startswith(b"HTTP/1.1 101 ")
    assert b"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n" in response  # of RFC 6455, section 1.3
    assert b"Sec-WebSocket-Protocol: AMQPWSB10\r\n" in response


def test_the_registered_subprotocol_is_taken_too():
    _, response = read_request(request(Sec_WebSocket_Protocol="mqtt, amqp"))
    assert b"Sec-WebSocket-Protocol: amqp\r\n" in response


@pytest.mark.parametrize("size", [0, 4, 40, len(request()) - 1])
def test_a_request_that_is_not_whole_is_waited_for(size):
    assert read_request(request()[:size]) is None


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (request("/"), "404"),
        (request().replace(b"HTTP/1.1", b"HTTP/1.0"), "404"),
        (request(Upgrade="h2c"), "426"),
        (request(Upgrade=""), "426"),
        (request(Sec_WebSocket_Key=""), "426"),
        (request(Sec_WebSocket_Protocol="mqtt"), "400"),
        (request(Sec_WebSocket_Protocol=""), "400"),
        (b"GET / HTTP/1.1\r\nX: " + bytes(HEAD_MAX_BYTES), "431"),
    ],
)
def test_any_other_request_is_refused_with_a_status(data, status):
    with pytest.raises(UpgradeRefusedError) as error:
        read_request(data)
    assert error.value.response.startswith(f"HTTP/1.1 {status} ".encode())


# Frames.


@given(st.lists(st.binary(max_size=300), max_size=5), st.lists(st.integers(1, 50), min_size=1, max_size=20))
def test_the_payload_comes_out_whole_however_the_stream_is_cut(payloads, sizes):
    stream = b"".join(masked(payload) for payload in payloads)
    reader, found, at, turn = FrameReader(), b"", 0, 0
    while at < len(stream):
        size = sizes[turn % len(sizes)]
        found += reader.feed(stream[at : at + size])
        at, turn = at + size, turn + 1
    assert found == b"".join(payloads)
    assert reader.answers == []


@pytest.mark.parametrize("size", [125, 126, 65_535, 65_536, 200_000])
def test_frames_of_every_length_are_read_and_written(size):
    payload = bytes(size)
    assert FrameReader().feed(masked(payload)) == payload
    head = frame_head(size)
    short = head[1]
    assert (int.from_bytes(head[2:]) if short > 125 else short) == size


def test_a_ping_is_answered_in_the_middle_of_a_message():
    reader = FrameReader()
    stream = masked(b"one", opcode=0x02) + masked(b"are you there", opcode=0x89) + masked(b"two", opcode=0x80)
    assert reader.feed(stream) == b"onetwo"
    assert reader.answers == [b"\x8a\x0dare you there"]


def test_a_close_is_answered_and_nothing_is_read_behind_it():
    reader = FrameReader()
    assert reader.feed(masked(b"\x03\xe8", opcode=0x88) + masked(b"late")) == b""
    assert reader.answers == [close_frame(1000)]
    assert reader.is_closed


@pytest.mark.parametrize(
    "data",
    [
        b"\x82\x03abc",
        masked(b"text", opcode=0x81),
        masked(b"x", opcode=0xC2),
        masked(bytes(126), opcode=0x89),
    ],
    ids=["not masked", "text", "an extension", "a long ping"],
)
def test_what_no_client_of_amqp_sends_is_an_error(data):
    with pytest.raises(DecodeError):
        FrameReader().feed(data)


# The hub.


@pytest.fixture(params=["ws", "wss"])
def scheme(request):
    return request.param


@pytest.fixture
def authority():
    return trustme.CA()


@pytest.fixture
def hub(scheme, authority):
    context = None
    if scheme == "wss":
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        authority.issue_cert("127.0.0.1").configure_cert(context)
    with LocalHub({"logs": 2}, keys={"send": "a key"}, ssl_context=context) as started:
        yield started
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "unclosed <s", ResourceWarning)
        gc.collect()


@pytest.fixture
def options(hub, scheme, authority, tmp_path):
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    found = {
        "transport_type": TransportType.AmqpOverWebsocket,
        "custom_endpoint_address": f"sb://127.0.0.1:{hub.port}",
        "retry_total": 0,
    }
    return found if scheme == "ws" else {**found, "connection_verify": str(tmp_path / "ca.pem")}


def test_the_official_client_sends_and_reads_inside_websockets(hub, options):
    bodies = [b"small", bytes(900_000), b"last"]
    connection = hub.connection_string("logs")
    with EventHubProducerClient.from_connection_string(connection, **options) as producer:
        for body in bodies:
            producer.send_batch([EventData(body)], partition_id="1")
        assert producer.get_eventhub_properties()["partition_ids"] == ["0", "1"]
    found = []
    with EventHubConsumerClient.from_connection_string(connection, "$Default", **options) as consumer:

        def take(_, event):
            found.append(b"".join(event.body))
            if len(found) == len(bodies):
                consumer.close()

        consumer.receive(take, partition_id="1", starting_position="-1")
    assert found == bodies
    assert hub.statistics()["websockets_total"] >= 3
    assert hub.recent_errors() == []


def test_websockets_and_plain_amqp_share_the_port(hub, options):
    connection = hub.connection_string("logs")
    for transport in (TransportType.Amqp, TransportType.AmqpOverWebsocket):
        with EventHubProducerClient.from_connection_string(
            connection, **{**options, "transport_type": transport}
        ) as producer:
            producer.send_batch([EventData(b"x")])
    assert len(hub.events("logs")) == 2
    assert 0 < hub.statistics()["websockets_total"] < hub.statistics()["connections_total"]


def test_a_client_of_another_maker_is_greeted_pinged_and_closed(hub, scheme, authority):
    async def talk():
        context = None
        if scheme == "wss":
            context = ssl.create_default_context()
            authority.configure_trust(context)
        uri = f"{scheme}://127.0.0.1:{hub.port}{PATH}"
        async with connect(uri, subprotocols=["AMQPWSB10"], ssl=context, compression=None) as client:
            await client.send(SASL)
            assert (await client.recv())[:8] == SASL
            await asyncio.wait_for(await client.ping(), LIMIT_S)
        return client.subprotocol, client.close_code

    assert asyncio.run(talk()) == ("AMQPWSB10", 1000)


def test_a_browser_is_answered_that_this_is_an_event_hub():
    with (
        LocalHub({"logs": 1}) as hub,
        socket.create_connection(("127.0.0.1", hub.port), timeout=LIMIT_S) as client,
    ):
        client.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        answer = b""
        while piece := client.recv(4096):
            answer += piece
    assert answer.startswith(b"HTTP/1.1 404 ")
    assert PATH.encode() in answer


def test_rubbish_in_frames_ends_its_own_connection_only(hub, scheme, authority):
    options = {}
    if scheme == "wss":
        context = ssl.create_default_context()
        authority.configure_trust(context)
        options["sslopt"] = {"context": context}
    uri = f"{scheme}://127.0.0.1:{hub.port}{PATH}"
    client = websocket.create_connection(uri, subprotocols=["AMQPWSB10"], timeout=LIMIT_S, **options)
    client.send_binary(b"\xff" * 100)
    with contextlib.suppress(websocket.WebSocketConnectionClosedException):
        while client.recv():
            pass
    client.close()
    assert len(hub.recent_errors()) == 1
    second = websocket.create_connection(uri, subprotocols=["AMQPWSB10"], timeout=LIMIT_S, **options)
    second.send_binary(SASL)
    assert second.recv()[:8] == SASL
    second.close()


def test_a_fault_acts_inside_websockets_too(hub, options):
    hub.faults.add("slow", bytes_per_s=50_000)
    with EventHubProducerClient.from_connection_string(hub.connection_string("logs"), **options) as producer:
        producer.send_batch([EventData(b"slow")])
    assert [bytes(event.body) for event in hub.events("logs")] == [b"slow"]
