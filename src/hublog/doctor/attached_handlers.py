"""The handlers that are really attached to the loggers of this process, and the records that miss them."""

import logging
import sys
from collections.abc import Iterator
from typing import Final

from hublog.configure.handlers import EVENT_HUB, attached, level_text
from hublog.doctor.steps import StepResult, ok, warn
from hublog.runtime.handler_watch import behind, hublog_handlers
from hublog.settings import Settings

_STEP: Final = "handlers"
#: Loggers that are listed, and that are named in a warning.
_LISTED_MAX: Final = 20
_NAMED_MAX: Final = 5
#: Django's logger of its development server, which has a console of its own.
_USUAL: Final = frozenset({"django.server"})
UNKNOWN: Final = (
    "not known here, since this command loads no application; python manage.py hublog doctor and flask hublog"
    " doctor list them"
)


def check_handlers(settings: Settings, *, has_application: bool) -> Iterator[StepResult]:
    """List the handlers of each logger, then warn of what is attached twice, and of what reaches none."""
    if not has_application:
        yield ok(_STEP, UNKNOWN)
        return
    yield from _list()
    hub = settings.eventhub
    if hub.enabled and hub.is_configured and all(each.kind != EVENT_HUB for each in attached()):
        yield warn(
            _STEP,
            "the Event Hub is switched on, but no logger has an EventHubHandler",
            "Attach hublog.EventHubHandler to the root logger, or set EVENTHUB_LOGGING_ENABLED=false.",
        )
    yield from _doubled()
    yield from _unreached()


def _list() -> Iterator[StepResult]:
    with_handlers = [logger for logger in _loggers() if logger.handlers]
    for logger in with_handlers[:_LISTED_MAX]:
        alone = "" if logger.propagate else ", propagate=False"
        shown = "; ".join(_text(each) for handler in logger.handlers for each in behind(handler))
        yield ok(_STEP, f"{_place(logger)}, level {level_text(logger.getEffectiveLevel())}{alone}: {shown}")
    if len(with_handlers) > _LISTED_MAX:
        yield ok(_STEP, f"and {len(with_handlers) - _LISTED_MAX} more loggers with handlers")


def _doubled() -> Iterator[StepResult]:
    """Warn of each destination that gets a record twice, at the loggers where both handlers meet."""
    seen: set[tuple[str, ...]] = set()
    for logger in _loggers():
        first: dict[object, str] = {}
        for at in _lineage(logger):
            for handler in at.handlers:
                place = _destination(handler)
                if place is None or handler.filters:  # a filter may leave out what the other one takes
                    continue
                pair = (_text(handler), first.get(place, ""), _place(at))
                if place in first and pair not in seen:
                    seen.add(pair)
                    where = pair[1] if pair[1] == pair[2] else f"{pair[1]} and {pair[2]}"
                    yield warn(
                        _STEP,
                        f"{pair[0]} is attached twice, on {where}: records of {_place(logger)} come twice",
                        "Remove one of the two.",
                    )
                first.setdefault(place, _place(at))


def _unreached() -> Iterator[StepResult]:
    ours = set(map(id, hublog_handlers()))
    loggers = list(_loggers())
    alone = [
        logger
        for logger in loggers
        if not (logger.propagate or logger.disabled or logger.name in _USUAL)
        and not any(id(each) in ours for handler in logger.handlers for each in behind(handler))
    ]
    if ours and alone:
        yield warn(
            _STEP,
            f"records of {_names(alone)} reach none of hublog's handlers (propagate=False)",
            "Let it propagate, or attach hublog's handlers to it.",
        )
    disabled = [logger for logger in loggers if logger.disabled]
    if disabled:
        yield warn(
            _STEP,
            f"{_names(disabled)} loses its records: a logging configuration has disabled it",
            'Set "disable_existing_loggers" to False in it.',
        )
    if logging.root.manager.disable > logging.NOTSET:
        yield warn(
            _STEP,
            f"logging.disable({level_text(logging.root.manager.disable)}) is in effect for all loggers",
            "Undo it with logging.disable(logging.NOTSET).",
        )


def _loggers() -> Iterator[logging.Logger]:
    """Yield all loggers, the root first."""
    yield logging.root
    known = sorted(logging.root.manager.loggerDict.items())
    yield from (each for _, each in known if isinstance(each, logging.Logger))


def _lineage(logger: logging.Logger) -> Iterator[logging.Logger]:
    """Yield the loggers whose handlers get the records of one, itself first."""
    at: logging.Logger | None = logger
    while at is not None:
        yield at
        at = at.parent if at.propagate else None


def _destination(handler: logging.Handler) -> object:
    """Return what is equal for two handlers that write to one place; None where that is not known."""
    path = getattr(handler, "baseFilename", None)
    if path:
        return str(path)
    if isinstance(handler, logging.StreamHandler):
        return id(handler.stream)
    # Handlers that share a pipeline have it take a record once.
    return None if getattr(handler, "pipeline", None) is not None else handler


def _text(handler: logging.Handler) -> str:
    """Return the class of a handler with its level and destination."""
    kind = type(handler)
    module = kind.__module__.partition(".")[0]
    level = f" {level_text(handler.level)}" if handler.level else ""
    path = str(getattr(handler, "baseFilename", "") or "")
    if not path and isinstance(handler, logging.StreamHandler):
        streams = {id(sys.stdout): "standard output", id(sys.stderr): "standard error"}
        path = streams.get(id(handler.stream), type(handler.stream).__name__)
    return f"{module}.{kind.__qualname__}{level}{f' to {path}' if path else ''}"


def _place(logger: logging.Logger) -> str:
    return "the root logger" if logger is logging.root else f"the logger {logger.name!r}"


def _names(loggers: list[logging.Logger]) -> str:
    shown = ", ".join(_place(each) for each in loggers[:_NAMED_MAX])
    return shown if len(loggers) <= _NAMED_MAX else f"{shown} and {len(loggers) - _NAMED_MAX} more"
