"""Records by what they say, not by an id of hublog's: so two ways of keeping them can be compared."""

import gzip
import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, NamedTuple, Self

INFO: Final = 20
#: Made by the shipping itself; they are in the log file and never go to the hub.
_NEVER_SHIPPED: Final = ("hublog.internal", "azure", "msal", "uamqp")


class Record(NamedTuple):
    """What tells one record from another."""

    application: str
    level: str
    timestamp: datetime
    process_id: int
    thread_id: int
    logger_name: str
    source_line: int
    message: str

    @classmethod
    def of(cls, row: Mapping[str, object]) -> Self:
        """Return the record of a line of the log file, or of a row of the table."""
        return cls(
            application=str(row.get("service_name") or ""),
            level=str(row["level"]),
            timestamp=moment(row["timestamp"]),
            process_id=_number(row.get("process_id")),
            thread_id=_number(row.get("thread_id")),
            logger_name=str(row.get("logger_name") or ""),
            source_line=_number(row.get("source_line")),
            message=str(row.get("message") or ""),
        )


def moment(value: object) -> datetime:
    """Return a time of the log file or the table as an aware one; one without a zone is UTC."""
    found = value if isinstance(value, datetime) else datetime.fromisoformat(str(value))
    return found.replace(tzinfo=UTC) if found.tzinfo is None else found.astimezone(UTC)


def read_log_files(folder: Path) -> Counter[Record]:
    """Return the records of all log files below a folder that should reach the hub, archives included.

    The files are the independent count: no record comes to them through queue, batch, network or hub.
    """
    return Counter(Record.of(row) for row in _rows(folder) if _is_shipped(row))


def read_complaints(folder: Path) -> list[str]:
    """Return what hublog told about itself, from WARNING on."""
    own = (row for row in _rows(folder) if row.get("logger_name") == "hublog.internal")
    return [f"{row['level']} {row['message']}" for row in own if _number(row.get("level_number")) > INFO]


def _rows(folder: Path) -> Iterator[Mapping[str, object]]:
    for path in sorted(folder.rglob("*.log*")):
        yield from _parse(_lines(path))


def _lines(path: Path) -> Iterable[bytes]:
    with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
        yield from file


def _parse(lines: Iterable[bytes]) -> Iterator[Mapping[str, object]]:
    for line in lines:
        if line.endswith(b"\n"):  # else it is being written
            yield json.loads(line)


def _is_shipped(row: Mapping[str, object]) -> bool:
    name = str(row.get("logger_name"))
    if any(name == own or name.startswith(f"{own}.") for own in _NEVER_SHIPPED):
        return False
    return _number(row.get("level_number")) >= INFO


def _number(value: object) -> int:
    return int(value) if isinstance(value, int | float | str) else 0
