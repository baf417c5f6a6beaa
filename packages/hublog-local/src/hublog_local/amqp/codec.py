"""AMQP 1.0 values to bytes and back; whatever the bytes are, only ``DecodeError`` leaves.

A value is written in the shortest encoding of its type. A peer decides sizes, counts and depth of what is
read, so all three are bounded: a compound ends where its size says, which lies inside what was received; one
call makes at most one value for each byte received plus a fixed allowance for elements of no width; nesting
ends at ``MAX_DEPTH``.

Source: OASIS AMQP 1.0 part 1, sections 1.2 (type encodings) and 1.6 (type definitions).
"""

import struct
import uuid
from collections.abc import Callable, Iterable
from typing import Any, Final

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

_Write = Callable[[Any], bytes]
_Make = Callable[[Any], object]


def _boolean(number: int) -> bool:
    if number > 1:
        raise DecodeError(f"A boolean has the byte {number}; it must be 0 or 1.")
    return number == 1


def _char(number: int) -> Char:
    if number > 0x10FFFF or 0xD800 <= number <= 0xDFFF:
        raise DecodeError(f"0x{number:x} is not a Unicode character.")
    return Char(chr(number))


#: Constructor byte of a value without bytes of its own -> how it is made.
_NO_WIDTH: Final[dict[int, Callable[[], object]]] = {
    0x40: lambda: None,
    0x41: lambda: True,
    0x42: lambda: False,
    0x43: lambda: UInt(0),
    0x44: lambda: ULong(0),
    0x45: list,
}
#: Constructor byte of a value of fixed width -> its form for ``struct``, and what makes it of that.
_FORMATS: Final[dict[int, tuple[str, _Make]]] = {
    0x50: ("B", UByte),
    0x51: ("b", Byte),
    0x52: ("B", UInt),
    0x53: ("B", ULong),
    0x54: ("b", Int),
    0x55: ("b", int),
    0x56: ("B", _boolean),
    0x60: ("H", UShort),
    0x61: ("h", Short),
    0x70: ("I", UInt),
    0x71: ("i", Int),
    0x72: ("f", Float32),
    0x73: ("I", _char),
    0x74: ("4s", DecimalBits),
    0x80: ("Q", ULong),
    0x81: ("q", int),
    0x82: ("d", float),
    0x83: ("q", Timestamp),
    0x84: ("8s", DecimalBits),
    0x94: ("16s", DecimalBits),
    0x98: ("16s", lambda data: uuid.UUID(bytes=data)),
}
#: Class -> constructor byte of its full width. A variable or compound one has the short form 0x10 below.
_CODES: Final[dict[type, int]] = {
    type(None): 0x40,
    bool: 0x56,
    int: 0x81,
    float: 0x82,
    str: 0xB1,
    bytes: 0xB0,
    uuid.UUID: 0x98,
    list: 0xD0,
    dict: 0xD1,
    UByte: 0x50,
    UShort: 0x60,
    UInt: 0x70,
    ULong: 0x80,
    Byte: 0x51,
    Short: 0x61,
    Int: 0x71,
    Timestamp: 0x83,
    Float32: 0x72,
    Char: 0x73,
    Symbol: 0xB3,
    Array: 0xF0,
}


def encode(value: object) -> bytes:
    """Encode one value, constructor included.

    Raises:
        TypeError: AMQP has no type for it.
        ValueError: it is outside the range of its type.
    """
    write = _WRITERS.get(type(value))
    if write is None:
        raise TypeError(f"{type(value).__name__} has no AMQP type.")
    try:
        return write(value)
    except (struct.error, OverflowError) as error:
        raise ValueError(f"{value!r} is outside the range of {type(value).__name__}.") from error


def encode_list(items: Iterable[bytes]) -> bytes:
    """Build a list, never the empty form, out of items that are encoded already."""
    parts = list(items)
    return _compound(0xD0, len(parts), b"".join(parts))


def _compound(code: int, count: int, items: bytes) -> bytes:
    if len(items) < 255 and count < 256:
        return bytes((code - 0x10, len(items) + 1, count)) + items
    return struct.pack(">BII", code, len(items) + 4, count) + items


def _variable(code: int, data: bytes) -> bytes:
    if len(data) < 256:
        return bytes((code - 0x10, len(data))) + data
    return struct.pack(">BI", code, len(data)) + data


