"""A stored event: what a test reads of it, and what a consumer gets of it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from hublog_local.amqp.messages import Message, SectionCode, write_section
from hublog_local.amqp.types import Symbol, Timestamp

#: What an event costs in memory in addition to its bytes, roughly.
_OBJECT_BYTES: Final = 600
_PARTITION_KEY: Final = "x-opt-partition-key"
_CONTENT_TYPE: Final = 6


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredEvent:
    """One event of a partition.

    Attributes:
        body: the data as it came; of an amqp-value of text or binary its bytes; else empty.
        properties: application properties by name.
        partition_id: ``"0"`` and up.
        sequence_number: counts the events of the partition from 0.
        offset: position in the partition, a number as text.
        enqueued_at: when the hub took it, UTC, in whole milliseconds.
        partition_key: of the sender, None if there was none.
        message_id: of the sender, None if there was none.
        content_type: of the sender, None if there was none.
    """

    body: bytes
    properties: Mapping[str, object]
    partition_id: str
    sequence_number: int
    offset: str
    enqueued_at: datetime
    partition_key: str | None = None
    message_id: object = None
    content_type: str | None = None
    enqueued_ms: int = field(default=0, repr=False)
    header: bytes = field(default=b"", repr=False)
    annotations: Mapping[object, object] = field(default_factory=dict, repr=False)
    head: bytes = field(default=b"", repr=False)
    tail: bytes | None = field(default=None, repr=False)

    @property
    def memory_bytes(self) -> int:
        """What keeping it costs, roughly."""
        tail = 0 if self.tail is None else len(self.tail)
        return len(self.body) + len(self.head) + tail + _OBJECT_BYTES

    def encode(self, delivery_annotations: bytes = b"") -> list[bytes]:
        """Encode it for a consumer, in pieces that follow each other; the body is not copied."""
        annotations = {
            **self.annotations,
            _SEQUENCE_NUMBER: self.sequence_number,
            _OFFSET: self.offset,
            _ENQUEUED_TIME: Timestamp(self.enqueued_ms),
        }
        if self.partition_key is not None:
            annotations[_KEY] = self.partition_key
        front = self.header + delivery_annotations + write_section(SectionCode.ANNOTATIONS, annotations)
        if self.tail is not None:
            return [front + self.head, self.tail]
        size = len(self.body).to_bytes(4, "big")
        return [front + self.head + b"\x00\x53\x75\xb0" + size, self.body]


_SEQUENCE_NUMBER: Final = Symbol("x-opt-sequence-number")
_OFFSET: Final = Symbol("x-opt-offset")
_ENQUEUED_TIME: Final = Symbol("x-opt-enqueued-time")
_KEY: Final = Symbol(_PARTITION_KEY)


def make_event(
    message: Message,
    *,
    partition_id: str,
    sequence_number: int,
    offset: int,
    enqueued_at: datetime,
    key: str | None,
) -> StoredEvent:
    """Make an event of a message; copies what it keeps.

    ``key`` is the partition key of the batch or publisher, used if the message has none.
    """
    is_plain = len(message.data) == 1 and _is_data_alone(message)
    content_type = message.properties[_CONTENT_TYPE] if len(message.properties) > _CONTENT_TYPE else None
    return StoredEvent(
        body=_body(message),
        properties={str(name): value for name, value in message.application_properties.items()},
        partition_id=partition_id,
        sequence_number=sequence_number,
        offset=str(offset),
        enqueued_at=enqueued_at,
        partition_key=partition_key(message) or key,
        message_id=message.properties[0] if message.properties else None,
        content_type=str(content_type) if content_type is not None else None,
        enqueued_ms=round(enqueued_at.timestamp() * 1000),
        header=bytes(message.header),
        annotations=message.annotations,
        head=message.head,
        tail=None if is_plain else bytes(message.tail),
    )


def partition_key(message: Message) -> str | None:
    """Return the partition key that a message asks for."""
    key = message.annotations.get(_PARTITION_KEY)
    return None if key is None else str(key)


def _is_data_alone(message: Message) -> bool:
    """Return whether the tail is one data section and no footer, so that the body is all there is to keep."""
    overhead = len(message.tail) - len(message.data[0])
    return overhead <= len(b"\x00\x53\x75\xb0") + 4


def _body(message: Message) -> bytes:
    if message.data:
        return bytes(message.data[0]) if len(message.data) == 1 else b"".join(message.data)
    value = message.value
    if isinstance(value, str):
        return value.encode()
    return value if isinstance(value, bytes) else b""
