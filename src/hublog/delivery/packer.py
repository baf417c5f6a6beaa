"""Lines become the bodies of events: one each, or many as JSON lines, plain or compressed."""

import zlib
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Final, NamedTuple

from hublog.settings import Packing

#: Room for the AMQP sections around a body and its properties.
OVERHEAD_BYTES: Final = 1_024
_GZIP: Final = 16 + zlib.MAX_WBITS


class Packed(NamedTuple):
    """One event, ready to send.

    Attributes:
        body: its payload.
        lines: the lines in it, unchanged, so that they can be packed again in another way.
    """

    body: bytes
    lines: list[bytes]


class Packer:
    """Packs the lines of one event.

    Args:
        packing: ``single``, ``lines`` or ``gzip``.
        gzip_level: 1 (fast) to 9 (small).
    """

    def __init__(self, packing: Packing, *, gzip_level: int = 3) -> None:
        self._packing = packing
        self._level = gzip_level
        #: Application properties of every event; ADX reads ``Compression`` in just this form.
        self.properties: Mapping[str, str] = MappingProxyType(
            {"Compression": "gzip"} if packing is Packing.GZIP else {}
        )

    def pack(self, lines: Sequence[bytes], *, sent_at: datetime) -> list[Packed]:
        """Return the events for the lines of one batch.

        Args:
            lines: JSON objects, UTF-8, no line break, not empty.
            sent_at: aware time; written into every line.

        Returns:
            One event for each line with ``single``, else one event for all.
        """
        stamp = b'"sent_at":"%bZ"}' % sent_at.astimezone(UTC).isoformat(timespec="microseconds")[:26].encode()
        after = b"," + stamp
        stamped = [line[:-1] + (after if len(line) > len(b"{}") else stamp) for line in lines]
        if self._packing is Packing.SINGLE:
            return [Packed(body, [line]) for body, line in zip(stamped, lines, strict=True)]
        body = b"\n".join(stamped) + b"\n"
        if self._packing is Packing.GZIP:
            squeeze = zlib.compressobj(self._level, zlib.DEFLATED, _GZIP)
            body = squeeze.compress(body) + squeeze.flush()
        return [Packed(body, list(lines))]
