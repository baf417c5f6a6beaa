"""SIGHUP has the settings read again and applied, where ``LOG_RELOAD_ON_SIGHUP`` asks for it.

A signal that is handled, or ignored, stays as it is: servers reload themselves by it. The handler only starts
a thread; what that one reads goes the way of a second ``setup_logging``.
"""

import _thread
import contextlib
import logging
import signal
import sys
import threading
from collections.abc import Callable
from types import FrameType
from typing import Final

from hublog.internal_log import report
from hublog.process_hooks import process_hooks
from hublog.runtime.server_advice import leave_signals
from hublog.settings import SETTINGS, Reading, Settings

_NAME: Final = "LOG_RELOAD_ON_SIGHUP"


class _Reload:
    """What a SIGHUP reads and applies in this process: what was configured last."""

    settings = Settings()
    read: Callable[[], Reading] | None = None
    apply: Callable[[Reading], object] | None = None
    lock = threading.Lock()
    is_wanted = False


def _forget_lock() -> None:
    _Reload.lock = threading.Lock()  # another thread may have held it when the process was forked


process_hooks.in_child(_forget_lock)


def follow(settings: Settings, read: Callable[[], Reading], apply: Callable[[Reading], object]) -> None:
    """Take SIGHUP where the settings ask for it; a warning says why it cannot be taken. Never raises.

    Args:
        settings: those that are in effect.
        read: reads them again, from the same sources.
        apply: applies what was read.
    """
    _Reload.settings = settings
    _Reload.read, _Reload.apply = (read, apply) if settings.reload_on_sighup else (None, None)
    if settings.reload_on_sighup:
        reason = _why_not()
        if reason:
            report(logging.WARNING, f"{_NAME} has no effect: {reason}.")


def _why_not() -> str:
    """Install the handler; returns why it cannot be, empty if it is there."""
    number = getattr(signal, "SIGHUP", None)
    current = None if number is None else signal.getsignal(number)
    if number is None or current is _take:
        return "" if number else "this system has no SIGHUP"
    reason = _why_taken(current)
    if not reason:
        try:
            signal.signal(number, _take)
        except (OSError, ValueError):
            reason = "only the main thread can take a signal, and logging was configured in another one"
    return reason


def _why_taken(current: object) -> str:
    if "uwsgi" in sys.modules:
        return "uWSGI handles SIGHUP itself, and reloads the application by it"
    if current is signal.SIG_IGN:
        return "SIGHUP is ignored in this process, as nohup has it"
    if current is not signal.SIG_DFL:
        return f"SIGHUP is handled already, by {getattr(current, '__module__', '') or 'another program'}"
    return ""


def _take(number: int, frame: FrameType | None) -> None:
    del number, frame
    _Reload.is_wanted = True
    with contextlib.suppress(RuntimeError):  # no thread can be had; the next signal tries again
        # Thread.start() waits for the new thread, which the interrupted code may not let run.
        _thread.start_new_thread(_work, ())


def _work() -> None:
    leave_signals()
    with _Reload.lock:
        if not _Reload.is_wanted:  # two signals came at once
            return
        _Reload.is_wanted = False
        try:
            _read_again()
        except Exception as error:  # noqa: BLE001  # the former settings stay
            cause = getattr(error, "strerror", None) or type(error).__name__
            report(
                logging.ERROR, f"The settings could not be read again at SIGHUP ({cause}); nothing changes."
            )


def _read_again() -> None:
    read, apply, former = _Reload.read, _Reload.apply, _Reload.settings
    if read is None or apply is None:
        return
    reading = read()
    if reading.problems:
        text = " ".join(reading.problems)
        report(
            logging.ERROR,
            f"The settings read again at SIGHUP are not applied, since some are invalid: {text}",
        )
        return
    changed = [each.name for each in SETTINGS if each.value_in(former) != each.value_in(reading.settings)]
    apply(reading)
    _Reload.settings = reading.settings
    text = f"changed: {', '.join(changed)}" if changed else "none has changed"
    report(logging.INFO, f"The settings were read again at SIGHUP; {text}.")
