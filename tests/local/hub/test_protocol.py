"""What the server says to a peer that speaks frames, well or badly."""

import socket
import struct

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hublog_local.amqp.codec import encode
from hublog_local.amqp.frames import (
    HEARTBEAT,
    Attach,
    Begin,
    Close,
    Detach,
    Disposition,
    End,
    Flow,
    Open,
    SaslInit,
    Transfer,
    write_frame,
)
from hublog_local.amqp.messages import BATCH_FORMAT, SectionCode, read_message, write_section
from hublog_local.amqp.types import Described, ULong

READER = "logs/ConsumerGroups/$Default/Partitions/0"


@pytest.fixture
def raw(hub, make_raw):
    client = make_raw(hub)
    client.begin()
    return client


@pytest.mark.parametrize(
    ("init", "code"),
    [
        (SaslInit("ANONYMOUS"), 0),
        (SaslInit("MSSBCBS"), 0),
        (SaslInit("EXTERNAL", b""), 0),
        (SaslInit("PLAIN", b"\0policy\0secret"), 0),
        (SaslInit("PLAIN", b"\0policy\0wrong"), 1),
        (SaslInit("PLAIN", b"policy"), 1),
        (SaslInit("SCRAM-SHA-1"), 1),
    ],
    ids=str,
)
def test_a_login_is_answered(make_hub, make_raw, init, code):
    hub = make_hub(keys={"policy": "secret"})
    assert make_raw(hub, login=False).log_in(init) == code


def test_a_plain_login_needs_no_token(make_hub, make_raw):
    client = make_raw(make_hub(keys={"policy": "secret"}), login=False)
    client.log_in(SaslInit("PLAIN", b"\0policy\0secret"))
    client.begin()
    assert client.attach_sender("logs").target is not None


def test_without_token_a_link_is_refused_if_there_are_keys(make_hub, make_raw):
    client = make_raw(make_hub(keys={"policy": "secret"}))
    client.begin()
    assert client.attach_sender("logs").target is None
    assert client.receive().performative.error.value[0] == "amqp:unauthorized-access"


def test_the_login_may_be_left_out(hub, make_raw):
    client = make_raw(hub, login=False)
    client.socket.sendall(b"AMQP\x00\x01\x00\x00")
    assert client.read(8) == b"AMQP\x00\x01\x00\x00"
    assert client.begin().max_frame_size == 65536


@pytest.mark.parametrize(
    "header", [b"AMQP\x02\x01\x00\x00", b"AMQP\x00\x00\x09\x01", b"AMQP\x03\x02\x00\x00"]
)
def test_another_protocol_gets_the_supported_one_as_answer(hub, make_raw, header):
    client = make_raw(hub, login=False)
    client.socket.sendall(header)
    assert client.read(8) == b"AMQP\x03\x01\x00\x00"
    client.wait_for_end()


def test_the_size_limit_is_announced(make_hub, make_raw):
    client = make_raw(make_hub(max_message_bytes=262144))
    client.begin()
    assert client.attach_sender("logs").max_message_size == 262144


@pytest.mark.parametrize(
    "address",
    [
        "logs",
        "LOGS",
        "logs/Partitions/1",
        "logs/Publishers/me",
        "amqps://127.0.0.1:5/logs",
        "sb://h/logs/",
        "/logs",
    ],
)
def test_every_form_of_address_leads_to_the_hub(hub, raw, address):
    raw.attach_sender(address)
    raw.receive_until(Flow)
    raw.transfer(b"body")
    assert raw.receive_until(Disposition).performative.state == Described(ULong(0x24), [])
    assert [event.body for event in hub.wait_for(1)] == [b"body"]


REFUSED = {
    "unknown hub": ("sender", "other", "amqp:not-found"),
    "no address": ("sender", "", "amqp:not-found"),
    "unknown partition": ("sender", "logs/Partitions/9", "com.microsoft:argument-out-of-range"),
    "unknown form": ("sender", "logs/a/b/c", "amqp:not-found"),
    "sending to a group": ("sender", READER, "amqp:not-allowed"),
    "reading the whole hub": ("receiver", "logs", "amqp:not-allowed"),
    "reading an unknown partition": (
        "receiver", "logs/ConsumerGroups/g/Partitions/7", "com.microsoft:argument-out-of-range"
    ),
}  # fmt: skip


@pytest.mark.parametrize(("kind", "address", "condition"), REFUSED.values(), ids=REFUSED)
def test_a_wrong_address_is_refused_by_an_attach_without_node_and_a_detach(raw, kind, address, condition):
    answer = raw.attach_sender(address) if kind == "sender" else raw.attach_receiver(address)
    assert (answer.target if kind == "sender" else answer.source) is None
    detach = raw.receive().performative
    assert isinstance(detach, Detach)
    assert detach.error.value[0] == condition
    assert len(detach.error.value) == 3


