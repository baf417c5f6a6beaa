"""A session: windows of transfers, and the links in it: how deliveries come in and go out."""

from collections import deque
from collections.abc import Callable
from typing import Final, NamedTuple, Protocol

from hublog_local.amqp.frames import (
    ACCEPTED,
    AMQP_FRAME,
    TRANSFER_OVERHEAD_BYTES,
    Attach,
    Begin,
    Detach,
    Disposition,
    End,
    Flow,
    LinkError,
    Performative,
    Transfer,
    write_error,
)
from hublog_local.amqp.types import DecodeError, Described
from hublog_local.hub.service import MAX_FRAME_BYTES, OpenConnection, Service

#: Deliveries that a producer may have under way. azure-eventhub 5.15.1 does not look at it.
CREDIT: Final = 1000
#: Largest window that leaves serial numbers comparable.
UINT_WINDOW: Final = 2**31 - 1
HANDLE_MAX: Final = 255
_MODULUS: Final = 2**32
_UNSETTLED: Final = 0


class _Connection(OpenConnection, Protocol):
    """What a session and its links need of the connection that they are in; ``Connection`` documents it."""

    service: Service
    peer_max_frame_bytes: int
    is_muted: bool

    @property
    def can_write(self) -> bool: ...
    def send(
        self,
        performative: Performative,
        *,
        channel: int = 0,
        kind: int = AMQP_FRAME,
        payload: tuple[bytes | memoryview, ...] = (),
    ) -> None: ...
    def close(self, error: LinkError | None = None) -> None: ...
    def later(self, seconds: float, act: Callable[[], None]) -> None: ...
    def allows(self, hub: str) -> bool: ...
    def grant(self, hub: str, expires_at: float) -> None: ...
    def find_reply_link(self, node: str, reply_to: str) -> "OutgoingLink | None": ...


class Link:
    """A link, or the remains of a refused one.

    Attributes:
        session: what it belongs to.
        handle: its number, both ways.
        name: that the client gave it.
        address: of the node that it leads to.
        is_open: neither side has detached it.
    """

    def __init__(self, session: "Session", peer: Attach, address: str) -> None:
        self.session = session
        self.handle = peer.handle
        self.name = peer.name
        self.address = address
        self.is_open = True

    def start(self) -> None:
        """Begin to work: the attach has been answered."""

    def close(self) -> None:
        """Stop: it is detached, or its session or connection is gone."""
        self.is_open = False

    def detach(self, error: LinkError) -> None:
        """Detach it from our side."""
        if self.is_open:
            self.session.send(Detach(self.handle, closed=True, error=write_error(error)))
            self.close()

    def on_flow(self, flow: Flow) -> None:
        """Take the client's state of the link."""


class Delivery(NamedTuple):
    """A whole delivery of a client.

    Attributes:
        delivery_id: number in the session.
        message_format: 0, or ``BATCH_FORMAT``.
        is_settled: the client wants no answer.
        message: its bytes.
    """

    delivery_id: int
    message_format: int
    is_settled: bool
    message: bytes


class IncomingLink(Link):
    """A link that the client sends on."""

    def __init__(self, session: "Session", peer: Attach, address: str) -> None:
        super().__init__(session, peer, address)
        self._first: Transfer | None = None
        self._parts: list[bytes] = []
        self._size = 0
        self._credit = 0
        self._delivery_count = 0

    def start(self) -> None:
        """Give the client its first credit."""
        self._send_credit()

    def close(self) -> None:
        """Drop the parts of an unfinished delivery."""
        super().close()
        self._drop_parts()

    def on_delivery(self, delivery: Delivery) -> None:
        """Act on a whole delivery."""
        raise NotImplementedError

    def on_part(self, size: int) -> bool:
        """Return whether the delivery may grow to this size; if not, it has been refused."""
        raise NotImplementedError

    def on_flow(self, flow: Flow) -> None:
        """Take the client's count, and answer if it asks."""
        if flow.delivery_count is not None:
            self._delivery_count = flow.delivery_count
        if flow.echo and self.is_open:
            self._send_credit()

    def on_transfer(self, transfer: Transfer, payload: memoryview) -> None:
        """Take a part of a delivery.

        Raises:
            DecodeError: the first part has no delivery id.
        """
        if not self.is_open:
            return
        if transfer.aborted:
            self._drop_parts()
            return
        first = self._first or transfer
        if first.delivery_id is None:
            raise DecodeError("The first transfer of a delivery has no delivery-id.")
        self._first = first
        self._size += len(payload)
        if not self.on_part(self._size):
            self._drop_parts()
            return
        self._parts.append(bytes(payload))
        if not transfer.more:
            message = self._parts[0] if len(self._parts) == 1 else b"".join(self._parts)
            is_settled = bool(first.settled or transfer.settled)
            self._drop_parts()
            self._count()
            self.on_delivery(Delivery(first.delivery_id, first.message_format or 0, is_settled, message))

    def settle(self, delivery: Delivery, state: Described) -> None:
        """Send the client the outcome of a delivery, unless it is settled already."""
        if self.is_open and not delivery.is_settled:
            number = delivery.delivery_id
            self.session.send(Disposition(role=True, first=number, last=number, settled=True, state=state))

    def _drop_parts(self) -> None:
        self._first = None
        self._parts = []
        self._size = 0

    def _count(self) -> None:
        self._delivery_count = (self._delivery_count + 1) % _MODULUS
        self._credit -= 1
        if self._credit <= CREDIT // 2:
            self._send_credit()

    def _send_credit(self) -> None:
        self._credit = CREDIT
        self.session.send_flow(
            handle=self.handle,
            delivery_count=self._delivery_count,
            link_credit=CREDIT,
            drain=False,
            echo=False,
        )


