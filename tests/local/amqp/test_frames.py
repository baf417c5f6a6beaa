import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hublog_local.amqp.codec import encode
from hublog_local.amqp.frames import (
    ACCEPTED,
    HEARTBEAT,
    SASL_FRAME,
    Attach,
    Begin,
    Close,
    Detach,
    Disposition,
    End,
    Flow,
    LinkError,
    Open,
    SaslInit,
    SaslMechanisms,
    SaslOutcome,
    Transfer,
    frame_size,
    read_frame,
    read_terminus,
    write_error,
    write_frame,
    write_rejected,
)
from hublog_local.amqp.types import Array, DecodeError, Described, Symbol, ULong

SOURCE = Described(ULong(0x28), ["hub", *[None] * 10])
PERFORMATIVES = [
    Open("c", "host", 512, 1, 1000, None, None, None, None, {Symbol("a"): "b"}),
    Begin(None, 0, 1, 2**31, 7),
    Attach("n", 0, role=True, source=SOURCE, max_message_size=2**40),
    Flow(None, 1, 2, 3, 4, 5, 6, None, True, False),
    Transfer(1, 2, b"\0\0\0\1", 0x80013700, settled=False, more=True),
    Disposition(True, 1, 2, True, ACCEPTED),
    Detach(1, True, write_error(LinkError("amqp:not-found", "gone"))),
    End(),
    Close(write_error(LinkError("a:b"))),
    SaslMechanisms(Array([Symbol("PLAIN")])),
    SaslInit("PLAIN", b"\0a\0b", "host"),
    SaslOutcome(0),
]


@pytest.mark.parametrize("performative", PERFORMATIVES, ids=lambda item: type(item).__name__)
def test_a_frame_is_read_as_it_was_written(performative):
    data = write_frame(performative, channel=7, kind=SASL_FRAME, payload_bytes=3) + b"abc"
    frame = read_frame(memoryview(data))
    assert (frame.performative, frame.channel, frame.kind, bytes(frame.payload)) == (
        performative,
        7,
        1,
        b"abc",
    )
    assert frame_size(memoryview(data), 4096) == len(data)


@pytest.mark.parametrize("performative", PERFORMATIVES, ids=lambda item: type(item).__name__)
def test_every_field_is_written_because_the_python_client_reads_by_position(performative):
    list_constructor, count = write_frame(performative)[11], write_frame(performative)[13]
    assert (list_constructor, count) == (0xC0, len(performative))


def test_fields_that_were_left_off_are_null():
    body = encode(Described(ULong(0x11), [None, ULong(0), ULong(5), ULong(6)]))
    data = (8 + len(body)).to_bytes(4, "big") + b"\x02\x00\x00\x00" + body
    assert read_frame(memoryview(data)).performative == Begin(None, 0, 5, 6)


def test_a_performative_may_have_its_symbolic_name():
    body = encode(Described(Symbol("amqp:end:list"), []))
    data = (8 + len(body)).to_bytes(4, "big") + b"\x02\x00\x00\x00" + body
    assert read_frame(memoryview(data)).performative == End()


def test_a_heartbeat_has_no_performative():
    assert read_frame(memoryview(HEARTBEAT)).performative is None


def test_a_larger_data_offset_is_stepped_over():
    plain = write_frame(End())
    data = (len(plain) + 4).to_bytes(4, "big") + b"\x03" + plain[5:8] + b"\xff\xff\xff\xff" + plain[8:]
    assert read_frame(memoryview(data)).performative == End()


def frame(body, head=b"\x02\x00\x00\x00"):
    return (8 + len(body)).to_bytes(4, "big") + head + body


HOSTILE = {
    "offset inside the header": frame(b"", b"\x01\x00\x00\x00"),
    "offset behind the end": frame(b"", b"\x09\x00\x00\x00"),
    "unknown kind": frame(encode(Described(ULong(0x17), [None])), b"\x02\x07\x00\x00"),
    "no performative": frame(b"\x40"),
    "performative of another kind of value": frame(encode(Described(ULong(0x17), {}))),
    "unknown performative": frame(encode(Described(ULong(0x99), []))),
    "strange descriptor": frame(encode(Described([1], []))),
    "too many fields": frame(encode(Described(ULong(0x17), [None, None]))),
    "mandatory field missing": frame(encode(Described(ULong(0x16), []))),
    "field of another type": frame(encode(Described(ULong(0x16), ["handle"]))),
    "boolean for a number": frame(encode(Described(ULong(0x16), [True]))),
    "negative number": frame(encode(Described(ULong(0x16), [-1]))),
    "number out of range": frame(encode(Described(ULong(0x16), [2**32]))),
}


@pytest.mark.parametrize("data", HOSTILE.values(), ids=HOSTILE)
def test_hostile_frames_are_refused(data):
    with pytest.raises(DecodeError):
        read_frame(memoryview(data))


@pytest.mark.parametrize("size", [0, 7, 513])
def test_a_frame_must_be_as_large_as_its_header_and_no_larger_than_agreed(size):
    with pytest.raises(DecodeError, match="8 to 512"):
        frame_size(memoryview(size.to_bytes(4, "big")), 512)


@given(st.binary(max_size=200))
def test_rubbish_raises_nothing_but_decode_errors(body):
    with contextlib.suppress(DecodeError):
        read_frame(memoryview(frame(body)))


@pytest.mark.parametrize(
    "value",
    [
        Described(ULong(0x29), []),
        Described(ULong(0x28), "x"),
        Described(ULong(0x28), [None] * 12),
        Described(ULong(0x28), [5]),
        Described(ULong(0x28), [None] * 7 + ["filters"]),
    ],
    ids=repr,
)
def test_a_source_that_is_none_is_refused(value):
    with pytest.raises(DecodeError):
        read_terminus(value, is_source=True)


def test_source_and_target_are_given_back_with_all_fields():
    assert read_terminus(None, is_source=True) is None
    assert read_terminus(Described(ULong(0x28), ["a"]), is_source=True).whole.value == ["a", *[None] * 10]
    assert read_terminus(Described(Symbol("amqp:target:list"), []), is_source=False).whole == Described(
        ULong(0x29), [None] * 7
    )


def test_errors_have_all_three_fields_because_the_python_client_hangs_without():
    rejected = write_rejected(write_error(LinkError("a:b")))
    assert rejected.value[0].value == ["a:b", "", {}]
