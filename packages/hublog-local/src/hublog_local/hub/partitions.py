"""Event hubs and their partitions: events in memory, bounded, readable from any position.

The partition of a key is the one that the service chooses. Source: lookup3 of Bob Jenkins (public domain,
https://burtleburtle.net/bob/c/lookup3.c), of which Event Hubs clients take the low 16 bits of both halves;
compared in the tests with azure-eventhub's own. Positions are the selector filters that azure-eventhub 5.15.1
and @azure/event-hubs 6.0.4 send.
"""

import re
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from itertools import count
from threading import Condition
from typing import Final, NamedTuple, Protocol

from hublog_local.amqp.messages import Message
from hublog_local.errors import LocalHubError
from hublog_local.hub.stored_events import StoredEvent, make_event, partition_key

_MASK: Final = 0xFFFFFFFF
#: Rotations of mix() and of final(), in the order of their steps.
_MIX: Final = (4, 6, 8, 16, 19, 4)
_FINAL: Final = (14, 11, 25, 16, 4, 14, 24)


def partition_of(key: str, partitions: int) -> int:
    """Return the number of the partition that events with this key go to."""
    first, second = _lookup3(key.encode())
    short = (first ^ second) & 0xFFFF
    signed = short - 0x10000 if short & 0x8000 else short
    return signed % partitions if key else 0


def _rotate(number: int, bits: int) -> int:
    return ((number << bits) | (number >> (32 - bits))) & _MASK


def _lookup3(data: bytes) -> tuple[int, int]:
    """Hash to two numbers of 32 bits: hashlittle2() with both seeds 0."""
    a = b = c = (0xDEADBEEF + len(data)) & _MASK
    if not data:
        return c, b
    rest = data
    while len(rest) > 12:
        a, b, c = _add(a, b, c, rest[:12])
        for bits in _MIX:
            # Each step of mix() is the one before it with the three numbers moved on by one.
            a = ((a - c) & _MASK) ^ _rotate(c, bits)
            c = (c + b) & _MASK
            a, b, c = b, c, a
        rest = rest[12:]
    a, b, c = _add(a, b, c, rest)
    for bits in _FINAL:
        c = ((c ^ b) - _rotate(b, bits)) & _MASK
        a, b, c = b, c, a
    # Seven steps moved the three on by one place more than a full turn.
    return b, a


def _add(a: int, b: int, c: int, block: bytes) -> tuple[int, int, int]:
    padded = block.ljust(12, b"\0")
    words = [int.from_bytes(padded[at : at + 4], "little") for at in (0, 4, 8)]
    return (a + words[0]) & _MASK, (b + words[1]) & _MASK, (c + words[2]) & _MASK


#: Key of the filter in the source of a link.
SELECTOR: Final = "apache.org:selector-filter:string"

_FORM: Final = re.compile(
    r"\s*amqp\.annotation\.x-opt-(offset|sequence-number|enqueued-time)\s*(>=|>)\s*"
    r"'\s*(@latest|-?[0-9]{1,19})(?:\.[0-9]{0,9})?\s*'\s*"
)


#: What a position may count, by the name that a selector has for it.
_KEYS: Final[dict[str, Callable[[StoredEvent], int]]] = {
    "offset": lambda event: int(event.offset),
    "sequence-number": lambda event: event.sequence_number,
    "enqueued-time": lambda event: event.enqueued_ms,
}


class Position(NamedTuple):
    """A place in a partition.

    Attributes:
        key: of an event, what ``number`` counts.
        number: an offset, a sequence number, or milliseconds since 1970 UTC; None is the end.
        is_inclusive: begin with the event at the place, not after it.
    """

    key: Callable[[StoredEvent], int]
    number: int | None
    is_inclusive: bool


def read_position(selector: str | None) -> Position:
    """Read a selector; None is the earliest position.

    Raises:
        LocalHubError: it is not of the forms that Event Hubs clients send.
    """
    if selector is None:
        return Position(_KEYS["offset"], -1, is_inclusive=False)
    match = _FORM.fullmatch(selector)
    if match is None:
        raise LocalHubError(
            f"The filter {selector[:200]!r} is not taken; it must be amqp.annotation.x-opt-offset, "
            "x-opt-sequence-number or x-opt-enqueued-time, then > or >=, then a number or @latest in quotes."
        )
    field, operator, value = match.groups()
    return Position(_KEYS[field], None if value == "@latest" else int(value), operator == ">=")


class Retention(NamedTuple):
    """What one partition keeps; the oldest event goes first.

    Attributes:
        max_events: number of events.
        max_bytes: memory that they take, roughly.
    """

    max_events: int
    max_bytes: int


