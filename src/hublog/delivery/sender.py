"""What a sender is, what becomes of a send, and sends in the calling thread where no other can be started."""

import contextlib
import signal
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import FrameType
from typing import Final, Protocol

from hublog.errors import SendError, TransientSendError

#: What Event Hubs takes in one send unless the link says otherwise (the Basic tier says 256 KiB).
DEFAULT_SEND_BYTES: Final = 1 << 20


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
            SendError: nothing was accepted, or nobody knows.
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
