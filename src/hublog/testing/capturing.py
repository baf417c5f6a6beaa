"""Replaces the real hub by that of a test, and restores everything after it."""

import contextlib
import logging
import threading
import weakref
from collections.abc import Iterator
from logging.handlers import QueueHandler, QueueListener
from typing import Any, Final, NamedTuple

from hublog.capture import context, thread_context
from hublog.configure.handlers import installed, kept
from hublog.handler import EventHubHandler
from hublog.runtime.registry import Feeder, all_feeders, replaced
from hublog.runtime.shared import runtime
from hublog.settings.reader import Lookup
from hublog.testing.memory_hub import MemoryHub, note_late
from hublog.testing.recorded import RecordedLogs
from hublog.testing.rows import level_number, reached

_standbys: list["_Standby"] = []
#: Handlers that an earlier test or set-up has left open, although no logger leads to them.
_left: Final["weakref.WeakSet[Feeder]"] = weakref.WeakSet()


class _Standby(EventHubHandler):
    """Captures records as long as the application has no handler for the Event Hub."""

    def capture(self, record: logging.LogRecord) -> None:
        """Hand the record to the pipeline, unless another handler does."""
        if self.is_needed and not _is_handled(record):
            super().capture(record)

    @property
    def is_needed(self) -> bool:
        """Whether there is no other handler."""
        return not _has_handler()

    def open_root(self) -> None:
        """Lower the level of the root logger to that of this handler."""
        lowest = self.level or self.pipeline.read().eventhub.level
        if self.is_needed and logging.root.level > lowest:
            logging.root.setLevel(lowest)


@contextlib.contextmanager
def capture_records(*, level: int | str | None = None) -> Iterator[RecordedLogs]:
    """Capture in memory what is logged to the Event Hub, until the context ends.

    Handlers, formatter, queue, worker and packer are the real ones; only the connection is replaced, whatever
    is configured and whenever it was set up. It uses neither network nor disk. If the application has no
    handler for the Event Hub, the root logger has one meanwhile. At the end everything is restored: loggers
    with their handlers and levels, pipelines, bound fields.

    Args:
        level: name or number; the level of that handler. Default is ``EVENTHUB_LOG_LEVEL``.

    Raises:
        AssertionError: at the end, if a forbidden secret has arrived.
        ValueError: there is no such level.
    """
    __tracebackhide__ = True
    number = logging.NOTSET if level is None else level_number(level)
    hub = MemoryHub()
    records = RecordedLogs(hub)
    with contextlib.ExitStack() as stack:
        stack.callback(thread_context.install if thread_context.is_installed() else thread_context.uninstall)
        stack.callback(note_late, threading.enumerate())
        stack.callback(context.leave, context.enter(context.bound()))
        stack.callback(hub.end)
        stack.enter_context(kept())
        stack.enter_context(replaced(hub.make))
        stack.callback(_set_adapter, runtime.lookup, runtime.framework, runtime.is_hub_replaced)
        runtime.is_hub_replaced = True
        stack.callback(Snapshot().restore)
        stack.callback(_standbys.__delitem__, slice(len(_standbys), None))
        _left.update(feeder for feeder in all_feeders() if not _is_led_to(feeder))
        if not _has_handler():
            _stand_by(number)
        yield records
        hub.outage.end()
        records.end()


def open_root() -> None:
    """Lower the level of the root logger again, which pytest may have reset."""
    for standby in _standbys[-1:]:
        standby.open_root()


def _stand_by(level: int) -> None:
    configured = installed()
    if configured is None:
        standby = _Standby(level)
    else:
        settings, framework = configured
        standby = _Standby(level or settings.eventhub.level, settings=settings, framework=framework)
    logging.root.addHandler(standby)
    _standbys.append(standby)
    standby.open_root()


def _has_handler() -> bool:
    return any(
        _is_another(feeder) and not feeder.is_closed and (feeder not in _left or _is_led_to(feeder))
        for feeder in all_feeders()
    )


