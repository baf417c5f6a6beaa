"""Puts the hub of a test in the place of the real one, and everything back after it."""

import contextlib
import logging
import threading
import weakref
from collections.abc import Iterator
from logging.handlers import QueueHandler, QueueListener
from typing import Final

from hublog.capture import context, thread_context
from hublog.configure.handlers import installed, kept
from hublog.handler import EventHubHandler
from hublog.runtime.framework import Lookup, surroundings
from hublog.runtime.registry import Feeder, all_feeders, replaced
from hublog.testing.hub import Hub
from hublog.testing.isolation import Snapshot, all_loggers, note_late, reached
from hublog.testing.recorded import RecordedLogs
from hublog.testing.rows import level_number

_standbys: list["_Standby"] = []
#: Handlers that a former test or set-up has left behind: open, and no logger leads to them.
_left: Final["weakref.WeakSet[Feeder]"] = weakref.WeakSet()


class _Standby(EventHubHandler):
    """Takes what is logged as long as the application has no handler for the Event Hub of its own."""

    def capture(self, record: logging.LogRecord, *, is_deep: bool = False) -> None:
        """Hand the record to the pipeline, unless others see to it."""
        if self.is_needed and not _is_seen_to(record):
            super().capture(record, is_deep=is_deep)

    @property
    def is_needed(self) -> bool:
        """Whether there is no other."""
        return not _has_handler()

    def open_root(self) -> None:
        """Let the root logger pass what this takes."""
        lowest = self.level or self.pipeline.read().eventhub.level
        if self.is_needed and logging.root.level > lowest:
            logging.root.setLevel(lowest)


@contextlib.contextmanager
def capture_records(*, level: int | str | None = None) -> Iterator[RecordedLogs]:
    """Have everything arrive in memory that goes to the Event Hub, until the context ends.

    Handlers, formatter, queue, worker and packer are the real ones; only the connection is replaced, whatever
    is configured and whenever it was set up. No network and no disk is used by it. Where the application has
    no handler for the Event Hub, one stands on the root logger meanwhile. At the end everything is as it was:
    loggers with their handlers and levels, pipelines, bound fields.

    Args:
        level: name or number; what that handler takes. Default is ``EVENTHUB_LOG_LEVEL``.

    Raises:
        AssertionError: at the end, when a secret has arrived that was forbidden.
        ValueError: there is no such level.
    """
    __tracebackhide__ = True
    number = logging.NOTSET if level is None else level_number(level)
    hub = Hub()
    records = RecordedLogs(hub)
    with contextlib.ExitStack() as stack:
        stack.callback(thread_context.install if thread_context.is_installed() else thread_context.uninstall)
        stack.callback(note_late, threading.enumerate())
        stack.callback(context.leave, context.enter(context.bound()))
        stack.callback(hub.end)
        stack.enter_context(kept())
        stack.enter_context(replaced(hub.make))
        stack.callback(
            _set_surroundings, surroundings.lookup, surroundings.framework, surroundings.is_hub_replaced
        )
        surroundings.is_hub_replaced = True
        stack.callback(Snapshot().restore)
        stack.callback(_standbys.__delitem__, slice(len(_standbys), None))
        _left.update(found for found in all_feeders() if not _is_led_to(found))
        if not _has_handler():
            _stand_by(number)
        yield records
        hub.recover()
        records.end()


def open_root() -> None:
    """Let the root logger pass what the handler takes that stands by; pytest may have set it back."""
    for standby in _standbys[-1:]:
        standby.open_root()


def _stand_by(level: int) -> None:
    found = installed()
    if found is None:
        standby = _Standby(level)
    else:
        settings, framework = found
        standby = _Standby(level or settings.eventhub.level, settings=settings, framework=framework)
    logging.root.addHandler(standby)
    _standbys.append(standby)
    standby.open_root()


def _has_handler() -> bool:
    return any(
        _is_another(found) and not found.is_closed and (found not in _left or _is_led_to(found))
        for found in all_feeders()
    )


def _is_led_to(handler: object) -> bool:
    """Whether records come to a handler: from a logger, another handler, or a queue that is read."""
    ways: list[object] = [found for logger in all_loggers() for found in logger.handlers]
    queues = {id(getattr(found, "queue", None)) for found in ways if isinstance(found, QueueHandler)}
    for thread in threading.enumerate():
        listener = getattr(getattr(thread, "_target", None), "__self__", None)
        if isinstance(listener, QueueListener) and id(listener.queue) in queues:
            ways += listener.handlers
    known = {id(way) for way in ways}
    for way in ways:  # it grows meanwhile
        for behind in _behind(way):
            if id(behind) not in known:
                known.add(id(behind))
                ways.append(behind)
    return id(handler) in known


def _behind(handler: object) -> Iterator[logging.Handler]:
    """Yield the handlers that another one holds, as ``MemoryHandler`` does."""
    for value in list(getattr(handler, "__dict__", {}).values()):
        for found in value if isinstance(value, list | tuple) else (value,):
            if isinstance(found, logging.Handler):
                yield found


def _is_another(found: object) -> bool:
    return isinstance(found, EventHubHandler) and not isinstance(found, _Standby)


def _is_seen_to(record: logging.LogRecord) -> bool:
    """Whether a handler that was closed takes a record all the same."""
    logger = logging.root.manager.loggerDict.get(record.name)
    return isinstance(logger, logging.Logger) and any(_is_another(handler) for handler in reached(logger))


def _set_surroundings(lookup: Lookup | None, framework: str, is_hub_replaced: bool) -> None:  # noqa: FBT001
    surroundings.lookup, surroundings.framework = lookup, framework
    surroundings.is_hub_replaced = is_hub_replaced
