"""Stand-ins: a clock that is moved by hand, and a sender that keeps what it is given."""

import threading
from collections.abc import Mapping, Sequence

from hublog.errors import EventTooLargeError, SendError


class FakeClock:
    """Monotonic seconds that only ``advance`` moves; pass it as ``now=``."""

    def __init__(self, start: float = 1_000.0) -> None:
        self._now = start

    def __call__(self) -> float:
        """Return the seconds."""
        return self._now

    def advance(self, seconds: float) -> None:
        """Let time pass."""
        self._now += seconds


class MemorySender:
    """A destination in memory.

    Args:
        errors: raised by the first sends, one each; then all is accepted.
        max_send_bytes: what it takes in one send.

    Attributes:
        bodies: what was accepted, oldest first.
        properties: the application properties of each body.
        sends_total: sends that were tried.
    """

    def __init__(self, *errors: SendError | Exception, max_send_bytes: int = 1 << 20) -> None:
        self.errors = list(errors)
        self.max_send_bytes = max_send_bytes
        self.bodies: list[bytes] = []
        self.properties: list[Mapping[str, str]] = []
        self.sends_total = 0
        self._arrived = threading.Condition()
        self._closed = threading.Event()

    def open(self) -> None:
        """Do nothing: memory needs no connection."""

    def send(self, bodies: Sequence[bytes], properties: Mapping[str, str]) -> int:
        """Accept the leading bodies that fit, or raise the next error.

        Raises:
            SendError: as given to the constructor.
            EventTooLargeError: the first body alone does not fit.
        """
        self.sends_total += 1
        if self.errors:
            raise self.errors.pop(0)
        number = size = 0
        for body in bodies:
            size += len(body)
            if size > self.max_send_bytes:
                break
            number += 1
        if number == 0:
            raise EventTooLargeError(
                f"An event of {len(bodies[0])} bytes is over the limit of {self.max_send_bytes}.",
                limit_bytes=self.max_send_bytes,
            )
        with self._arrived:
            self.bodies += bodies[:number]
            self.properties += [properties] * number
            self._arrived.notify_all()
        return number

    def close(self) -> None:
        """Remember that it was closed."""
        self._closed.set()

    @property
    def is_closed(self) -> bool:
        """Whether it was closed."""
        return self._closed.is_set()

    def wait_until_closed(self, timeout_s: float = 10.0) -> bool:
        """Wait until it was closed; returns whether it was."""
        return self._closed.wait(timeout_s)

    def cut(self) -> None:
        """Do nothing: no send waits for long."""

    def wait_for(self, bodies: int, timeout_s: float = 10.0) -> bool:
        """Wait until so many bodies have arrived; returns whether they have."""
        with self._arrived:
            return self._arrived.wait_for(lambda: len(self.bodies) >= bodies, timeout_s)