class OutgoingLink(Link):
    """A link that the client receives on."""

    def __init__(self, session: "Session", peer: Attach, address: str) -> None:
        super().__init__(session, peer, address)
        self._is_settled = peer.snd_settle_mode != _UNSETTLED
        self.target_address = ""
        self._credit = 0
        self._delivery_count = 0
        self._drain = False
        self._waiting: deque[tuple[Transfer, tuple[bytes | memoryview, ...]]] = deque()

    def next_message(self) -> list[bytes] | None:
        """Return the next message in pieces, or None if there is none now."""
        raise NotImplementedError

    def on_flow(self, flow: Flow) -> None:
        """Take the client's credit, and use it."""
        seen = flow.delivery_count or 0
        credit = (seen + (flow.link_credit or 0) - self._delivery_count) % _MODULUS
        self._credit = credit if credit < _MODULUS // 2 else 0
        self._drain = bool(flow.drain)
        self.pump()
        if flow.echo and self.is_open:
            self._send_state()

    def pump(self) -> None:
        """Send as much as credit, window and the peer's reading allow."""
        while self.is_open and self.session.can_send:
            if self._waiting:
                transfer, payload = self._waiting.popleft()
                self.session.send_transfer(transfer, *payload)
                continue
            message = self.next_message() if self._credit > 0 else None
            if message is None:
                self._finish_drain()
                return
            self._credit -= 1
            self._delivery_count = (self._delivery_count + 1) % _MODULUS
            self._queue(message)

    def close(self) -> None:
        """Drop what waits."""
        super().close()
        self._waiting.clear()

    def _queue(self, message: list[bytes]) -> None:
        """Cut a message into transfers."""
        session = self.session
        number = session.next_delivery_id()
        room = min(session.connection.peer_max_frame_bytes, MAX_FRAME_BYTES) - TRANSFER_OVERHEAD_BYTES
        transfer = Transfer(
            self.handle,
            delivery_id=number,
            delivery_tag=number.to_bytes(4, "big"),
            message_format=0,
            settled=self._is_settled,
            more=False,
        )
        if sum(map(len, message)) <= room:
            self._waiting.append((transfer, tuple(message)))
            return
        whole = memoryview(b"".join(message))
        for begin in range(0, len(whole), room):
            part = transfer._replace(more=begin + room < len(whole))
            self._waiting.append((part, (whole[begin : begin + room],)))

    def _finish_drain(self) -> None:
        """Use up the credit of a client that wants no more than there is."""
        if self._drain:
            self._delivery_count = (self._delivery_count + self._credit) % _MODULUS
            self._credit = 0
            self._drain = False
            self._send_state(drain=True)

    def _send_state(self, *, drain: bool = False) -> None:
        self.session.send_flow(
            handle=self.handle,
            delivery_count=self._delivery_count,
            link_credit=self._credit,
            available=0,
            drain=drain,
            echo=False,
        )


class Session:
    """One session of a connection.

    ``attach`` answers an attach: it returns the link, or None if the client gets no answer.

    Attributes:
        connection: what it belongs to.
        channel: its number, both ways.
        is_ended: nothing is sent on it any more.
    """

    def __init__(
        self,
        connection: _Connection,
        channel: int,
        peer: Begin,
        attach: Callable[["Session", Attach], Link | None],
    ) -> None:
        self.connection = connection
        self.channel = channel
        self.is_ended = False
        self._attach = attach
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
        link = self._attach(self, peer)
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