def _is_led_to(handler: object) -> bool:
    """Whether records reach a handler: from a logger, another handler, or a queue with a listener."""
    ways: list[object] = [handler for logger in all_loggers() for handler in logger.handlers]
    queues = {id(getattr(handler, "queue", None)) for handler in ways if isinstance(handler, QueueHandler)}
    for thread in threading.enumerate():
        listener = getattr(getattr(thread, "_target", None), "__self__", None)
        if isinstance(listener, QueueListener) and id(listener.queue) in queues:
            ways += listener.handlers
    known = {id(way) for way in ways}
    for way in ways:  # it grows during the loop
        for behind in _behind(way):
            if id(behind) not in known:
                known.add(id(behind))
                ways.append(behind)
    return id(handler) in known


def _behind(handler: object) -> Iterator[logging.Handler]:
    """Yield the handlers that another one holds, as ``MemoryHandler`` does."""
    for value in list(getattr(handler, "__dict__", {}).values()):
        for held in value if isinstance(value, list | tuple) else (value,):
            if isinstance(held, logging.Handler):
                yield held


def _is_another(handler: object) -> bool:
    return isinstance(handler, EventHubHandler) and not isinstance(handler, _Standby)


def _is_handled(record: logging.LogRecord) -> bool:
    """Whether a closed handler takes a record all the same."""
    logger = logging.root.manager.loggerDict.get(record.name)
    return isinstance(logger, logging.Logger) and any(_is_another(handler) for handler in reached(logger))


def _set_adapter(lookup: Lookup | None, framework: str, is_hub_replaced: bool) -> None:  # noqa: FBT001
    runtime.lookup, runtime.framework = lookup, framework
    runtime.is_hub_replaced = is_hub_replaced


class _State(NamedTuple):
    level: int
    propagate: bool
    disabled: bool
    handlers: tuple[logging.Handler, ...]
    filters: tuple[Any, ...]  # any object that logging accepts as a filter


#: The state of an unconfigured logger.
_NEW: Final = _State(logging.NOTSET, True, False, (), ())  # noqa: FBT003  # the fields stand above


class Snapshot:
    """The current state of all loggers: handlers, levels and filters."""

    def __init__(self) -> None:
        self._states = {logger: _state(logger) for logger in all_loggers()}
        self._levels = {
            handler: handler.level for state in self._states.values() for handler in state.handlers
        }
        self._disable = logging.root.manager.disable

    def restore(self) -> None:
        """Restore it; new handlers are closed, except for those of pytest and libraries."""
        added: list[logging.Handler] = []
        for logger in list(all_loggers()):
            added += _restore(logger, self._states.get(logger, _NEW))
        for handler, level in self._levels.items():
            handler.setLevel(level)
            if handler.name:
                handler.name = handler.name  # it may have been removed from logging's list of names
        logging.root.manager.disable = self._disable
        for handler in added:
            if handler not in self._levels:
                with contextlib.suppress(Exception):  # the next test must begin in any case
                    handler.close()


def all_loggers() -> Iterator[logging.Logger]:
    """Yield all existing loggers, the root first."""
    yield logging.root
    for logger in list(logging.root.manager.loggerDict.values()):
        if isinstance(logger, logging.Logger):
            yield logger


def _state(logger: logging.Logger) -> _State:
    return _State(
        logger.level, logger.propagate, logger.disabled, tuple(logger.handlers), tuple(logger.filters)
    )


def _restore(logger: logging.Logger, then: _State) -> list[logging.Handler]:
    """Restore a logger, and return the handlers that were removed from it."""
    now = _state(logger)
    if now == then:
        return []
    added = [handler for handler in now.handlers if handler not in then.handlers and not _stays(handler)]
    for handler in added:
        logger.removeHandler(handler)
    logger.handlers[:] = [
        *then.handlers,
        *(handler for handler in logger.handlers if handler not in then.handlers),
    ]
    logger.filters[:] = then.filters
    logger.propagate, logger.disabled = then.propagate, then.disabled
    if now.level != then.level:
        logger.setLevel(then.level)
    return added


def _stays(handler: logging.Handler) -> bool:
    """Whether it does not belong to the test: pytest's own, or the ``NullHandler`` of a library."""
    return type(handler) is logging.NullHandler or type(handler).__module__.startswith("_pytest.")
