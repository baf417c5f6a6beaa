"""What moves between the stores and the sender: some lines, and the place on disk behind them."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:  # the spool needs locks and limits that not every system has
    from hublog.delivery.envelope import Envelope
    from hublog.delivery.spool import Position, SpoolDirectory


@dataclass(frozen=True, slots=True)
class Batch:
    """Lines that leave together.

    Attributes:
        lines: one JSON object each, UTF-8, no line break; oldest first, never empty.
        directory: where they lie on disk; None when they are held in memory.
        position: behind the last of them; settling it says that they arrived or were given up.
    """

    lines: list[bytes]
    directory: "SpoolDirectory | None" = None
    position: "Position | None" = None

    @property
    def envelope(self) -> "Envelope | None":
        """What was said of them when they were accepted; None where that is what is set now, or not known."""
        return self.directory.envelope if self.directory is not None else None


class Source(Protocol):
    """Where new lines wait for the batcher: the memory queue, or the log on disk.

    Attributes:
        max_lines: how many may wait.
        urgent: set by a put that must not wait; taken back by the batcher.
        wake_at: the length at which a put wakes the worker.
        wake: called by that put, in its thread.
    """

    max_lines: int
    urgent: bool
    wake_at: int
    wake: Callable[[], object]

    def __len__(self) -> int:
        """Return how many lines wait, those in flight left out."""

    @property
    def bytes_waiting(self) -> int:
        """About how many bytes they have."""

    def take(self, *, max_lines: int, max_bytes: int, line_overhead: int = 0) -> Batch | None:
        """Move the oldest lines into flight; None when nothing waits.

        Args:
            max_lines: take at most as many.
            max_bytes: stop before the sum of lengths passes this; one line is always taken.
            line_overhead: bytes that each line becomes longer by; they count towards ``max_bytes``.
        """