def test_a_filter_that_is_not_understood_is_refused(raw):
    assert raw.attach_receiver(READER, selector="price > 5").source is None
    assert raw.receive().performative.error.value[0] == "amqp:invalid-field"


def test_an_event_of_a_publisher_carries_its_name_and_stays_in_one_partition(hub, raw):
    raw.attach_sender("logs/Publishers/device-1")
    for number in range(4):
        raw.transfer(b"body", number=number)
    events = hub.wait_for(4)
    assert {event.partition_key for event in events} == {"device-1"}
    assert len({event.partition_id for event in events}) == 1
    assert events[0].annotations["x-opt-publisher"] == "device-1"


def test_a_settled_delivery_gets_no_answer(hub, raw):
    raw.attach_sender("logs")
    raw.receive_until(Flow)
    raw.transfer(b"body", settled=True)
    hub.wait_for(1)
    raw.send(Flow(0, 5, 0, 5, echo=True))
    assert isinstance(raw.receive().performative, Flow)


def test_an_aborted_delivery_is_forgotten(hub, raw):
    raw.attach_sender("logs")
    raw.transfer(b"half", more=True)
    raw.send(Transfer(0, aborted=True))
    raw.transfer(b"whole", number=1)
    assert [event.body for event in hub.wait_for(1)] == [b"whole"]


def test_a_delivery_in_many_frames_is_put_together(hub, raw):
    raw.attach_sender("logs")
    message = write_section(SectionCode.DATA, b"x" * 1000)
    for at in range(0, len(message), 7):
        rest = at + 7 < len(message)
        raw.send(Transfer(0, 0 if at == 0 else None, b"t", 0, more=rest), payload=message[at : at + 7])
    assert [event.body for event in hub.wait_for(1)] == [b"x" * 1000]


def test_a_delivery_that_is_no_message_is_rejected_and_the_link_lives(hub, raw):
    raw.attach_sender("logs")
    raw.send(Transfer(0, 0, b"t", 0), payload=b"\x40\x40")
    state = raw.receive_until(Disposition).performative.state
    assert state.value[0].value[0] == "amqp:decode-error"
    raw.transfer(b"body", number=1)
    assert len(hub.wait_for(1)) == 1


def test_a_batch_with_one_bad_event_is_rejected_whole(hub, raw):
    raw.attach_sender("logs")
    good = write_section(SectionCode.DATA, b"good")
    batch = write_section(SectionCode.DATA, good) + write_section(SectionCode.DATA, b"\xff")
    raw.send(Transfer(0, 0, b"t", BATCH_FORMAT), payload=batch)
    assert raw.receive_until(Disposition).performative.state.descriptor == 0x25
    assert hub.events() == []


def test_a_delivery_is_refused_as_soon_as_it_is_too_large(make_hub, make_raw):
    client = make_raw(make_hub(max_message_bytes=2000))
    client.begin()
    client.attach_sender("logs")
    client.transfer(b"x" * 1500, more=True)
    client.send(Transfer(0, more=True), payload=b"x" * 600)
    detach = client.receive_until(Detach).performative
    assert detach.error.value[0] == "amqp:link:message-size-exceeded"
    assert "2000" in detach.error.value[1]


def test_credit_is_given_again_before_it_is_used_up(hub, raw):
    raw.attach_sender("logs")
    assert raw.receive_until(Flow).performative.link_credit == 1000
    for number in range(500):
        raw.transfer(b"", number=number, settled=True)
    flow = raw.receive_until(Flow).performative
    assert (flow.delivery_count, flow.link_credit) == (500, 1000)


def fill(hub, number, raw):
    raw.attach_sender("logs/Partitions/0", handle=9)
    for index in range(number):
        raw.transfer(str(index).encode() * 3, number=index, handle=9, settled=True)
    hub.wait_for(number)


def body(frame):
    return bytes(read_message(frame.payload).data[0])


def test_a_reader_gets_no_more_than_its_credit(hub, raw):
    fill(hub, 5, raw)
    raw.attach_receiver(READER)
    raw.give_credit(2)
    assert [body(raw.receive_until(Transfer)) for _ in range(2)] == [b"000", b"111"]
    raw.give_credit(0, seen=2, echo=True)
    assert raw.receive_until(Flow).performative.link_credit == 0
    raw.give_credit(1, seen=2, next_incoming_id=2)
    assert body(raw.receive_until(Transfer)) == b"222"


