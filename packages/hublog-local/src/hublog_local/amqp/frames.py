"""Frames: a size, a kind, a channel, a performative and what follows it.

A performative is checked field by field. Every field is written, nulls at the end included, and never as the
empty list: azure-eventhub 5.15.1 reads fields by position and fails on a short list
(Azure/azure-sdk-for-python#47660, in no release yet). On reading, fields that were left off are null.

Source: OASIS AMQP 1.0 part 2, sections 2.3, 2.7 and 2.8.14; part 3, sections 3.4 and 3.5; part 5, section
5.3.3.
"""

import re
import struct
from collections.abc import Callable
from itertools import starmap
from types import NoneType
from typing import Annotated, Final, NamedTuple, get_args, get_type_hints

from hublog_local.amqp.codec import decode, encode, encode_list
from hublog_local.amqp.types import DecodeError, Described, Symbol, UByte, UInt, ULong, UShort

ACCEPTED: Final = Described(ULong(0x24), [])
RELEASED: Final = Described(ULong(0x26), [])
#: The delivery failed, may be sent again, and carries no annotations.
MODIFIED: Final = Described(ULong(0x27), [True, False, {}])

#: Position of the filters in a source.
_FILTERS: Final = 7


class LinkError(NamedTuple):
    """Why something was refused or ended.

    Attributes:
        condition: a symbol that programs react to, such as ``amqp:not-found``.
        description: a sentence for people.
    """

    condition: str
    description: str = ""


def write_error(error: LinkError) -> Described:
    """Make an AMQP error with all three fields: azure-eventhub 5.15.1 hangs when one is left off."""
    return Described(ULong(0x1D), [Symbol(error.condition), error.description, {}])


def write_short_error(error: LinkError) -> Described:
    """Make an AMQP error of the condition alone, which is valid and breaks some clients."""
    return Described(ULong(0x1D), [Symbol(error.condition)])


def write_rejected(error: Described | None) -> Described:
    """Make the outcome of a delivery that is refused."""
    return Described(ULong(0x25), [error])


class Terminus(NamedTuple):
    """The source or target of a link.

    Attributes:
        address: where it leads; empty if it has none.
        filters: of a source, by name.
        whole: with all of its fields, to be sent back.
    """

    address: str
    filters: dict[object, object]
    whole: Described


def read_terminus(value: Described | None, *, is_source: bool) -> Terminus | None:
    """Read the source or target of an attach.

    Raises:
        DecodeError: it is something else.
    """
    if value is None:
        return None
    fields = value.value
    code, name, number = (0x28, "amqp:source:list", 11) if is_source else (0x29, "amqp:target:list", 7)
    if value.descriptor not in (code, name) or not isinstance(fields, list) or len(fields) > number:
        raise DecodeError(f"{value.descriptor!r} is not {name} with at most {number} fields.")
    fields = [*fields, *[None] * (number - len(fields))]
    address = fields[0]
    if address is not None and not isinstance(address, str):
        raise DecodeError(f"The address of a link is {type(address).__name__}; it must be a string.")
    filters = fields[_FILTERS] if is_source else None
    if filters is not None and not isinstance(filters, dict):
        raise DecodeError("The filters of a source are not a map.")
    return Terminus(address or "", filters or {}, Described(ULong(code), fields))


class _Kind(NamedTuple):
    """What one field may hold, and how its Python value becomes an AMQP one."""

    name: str
    takes: Callable[[object], bool]
    wrap: Callable[..., object] | None = None


def _is_number(bits: int) -> Callable[[object], bool]:
    return lambda value: isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 1 << bits


def _is(*types: type) -> Callable[[object], bool]:
    return lambda value: isinstance(value, types)


# The types of the fields below; one that may not be None must be there.
_String = Annotated[str, _Kind("a string", _is(str))]
_Symbol = Annotated[str, _Kind("a symbol", _is(str), Symbol)]
_Symbols = Annotated[object, _Kind("an array of symbols", _is(list, str))]
_Binary = Annotated[bytes, _Kind("binary", _is(bytes))]
_Boolean = Annotated[bool, _Kind("a boolean", _is(bool))]
_UByte = Annotated[int, _Kind("a ubyte", _is_number(8), UByte)]
_UShort = Annotated[int, _Kind("a ushort", _is_number(16), UShort)]
_UInt = Annotated[int, _Kind("a uint", _is_number(32), UInt)]
_ULong = Annotated[int, _Kind("a ulong", _is_number(64), ULong)]
_Map = Annotated[dict[object, object], _Kind("a map", _is(dict))]
_Described = Annotated[Described, _Kind("a described value", _is(Described))]


