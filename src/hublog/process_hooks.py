"""The hooks of exit and fork: registered once a process, by the first handler or ``configure``.

No import registers one. Modules say with ``in_child`` what a forked child must forget, and that is all.
"""

import atexit
import logging  # noqa: F401  # its hooks must be registered before ours: see ``install``
import os
import threading
from collections.abc import Callable
from typing import Final

from hublog.import_guard import loading


class ProcessHooks:
    """Calls what belongs to hublog when this process, or a child that is forked from it, forks or exits.

    Attributes:
        at_exit: called at the exit; once more for each further hook.
    """

    def __init__(self) -> None:
        self.at_exit: Callable[[], object] = _do_nothing
        self._in_child: list[Callable[[], object]] = []
        self._once = threading.Lock()

    def in_child(self, forget: Callable[[], object]) -> None:
        """Have this called in each forked child: no I/O, no lock of the parent, no thread."""
        self._in_child.append(forget)

    def install(self) -> None:
        """Register the hooks, at the first call.

        Exit hooks run in the reverse order of their registration: ours before that of ``logging``, which
        closes all handlers. So do hooks before a fork: ours waits for an import, which may log, before that
        of ``logging`` takes the lock of all loggers.
        """
        if not self._once.acquire(blocking=False):  # it is never released
            return
        atexit.register(lambda: self.at_exit())  # noqa: PLW0108  # the one of then
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(
                before=loading.before_fork,
                after_in_parent=loading.after_fork,
                after_in_child=self._after_fork_in_child,
            )

    def _after_fork_in_child(self) -> None:
        loading.after_fork_in_child()
        for forget in self._in_child:
            forget()


def _do_nothing() -> None:
    """Nothing was logged to the hub yet."""


process_hooks: Final = ProcessHooks()
