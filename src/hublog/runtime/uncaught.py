"""An exception that ends the process or a thread is one record, and Python does with it what it always did.

``install`` puts a hook around ``sys.excepthook`` and ``threading.excepthook``, which calls the former one in
any case. ``SystemExit``, ``KeyboardInterrupt`` and ``GeneratorExit`` end what they end without a record. What
a task of asyncio raises, and no code retrieves, asyncio logs itself.
"""

import contextlib
import logging
import sys
import threading
from collections.abc import Callable
from types import TracebackType
from typing import Any, Final, NamedTuple

from hublog.runtime.shared import runtime
from hublog.settings import Settings

#: Logger of the record.
LOGGER_NAME: Final = "hublog.uncaught"

_ENDS: Final = (SystemExit, KeyboardInterrupt, GeneratorExit)
#: Hooks of these modules show an exception and log nothing. Another one may log it itself, and is called
#: first, so that the exception is in one record.
_SILENT: Final = frozenset(
    {"sys", "_thread", "threading", "_pytest", "sentry_sdk", "rich", "IPython", "pydevd", "_pydevd_bundle"}
)
_Hook = Callable[..., Any]


class _Wrapper:
    """Stands in the place of a hook.

    Args:
        former: the hook that stood there.
        show: takes what the hook is called with, and returns the exception and where it was raised.
    """

    def __init__(self, former: _Hook, show: Callable[..., "_Uncaught"]) -> None:
        self._former = former
        self._show = show

    def __call__(self, *args: Any) -> None:  # noqa: ANN401  # as the interpreter calls it
        """Log the exception, and call the former hook, whatever becomes of the record."""
        uncaught = None
        with contextlib.suppress(Exception):
            uncaught = self._show(*args)
        if uncaught is None or not runtime.logs_uncaught or isinstance(uncaught.error, _ENDS):
            self._former(*args)
            return
        module = str(getattr(self._former, "__module__", "")).partition(".")[0]
        if module in _SILENT:
            _log(uncaught)
            self._former(*args)
            return
        watch = _Watch(uncaught.error)
        logging.root.addHandler(watch)
        try:
            self._former(*args)
        finally:
            logging.root.removeHandler(watch)
            if not watch.is_logged:
                _log(uncaught)


class _Uncaught(NamedTuple):
    """An uncaught exception; ``thread`` is the name of the one it ends, empty for the process."""

    error: BaseException
    traceback: TracebackType | None
    thread: str = ""


def install() -> None:
    """Have uncaught exceptions logged, once, however often it is called."""
    runtime.logs_uncaught = True
    if not isinstance(sys.excepthook, _Wrapper):
        sys.excepthook = _Wrapper(sys.excepthook, _of_process)
    if not isinstance(threading.excepthook, _Wrapper):
        threading.excepthook = _Wrapper(threading.excepthook, _of_thread)


def uninstall() -> None:
    """Log no uncaught exception; hooks that another one stands in front of stay, without an effect."""
    runtime.logs_uncaught = False
    if isinstance(sys.excepthook, _Wrapper):
        sys.excepthook = sys.excepthook._former  # noqa: SLF001  # one of ours
    if isinstance(threading.excepthook, _Wrapper):
        threading.excepthook = threading.excepthook._former  # noqa: SLF001  # as above


def follow(settings: Settings) -> None:
    """Do as the settings say that are read last."""
    if settings.uncaught_exceptions:
        install()
    else:
        uninstall()


def _of_process(
    kind: type[BaseException], error: BaseException | None, traceback: TracebackType | None
) -> _Uncaught:
    return _Uncaught(error if error is not None else kind(), traceback)


def _of_thread(args: threading.ExceptHookArgs) -> _Uncaught:
    error = args.exc_value if args.exc_value is not None else args.exc_type()
    return _Uncaught(error, args.exc_traceback, args.thread.name if args.thread is not None else "unknown")


def _log(uncaught: _Uncaught) -> None:
    """Write the record; where no handler would take it, nothing is written."""
    logger = logging.getLogger(LOGGER_NAME)
    if not logger.hasHandlers() or getattr(_running, "is_logging", False):
        return
    _running.is_logging = True
    try:
        with contextlib.suppress(Exception):
            logger.critical(
                "Uncaught %s ends %s",
                type(uncaught.error).__name__,
                f"the thread {uncaught.thread}" if uncaught.thread else "the process",
                exc_info=(type(uncaught.error), uncaught.error, uncaught.traceback),
                extra={"event_name": "thread.failed" if uncaught.thread else "process.failed"},
            )
    finally:
        _running.is_logging = False


class _Watch(logging.Handler):
    """Sees whether an exception is logged to the root logger."""

    def __init__(self, error: BaseException) -> None:
        super().__init__()
        self._error = error
        self.is_logged = False

    def emit(self, record: logging.LogRecord) -> None:
        """Look at a record's exception."""
        given: object = record.exc_info
        if given is self._error or (isinstance(given, tuple) and len(given) > 1 and given[1] is self._error):
            self.is_logged = True


_running: Final = threading.local()
