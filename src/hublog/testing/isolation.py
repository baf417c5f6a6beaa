"""What one test leaves behind for the next: changed loggers, which are restored, and threads that go on."""

import contextlib
import logging
import sys
import threading
import weakref
from collections.abc import Iterable, Iterator
from logging import LogRecord
from types import FrameType
from typing import Any, Final, NamedTuple


class _State(NamedTuple):
    level: int
    propagate: bool
    disabled: bool
    handlers: tuple[logging.Handler, ...]
    filters: tuple[Any, ...]  # whatever logging takes for one


#: What a logger is that nobody has touched.
_NEW: Final = _State(logging.NOTSET, True, False, (), ())  # noqa: FBT003  # the fields stand above


class Snapshot:
    """How all loggers are now: handlers, levels and filters."""

    def __init__(self) -> None:
        self._states = {logger: _state(logger) for logger in all_loggers()}
        self._levels = {
            handler: handler.level for state in self._states.values() for handler in state.handlers
        }
        self._disable = logging.root.manager.disable

    def restore(self) -> None:
        """Bring that back; what came meanwhile is closed, but for what pytest and libraries put there."""
        came: list[logging.Handler] = []
        for logger in list(all_loggers()):
            came += _restore(logger, self._states.get(logger, _NEW))
        for handler, level in self._levels.items():
            handler.setLevel(level)
            if handler.name:
                handler.name = handler.name  # it may have lost its place in logging's list of names
        logging.root.manager.disable = self._disable
        for handler in came:
            if handler not in self._levels:
                with contextlib.suppress(Exception):  # whatever is wrong with it, the next test begins
                    handler.close()


def reached(logger: logging.Logger) -> Iterator[logging.Handler]:
    """Yield the handlers that records of a logger come to."""
    current: logging.Logger | None = logger
    while current is not None:
        yield from current.handlers
        current = current.parent if current.propagate else None


def all_loggers() -> Iterator[logging.Logger]:
    """Yield all loggers that are there, the root first."""
    yield logging.root
    for found in list(logging.root.manager.loggerDict.values()):
        if isinstance(found, logging.Logger):
            yield found


def _state(logger: logging.Logger) -> _State:
    return _State(
        logger.level, logger.propagate, logger.disabled, tuple(logger.handlers), tuple(logger.filters)
    )


def _restore(logger: logging.Logger, then: _State) -> list[logging.Handler]:
    """Bring a logger back, and return the handlers that were taken from it."""
    now = _state(logger)
    if now == then:
        return []
    came = [handler for handler in now.handlers if handler not in then.handlers and not _stays(handler)]
    for handler in came:
        logger.removeHandler(handler)
    logger.handlers[:] = [*then.handlers, *(found for found in logger.handlers if found not in then.handlers)]
    logger.filters[:] = then.filters
    logger.propagate, logger.disabled = then.propagate, then.disabled
    if now.level != then.level:
        logger.setLevel(then.level)
    return came


def _stays(handler: logging.Handler) -> bool:
    """Whether it is no business of the test: pytest's own, or the one by which a library keeps quiet."""
    return type(handler) is logging.NullHandler or type(handler).__module__.startswith("_pytest.")


#: Code in which threads wait that serve whoever comes, by the first parts of its modules' names: pools and
#: servers, which one test starts and others use.
_SERVING: Final = (
    "anyio",
    "apscheduler",
    "asyncio",
    "celery",
    "cheroot",
    "concurrent.futures",
    "dramatiq",
    "gevent",
    "huey",
    "hypercorn",
    "multiprocessing.pool",
    "socketserver",
    "trio",
    "uvicorn",
    "waitress",
)
_late: Final["weakref.WeakSet[threading.Thread]"] = weakref.WeakSet()


def note_late(there: Iterable[threading.Thread]) -> None:
    """Take no record any more from the threads that run now.

    Args:
        there: threads that were there before, and go on as ever.
    """
    left = set(threading.enumerate()).difference(there)
    frames = sys._current_frames() if left else {}  # noqa: SLF001  # documented, for debuggers
    for thread in left:
        if not _serves(frames.get(thread.ident or 0)):
            _late.add(thread)


def is_late(record: LogRecord) -> bool:
    """Whether a record comes from a thread that was left behind by a test that is over."""
    return any(thread.ident == record.thread and thread.is_alive() for thread in list(_late))


def _serves(frame: FrameType | None) -> bool:
    while frame is not None:
        name = str(frame.f_globals.get("__name__", ""))
        if any(name == module or name.startswith(f"{module}.") for module in _SERVING):
            return True
        frame = frame.f_back
    return False
