"""Events become rows of the table, by the rules that an Event Hubs data connection of ADX has.

A body is decompressed and split into records, a record becomes a row, and one thread between the hub and the
disk does so: the hub hands an event over and continues at once.
"""

import json
import threading
import zlib
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final, NoReturn, Self, TypeAlias, cast

from hublog.adx import MAPPING_NAME, MappingElement, ingestion_mapping
from hublog.capture.columns import TABLE, Kind
from hublog_local.adx_values import CONVERTERS, from_json, to_json, utc_text
from hublog_local.store import Store

if TYPE_CHECKING:
    from hublog_local.hub.stored_events import StoredEvent

Record: TypeAlias = dict[str, Any]  # JSON: its values are what the producer wrote

#: What a compressed body may grow to.
MAX_BODY_BYTES: Final = 64 << 20

_GZIP_MAGIC: Final = b"\x1f\x8b"
_GZIP_WBITS: Final = 31
_MAX_GZIP_MEMBERS: Final = 64
_BOM: Final = b"\xef\xbb\xbf"
_WHITESPACE: Final = " \t\r\n"
#: Longer than any valid name; messages quote no more of an invalid one.
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

    In ``json``, the default, each line is a record, and other lines are skipped. In ``multijson``
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
    parsed: list[Record] = []
    skipped = 0
    for line in body.split(b"\n"):
        if not line or line.isspace():
            continue
        try:
            record = from_json(line)
        except ValueError:
            record = None
        if type(record) is dict:
            parsed.append(record)
        else:
            skipped += 1
    return parsed, skipped


def _refuse_constant(_: str) -> NoReturn:
    raise ValueError("JSON has no such constant")


def _documents(body: bytes) -> list[Record]:
    # Numbers as the parser of lines gives them: what is beyond 64 bits is a float.
    decoder = json.JSONDecoder(parse_constant=_refuse_constant, parse_int=from_json)
    documents: list[object] = []
    try:
        text = body.decode()
        position = _skip(text, 0)
        while position < len(text):
            document, position = decoder.raw_decode(text, position)
            to_json(document)  # lone surrogates are refused as they are in lines
            documents += document if isinstance(document, list) else [document]
            position = _skip(text, position)
    except (ValueError, TypeError, RecursionError):
        documents.append(None)
    if not all(isinstance(record, dict) for record in documents):
        raise RefusedError("The body is not multijson, and one malformed record spoils the event.")
    return cast("list[Record]", documents)


def _skip(text: str, position: int) -> int:
    """Return where the next document begins."""
    while position < len(text) and text[position] in _WHITESPACE:
        position += 1
    return position


#: What the local hub adds to each row, in addition to the columns of the mapping. The first is what
#: ``ingestion_time()`` gives in a query; all are names that no mapping has.
OWN_COLUMNS: Final[Mapping[str, Kind]] = {
    "_ingestion_time": Kind.DATETIME,
    "_enqueued_time": Kind.DATETIME,
    "_hub": Kind.STRING,
    "_partition_id": Kind.STRING,
    "_sequence_number": Kind.LONG,
}

#: A longer row is left out; each of its values has been cut before.
MAX_ROW_BYTES: Final = 8 << 20

#: Types that are right as they come; the others are looked at value by value.
_EXACT: Final = {Kind.STRING: str, Kind.BOOL: bool, Kind.REAL: float}
#: No value of a shorter body can be over the limit of a text or dynamic value.
_SHORT: Final = 1 << 18
_PATH: Final = "$."

_Convert: TypeAlias = Callable[[object], object | None]


class Ingester:
    """Makes rows from events; for use by one thread.

    Args:
        mapping: the ingestion mapping; only paths of the form ``$.key`` occur in ours.
        now: returns the time in UTC.
        max_body_bytes: what a compressed body may grow to.
        on_refused: called with the reason why an event was refused.

    Attributes:
        events_total: events seen.
        rows_total: rows made.
        malformed_total: lines that are not a JSON object or make too long a row; they are skipped as ADX
            skips them: without a word.
        nulls_total: values that did not fit their column and became null.
        refused_total: events refused as a whole, each reported to ``on_refused``.
    """

    def __init__(
        self,
        mapping: Sequence[MappingElement] | None = None,
        *,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
        max_body_bytes: int = MAX_BODY_BYTES,
        on_refused: Callable[[str], None] = lambda _: None,
    ) -> None:
        elements = ingestion_mapping() if mapping is None else mapping
        self._exact: dict[str, type] = {}
        self._columns: dict[str, tuple[str, _Convert]] = {}
        for element in elements:
            key, kind = element["Properties"]["Path"].removeprefix(_PATH), Kind(element["datatype"])
            self._columns[key] = (element["column"], CONVERTERS[kind])
            if kind in _EXACT and key == element["column"]:
                self._exact[key] = _EXACT[kind]
        self._now, self._max_body_bytes, self._on_refused = now, max_body_bytes, on_refused
        self.events_total = self.rows_total = self.malformed_total = 0
        self.nulls_total = self.refused_total = 0

    def lines(self, hub: str, event: "StoredEvent") -> list[bytes]:
        """Return the rows of an event as JSON lines, with their line breaks; none if it is refused.

        A key that is not in the mapping is dropped; a value that does not fit its column is left out,
        which is null.
        """
        self.events_total += 1
        try:
            _check_target(event.properties)
            body = plain_body(event.body, event.properties, max_bytes=self._max_body_bytes)
            parsed, skipped = records(body, event.properties)
        except RefusedError as error:
            self.refused_total += 1
            self._on_refused(f"An event of {hub!r} is refused. {error}")
            return []
        tail = self._own_fields(hub, event)
        is_short = len(body) < _SHORT
        made = [self._line(record, tail, is_short=is_short) for record in parsed]
        lines = made if is_short else [line for line in made if len(line) <= MAX_ROW_BYTES]
        self.malformed_total += skipped + len(made) - len(lines)
        self.rows_total += len(lines)
        return lines

    def row(self, record: Mapping[str, object], *, is_short: bool = False) -> dict[str, Any]:
        """Return the columns that a record fills.

        Args:
            record: one JSON object.
            is_short: no value in it can be over the limit of a text or dynamic value.
        """
        exact = self._exact if is_short else {}
        row: dict[str, Any] = {}
        for key, value in record.items():
            if value is None:
                continue
            if exact.get(key) is type(value):
                row[key] = value
                continue
            column = self._columns.get(key)
            if column is None:
                continue
            fitting = column[1](value)
            if fitting is None:
                self.nulls_total += 1
            else:
                row[column[0]] = fitting
        return row

    def _line(self, record: Record, tail: bytes, *, is_short: bool) -> bytes:
        # Own fields come last: a line that is not yet written to its end is not valid JSON.
        line = to_json(self.row(record, is_short=is_short))
        return b"%b,%b" % (line[:-1], tail) if len(line) > len("{}") else b"{" + tail

    def _own_fields(self, hub: str, event: "StoredEvent") -> bytes:
        values = (
            utc_text(self._now()),
            utc_text(event.enqueued_at),
            hub,
            event.partition_id,
            event.sequence_number,
        )
        return to_json(dict(zip(OWN_COLUMNS, values, strict=True)))[1:] + b"\n"


