"""How long things took: histograms with fixed classes."""

from bisect import bisect_left
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from hublog.line import created_s

#: Upper bounds of the classes in seconds; one more class has what is above.
BOUNDS_S: Final = (0.005, 0.025, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 1_800.0, 3_600.0)
#: Lines of an event whose timestamps are read; they stand for the others.
_SAMPLE: Final = 8


@dataclass(frozen=True, slots=True)
class Durations:
    """A histogram.

    Attributes:
        counts: number in each class of ``BOUNDS_S``, and above; not summed up.
        total_s: sum of all durations, seconds.
    """

    counts: tuple[int, ...] = (0,) * (len(BOUNDS_S) + 1)
    total_s: float = 0.0

    def plus(self, other: "Durations") -> "Durations":
        """Return both in one."""
        counts = tuple(map(sum, zip(self.counts, other.counts, strict=True)))
        return Durations(counts, self.total_s + other.total_s)

    @property
    def count(self) -> int:
        """How many there were."""
        return sum(self.counts)


class Histogram:
    """Counts durations; used by one thread, read by any."""

    def __init__(self) -> None:
        self._counts = [0] * (len(BOUNDS_S) + 1)
        self._total_s = 0.0

    def add(self, seconds: float, count: int = 1) -> None:
        """Count a duration; a negative one, since a clock was set back, as none."""
        seconds = max(seconds, 0.0)
        self._counts[bisect_left(BOUNDS_S, seconds)] += count
        self._total_s += seconds * count

    def add_ages(self, events: Iterable[Sequence[bytes]], now_s: float) -> None:
        """Count how old lines are, for the lines of each event.

        Every line of a small event, eight of a large one, each for its share: 5 µs an event instead of 300.
        """
        for lines in events:
            step = -(-len(lines) // _SAMPLE)
            for start in range(0, len(lines), step or 1):
                created = created_s(lines[start])
                if created is not None:
                    self.add(now_s - created, min(step, len(lines) - start))

    def read(self) -> Durations:
        """Return what was counted."""
        return Durations(tuple(self._counts), self._total_s)
