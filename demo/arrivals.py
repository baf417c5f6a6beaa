"""What has arrived, as a KQL query tells it."""

import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final, TypeAlias

from demo.records import Record, moment

Row: TypeAlias = Mapping[str, object]
#: Answers KQL with rows.
Query: TypeAlias = Callable[[str], Sequence[Row]]

#: When the hub had a record; a column of the local table, ``ingestion_time()`` in Azure.
ARRIVED_AT: Final = "_ingestion_time"
ALL_RECORDS: Final = (
    "PipelineLogs | project record_id, service_name, level, timestamp, process_id, thread_id, logger_name,"
    f" source_line, message, {ARRIVED_AT}"
)
_POLL_S: Final = 0.25


def trail_query(trace_id: str) -> str:
    """Return the query for all that was logged about one request."""
    return (
        f'PipelineLogs | where trace_id == "{trace_id}" | order by timestamp asc'
        " | project timestamp, level, logger_name, message, exception_stacktrace"
    )


@dataclass(frozen=True, slots=True)
class Arrivals:
    """What the hub has.

    Attributes:
        records: each once, however often it came.
        latencies_ms: of each record, from the log call to the hub; of several times the first.
        repeated: how many came again.
    """

    records: Counter[Record]
    latencies_ms: Sequence[float]
    repeated: int


def count_arrivals(rows: Iterable[Row]) -> Arrivals:
    """Count the rows of ``ALL_RECORDS``."""
    first: dict[object, tuple[Record, datetime]] = {}
    repeated = 0
    for row in rows:
        record, arrived_at = Record.of(row), moment(row[ARRIVED_AT])
        known = first.get(row["record_id"])
        if known is not None:
            repeated += 1
            arrived_at = min(arrived_at, known[1])
        first[row["record_id"]] = (record, arrived_at)
    return Arrivals(
        records=Counter(record for record, _ in first.values()),
        latencies_ms=[(at - record.timestamp).total_seconds() * 1000 for record, at in first.values()],
        repeated=repeated,
    )


def wait_for_arrivals(
    read_accepted: Callable[[], Counter[Record]], query: Query, *, limit_s: float
) -> tuple[Counter[Record], Arrivals]:
    """Wait until all that was logged has arrived, or the limit has passed.

    Returns:
        What was logged and what has arrived, as last seen.
    """
    end = time.monotonic() + limit_s
    while True:
        accepted = read_accepted()  # before the arrivals, so that nothing is missed that came in between
        arrivals = count_arrivals(query(ALL_RECORDS))
        if accepted <= arrivals.records or time.monotonic() > end:
            return accepted, arrivals
        time.sleep(_POLL_S)
