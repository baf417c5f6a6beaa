"""The links of producers and of consumers: deliveries become events, and events become deliveries."""

from datetime import UTC, datetime
from typing import Final

from hublog_local.amqp.frames import (
    ACCEPTED,
    MODIFIED,
    RELEASED,
    LinkError,
    write_error,
    write_rejected,
    write_short_error,
)
from hublog_local.amqp.messages import BATCH_FORMAT, Message, SectionCode, read_message, write_annotations
from hublog_local.amqp.types import DecodeError, Symbol, Timestamp
from hublog_local.hub.faults import Fault, FaultKind, Stage
from hublog_local.hub.links import ClientSession, Delivery, IncomingLink, OutgoingLink
from hublog_local.hub.partitions import EventHub, Partition, Position
from hublog_local.hub.stored_events import partition_key

_PUBLISHER: Final = Symbol("x-opt-publisher")
_STORED: Final = (FaultKind.STORE_AND_DROP, FaultKind.DELAY, FaultKind.WITHHOLD)


class ProducerLink(IncomingLink):
    """A producer of an event hub.

    Args:
        session: what it belongs to.
        handle: its number, both ways.
        name: that the client gave it.
        hub: that it sends to.
        partition_id: that it sends to; None leaves the choice to the hub.
        publisher: name under which it sends; its events share a partition.
    """

    def __init__(
        self,
        session: ClientSession,
        *,
        handle: int,
        name: str,
        hub: EventHub,
        partition_id: str | None,
        publisher: str | None,
    ) -> None:
        super().__init__(session, handle=handle, name=name, address=hub.name)
        self._service = session.connection.service
        self._hub = hub
        self._partition_id = partition_id
        self._publisher = publisher

    def on_part(self, size: int) -> bool:
        """Refuse what is too large as soon as that is known."""
        if self._service.faults.take(Stage.FRAME, self._hub.name) is not None:
            self.session.connection.abort()
            return False
        limit = self._service.limits.max_message_bytes
        if size <= limit:
            return True
        text = (
            f"The received message (size: {size} bytes or more) exceeds the limit ({limit} bytes) "
            "currently allowed on the link."
        )
        self.detach(LinkError("amqp:link:message-size-exceeded", text))
        return False

    def on_delivery(self, delivery: Delivery) -> None:
        """Store a delivery and settle it, or do what a fault says."""
        self._service.statistics.deliveries_total += 1
        self._service.statistics.deliveries_bytes_total += len(delivery.message)
        if not self.session.connection.allows(self._hub.name):
            self.detach(LinkError("amqp:unauthorized-access", "ExpiredToken: The token is expired."))
            return
        fault = self._service.faults.take(Stage.TRANSFER, self._hub.name)
        if fault is not None and fault.kind not in _STORED:
            self._fail(fault, delivery)
            return
        try:
            self._store(delivery)
        except DecodeError as error:
            self._service.note_peer_error(error)
            self.settle(delivery, write_rejected(write_error(LinkError("amqp:decode-error", str(error)))))
            return
        if fault is None:
            self.settle(delivery, ACCEPTED)
        elif fault.kind is FaultKind.STORE_AND_DROP:
            self.session.connection.abort()
        elif fault.kind is FaultKind.DELAY:
            self.session.connection.later(fault.seconds, lambda: self.settle(delivery, ACCEPTED))

    def _fail(self, fault: Fault, delivery: Delivery) -> None:
        """Apply a fault to a delivery that is not stored; ``swallow`` does nothing at all."""
        error = LinkError(fault.condition, fault.description)
        connection = self.session.connection
        outcomes = {
            FaultKind.REJECT: write_rejected(write_error(error)),
            FaultKind.REJECT_BARE: write_rejected(None),
            FaultKind.REJECT_SHORT: write_rejected(write_short_error(error)),
            FaultKind.RELEASE: RELEASED,
            FaultKind.MODIFY: MODIFIED,
        }
        if fault.kind in outcomes:
            self.settle(delivery, outcomes[fault.kind])
        elif fault.kind is FaultKind.DETACH:
            self.detach(error)
        elif fault.kind is FaultKind.END:
            self.session.end(error)
        elif fault.kind is FaultKind.CLOSE:
            connection.close(error)
        elif fault.kind is FaultKind.DROP:
            connection.abort()
        elif fault.kind is FaultKind.MUTE:
            connection.is_muted = True

    def _store(self, delivery: Delivery) -> None:
        outer = read_message(memoryview(delivery.message))
        messages = [outer]
        if delivery.message_format == BATCH_FORMAT:
            messages = [read_message(inner) for inner in outer.data]
        key = partition_key(outer)
        if self._publisher is not None:
            key = self._publisher
            messages = [self._sign(message) for message in messages]
        self._service.store(self._hub, messages, partition_id=self._partition_id, key=key)

    def _sign(self, message: Message) -> Message:
        return message._replace(annotations={**message.annotations, _PUBLISHER: self._publisher})


