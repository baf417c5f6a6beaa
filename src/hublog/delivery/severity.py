"""How much a record matters, and how those are found that matter least when there is no room.

There are four classes, read off a record's level or off its line: 0 is below INFO, 1 below WARNING, 2 below
ERROR, 3 is ERROR and above.
"""

import logging
from bisect import bisect_right
from collections import deque
from collections.abc import Iterable
from typing import Final

from hublog.line import level_number

CLASSES: Final = 4
#: ERROR and above: never given up for the sake of others.
MOST_SEVERE: Final = 3
#: Of a line that does not say it: neither the first to go nor the last.
UNKNOWN: Final = 1
_BORDERS: Final = (logging.INFO, logging.WARNING, logging.ERROR)


def class_of(levelno: float) -> int:
    """Return the class of a level number."""
    return bisect_right(_BORDERS, levelno)


def class_of_line(line: bytes) -> int:
    """Return the class of a line's record; ``UNKNOWN`` where it does not say it. Never raises.

    Args:
        line: one JSON object as the formatter writes it; anything else is borne.
    """
    levelno = level_number(line)
    return UNKNOWN if levelno is None else class_of(levelno)


class ClassIndex:
    """Finds the newest line of a class among many; each is looked at once, in a third of a microsecond.

    A line's position counts all that were ever put before it. Any thread may use it, and whatever interrupts
    it: what must be done in one step has no call inside, see ``memory_queue``.

    Attributes:
        next_position: of the first line that was not looked at yet.
    """

    def __init__(self) -> None:
        self._positions: tuple[deque[int], ...] = tuple(deque() for _ in range(MOST_SEVERE))
        self.next_position = 0

    def forget(self, end: int) -> None:
        """Forget the lines before this position; they were taken."""
        for positions in self._positions:
            while positions and positions[0] < end:
                del positions[0]

    def look(self, position: int, lines: Iterable[bytes | None]) -> None:
        """Look at lines that follow each other; what others look at meanwhile is left to them.

        Args:
            position: of the first.
            lines: None where there is none any more.
        """
        for here, line in enumerate(lines, position):
            if here < self.next_position:
                continue
            self.next_position = here + 1
            if line is not None and (severity_class := class_of_line(line)) < MOST_SEVERE:
                self._positions[severity_class].append(here)

    def newest(self, severity_class: int) -> int | None:
        """Return the position of the newest line of a class, once; None when no other is known.

        Args:
            severity_class: 0 to 2.
        """
        positions = self._positions[severity_class]
        if not positions:
            return None
        position = positions[-1]
        del positions[-1]
        return position