class Open(NamedTuple):
    """Begin a connection."""

    container_id: _String
    hostname: _String | None = None
    max_frame_size: _UInt | None = None
    channel_max: _UShort | None = None
    idle_time_out: _UInt | None = None
    outgoing_locales: _Symbols | None = None
    incoming_locales: _Symbols | None = None
    offered_capabilities: _Symbols | None = None
    desired_capabilities: _Symbols | None = None
    properties: _Map | None = None


class Begin(NamedTuple):
    """Begin a session on a channel."""

    remote_channel: _UShort | None
    next_outgoing_id: _UInt
    incoming_window: _UInt
    outgoing_window: _UInt
    handle_max: _UInt | None = None
    offered_capabilities: _Symbols | None = None
    desired_capabilities: _Symbols | None = None
    properties: _Map | None = None


class Attach(NamedTuple):
    """Attach a link to a session; ``role`` is true for the receiver."""

    name: _String
    handle: _UInt
    role: _Boolean
    snd_settle_mode: _UByte | None = None
    rcv_settle_mode: _UByte | None = None
    source: _Described | None = None
    target: _Described | None = None
    unsettled: _Map | None = None
    incomplete_unsettled: _Boolean | None = None
    initial_delivery_count: _UInt | None = None
    max_message_size: _ULong | None = None
    offered_capabilities: _Symbols | None = None
    desired_capabilities: _Symbols | None = None
    properties: _Map | None = None


class Flow(NamedTuple):
    """State of a session, and of a link if there is a handle."""

    next_incoming_id: _UInt | None
    incoming_window: _UInt
    next_outgoing_id: _UInt
    outgoing_window: _UInt
    handle: _UInt | None = None
    delivery_count: _UInt | None = None
    link_credit: _UInt | None = None
    available: _UInt | None = None
    drain: _Boolean | None = None
    echo: _Boolean | None = None
    properties: _Map | None = None


class Transfer(NamedTuple):
    """Carry a message or a part of it."""

    handle: _UInt
    delivery_id: _UInt | None = None
    delivery_tag: _Binary | None = None
    message_format: _UInt | None = None
    settled: _Boolean | None = None
    more: _Boolean | None = None
    rcv_settle_mode: _UByte | None = None
    state: _Described | None = None
    resume: _Boolean | None = None
    aborted: _Boolean | None = None
    batchable: _Boolean | None = None


class Disposition(NamedTuple):
    """Outcome of deliveries."""

    role: _Boolean
    first: _UInt
    last: _UInt | None = None
    settled: _Boolean | None = None
    state: _Described | None = None
    batchable: _Boolean | None = None


class Detach(NamedTuple):
    """Detach a link."""

    handle: _UInt
    closed: _Boolean | None = None
    error: _Described | None = None


class End(NamedTuple):
    """End a session."""

    error: _Described | None = None


class Close(NamedTuple):
    """Close a connection."""

    error: _Described | None = None


class SaslMechanisms(NamedTuple):
    """Name the ways to log in."""

    mechanisms: _Symbols


class SaslInit(NamedTuple):
    """Choose a way to log in."""

    mechanism: _Symbol
    initial_response: _Binary | None = None
    hostname: _String | None = None


class SaslOutcome(NamedTuple):
    """Result of the login: 0 success, 1 failure."""

    code: _UByte
    additional_data: _Binary | None = None


Performative = (
    Open | Begin | Attach | Flow | Transfer | Disposition | Detach | End | Close | SaslMechanisms
    | SaslInit | SaslOutcome
)  # fmt: skip

_PERFORMATIVES: Final = {
    0x10: Open,
    0x11: Begin,
    0x12: Attach,
    0x13: Flow,
    0x14: Transfer,
    0x15: Disposition,
    0x16: Detach,
    0x17: End,
    0x18: Close,
    0x40: SaslMechanisms,
    0x41: SaslInit,
    0x44: SaslOutcome,
}


class _Shape(NamedTuple):
    code: int
    make: type[Performative]
    kinds: dict[str, _Kind]
    mandatory: set[str]


def _shape(code: int, make: type[Performative]) -> _Shape:
    kinds: dict[str, _Kind] = {}
    mandatory: set[str] = set()
    for name, hint in get_type_hints(make, include_extras=True).items():
        is_optional = NoneType in get_args(hint)
        kinds[name] = (get_args(hint)[0] if is_optional else hint).__metadata__[0]
        if not is_optional:
            mandatory.add(name)
    return _Shape(code, make, kinds, mandatory)


