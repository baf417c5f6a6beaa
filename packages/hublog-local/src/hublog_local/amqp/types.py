"""AMQP 1.0 types that Python has no literal for.

Plain Python stands for the others: None null, bool boolean, int long, float double, str string,
bytes binary, ``uuid.UUID`` uuid, list list, dict map. Every type decodes to exactly one class, so a
value that is encoded again keeps its type.

Source: OASIS AMQP 1.0 part 1, section 1.6.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field

from hublog_local.errors import LocalHubError


class DecodeError(LocalHubError):
    """The bytes are not AMQP 1.0, or go beyond what is taken from a peer."""


class UByte(int):
    """Integer from 0 to 2**8 - 1."""

    __slots__ = ()


class UShort(int):
    """Integer from 0 to 2**16 - 1."""

    __slots__ = ()


class UInt(int):
    """Integer from 0 to 2**32 - 1."""

    __slots__ = ()


class ULong(int):
    """Integer from 0 to 2**64 - 1."""

    __slots__ = ()


class Byte(int):
    """Integer from -2**7 to 2**7 - 1."""

    __slots__ = ()


class Short(int):
    """Integer from -2**15 to 2**15 - 1."""

    __slots__ = ()


class Int(int):
    """Integer from -2**31 to 2**31 - 1."""

    __slots__ = ()


class Timestamp(int):
    """Milliseconds since 1970-01-01 UTC."""

    __slots__ = ()


class Float32(float):
    """A float of four bytes."""

    __slots__ = ()


class Char(str):
    """One Unicode character."""

    __slots__ = ()


class Symbol(str):
    """Text of ASCII characters out of a fixed vocabulary."""

    __slots__ = ()


class DecimalBits(bytes):
    """A decimal32, decimal64 or decimal128: its 4, 8 or 16 bytes as they were on the wire."""

    __slots__ = ()


@dataclass(slots=True, unsafe_hash=True)
class Described:
    """A value with a descriptor that says what it means.

    Attributes:
        descriptor: a ULong code or a Symbol, for what the specification defines.
        value: any AMQP value.
    """

    descriptor: object
    value: object = field(hash=False)


class Array(list[object]):
    """Values that all have one type.

    Attributes:
        code: the constructor byte of the elements; None lets the first element decide.
        descriptor: stands before every element of an array of described values, else None; the
            elements are then the bare values.
    """

    __slots__ = ("code", "descriptor")

    def __init__(
        self, items: Iterable[object] = (), *, code: int | None = None, descriptor: object = None
    ) -> None:
        super().__init__(items)
        self.code = code
        self.descriptor = descriptor
