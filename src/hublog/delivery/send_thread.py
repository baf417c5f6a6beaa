"""Takes the bodies of events, sends them in a thread of its own, gives the outcome.

A client can wait for its hub for ever, so a send that takes too long is given up with its thread and client,
and the next one begins with new ones. Each thread has queues of its own: a late outcome of one that was given
up is never read. Threads are made as they are when the first is made, so that a late gevent patch counts, and
nothing here survives a fork.
"""

import contextlib
import contextvars
import functools
import math
import queue as queues
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from hublog.delivery.sender import DEFAULT_SEND_BYTES, Outcome, Sender, Spawner, failed_outcome, send_outcome
from hublog.errors import TransientSendError

THREAD_NAME: Final = "hublog-send"
#: Threads that were given up and still hang. Each holds a connection and a batch, so there is an end.
ABANDONED_MAX: Final = 3
#: A look counts at most this much, so that a process that was suspended does not give up a healthy send.
LOOK_MAX_S: Final = 2.0


class SendThread:
    """Hands sends to a thread, one at a time, and watches it.

    ``start`` and the attributes are for any thread, the rest is for one.

    Args:
        make_sender: makes the destination, in the new thread; may block, and may raise: then the next offer
            brings the error back and the one after it tries again.
        woken: called by the thread when there is something to look at.
        now: monotonic seconds.
        limit_s: seconds after which a send is given up.
        enter: called once in each new thread, in its own context.
        spawner: makes the threads; that of the worker.

    Attributes:
        is_busy: whether a send is under way, or its outcome was not fetched yet.
    """

    def __init__(
        self,
        make_sender: Callable[[], Sender],
        *,
        woken: Callable[[], object],
        now: Callable[[], float],
        limit_s: float,
        enter: Callable[[], object],
        spawner: Spawner | None = None,
    ) -> None:
        self._make_runner = functools.partial(_Runner, make_sender, woken, now, enter, spawner or Spawner())
        self._now = now
        self._limit_s = limit_s
        self._starting = threading.Lock()
        self._runner: _Runner | None = None
        self._hanging: list[_Runner] = []
        self.is_busy = self._is_paused = False
        self._spent_s = 0.0
        self._looked_mono = -math.inf

    @property
    def is_stuck(self) -> bool:
        """Whether a send hangs that cannot be given up, since too many were."""
        return self._is_late and self.abandoned >= ABANDONED_MAX

    @property
    def abandoned(self) -> int:
        """Number of threads that were given up and have not come back."""
        return sum(not runner.is_back for runner in self._hanging)

    @property
    def max_send_bytes(self) -> int:
        """What the hub takes in one send, as far as it is known yet."""
        runner = self._runner
        sender = runner.sender if runner is not None else None
        return sender.max_send_bytes if sender is not None else DEFAULT_SEND_BYTES

    def start(self) -> bool:
        """Start the thread, which connects, if there is none; never waits, never raises.

        Returns:
            False when no thread can be started, or none may be; the next offer tries again.
        """
        if self._has_thread():
            return True
        # Never wait for the lock: its holder may be this very thread, interrupted by a signal handler.
        if not self._starting.acquire(blocking=False):
            return True
        try:
            if self._has_thread():
                return True
            if self._is_paused:
                return False
            self._runner = self._make_runner()
            return self._runner.start()
        finally:
            self._starting.release()

    def offer(self, bodies: Sequence[bytes], properties: Mapping[str, str]) -> bool:
        """Hand over a send; never waits.

        Returns:
            False when it was not taken: no thread can be had, or one is busy.
        """
        if self.is_busy or not self.start():
            return False
        runner = self._runner
        if runner is None or runner.is_ending:  # another thread is just about to start one
            return False
        self.is_busy = True
        self._spent_s = 0.0
        self._looked_mono = self._now()
        runner.send(bodies, properties)
        return True

    def outcome(self) -> Outcome | None:
        """Return what became of the last send, once; None while that is unknown."""
        runner = self._runner
        if not self.is_busy or runner is None:
            return None
        outcome = runner.outcome()
        if outcome is not None:
            self.is_busy = False
        return outcome

    def watch(self) -> bool:
        """Look after the thread; to be called each second while a send is under way or a thread hangs.

        Returns:
            Whether the send was given up just now: it is unknown what became of it.
        """
        now = self._now()
        self._hanging = [runner for runner in self._hanging if not runner.is_back]
        for hanging in self._hanging:
            hanging.cut_again(self._limit_s)
        runner = self._runner
        if not self.is_busy or runner is None or runner.has_outcome:
            return False
        self._spent_s += min(now - self._looked_mono, LOOK_MAX_S)
        self._looked_mono = now
        if not self._is_late:
            return False
        if len(self._hanging) >= ABANDONED_MAX:
            runner.cut_again(self._limit_s)
            return False
        self._hanging = [*self._hanging, runner]
        self._runner = None
        self.is_busy = False
        runner.abandon()
        return True

    def close(self) -> None:
        """Let the thread end after the send under way, whose outcome can still be fetched; never blocks."""
        if self._runner is not None:
            self._runner.end()

    def pause(self) -> None:
        """Begin no send and open no connection until ``resume``; a send under way ends by itself."""
        with self._starting:
            self._is_paused = True
            self.close()

    def resume(self) -> None:
        """Take sends again, over a new connection."""
        self._is_paused = False

    def _has_thread(self) -> bool:
        return self.is_busy or (self._runner is not None and not self._runner.is_ending)

    @property
    def _is_late(self) -> bool:
        return self.is_busy and self._spent_s >= self._limit_s


