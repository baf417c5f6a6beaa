"""What Event Hubs charges: throughput units by the hour, events by the million.

Source: limits and billing rules as on Microsoft's pages "Event Hubs FAQ" and "Event Hubs quotas and
limits"; prices as quoted for the US in September 2026. Prices change and differ by region: give yours.
"""

import math
from dataclasses import dataclass
from typing import Final

HOURS_A_MONTH: Final = 730
SECONDS_A_MONTH: Final = HOURS_A_MONTH * 3_600
#: What one throughput unit takes in, and gives to its readers, a second: whichever is reached first.
UNIT_EVENTS, UNIT_BYTES = 1_000, 1_000_000
UNIT_READ_EVENTS, UNIT_READ_BYTES = 4_096, 2_000_000
#: The most that a namespace of the tiers Basic and Standard can have.
UNITS_MAX: Final = 40
#: An event is billed once for each such piece that it begins.
BILLED_BYTES: Final = 64 * 1024


@dataclass(frozen=True, slots=True)
class Tier:
    """A tier of Event Hubs.

    Attributes:
        name: as Azure calls it.
        max_send_bytes: the largest send, and so the largest event.
        unit_hour: price of a throughput unit for an hour, US dollars.
    """

    name: str
    max_send_bytes: int
    unit_hour: float


TIERS: Final = {"basic": Tier("Basic", 256 * 1024, 0.015), "standard": Tier("Standard", 1024 * 1024, 0.03)}
#: Price of a million billed events, US dollars, in both tiers.
MILLION_EVENTS: Final = 0.028


@dataclass(frozen=True, slots=True)
class Load:
    """What arrives at the hub.

    Attributes:
        events_per_s: events.
        bytes_per_s: their size as sent, with what AMQP adds to each.
        billed_per_s: events as they are billed.
    """

    events_per_s: float
    bytes_per_s: float
    billed_per_s: float

    @property
    def read_units(self) -> int:
        """Throughput units that one reader of all events needs, 1 or more."""
        return _whole_units(max(self.events_per_s / UNIT_READ_EVENTS, self.bytes_per_s / UNIT_READ_BYTES))


@dataclass(frozen=True, slots=True)
class Bill:
    """A month at a steady load.

    Attributes:
        units: throughput units needed, 1 or more; no headroom.
        limit: which of the two limits asks for them: ``events`` or ``bytes``.
        billed_events: in the month.
        units_cost: US dollars.
        events_cost: US dollars.
    """

    units: int
    limit: str
    billed_events: float
    units_cost: float
    events_cost: float

    @property
    def total(self) -> float:
        """US dollars a month."""
        return self.units_cost + self.events_cost

    @property
    def is_over_the_tier(self) -> bool:
        """Whether one namespace cannot have so many units."""
        return self.units > UNITS_MAX


def billed(event_bytes: int) -> int:
    """Return as how many events one of this size is billed."""
    return max(-(-event_bytes // BILLED_BYTES), 1)


def bill(load: Load, *, unit_hour: float, million_events: float) -> Bill:
    """Return what a month at a steady load costs; the prices are US dollars."""
    by_events = load.events_per_s / UNIT_EVENTS
    by_bytes = load.bytes_per_s / UNIT_BYTES
    units = _whole_units(max(by_events, by_bytes))
    events = load.billed_per_s * SECONDS_A_MONTH
    return Bill(
        units=units,
        limit="events" if by_events >= by_bytes else "bytes",
        billed_events=events,
        units_cost=units * unit_hour * HOURS_A_MONTH,
        events_cost=events / 1e6 * million_events,
    )


def _whole_units(part: float) -> int:
    # Rounded first: 5,000 events a second are five units, however the figure came about.
    return max(math.ceil(round(part, 9)), 1)
