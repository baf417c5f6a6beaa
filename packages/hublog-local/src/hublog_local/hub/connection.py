"""A connection: login, open, sessions, close; and what its tokens allow."""

import asyncio
from typing import Final

from hublog_local.amqp.frames import (
    AMQP_FRAME,
    MIN_FRAME_BYTES,
    SASL_FRAME,
    Attach,
    Begin,
    Close,
    End,
    Frame,
    LinkError,
    Open,
    SaslInit,
    SaslMechanisms,
    SaslOutcome,
    Transfer,
    write_error,
)
from hublog_local.amqp.types import Array, DecodeError, Symbol
from hublog_local.hub.event_links import attach
from hublog_local.hub.faults import FaultKind, Stage
from hublog_local.hub.service import MAX_FRAME_BYTES, Service
from hublog_local.hub.sessions import HANDLE_MAX, UINT_WINDOW, OutgoingLink, Session
from hublog_local.hub.wire import Wire

CONTAINER_ID: Final = "hublog-local"
_AMQP_HEADER: Final = b"AMQP\x00\x01\x00\x00"
_SASL_HEADER: Final = b"AMQP\x03\x01\x00\x00"
_MECHANISMS: Final = ("ANONYMOUS", "MSSBCBS", "PLAIN", "EXTERNAL")
_CHANNEL_MAX: Final = 255
_WHOLE_NAMESPACE: Final = ""


