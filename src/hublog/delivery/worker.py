"""The background thread: made at the first record, asleep while there is nothing to do.

It never waits for the network, so it can always put records where they are safe. Everything that belongs
to threads is looked up when the thread is made, so that a late gevent patch is met, and nothing here survives
a fork: the child makes its own.
"""

import contextlib
import contextvars
import logging
import math
import queue as queues
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from contextvars import ContextVar
from typing import Final

from hublog.delivery.batcher import Source
from hublog.delivery.memory_queue import NEVER
from hublog.delivery.sender import Running, Spawner
from hublog.delivery.shipper import Shipper
from hublog.delivery.storage import Mark
from hublog.internal_log import report

THREAD_NAME: Final = "hublog"
#: Pause after an error of our own.
ERROR_PAUSE_S: Final = 1.0
_TOKENS_MAX = 2
#: Pause before the thread tries again to end.
_RETRY_S: Final = 0.001
#: A caller that waits for the thread looks by itself this often.
_LOOK_S: Final = 0.05
#: The thread that this is, if it is that of a worker.
_here: ContextVar[Running | None] = ContextVar("hublog_worker", default=None)


class Request:
    """A caller waits for the worker to have done something."""

    __slots__ = ("_done", "_is_done", "early", "is_settled", "mark")

    def __init__(self, *, early: bool = False) -> None:
        self._done = threading.Event()
        self._is_done = False
        self.early = early
        self.mark: Mark | None = None
        self.is_settled = False

    def settle(self, *, is_settled: bool) -> None:
        """End the wait; called by the worker."""
        self.is_settled = is_settled
        self._is_done = True
        with contextlib.suppress(Exception):  # of greenlets that another thread may not wake
            self._done.set()

    def wait(self, timeout_s: float) -> bool:
        """Return whether it is done, after at most this many seconds.

        It looks by itself, too: a greenlet of eventlet is not woken by a thread of the system.
        """
        end = time.monotonic() + timeout_s
        while not self._is_done and (left := end - time.monotonic()) > 0:
            self._done.wait(min(left, _LOOK_S))
        return self.is_settled


