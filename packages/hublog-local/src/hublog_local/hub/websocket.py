"""AMQP inside WebSockets (RFC 6455), the server's side: the upgrade, and frames in both directions.

Event Hubs takes it on ``/$servicebus/websocket`` with the subprotocol ``AMQPWSB10``. The boundaries of
messages mean nothing to AMQP, so they are not kept.
"""

import base64
import hashlib
import re
from typing import Final

from hublog_local.amqp.types import DecodeError

PATH: Final = "/$servicebus/websocket"
#: The name that Azure's clients use, and the registered one.
SUBPROTOCOLS: Final = ("AMQPWSB10", "amqp")
#: An HTTP request begins with this, AMQP never does.
REQUEST_START: Final = b"GET "
HEAD_MAX_BYTES: Final = 16_384

_HEAD_END: Final = b"\r\n\r\n"
_REQUEST_LINE = re.compile(r"GET (\S+) HTTP/1\.1")
_KEY_SUFFIX: Final = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"  # RFC 6455, section 1.3
_CONTINUATION: Final = 0x0
_BINARY: Final = 0x2
_CLOSE: Final = 0x8
_PING: Final = 0x9
_PONG: Final = 0xA
_CONTROL: Final = 0x8
_FINAL: Final = 0x80
_MASKED: Final = 0x80
_MASK_BYTES: Final = 4
_RESERVED: Final = 0x70
_SHORT_MAX: Final = 125
_TWO_BYTES: Final = 126
_EIGHT_BYTES: Final = 127


class UpgradeRefusedError(Exception):
    """The request is not one for AMQP inside WebSockets.

    Attributes:
        response: what the client is answered.
    """

    def __init__(self, status: str, reason: str) -> None:
        super().__init__(f"{status}: {reason}")
        body = f"{reason}\n".encode()
        self.response = (
            f"HTTP/1.1 {status}\r\nContent-Type: text/plain\r\nContent-Length: {len(body)}\r\n"
            "Connection: close\r\n\r\n"
        ).encode() + body


def read_request(data: bytes) -> tuple[int, bytes] | None:
    """Return how long the request at the beginning of ``data`` is, and the response that accepts it.

    Returns:
        None if the request has not come whole yet.

    Raises:
        UpgradeRefusedError: it is not for AMQP.
    """
    end = data.find(_HEAD_END, 0, HEAD_MAX_BYTES)
    if end < 0:
        if len(data) >= HEAD_MAX_BYTES:
            raise UpgradeRefusedError("431 Request Header Fields Too Large", "The request has no end.")
        return None
    line, *lines = data[:end].decode("latin-1").split("\r\n")
    pairs = (each.partition(":") for each in lines)
    headers = {name.strip().lower(): value.strip() for name, _, value in pairs}
    match = _REQUEST_LINE.fullmatch(line)
    if match is None or match[1].partition("?")[0] != PATH:
        raise UpgradeRefusedError("404 Not Found", f"This is an Event Hub: WebSockets are at {PATH}.")
    key, offered = headers.get("sec-websocket-key", ""), _words(headers.get("sec-websocket-protocol", ""))
    if "websocket" not in _words(headers.get("upgrade", "").lower()) or not key:
        raise UpgradeRefusedError("426 Upgrade Required", "The request asks for no WebSocket.")
    chosen = next((name for name in SUBPROTOCOLS if name.lower() in map(str.lower, offered)), None)
    if chosen is None:
        raise UpgradeRefusedError("400 Bad Request", f"The subprotocol must be {SUBPROTOCOLS[0]}.")
    digest = hashlib.sha1(f"{key}{_KEY_SUFFIX}".encode(), usedforsecurity=False).digest()
    response = (
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        f"Sec-WebSocket-Accept: {base64.b64encode(digest).decode()}\r\n"
        f"Sec-WebSocket-Protocol: {chosen}\r\n\r\n"
    )
    return end + len(_HEAD_END), response.encode()


def frame_head(size: int) -> bytes:
    """Return the head of a binary frame of this size, as a server sends it."""
    return _head(_BINARY, size)


def close_frame(status: int = 1000) -> bytes:
    """Return the frame that ends the WebSocket; 1000 is the normal end."""
    return _head(_CLOSE, 2) + status.to_bytes(2)


class FrameReader:
    """Parses the frames of a client, in whatever pieces they arrive.

    Attributes:
        answers: frames to be sent back, for pings and the close.
        is_closed: whether the client has ended the WebSocket.
    """

    def __init__(self) -> None:
        self.answers: list[bytes] = []
        self.is_closed = False
        self._head = bytearray()
        self._opcode = _CONTINUATION
        self._left = 0
        self._mask = b""
        self._offset = 0
        self._control = bytearray()

    def feed(self, data: bytes) -> bytes:
        """Return the payload in these bytes of the stream.

        Raises:
            DecodeError: they are not frames of a client.
        """
        payload, at = bytearray(), 0
        while at < len(data) and not self.is_closed:
            if not self._mask:
                self._head.append(data[at])
                at += 1
                self._read_head()
            else:
                piece = data[at : at + self._left]
                at += len(piece)
                self._take(piece, payload)
            if self._mask and not self._left:
                self._end_frame()
        return bytes(payload)

    def _read_head(self) -> None:
        """Read the head of a frame once it is whole."""
        head = self._head
        if len(head) < 2:
            return
        if not head[1] & _MASKED or head[0] & _RESERVED:
            raise DecodeError("A WebSocket frame of a client is not masked, or uses an extension.")
        short = head[1] & ~_MASKED & 0xFF
        extra = {_TWO_BYTES: 2, _EIGHT_BYTES: 8}.get(short, 0)
        if len(head) < 2 + extra + _MASK_BYTES:
            return
        self._opcode = head[0] & 0x0F
        if self._opcode not in {_CONTINUATION, _BINARY, _CLOSE, _PING, _PONG}:
            raise DecodeError(f"A WebSocket frame has the opcode {self._opcode}; AMQP goes in binary frames.")
        self._left = int.from_bytes(head[2 : 2 + extra]) if extra else short
        if self._opcode & _CONTROL and self._left > _SHORT_MAX:
            raise DecodeError("A control frame of a WebSocket is longer than 125 bytes.")
        self._mask, self._offset = bytes(head[-_MASK_BYTES:]), 0
        head.clear()

    def _take(self, piece: bytes, payload: bytearray) -> None:
        size = len(piece)
        mask = self._mask[self._offset :] + self._mask[: self._offset]
        key = int.from_bytes((mask * (size // _MASK_BYTES + 1))[:size])
        plain = (int.from_bytes(piece) ^ key).to_bytes(size)
        self._offset = (self._offset + size) % _MASK_BYTES
        self._left -= size
        (self._control if self._opcode & _CONTROL else payload).extend(plain)

    def _end_frame(self) -> None:
        self._mask = b""
        text = bytes(self._control)
        self._control.clear()
        if self._opcode == _PING:
            self.answers.append(_head(_PONG, len(text)) + text)
        elif self._opcode == _CLOSE:
            self.answers.append(_head(_CLOSE, len(text)) + text)
            self.is_closed = True


def _head(opcode: int, size: int) -> bytes:
    first = bytes([_FINAL | opcode])
    if size <= _SHORT_MAX:
        return first + bytes([size])
    if size < 1 << 16:
        return first + bytes([_TWO_BYTES]) + size.to_bytes(2)
    return first + bytes([_EIGHT_BYTES]) + size.to_bytes(8)


def _words(text: str) -> list[str]:
    return [word.strip() for word in text.split(",") if word.strip()]