def _items(value: Any) -> tuple[int, bytes]:  # noqa: ANN401  # a list, a map or an array
    """Return the count and the encoded items of a compound."""
    if isinstance(value, dict):
        return 2 * len(value), b"".join(encode(key) + encode(item) for key, item in value.items())
    if not isinstance(value, Array):
        return len(value), b"".join(map(encode, value))
    code = value.code
    if code is None:
        code = _CODES[type(value[0])] if value else 0x40
    descriptor = b"" if value.descriptor is None else b"\x00" + encode(value.descriptor)
    return len(value), descriptor + bytes((code,)) + b"".join(map(_ELEMENTS[code], value))


def _compound_body(width: int) -> _Write:
    """Write an element of an array of compounds, its size and count in so many bytes."""

    def write(value: object) -> bytes:
        count, items = _items(value)
        return (len(items) + width).to_bytes(width, "big") + count.to_bytes(width, "big") + items

    return write


def _variable_body(width: int, codec: str | None) -> _Write:
    def write(value: Any) -> bytes:  # noqa: ANN401  # bytes without a codec, text with one
        data: bytes = value.encode(codec) if codec else value
        return len(data).to_bytes(width, "big") + data

    return write


#: Constructor byte -> how an element of an array with this constructor is written.
_ELEMENTS: Final[dict[int, _Write]] = {
    **dict.fromkeys(_NO_WIDTH, lambda _: b""),
    **{code: struct.Struct(">" + form).pack for code, (form, _) in _FORMATS.items()},
    0x73: lambda value: value.encode("utf-32-be"),
    0x98: lambda value: value.bytes,
    0xA0: _variable_body(1, None),
    0xA1: _variable_body(1, "utf-8"),
    0xA3: _variable_body(1, "ascii"),
    0xB0: _variable_body(4, None),
    0xB1: _variable_body(4, "utf-8"),
    0xB3: _variable_body(4, "ascii"),
    **dict.fromkeys((0xC0, 0xC1, 0xE0), _compound_body(1)),
    **dict.fromkeys((0xD0, 0xD1, 0xF0), _compound_body(4)),
}


def _full(code: int) -> _Write:
    constructor, body = bytes((code,)), _ELEMENTS[code]
    return lambda value: constructor + body(value)


def _short_or_full(code: int, short: int, zero: int | None = None) -> _Write:
    """Write nothing for 0 where the type allows it, one byte for a small number, else all bytes."""
    pack = struct.Struct(">Bb" if zero is None else ">BB").pack
    low, high = (-128, 127) if zero is None else (0, 255)
    full = _full(code)

    def write(value: int) -> bytes:
        if value == 0 and zero is not None:
            return bytes((zero,))
        return pack(short, value) if low <= value <= high else full(value)

    return write


_WRITERS: Final[dict[type, _Write]] = {
    **{kind: _full(code) for kind, code in _CODES.items()},
    bool: lambda value: b"\x41" if value else b"\x42",
    int: _short_or_full(0x81, 0x55),
    Int: _short_or_full(0x71, 0x54),
    UInt: _short_or_full(0x70, 0x52, 0x43),
    ULong: _short_or_full(0x80, 0x53, 0x44),
    str: lambda value: _variable(0xB1, value.encode()),
    bytes: lambda value: _variable(0xB0, value),
    Symbol: lambda value: _variable(0xB3, value.encode("ascii")),
    list: lambda value: _compound(0xD0, *_items(value)) if value else b"\x45",
    dict: lambda value: _compound(0xD1, *_items(value)),
    Array: lambda value: _compound(0xF0, *_items(value)),
    DecimalBits: lambda value: bytes(({4: 0x74, 8: 0x84, 16: 0x94}[len(value)],)) + value,
    Described: lambda value: b"\x00" + encode(value.descriptor) + encode(value.value),
}

#: Lists, maps, arrays and descriptors inside each other.
MAX_DEPTH: Final = 32
#: Array elements without a byte of their own (null, true, uint0 ...) that one call may make.
_FREE_VALUES: Final = 4096


def decode(data: bytes | bytearray | memoryview, position: int = 0) -> tuple[object, int]:
    """Decode the one value that begins at ``position``.

    Returns:
        The value, and the position after it.

    Raises:
        DecodeError: no valid value begins there.
    """
    view = data if isinstance(data, memoryview) else memoryview(data)
    reader = _Reader(view, position)
    return reader.read(MAX_DEPTH), reader.position


