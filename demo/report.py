"""What was accepted, arrived and lost, and how long it took: the figures, and what they mean."""

import json
import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from demo.records import Record

MAX_P99_MS: Final = 2_000.0
#: Least to most severe; other levels come after these.
_LEVELS: Final = ("INFO", "WARNING", "ERROR", "CRITICAL")


@dataclass(frozen=True, slots=True, kw_only=True)
class Count:
    """The fate of some records."""

    accepted: int = 0
    arrived: int = 0

    @property
    def lost(self) -> int:
        """How many were accepted and did not arrive."""
        return self.accepted - self.arrived

    def __add__(self, other: "Count") -> "Count":
        return Count(accepted=self.accepted + other.accepted, arrived=self.arrived + other.arrived)


@dataclass(frozen=True, slots=True, kw_only=True)
class Latency:
    """Milliseconds from the log call to the hub."""

    p50: float
    p95: float
    p99: float

    @classmethod
    def of(cls, values_ms: Sequence[float]) -> "Latency":
        """Return the percentiles of some values."""
        return cls(
            p50=percentile(values_ms, 50), p95=percentile(values_ms, 95), p99=percentile(values_ms, 99)
        )

    def as_json(self) -> dict[str, float | None]:
        """Return the figures as plain data; null where there are none."""
        figures = {"p50": self.p50, "p95": self.p95, "p99": self.p99}
        return {name: None if math.isnan(value) else round(value, 1) for name, value in figures.items()}


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """The result of a demo.

    Attributes:
        counts: by application, then by level; least severe first.
        latency: of all records that arrived.
        repeated: records that arrived more than once, which at-least-once delivery allows.
        unexplained: records that arrived although no log file has them: then the files are no proof.
        wrong_answers: requests that were not answered as they should be.
    """

    counts: Mapping[str, Mapping[str, Count]]
    latency: Latency
    repeated: int = 0
    unexplained: int = 0
    wrong_answers: Sequence[str] = field(default_factory=tuple)

    @property
    def total(self) -> Count:
        """All applications and levels together."""
        return sum((count for levels in self.counts.values() for count in levels.values()), Count())

    def failures(self) -> list[str]:
        """Return why the demo has failed, a sentence each; empty if it has not."""
        found = []
        if self.total.lost:
            found.append(f"{self.total.lost} of {self.total.accepted} records were lost.")
        if not self.total.accepted:
            found.append("No record was accepted, so nothing is proved.")
        if not self.latency.p99 <= MAX_P99_MS:
            p99, allowed = f"{self.latency.p99:,.0f} ms", f"{MAX_P99_MS:,.0f} ms"
            found.append(f"p99 from log call to hub is {p99}; at most {allowed} are allowed.")
        if self.unexplained:
            found.append(f"{self.unexplained} records arrived that no log file has, so these prove nothing.")
        if self.wrong_answers:
            number, first = len(self.wrong_answers), self.wrong_answers[0]
            found.append(f"{number} requests were answered wrongly, the first: {first}.")
        return found

    def write(self, path: Path) -> None:
        """Write the figures as JSON."""
        path.write_text(json.dumps(self.as_json(), indent=2) + "\n")

    def as_json(self) -> dict[str, object]:
        """Return the figures as plain data."""
        return {
            **_plain(self.total),
            "latency_ms": self.latency.as_json(),
            "applications": {
                name: {
                    **_plain(sum(levels.values(), Count())),
                    "levels": {level: _plain(count) for level, count in levels.items()},
                }
                for name, levels in self.counts.items()
            },
        }


def compare(
    accepted: Counter[Record], arrived: Counter[Record], *, applications: Iterable[str]
) -> dict[str, dict[str, Count]]:
    """Count record by record: one stands for itself only, so none can make up for another that is lost.

    Args:
        accepted: what was logged.
        arrived: what the hub has; what was not logged is left out.
        applications: these come first, in this order, also if they logged nothing.
    """
    found = accepted & arrived
    counts: dict[str, dict[str, Count]] = {name: {} for name in applications}
    for record, number in accepted.items():
        levels = counts.setdefault(record.application, {})
        more = Count(accepted=number, arrived=found[record])
        levels[record.level] = levels.get(record.level, Count()) + more
    return {name: dict(sorted(levels.items(), key=_severity)) for name, levels in counts.items()}


def percentile(values: Sequence[float], percent: float) -> float:
    """Return the smallest value that at least ``percent`` of all values do not exceed; NaN without values."""
    if not values:
        return math.nan
    return sorted(values)[max(math.ceil(len(values) * percent / 100), 1) - 1]


def _severity(item: tuple[str, object]) -> tuple[int, str]:
    level = item[0]
    return (_LEVELS.index(level) if level in _LEVELS else len(_LEVELS)), level


def _plain(count: Count) -> dict[str, int]:
    return {"accepted": count.accepted, "arrived": count.arrived, "lost": count.lost}