def test_a_reader_that_drains_learns_that_there_is_no_more(hub, raw):
    fill(hub, 2, raw)
    raw.attach_receiver(READER)
    raw.give_credit(10, drain=True)
    assert [body(raw.receive_until(Transfer)) for _ in range(2)] == [b"000", b"111"]
    flow = raw.receive_until(Flow).performative
    assert (flow.drain, flow.link_credit, flow.delivery_count) == (True, 0, 10)


def test_a_reader_gets_no_more_frames_than_its_window(hub, make_raw):
    raw = make_raw(hub)
    raw.begin(max_frame_size=512, incoming_window=3)
    raw.attach_sender("logs/Partitions/0", handle=9)
    raw.transfer(b"x" * 2000, handle=9, settled=True)
    hub.wait_for(1)
    raw.attach_receiver(READER)
    raw.give_credit(5, incoming_window=3)
    parts = [raw.receive_until(Transfer) for _ in range(3)]
    raw.send(Flow(3, 0, 1, 5, echo=True))
    assert isinstance(raw.receive().performative, Flow)
    raw.send(Flow(3, 100, 1, 5))
    while parts[-1].performative.more:
        parts.append(raw.receive_until(Transfer))
    assert len(parts) == 5
    assert (
        body(parts[0]._replace(payload=memoryview(b"".join(part.payload for part in parts)))) == b"x" * 2000
    )


def test_a_reader_that_wants_to_settle_gets_its_settlement_answered(hub, raw):
    fill(hub, 1, raw)
    raw.attach_receiver(READER, mode=0)
    raw.give_credit(1)
    transfer = raw.receive_until(Transfer).performative
    assert transfer.settled is False
    raw.send(
        Disposition(role=True, first=transfer.delivery_id, settled=False, state=Described(ULong(0x24), []))
    )
    answer = raw.receive_until(Disposition).performative
    assert (answer.role, answer.first, answer.settled) == (False, transfer.delivery_id, True)


def test_a_detach_and_an_end_and_a_close_are_answered(hub, raw):
    raw.attach_sender("logs")
    raw.send(Detach(0, closed=True))
    assert raw.receive_until(Detach).performative == Detach(0, closed=True)
    raw.send(End())
    assert raw.receive_until(End).performative == End()
    raw.send(Close())
    assert raw.receive_until(Close).performative == Close()
    raw.wait_for_end()


def test_frames_of_a_session_that_ended_are_ignored(hub, raw):
    raw.send(End())
    raw.receive_until(End)
    raw.send(Detach(0, closed=True))
    raw.send(Begin(None, 0, 5, 5))
    assert isinstance(raw.receive().performative, Begin)


def test_a_silent_peer_is_kept_alive_and_a_silent_client_is_closed(make_hub, make_raw):
    hub = make_hub(idle_timeout_s=0.2)
    client = make_raw(hub)
    opened = client.begin(idle_time_out=50)
    assert opened.idle_time_out == 100
    assert client.read(8) == HEARTBEAT
    client.receive_until(Close)
    assert hub.statistics()["idle_closed_total"] == 1


def test_heartbeats_keep_a_connection_open(make_hub, make_raw):
    hub = make_hub(idle_timeout_s=0.5)
    client = make_raw(hub)
    client.begin(idle_time_out=200)
    for _ in range(10):
        assert client.read(8) == HEARTBEAT
        client.socket.sendall(HEARTBEAT)
    assert hub.statistics()["idle_closed_total"] == 0


def frame(value):
    content = encode(value)
    return (8 + len(content)).to_bytes(4, "big") + b"\x02\x00\x00\x00" + content


BAD = {
    "frame too large": struct.pack(">IBBH", 1 << 30, 2, 0, 0),
    "frame too small": struct.pack(">IBBH", 7, 2, 0, 0),
    "no performative": frame("text"),
    "open twice": write_frame(Open("again")),
    "session twice": write_frame(Begin(None, 0, 1, 1)),
    "channel too high": write_frame(Begin(None, 0, 1, 1), channel=999),
    "attach without session": write_frame(Attach("n", 0, role=True), channel=5),
    "transfer without link": write_frame(Transfer(7, 0)),
    "handle too high": write_frame(Attach("n", 99999, role=True)),
    "login after open": write_frame(SaslInit("PLAIN"), kind=1),
    "login as amqp": write_frame(SaslInit("PLAIN")),
    "source is no source": write_frame(Attach("n", 0, role=True, source=Described(ULong(0x99), []))),
    "header again": b"AMQP\x00\x01\x00\x00",
}


