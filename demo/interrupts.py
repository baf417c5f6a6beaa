"""Ctrl-C and its kin, held back while something is half done."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Final

SIGNALS: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class InterruptedDemoError(Exception):
    """The demo was told to stop.

    Attributes:
        signal_number: what told it.
    """

    def __init__(self, signal_number: int) -> None:
        super().__init__(f"stopped by {signal.Signals(signal_number).name}")
        self.signal_number = signal_number


class Interrupts:
    """Raises ``InterruptedDemoError`` in the main thread, but never inside ``held``."""

    def __init__(self) -> None:
        self._depth = 0
        self._waiting: int | None = None

    @contextmanager
    def caught(self) -> Iterator[None]:
        """Handle the signals while the block runs; main thread only."""
        before = {number: signal.signal(number, self._interrupt) for number in SIGNALS}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    @contextmanager
    def held(self) -> Iterator[None]:
        """Let the block finish; a signal that comes meanwhile is raised after it."""
        self._depth += 1
        try:
            yield
        finally:
            self._depth -= 1
        self._raise_waiting()

    @contextmanager
    def ignored(self) -> Iterator[None]:
        """Let the block finish, whatever comes."""
        self._depth += 1
        try:
            yield
        finally:
            self._depth -= 1
            self._waiting = None

    def _interrupt(self, number: int, _frame: FrameType | None) -> None:
        self._waiting = number
        self._raise_waiting()

    def _raise_waiting(self) -> None:
        if self._depth == 0 and self._waiting is not None:
            number, self._waiting = self._waiting, None
            raise InterruptedDemoError(number)
