"""Consumers: a partition is read from a place onwards, alone if an epoch says so."""

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from hublog_local.amqp.messages import SectionCode, write_annotations
from hublog_local.amqp.states import LinkError
from hublog_local.amqp.values import Timestamp
from hublog_local.hub.links import OutgoingLink
from hublog_local.hub.partitions import EventHub, Partition
from hublog_local.hub.positions import Position

if TYPE_CHECKING:
    from hublog_local.hub.sessions import Session


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
        has_metrics: every event tells of the newest one of the partition.
        is_settled: the client need not settle what it gets.

    Attributes:
        group: consumer group.
        epoch: as above.
    """

    def __init__(
        self,
        session: "Session",
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
        """Hear of new events from now on."""
        if self.is_open:
            self._partition.readers.append(self)
            self.session.connection.service.statistics.readers += 1

    def close(self) -> None:
        """Hear of no more events."""
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
