"""The project's settings and its ``LOGGING``, which may hold anything, and hiding the secrets in them."""

import logging
import os
import re
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from django.conf import settings
from django.utils.log import DEFAULT_LOGGING, RequireDebugFalse, RequireDebugTrue
from django.utils.module_loading import import_string
from django.views.debug import SafeExceptionReporterFilter, get_default_exception_reporter_filter

from hublog.doctor.offline_checks import PREFIXES
from hublog.handler import EventHubHandler
from hublog.redaction.redactor import hidden, hide_handlers
from hublog.settings import SETTINGS, Reading, read_settings

#: Keys of a handler that are not its own keywords.
_COMMON: Final = frozenset({"class", "()", "level", "filters", "formatter", "framework"})
_FIELDS: Final = frozenset(setting.field for setting in SETTINGS if setting.section == "eventhub_logging")
#: Prefix of the names of Django's default handlers.
_DJANGOS: Final = "Django's "
_STREAMS: Final = ("ext://sys.stdout", "ext://sys.stderr")
_PASSING_DEBUG: Final = ("django.utils.log.RequireDebugTrue", RequireDebugTrue)
_PASSING_PRODUCTION: Final = ("django.utils.log.RequireDebugFalse", RequireDebugFalse)
#: What Django's filter hides besides its own names.
_HIDDEN: Final = "CONNECTION_STRING"


def lookup(name: str) -> object | None:
    """Return a Django setting by its name; None if it is not set."""
    return getattr(settings, name, None)


def read_project() -> Reading:
    """Read hublog's settings from the project and the environment."""
    return read_settings(framework=lookup)


def project_names() -> dict[str, object]:
    """Return the project's settings that may be meant for hublog, including misspelt names."""
    return {name: lookup(name) for name in dir(settings) if name.startswith(PREFIXES)}


def hide_secrets() -> None:
    """Hide secrets in hublog's settings, and add connection strings to the names that Django's filter hides.

    The filter also applies to the environment in ``request.META``. It is changed once, and not at all if the
    project has replaced it.
    """
    for name, value in project_names().items():
        safe = hidden(value)
        if safe is not value:
            setattr(settings, name, safe)
    hide_handlers(lookup("LOGGING"))
    known = SafeExceptionReporterFilter.hidden_settings
    if not known.search(_HIDDEN):
        SafeExceptionReporterFilter.hidden_settings = re.compile(f"{known.pattern}|{_HIDDEN}", known.flags)


def shown_settings(secret: str) -> Iterator[str]:
    """Yield the names of settings in which Django's debug page would show a secret."""
    for name, value in get_default_exception_reporter_filter().get_safe_settings().items():
        if secret in repr(value):
            yield name


@dataclass(frozen=True, slots=True, kw_only=True)
class LoggerEntry:
    """A logger of the configuration.

    Attributes:
        name: empty for the root.
        handlers: names of its handlers.
        propagates: whether its records reach its ancestors.
        level: as configured; None if it has none.
    """

    name: str
    handlers: tuple[str, ...]
    propagates: bool
    level: object

    @property
    def shown(self) -> str:
        """The name for a message."""
        return f"the logger {self.name!r}" if self.name else "the root logger"


class LoggingDict:
    """The valid part of ``LOGGING``.

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
        return (name for name, kind in self._classes.items() if kind is not None and issubclass(kind, kinds))

    def class_of(self, handler: str) -> type | None:
        """Return the class of a handler; None if it is unknown."""
        return self._classes.get(handler)

    def keywords_of(self, handler: str) -> dict[str, object]:
        """Return the keywords of a handler."""
        return {str(key): value for key, value in self.handlers[handler].items() if key not in _COMMON}

    def hub_keywords(self) -> dict[str, object]:
        """Return the keywords of the Event Hub handlers if they are equal for all; else nothing."""
        keywords = [self.keywords_of(handler) for handler in self.of_class(EventHubHandler)]
        stated = [{name: value for name, value in each.items() if name in _FIELDS} for each in keywords]
        return stated[0] if stated and all(each == stated[0] for each in stated) else {}

    def file_of(self, handler: str) -> Path | None:
        """Return the file of a handler; None if it writes to none."""
        name = self.handlers[handler].get("filename")
        kind = self.class_of(handler)
        if kind is None or not issubclass(kind, logging.FileHandler) or not isinstance(name, str | Path):
            return None
        text = str(name)
        # dictConfig resolves a value with a prefix (ext://, cfg://).
        return None if not text or "\0" in text or "://" in text else Path(os.path.abspath(text))  # noqa: PTH100  # not resolve: a link is a name of its own

    def lineage(self, name: str) -> Iterator[LoggerEntry]:
        """Yield the loggers that a record of a logger reaches, itself first, the root last."""
        at: str | None = name
        while at is not None:
            entry = self.loggers.get(at)
            if entry is not None:
                yield entry
                if not entry.propagates:
                    return
            at = None if not at else at.rpartition(".")[0]

    def is_console(self, handler: str) -> bool:
        """Whether a handler writes all records to standard output or error, with the current ``DEBUG``."""
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
        """Return the effective configuration including Django's default handlers, which stay.

        A logger that ``LOGGING`` names loses them, and one that it disables propagates nothing.
        """
        is_silenced = self.config.get("disable_existing_loggers", True)
        if "django" in self.loggers or is_silenced or not lookup("LOGGING_CONFIG"):
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
        """Return the files of all handlers, each once."""
        paths = (self.file_of(name) for name in self.handlers)
        return list(dict.fromkeys(path for path in paths if path is not None))


def read_logging() -> LoggingDict:
    """Return the current ``LOGGING``."""
    return LoggingDict(lookup("LOGGING"))


def is_hub(kind: type | None) -> bool:
    """Whether a class is ``EventHubHandler`` or a subclass."""
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
        except Exception:  # noqa: BLE001  # the import may raise anything; dictConfig reports it
            return None
    return named if isinstance(named, type) else None
