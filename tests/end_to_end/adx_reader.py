"""What a data connection of Azure Data Explorer does with the events of a hub, done again for the proof.

Nothing of the package is used: the official consumer client reads, the committed mapping file says which
key fills which column, and the few rules of conversion stand here a second time. Where the service would
leave a value out without a word, the reader notes a fault.
"""

import gzip
import json
import math
import re
import threading
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import duckdb
from azure.eventhub import EventHubConsumerClient

MAPPING_FILE = Path(__file__).parents[2] / "observability" / "adx" / "ingestion_mapping.json"
#: A longer string is cut by the service, a longer dynamic value is null.
MAX_VALUE_BYTES = 1 << 20
_DATETIME = re.compile(r"\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}\.\d{6}Z")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_DUCKDB_TYPES = {
    "datetime": "TIMESTAMP WITH TIME ZONE",
    "string": "VARCHAR",
    "int": "INTEGER",
    "long": "BIGINT",
    "real": "DOUBLE",
    "bool": "BOOLEAN",
    "dynamic": "JSON",
}


@dataclass(frozen=True)
class Event:
    """One event as the consumer got it."""

    body: bytes
    properties: dict[str, object]
    enqueued_at: datetime
    partition_key: bytes | None = None


@dataclass(frozen=True)
class Column:
    """One element of the mapping."""

    name: str
    datatype: str
    key: str


@dataclass
class Reading:
    """The rows of the events, typed, and what the service would have lost without a word."""

    rows: list[dict[str, object]] = field(default_factory=list)
    enqueued: list[datetime] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)


def read_mapping(path: Path = MAPPING_FILE) -> list[Column]:
    """Read the ingestion mapping; every path must be a key at the top of a record."""
    columns = []
    for element in json.loads(path.read_text(encoding="utf-8")):
        root, _, key = element["Properties"]["Path"].partition(".")
        assert set(element) == {"column", "datatype", "Properties"}
        assert set(element["Properties"]) == {"Path"}
        assert (root, key.isidentifier()) == ("$", True), element
        columns.append(Column(element["column"], element["datatype"], key))
    return columns


def read_events(connection: str, hub: str, number: int, *, timeout_s: float = 60.0) -> list[Event]:
    """Read so many events, of all partitions, with the official client; fewer at the time limit."""
    found: list[Event] = []
    errors: list[Exception] = []
    done = threading.Event()

    def take(_context, events):
        found.extend(map(_event, events))
        if len(found) >= number:
            done.set()

    def note(_context, error):
        errors.append(error)
        done.set()

    client = EventHubConsumerClient.from_connection_string(
        connection, "$Default", eventhub_name=hub, load_balancing_interval=0.5
    )
    thread = threading.Thread(
        target=client.receive_batch,
        kwargs={"on_event_batch": take, "on_error": note, "starting_position": "-1"},
        daemon=True,
    )
    thread.start()
    done.wait(timeout_s)
    client.close()
    thread.join(timeout_s)
    assert (errors, thread.is_alive()) == ([], False)
    return found


def ingest(events: Iterable[Event], mapping: Sequence[Column]) -> Reading:
    """Unpack the events and convert every record by the mapping: format ``json``, one object a line."""
    reading = Reading()
    for event in events:
        for line in _unpack(event).split(b"\n"):
            if line:
                _take_line(line, event, mapping, reading)
    return reading


def load(reading: Reading, mapping: Sequence[Column]) -> list[dict[str, object]]:
    """Put the rows into a typed table and read them back; ``datetime`` as microseconds since 1970."""
    with duckdb.connect() as database:
        columns = [f'"{column.name}" {_DUCKDB_TYPES[column.datatype]}' for column in mapping]
        database.execute(f"CREATE TABLE logs (_row INTEGER, {', '.join(columns)})")
        places = ", ".join("?" * (len(mapping) + 1))
        for number, row in enumerate(reading.rows):
            values = [_stored(row[column.name], column.datatype) for column in mapping]
            database.execute(f"INSERT INTO logs VALUES ({places})", [number, *values])  # noqa: S608  # no input
        wanted = ", ".join(
            f'epoch_us("{column.name}")' if column.datatype == "datetime" else f'"{column.name}"'
            for column in mapping
        )
        found = database.execute(f"SELECT {wanted} FROM logs ORDER BY _row").fetchall()  # noqa: S608  # the same
    return [
        {column.name: _loaded(value, column.datatype) for column, value in zip(mapping, row, strict=True)}
        for row in found
    ]


