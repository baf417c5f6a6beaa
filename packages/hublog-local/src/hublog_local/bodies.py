"""The body of an event becomes records, by the rules that an Event Hubs data connection of ADX has."""

import json
import zlib
from collections.abc import Mapping
from typing import Any, Final, NoReturn, TypeAlias, cast

import orjson

Record: TypeAlias = dict[str, Any]  # JSON: its values are what the producer wrote

#: What a compressed body may grow to.
MAX_BODY_BYTES: Final = 64 << 20

_GZIP_MAGIC: Final = b"\x1f\x8b"
_GZIP_WBITS: Final = 31
_MAX_GZIP_MEMBERS: Final = 64
_BOM: Final = b"\xef\xbb\xbf"
_WHITESPACE: Final = " \t\r\n"
#: Longer than any name that is right; what is wrong is told to the user.
_MAX_NAME: Final = 128
_FORMATS: Final = ("json", "multijson")


class RefusedError(ValueError):
    """An event is refused as a whole; the message says why, and what to change."""


def routing(properties: Mapping[str, object], name: str) -> str:
    """Return the start of a routing property, empty if it is not there; names are case-sensitive."""
    value = properties.get(name)
    text = value.decode(errors="replace") if isinstance(value, bytes) else str(value or "")
    return text[:_MAX_NAME]


def plain_body(body: bytes, properties: Mapping[str, object], *, max_bytes: int = MAX_BODY_BYTES) -> bytes:
    """Return the body without its compression.

    Args:
        body: as it came.
        properties: the application properties; ``Compression`` may be gzip, in any case.
        max_bytes: limit of the result.

    Raises:
        RefusedError: the compression is unknown, the data is damaged, or there is too much of it.
    """
    compression = routing(properties, "Compression").lower()
    if compression == "gzip":
        return _gunzip(body, max_bytes)
    if compression not in {"", "none"}:
        raise RefusedError(f"Compression is {compression!r}; it must be gzip or None.")
    if body.startswith(_GZIP_MAGIC):
        raise RefusedError("The body is gzip, but the event has no property Compression; set it to gzip.")
    return body


def records(body: bytes, properties: Mapping[str, object]) -> tuple[list[Record], int]:
    """Read the records of a plain body.

    In ``json``, the default, each line is a record, and lines that are none are skipped. In ``multijson``
    records may span lines or stand in an array, and one malformed record spoils the event.

    Returns:
        The records, and the number of lines that were skipped; empty lines count for nothing.

    Raises:
        RefusedError: the format is unknown, or the body is no ``multijson``.
    """
    name = routing(properties, "Format").lower() or "json"
    if name not in _FORMATS:
        raise RefusedError(f"Format is {name!r}; the local hub reads json and multijson.")
    body = body.removeprefix(_BOM)
    return _lines(body) if name == "json" else (_documents(body), 0)


def _gunzip(body: bytes, max_bytes: int) -> bytes:
    chunks: list[bytes] = []
    left = max_bytes
    while body:
        if len(chunks) == _MAX_GZIP_MEMBERS:
            raise RefusedError(f"The body has more than {_MAX_GZIP_MEMBERS} gzip members; send one.")
        stream = zlib.decompressobj(_GZIP_WBITS)
        try:
            chunks.append(stream.decompress(body, left + 1))
        except zlib.error:
            raise RefusedError("Compression is gzip, but the body is not; drop the property.") from None
        left -= len(chunks[-1])
        if left < 0:
            raise RefusedError(f"The body grows beyond {max_bytes} bytes; send smaller events.")
        if not stream.eof:
            raise RefusedError("The gzip body is cut off.")
        body = stream.unused_data.lstrip(b"\0")
    return b"".join(chunks)


def _lines(body: bytes) -> tuple[list[Record], int]:
    found: list[Record] = []
    skipped = 0
    for line in body.split(b"\n"):
        if not line or line.isspace():
            continue
        try:
            record = orjson.loads(line)
        except orjson.JSONDecodeError:
            record = None
        if type(record) is dict:
            found.append(record)
        else:
            skipped += 1
    return found, skipped


def _refuse_constant(_: str) -> NoReturn:
    raise ValueError("JSON has no such constant")


def _documents(body: bytes) -> list[Record]:
    # Numbers as the parser of lines gives them: what is beyond 64 bits is a float.
    decoder = json.JSONDecoder(parse_constant=_refuse_constant, parse_int=orjson.loads)
    found: list[object] = []
    try:
        text = body.decode()
        position = _skip(text, 0)
        while position < len(text):
            document, position = decoder.raw_decode(text, position)
            orjson.dumps(document)  # lone surrogates are refused as they are in lines
            found += document if isinstance(document, list) else [document]
            position = _skip(text, position)
    except (ValueError, TypeError, RecursionError):
        found.append(None)
    if not all(isinstance(record, dict) for record in found):
        raise RefusedError("The body is not multijson, and one malformed record spoils the event.")
    return cast("list[Record]", found)


def _skip(text: str, position: int) -> int:
    """Return where the next document begins."""
    while position < len(text) and text[position] in _WHITESPACE:
        position += 1
    return position
