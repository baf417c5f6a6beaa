"""Frames: a size, a kind, a channel, a performative and what follows it.

A performative is checked field by field. Every field is written, nulls at the end included, and never as the
empty list: azure-eventhub 5.15.1 reads fields by position and fails on a short list
(Azure/azure-sdk-for-python#47660, in no release yet). On reading, fields that were left off are null.

Source: OASIS AMQP 1.0 part 2, sections 2.3, 2.7 and 2.8.14; part 3, sections 3.4 and 3.5; part 5, section
5.3.3.
"""

import struct
from collections.abc import Callable
from typing import Final, NamedTuple

from hublog_local.amqp.codec import decode, encode, encode_list
from hublog_local.amqp.types import Array, DecodeError, Described, Symbol, UByte, UInt, ULong, UShort

ACCEPTED: Final = Described(ULong(0x24), [])
RELEASED: Final = Described(ULong(0x26), [])
#: The delivery failed, may be sent again, and carries no annotations.
MODIFIED: Final = Described(ULong(0x27), [True, False, {}])

_SOURCE: Final = (0x28, "amqp:source:list")
_TARGET: Final = (0x29, "amqp:target:list")
_SOURCE_FIELDS: Final = 11
_TARGET_FIELDS: Final = 7
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


def read_source(value: Described | None) -> Terminus | None:
    """Read the source of an attach.

    Raises:
        DecodeError: it is something else.
    """
    return _read_terminus(value, _SOURCE, _SOURCE_FIELDS)


def read_target(value: Described | None) -> Terminus | None:
    """Read the target of an attach.

    Raises:
        DecodeError: it is something else.
    """
    return _read_terminus(value, _TARGET, _TARGET_FIELDS)


def _read_terminus(value: Described | None, descriptors: tuple[int, str], number: int) -> Terminus | None:
    if value is None:
        return None
    fields = value.value
    if value.descriptor not in descriptors or not isinstance(fields, list) or len(fields) > number:
        raise DecodeError(f"{value.descriptor!r} is not {descriptors[1]} with at most {number} fields.")
    fields = [*fields, *[None] * (number - len(fields))]
    address = fields[0]
    if address is not None and not isinstance(address, str):
        raise DecodeError(f"The address of a link is {type(address).__name__}; it must be a string.")
    filters = fields[_FILTERS] if number == _SOURCE_FIELDS else None
    if filters is not None and not isinstance(filters, dict):
        raise DecodeError("The filters of a source are not a map.")
    return Terminus(address or "", filters or {}, Described(ULong(descriptors[0]), fields))


class Open(NamedTuple):
    """Begin a connection."""

    container_id: str
    hostname: str | None = None
    max_frame_size: int | None = None
    channel_max: int | None = None
    idle_time_out: int | None = None
    outgoing_locales: object = None
    incoming_locales: object = None
    offered_capabilities: object = None
    desired_capabilities: object = None
    properties: dict[object, object] | None = None


class Begin(NamedTuple):
    """Begin a session on a channel."""

    remote_channel: int | None
    next_outgoing_id: int
    incoming_window: int
    outgoing_window: int
    handle_max: int | None = None
    offered_capabilities: object = None
    desired_capabilities: object = None
    properties: dict[object, object] | None = None


class Attach(NamedTuple):
    """Attach a link to a session; ``role`` is true for the receiver."""

    name: str
    handle: int
    role: bool
    snd_settle_mode: int | None = None
    rcv_settle_mode: int | None = None
    source: Described | None = None
    target: Described | None = None
    unsettled: object = None
    incomplete_unsettled: bool | None = None
    initial_delivery_count: int | None = None
    max_message_size: int | None = None
    offered_capabilities: object = None
    desired_capabilities: object = None
    properties: dict[object, object] | None = None


class Flow(NamedTuple):
    """State of a session, and of a link if there is a handle."""

    next_incoming_id: int | None
    incoming_window: int
    next_outgoing_id: int
    outgoing_window: int
    handle: int | None = None
    delivery_count: int | None = None
    link_credit: int | None = None
    available: int | None = None
    drain: bool | None = None
    echo: bool | None = None
    properties: dict[object, object] | None = None


class Transfer(NamedTuple):
    """Carry a message or a part of it."""

    handle: int
    delivery_id: int | None = None
    delivery_tag: bytes | None = None
    message_format: int | None = None
    settled: bool | None = None
    more: bool | None = None
    rcv_settle_mode: int | None = None
    state: Described | None = None
    resume: bool | None = None
    aborted: bool | None = None
    batchable: bool | None = None


class Disposition(NamedTuple):
    """Outcome of deliveries."""

    role: bool
    first: int
    last: int | None = None
    settled: bool | None = None
    state: Described | None = None
    batchable: bool | None = None


class Detach(NamedTuple):
    """Detach a link."""

    handle: int
    closed: bool | None = None
    error: Described | None = None


class End(NamedTuple):
    """End a session."""

    error: Described | None = None


class Close(NamedTuple):
    """Close a connection."""

    error: Described | None = None


class SaslMechanisms(NamedTuple):
    """Name the ways to log in."""

    mechanisms: Array


class SaslInit(NamedTuple):
    """Choose a way to log in."""

    mechanism: str
    initial_response: bytes | None = None
    hostname: str | None = None


class SaslOutcome(NamedTuple):
    """Result of the login: 0 success, 1 failure."""

    code: int
    additional_data: bytes | None = None


Performative = (
    Open | Begin | Attach | Flow | Transfer | Disposition | Detach | End | Close | SaslMechanisms
    | SaslInit | SaslOutcome
)  # fmt: skip


