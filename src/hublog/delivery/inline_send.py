"""Sends in the thread that steps: for the end of the interpreter, when no thread can be made any more."""

import contextlib
import signal
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from types import FrameType

from hublog.delivery.send_thread import DEFAULT_SEND_BYTES, Outcome, Sender, failed_outcome, send_outcome


class InlineSend:
    """What ``SendThread`` is, without a thread and without a watchdog: whoever steps waits for the hub.

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
        Whether there is such a limit: only in the main thread of the main interpreter, on systems that have
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


def _too_late(_number: int, _frame: FrameType | None) -> None:
    raise TooLateError