def convert(value: object, datatype: str) -> object:
    """Return what a column of this type holds for a JSON value; None is null."""
    if value is None:
        return "" if datatype == "string" else None
    return _CONVERSIONS[datatype](value)


def _event(data) -> Event:
    properties = {_text(name): _text(value) for name, value in (data.properties or {}).items()}
    return Event(b"".join(data.body), properties, data.enqueued_time, data.partition_key)


def _text(value: object) -> object:
    return value.decode() if isinstance(value, bytes) else value


def _unpack(event: Event) -> bytes:
    compression = event.properties.get("Compression")
    assert compression in (None, "gzip"), compression
    return gzip.decompress(event.body) if compression else event.body


def _take_line(line: bytes, event: Event, mapping: Sequence[Column], reading: Reading) -> None:
    try:
        record = json.loads(
            line.decode("utf-8"), parse_constant=_refuse_constant, object_pairs_hook=_refuse_twice
        )
        json.dumps(record, ensure_ascii=False).encode("utf-8")
    except ValueError as error:
        reading.faults.append(f"a line was skipped: {error}: {line[:200]!r}")
        return
    if type(record) is not dict:
        reading.faults.append(f"a line was skipped, it is no object: {line[:200]!r}")
        return
    for key in record.keys() - {column.key for column in mapping}:
        reading.faults.append(f"{key} has no column")
    row = {column.name: convert(record.get(column.key), column.datatype) for column in mapping}
    for column in mapping:
        given = record.get(column.key)
        if given is not None and _is_lost(given, row[column.name]):
            reading.faults.append(f"{column.name} cannot hold {given!r:.200}")
    reading.rows.append(row)
    reading.enqueued.append(event.enqueued_at)


def _is_lost(given: object, held: object) -> bool:
    return held is None or (isinstance(held, str) and isinstance(given, str) and held != given)


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is no JSON")


def _refuse_twice(pairs: list[tuple[str, object]]) -> dict[str, object]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError(f"a key stands twice among {[key for key, _ in pairs]}")
    return found


def _compact(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def _integer(bits: int) -> Callable[[object], object]:
    limit = 1 << (bits - 1)
    return lambda value: value if type(value) is int and -limit <= value < limit else None


def _real(value: object) -> object:
    if type(value) not in (int, float):
        return None
    try:
        number = float(value)
    except OverflowError:
        return None
    return number if math.isfinite(number) else None


def _datetime(value: object) -> object:
    if type(value) is not str or not _DATETIME.fullmatch(value):
        return None
    try:
        return datetime.fromisoformat(value)
    except ValueError:
        return None


def _string(value: object) -> str:
    text = value if isinstance(value, str) else _compact(value)
    return text.encode("utf-8")[:MAX_VALUE_BYTES].decode("utf-8", "ignore")


def _dynamic(value: object) -> object:
    return value if len(_compact(value).encode("utf-8")) <= MAX_VALUE_BYTES else None


_CONVERSIONS: dict[str, Callable[[object], object]] = {
    "datetime": _datetime,
    "string": _string,
    "int": _integer(32),
    "long": _integer(64),
    "real": _real,
    "bool": lambda value: value if type(value) is bool else None,
    "dynamic": _dynamic,
}


def _stored(value: object, datatype: str) -> object:
    return _compact(value) if datatype == "dynamic" and value is not None else value


def _loaded(value: object, datatype: str) -> object:
    return json.loads(value) if datatype == "dynamic" and value is not None else value


def microseconds(moment: datetime) -> int:
    """Return the whole microseconds since 1970."""
    return (moment - _EPOCH) // timedelta(microseconds=1)
