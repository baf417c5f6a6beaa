"""What is wrong with ``LOGGING``."""

import logging
import logging.handlers
from collections.abc import Hashable, Iterator
from typing import Final

from django.conf import settings
from django.core.checks import CheckMessage

from hublog.capture.removal import findings
from hublog.capture.request import LOGGER_NAME as REQUESTS
from hublog.configure.attached import contradictions
from hublog.django.checks.table import message
from hublog.django.logging_dict import LoggerEntry, LoggingDict, is_hub, read_logging
from hublog.django.project import read_project
from hublog.django.workers import known_workers
from hublog.handler import EventHubHandler

#: Django has set these up before it reads ``LOGGING``; whatever is below them is spared with them.
_DJANGOS: Final = ("django", "django.server")
_SHOWN_MAX: Final = 5


def find_missing_handler() -> Iterator[CheckMessage]:
    """Find an Event Hub that is switched on and has no handler."""
    hub = read_project().settings.eventhub
    if hub.enabled and hub.is_configured and not any(read_logging().of_class(EventHubHandler)):
        yield message("W003")


def find_unreached_requests() -> Iterator[CheckMessage]:
    """Find a handler on loggers of the application alone, which no request record meets."""
    reading, found = read_project(), read_logging()
    hub = reading.settings.eventhub
    if not (hub.enabled and hub.is_configured and reading.settings.request.access_records):
        return
    places = [entry for entry in found.loggers.values() if _has_hub(found, entry)]
    if places and not any(_has_hub(found, entry) for entry in found.lineage(REQUESTS)):
        shown = ", ".join(sorted(entry.shown for entry in places)[:_SHOWN_MAX])
        yield message("W018", f"Records of {REQUESTS} reach no EventHubHandler, only those of {shown} do.")


def _has_hub(found: LoggingDict, entry: LoggerEntry) -> bool:
    return any(name in found.handlers and is_hub(found.class_of(name)) for name in entry.handlers)


def find_contradictions() -> Iterator[CheckMessage]:
    """Find settings that the handlers of this process do not follow."""
    for sentence in contradictions(read_project()):
        yield message("W017", sentence)


def find_handlers_without_records() -> Iterator[CheckMessage]:
    """Find handlers of this process that a later configuration removed, or that wait behind a queue."""
    for sentence in findings():
        yield message("W019", sentence)


def find_handlers_met_twice() -> Iterator[CheckMessage]:
    """Find handlers that see a record twice, Django's own among them."""
    found = read_logging().with_djangos()
    told: set[Hashable] = set()
    for name in found.loggers:
        met: dict[Hashable, tuple[str, LoggerEntry]] = {}
        for entry in found.lineage(name):
            for handler in entry.handlers:
                what = _identity(found, handler)
                if what not in met:
                    met[what] = (handler, entry)
                    continue
                key = (what, met[what][1].name, entry.name)
                if key not in told:
                    told.add(key)
                    yield message("W004", _twice(found, met[what], (handler, entry)))


def _identity(found: LoggingDict, handler: str) -> Hashable:
    """Return what is equal for handlers that do the same: the pipeline, the file, else the name."""
    if handler in found.handlers:
        if is_hub(found.class_of(handler)):
            keywords = found.keywords_of(handler).items()
            return ("hub", frozenset((key, repr(value)) for key, value in keywords))
        path = found.file_of(handler)
        if path is not None:
            return ("file", str(path))
        if found.is_console(handler):
            return ("console",)
    return ("name", handler)


def _twice(found: LoggingDict, first: tuple[str, LoggerEntry], second: tuple[str, LoggerEntry]) -> str:
    names = f"{first[0]!r}" if first[0] == second[0] else f"{first[0]!r} and {second[0]!r}"
    noun = "handler" if first[0] == second[0] else "handlers"
    place = second[1].shown if first[1] is second[1] else f"{first[1].shown} and at {second[1].shown}"
    return f"A record meets the {noun} {names} twice, at {place}: it is {_outcome(found, first, second)}."


