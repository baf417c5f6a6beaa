"""Handlers that get no records: removed by a later configuration, or behind a queue that is not emptied."""

import gc
import logging
import sys
import types
from collections.abc import Iterable, Iterator
from typing import Any, Final

from hublog.internal_log import SKIPS_REPORTS, report
from hublog.process_hooks import process_hooks
from hublog.runtime.shared import runtime

#: Where the classes of the handlers are, and what each of them feeds.
_MODULES: Final = {"hublog.handler": "the Event Hub", "hublog.configure.file_log": "the log file"}
_REMEDY: Final = "call setup_logging() after it, or add the handlers to it (hublog.EventHubHandler)."


def watch() -> None:
    """Notice from now on when ``logging.config.dictConfig`` removes hublog's handlers: one warning says so.

    ``dictConfigClass`` is where ``logging`` lets its configurator be replaced.
    """
    if runtime.is_watching:
        return
    runtime.is_watching = True
    import logging.config  # noqa: PLC0415  # 5 ms that only a process with a handler needs

    config: Any = logging.config
    former = config.dictConfigClass

    def configure(self: Any) -> None:  # noqa: ANN401  # the class is whatever stood there
        before = destinations()
        former.configure(self)
        _compare(before, sys._getframe(1))  # noqa: SLF001  # the only way to name the caller

    config.dictConfigClass = type(former.__name__, (former,), {"configure": configure})
    process_hooks.at_exit(_report_queues)


def destinations() -> frozenset[str]:
    """Return which of Event Hub and log file hublog's handlers on the loggers of this process feed."""
    modules = {_module_of(each) for handler in _all_handlers() for each in behind(handler)}
    return frozenset(name for module, name in _MODULES.items() if module in modules)


def behind(handler: logging.Handler) -> Iterator[logging.Handler]:
    """Yield a handler and those to which it hands its records on, as far as it knows them."""
    yield handler
    listener = getattr(handler, "listener", None)  # a QueueHandler's, from Python 3.12 on
    for each in (getattr(handler, "target", None), *(getattr(listener, "handlers", None) or ())):
        if isinstance(each, logging.Handler):
            yield each


def hublog_handlers() -> list[logging.Handler]:
    """Return the handlers of hublog on the loggers of this process, those behind others among them."""
    handlers = [each for handler in _all_handlers() for each in behind(handler)]
    return [each for each in dict.fromkeys(handlers) if _module_of(each)]


def has_handlers() -> bool:
    """Whether any logger of this process has a handler, of whatever kind."""
    return bool(_all_handlers())


def findings() -> list[str]:
    """Return a sentence, with a remedy, for each way in which handlers of hublog get no records here."""
    sentences = []
    lost = runtime.removed - destinations()
    if lost:
        sentences.append(_removed_text(lost))
    fronts = _idle_fronts()
    if fronts:
        sentences.append(_queue_text(fronts))
    return sentences


def _compare(before: frozenset[str], frame: types.FrameType | None) -> None:
    lost = before - destinations()
    if not lost:
        return
    while frame is not None and str(frame.f_globals.get("__name__", "")).partition(".")[0] == "logging":
        frame = frame.f_back
    by = str(frame.f_globals.get("__name__", "")) if frame is not None else ""
    is_new = lost - runtime.removed
    runtime.removed, runtime.removed_by = runtime.removed | lost, by
    if is_new:
        report(logging.WARNING, _removed_text(lost))


def _removed_text(lost: frozenset[str]) -> str:
    by = f" by {runtime.removed_by}" if runtime.removed_by else ""
    return (
        f"A logging configuration that was applied{by} has removed hublog's handlers, and records no longer"
        f" reach {' and '.join(sorted(lost))}: {_REMEDY}"
    )


def _queue_text(fronts: Iterable[Any]) -> str:
    return (
        f"hublog's handlers stand behind a QueueListener that is not started, so records wait in its queue"
        f" ({sum(map(_waiting, fronts)):,} now): call start() on it, or put hublog.EventHubHandler on the"
        " logger itself, which needs no queue in front."
    )


def _waiting(front: Any) -> int:  # noqa: ANN401  # any handler with a queue
    """Return how many records wait in the queue of a handler; 0 where the queue does not say."""
    try:
        return int(front.queue.qsize())
    except Exception:  # noqa: BLE001  # a queue of the application, or one that has no size
        return 0


def _idle_fronts() -> list[Any]:
    """Return handlers whose queue a listener that is not started should empty into handlers of hublog."""
    fronts: list[Any] = [each for each in _all_handlers() if getattr(each, "queue", None) is not None]
    if not fronts:
        return []
    from logging.handlers import QueueListener  # noqa: PLC0415  # loaded where there is a queue

    # By type: to ask a lazy object of the application for its class may load it.
    listeners: list[Any] = [each for each in gc.get_objects() if issubclass(type(each), QueueListener)]
    return [
        front
        for front in fronts
        for each in listeners
        if each.queue is front.queue
        and getattr(each, "_thread", None) is None
        and any(_module_of(handler) in _MODULES for handler in each.handlers)
    ]


def _report_queues() -> None:
    """Report at the end of the process, once, what is left in a queue."""
    fronts = [each for each in _idle_fronts() if _waiting(each) and not getattr(each, SKIPS_REPORTS, False)]
    for front in fronts:
        setattr(front, SKIPS_REPORTS, True)  # or the report would wait there too, and come once more
    if fronts:
        report(logging.WARNING, _queue_text(fronts))


def _all_handlers() -> list[logging.Handler]:
    known = list(logging.root.manager.loggerDict.values())
    loggers = [logging.root, *(each for each in known if isinstance(each, logging.Logger))]
    return [handler for logger in loggers for handler in logger.handlers]


def _module_of(handler: object) -> str:
    """Return the module of the class of hublog that a handler is of; empty for others."""
    names = (kind.__module__ for kind in type(handler).__mro__)
    return next((name for name in names if name.startswith("hublog.")), "")
