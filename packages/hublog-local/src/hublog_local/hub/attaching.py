"""What a client attaches to: addresses become links, or a refusal."""

from typing import TYPE_CHECKING, Final, NamedTuple
from urllib.parse import unquote, urlsplit

from hublog.errors import LocalHubError
from hublog_local.amqp.performatives import Attach, Detach
from hublog_local.amqp.states import LinkError, Terminus, read_source, read_target, write_error
from hublog_local.amqp.values import Described
from hublog_local.hub.faults import Fault, FaultKind, Stage
from hublog_local.hub.links import Link
from hublog_local.hub.partitions import EventHub, Partition
from hublog_local.hub.positions import SELECTOR, read_position
from hublog_local.hub.producers import ProducerLink
from hublog_local.hub.readers import ReaderLink
from hublog_local.hub.requests import NODES, ReplyLink, RequestLink

if TYPE_CHECKING:
    from hublog_local.hub.sessions import Session

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


class _Wish(NamedTuple):
    """What a client attaches, taken apart."""

    session: "Session"
    peer: Attach
    source: Terminus | None
    target: Terminus | None

    @property
    def node_address(self) -> str:
        node = self.source if self.peer.role else self.target
        return "" if node is None else node.address


def attach(session: "Session", peer: Attach) -> Link | None:
    """Answer an attach.

    Returns:
        The link; one that is not open was refused; None if the client gets no answer at all.

    Raises:
        DecodeError: source or target are no such thing.
    """
    wish = _Wish(session, peer, read_source(peer.source), read_target(peer.target))
    address = read_address(wish.node_address)
    service = session.connection.service
    fault = service.faults.take(Stage.ATTACH, address.hub)
    if fault is not None and fault.kind is FaultKind.SILENT_ATTACH:
        return None
    try:
        link = _make_link(wish, address, fault)
    except _RefusedError as refused:
        service.statistics.links_refused_total += 1
        link = Link(session, handle=peer.handle, name=peer.name, address=wish.node_address)
        link.is_open = False
        # A refusal is an attach that lacks the node, then a detach that says why.
        _answer(wish._replace(source=None) if peer.role else wish._replace(target=None))
        session.send(Detach(peer.handle, closed=True, error=write_error(refused.error)))
        return link
    _answer(wish)
    return link


def _answer(wish: _Wish) -> None:
    peer = wish.peer
    limits = wish.session.connection.service.limits
    wish.session.send(
        Attach(
            peer.name,
            peer.handle,
            role=not peer.role,
            snd_settle_mode=peer.snd_settle_mode if peer.snd_settle_mode is not None else _MIXED,
            rcv_settle_mode=peer.rcv_settle_mode or 0,
            source=None if wish.source is None else wish.source.whole,
            target=None if wish.target is None else wish.target.whole,
            initial_delivery_count=0 if peer.role else None,
            max_message_size=None if peer.role else limits.max_message_bytes,
            offered_capabilities=peer.desired_capabilities,
        )
    )


def _make_link(wish: _Wish, address: Address, fault: Fault | None) -> Link:
    if fault is not None:
        raise _RefusedError(fault.condition, fault.description)
    session, peer = wish.session, wish.peer
    if address.hub in NODES:
        if not peer.role:
            return RequestLink(session, handle=peer.handle, name=peer.name, address=address.hub)
        reply_to = "" if wish.target is None else wish.target.address
        return ReplyLink(
            session, handle=peer.handle, name=peer.name, address=address.hub, target_address=reply_to
        )
    hub = session.connection.service.find_hub(address.hub)
    if hub is None or not address.is_known:
        raise _RefusedError(
            "amqp:not-found", f"The messaging entity '{wish.node_address}' could not be found."
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
        return _make_producer(wish, hub, address)
    if partition is None or address.group is None:
        raise _RefusedError(
            "amqp:not-allowed", "A receiver needs <hub>/ConsumerGroups/<group>/Partitions/<id>."
        )
    return _make_reader(wish, hub, partition, address.group)


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


def _make_producer(wish: _Wish, hub: EventHub, address: Address) -> ProducerLink:
    if address.group is not None:
        raise _RefusedError("amqp:not-allowed", "A consumer group cannot be sent to.")
    return ProducerLink(
        wish.session,
        handle=wish.peer.handle,
        name=wish.peer.name,
        hub=hub,
        partition_id=address.partition_id,
        publisher=address.publisher,
    )


def _make_reader(wish: _Wish, hub: EventHub, partition: Partition, group: str) -> ReaderLink:
    peer = wish.peer
    selector = None if wish.source is None else wish.source.filters.get(SELECTOR)
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
        wish.session,
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
