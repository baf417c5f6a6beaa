"""The codec against the one of azure-eventhub: two that know nothing of each other."""

import uuid
from datetime import UTC, datetime

import pytest
from azure.eventhub._pyamqp import _decode, _encode, message
from hypothesis import given
from hypothesis import strategies as st

from hublog_local.amqp.codec import decode, encode
from hublog_local.amqp.messages import read_message
from hublog_local.amqp.types import Array, Described, Symbol, UInt, ULong


def theirs(value):
    output = bytearray()
    _encode.encode_value(output, value)
    return bytes(output)


def read_by_them(data):
    view = memoryview(data)
    rest, value = _decode._DECODE_BY_CONSTRUCTOR[view[0]](view[1:])
    assert len(rest) == 0
    return value


PLAIN = st.recursive(
    st.none() | st.booleans() | st.binary(max_size=300) | st.uuids() | st.floats(allow_nan=False)
    | st.integers(-(2**31), 2**31 - 1),
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.binary(max_size=9), inner, max_size=4),
    max_leaves=20,
)  # fmt: skip


@given(PLAIN)
def test_they_read_what_we_write(value):
    assert read_by_them(encode(value)) == value


@given(PLAIN)
def test_we_read_what_they_write(value):
    data = theirs(value)
    assert decode(data) == (value, len(data))


@pytest.mark.parametrize(
    ("value", "read"),
    [
        (UInt(7), 7),
        (ULong(300), 300),
        ("Grüße", "Grüße".encode()),
        (Symbol("amqp:accepted"), b"amqp:accepted"),
        (Array(["0", "1"]), [b"0", b"1"]),
        (Array([Symbol("x" * 300)]), [b"x" * 300]),
        (Described(ULong(0x99), ["a"]), [b"a"]),
    ],
    ids=repr,
)
def test_they_read_our_own_types(value, read):
    assert read_by_them(encode(value)) == read


def test_we_read_a_message_of_theirs():
    output = bytearray()
    _encode.encode_payload(
        output,
        message.Message(
            header=message.Header(durable=True),
            properties=message.Properties(message_id=b"id", content_type=b"application/json"),
            message_annotations={b"x-opt-partition-key": "k"},
            application_properties={
                "a": 1,
                "when": datetime(2026, 1, 2, tzinfo=UTC),
                "b": uuid.UUID(int=5),
            },
            data=[b"one", b"two"],
        ),
    )
    found = read_message(memoryview(bytes(output)))
    assert [bytes(part) for part in found.data] == [b"one", b"two"]
    assert found.application_properties["b"] == uuid.UUID(int=5)
    assert found.application_properties["when"] == 1767312000000
    assert found.properties[0] == b"id"
    assert list(found.annotations.values()) == ["k"]
