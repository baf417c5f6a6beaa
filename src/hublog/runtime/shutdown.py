"""The end of a process: what waits is delivered by the exit hook, or put safe by the opt-in hook of SIGTERM.

The latter is for servers that leave the signal at its default action, or raise it again at their end: no exit
hook runs there. It works in front of handlers as well. It takes the signal as the end of the process.
"""

import _thread
import contextlib
import logging
import signal
import sys
import threading
from collections.abc import Callable
from time import monotonic
from types import FrameType
from typing import Final, TypeAlias

from hublog.delivery.worker import Request
from hublog.internal_log import report
from hublog.runtime.pipeline import Pipeline
from hublog.runtime.process_state import ProcessState
from hublog.runtime.server_advice import IS_MAIN_INTERPRETER, Way, modules_of, taken
from hublog.runtime.shared import runtime
from hublog.settings import Settings

#: What ``signal.signal`` takes.
Handler: TypeAlias = Callable[[int, FrameType | None], object] | int | signal.Handlers

#: Longer than securing waits for the worker before it does it itself.
SAFE_WAIT_S: Final = 1.5
#: Beyond the exit budget, for writing and reporting.
_MARGIN_S: Final = 0.3


def pipelines() -> list[Pipeline]:
    """Return all pipelines of this process."""
    return list(runtime.pipelines.values())


class ExitSequence:
    """What is done for the pipelines of this process when it ends."""

    def budget_s(self) -> float | None:
        """Return the exit budget in seconds; None when nothing has been logged in this process."""
        budgets = [each.read().eventhub.exit_timeout_seconds for each in pipelines() if each.processes()]
        return max(budgets, default=None)

    def has_disk(self) -> bool:
        """Whether all pipelines of this process have one."""
        return all(process.stores.spooler is not None for process in _running())

    def secure(self) -> int:
        """Write what waits to disk, where the mode has one; returns how many records are in memory alone."""
        return sum(process.secure() for process in _running())

    def write_always(self) -> None:
        """Have each record on disk before its log call returns from now on, where the mode has a disk."""
        for process in _running():
            process.write_always()

    def deliver(self) -> None:
        """Deliver within the exit budget what waits, and count what is lost; the process may go on.

        Records that come later are delivered as before. If the hub does not answer, the exit hook waits less.
        """
        begun = monotonic()
        end = begun + (self.budget_s() or 0.0)
        running = _running()
        answers = [request.wait(end - monotonic()) for request in _request_all(running)]
        if not all(answers):
            runtime.waited_in_vain(monotonic() - begun)
        for process in running:
            if process.stores.memory_lines:
                process.end()

    def drain(self) -> None:
        """Deliver what waits, within one budget for all exit hooks of this process; count what is lost.

        What has a disk is on it before anything is sent. A signal that raises ends the wait at once.
        """
        running = _running()
        if not running:
            return
        end = runtime.begin_exit(self.budget_s() or 0.0)
        try:
            try:
                for process in running:
                    process.beat_last()
                for process, request in zip(running, _request_all(running), strict=True):
                    if not request.wait(end - monotonic()):
                        process.send_inline(end - monotonic())
            finally:
                for process in running:
                    process.end()
        except (KeyboardInterrupt, SystemExit):
            runtime.give_up_exit()
            for process in running:
                process.end()


exit_sequence: Final = ExitSequence()


def _running() -> list[ProcessState]:
    return [process for pipeline in pipelines() for process in pipeline.processes()]


def _request_all(running: list[ProcessState]) -> list[Request]:
    """Put everything safe, then ask for it to be sent."""
    for process in running:
        process.secure()
    return [process.worker.request_flush(give_up_early=True) for process in running]


class Hook:
    """A handler of SIGTERM in front of another one.

    Args:
        former: what the signal did: a function, or the default action.
        ending: what is done at the end.
        kill: ends the process by a signal; called when its action is the default one.
        safe_wait_s: what waits is on disk after so many seconds, or needs what the interrupted code holds.
    """

    def __init__(
        self,
        former: Handler,
        ending: ExitSequence,
        *,
        kill: Callable[[int], object] = signal.raise_signal,
        safe_wait_s: float = SAFE_WAIT_S,
    ) -> None:
        self.hublog_former: Final = former  # see ``server_advice.FORMER``
        self._ending = ending
        self._kill = kill
        self._safe_wait_s = safe_wait_s

    def __call__(self, number: int, frame: FrameType | None) -> None:
        """Put safe what waits, then do what the signal did; a second signal does that at once."""
        former = self.hublog_former
        signal.signal(number, former)
        is_safe = True
        with contextlib.suppress(Exception):
            is_safe = self._put_safe(number, frame)
        if callable(former):
            former(number, frame)
        elif is_safe:
            self._kill(number)

    def _put_safe(self, number: int, frame: FrameType | None) -> bool:
        """Return False when the process must go on for a moment, and will be ended by the keeper."""
        budget_s = self._ending.budget_s()
        if budget_s is None:
            return True
        self._ending.write_always()  # before what waits is written, so that nothing falls in between
        kill = None if callable(self.hublog_former) else lambda: self._kill(number)
        keeper = _Keeper(self._ending, kill)
        if not _started(keeper.run):
            # Code of ours that was interrupted may hold a lock that we would wait for.
            if not any(name.startswith("hublog.") for name in modules_of(frame)):
                keeper.work()
            return True
        return keeper.is_awaited(self._safe_wait_s, budget_s + _MARGIN_S)


