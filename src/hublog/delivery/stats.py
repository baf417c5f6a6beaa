"""The books: what came in, what left, what was dropped and why, what is still held."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum


class Drop(StrEnum):
    """Why a record was lost here."""

    QUEUE_FULL = "queue_full"
    TOO_LARGE = "too_large"
    NOT_CONFIGURED = "not_configured"
    EXIT = "exit"
    ERROR = "error"


class Circuit(StrEnum):
    """What the breaker lets through: all, nothing, or one probe."""

    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half_open"


@dataclass(frozen=True, slots=True, kw_only=True)
class Stats:
    """One look at the books of one pipeline in this process.

    ``accepted_total == sent_total + dropped_total + held`` in every snapshot: the two sides are
    counted apart, at the queue and at the sender.

    Attributes:
        accepted_total: records that a log call handed over.
        sent_total: records that the hub has settled as accepted.
        dropped: records lost, by reason.
        queued: records in the memory queue.
        in_flight: records taken from the queue and not yet settled.
        circuit: what the breaker lets through now.
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
    circuit: Circuit = Circuit.CLOSED
    batches_total: int = 0
    events_total: int = 0
    sent_bytes_total: int = 0
    failures_total: int = 0
    misfits_total: int = 0

    @property
    def dropped_total(self) -> int:
        """Records lost, for whatever reason."""
        return sum(self.dropped.values())

    @property
    def held(self) -> int:
        """Records that are still here and may yet arrive."""
        return self.queued + self.in_flight
