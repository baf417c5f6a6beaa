"""The books: what came in, what left, what was dropped and why, what is still held."""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from enum import StrEnum
from typing import Final, Self


class Drop(StrEnum):
    """Why a record was lost here, or was not sent because that was asked for.

    Attributes:
        QUEUE_FULL: memory was full, and nothing less severe was in it.
        SPOOL_FULL: the disk's bound was reached, and it was the oldest.
        DAMAGED: it could not be read back.
        TOO_LARGE: the hub does not take it for its size.
        REJECTED: the hub refuses it for itself.
        NOT_CONFIGURED: there is no connection to a hub.
        EXIT: the process ended, and it was in memory alone.
        NESTED: it was logged too deep inside other log calls.
        RATE_LIMITED: it was over the limit of its logger.
        HELD_BACK: its request went well; no loss, since it was asked for.
        COLLAPSED: a summary says how many were equal; no loss either.
        EXHAUSTED: the process had no memory, disk, descriptors, threads or stack left.
        ERROR: an error of ours.
    """

    QUEUE_FULL = "queue_full"
    SPOOL_FULL = "spool_full"
    DAMAGED = "damaged"
    TOO_LARGE = "too_large"
    REJECTED = "rejected"
    NOT_CONFIGURED = "not_configured"
    EXIT = "exit"
    NESTED = "nested"
    RATE_LIMITED = "rate_limited"
    HELD_BACK = "held_back"
    COLLAPSED = "collapsed"
    EXHAUSTED = "exhausted"
    ERROR = "error"


#: No losses, and told in no report of losses.
ASKED_FOR: Final = frozenset({Drop.HELD_BACK, Drop.COLLAPSED})


class State(StrEnum):
    """How delivery goes.

    Attributes:
        HEALTHY: what is logged is sent.
        DEGRADED: the last send failed; it is tried again within seconds.
        OPEN: the hub is left in peace until a probe is due.
        PROBING: one send finds out whether it is back.
        DRAINING: it is back; what waited is sent beside what is new.
        DISK_ONLY: sends hang and cannot be ended, so no other is begun until one returns.
    """

    HEALTHY = "healthy"
    DEGRADED = "degraded"
    OPEN = "open"
    PROBING = "probing"
    DRAINING = "draining"
    DISK_ONLY = "disk_only"


class Circuit(StrEnum):
    """What the breaker lets through: all, nothing, or one probe."""

    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half_open"


@dataclass(frozen=True, slots=True, kw_only=True)
class Stats:
    """One look at the books of one pipeline in this process.

    ``accepted_total + adopted_total == sent_total + dropped_total + held`` in every snapshot: the two
    sides are counted apart, where records come in and where they leave.

    Attributes:
        accepted_total: records that a log call handed over.
        sent_total: records that the hub has settled as accepted.
        dropped: records lost or left out, by reason.
        queued: records in the memory queue.
        in_flight: records taken from the queue and not yet settled.
        compressed: records that wait in memory in compressed blocks.
        spooled: records on disk that are not settled, those taken over from dead processes included.
        kept_aside: records of open requests; whether they are sent is decided at the request's end.
        adopted_total: records that dead processes left on disk and this one took over.
        replayed_total: records that were sent after they had waited on disk or in compressed blocks.
        state: how delivery goes.
        circuit: what the breaker lets through now.
        abandoned: threads of sends that were given up and have not returned.
        batches_total: sends that the hub accepted.
        events_total: events in them.
        sent_bytes_total: bytes of their bodies.
        failures_total: sends that failed.
        misfits_total: values that did not fit the type of their column and went to ``extra`` as text.
    """

    accepted_total: int = 0
    sent_total: int = 0
    dropped: Mapping[Drop, int] = field(default_factory=dict)
    queued: int = 0
    in_flight: int = 0
    compressed: int = 0
    spooled: int = 0
    kept_aside: int = 0
    adopted_total: int = 0
    replayed_total: int = 0
    state: State = State.HEALTHY
    abandoned: int = 0
    circuit: Circuit = Circuit.CLOSED
    batches_total: int = 0
    events_total: int = 0
    sent_bytes_total: int = 0
    failures_total: int = 0
    misfits_total: int = 0

    def with_refused(self, refused: Mapping[Drop, int]) -> Self:
        """Return these books with records that never came to the stores, accepted and dropped at once."""
        dropped = {drop: self.dropped.get(drop, 0) + refused.get(drop, 0) for drop in Drop}
        return replace(
            self,
            accepted_total=self.accepted_total + sum(refused.values()),
            dropped={drop: number for drop, number in dropped.items() if number},
        )

    def after(self, former: Self) -> Self:
        """Return these books with those of a former process state of the same pipeline; the state is ours."""
        sums = {
            each.name: getattr(self, each.name) + getattr(former, each.name)
            for each in fields(self)
            if isinstance(getattr(self, each.name), int)
        }
        found = replace(self, **sums)
        dropped = {drop: self.dropped.get(drop, 0) + former.dropped.get(drop, 0) for drop in Drop}
        return replace(found, dropped={drop: number for drop, number in dropped.items() if number})

    @property
    def dropped_total(self) -> int:
        """Records lost or left out, for whatever reason."""
        return sum(self.dropped.values())

    @property
    def lost_total(self) -> int:
        """Records lost: all that were dropped, but for those left out because that was asked for."""
        return sum(number for reason, number in self.dropped.items() if reason not in ASKED_FOR)

    @property
    def held(self) -> int:
        """Records that are still here and may yet arrive."""
        return self.queued + self.in_flight + self.compressed + self.spooled + self.kept_aside
