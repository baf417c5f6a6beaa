"""A session: windows of transfers, and the links in it."""

from typing import TYPE_CHECKING, Final

from hublog_local.amqp.performatives import (
    Attach,
    Begin,
    Detach,
    Disposition,
    End,
    Flow,
    Performative,
    Transfer,
)
from hublog_local.amqp.states import ACCEPTED, LinkError, write_error
from hublog_local.amqp.values import DecodeError
from hublog_local.hub.attaching import attach
from hublog_local.hub.links import IncomingLink, Link, OutgoingLink

if TYPE_CHECKING:
    from hublog_local.hub.connection import Connection

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

    def __init__(self, connection: "Connection", channel: int, peer: Begin) -> None:
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
        """Tell the state of the session, and of a link whose handle and so on are given."""
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
        """Forget the links."""
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
            raise DecodeError(f"A transfer has the handle {transfer.handle}, which is no link to send on.")

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