def _check_target(properties: Mapping[str, object]) -> None:
    """Refuse what ADX would refuse: a table or mapping that does not exist. Any database is taken."""
    table = routing(properties, "Table")
    if table not in {"", TABLE}:
        raise RefusedError(f"Table is {table!r}; the local hub has the table {TABLE}.")
    mapping = routing(properties, "IngestionMappingReference")
    if mapping not in {"", MAPPING_NAME}:
        raise RefusedError(f"IngestionMappingReference is {mapping!r}; the local hub has {MAPPING_NAME}.")


#: Events that may wait; then the hub waits too, and with it the producers.
_MAX_WAITING_BYTES: Final = 128 << 20
#: Rows are written at this number of bytes, or when nothing more waits.
_WRITE_BYTES: Final = 1 << 20


class Intake:
    """Takes events from any thread, and lets one thread of its own make rows of them and store them.

    Rows are on disk within milliseconds: the thread writes whenever nothing more waits.

    Args:
        store: where rows go; closed by its creator, after this.
        ingester: makes the rows.
        max_waiting_bytes: of bodies; above it ``put`` waits.
        on_trouble: called when rows could not be stored.

    Attributes:
        lost_total: rows that could not be stored.
    """

    def __init__(
        self,
        store: Store,
        ingester: Ingester,
        *,
        max_waiting_bytes: int = _MAX_WAITING_BYTES,
        on_trouble: Callable[[str], None] = lambda _: None,
    ) -> None:
        self._store, self._ingester, self._on_trouble = store, ingester, on_trouble
        self._max_waiting_bytes = max_waiting_bytes
        self._waiting: deque[tuple[str, StoredEvent]] = deque()
        self._waiting_bytes = 0
        self._changed = threading.Condition()
        self._is_closing = False
        self._thread = threading.Thread(target=self._run, name="hublog-intake", daemon=True)
        self.lost_total = 0

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def put(self, hub: str, event: "StoredEvent") -> None:
        """Hand over an event; returns at once unless more than ``max_waiting_bytes`` wait."""
        with self._changed:
            self._changed.wait_for(lambda: self._waiting_bytes <= self._max_waiting_bytes or self._is_closing)
            self._waiting.append((hub, event))
            self._waiting_bytes += len(event.body)
            if len(self._waiting) == 1:
                self._changed.notify_all()

    def step(self) -> int:
        """Store what waits now, without waiting for more; returns the number of events."""
        events = 0
        lines: list[bytes] = []
        size = 0
        while self._waiting and size < _WRITE_BYTES:
            with self._changed:
                hub, event = self._waiting.popleft()
                self._waiting_bytes -= len(event.body)
                self._changed.notify_all()
            made = self._make(hub, event)
            lines += made
            size += sum(map(len, made))
            events += 1
        try:
            self._store.append(b"".join(lines))
        except OSError as error:
            self.lost_total += len(lines)
            self._on_trouble(
                f"{len(lines)} rows could not be stored ({error.strerror}); make room on the disk."
            )
        return events

    def _make(self, hub: str, event: "StoredEvent") -> list[bytes]:
        try:
            return self._ingester.lines(hub, event)
        except Exception as error:  # noqa: BLE001  # one invalid event must not end the thread
            self._on_trouble(f"An event of {hub!r} cannot be read ({type(error).__name__}); it is left out.")
            return []

    def close(self) -> None:
        """Store all that waits and end the thread; may be called again."""
        with self._changed:
            self._is_closing = True
            self._changed.notify_all()
        if self._thread.is_alive():
            self._thread.join()
        while self.step():
            pass

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._waiting or self._is_closing)
            if not self.step() and self._is_closing:
                return