@pytest.mark.parametrize("data", BAD.values(), ids=BAD)
def test_a_peer_that_errs_gets_the_reason_and_loses_its_own_connection_only(hub, make_raw, raw, data):
    other = make_raw(hub)
    other.begin()
    raw.socket.sendall(data)
    raw.wait_for_end()
    assert hub.statistics()["peer_errors_total"] == 1
    assert len(hub.recent_errors()) == 1
    other.attach_sender("logs")
    other.transfer(b"body")
    assert len(hub.wait_for(1)) == 1


def test_an_error_is_in_the_close(raw):
    raw.send(Transfer(7, 0))
    error = raw.receive_until(Close).performative.error
    assert error.value[0] == "amqp:decode-error"
    assert "handle 7" in error.value[1]


def test_frames_before_the_login_or_before_open_are_errors(hub, make_raw):
    client = make_raw(hub, login=False)
    client.socket.sendall(write_frame(Open("early")))
    client.wait_for_end()
    client = make_raw(hub)
    client.socket.sendall(write_frame(Begin(None, 0, 1, 1)))
    client.wait_for_end()
    assert hub.statistics()["peer_errors_total"] == 2


def test_a_request_that_no_link_can_hear_the_answer_of_is_an_error(hub, raw):
    raw.attach_sender("$management")
    raw.transfer(b"")
    raw.wait_for_end()
    assert "without a link to answer on" in hub.recent_errors()[0]


def ask(raw, node, properties, value=None):
    raw.attach_sender(node)
    raw.attach_receiver(node)
    raw.give_credit(5)
    request = (
        write_section(SectionCode.PROPERTIES, ["id", None, None, None, "reply-1"])
        + write_section(SectionCode.APPLICATION_PROPERTIES, properties)
        + write_section(SectionCode.VALUE, value)
    )
    raw.send(Transfer(0, 0, b"t", 0), payload=request)
    answer = read_message(raw.receive_until(Transfer).payload)
    assert answer.properties[5] == "id"
    return answer.application_properties


REQUESTS = {
    "no operation": ("$cbs", {"name": "sb://h/logs"}, 400),
    "no name": ("$cbs", {"operation": "put-token"}, 400),
    "unknown operation": (
        "$management",
        {"operation": "DELETE", "type": "com.microsoft:eventhub", "name": "logs"},
        400,
    ),
    "unknown type": ("$management", {"operation": "READ", "type": "x", "name": "logs"}, 400),
    "unknown hub": ("$management", {"operation": "READ", "type": "com.microsoft:eventhub", "name": "x"}, 404),
    "unknown partition": (
        "$management",
        {"operation": "READ", "type": "com.microsoft:partition", "name": "logs", "partition": "9"},
        400,
    ),
    "hub": ("$management", {"operation": "READ", "type": "com.microsoft:eventhub", "name": "LOGS"}, 200),
}


@pytest.mark.parametrize(("node", "properties", "status"), REQUESTS.values(), ids=REQUESTS)
def test_every_request_gets_its_status_in_both_spellings(raw, node, properties, status):
    answer = ask(raw, node, properties)
    assert (answer["status-code"], answer["statusCode"]) == (status, status)


def test_management_needs_a_token_if_there_are_keys(make_hub, make_raw):
    raw = make_raw(make_hub(keys={"policy": "secret"}))
    raw.begin()
    answer = ask(raw, "$management", {"operation": "READ", "type": "com.microsoft:eventhub", "name": "logs"})
    assert answer["status-code"] == 401


def test_a_request_that_is_too_large_ends_its_link(raw):
    raw.attach_sender("$cbs")
    for number in range(2):
        raw.transfer(b"x" * 60_000, number=number, more=True)
    assert raw.receive_until(Detach).performative.error.value[0] == "amqp:link:message-size-exceeded"


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.binary(max_size=300), st.sampled_from(["nothing", "header", "login", "open"]))
def test_rubbish_ends_its_connection_and_never_the_server(hub, rubbish, stage):
    with socket.create_connection(("127.0.0.1", hub.port), timeout=20) as client:
        if stage != "nothing":
            client.sendall(b"AMQP\x00\x01\x00\x00" if stage == "open" else b"AMQP\x03\x01\x00\x00")
        if stage == "login":
            client.sendall(write_frame(SaslInit("ANONYMOUS"), kind=1) + b"AMQP\x00\x01\x00\x00")
        if stage in ("login", "open"):
            client.sendall(write_frame(Open("x")) + write_frame(Begin(None, 0, 5, 5)))
        client.sendall(rubbish)
        client.shutdown(socket.SHUT_WR)
        try:
            while client.recv(65536):
                pass
        except ConnectionError:
            pass
    with socket.create_connection(("127.0.0.1", hub.port), timeout=20) as client:
        client.sendall(b"AMQP\x03\x01\x00\x00")
        assert client.recv(8) == b"AMQP\x03\x01\x00\x00"