class Connection(Wire):
    """One client, from the protocol header to the close.

    Attributes:
        peer_max_frame_bytes: the largest frame that the client takes.
    """

    def __init__(self, service: Service, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(service, loop)
        self.peer_max_frame_bytes = MIN_FRAME_BYTES
        self._is_open = False
        self._needs_login: bool | None = None
        self._sessions: dict[int, Session] = {}
        self._expiries: dict[str, float] = {}

    # Begin and end.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take the connection, or do what a fault says."""
        super().connection_made(transport)
        self.service.connections.add(self)
        self.service.statistics.connections_total += 1
        fault = self.service.faults.take(Stage.ACCEPT)
        if fault is None:
            return
        if fault.kind is FaultKind.REFUSE:
            self.abort()
        elif fault.kind is FaultKind.SILENT:
            self.is_muted = True
        else:
            self.slow_down(fault.bytes_per_s)

    def connection_lost(self, exc: Exception | None) -> None:
        """Close and drop the sessions."""
        super().connection_lost(exc)
        self.service.connections.discard(self)
        for session in self._sessions.values():
            session.close()
        self._sessions.clear()

    def close(self, error: LinkError | None = None) -> None:
        """Say that the connection ends, and end it."""
        if self._is_open:
            self.send(Close(None if error is None else write_error(error)))
        self.close_transport()

    def on_peer_error(self, error: Exception) -> None:
        """Send the peer the error, and end the connection."""
        self.service.note_peer_error(error)
        condition = "amqp:decode-error" if isinstance(error, DecodeError) else "amqp:internal-error"
        self.close(LinkError(condition, str(error)[:500]))

    def on_writable(self) -> None:
        """Go on with deliveries to consumers."""
        for session in tuple(self._sessions.values()):
            session.pump()

    # What the tokens allow.

    def grant(self, hub: str, expires_at: float) -> None:
        """Let the connection use an event hub until then; an empty name means all of them."""
        self._expiries[hub.casefold()] = expires_at

    def expire_tokens(self) -> None:
        """Take all tokens as expired, also for hubs that asked for none."""
        self._expiries = dict.fromkeys([*self._expiries, _WHOLE_NAMESPACE], 0.0)
        self.on_writable()

    def allows(self, hub: str) -> bool:
        """Return whether the connection may use this event hub now."""
        names = [name for name in (hub.casefold(), _WHOLE_NAMESPACE) if name in self._expiries]
        if not names:
            return not self.service.tokens.needs_token
        now = self.service.tokens.now()
        return any(self._expiries[name] > now for name in names)

    def find_reply_link(self, node: str, reply_to: str) -> OutgoingLink | None:
        """Return the link for answers of a node; ``reply_to`` is empty if the request names none."""
        links = [link for session in self._sessions.values() for link in session.reply_links(node)]
        named = [link for link in links if reply_to in (link.target_address, link.name)]
        return next(iter(named or links), None)

    # Headers and frames.

    def on_header(self, header: bytes) -> None:
        """Answer a protocol header."""
        if header == _SASL_HEADER and self._needs_login is None:
            self._needs_login = True
            self.write(_SASL_HEADER)
            mechanisms = Array(map(Symbol, _MECHANISMS))
            self.send(SaslMechanisms(mechanisms), kind=SASL_FRAME)
        elif header == _AMQP_HEADER and not self._needs_login and not self._is_open:
            self._needs_login = False
            self.write(_AMQP_HEADER)
        else:
            self.write(_SASL_HEADER)
            self.service.note_peer_error(DecodeError(f"The protocol header {header!r} is not taken here."))
            self.close_transport()

    def on_frame(self, frame: Frame) -> None:
        """Act on a frame.

        Raises:
            DecodeError: it may not come here.
        """
        performative = frame.performative
        if isinstance(performative, SaslInit) and frame.kind == SASL_FRAME and self._needs_login:
            self._log_in(performative)
        elif frame.kind != AMQP_FRAME or self._needs_login is not False:
            raise DecodeError("A frame comes before the login is done, or is one of the login after it.")
        elif performative is None:
            return
        elif isinstance(performative, Open):
            self._answer_open(performative)
        elif not self._is_open:
            raise DecodeError(f"{type(performative).__name__} comes before Open.")
        elif isinstance(performative, Close):
            self.close()
        elif isinstance(performative, Begin):
            self._begin(frame.channel, performative)
        else:
            self._pass_on(frame)

    def _log_in(self, init: SaslInit) -> None:
        is_known = init.mechanism in _MECHANISMS
        if init.mechanism == "PLAIN":
            parts = (init.initial_response or b"").decode("utf-8", "replace").split("\0")
            is_known = len(parts) == 3 and self.service.tokens.check_password(parts[1], parts[2])
            if is_known:
                self.grant(_WHOLE_NAMESPACE, float("inf"))
        self.send(SaslOutcome(0 if is_known else 1), kind=SASL_FRAME)
        if is_known:
            self._needs_login = False
        else:
            self.close_transport()

    def _answer_open(self, peer: Open) -> None:
        if self._is_open:
            raise DecodeError("Open comes twice.")
        fault = self.service.faults.take(Stage.OPEN)
        if fault is not None and fault.kind is FaultKind.SILENT_OPEN:
            self.is_muted = True
            return
        self.peer_max_frame_bytes = peer.max_frame_size or MAX_FRAME_BYTES
        if self.peer_max_frame_bytes < MIN_FRAME_BYTES:
            raise DecodeError(f"Open.max_frame_size is {self.peer_max_frame_bytes}; it must be 512 or more.")
        self._is_open = True
        idle_s = self.service.limits.idle_timeout_s
        # The specification asks to announce less than what is waited for.
        announced = None if idle_s is None else max(1, int(idle_s * 500))
        self.send(
            Open(
                CONTAINER_ID,
                max_frame_size=MAX_FRAME_BYTES,
                channel_max=_CHANNEL_MAX,
                idle_time_out=announced,
                properties={Symbol("product"): "hublog local"},
            )
        )
        if fault is not None:
            self.close(LinkError(fault.condition, fault.description))
            return
        if peer.idle_time_out:
            self.keep_alive(max(peer.idle_time_out / 2000, 0.01))
        if idle_s is not None:
            self._watch_idle(idle_s)

    def _watch_idle(self, idle_s: float) -> None:
        silent_s = self.loop.time() - self.last_received_mono
        if self.is_closed or self.is_muted:
            return
        if silent_s < idle_s:
            self.later(idle_s - silent_s + 0.001, lambda: self._watch_idle(idle_s))
            return
        self.service.statistics.idle_closed_total += 1
        text = (
            f"The connection was inactive for more than the allowed {int(idle_s * 1000)} milliseconds and is "
            f"closed by container '{CONTAINER_ID}'."
        )
        self.close(LinkError("amqp:connection:forced", text))

    def _begin(self, channel: int, peer: Begin) -> None:
        if channel in self._sessions or channel > _CHANNEL_MAX:
            raise DecodeError(
                f"A session begins on channel {channel}, which is in use or above {_CHANNEL_MAX}."
            )
        self._sessions[channel] = Session(self, channel, peer, attach)
        begin = Begin(
            remote_channel=channel,
            next_outgoing_id=0,
            incoming_window=UINT_WINDOW,
            outgoing_window=UINT_WINDOW,
            handle_max=HANDLE_MAX,
        )
        self.send(begin, channel=channel)

    def _pass_on(self, frame: Frame) -> None:
        """Give a frame to its session."""
        session = self._sessions.get(frame.channel)
        performative = frame.performative
        if session is None:
            if isinstance(performative, Attach | Transfer):
                raise DecodeError(
                    f"{type(performative).__name__} comes on channel {frame.channel} without a session."
                )
            return  # azure-eventhub 5.15.1 sends detach and disposition after end
        if isinstance(performative, End):
            del self._sessions[frame.channel]
            session.answer_end()
        elif performative is not None:
            session.on_performative(performative, frame.payload)
