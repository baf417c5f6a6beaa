"""A session: windows of transfers, the links in it, and what a client may attach them to."""

from typing import Final, NamedTuple
from urllib.parse import unquote, urlsplit

from hublog_local.amqp.frames import (
    ACCEPTED,
    Attach,
    Begin,
    Detach,
    Disposition,
    End,
    Flow,
    LinkError,
    Performative,
    Terminus,
    Transfer,
    read_terminus,
    write_error,
)
from hublog_local.amqp.types import DecodeError, Described
from hublog_local.errors import LocalHubError
from hublog_local.hub.event_links import ProducerLink, ReaderLink
from hublog_local.hub.faults import Fault, FaultKind, Stage
from hublog_local.hub.links import ClientConnection, ClientSession, IncomingLink, Link, OutgoingLink
from hublog_local.hub.nodes import NODES, ReplyLink, RequestLink
from hublog_local.hub.partitions import SELECTOR, EventHub, Partition, read_position

_METRICS: Final = "com.microsoft:enable-receiver-runtime-metric"
_EPOCH: Final = "com.microsoft:epoch"
_SETTLED, _MIXED = 1, 2


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


class _AttachRequest(NamedTuple):
    """What a client attaches, parsed."""

    session: ClientSession
    peer: Attach
    source: Terminus | None
    target: Terminus | None

    @property
    def node_address(self) -> str:
        node = self.source if self.peer.role else self.target
        return "" if node is None else node.address


def attach(session: ClientSession, peer: Attach) -> Link | None:
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
        link = Link(session, handle=peer.handle, name=peer.name, address=request.node_address)
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
            return RequestLink(session, handle=peer.handle, name=peer.name, address=address.hub)
        reply_to = "" if request.target is None else request.target.address
        return ReplyLink(
            session, handle=peer.handle, name=peer.name, address=address.hub, target_address=reply_to
        )
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
        return _make_producer(request, hub, address)
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


def _make_producer(request: _AttachRequest, hub: EventHub, address: Address) -> ProducerLink:
    if address.group is not None:
        raise _RefusedError("amqp:not-allowed", "A consumer group cannot be sent to.")
    return ProducerLink(
        request.session,
        handle=request.peer.handle,
        name=request.peer.name,
        hub=hub,
        partition_id=address.partition_id,
        publisher=address.publisher,
    )


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
    desired = peer.desired_capabilities
    link = ReaderLink(
        request.session,
        handle=peer.handle,
        name=peer.name,
        hub=hub,
        partition=partition,
        group=group,
        epoch=epoch,
        position=position,
        has_metrics=_METRICS in desired if isinstance(desired, list) else desired == _METRICS,
        is_settled=peer.snd_settle_mode in (None, _SETTLED, _MIXED),
    )
    error = link.take_ownership()
    if error is not None:
        raise _RefusedError(*error)
    return link


#: Largest window that leaves serial numbers comparable.
UINT_WINDOW: Final = 2**31 - 1
HANDLE_MAX: Final = 255
_MODULUS: Final = 2**32


