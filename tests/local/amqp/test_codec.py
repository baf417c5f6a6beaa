"""Values and bytes, side by side, as OASIS AMQP 1.0 part 1 gives them."""

import contextlib
import math
import uuid

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hublog_local.amqp.codec import MAX_DEPTH, decode, encode
from hublog_local.amqp.types import (
    Array,
    Byte,
    Char,
    DecimalBits,
    DecodeError,
    Described,
    Float32,
    Int,
    Short,
    Symbol,
    Timestamp,
    UByte,
    UInt,
    ULong,
    UShort,
)


def whole(data):
    """Decode the one value that fills the data."""
    value, end = decode(data)
    assert end == len(data)
    return value


ID = uuid.UUID("f81d4fae-7dec-11d0-a765-00a0c91e6bf6")

#: Value, its bytes; encoded as written here.
CANONICAL = [
    (None, "40"),
    (True, "41"),
    (False, "42"),
    (UByte(0), "5000"),
    (UByte(255), "50ff"),
    (UShort(65535), "60ffff"),
    (UInt(0), "43"),
    (UInt(1), "5201"),
    (UInt(255), "52ff"),
    (UInt(256), "7000000100"),
    (UInt(2**32 - 1), "70ffffffff"),
    (ULong(0), "44"),
    (ULong(255), "53ff"),
    (ULong(2**64 - 1), "80ffffffffffffffff"),
    (Byte(-128), "5180"),
    (Short(-2), "61fffe"),
    (Int(-1), "54ff"),
    (Int(127), "547f"),
    (Int(128), "7100000080"),
    (Int(-(2**31)), "7180000000"),
    (-1, "55ff"),
    (0, "5500"),
    (-129, "81ffffffffffffff7f"),
    (2**63 - 1, "817fffffffffffffff"),
    (Float32(1.5), "723fc00000"),
    (-2.0, "82c000000000000000"),
    (math.inf, "827ff0000000000000"),
    (Char("A"), "7300000041"),
    (Char("\U0001f600"), "730001f600"),
    (Timestamp(1311711742497), "8300000131681cca21"),
    (Timestamp(-1), "83ffffffffffffffff"),
    (ID, "98f81d4fae7dec11d0a76500a0c91e6bf6"),
    (b"", "a000"),
    (b"\x00\xff", "a00200ff"),
    (b"x" * 256, "b000000100" + "78" * 256),
    ("", "a100"),
    ("Hello", "a10548656c6c6f"),
    ("é" * 128, "b100000100" + "c3a9" * 128),
    (Symbol("ascii"), "a3056173636969"),
    (Symbol("x" * 256), "b300000100" + "78" * 256),
    ([], "45"),
    ([None, [True]], "c0060240c0020141"),
    ([b"x" * 252], "c0ff01a0fc" + "78" * 252),
    ([b"x" * 253], "d00000010300000001a0fd" + "78" * 253),
    ({}, "c10100"),
    ({"a": 1, Symbol("b"): None}, "c10a04a101615501a3016240"),
    (DecimalBits(bytes.fromhex("32800001")), "7432800001"),
    (DecimalBits(bytes.fromhex("31c0000000000001")), "8431c0000000000001"),
    (DecimalBits(bytes(15) + b"\x01"), "94" + "00" * 15 + "01"),
    (Described(ULong(0x24), []), "00532445"),
    (Described(Symbol("a:b"), "x"), "00a303613a62a10178"),
    (Array([True, False]), "e00402560100"),
    (Array([Symbol("a"), Symbol("bc")]), "e00d02b300000001610000000262" + "63"),
    (Array([UInt(1)]), "e006017000000001"),
    (Array([]), "e0020040"),
]

#: Other bytes for a value.
DECODED_ONLY = [
    (True, "5601"),
    (False, "5600"),
    (UInt(1), "7000000001"),
    (ULong(1), "800000000000000001"),
    (Int(1), "7100000001"),
    (1, "810000000000000001"),
    (b"a", "b00000000161"),
    ("a", "b10000000161"),
    (Symbol("a"), "b30000000161"),
    ([], "c00100"),
    ([], "d00000000400000000"),
    ([Int(1)], "d000000006000000015401"),
    ({}, "d10000000400000000"),
    ({"a": True}, "d10000000800000002a1016141"),
    (Array([1, 2]), "e00402550102"),
    (Array(["a"]), "f00000000700000001a10161"),
    (Array([[1], []]), "e00802c0030155010100"),
    (Array([None] * 3), "e0020340"),
    (Array([]), "e00100"),
    (Array(["a", "b"]), "e00a0200a30178a101610162"),
]


def same(left, right):
    if type(left) is not type(right):
        return False
    if isinstance(left, Described):
        return same(left.descriptor, right.descriptor) and same(left.value, right.value)
    if isinstance(left, list):
        return len(left) == len(right) and all(map(same, left, right))
    if isinstance(left, dict):
        return same(list(left), list(right)) and same(list(left.values()), list(right.values()))
    if isinstance(left, float) and math.isnan(left):
        return math.isnan(right)
    return left == right


@pytest.mark.parametrize(("value", "data"), CANONICAL, ids=lambda item: repr(item)[:30])
def test_a_value_is_encoded_in_its_shortest_form(value, data):
    assert encode(value).hex() == data


@pytest.mark.parametrize(("value", "data"), CANONICAL + DECODED_ONLY, ids=lambda item: repr(item)[:30])
def test_every_encoding_is_decoded_to_its_type(value, data):
    assert same(whole(bytes.fromhex(data)), value)


