"""What a sender is, what becomes of a send, and the thread that sends: one of ours, or the calling one.

gevent and eventlet replace what makes threads, also in the middle of the life of a process. From then on it
makes greenlets of the thread that calls. A worker that is a thread of the system waits by means of the
system, so a greenlet that it made would never run: what began as threads goes on as threads.
"""

import _thread
import contextlib
import queue as queues
import signal
import threading
import time
import types
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol

from hublog.errors import SendError, TransientSendError
from hublog.process_hooks import is_patched

#: What Event Hubs takes in one send unless the link says otherwise (the Basic tier says 256 KiB).
DEFAULT_SEND_BYTES: Final = 1 << 20
#: Seconds between two looks whether a thread has ended.
_POLL_S: Final = 0.02


class Sender(Protocol):
    """What leaves the process; used by one thread, but for ``cut``."""

    @property
    def max_send_bytes(self) -> int:
        """What it takes in one send, as far as it is known yet."""

    def open(self) -> None:
        """Connect ahead of the first send; what fails is the outcome of that send."""

    def send(self, bodies: Sequence[bytes], properties: Mapping[str, str]) -> int:
        """Send as many of the leading bodies as fit; returns how many were accepted, 1 or more.

        Raises:
            SendError: nothing was accepted, or that is unknown.
        """

    def close(self) -> None:
        """Let go of the connection; may block."""

    def cut(self) -> None:
        """End what is under way as far as possible; from any thread, never blocks, never raises."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What became of a send.

    Attributes:
        accepted: how many of the leading bodies the hub took; 0 with an error.
        seconds: how long it took.
        error: why it took nothing.
    """

    accepted: int
    seconds: float
    error: SendError | None


def send_outcome(
    sender: Sender, bodies: Sequence[bytes], properties: Mapping[str, str], *, now: Callable[[], float]
) -> Outcome:
    """Send, and return what became of it, whatever ``Exception`` the sender raises."""
    begun = now()
    try:
        accepted = sender.send(bodies, properties)
    except Exception as error:  # noqa: BLE001  # it is returned
        return failed_outcome(error, now() - begun)
    return Outcome(accepted=accepted, seconds=now() - begun, error=None)


def failed_outcome(error: BaseException, seconds: float) -> Outcome:
    """Return the outcome of an error.

    An error that is not ours gives its type only: its text may hold a secret, which only the sender's module
    knows to remove.
    """
    if not isinstance(error, SendError):
        error = TransientSendError(f"The sender failed with {type(error).__name__}.")
    return Outcome(accepted=0, seconds=seconds, error=error)


class InlineSend:
    """What ``SendThread`` is, without a thread and a watchdog: the caller of ``step`` waits for the hub.

    Args:
        make_sender: makes the destination, at the first send.
        now: monotonic seconds.
    """

    is_busy = False
    is_stuck = False
    abandoned = 0

    def __init__(self, make_sender: Callable[[], Sender], *, now: Callable[[], float]) -> None:
        self._make_sender = make_sender
        self._now = now
        self._sender: Sender | None = None
        self._outcome: Outcome | None = None

    @property
    def max_send_bytes(self) -> int:
        """What the hub takes in one send, as far as it is known yet."""
        return self._sender.max_send_bytes if self._sender is not None else DEFAULT_SEND_BYTES

    def offer(self, bodies: Sequence[bytes], properties: Mapping[str, str]) -> bool:
        """Send, and wait until it is settled."""
        begun = self._now()
        try:
            if self._sender is None:
                self._sender = self._make_sender()
        except Exception as error:  # noqa: BLE001  # it is the outcome
            self._outcome = failed_outcome(error, self._now() - begun)
        else:
            self._outcome = send_outcome(self._sender, bodies, properties, now=self._now)
        return True

    def outcome(self) -> Outcome | None:
        """Return what became of the last send, once."""
        outcome, self._outcome = self._outcome, None
        return outcome

    def watch(self) -> bool:
        """Return False: there is nothing to give up."""
        return False


class TooLateError(BaseException):
    """The time is over; not an ``Exception``, so that no client takes it for one of its own troubles."""


@contextlib.contextmanager
def time_limit(seconds: float) -> Iterator[bool]:
    """End what is done inside after some seconds, by the alarm clock of the process.

    Args:
        seconds: above 0.

    Yields:
        Whether there is a limit: only in the main thread of the main interpreter, on systems that have
        an alarm clock, and where the application does not use it. Without one nothing should be done inside
        that may wait for ever.

    Raises:
        TooLateError: inside, when the time is over.
    """
    if not _has_alarm():
        yield False
        return
    try:
        former = signal.signal(signal.SIGALRM, _too_late)
    except ValueError:  # this is the main thread of another interpreter
        yield False
        return
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield True
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, former)


def _has_alarm() -> bool:
    if not hasattr(signal, "setitimer") or threading.current_thread() is not threading.main_thread():
        return False
    is_free = signal.getsignal(signal.SIGALRM) in (signal.SIG_DFL, signal.SIG_IGN)
    return is_free and signal.getitimer(signal.ITIMER_REAL) == (0.0, 0.0)


def _too_late(_number: int, _frame: types.FrameType | None) -> None:
    raise TooLateError


class Running(Protocol):
    """A thread.

    ``start`` raises RuntimeError or MemoryError where none can be had.
    """

    def start(self) -> None:
        """Start it."""

    def is_alive(self) -> bool:
        """Whether it runs."""

    def join(self, timeout: float | None = None) -> None:
        """Wait for its end, for at most this number of seconds."""


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
