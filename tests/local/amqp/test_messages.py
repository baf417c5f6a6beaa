import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hublog_local.amqp.codec import encode
from hublog_local.amqp.messages import (
    SectionCode,
    read_message,
    write_section,
)
from hublog_local.amqp.types import DecodeError, Described, Symbol, ULong

DATA = write_section(SectionCode.DATA, b"body")
WHOLE = (
    write_section(SectionCode.HEADER, [True])
    + write_section(SectionCode.DELIVERY_ANNOTATIONS, {Symbol("d"): 1})
    + write_section(SectionCode.ANNOTATIONS, {Symbol("x-opt-partition-key"): "k"})
    + write_section(SectionCode.PROPERTIES, ["id"])
    + write_section(SectionCode.APPLICATION_PROPERTIES, {"a": 1})
    + DATA
    + write_section(SectionCode.DATA, b"x" * 300)
    + write_section(SectionCode.FOOTER, {Symbol("f"): 1})
)


def test_a_whole_message_is_taken_apart():
    found = read_message(memoryview(WHOLE))
    assert bytes(found.header) == write_section(SectionCode.HEADER, [True])
    assert found.annotations == {"x-opt-partition-key": "k"}
    assert found.properties == ["id"]
    assert found.application_properties == {"a": 1}
    assert found.head == write_section(SectionCode.PROPERTIES, ["id"]) + write_section(
        SectionCode.APPLICATION_PROPERTIES, {"a": 1}
    )
    assert [bytes(part) for part in found.data] == [b"body", b"x" * 300]
    assert bytes(found.tail) == WHOLE[WHOLE.index(DATA) :]


def test_data_is_a_view_into_the_message_and_no_copy():
    message = memoryview(DATA)
    assert read_message(message).data[0].obj is message.obj


def test_a_section_may_have_its_symbolic_name_or_a_long_code():
    symbolic = encode(Described(Symbol("amqp:data:binary"), b"a"))
    long = b"\x00\x80" + (0x75).to_bytes(8, "big") + encode(b"b")
    assert [bytes(part) for part in read_message(memoryview(symbolic + long)).data] == [b"a", b"b"]


def test_an_amqp_value_may_be_anything():
    assert read_message(memoryview(write_section(SectionCode.VALUE, {"a": [1]}))).value == {"a": [1]}


HOSTILE = {
    "no section": encode("text"),
    "unknown section": encode(Described(ULong(0x99), b"")),
    "strange descriptor": encode(Described([1], b"")),
    "out of order": DATA + write_section(SectionCode.HEADER, []),
    "properties twice": 2 * write_section(SectionCode.PROPERTIES, []),
    "properties are a map": write_section(SectionCode.PROPERTIES, {}),
    "data is text": write_section(SectionCode.DATA, "text"),
    "data is missing": b"\x00\x53\x75",
    "data is cut off": b"\x00\x53\x75\xb0\x00\x00\x01\x00x",
    "data without a size": b"\x00\x53\x75\xb0\x00",
}


@pytest.mark.parametrize("data", HOSTILE.values(), ids=HOSTILE)
def test_hostile_messages_are_refused(data):
    with pytest.raises(DecodeError):
        read_message(memoryview(data))


@given(st.binary(max_size=100), st.integers(0, len(WHOLE)))
def test_rubbish_raises_nothing_but_decode_errors(rubbish, cut):
    for data in (rubbish, WHOLE[:cut] + rubbish, WHOLE[:cut] + rubbish + WHOLE[cut:]):
        with contextlib.suppress(DecodeError):
            read_message(memoryview(data))