def _symbol(make: type[Performative]) -> str:
    """Return the descriptor in words: ``amqp:sasl-init:list``."""
    words = re.sub(r"\B(?=[A-Z])", "-", make.__name__).lower()
    return f"amqp:{words}:list"


_SHAPES: Final[dict[object, _Shape]] = {
    key: shape
    for shape in starmap(_shape, _PERFORMATIVES.items())
    for key in (shape.code, _symbol(shape.make), shape.make)
}


def read_performative(value: object) -> Performative:
    """Check what was decoded from the begin of a frame.

    Raises:
        DecodeError: it is not a performative, or a field is missing, superfluous or of another type.
    """
    if not isinstance(value, Described) or not isinstance(value.value, list):
        raise DecodeError("A frame does not begin with a performative.")
    shape = _SHAPES.get(value.descriptor) if isinstance(value.descriptor, int | str) else None
    if shape is None:
        raise DecodeError(f"{value.descriptor!r} is not a performative.")
    fields = value.value
    made = shape.make.__name__
    missing = len(shape.kinds) - len(fields)
    if missing < 0:
        raise DecodeError(f"{made} has {len(fields)} fields; it has at most {len(shape.kinds)}.")
    fields = fields + [None] * missing
    for (name, kind), field in zip(shape.kinds.items(), fields, strict=True):
        if field is None:
            if name in shape.mandatory:
                raise DecodeError(f"{made}.{name} is missing.")
        elif not kind.takes(field):
            raise DecodeError(f"{made}.{name} is {type(field).__name__}; it must be {kind.name}.")
    return shape.make(*fields)


def write_performative(performative: Performative) -> bytes:
    """Encode a performative with all of its fields."""
    shape = _SHAPES[type(performative)]
    items = (
        b"\x40" if field is None else encode(field if kind.wrap is None else kind.wrap(field))
        for kind, field in zip(shape.kinds.values(), performative, strict=True)
    )
    return bytes((0x00, 0x53, shape.code)) + encode_list(items)


AMQP_FRAME: Final = 0
SASL_FRAME: Final = 1
#: A frame without a performative: the peer is still there.
HEARTBEAT: Final = b"\x00\x00\x00\x08\x02\x00\x00\x00"
#: No peer may ask for less.
MIN_FRAME_BYTES: Final = 512
#: Bytes that a Transfer performative and the frame header need at most, delivery tag of 4 bytes.
TRANSFER_OVERHEAD_BYTES: Final = 64

_HEADER: Final = struct.Struct(">IBBH")


class Frame(NamedTuple):
    """One frame as received.

    Attributes:
        kind: ``AMQP_FRAME`` or ``SASL_FRAME``.
        channel: number of the session.
        performative: None for a heartbeat.
        payload: what follows the performative, in the receive buffer: copy it before reading on.
    """

    kind: int
    channel: int
    performative: Performative | None
    payload: memoryview


def frame_size(view: memoryview, max_bytes: int) -> int:
    """Read the size of the frame that begins here; 8 bytes of it are there.

    Raises:
        DecodeError: it is smaller than a header or larger than we said we take.
    """
    size = int.from_bytes(view[:4], "big")
    if not _HEADER.size <= size <= max_bytes:
        raise DecodeError(f"A frame of {size} bytes; it must have 8 to {max_bytes}.")
    return size


def read_frame(view: memoryview) -> Frame:
    """Read one whole frame.

    Raises:
        DecodeError: it is not a frame with a valid performative.
    """
    _, offset, kind, channel = _HEADER.unpack_from(view)
    begin = 4 * offset
    if begin < _HEADER.size or begin > len(view):
        raise DecodeError(f"A frame's body begins at byte {begin} of {len(view)}.")
    if kind not in (AMQP_FRAME, SASL_FRAME):
        raise DecodeError(f"A frame is of kind {kind}; it must be 0 (AMQP) or 1 (SASL).")
    if begin == len(view):
        return Frame(kind, channel, None, view[begin:])
    value, end = decode(view[begin:])
    return Frame(kind, channel, read_performative(value), view[begin + end :])


def write_frame(
    performative: Performative, *, channel: int = 0, kind: int = AMQP_FRAME, payload_bytes: int = 0
) -> bytes:
    """Encode a frame up to its payload, which the caller sends right after it."""
    body = write_performative(performative)
    size = _HEADER.size + len(body) + payload_bytes
    return _HEADER.pack(size, 2, kind, channel) + body
