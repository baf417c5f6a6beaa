"""Takes the lines of a batch, gives the bodies of events: one each, or many as JSON lines, plain or gzip."""

import functools
import zlib
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from types import MappingProxyType
from typing import Final, NamedTuple, Protocol

from hublog.line import SENT_AT_BYTES, with_sent_at
from hublog.settings import Packing

#: Raw bytes of one event: about 60 KiB compressed, one billing unit of Event Hubs.
EVENT_BYTES: Final = 500 * 1024
#: Room for the AMQP sections around a body and its properties.
OVERHEAD_BYTES: Final = 1_024
#: What packing adds to a line.
LINE_OVERHEAD_BYTES: Final = SENT_AT_BYTES
#: Log lines compress to a seventh or less. One event that does not is split after the hub refused it.
_SURE_RATIO: Final = 4
#: Our levels 1 to 3 are isal's 0 to 2: about the size of zlib's, in a quarter of the time. Beyond them zlib
#: makes less of the lines. Measured on 500 KiB of log lines: isal 2 128 B a KB in 0.6 ms, zlib 3 127 B in
#: 2.8 ms, zlib 6 105 B in 5.5 ms.
_ISAL_LEVELS: Final = {1: 0, 2: 1, 3: 2}
_GZIP: Final = 16 + zlib.MAX_WBITS
_OTHERS_MAX: Final = 8


class _Compressor(Protocol):
    def compress(self, data: bytes, /) -> bytes: ...
    def flush(self) -> bytes: ...


def _find_isal() -> Callable[[int, int, int], _Compressor] | None:
    try:
        from isal import isal_zlib  # noqa: PLC0415  # an extra that may be missing
    except ImportError:
        return None
    compressobj: Callable[[int, int, int], _Compressor] = isal_zlib.compressobj
    return compressobj


_isal: Final = _find_isal()


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
        gzip_level: 1 (fast) to 9 (small). Up to 3 isal does it where it is installed, else zlib.
        routing: application properties that tell a data connection where to put the records; see
            ``routing`` of ``EventHubSettings``.
    """

    def __init__(
        self, packing: Packing, *, gzip_level: int = 3, routing: Mapping[str, str] | None = None
    ) -> None:
        self._packing = packing
        self._level = gzip_level
        self._routing = dict(routing or {})
        # What waits on disk was accepted under a few settings; they are few whatever is there.
        self._other = functools.lru_cache(_OTHERS_MAX)(
            lambda packing, routing: Packer(packing, gzip_level=gzip_level, routing=dict(routing))
        )
        compression = {"Compression": "gzip"} if packing is Packing.GZIP else {}
        #: Application properties of every event; ADX reads their names in just this form.
        self.properties: Mapping[str, str] = MappingProxyType({**(routing or {}), **compression})

    def like(self, packing: Packing, routing: Mapping[str, str]) -> "Packer":
        """Return what packs in this way, as it was set when some records were accepted."""
        if (packing, routing) == (self._packing, self._routing):
            return self
        return self._other(packing, tuple(routing.items()))

    def raw_bytes(self, max_body_bytes: int) -> int:
        """Return the bytes of lines whose packed bodies surely fit into this number of bytes."""
        return max_body_bytes * (_SURE_RATIO if self._packing is Packing.GZIP else 1)

    def pack(self, lines: Sequence[bytes], *, sent_at: datetime) -> list[Packed]:
        """Return the events for the lines of one batch.

        Args:
            lines: JSON objects, UTF-8, no line break, not empty.
            sent_at: aware time; written into every line.

        Returns:
            One event for each line with ``single``, else one event for all.
        """
        body = with_sent_at(lines, sent_at)
        if self._packing is Packing.SINGLE:
            return [Packed(part, [line]) for part, line in zip(body.split(b"\n"), lines, strict=False)]
        if self._packing is Packing.GZIP:
            body = compressed(body, self._level)
        return [Packed(body, list(lines))]


def compressed(body: bytes, level: int) -> bytes:
    """Return a body as one gzip member without a time stamp; the level is 1 (fast) to 9 (small)."""
    squeeze: _Compressor
    if _isal is not None and level in _ISAL_LEVELS:
        squeeze = _isal(_ISAL_LEVELS[level], zlib.DEFLATED, _GZIP)
    else:
        squeeze = zlib.compressobj(level, zlib.DEFLATED, _GZIP)
    return squeeze.compress(body) + squeeze.flush()
