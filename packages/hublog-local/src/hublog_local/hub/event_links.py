"""Links of producers and consumers, and what a client may attach them to."""

from datetime import UTC, datetime
from typing import Final, NamedTuple
from urllib.parse import unquote, urlsplit

from hublog_local.amqp.frames import (
    ACCEPTED,
    MODIFIED,
    RELEASED,
    Attach,
    Detach,
    LinkError,
    Terminus,
    read_terminus,
    write_error,
    write_rejected,
    write_short_error,
)
from hublog_local.amqp.messages import BATCH_FORMAT, SectionCode, read_message, write_section
from hublog_local.amqp.types import DecodeError, Described, Symbol, Timestamp
from hublog_local.errors import LocalHubError
from hublog_local.hub.faults import Fault, FaultKind, Stage
from hublog_local.hub.nodes import NODES, ReplyLink, RequestLink
from hublog_local.hub.partitions import SELECTOR, EventHub, Partition, Position, read_position
from hublog_local.hub.sessions import Delivery, IncomingLink, Link, OutgoingLink, Session
from hublog_local.hub.stored_events import partition_key

_METRICS: Final = "com.microsoft:enable-receiver-runtime-metric"
_EPOCH: Final = "com.microsoft:epoch"
_MIXED: Final = 2
_PUBLISHER: Final = Symbol("x-opt-publisher")
_STORED: Final = (FaultKind.STORE_AND_DROP, FaultKind.DELAY, FaultKind.WITHHOLD)


class _RefusedError(Exception):
    """The link is refused; for use in this module."""

    def __init__(self, condition: str, description: str) -> None:
        self.error = LinkError(condition, description)
        super().__init__(description)


class Address(NamedTuple):
    """Where a link leads.

    Attributes:
        hub: name of the event hub, or a node such as ``$cbs``.
        partition_id: None if it names none.
        group: consumer group, None if it names none.
        publisher: None if it names none.
        is_known: whether it has one of the forms that Event Hubs has.
    """

    hub: str
    partition_id: str | None = None
    group: str | None = None
    publisher: str | None = None
    is_known: bool = True


def read_address(address: str) -> Address:
    """Read an address: a path, or a URL whose path counts."""
    path = urlsplit(address).path if "://" in address else address
    parts = [unquote(part) for part in path.strip("/").split("/")]
    words = [part.casefold() for part in parts]
    if len(parts) == 1:
        return Address(parts[0])
    if len(parts) == 2 and words[1] == NODES[1]:
        return Address(words[1])
    if len(parts) == 3 and words[1] == "partitions":
        return Address(parts[0], partition_id=parts[2])
    if len(parts) == 3 and words[1] == "publishers":
        return Address(parts[0], publisher=parts[2])
    if len(parts) == 5 and (words[1], words[3]) == ("consumergroups", "partitions"):
        return Address(parts[0], partition_id=parts[4], group=parts[2])
    return Address(parts[0], is_known=False)


class ProducerLink(IncomingLink):
    """A producer of an event hub.

    Args:
        session: what it belongs to.
        peer: what the client attaches.
        hub: that it sends to.
        address: the partition or the publisher it sends as; without either the hub chooses the partition.
    """

    def __init__(self, session: Session, peer: Attach, hub: EventHub, address: Address) -> None:
        super().__init__(session, peer, hub.name)
        self._service = session.connection.service
        self._hub = hub
        self._partition_id = address.partition_id
        self._publisher = address.publisher

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
            signed = {_PUBLISHER: self._publisher}
            messages = [each._replace(annotations=each.annotations | signed) for each in messages]
        self._service.store(self._hub, messages, partition_id=self._partition_id, key=key)


class ReaderLink(OutgoingLink):
    """A consumer of one partition.

    Args:
        session: what it belongs to.
        peer: what the client attaches.
        hub: that it reads.
        partition: that it reads.
        group: consumer group; any name is taken.
        epoch: the reader with the highest one of its group reads alone; None does not claim that.
        position: where it begins.
    """

    def __init__(
        self,
        session: Session,
        peer: Attach,
        hub: EventHub,
        partition: Partition,
        *,
        group: str,
        epoch: int | None,
        position: Position,
    ) -> None:
        super().__init__(session, peer, hub.name)
        self._hub = hub
        self._partition = partition
        self.group = group.casefold()
        self.epoch = epoch
        desired = peer.desired_capabilities
        #: Every event carries the position of the newest one of the partition.
        self._has_metrics = _METRICS in desired if isinstance(desired, list) else desired == _METRICS
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
        if self._next >= partition.events_total:
            return None
        event = partition.event(self._next)
        self._next += 1
        self.session.connection.service.statistics.sent_total += 1
        return event.encode(self._metrics() if self._has_metrics else b"")

    def _metrics(self) -> bytes:
        last = self._partition.last
        if last is None:
            return b""
        names: dict[str, object] = {
            "last_enqueued_sequence_number": last.sequence_number,
            "last_enqueued_offset": last.offset,
            "last_enqueued_time_utc": Timestamp(last.enqueued_ms),
            "runtime_info_retrieval_time_utc": Timestamp(datetime.now(UTC).timestamp() * 1000),
        }
        annotations = {Symbol(name): value for name, value in names.items()}
        return write_section(SectionCode.DELIVERY_ANNOTATIONS, annotations)


