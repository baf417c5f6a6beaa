"""Frames: a size, a kind, a channel, a performative and what follows it.

Source: OASIS AMQP 1.0 part 2, section 2.3.
"""

import struct
from typing import Final, NamedTuple

from hublog_local.amqp.decoding import decode
from hublog_local.amqp.performatives import Performative, read_performative, write_performative
from hublog_local.amqp.values import DecodeError

AMQP_FRAME: Final = 0
SASL_FRAME: Final = 1
#: A frame without a performative: the peer is still there.
HEARTBEAT: Final = b"\x00\x00\x00\x08\x02\x00\x00\x00"
#: No peer may ask for less.
MIN_FRAME_BYTES: Final = 512
#: Bytes that a Transfer performative and the frame header need at most, delivery tag of 4 bytes.
TRANSFER_OVERHEAD_BYTES: Final = 64

_HEADER: Final = struct.Struct(">IBBH")


class Frame(NamedTuple):
    """One frame as received.

    Attributes:
        kind: ``AMQP_FRAME`` or ``SASL_FRAME``.
        channel: number of the session.
        performative: None for a heartbeat.
        payload: what follows the performative, in the receive buffer: copy it before reading on.
    """

    kind: int
    channel: int
    performative: Performative | None
    payload: memoryview


def frame_size(view: memoryview, max_bytes: int) -> int:
    """Read the size of the frame that begins here; 8 bytes of it are there.

    Raises:
        DecodeError: it is smaller than a header or larger than we said we take.
    """
    size = int.from_bytes(view[:4], "big")
    if not _HEADER.size <= size <= max_bytes:
        raise DecodeError(f"A frame of {size} bytes; it must have 8 to {max_bytes}.")
    return size


def read_frame(view: memoryview) -> Frame:
    """Read one whole frame.

    Raises:
        DecodeError: it is not a frame with a valid performative.
    """
    _, offset, kind, channel = _HEADER.unpack_from(view)
    begin = 4 * offset
    if begin < _HEADER.size or begin > len(view):
        raise DecodeError(f"A frame's body begins at byte {begin} of {len(view)}.")
    if kind not in (AMQP_FRAME, SASL_FRAME):
        raise DecodeError(f"A frame is of kind {kind}; it must be 0 (AMQP) or 1 (SASL).")
    if begin == len(view):
        return Frame(kind, channel, None, view[begin:])
    value, end = decode(view[begin:])
    return Frame(kind, channel, read_performative(value), view[begin + end :])


def write_frame(
    performative: Performative, *, channel: int = 0, kind: int = AMQP_FRAME, payload_bytes: int = 0
) -> bytes:
    """Encode a frame up to its payload, which the caller sends right after it.

    Args:
        performative: what the frame says.
        channel: number of the session.
        kind: ``AMQP_FRAME`` or ``SASL_FRAME``.
        payload_bytes: size of the payload that follows.
    """
    body = write_performative(performative)
    size = _HEADER.size + len(body) + payload_bytes
    return _HEADER.pack(size, 2, kind, channel) + body