def _outcome(found: LoggingDict, first: tuple[str, LoggerEntry], second: tuple[str, LoggerEntry]) -> str:
    if first == second:
        return "taken once, since one list holds a handler once"
    if is_hub(found.class_of(first[0])):
        return "sent twice" if first[0] == second[0] else "sent once, by the first of them"
    return "written twice"


def find_silenced_loggers() -> Iterator[CheckMessage]:
    """Find loggers that ``disable_existing_loggers`` silences."""
    found = read_logging()
    flag = found.config.get("disable_existing_loggers", True)
    if not found.config or not flag or found.config.get("incremental"):
        return
    # Without LOGGING_CONFIG it is not Django that applies LOGGING, if anybody does.
    is_applied = bool(getattr(settings, "LOGGING_CONFIG", None)) or "disable_existing_loggers" in found.config
    names = [*_DJANGOS] if is_applied else []
    names += sorted(name for name, logger in _existing() if logger.disabled)
    silenced = list(dict.fromkeys(name for name in names if not _is_spared(found, name)))
    if silenced:
        more = f" and {len(silenced) - _SHOWN_MAX} more" if len(silenced) > _SHOWN_MAX else ""
        shown = f"{', '.join(silenced[:_SHOWN_MAX])}{more}"
        state = "is on" if "disable_existing_loggers" in found.config else "is missing, and on by default"
        yield message("W005", f"disable_existing_loggers {state}: LOGGING silences {shown}.")


def _existing() -> list[tuple[str, logging.Logger]]:
    known = dict(logging.root.manager.loggerDict)
    return [(name, logger) for name, logger in known.items() if isinstance(logger, logging.Logger)]


def _is_spared(found: LoggingDict, name: str) -> bool:
    """Whether ``LOGGING`` names a logger or one above it; the root does not count."""
    return any(each and (name == each or name.startswith(f"{each}.")) for each in found.loggers)


def find_hiding_root() -> Iterator[CheckMessage]:
    """Find a root without a level, which hides from its handler what the handler wants."""
    found = read_logging()
    root = found.loggers.get("")
    if root is None or root.level is not None or found.config.get("incremental"):
        return
    hub = read_project().settings.eventhub
    levels = [
        _level(found.handlers[name].get("level")) or hub.level
        for name in root.handlers
        if name in found.handlers and is_hub(found.class_of(name))
    ]
    others = [_level(entry.level) or logging.WARNING for entry in found.loggers.values()]
    if levels and min(levels) < logging.WARNING and min(others) >= logging.WARNING:
        yield message("W014")


def _level(value: object) -> int:
    """Return the number of a level; 0 for none and for what is none."""
    if isinstance(value, str):
        return logging.getLevelNamesMapping().get(value.upper(), 0)
    return value if isinstance(value, int) else 0


def find_plain_rotation() -> Iterator[CheckMessage]:
    """Find handlers that rotate a file as if nobody else wrote it."""
    found = read_logging()
    kinds = (logging.handlers.RotatingFileHandler, logging.handlers.TimedRotatingFileHandler)
    plain = [name for name in found.of_class(*kinds) if not _is_concurrent(found.class_of(name))]
    workers = known_workers()
    for name in plain:
        kind = getattr(found.class_of(name), "__name__", "")
        if workers > 1:
            yield message(
                "W006",
                f"The handler {name!r} is a {kind}, and {workers} workers rotate its file: lines get lost.",
            )
        elif not settings.DEBUG:
            yield message(
                "I001", f"The handler {name!r} is a {kind}: with more than one worker lines get lost."
            )


def _is_concurrent(kind: type | None) -> bool:
    mro = kind.__mro__ if kind is not None else ()
    return any(each.__module__.partition(".")[0] == "concurrent_log_handler" for each in mro)
