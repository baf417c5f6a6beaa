"""The state of all loggers, to find it again after a test."""

import contextlib
import logging
from collections.abc import Iterator
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