class Reader(Protocol):
    """A link that is notified of new events of a partition."""

    def pump(self) -> None:
        """Send what has not been sent."""


class Partition:
    """One partition. The hub's thread writes; any thread may read ``events``.

    Args:
        partition_id: ``"0"`` and up.
        retention: what is kept.
        changed: guards the events and notifies waiting threads of new ones.

    Attributes:
        first_sequence_number: of the oldest event that is kept, or of the next one if none is.
        events_total: events stored since the start, kept or not; the sequence number of the next one.
        last: the newest event ever stored.
        readers: links that read here.
    """

    def __init__(self, partition_id: str, *, retention: Retention, changed: Condition) -> None:
        self.partition_id = partition_id
        self.first_sequence_number = 0
        self.events_total = 0
        self.last: StoredEvent | None = None
        self.readers: list[Reader] = []
        self._retention = retention
        self._changed = changed
        self._events: list[StoredEvent] = []
        self._next_offset = 0
        self._kept_bytes = 0

    def events(self) -> list[StoredEvent]:
        """Return the events that are kept, oldest first."""
        with self._changed:
            return list(self._events)

    def event(self, sequence_number: int) -> StoredEvent:
        """Return an event that is kept."""
        return self._events[sequence_number - self.first_sequence_number]

    def append(self, messages: Iterable[Message], *, key: str | None, now: datetime) -> list[StoredEvent]:
        """Store messages as the newest events.

        Args:
            messages: parsed, in their order.
            key: partition key of all of them.
            now: when they arrived, UTC.
        """
        arrived_at = now.replace(microsecond=now.microsecond // 1000 * 1000)
        added: list[StoredEvent] = []
        for message in messages:
            event = make_event(
                message,
                partition_id=self.partition_id,
                sequence_number=self.events_total + len(added),
                offset=self._next_offset,
                enqueued_at=arrived_at,
                key=key,
            )
            self._next_offset += len(message.head) + len(message.tail)
            added.append(event)
        with self._changed:
            self._events += added
            self.events_total += len(added)
            self._kept_bytes += sum(event.memory_bytes for event in added)
            self._drop_oldest()
            self._changed.notify_all()
        self.last = added[-1] if added else self.last
        return added

    def find(self, position: Position) -> int:
        """Return the sequence number that a reader at this position begins with."""
        if position.number is None:
            return self.events_total
        search = bisect_left if position.is_inclusive else bisect_right
        return self.first_sequence_number + search(self._events, position.number, key=position.key)

    def wake_readers(self) -> None:
        """Let all readers send the new events."""
        for reader in tuple(self.readers):
            reader.pump()

    def _drop_oldest(self) -> None:
        dropped = 0
        while (
            self._kept_bytes > self._retention.max_bytes
            or len(self._events) - dropped > self._retention.max_events
        ):
            self._kept_bytes -= self._events[dropped].memory_bytes
            dropped += 1
        if dropped:
            del self._events[:dropped]
            self.first_sequence_number += dropped


class EventHub:
    """An event hub.

    Args:
        name: as clients ask for it.
        partitions: how many, 1 or more.
        retention: what each partition keeps.
        changed: guards the events and notifies waiting threads of new ones.
        now: returns the time, UTC.

    Attributes:
        created_at: UTC.
        partitions: by id.
    """

    def __init__(
        self,
        name: str,
        partitions: int,
        *,
        retention: Retention,
        changed: Condition,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self.name = name
        self.created_at = now()
        self.partitions = {
            str(number): Partition(str(number), retention=retention, changed=changed)
            for number in range(partitions)
        }
        self._now = now
        self._turn = count()

    @property
    def events_total(self) -> int:
        """Events stored since the start, kept or not."""
        return sum(partition.events_total for partition in self.partitions.values())

    def events(self) -> list[StoredEvent]:
        """Return the events that are kept, partition by partition, oldest first in each."""
        return [event for partition in self.partitions.values() for event in partition.events()]

    def store(
        self, messages: Sequence[Message], *, partition_id: str | None = None, key: str | None = None
    ) -> tuple[Partition, list[StoredEvent]]:
        """Store the messages of one delivery, all in one partition.

        Args:
            messages: parsed.
            partition_id: where the sender wants them, if it says so.
            key: partition key of the batch; the key of a single message is in the message.
        """
        if key is None and len(messages) == 1:
            key = partition_key(messages[0])
        if partition_id is None:
            number = next(self._turn) if key is None else partition_of(key, len(self.partitions))
            partition_id = str(number % len(self.partitions))
        partition = self.partitions[partition_id]
        return partition, partition.append(messages, key=key, now=self._now())
