"""One TCP connection as frames: bytes in, bytes out, and what a fault does to them.

A client that begins with an HTTP request gets the same inside WebSockets.

The receive buffer is filled by the socket directly and never grows. Output is collected and
written once for each turn of the event loop; a peer that does not read stops its own deliveries.
"""

import asyncio
from collections.abc import Callable, Sequence
from typing import Final

from hublog_local.amqp.frames import (
    AMQP_FRAME,
    HEARTBEAT,
    Frame,
    Performative,
    frame_size,
    read_frame,
    write_frame,
)
from hublog_local.hub import websocket
from hublog_local.hub.service import MAX_FRAME_BYTES, Service

_BUFFER_BYTES: Final = 2 * MAX_FRAME_BYTES
#: Deliveries stop while more than this waits for the peer to read.
_OUT_BYTES: Final = 1 << 20
_HEADER_BYTES: Final = 8
#: A peer that does not read the end of its connection is reset after this.
_LINGER_S: Final = 2.0
_SLOW_STEP_S: Final = 0.1


class Wire(asyncio.BufferedProtocol):
    """Bytes and frames of one connection; ``Connection`` gives them a meaning.

    Attributes:
        is_closed: nothing is sent or read any more.
        is_muted: the connection stays, but says and hears nothing.
    """

    def __init__(self, service: Service, loop: asyncio.AbstractEventLoop) -> None:
        self.service = service
        self.loop = loop
        self.is_closed = False
        self.is_muted = False
        self.last_received_mono = loop.time()
        self._transport: asyncio.Transport | None = None
        self._buffer = memoryview(bytearray(_BUFFER_BYTES))
        self._filled = 0
        self._is_begun = False
        self._web: websocket.FrameReader | None = None
        self._unread = b""
        self._out: list[bytes | memoryview] = []
        self._out_bytes = 0
        self._is_paused = False
        self._bytes_per_s: float | None = None
        self._slow_out = bytearray()
        self._timers: set[asyncio.TimerHandle] = set()

    # What Connection adds.

    def on_header(self, header: bytes) -> None:
        """Act on a protocol header of eight bytes."""
        raise NotImplementedError

    def on_frame(self, frame: Frame) -> None:
        """Act on a frame."""
        raise NotImplementedError

    def on_writable(self) -> None:
        """Go on with deliveries that waited for room."""
        raise NotImplementedError

    def on_peer_error(self, error: Exception) -> None:
        """Close the connection because of what the peer sent."""
        raise NotImplementedError

    # Bytes in.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        if not isinstance(transport, asyncio.Transport):
            raise TypeError(f"{type(transport).__name__} is not a stream.")
        transport.set_write_buffer_limits(high=_OUT_BYTES)
        self._transport = transport

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002  # asyncio's signature
        """Stop all that is under way."""
        self.is_closed = True
        self._out.clear()
        for timer in self._timers:
            timer.cancel()
        self._timers.clear()

    def get_buffer(self, sizehint: int) -> memoryview:  # noqa: ARG002  # asyncio's signature
        """Return the free part of the buffer."""
        if self._bytes_per_s is not None:
            step = max(1, int(self._bytes_per_s * _SLOW_STEP_S))
            return self._buffer[self._filled : self._filled + step]
        return self._buffer[self._filled :]

    def buffer_updated(self, nbytes: int) -> None:
        """Act on all frames that are whole now."""
        if self.is_muted or self.is_closed:
            return
        self.last_received_mono = self.loop.time()
        self._filled += nbytes
        try:
            done = self._read()
        except websocket.UpgradeRefusedError as error:
            self.service.note_peer_error(error)
            self.write(error.response)
            self.close_transport()
            return
        except Exception as error:  # noqa: BLE001  # whatever a peer sends ends its own connection, never the server
            self.on_peer_error(error)
            return
        if done and done < self._filled:
            self._buffer[: self._filled - done] = self._buffer[done : self._filled]
        self._filled -= done
        if self._bytes_per_s is not None:
            self._pause_reading(nbytes / self._bytes_per_s)

    def eof_received(self) -> bool:
        """Close our side too."""
        return False

    def _read(self) -> int:
        """Act on what is in the buffer; returns how many of its bytes are done with."""
        data = self._buffer[: self._filled]
        if self._web is not None:
            self._read_web(self._web, bytes(data))
            return self._filled
        if not self._is_begun and bytes(data[:4]) == websocket.REQUEST_START:
            return self._upgrade(bytes(data))
        done = self._read_frames(data)
        self._is_begun = self._is_begun or done > 0
        return done

    def _upgrade(self, data: bytes) -> int:
        """Go on inside WebSockets once the request for that is whole."""
        request = websocket.read_request(data)
        if request is None:
            return 0
        done, response = request
        self.write(response)
        self.flush()
        self._web = websocket.FrameReader()
        self.service.statistics.websockets_total += 1
        self._read_web(self._web, data[done:])
        return len(data)

    def _read_web(self, web: websocket.FrameReader, data: bytes) -> None:
        self._unread += web.feed(data)
        done = self._read_frames(memoryview(self._unread))
        self._unread = self._unread[done:]
        if web.answers and not self.is_muted:
            self.flush()
            self._write_to_socket(web.answers)
            web.answers = []
        if web.is_closed:
            self.close_transport()

    def _read_frames(self, data: memoryview) -> int:
        """Act on the frames in the data; returns how many bytes they had."""
        done = 0
        while len(data) - done >= _HEADER_BYTES and not (self.is_closed or self.is_muted):
            rest = data[done:]
            if bytes(rest[:4]) == b"AMQP":
                done += _HEADER_BYTES
                self.on_header(bytes(rest[:_HEADER_BYTES]))
                continue
            size = frame_size(rest, MAX_FRAME_BYTES)
            if len(rest) < size:
                break
            done += size
            self.on_frame(read_frame(rest[:size]))
        return done

    # Bytes out.

    @property
    def can_write(self) -> bool:
        """Whether the peer reads fast enough for one more delivery."""
        return not (self._is_paused or self.is_closed) and self._out_bytes < _OUT_BYTES

    def send(
        self,
        performative: Performative,
        *,
        channel: int = 0,
        kind: int = AMQP_FRAME,
        payload: tuple[bytes | memoryview, ...] = (),
    ) -> None:
        """Send a frame; the payload is not copied."""
        size = sum(map(len, payload))
        self.write(write_frame(performative, channel=channel, kind=kind, payload_bytes=size), *payload)

    def write(self, *pieces: bytes | memoryview) -> None:
        """Send bytes at the end of this turn of the loop."""
        if self.is_closed or self.is_muted:
            return
        if not self._out:
            self.loop.call_soon(self.flush)
        self._out += pieces
        self._out_bytes += sum(map(len, pieces))

    def flush(self) -> None:
        """Write the collected bytes to the socket."""
        if not self._out or self._transport is None or self._transport.is_closing():
            return
        pieces, was_full = self._out, not self.can_write
        self._out, self._out_bytes = [], 0
        if self._web is not None:
            pieces.insert(0, websocket.frame_head(sum(map(len, pieces))))
        self._write_to_socket(pieces)
        if self._bytes_per_s is None and was_full and self.can_write:
            self.on_writable()

    def _write_to_socket(self, pieces: Sequence[bytes | memoryview]) -> None:
        """Write bytes to the socket, slowly where a fault says so."""
        if self._transport is None or self._transport.is_closing():
            return
        if self._bytes_per_s is None:
            self._transport.writelines(pieces)
            return
        if not self._slow_out:
            self.later(_SLOW_STEP_S, self._trickle)
        for piece in pieces:
            self._slow_out += piece

    def pause_writing(self) -> None:
        """Stop deliveries: the peer does not read."""
        self._is_paused = True

    def resume_writing(self) -> None:
        """Go on with deliveries."""
        self._is_paused = False
        self.on_writable()

    def close_transport(self) -> None:
        """Send what is collected, then end the connection."""
        self.flush()
        if self._web is not None and not (self._web.is_closed or self.is_muted or self.is_closed):
            self._write_to_socket([websocket.close_frame()])
        self.is_closed = True
        if self._transport is not None:
            self._transport.close()
            self.later(_LINGER_S, self.abort)

    def abort(self) -> None:
        """Reset the connection."""
        self.is_closed = True
        if self._transport is not None:
            self._transport.abort()

    # Time, and faults.

    def later(self, seconds: float, act: Callable[[], None]) -> None:
        """Do something after a while, unless the connection is gone by then."""

        def run() -> None:
            self._timers.discard(timer)
            act()

        timer = self.loop.call_later(seconds, run)
        self._timers.add(timer)

    def keep_alive(self, every_s: float) -> None:
        """Send a heartbeat at this pace from now on."""

        def beat() -> None:
            if not self.is_closed:
                self.write(HEARTBEAT)
                self.later(every_s, beat)

        self.later(every_s, beat)

    def slow_down(self, bytes_per_s: float) -> None:
        """Carry this number of bytes a second each way from now on."""
        self._bytes_per_s = bytes_per_s

    def _trickle(self) -> None:
        if self._transport is None or self._transport.is_closing() or self._bytes_per_s is None:
            return
        step = max(1, int(self._bytes_per_s * _SLOW_STEP_S))
        self._transport.write(bytes(self._slow_out[:step]))
        del self._slow_out[:step]
        if self._slow_out:
            self.later(max(_SLOW_STEP_S, step / self._bytes_per_s), self._trickle)

    def _pause_reading(self, seconds: float) -> None:
        transport = self._transport
        if transport is not None and not transport.is_closing():
            transport.pause_reading()
            self.later(seconds, lambda: None if transport.is_closing() else transport.resume_reading())