def test_an_array_of_described_values_keeps_its_descriptor():
    array = whole(bytes.fromhex("e00a0200a30178a101610162"))
    assert array.descriptor == "x"
    assert encode(array).hex() == "e00a0200a30178a101610162"


HOSTILE = {
    "nothing": "",
    "unknown constructor": "46",
    "unknown constructor of a variable": "a20100",
    "unknown constructor of a compound": "c20100",
    "fixed cut off": "8000",
    "string cut off": "a10561",
    "string of four GiB": "b1ffffffff61",
    "string not UTF-8": "a101ff",
    "symbol not ASCII": "a302c3a9",
    "boolean of 2": "5602",
    "char beyond Unicode": "7300110000",
    "char is a surrogate": "730000d800",
    "list longer than its data": "c00501",
    "list of size 0": "c000",
    "list with more items than bytes": "d000000004ffffffff",
    "list with bytes left over": "c0030140" + "40",
    "map with a key alone": "c1020140",
    "map with a list as key": "c103024540",
    "map with one key twice": "c10504414041" + "40",
    "array of four billion nulls": "f000000005ffffffff40",
    "array without constructor": "e00101",
    "array of twice described values": "e00501005301" + "0040",
    "descriptor without value": "005324",
    "deeper than the limit": "00" * 200 + "40",
}


@pytest.mark.parametrize("data", HOSTILE.values(), ids=HOSTILE)
def test_hostile_bytes_are_refused(data):
    with pytest.raises(DecodeError):
        decode(bytes.fromhex(data))


def test_lists_are_taken_to_the_limit_of_depth_and_no_deeper():
    value = None
    for _ in range(MAX_DEPTH):
        value = [value]
    assert same(whole(encode(value)), value)
    with pytest.raises(DecodeError, match="deep"):
        decode(encode([value]))


def test_nested_arrays_of_no_width_do_not_multiply():
    inner = bytes.fromhex("00000005") + (4000).to_bytes(4, "big") + b"\x40"
    many = inner * 1000
    data = b"\xf0" + (len(many) + 5).to_bytes(4, "big") + (1000).to_bytes(4, "big") + b"\xf0" + many
    with pytest.raises(DecodeError, match="more values"):
        decode(data)


def test_bytes_after_the_value_are_left():
    assert decode(b"\x40\x41") == (None, 1)


@pytest.mark.parametrize("value", [UByte(256), ULong(-1), 2**63, Float32(1e300)], ids=repr)
def test_a_number_out_of_range_is_a_value_error(value):
    with pytest.raises(ValueError, match="range"):
        encode(value)


def test_a_value_without_amqp_type_is_a_type_error():
    with pytest.raises(TypeError, match="set"):
        encode(set())


def numbers(kind, bits, signed=False):
    low, high = (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) if signed else (0, 2**bits - 1)
    return st.integers(low, high).map(kind)


TEXT = st.text(max_size=300)
SYMBOLS = st.text(st.characters(max_codepoint=127), max_size=300).map(Symbol)
SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    numbers(UByte, 8),
    numbers(UShort, 16),
    numbers(UInt, 32),
    numbers(ULong, 64),
    numbers(Byte, 8, signed=True),
    numbers(Short, 16, signed=True),
    numbers(Int, 32, signed=True),
    numbers(int, 64, signed=True),
    numbers(Timestamp, 64, signed=True),
    st.floats(),
    st.floats(width=32).map(Float32),
    st.characters(exclude_categories=["Cs"]).map(Char),
    st.uuids(),
    st.binary(max_size=300),
    TEXT,
    SYMBOLS,
    st.sampled_from([4, 8, 16]).flatmap(lambda n: st.binary(min_size=n, max_size=n)).map(DecimalBits),
)
ARRAYS = st.one_of(
    st.lists(TEXT).map(Array),
    st.lists(SYMBOLS).map(Array),
    st.lists(st.booleans()).map(Array),
    st.lists(numbers(int, 64, signed=True)).map(Array),
    st.lists(st.uuids()).map(Array),
    st.lists(st.lists(st.integers(0, 500), max_size=90), max_size=5).map(Array),
    st.lists(st.lists(TEXT).map(Array), max_size=5).map(Array),
)
VALUES = st.recursive(
    SCALARS | ARRAYS,
    lambda inner: st.one_of(
        st.lists(inner, max_size=6),
        st.dictionaries(TEXT, inner, max_size=4),
        st.builds(Described, numbers(ULong, 64) | SYMBOLS, inner),
    ),
    max_leaves=20,
)


@given(VALUES)
def test_what_was_encoded_is_decoded_to_the_same_value_and_type(value):
    assert same(whole(encode(value)), value)


@given(VALUES)
def test_what_was_decoded_is_encoded_to_the_same_bytes(value):
    data = encode(value)
    assert encode(whole(data)) == data


@given(st.binary(max_size=400))
def test_rubbish_raises_nothing_but_decode_errors(data):
    with contextlib.suppress(DecodeError):
        decode(data)


@given(VALUES, st.data())
def test_spoilt_values_raise_nothing_but_decode_errors(value, data):
    spoilt = bytearray(encode(value))
    for _ in range(data.draw(st.integers(1, 4))):
        spoilt[data.draw(st.integers(0, len(spoilt) - 1))] = data.draw(st.integers(0, 255))
    with contextlib.suppress(DecodeError):
        decode(spoilt[: data.draw(st.integers(0, len(spoilt)))])
