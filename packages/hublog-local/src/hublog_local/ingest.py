"""Events become rows of the table, as an Event Hubs data connection of ADX would make them."""

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final, Protocol, TypeAlias

import orjson

from hublog.adx import MAPPING_NAME, MappingElement, ingestion_mapping
from hublog.capture.columns import TABLE, Kind
from hublog_local.bodies import MAX_BODY_BYTES, Record, RefusedError, plain_body, records, routing
from hublog_local.conform import CONVERTERS, utc_text

#: What the local hub adds to each row, beside the columns of the mapping. The first is what
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


class Event(Protocol):
    """What is needed of an event that arrived."""

    @property
    def body(self) -> bytes:
        """The data as it came."""

    @property
    def properties(self) -> Mapping[str, object]:
        """The application properties."""

    @property
    def partition_id(self) -> str:
        """The partition, ``0`` and up."""

    @property
    def sequence_number(self) -> int:
        """Counts the events of a partition."""

    @property
    def enqueued_at(self) -> datetime:
        """When the hub took it, UTC."""


class Ingester:
    """Makes rows from events; for use by one thread.

    Args:
        mapping: the ingestion mapping; only paths of the form ``$.key`` occur in ours.
        table: the name of the table that events may ask for.
        mapping_name: the name of the mapping that events may ask for.
        now: tells the time in UTC.
        max_body_bytes: what a compressed body may grow to.
        on_refused: told why an event was refused.

    Attributes:
        events_total: events seen.
        rows_total: rows made.
        malformed_total: lines that are no JSON object or make too long a row; they are skipped as ADX
            skips them: without a word.
        nulls_total: values that did not fit their column and became null.
        refused_total: events refused as a whole, each told to ``on_refused``.
    """

    def __init__(
        self,
        mapping: Sequence[MappingElement] | None = None,
        *,
        table: str = TABLE,
        mapping_name: str = MAPPING_NAME,
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
        self._table, self._mapping_name = table, mapping_name
        self._now, self._max_body_bytes, self._on_refused = now, max_body_bytes, on_refused
        self.events_total = self.rows_total = self.malformed_total = 0
        self.nulls_total = self.refused_total = 0

    def lines(self, hub: str, event: Event) -> list[bytes]:
        """Return the rows of an event as JSON lines, with their line breaks; none if it is refused.

        A key that is not in the mapping is dropped; a value that does not fit its column is left out,
        which is null.
        """
        self.events_total += 1
        try:
            self._check_target(event.properties)
            body = plain_body(event.body, event.properties, max_bytes=self._max_body_bytes)
            found, skipped = records(body, event.properties)
        except RefusedError as error:
            self.refused_total += 1
            self._on_refused(f"An event of {hub!r} is refused. {error}")
            return []
        tail = self._own_fields(hub, event)
        is_short = len(body) < _SHORT
        made = [self._line(record, tail, is_short=is_short) for record in found]
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
        # Own fields come last: a line that is not yet written to its end is no valid JSON.
        line = orjson.dumps(self.row(record, is_short=is_short))
        return b"%b,%b" % (line[:-1], tail) if len(line) > len("{}") else b"{" + tail

    def _own_fields(self, hub: str, event: Event) -> bytes:
        values = (
            utc_text(self._now()),
            utc_text(event.enqueued_at),
            hub,
            event.partition_id,
            event.sequence_number,
        )
        return orjson.dumps(dict(zip(OWN_COLUMNS, values, strict=True)))[1:] + b"\n"

    def _check_target(self, properties: Mapping[str, object]) -> None:
        """Refuse what ADX would refuse: a table or mapping that does not exist. Any database is taken."""
        table = routing(properties, "Table")
        if table not in {"", self._table}:
            raise RefusedError(f"Table is {table!r}; the local hub has the table {self._table}.")
        mapping = routing(properties, "IngestionMappingReference")
        if mapping not in {"", self._mapping_name}:
            raise RefusedError(
                f"IngestionMappingReference is {mapping!r}; the local hub has {self._mapping_name}."
            )