class _AttachRequest(NamedTuple):
    """What a client attaches, parsed."""

    session: Session
    peer: Attach
    source: Terminus | None
    target: Terminus | None

    @property
    def node_address(self) -> str:
        node = self.source if self.peer.role else self.target
        return "" if node is None else node.address


def attach(session: Session, peer: Attach) -> Link | None:
    """Answer an attach.

    Returns:
        The link; one that is not open was refused; None if the client gets no answer at all.

    Raises:
        DecodeError: source or target is malformed.
    """
    request = _AttachRequest(
        session, peer, read_terminus(peer.source, is_source=True), read_terminus(peer.target, is_source=False)
    )
    address = read_address(request.node_address)
    service = session.connection.service
    fault = service.faults.take(Stage.ATTACH, address.hub)
    if fault is not None and fault.kind is FaultKind.SILENT_ATTACH:
        return None
    try:
        link = _make_link(request, address, fault)
    except _RefusedError as refused:
        service.statistics.links_refused_total += 1
        link = Link(session, peer, request.node_address)
        link.is_open = False
        # A refusal is an attach that lacks the node, then a detach that says why.
        _answer(request._replace(source=None) if peer.role else request._replace(target=None))
        session.send(Detach(peer.handle, closed=True, error=write_error(refused.error)))
        return link
    _answer(request)
    return link


def _answer(request: _AttachRequest) -> None:
    peer = request.peer
    limits = request.session.connection.service.limits
    request.session.send(
        Attach(
            peer.name,
            peer.handle,
            role=not peer.role,
            snd_settle_mode=peer.snd_settle_mode if peer.snd_settle_mode is not None else _MIXED,
            rcv_settle_mode=peer.rcv_settle_mode or 0,
            source=None if request.source is None else request.source.whole,
            target=None if request.target is None else request.target.whole,
            initial_delivery_count=0 if peer.role else None,
            max_message_size=None if peer.role else limits.max_message_bytes,
            offered_capabilities=peer.desired_capabilities,
        )
    )


def _make_link(request: _AttachRequest, address: Address, fault: Fault | None) -> Link:
    if fault is not None:
        raise _RefusedError(fault.condition, fault.description)
    session, peer = request.session, request.peer
    if address.hub in NODES:
        if not peer.role:
            return RequestLink(session, peer, address.hub)
        link = ReplyLink(session, peer, address.hub)
        link.target_address = "" if request.target is None else request.target.address
        return link
    hub = session.connection.service.find_hub(address.hub)
    if hub is None or not address.is_known:
        raise _RefusedError(
            "amqp:not-found", f"The messaging entity '{request.node_address}' could not be found."
        )
    if not session.connection.allows(hub.name):
        claim = "Listen" if peer.role else "Send"
        raise _RefusedError(
            "amqp:unauthorized-access",
            f"Unauthorized access. '{claim}' claim(s) are required to perform this operation. "
            f"Resource: '{hub.name}'.",
        )
    partition = _find_partition(hub, address)
    if not peer.role:
        if address.group is not None:
            raise _RefusedError("amqp:not-allowed", "A consumer group cannot be sent to.")
        return ProducerLink(session, peer, hub, address)
    if partition is None or address.group is None:
        raise _RefusedError(
            "amqp:not-allowed", "A receiver needs <hub>/ConsumerGroups/<group>/Partitions/<id>."
        )
    return _make_reader(request, hub, partition, address.group)


def _find_partition(hub: EventHub, address: Address) -> Partition | None:
    if address.partition_id is None:
        return None
    partition = hub.partitions.get(address.partition_id)
    if partition is None:
        raise _RefusedError(
            "com.microsoft:argument-out-of-range",
            "The specified partition is invalid for an EventHub partition sender or receiver. "
            f"It should be between 0 and {len(hub.partitions) - 1}.",
        )
    return partition


def _make_reader(request: _AttachRequest, hub: EventHub, partition: Partition, group: str) -> ReaderLink:
    peer = request.peer
    selector = None if request.source is None else request.source.filters.get(SELECTOR)
    if isinstance(selector, Described):
        selector = selector.value
    epoch = (peer.properties or {}).get(_EPOCH)
    if not isinstance(selector, str | None) or not isinstance(epoch, int | None):
        raise _RefusedError(
            "amqp:invalid-field", "The selector filter must be a string and the epoch a long."
        )
    try:
        position = read_position(selector)
    except LocalHubError as invalid:
        raise _RefusedError("amqp:invalid-field", str(invalid)) from invalid
    link = ReaderLink(request.session, peer, hub, partition, group=group, epoch=epoch, position=position)
    error = link.take_ownership()
    if error is not None:
        raise _RefusedError(*error)
    return link