@dataclass(eq=False)
class _Runner:
    """A thread and its sender; never waited for.

    Attributes:
        sender: what it uses now, for ``cut``.
        is_ending: whether it takes no further send.
        is_back: whether it has left its last send; it may still be closing its client.
    """

    make_sender: Callable[[], Sender]
    woken: Callable[[], object]
    now: Callable[[], float]
    enter: Callable[[], object]
    spawner: Spawner
    sender: Sender | None = None
    is_ending: bool = False
    is_back: bool = False
    _failure: BaseException | None = None
    _is_abandoned: bool = False
    _cut_mono: float = -math.inf

    def __post_init__(self) -> None:
        self._jobs: queues.SimpleQueue[Callable[[], None] | None] = self.spawner.make_queue()
        self._outcomes: queues.SimpleQueue[Outcome] = self.spawner.make_queue()

    # Called from outside; none of it waits.

    def start(self) -> bool:
        """Start the thread; returns whether it could."""
        try:
            self.spawner.make(self._run, name=THREAD_NAME).start()
        except (RuntimeError, MemoryError) as error:  # the interpreter ends, or a limit is reached
            self.is_ending = self.is_back = True
            self._outcomes.put(failed_outcome(error, 0.0))  # a send may be here already
            return False
        return True

    def send(self, bodies: Sequence[bytes], properties: Mapping[str, str]) -> None:
        """Have this sent."""
        self._jobs.put(functools.partial(self._send, bodies, properties))

    def end(self) -> None:
        """Let the thread end after what was handed over before."""
        self.is_ending = True
        self._jobs.put(None)

    def abandon(self) -> None:
        """Let the thread end as soon as it comes back, and see to it that it does."""
        self._is_abandoned = True
        self.end()
        self.cut_again(0.0)

    def cut_again(self, pause_s: float) -> None:
        """Cut what the sender does, unless that was tried within this pause."""
        now = self.now()
        if now - self._cut_mono < pause_s:
            return
        self._cut_mono = now
        sender = self.sender
        if sender is not None:
            with contextlib.suppress(Exception):  # a sender that cannot be cut hangs on, and is counted
                sender.cut()

    def outcome(self) -> Outcome | None:
        """Return the oldest outcome that was not fetched."""
        with contextlib.suppress(queues.Empty):
            return self._outcomes.get_nowait()
        return None

    @property
    def has_outcome(self) -> bool:
        """Whether one waits."""
        return not self._outcomes.empty()

    # The thread.

    def _run(self) -> None:
        contextvars.Context().run(self._loop)

    def _loop(self) -> None:
        try:
            self._prepare()
            for job in iter(self._jobs.get, None):
                job()
        finally:
            self.is_ending = self.is_back = True
            if self._is_abandoned:
                self.woken()
            self._let_go()

    def _prepare(self) -> None:
        """Make a sender and connect it; what fails is the outcome of the next send."""
        try:
            self.enter()
            self.sender = self.make_sender()
            if not self._is_abandoned and not self.is_ending:
                self.sender.open()
        except BaseException as error:  # noqa: BLE001  # it is kept for the next send
            self._failure = error

    def _send(self, bodies: Sequence[bytes], properties: Mapping[str, str]) -> None:
        begun = self.now()
        try:
            outcome = self._sent(bodies, properties)
        except Exception as error:  # noqa: BLE001  # it is the outcome
            outcome = failed_outcome(error, self.now() - begun)
        except BaseException as error:  # noqa: BLE001  # SystemExit and its like: the next send has a new thread
            outcome = failed_outcome(error, self.now() - begun)
            self.end()
        self._outcomes.put(outcome)
        self.woken()

    def _sent(self, bodies: Sequence[bytes], properties: Mapping[str, str]) -> Outcome:
        failure, self._failure = self._failure, None
        if failure is not None:
            raise failure
        if self.sender is None:
            self.sender = self.make_sender()
        if self._is_abandoned:  # while it was made or connected: others send this by now
            raise TransientSendError("The send was given up before it began.")
        return send_outcome(self.sender, bodies, properties, now=self.now)

    def _let_go(self) -> None:
        if self.sender is not None:
            with contextlib.suppress(BaseException):  # nothing can be done, and the thread ends or goes on
                self.sender.close()
        self.sender = None