class ReaderLink(OutgoingLink):
    """A consumer of one partition.

    Args:
        session: what it belongs to.
        handle: its number, both ways.
        name: that the client gave it.
        hub: that it reads.
        partition: that it reads.
        group: consumer group; any name is taken.
        epoch: the reader with the highest one of its group reads alone; None does not claim that.
        position: where it begins.
        has_metrics: every event carries the position of the newest one of the partition.
        is_settled: the client need not settle what it gets.

    Attributes:
        group: consumer group.
        epoch: as above.
    """

    def __init__(
        self,
        session: ClientSession,
        *,
        handle: int,
        name: str,
        hub: EventHub,
        partition: Partition,
        group: str,
        epoch: int | None,
        position: Position,
        has_metrics: bool,
        is_settled: bool,
    ) -> None:
        super().__init__(session, handle=handle, name=name, address=hub.name, is_settled=is_settled)
        self._hub = hub
        self._partition = partition
        self.group = group.casefold()
        self.epoch = epoch
        self._has_metrics = has_metrics
        self._next = partition.find(position)

    def take_ownership(self) -> LinkError | None:
        """Detach readers of the same group that this one replaces; returns why it may not read."""
        others = [
            reader
            for reader in self._partition.readers
            if isinstance(reader, ReaderLink) and reader.group == self.group
        ]
        highest = max((other.epoch for other in others if other.epoch is not None), default=None)
        if highest is not None and (self.epoch is None or self.epoch < highest):
            return LinkError(
                "amqp:link:stolen",
                f"At least one receiver for the endpoint is created with epoch of '{highest}', and so this "
                "receiver is not allowed. Either reconnect with a higher epoch, or make sure all epoch "
                "receivers are closed.",
            )
        if self.epoch is not None:
            text = (
                f"New receiver with higher epoch of '{self.epoch}' is created hence current receiver is "
                "getting disconnected. If you are recreating the receiver, make sure a higher epoch is used."
            )
            for other in others:
                other.detach(LinkError("amqp:link:stolen", text))
        return None

    def start(self) -> None:
        """Subscribe to new events."""
        if self.is_open:
            self._partition.readers.append(self)
            self.session.connection.service.statistics.readers += 1

    def close(self) -> None:
        """Unsubscribe from new events."""
        super().close()
        if self in self._partition.readers:
            self._partition.readers.remove(self)
            self.session.connection.service.statistics.readers -= 1

    def pump(self) -> None:
        """Send what there is, as long as the token allows."""
        if self.is_open and not self.session.connection.allows(self._hub.name):
            self.detach(LinkError("amqp:unauthorized-access", "ExpiredToken: The token is expired."))
            return
        super().pump()

    def next_message(self) -> list[bytes] | None:
        """Return the next event that is kept."""
        partition = self._partition
        self._next = max(self._next, partition.first_sequence_number)
        if self._next >= partition.next_sequence_number:
            return None
        event = partition.event(self._next)
        self._next += 1
        self.session.connection.service.statistics.sent_total += 1
        return event.encode(self._metrics() if self._has_metrics else b"")

    def _metrics(self) -> bytes:
        last = self._partition.last
        if last is None:
            return b""
        return write_annotations(
            SectionCode.DELIVERY_ANNOTATIONS,
            {
                "last_enqueued_sequence_number": last.sequence_number,
                "last_enqueued_offset": last.offset,
                "last_enqueued_time_utc": Timestamp(last.enqueued_ms),
                "runtime_info_retrieval_time_utc": Timestamp(datetime.now(UTC).timestamp() * 1000),
            },
        )
