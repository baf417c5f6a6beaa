"""The project's ``LOGGING`` as it may really stand there: read without trust, since anything may be in it."""

import logging
import os
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from django.conf import settings
from django.utils.log import DEFAULT_LOGGING, RequireDebugFalse, RequireDebugTrue
from django.utils.module_loading import import_string

from hublog.handler import EventHubHandler
from hublog.settings import SETTINGS

#: What a handler has besides its own keywords.
_COMMON: Final = frozenset({"class", "()", "level", "filters", "formatter", "framework"})
_FIELDS: Final = frozenset(setting.field for setting in SETTINGS if setting.section == "eventhub_logging")
#: In front of the names of handlers that Django itself has set up.
_DJANGOS: Final = "Django's "
_STREAMS: Final = ("ext://sys.stdout", "ext://sys.stderr")
_PASSING_DEBUG: Final = ("django.utils.log.RequireDebugTrue", RequireDebugTrue)
_PASSING_PRODUCTION: Final = ("django.utils.log.RequireDebugFalse", RequireDebugFalse)


@dataclass(frozen=True, slots=True, kw_only=True)
class LoggerEntry:
    """A logger of the configuration.

    Attributes:
        name: empty for the root.
        handlers: names of its handlers.
        propagates: whether its records go on to its ancestors.
        level: as it stands there; None if it has none.
    """

    name: str
    handlers: tuple[str, ...]
    propagates: bool
    level: object

    @property
    def shown(self) -> str:
        """The name as a reader knows it."""
        return f"the logger {self.name!r}" if self.name else "the root logger"


class LoggingDict:
    """What stands in ``LOGGING``; what is of no use is left out.

    Args:
        config: the setting.
    """

    def __init__(self, config: object) -> None:
        self.config: Mapping[object, object] = config if isinstance(config, Mapping) else {}
        self.handlers = {
            name: handler
            for name, handler in _mapping(self.config.get("handlers")).items()
            if isinstance(name, str) and isinstance(handler, Mapping)
        }
        self._classes = {name: _class_of(handler) for name, handler in self.handlers.items()}
        named = _mapping(self.config.get("loggers")).items()
        self.loggers = {
            name: _entry(name, logger)
            for name, logger in [*named, ("", self.config.get("root"))]
            if isinstance(name, str) and isinstance(logger, Mapping)
        }

    def of_class(self, *kinds: type) -> Iterator[str]:
        """Yield the handlers of some classes, or of subclasses, by name."""
        return (
            name for name, found in self._classes.items() if found is not None and issubclass(found, kinds)
        )

    def class_of(self, handler: str) -> type | None:
        """Return the class of a handler; None if it cannot be told."""
        return self._classes.get(handler)

    def keywords_of(self, handler: str) -> dict[str, object]:
        """Return what is given to a handler alone."""
        return {str(key): value for key, value in self.handlers[handler].items() if key not in _COMMON}

    def hub_keywords(self) -> dict[str, object]:
        """Return what is given to our handlers, if all of them are given the same; else nothing."""
        given = [self.keywords_of(handler) for handler in self.of_class(EventHubHandler)]
        found = [{name: value for name, value in each.items() if name in _FIELDS} for each in given]
        return found[0] if found and all(each == found[0] for each in found) else {}

    def file_of(self, handler: str) -> Path | None:
        """Return the file that a handler writes; None for handlers of another kind."""
        name = self.handlers[handler].get("filename")
        kind = self.class_of(handler)
        if kind is None or not issubclass(kind, logging.FileHandler) or not isinstance(name, str | Path):
            return None
        text = str(name)
        # What has a converter in front (ext://, cfg://) is looked up by dictConfig.
        return None if not text or "\0" in text or "://" in text else Path(os.path.abspath(text))  # noqa: PTH100  # not resolve: a link is a name of its own

    def lineage(self, name: str) -> Iterator[LoggerEntry]:
        """Yield the loggers that a record of a logger meets, itself first, the root last."""
        at: str | None = name
        while at is not None:
            entry = self.loggers.get(at)
            if entry is not None:
                yield entry
                if not entry.propagates:
                    return
            at = None if not at else at.rpartition(".")[0]

    def is_console(self, handler: str) -> bool:
        """Whether a handler writes to standard output or error all that it gets, as ``DEBUG`` is now."""
        kind, config = self.class_of(handler), self.handlers[handler]
        if (
            kind is None
            or not issubclass(kind, logging.StreamHandler)
            or issubclass(kind, logging.FileHandler)
        ):
            return False
        if config.get("stream") not in (None, *_STREAMS, sys.stdout, sys.stderr):
            return False
        filters = config.get("filters") or ()
        known = _mapping(self.config.get("filters"))
        passing = _PASSING_DEBUG if settings.DEBUG else _PASSING_PRODUCTION
        return isinstance(filters, list | tuple) and all(
            _mapping(known.get(name)).get("()") in passing for name in filters
        )

    def with_djangos(self) -> "LoggingDict":
        """Return what is in force where Django has set its own logging up first: its handlers stay.

        A logger that ``LOGGING`` names loses them, and one that it silences passes nothing on.
        """
        is_silenced = self.config.get("disable_existing_loggers", True)
        if "django" in self.loggers or is_silenced or not getattr(settings, "LOGGING_CONFIG", None):
            return self
        defaults: Mapping[str, Any] = DEFAULT_LOGGING
        entry = _mapping(defaults["loggers"].get("django"))
        own = {f"{_DJANGOS}{name}": defaults["handlers"][name] for name in _entry("django", entry).handlers}
        return LoggingDict(
            {
                **self.config,
                "filters": {**defaults["filters"], **_mapping(self.config.get("filters"))},
                "handlers": {**self.handlers, **own},
                "loggers": {
                    **_mapping(self.config.get("loggers")),
                    "django": {**entry, "handlers": list(own)},
                },
            }
        )

    def files(self) -> list[Path]:
        """Return the files that are written, each once."""
        found = (self.file_of(name) for name in self.handlers)
        return list(dict.fromkeys(path for path in found if path is not None))


def read_logging() -> LoggingDict:
    """Read ``LOGGING`` as it stands now."""
    return LoggingDict(getattr(settings, "LOGGING", None))


def is_hub(kind: type | None) -> bool:
    """Whether a class is that of our handler."""
    return kind is not None and issubclass(kind, EventHubHandler)


def _mapping(value: object) -> Mapping[object, object]:
    return value if isinstance(value, Mapping) else {}


def _entry(name: str, logger: Mapping[object, object]) -> LoggerEntry:
    handlers = logger.get("handlers")
    return LoggerEntry(
        name=name,
        handlers=tuple(each for each in handlers if isinstance(each, str))
        if isinstance(handlers, list | tuple | set | frozenset)
        else (),
        propagates=bool(logger.get("propagate", True)),
        level=logger.get("level"),
    )


def _class_of(handler: Mapping[object, object]) -> type | None:
    named = handler.get("()", handler.get("class"))
    if isinstance(named, str):
        try:
            named = import_string(named)
        except Exception:  # noqa: BLE001  # importing somebody's module may do anything; dictConfig tells of it
            return None
    return named if isinstance(named, type) else None
