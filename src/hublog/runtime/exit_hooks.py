"""The end of a process: one hook, called once or more, and one budget for all the calls together."""

import math
import os
import sys
from collections.abc import Callable
from time import monotonic
from typing import Final, Protocol

from hublog.process_hooks import process_hooks

#: With less between them two waits are one.
_GAP_S: Final = 1.0


class _Finalizer(Protocol):
    def still_active(self) -> bool: ...


class Exits:
    """Knows how long the process may still wait at its exit.

    Args:
        now: monotonic seconds.

    Attributes:
        is_begun: whether the exit has begun, here or in the process that this one was forked from.
    """

    def __init__(self, *, now: Callable[[], float] = monotonic) -> None:
        self._now = now
        #: By process id: a forked child has an exit of its own.
        self._ends: dict[int, float] = {}
        self._vain: dict[int, tuple[float, float]] = {}
        self._finalizers: dict[int, _Finalizer] = {}
        self.is_begun = False

    @property
    def end_mono(self) -> float | None:
        """When the time for the exit is over (monotonic seconds); None while the process goes on."""
        return self._ends.get(os.getpid())

    def begin(self, budget_s: float) -> float:
        """Begin the exit, at the first call; returns when the time for it is over.

        Args:
            budget_s: how long everything together may take.
        """
        self.is_begun = True
        ended_mono, seconds = self._vain.get(os.getpid(), (-math.inf, 0.0))
        # Somebody waited for the hub in vain just now: it is the same exit.
        is_recent = self._now() - ended_mono < budget_s
        left = budget_s - seconds if is_recent else budget_s
        return self._ends.setdefault(os.getpid(), self._now() + max(left, 0.0))

    def waited_in_vain(self, seconds: float) -> None:
        """Take into account that the caller waited for the hub before the exit, and had no success.

        Waits that follow each other, as those of several handlers that are flushed, count together.
        """
        now = self._now()
        ended_mono, before = self._vain.get(os.getpid(), (-math.inf, 0.0))
        if now - seconds - ended_mono < _GAP_S:
            seconds += before
        self._vain[os.getpid()] = now, seconds

    def give_up(self) -> None:
        """Let nobody wait any more."""
        self._ends[os.getpid()] = self._now()

    def follow_multiprocessing(self) -> None:
        """Have the hook called in a child of ``multiprocessing``, which leaves by ``os._exit``.

        Only that package's own finalizers run there. To be called while the child works: they are cleared
        when it begins. Where the package is just being imported this process is no child of it.
        """
        finalize = getattr(sys.modules.get("multiprocessing.util"), "Finalize", None)
        found = self._finalizers.get(os.getpid())
        if finalize is not None and (found is None or not found.still_active()):
            self._finalizers[os.getpid()] = finalize(None, process_hooks.at_exit, exitpriority=0)


exits: Final = Exits()
