"""The front of the pipeline: a ``logging.Handler`` without a lock, a wait, a raise or a feedback loop."""

import gc
import logging
import sys
from _thread import get_ident
from collections.abc import Callable
from contextvars import ContextVar
from functools import lru_cache
from types import FrameType
from typing import Final

from hublog import internal_log
from hublog.internal_log import LOGGER_NAME

#: Log calls inside each other that are taken: a ``__str__`` that logs itself would never end, and signals
#: that come faster than a log call would pile up.
MAX_DEPTH: Final = 16
#: From this depth on nothing is done that may take long, such as a write to disk.
DEEP: Final = 3
#: Calls inside one that are taken in all, since a value may be shown more than once.
MAX_INSIDE: Final = 100
#: The depth of our own thread: nothing that it or a library under it logs is shipped.
OWN_THREAD: Final = 1_000
#: In which thread the garbage collector runs: what finalizers log there is the application's. No context
#: variable: up to Python 3.11 the collector may begin inside of ``ContextVar.set``, and another one crashes.
_collecting: Final[list[int]] = []
#: Packages whose finalizers are not the application's.
_PACKAGES: Final = {"azure", "hublog", "msal", "msal_extensions", "requests", "uamqp", "urllib3", "websocket"}

#: Loggers whose records are made by shipping records; they go to console and file only.
#: The module is there because loguru names a record after the module that logs.
_OWN_NAMES: Final = frozenset(
    {"azure", "msal", "msal_extensions", "uamqp", LOGGER_NAME, internal_log.__name__}
)
_OWN_PREFIXES: Final = ("azure.", "msal.", "uamqp.", LOGGER_NAME + ".")

#: Characters of a name that are looked at, since a client may have made it; names of our own are shorter.
_NAME_MAX: Final = 64

#: Loggers of the Azure packages; at INFO they log each connection and each HTTP request, 15 lines a time.
CHATTY: Final = ("azure", "msal")

# A context variable, not a threading.local: one made before gevent patches is shared by all greenlets,
# and a depth, not a flag: a signal handler may log while this thread formats.
_depth: ContextVar[int] = ContextVar("hublog_depth", default=0)
#: Calls inside the one that is inside the outermost, counted in one place for all of them.
_inside: ContextVar[list[int] | None] = ContextVar("hublog_inside", default=None)


def unset_loggers() -> list[str]:
    """Return those of the Azure packages' loggers that have no level of their own."""
    return [name for name in CHATTY if logging.getLogger(name).level == logging.NOTSET]


def quiet_azure() -> None:
    """Give the loggers of the Azure packages the level WARNING, unless they have one.

    ``dictConfig`` makes handlers before it sets levels, so a level in its data still wins.
    """
    for name in unset_loggers():
        logging.getLogger(name).setLevel(logging.WARNING)


_is_ours: ContextVar[bool] = ContextVar("hublog_is_ours", default=False)


def enter_own_thread() -> None:
    """Mark the current thread's context as ours."""
    _depth.set(OWN_THREAD)
    _is_ours.set(True)
    if _note_collection not in gc.callbacks:
        gc.callbacks.append(_note_collection)


def is_own_thread() -> bool:
    """Whether the current thread is ours, which must not wait for itself."""
    return _is_ours.get()


def is_deep() -> bool:
    """Whether this log call is so deep inside others that it must do nothing that may take long."""
    return _depth.get() >= DEEP


def call_deep(function: Callable[[], object]) -> None:
    """Call a function that ships records from a finalizer, as a deep log call does."""
    token = _depth.set(max(_depth.get(), DEEP))
    try:
        function()
    finally:
        _depth.reset(token)


def _note_collection(phase: str, _info: dict[str, int]) -> None:
    """Note in which thread the collector runs finalizers; it calls this in that thread."""
    _collecting[:] = (get_ident(),) if phase == "start" else ()


def _is_of_a_finalizer() -> bool:
    """Whether a finalizer of the application logs: its object died in our thread without the collector."""
    frame: FrameType | None = sys._getframe(1)  # noqa: SLF001  # public in all but its name
    while frame is not None:
        if frame.f_code.co_name in ("__del__", "__call__"):
            module = str(frame.f_globals.get("__name__", ""))
            if frame.f_code.co_name == "__del__" and module.partition(".")[0] not in _PACKAGES:
                return True
            if module == "weakref":
                return True
        frame = frame.f_back
    return False


@lru_cache(maxsize=4_096)
def _is_own(name: str) -> bool:
    """Whether the records of a logger are made by shipping records."""
    return name in _OWN_NAMES or name.startswith(_OWN_PREFIXES)


class CaptureHandler(logging.Handler):
    """Guards ``capture``, which a subclass defines; everything else of a handler works as usual."""

    def createLock(self) -> None:  # noqa: N802  # the name is logging's
        """Make no lock: ``capture`` needs none, and a lock could be held across a fork."""
        self.lock = None

    def handle(self, record: logging.LogRecord) -> bool:
        """Pass a record on, unless a filter refuses it; no lock is taken, and nothing is raised."""
        if self.filters:
            accepted: object = self.filter(record)
            if not accepted:
                return False
            if isinstance(accepted, logging.LogRecord):  # from Python 3.12 on a filter may hand over another
                record = accepted
        self.emit(record)
        return True

    def emit(self, record: logging.LogRecord) -> None:
        """Capture a record; never raises, never waits."""
        try:
            is_own = _is_own(record.name[:_NAME_MAX])
        except (Exception, SystemExit):  # noqa: BLE001  # made by hand, with a name that no logger has
            is_own = False
        depth = _depth.get()
        if is_own or depth:
            if is_own:
                return
            if depth < OWN_THREAD:
                self._emit_inside(record, depth)
            elif get_ident() in _collecting or _is_of_a_finalizer():
                self._emit_inside(record, DEEP - 1)  # it may stand in the middle of anything we do
            return
        token = _depth.set(1)
        try:
            self.capture(record)
        finally:
            _depth.reset(token)

    def _emit_inside(self, record: logging.LogRecord, depth: int) -> None:
        inside = (_inside.get() if depth > 1 else None) or [0]
        inside[0] += 1
        if depth >= MAX_DEPTH or inside[0] > MAX_INSIDE:
            self.refuse(record)
            return
        tokens = _inside.set(inside), _depth.set(depth + 1)
        try:
            self.capture(record)
        finally:
            _inside.reset(tokens[0])
            _depth.reset(tokens[1])

    def capture(self, record: logging.LogRecord) -> None:
        """Take the record; runs in the caller's thread."""
        raise NotImplementedError

    def refuse(self, record: logging.LogRecord) -> None:
        """Count a record that was logged too deep inside log calls, or too often, and is lost."""
        raise NotImplementedError