class Worker:
    """Calls ``prepare`` once and then ``shipper.step`` for as long as the process lives.

    Args:
        shipper: what is stepped.
        sources: their ``wake`` is taken over.
        prepare: called in the thread before the first step, and again after ``call_prepare``; gets whether
            a caller waits; returns 0, or the seconds until it wants to be asked again.
        start: called in the thread that starts ours, just after it: more threads are made here, since
            later, at the end of the interpreter, none can be.
        enter: called once in the new thread, in its own context.
        leave: called in the thread when it ends after ``stop``.
        may_start: whether threads can be had in this interpreter at all.
        is_early: whether threads made now would be of a kind that is about to change; the next record
            asks again.
        spawner: makes the thread.
        look: called in the thread with every step, outside all locks; returns the seconds until it wants to
            be called again.
        gather: called before a flush is asked for: queues what should leave with it.

    Attributes:
        is_missing: whether no thread could be started the last time.
    """

    def __init__(
        self,
        shipper: Shipper,
        sources: Sequence[Source],
        *,
        prepare: Callable[[bool], float],
        start: Callable[[], object],
        enter: Callable[[], object],
        leave: Callable[[], object],
        may_start: Callable[[], bool] = lambda: True,
        is_early: Callable[[], bool] = lambda: False,
        spawner: Spawner | None = None,
        look: Callable[[], float] = lambda: math.inf,
        gather: Callable[[], object] = lambda: None,
    ) -> None:
        self._shipper = shipper
        self._prepare = prepare
        self._start_more = start
        self._enter = enter
        self._leave = leave
        self._may_start = may_start
        self._is_early = is_early
        self._spawner = spawner or Spawner()
        self._look = look
        self._gather = gather
        self._tokens: queues.SimpleQueue[None] = queues.SimpleQueue()
        self._requests: deque[Request] = deque()
        self._securing: deque[Request] = deque()
        self._waiting: list[Request] = []
        self._starting = threading.Lock()
        self._thread: Running | None = None
        self._is_stopping = False
        self._is_prepared = False
        self._is_error_reported = False
        self.is_missing = False
        self._sources = sources
        for source in sources:
            source.wake = self.wake_for_record
            source.wake_at = 1

    def wake_for_record(self) -> bool:
        """Do what ``wake`` does, unless it is too early for a thread; then the next record tries again."""
        return (self._thread is None and self._is_early()) or self.wake()

    def wake(self) -> bool:
        """End the thread's sleep; start it if there is none. Never waits.

        Returns:
            False when no thread can be started; the next call tries again.
        """
        for source in self._sources:
            source.wake_at = NEVER  # one caller pays; the thread lowers it again before it sleeps
        if self._thread is None and not self._start():
            self.is_missing = True
            for source in self._sources:
                source.wake_at = 1
            return False
        self.notify()
        return True

    def notify(self) -> None:
        """End the thread's sleep, if it runs; never waits."""
        if self._tokens.qsize() < _TOKENS_MAX:
            self._tokens.put(None)

    def call_prepare(self) -> None:
        """Have ``prepare`` called again: the configuration may have changed."""
        self._is_prepared = False
        if self._thread is not None:
            self.wake()

    def request_flush(self, *, give_up_early: bool = False) -> Request:
        """Ask for everything accepted before this call to be sent at once.

        Args:
            give_up_early: do not go on waiting for a hub that does not answer.
        """
        self._gather()
        request = Request(early=give_up_early)
        if self._shipper.is_empty:
            request.settle(is_settled=True)
            return request
        self._requests.append(request)
        if not self.wake():
            request.settle(is_settled=False)
        return request

    def request_secure(self) -> Request:
        """Ask for everything in memory to be written to disk.

        The thread does it, since no signal handler can raise in the middle of its work.
        """
        request = Request()
        if self._thread is None or _here.get() is self._thread:
            request.settle(is_settled=False)
            return request
        self._securing.append(request)
        self.notify()
        return request

    def stop(self) -> None:
        """Let the thread end once nothing is held; until then it goes on trying."""
        self._is_stopping = True
        self.notify()  # not ``wake``: a thread that has just ended would be started again

    def wait_until_ended(self, timeout_s: float) -> bool:
        """Return whether the thread has ended, after at most this many seconds; for ``stop``."""
        thread = self._thread
        if thread is not None:
            thread.join(timeout_s)
        return thread is None or not thread.is_alive()

    @property
    def is_ended(self) -> bool:
        """Whether no thread runs."""
        return self._thread is None

    def _start(self) -> bool:
        # Never wait for the lock: its holder may be this very thread, interrupted by a signal handler.
        if not self._starting.acquire(blocking=False):
            return True
        try:
            if self._thread is None and not self._may_start():
                return False
            if self._thread is None:
                self._tokens = self._spawner.make_queue()
                thread = self._spawner.make(lambda: self._run(thread), name=THREAD_NAME)
                self._thread = thread  # before it runs: it may be at its end before we are
                thread.start()
                self.is_missing = False
                self._start_more()
        except (RuntimeError, MemoryError):  # no more threads: the interpreter ends, or a limit is reached
            self._thread = None
            return False
        finally:
            self._starting.release()
        return True

    def _run(self, thread: Running) -> None:
        contextvars.Context().run(self._loop, thread)

    def _loop(self, thread: Running) -> None:
        _here.set(thread)
        self._enter()
        while True:
            self._drain_tokens()
            self._secure()
            wait = self._guarded_step()
            self._settle_requests()
            if self._is_stopping and self._shipper.is_empty:
                if self._ends():
                    return
                self._sleep(_RETRY_S)
            elif wait > 0:
                self._sleep(wait)

    def _ends(self) -> bool:
        """End the thread, unless something came while it was on its way out."""
        if not self._starting.acquire(blocking=False):
            return False  # the threads that belong to it are just being started, and must end with it
        try:
            self._is_stopping = self._is_prepared = False
            self._leave()
            self._thread = None  # a record that comes later starts another
            for source in self._sources:
                source.wake_at = 1
        finally:
            self._starting.release()
        if self._shipper.is_empty and not self._requests and not self._securing:
            return True
        # What came just now woke no thread. Go on in this thread: at the exit no other can be started.
        return not self._takes_over()

    def _takes_over(self) -> bool:
        """Become the thread, unless another is being started."""
        if not self._starting.acquire(blocking=False):
            return False
        try:
            if self._thread is None:
                self._thread = _here.get()
                return True
        finally:
            self._starting.release()
        return False

    def _secure(self) -> None:
        while self._securing:
            request = self._securing.popleft()
            try:
                self._shipper.secure()
            finally:
                request.settle(is_settled=True)

    def _guarded_step(self) -> float:
        """Step; an error of our own must not end the thread."""
        try:
            return self._step()
        except Exception as error:  # noqa: BLE001  # it is reported, and the next step tries again
            if not self._is_error_reported:
                self._is_error_reported = True
                report(
                    logging.ERROR, f"Delivery failed with {type(error).__name__}: {error} It is tried again."
                )
            return ERROR_PAUSE_S

    def _step(self) -> float:
        if not self._is_prepared:
            self._is_prepared = True  # before the call: a change meanwhile sets it back
            wait = self._prepare(bool(self._waiting or self._requests))
            if wait > 0:
                self._is_prepared = False
                self._take_requests()
                return wait
        # After the preparation: it may give the shipper another batcher, which knows of no flush.
        if self._take_requests() or self._is_stopping:
            self._shipper.flush()
        elif self._waiting:
            self._shipper.hurry()
        wait = self._shipper.step()
        return min(wait, self._look())

    def _take_requests(self) -> int:
        taken = 0
        while self._requests:
            request = self._requests.popleft()
            request.mark = self._shipper.mark()
            self._waiting.append(request)
            taken += 1
        return taken

    def _settle_requests(self) -> None:
        left: list[Request] = []
        for request in self._waiting:
            is_settled = request.mark is None or self._shipper.is_past(request.mark)
            if is_settled or (request.early and self._shipper.is_hopeless):
                request.settle(is_settled=is_settled)
            else:
                left.append(request)
        self._waiting = left

    def _sleep(self, wait_s: float) -> None:
        is_due = False
        if self._is_prepared:
            for source, border in self._shipper.borders():
                source.wake_at = border
                is_due = is_due or len(source) >= border or (source.urgent and border != NEVER)
        if not is_due and not self._requests and not self._securing:
            with contextlib.suppress(queues.Empty):
                self._tokens.get(timeout=None if wait_s == math.inf else wait_s)
        for source in self._sources:
            source.wake_at = NEVER

    def _drain_tokens(self) -> None:
        with contextlib.suppress(queues.Empty):
            while True:
                self._tokens.get_nowait()