_FIXED: Final = {
    code: (struct.Struct(">" + form).unpack_from, struct.calcsize(">" + form), make)
    for code, (form, make) in _FORMATS.items()
}
_TEXT: Final[dict[int, tuple[type[str], str]]] = {0x1: (str, "utf-8"), 0x3: (Symbol, "ascii")}


class _Reader:
    """Reads values one after the other out of one piece of bytes."""

    __slots__ = ("_data", "_end", "_values_left", "position")

    def __init__(self, data: memoryview, position: int) -> None:
        self._data = data
        self._end = len(data)
        self._values_left = self._end + _FREE_VALUES
        self.position = position

    def read(self, depth: int) -> object:
        position = self.position
        if position >= self._end:
            raise DecodeError("A value is missing: the data ends before it.")
        self.position = position + 1
        return self._read_as(self._data[position], depth)

    def _read_as(self, code: int, depth: int) -> object:
        """Read a value whose constructor byte is known."""
        self._values_left -= 1
        if self._values_left < 0:
            raise DecodeError("The data stands for more values than are taken.")
        fixed = _FIXED.get(code)
        if fixed is not None:
            unpack, width, make = fixed
            return make(unpack(self._data, self._take(width))[0])
        kind = code >> 4
        if kind in (0xA, 0xB):
            return self._read_variable(code, 1 if kind == 0xA else 4)
        if code in _NO_WIDTH:
            return _NO_WIDTH[code]()
        if depth == 0:
            raise DecodeError(f"Values lie more than {MAX_DEPTH} deep in each other.")
        if code == 0x00:
            return Described(self.read(depth - 1), self.read(depth - 1))
        if code in (0xC0, 0xC1, 0xD0, 0xD1, 0xE0, 0xF0):
            return self._read_compound(code, depth - 1)
        raise DecodeError(f"0x{code:02x} is not a constructor of AMQP 1.0.")

    def _take(self, width: int) -> int:
        """Step over ``width`` bytes; returns where they begin."""
        position = self.position
        self.position = position + width
        if self.position > self._end:
            raise DecodeError(f"A value of {width} bytes runs past the end of the data.")
        return position

    def _read_number(self, width: int) -> int:
        begin = self._take(width)
        return int.from_bytes(self._data[begin : begin + width], "big")

    def _read_variable(self, code: int, width: int) -> object:
        begin = self._take(self._read_number(width))
        data = self._data[begin : self.position]
        if code & 0x0F == 0:
            return bytes(data)
        if code & 0x0F not in _TEXT:
            raise DecodeError(f"0x{code:02x} is not a constructor of AMQP 1.0.")
        make, codec = _TEXT[code & 0x0F]
        try:
            return make(data, codec)
        except UnicodeDecodeError as error:
            raise DecodeError(f"A text is not {codec}.") from error

    def _read_compound(self, code: int, depth: int) -> object:
        width = 1 if code in (0xC0, 0xC1, 0xE0) else 4
        size = self._read_number(width)
        begin = self._take(size)
        end, outer_end = self.position, self._end
        self.position, self._end = begin, end
        count = self._read_number(width)
        value: object
        if code & 0x0F == 1:
            value = self._read_map(count, depth)
        elif code in (0xE0, 0xF0):
            value = self._read_array(count, depth)
        else:
            value = [self.read(depth) for _ in range(count)]
        if self.position != end:
            raise DecodeError(f"A compound of {size} bytes holds {end - self.position} bytes too many.")
        self._end = outer_end
        return value

    def _read_map(self, count: int, depth: int) -> dict[object, object]:
        if count % 2:
            raise DecodeError(f"A map has {count} items; every key needs its value.")
        value: dict[object, object] = {}
        for _ in range(count // 2):
            key = self.read(depth)
            if isinstance(key, list | dict | Described):
                raise DecodeError("The key of a map is a compound or described value, which is not taken.")
            value[key] = self.read(depth)
        if len(value) != count // 2:
            raise DecodeError("A map has one key twice.")
        return value

    def _read_array(self, count: int, depth: int) -> Array:
        if self.position == self._end and count == 0:  # some clients leave off the constructor
            return Array()
        descriptor = None
        code = self._read_number(1)
        if code == 0x00:
            descriptor = self.read(depth)
            code = self._read_number(1)
        if code == 0x00:
            raise DecodeError("An array has elements with more than one descriptor, which is not taken.")
        return Array((self._read_as(code, depth) for _ in range(count)), code=code, descriptor=descriptor)
