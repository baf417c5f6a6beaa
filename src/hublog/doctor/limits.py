"""Acts that may hang, each with an end: a name that is looked up, a peer that says nothing."""

import queue
import threading
import time
from collections.abc import Callable
from typing import Final, TypeVar

#: All steps together, in seconds; a start script or a person waits so long. Half a minute with the rest.
ALL_S: Final = 25.0
#: What each step has in any case, so that one of the first does not make the last ones fail.
LEAST_S: Final = 0.5
#: One look-up, one connection, one handshake.
STEP_S: Final = 5.0
#: The client's own way to an open link: connection, token, link; signing in takes longer than the rest.
OPEN_S: Final = 10.0

_T = TypeVar("_T")


class TookTooLongError(Exception):
    """An act was not over in time; its thread is left behind."""


def within(limit_s: float, act: Callable[[], _T]) -> _T:
    """Do something in a thread of its own, and wait for it.

    Args:
        limit_s: how long to wait at most.
        act: what to do; what it raises is raised here.

    Raises:
        TookTooLongError: it is not over. The thread is a daemon, so that it keeps no process alive.
    """
    answers: queue.SimpleQueue[tuple[_T | None, BaseException | None]] = queue.SimpleQueue()

    def run() -> None:
        try:
            answers.put((act(), None))
        except BaseException as error:  # noqa: BLE001  # raised again where it is waited for
            answers.put((None, error))

    threading.Thread(target=run, name="hublog-doctor", daemon=True).start()
    try:
        value, error = answers.get(timeout=max(limit_s, 0.0))
    except queue.Empty:
        raise TookTooLongError from None
    if error is not None:
        raise error
    return value  # type: ignore[return-value]  # None only where the act returns it


class Budget:
    """What is left of the time for all steps.

    Args:
        all_s: for all of them together.
        step_s: for one step.
        open_s: for the step that opens a link.
        now: monotonic seconds.
    """

    def __init__(
        self,
        *,
        all_s: float = ALL_S,
        step_s: float = STEP_S,
        open_s: float = OPEN_S,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._now = now
        self._end_mono = now() + all_s
        self._step_s = step_s
        self._open_s = open_s

    def step_s(self) -> float:
        """Return what the next step may take."""
        return min(self._step_s, self._left_s())

    def open_s(self) -> float:
        """Return what opening a link may take."""
        return min(self._open_s, self._left_s())

    def _left_s(self) -> float:
        return max(self._end_mono - self._now(), LEAST_S)