class _Keeper:
    """Works alongside the main thread: that one was interrupted anywhere, with whatever locks it held.

    Args:
        ending: what is done at the end.
        kill: ends the process, in case that the main thread does not wait for us; None where the signal does
            not end it, so that exit hooks may run.

    Attributes:
        safe: set when all that can be on disk is there.
        done: set when all is done.
    """

    def __init__(self, ending: ExitSequence, kill: Callable[[], object] | None) -> None:
        self._ending = ending
        self._kill = kill
        self.safe = threading.Event()
        self.done = threading.Event()

    def run(self) -> None:
        """Do the work, and end the process where the signal does."""
        with contextlib.suppress(Exception):
            self.work()
        self._end()

    def _end(self) -> None:
        if self._kill is not None:
            self._kill()

    def is_awaited(self, safe_wait_s: float, done_wait_s: float) -> bool:
        """Wait for the end of the work; returns whether it was of any use to wait.

        It is not where the work needs a lock that the interrupted code holds, nor in the hub of gevent, which
        cannot wait: there the interrupted code must go on first, and another thread waits in our place.
        """
        try:
            is_safe = self.safe.wait(safe_wait_s)
            if is_safe:
                self.done.wait(done_wait_s)
        except Exception:  # noqa: BLE001  # gevent's own, and no reason to lose what waits
            is_safe = False
        if not is_safe:
            _started(lambda: self._end_in(done_wait_s))
        return is_safe

    def _end_in(self, wait_s: float) -> None:
        self.done.wait(wait_s)
        self._end()

    def work(self) -> None:
        """Write to disk what waits; deliver it, where no exit hook would."""
        left = 1  # if that cannot be known
        try:
            with contextlib.suppress(Exception):
                left = self._ending.secure()
            self.safe.set()
            if self._kill is not None:
                self._ending.drain()
            elif left or not self._ending.has_disk():
                # Memory ends with the process, and not every former handler lets exit hooks run.
                self._ending.deliver()
        finally:
            self.done.set()


def _started(work: Callable[[], object]) -> bool:
    """Return whether a thread could be had for some work."""
    try:
        # Thread.start() waits for the new thread, which gevent's hub cannot.
        _thread.start_new_thread(work, ())
    except RuntimeError:
        return False
    return True


def hook_sigterm(ending: ExitSequence = exit_sequence) -> bool:
    """Put the hook in front of what SIGTERM does now; once a process, however often it is called.

    Only the main thread of the main interpreter can. Never raises.

    Args:
        ending: what can be done; for tests.

    Returns:
        Whether it is in effect. It is not where SIGTERM is ignored, nor under uWSGI, which handles the signal
        itself and runs exit hooks.
    """
    try:
        if not is_sigterm_hooked() and _may_install():
            former = signal.getsignal(signal.SIGTERM)
            # None is a handler that is not Python's, and could not be called.
            if former is not None and former is not signal.SIG_IGN:
                signal.signal(signal.SIGTERM, Hook(former, ending))
    except (OSError, ValueError):  # a system without the signal, or an interpreter that is not asked
        return False
    if is_sigterm_hooked():
        taken.add(Way.HOOK)
    return is_sigterm_hooked()


def is_sigterm_hooked() -> bool:
    """Whether SIGTERM comes to the hook first."""
    return isinstance(signal.getsignal(signal.SIGTERM), Hook)


def _may_install() -> bool:
    # uWSGI would wait in C for ever, for a handler of Python's that runs after the next request only.
    is_main = threading.current_thread() is threading.main_thread() and IS_MAIN_INTERPRETER
    return is_main and "uwsgi" not in sys.modules


def follow(settings: Settings) -> None:
    """Install the hook where the settings ask for it."""
    if not (settings.eventhub.enabled and settings.eventhub.flush_on_sigterm) or hook_sigterm():
        return
    if threading.current_thread() is not threading.main_thread():
        report(
            logging.WARNING,
            "EVENTHUB_LOG_FLUSH_ON_SIGTERM has no effect: the settings were read in a thread, and only the"
            " main thread can take a signal. Configure logging, or log a record, in the main thread first.",
        )
