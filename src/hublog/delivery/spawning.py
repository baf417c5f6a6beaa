"""How our threads are made, and what they wait by: the same for as long as a worker and its senders live.

gevent and eventlet replace what makes threads, also in the middle of the life of a process. From then on it
makes greenlets of the thread that calls. A worker that is a thread of the system waits by means of the
system, so a greenlet that it made would never run: what began as threads goes on as threads.
"""

import _thread
import contextlib
import queue as queues
import threading
import time
from collections.abc import Callable
from typing import Any, Final, Protocol

from hublog.process_hooks import is_patched

_POLL_S: Final = 0.02


class Running(Protocol):
    """A thread.

    ``start`` raises RuntimeError or MemoryError where none can be had.
    """

    def start(self) -> None:
        """Start it."""

    def is_alive(self) -> bool:
        """Whether it runs."""

    def join(self, timeout: float | None = None) -> None:
        """Wait for its end, for at most so many seconds."""


class Spawner:
    """Makes threads of one kind, that of the moment in which the first of them is made."""

    def __init__(self) -> None:
        self._start: Callable[[Callable[[], object], tuple[()]], object] | None = None
        self._make_queue: type[queues.SimpleQueue[Any]] = queues.SimpleQueue

    def choose(self) -> None:
        """Choose the kind, at the first call."""
        if self._start is None:
            self._start, self._make_queue = _thread.start_new_thread, queues.SimpleQueue

    def make_queue(self) -> "queues.SimpleQueue[Any]":
        """Return a queue by which a thread of this kind can wait."""
        self.choose()
        return self._make_queue()

    def make(self, run: Callable[[], object], *, name: str) -> Running:
        """Return a thread that is to be started, and does not keep the process alive."""
        self.choose()
        start = self._start or _thread.start_new_thread
        if start is _thread.start_new_thread and not is_patched():
            return threading.Thread(target=_ending(run), name=name, daemon=True)
        return _Bare(run, start)


class _Bare:
    """A thread without an object of ``threading``, whose start would wait, or make one of the other kind."""

    def __init__(
        self, run: Callable[[], object], start: Callable[[Callable[[], object], tuple[()]], object]
    ) -> None:
        self._target = run
        self._start = start
        self._is_done = False

    def start(self) -> None:
        self._start(self._run, ())

    def _run(self) -> None:
        try:
            self._target()
        finally:
            self._is_done = True

    def is_alive(self) -> bool:
        return not self._is_done

    def join(self, timeout: float | None = None) -> None:
        end = time.monotonic() + (threading.TIMEOUT_MAX if timeout is None else timeout)
        while not self._is_done and time.monotonic() < end:
            time.sleep(_POLL_S)


def _ending(run: Callable[[], object]) -> Callable[[], None]:
    def run_to_the_end() -> None:
        try:
            run()
        finally:
            # A thread that was patched has another number by now, and ``threading`` would print an error when
            # it does not know that.
            known = getattr(threading, "_active", {})
            with contextlib.suppress(Exception):
                known.setdefault(threading.get_ident(), threading.current_thread())

    return run_to_the_end
