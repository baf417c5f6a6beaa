"""Heartbeat rows: the state of delivery as a record among the others, so that the table itself shows it.

They go to the event hub alone, and past levels, filters and sampling of the application, which are for what
it logs. Each is accepted, sent or dropped like any record, so that all sums balance.
"""

import logging
import math
import time
from collections.abc import Callable
from typing import Final

from hublog.delivery.accounting import INTENTIONAL
from hublog.operations.snapshot import PipelineSnapshot
from hublog.runtime.shared import runtime

#: Logger that these rows name; none of this name is used.
LOGGER_NAME: Final = "hublog.heartbeat"
#: ``record_type`` of the rows, by which queries find them.
RECORD_TYPE: Final = "heartbeat"
#: ``event_name`` of each row but the last one of a process.
BEAT: Final = "handler.heartbeat"
#: ``event_name`` of the last one: what is silent from now on has ended.
END: Final = "handler.ended"
#: Characters of a text in ``metrics``.
TEXT_MAX: Final = 200
_SHOWN: Final = ("queued", "in_flight", "spooled", "buffered", "queue_bytes", "spool_bytes")


class Heartbeat:
    """Says when the next row of one pipeline in one process is due, and makes it.

    It lives on when other settings come, so that these hasten and delay nothing.

    Args:
        now: monotonic seconds.
        wall: seconds since 1970.

    Attributes:
        has_begun: whether a row was made.
    """

    def __init__(self, *, now: Callable[[], float], wall: Callable[[], float] = time.time) -> None:
        self._now = now
        self._wall = wall
        self._begun_mono = self._last_mono = now()
        self._has_ended = False
        self.has_begun = False

    def wait_s(self, interval_s: float) -> float:
        """Return the seconds until a row is due: the first one after an interval, so that scripts make none.

        Args:
            interval_s: from one row to the next; 0 for none.
        """
        if not interval_s or self._has_ended:
            return math.inf
        return max(self._last_mono + interval_s - self._now(), 0.0)

    def record(self, process: object, *, is_last: bool = False) -> logging.LogRecord | None:
        """Return the row as a record; None where there is no hub for it, or other settings have come.

        Args:
            process: the state that takes the records of its pipeline.
            is_last: whether the process ends, so that no row follows.
        """
        if runtime.is_hub_replaced:
            return None
        for pipeline in list(runtime.pipelines.values()):
            states = pipeline.processes()
            if not (states and states[-1] is process and pipeline.is_enabled and pipeline.is_configured):
                continue
            part = pipeline.part()
            if part is None:
                return None
            self._last_mono, self._has_ended, self.has_begun = self._now(), is_last, True
            metrics = {
                "interval_s": pipeline.read().eventhub.heartbeat_seconds,
                "counted_s": round(self._last_mono - self._begun_mono, 3),
                **metrics_of(part, self._wall()),
            }
            return _record(part, metrics, event_name=END if is_last else BEAT)
        return None


def _record(part: PipelineSnapshot, metrics: dict[str, object], *, event_name: str) -> logging.LogRecord:
    args = part.state, part.held, metrics["lost_total"]
    text = "Delivery is %s, %d records wait, %d are lost"
    record = logging.LogRecord(LOGGER_NAME, logging.INFO, "", 0, text, args, None)
    record.__dict__.update(record_type=RECORD_TYPE, event_name=event_name, metrics=metrics)
    return record


def metrics_of(part: PipelineSnapshot, now_s: float) -> dict[str, object]:
    """Return a snapshot as numbers and short texts without depth, as queries want them: less than 8 KiB.

    What ends in ``_total`` only grows while the process lives; times are ages in seconds. What is not known
    is not there.

    Args:
        part: what is shown.
        now_s: seconds since 1970.
    """
    lost = (number for reason, number in part.dropped.items() if reason not in INTENTIONAL)
    ages = {
        "state_age_s": part.state_since_s,
        "circuit_age_s": part.circuit_since_s,
        "oldest_age_s": part.oldest_s,
        "last_success_age_s": part.last_success_s,
        "last_failure_age_s": part.last_failure_s,
    }
    found: dict[str, object] = {
        "destination": part.destination[:TEXT_MAX],
        "state": str(part.state),
        "circuit": str(part.circuit),
        "queue_share": round(part.queue_share, 4),
        "spool_share": round(part.spool_share, 4),
        **{name: part.gauges[name] for name in _SHOWN},
        **part.counters,
        "dropped_total": part.dropped_total,
        "lost_total": sum(lost),
        **{f"dropped_{reason}": number for reason, number in part.dropped.items()},
        "latency_count": part.latency.count,
        "latency_total_s": round(part.latency.total_s, 3),
        "send_count": part.send_duration.count,
        "send_total_s": round(part.send_duration.total_s, 3),
        # A clock that was set back makes no age negative.
        **{name: round(max(now_s - moment, 0.0), 3) for name, moment in ages.items() if moment},
    }
    if part.last_error:
        found["last_error"] = part.last_error[:TEXT_MAX]
    return found
