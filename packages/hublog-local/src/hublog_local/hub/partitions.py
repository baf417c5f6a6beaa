"""Event hubs and their partitions: events in memory, bounded, readable from any place."""

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from itertools import count
from threading import Condition
from typing import Final, NamedTuple, Protocol

from hublog_local.amqp.messages import Message
from hublog_local.hub.events import StoredEvent, make_event, partition_key
from hublog_local.hub.partition_keys import partition_of
from hublog_local.hub.positions import Field, Position

_KEYS: Final[dict[Field, Callable[[StoredEvent], int]]] = {
    Field.OFFSET: lambda event: int(event.offset),
    Field.SEQUENCE_NUMBER: lambda event: event.sequence_number,
    Field.ENQUEUED_TIME: lambda event: event.enqueued_ms,
}


class Retention(NamedTuple):
    """What one partition keeps; the oldest event goes first.

    Attributes:
        max_events: number of events.
        max_bytes: memory that they take, roughly.
    """

    max_events: int
    max_bytes: int


class Reader(Protocol):
    """Whoever wants to know of new events of a partition."""

    def pump(self) -> None:
        """Take what there is."""


class Partition:
    """One partition. The hub's thread writes; any thread may read ``events``.

    Args:
        partition_id: ``"0"`` and up.
        retention: what is kept.
        changed: guards the events and tells waiting threads of new ones.

    Attributes:
        partition_id: ``"0"`` and up.
        first_sequence_number: of the oldest event that is kept, or of the next one if none is.
        events_total: events stored since the start, kept or not.
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

    @property
    def next_sequence_number(self) -> int:
        """Of the event that comes next."""
        return self.events_total

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
            messages: taken apart, in their order.
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
            self._forget_oldest()
            self._changed.notify_all()
        self.last = added[-1] if added else self.last
        return added

    def find(self, position: Position) -> int:
        """Return the sequence number that a reader at this position begins with."""
        if position.number is None:
            return self.next_sequence_number
        search = bisect_left if position.is_inclusive else bisect_right
        return self.first_sequence_number + search(self._events, position.number, key=_KEYS[position.field])

    def wake_readers(self) -> None:
        """Let all readers take what is new."""
        for reader in tuple(self.readers):
            reader.pump()

    def _forget_oldest(self) -> None:
        too_many = 0
        while (
            self._kept_bytes > self._retention.max_bytes
            or len(self._events) - too_many > self._retention.max_events
        ):
            self._kept_bytes -= self._events[too_many].memory_bytes
            too_many += 1
        if too_many:
            del self._events[:too_many]
            self.first_sequence_number += too_many


class EventHub:
    """An event hub.

    Args:
        name: as clients ask for it.
        partitions: how many, 1 or more.
        retention: what each partition keeps.
        changed: guards the events and tells waiting threads of new ones.
        now: tells the time, UTC.

    Attributes:
        name: as clients ask for it.
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
            messages: taken apart.
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