class _Kind(NamedTuple):
    """What one field may hold, and how its Python value becomes an AMQP one."""

    name: str
    takes: Callable[[object], bool]
    wrap: Callable[..., object] | None = None


def _is_number(bits: int) -> Callable[[object], bool]:
    return lambda value: isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 1 << bits


def _is(*types: type) -> Callable[[object], bool]:
    return lambda value: isinstance(value, types)


_STRING: Final = _Kind("a string", _is(str))
_SYMBOL: Final = _Kind("a symbol", _is(str), Symbol)
_BINARY: Final = _Kind("binary", _is(bytes))
_BOOLEAN: Final = _Kind("a boolean", _is(bool))
_UBYTE: Final = _Kind("a ubyte", _is_number(8), UByte)
_USHORT: Final = _Kind("a ushort", _is_number(16), UShort)
_UINT: Final = _Kind("a uint", _is_number(32), UInt)
_ULONG: Final = _Kind("a ulong", _is_number(64), ULong)
_MAP: Final = _Kind("a map", _is(dict))
_DESCRIBED: Final = _Kind("a described value", _is(Described))
_SYMBOLS: Final = _Kind("an array of symbols", _is(list, str))
_ANY: Final = _Kind("any value", lambda _: True)

#: Code, symbolic name, class, kinds of its fields, how many of the first are mandatory.
_TABLE: Final = (
    (0x10, "amqp:open:list", Open, 1,
     (_STRING, _STRING, _UINT, _USHORT, _UINT, _SYMBOLS, _SYMBOLS, _SYMBOLS, _SYMBOLS, _MAP)),
    (0x11, "amqp:begin:list", Begin, 0, (_USHORT, _UINT, _UINT, _UINT, _UINT, _SYMBOLS, _SYMBOLS, _MAP)),
    (0x12, "amqp:attach:list", Attach, 3,
     (_STRING, _UINT, _BOOLEAN, _UBYTE, _UBYTE, _DESCRIBED, _DESCRIBED, _MAP, _BOOLEAN, _UINT, _ULONG,
      _SYMBOLS, _SYMBOLS, _MAP)),
    (0x13, "amqp:flow:list", Flow, 0,
     (_UINT, _UINT, _UINT, _UINT, _UINT, _UINT, _UINT, _UINT, _BOOLEAN, _BOOLEAN, _MAP)),
    (0x14, "amqp:transfer:list", Transfer, 1,
     (_UINT, _UINT, _BINARY, _UINT, _BOOLEAN, _BOOLEAN, _UBYTE, _DESCRIBED, _BOOLEAN, _BOOLEAN, _BOOLEAN)),
    (0x15, "amqp:disposition:list", Disposition, 2, (_BOOLEAN, _UINT, _UINT, _BOOLEAN, _DESCRIBED, _BOOLEAN)),
    (0x16, "amqp:detach:list", Detach, 1, (_UINT, _BOOLEAN, _DESCRIBED)),
    (0x17, "amqp:end:list", End, 0, (_DESCRIBED,)),
    (0x18, "amqp:close:list", Close, 0, (_DESCRIBED,)),
    (0x40, "amqp:sasl-mechanisms:list", SaslMechanisms, 1, (_ANY,)),
    (0x41, "amqp:sasl-init:list", SaslInit, 1, (_SYMBOL, _BINARY, _STRING)),
    (0x44, "amqp:sasl-outcome:list", SaslOutcome, 1, (_UBYTE, _BINARY)),
)  # fmt: skip
_MANDATORY: Final = {Begin: (1, 2, 3), Flow: (1, 2, 3)}


class _Shape(NamedTuple):
    code: int
    make: Callable[..., Performative]
    name: str
    fields: tuple[str, ...]
    kinds: tuple[_Kind, ...]
    mandatory: tuple[int, ...]


_SHAPES: Final[dict[object, _Shape]] = {
    key: _Shape(code, made, made.__name__, made._fields, kinds, _MANDATORY.get(made, tuple(range(mandatory))))
    for code, symbol, made, mandatory, kinds in _TABLE
    for key in (code, symbol, made)
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
    missing = len(shape.kinds) - len(fields)
    if missing < 0:
        raise DecodeError(f"{shape.name} has {len(fields)} fields; it has at most {len(shape.kinds)}.")
    fields = fields + [None] * missing
    for name, kind, field in zip(shape.fields, shape.kinds, fields, strict=True):
        if field is not None and not kind.takes(field):
            raise DecodeError(f"{shape.name}.{name} is {type(field).__name__}; it must be {kind.name}.")
    for index in shape.mandatory:
        if fields[index] is None:
            raise DecodeError(f"{shape.name}.{shape.fields[index]} is missing.")
    return shape.make(*fields)


def write_performative(performative: Performative) -> bytes:
    """Encode a performative with all of its fields."""
    shape = _SHAPES[type(performative)]
    items = (
        b"\x40" if field is None else encode(field if kind.wrap is None else kind.wrap(field))
        for kind, field in zip(shape.kinds, performative, strict=True)
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
    """Encode a frame up to its payload, which the caller sends right after it.

    Args:
        performative: what the frame says.
        channel: number of the session.
        kind: ``AMQP_FRAME`` or ``SASL_FRAME``.
        payload_bytes: size of the payload that follows.
    """
    body = write_performative(performative)
    size = _HEADER.size + len(body) + payload_bytes
    return _HEADER.pack(size, 2, kind, channel) + body
