"""Messages: sections that follow each other.

Source: OASIS AMQP 1.0 part 3, section 3.2.
"""

from enum import IntEnum
from typing import Any, Final, NamedTuple

from hublog_local.amqp.codec import decode, encode
from hublog_local.amqp.types import DecodeError

#: Message format of a transfer whose data sections are messages themselves.
BATCH_FORMAT: Final = 0x80013700


class SectionCode(IntEnum):
    """The sections of a message, in their order."""

    HEADER = 0x70
    DELIVERY_ANNOTATIONS = 0x71
    ANNOTATIONS = 0x72
    PROPERTIES = 0x73
    APPLICATION_PROPERTIES = 0x74
    DATA = 0x75
    SEQUENCE = 0x76
    VALUE = 0x77
    FOOTER = 0x78


#: Section -> the symbol that names it, and what it holds; a data section is read on its own.
_FORMS: Final[dict[SectionCode, tuple[str, type]]] = {
    SectionCode.HEADER: ("amqp:header:list", list),
    SectionCode.DELIVERY_ANNOTATIONS: ("amqp:delivery-annotations:map", dict),
    SectionCode.ANNOTATIONS: ("amqp:message-annotations:map", dict),
    SectionCode.PROPERTIES: ("amqp:properties:list", list),
    SectionCode.APPLICATION_PROPERTIES: ("amqp:application-properties:map", dict),
    SectionCode.DATA: ("amqp:data:binary", bytes),
    SectionCode.SEQUENCE: ("amqp:amqp-sequence:list", list),
    SectionCode.VALUE: ("amqp:amqp-value:*", object),
    SectionCode.FOOTER: ("amqp:footer:map", dict),
}
_CODES: Final = {key: code for code, (symbol, _) in _FORMS.items() for key in (int(code), symbol)}


class Message(NamedTuple):
    """A message, parsed as far as an event hub needs it.

    Attributes:
        header: the header section, encoded; empty if there is none.
        annotations: message annotations.
        properties: message-id, user-id, to, subject, reply-to, correlation-id and so on, in this order;
            as many as were sent.
        application_properties: by name.
        head: the two property sections, encoded.
        data: the payloads of the data sections, in the message.
        tail: what follows the property sections, encoded.
        value: of an amqp-value section, else None.
    """

    header: memoryview
    annotations: dict[object, object]
    properties: list[object]
    application_properties: dict[object, object]
    head: bytes
    data: list[memoryview]
    tail: memoryview
    value: object


def read_message(message: memoryview) -> Message:
    """Parse a whole message.

    Raises:
        DecodeError: it is not made of sections, or they are out of order.
    """
    values: dict[SectionCode, Any] = {}
    raw: dict[SectionCode, memoryview] = {}
    data: list[memoryview] = []
    position, tail, last = 0, 0, SectionCode.HEADER
    while position < len(message):
        begin = position
        code, value, position = _read_section(message, begin)
        if code < last:
            raise DecodeError(f"The section {code.name} stands after {last.name}.")
        last = code
        if code <= SectionCode.APPLICATION_PROPERTIES:
            if code in values:
                raise DecodeError(f"The section {code.name} stands twice.")
            raw[code] = message[begin:position]
            tail = position
        if code is SectionCode.DATA:
            data.append(value)
        values[code] = value
    return Message(
        header=raw.get(SectionCode.HEADER, message[:0]),
        annotations=values.get(SectionCode.ANNOTATIONS, {}),
        properties=values.get(SectionCode.PROPERTIES, []),
        application_properties=values.get(SectionCode.APPLICATION_PROPERTIES, {}),
        head=b"".join(
            raw.get(code, b"") for code in (SectionCode.PROPERTIES, SectionCode.APPLICATION_PROPERTIES)
        ),
        data=data,
        tail=message[tail:],
        value=values.get(SectionCode.VALUE),
    )


def _read_section(message: memoryview, begin: int) -> tuple[SectionCode, Any, int]:
    """Read the section that begins here; returns its value, of data a view into the message, and its end."""
    if message[begin] != 0x00:
        raise DecodeError("A message holds something that is not a section.")
    descriptor, position = decode(message, begin + 1)
    code = _CODES.get(descriptor) if isinstance(descriptor, int | str) else None
    if code is None:
        raise DecodeError(f"{descriptor!r} is not a section of a message.")
    if code is SectionCode.DATA:
        return code, *_read_data(message, position)
    value, end = decode(message, position)
    if not isinstance(value, _FORMS[code][1]):
        raise DecodeError(f"The section {code.name} holds {type(value).__name__}.")
    return code, value, end


def _read_data(message: memoryview, position: int) -> tuple[memoryview, int]:
    """Find the payload of a data section without a copy of it."""
    constructor = message[position] if position < len(message) else None
    if constructor not in (0xA0, 0xB0):
        raise DecodeError("A data section does not hold binary.")
    begin = position + (2 if constructor == 0xA0 else 5)
    end = begin + int.from_bytes(message[position + 1 : begin], "big")
    if end > len(message):
        raise DecodeError("A data section runs past the end of its message.")
    return message[begin:end], end


def write_section(code: SectionCode, value: object) -> bytes:
    """Encode one section."""
    return bytes((0x00, 0x53, code)) + encode(value)