class Session:
    """One session of a connection.

    Args:
        connection: what it belongs to.
        channel: its number, both ways.
        peer: what the client began it with.

    Attributes:
        connection: what it belongs to.
        channel: its number, both ways.
        is_ended: nothing is sent on it any more.
    """

    def __init__(self, connection: ClientConnection, channel: int, peer: Begin) -> None:
        self.connection = connection
        self.channel = channel
        self.is_ended = False
        self._links: dict[int, Link] = {}
        self._next_incoming_id = peer.next_outgoing_id
        self._next_outgoing_id = 0
        self._next_delivery_id = 0
        self._window = peer.incoming_window

    # Towards the client.

    @property
    def can_send(self) -> bool:
        """Whether one more transfer may go out now."""
        return self._window > 0 and not self.is_ended and self.connection.can_write

    def send(self, performative: Performative, *payload: bytes | memoryview) -> None:
        """Send a frame of this session."""
        if not self.is_ended:
            self.connection.send(performative, channel=self.channel, payload=payload)

    def send_transfer(self, transfer: Transfer, *payload: bytes | memoryview) -> None:
        """Send a part of a delivery; ``can_send`` was true."""
        self._next_outgoing_id = (self._next_outgoing_id + 1) % _MODULUS
        self._window -= 1
        self.send(transfer, *payload)

    def next_delivery_id(self) -> int:
        """Return a number for a delivery."""
        number = self._next_delivery_id
        self._next_delivery_id = (number + 1) % _MODULUS
        return number

    def send_flow(self, **link_state: int | bool | None) -> None:
        """Send the state of the session, and of a link whose handle and so on are given."""
        self.send(
            Flow(
                next_incoming_id=self._next_incoming_id,
                incoming_window=UINT_WINDOW,
                next_outgoing_id=self._next_outgoing_id,
                outgoing_window=UINT_WINDOW,
                **link_state,  # type: ignore[arg-type]  # the fields differ in type, the callers name them
            )
        )

    def pump(self) -> None:
        """Let all links send what waits."""
        for link in tuple(self._links.values()):
            if isinstance(link, OutgoingLink):
                link.pump()

    def end(self, error: LinkError) -> None:
        """End the session from our side; what still comes for it is ignored."""
        self.send(End(write_error(error)))
        self.close()

    def answer_end(self) -> None:
        """End the session because the client did."""
        self.send(End())
        self.close()

    def close(self) -> None:
        """Close and drop the links."""
        self.is_ended = True
        for link in self._links.values():
            link.close()
        self._links.clear()

    def reply_links(self, node: str) -> list[OutgoingLink]:
        """Return the links that answers of ``$cbs`` or ``$management`` can go to."""
        links = (link for link in self._links.values() if isinstance(link, OutgoingLink))
        return [link for link in links if link.is_open and link.address == node]

    # From the client.

    def on_performative(self, performative: Performative, payload: memoryview) -> None:
        """Act on a frame.

        Raises:
            DecodeError: it may not come here.
        """
        if self.is_ended:
            return
        if isinstance(performative, Transfer):
            self._on_transfer(performative, payload)
        elif isinstance(performative, Flow):
            self._on_flow(performative)
        elif isinstance(performative, Disposition):
            self._on_disposition(performative)
        elif isinstance(performative, Attach):
            self._on_attach(performative)
        elif isinstance(performative, Detach):
            self._on_detach(performative)
        else:
            raise DecodeError(f"{type(performative).__name__} does not belong into a session.")

    def _on_attach(self, peer: Attach) -> None:
        if peer.handle in self._links or peer.handle > HANDLE_MAX:
            raise DecodeError(f"A link has the handle {peer.handle}, which is in use or above {HANDLE_MAX}.")
        link = attach(self, peer)
        if link is not None:
            self._links[peer.handle] = link
            link.start()

    def _on_detach(self, peer: Detach) -> None:
        link = self._links.pop(peer.handle, None)
        if link is None:
            return
        if link.is_open:
            self.send(Detach(peer.handle, closed=bool(peer.closed)))
        link.close()

    def _on_transfer(self, transfer: Transfer, payload: memoryview) -> None:
        self._next_incoming_id = (self._next_incoming_id + 1) % _MODULUS
        link = self._links.get(transfer.handle)
        if isinstance(link, IncomingLink):
            link.on_transfer(transfer, payload)
        elif link is None or link.is_open:
            raise DecodeError(f"A transfer has the handle {transfer.handle}, which is not a link to send on.")

    def _on_flow(self, flow: Flow) -> None:
        seen = flow.next_incoming_id or 0
        window = (seen + flow.incoming_window - self._next_outgoing_id) % _MODULUS
        self._window = window if window <= UINT_WINDOW else 0
        link = None if flow.handle is None else self._links.get(flow.handle)
        if link is None:
            if flow.echo:
                self.send_flow()
            self.pump()
            return
        link.on_flow(flow)

    def _on_disposition(self, disposition: Disposition) -> None:
        """Settle with a consumer that wants to hear so; events are never delivered again."""
        if disposition.role and not disposition.settled:
            self.send(Disposition(role=False, first=disposition.first, last=disposition.last,
                                  settled=True, state=ACCEPTED))  # fmt: skip
