"""What the processes of an application show, on a quiet day and in an outage."""

import math
import time

from hublog.delivery.accounting import Circuit, State
from hublog.operations.overview import Overview
from hublog.operations.snapshot import COUNTERS, GAUGES, PipelineSnapshot, ProcessSnapshot

NOW_S = time.time()
ERROR = "ServiceBusyError: The request was terminated because the namespace is being throttled."


def process(number, *, state=State.HEALTHY, dropped=0, host="shop-7c9d8bb5d-x2x7k"):
    """Return a process that has run for an hour."""
    is_open = state is State.OPEN
    minute = int(NOW_S // 60)
    accepted, rows, sent = 0, [], 0
    for ago in range(60, -1, -1):
        accepted += round(310 + 90 * math.sin((ago + number) / 9))
        sent = sent if is_open and ago < 9 else accepted - dropped
        rows.append((minute - ago, accepted, sent, dropped if ago < 5 else 0))
    waiting = accepted - sent - dropped
    part = PipelineSnapshot(
        destination="application-logs of shop.servicebus.windows.net",
        counters={**dict.fromkeys(COUNTERS, 0), "accepted_total": accepted, "sent_total": sent},
        gauges={
            **dict.fromkeys(GAUGES, 0),
            "queued": min(waiting, 1_900),
            "queue_records_max": 10_000,
            "spooled": max(waiting - 1_900, 0),
            "spool_bytes": max(waiting - 1_900, 0) * 900,
            "spool_bytes_max": 256 << 20,
        },
        dropped={"queue_full": dropped} if dropped else {},
        state=state,
        state_since_s=NOW_S - (540 if is_open else 3_600),
        circuit=Circuit.OPEN if is_open else Circuit.CLOSED,
        circuit_since_s=NOW_S - 540,
        oldest_s=NOW_S - 545 if is_open else None,
        last_success_s=NOW_S - (550 if is_open else 1),
        last_failure_s=NOW_S - 12 if is_open else None,
        last_error=ERROR if is_open else "",
    )
    return ProcessSnapshot(
        pid=100 + number, host=host, service="shop", pipelines=(part,), minutes=tuple(rows), written_s=NOW_S
    )


def outage():
    """Return four processes, one of which cannot send and has lost records."""
    return Overview(
        processes=(*map(process, range(3)), process(3, state=State.OPEN, dropped=214)), read_s=NOW_S
    )


def quiet():
    """Return three processes that all deliver."""
    return Overview(processes=tuple(map(process, range(3))), read_s=NOW_S)
