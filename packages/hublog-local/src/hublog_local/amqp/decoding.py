"""AMQP 1.0 bytes become values; whatever the bytes are, only ``DecodeError`` leaves.

A peer decides sizes, counts and depth, so all three are bounded: a compound ends where its size says,
which lies inside what was received; one call makes at most one value for each byte received plus
a fixed allowance for elements of no width; nesting ends at ``MAX_DEPTH``.

Source: OASIS AMQP 1.0 part 1, sections 1.2 (type encodings) and 1.6 (type definitions).
"""

import struct
import uuid
from collections.abc import Callable
from typing import Any, Final

from hublog_local.amqp.values import (
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


def decode_whole(data: bytes | bytearray | memoryview) -> object:
    """Decode the one value that fills ``data``.

    Raises:
        DecodeError: it is no valid value, or something follows it.
    """
    value, end = decode(data)
    if end != len(data):
        raise DecodeError(f"{len(data) - end} bytes follow the value.")
    return value


def _boolean(number: int) -> bool:
    if number > 1:
        raise DecodeError(f"A boolean has the byte {number}; it must be 0 or 1.")
    return number == 1


def _char(number: int) -> Char:
    if number > 0x10FFFF or 0xD800 <= number <= 0xDFFF:
        raise DecodeError(f"0x{number:x} is not a Unicode character.")
    return Char(chr(number))


def _text(view: memoryview) -> str:
    try:
        return str(view, "utf-8")
    except UnicodeDecodeError as error:
        raise DecodeError("A string is not UTF-8.") from error


def _symbol(view: memoryview) -> Symbol:
    try:
        return Symbol(str(view, "ascii"))
    except UnicodeDecodeError as error:
        raise DecodeError("A symbol is not ASCII.") from error


def _same(number: int) -> int:
    return number


def _double(number: float) -> float:
    return number


_Make = Callable[[Any], object]
_NO_WIDTH: Final[dict[int, Callable[[], object]]] = {
    0x40: lambda: None,
    0x41: lambda: True,
    0x42: lambda: False,
    0x43: lambda: UInt(0),
    0x44: lambda: ULong(0),
    0x45: list,
}
_FORMATS: Final[dict[int, tuple[str, _Make]]] = {
    0x50: ("B", UByte),
    0x51: ("b", Byte),
    0x52: ("B", UInt),
    0x53: ("B", ULong),
    0x54: ("b", Int),
    0x55: ("b", _same),
    0x56: ("B", _boolean),
    0x60: ("H", UShort),
    0x61: ("h", Short),
    0x70: ("I", UInt),
    0x71: ("i", Int),
    0x72: ("f", Float32),
    0x73: ("I", _char),
    0x74: ("4s", DecimalBits),
    0x80: ("Q", ULong),
    0x81: ("q", _same),
    0x82: ("d", _double),
    0x83: ("q", Timestamp),
    0x84: ("8s", DecimalBits),
    0x94: ("16s", DecimalBits),
    0x98: ("16s", lambda data: uuid.UUID(bytes=data)),
}
_FIXED: Final = {
    code: (struct.Struct(">" + form).unpack_from, struct.calcsize(">" + form), make)
    for code, (form, make) in _FORMATS.items()
}
_VARIABLE: Final[dict[int, _Make]] = {0x0: bytes, 0x1: _text, 0x3: _symbol}


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
        make = _VARIABLE.get(code & 0x0F)
        if make is None:
            raise DecodeError(f"0x{code:02x} is not a constructor of AMQP 1.0.")
        begin = self._take(self._read_number(width))
        return make(self._data[begin : self.position])

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
