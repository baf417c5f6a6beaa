"""The same handlers as plain data for ``logging.config.dictConfig``."""

import logging
from dataclasses import asdict
from typing import Final

from hublog.capture.handler import unset_loggers
from hublog.capture.redaction.given import as_plain
from hublog.configure.handlers import CONSOLE, EVENT_HUB, FILE, NOTHING, file_name, root_level
from hublog.settings import Settings

_JSON: Final = "hublog_json"


def logging_config(settings: Settings, *, framework: str = "") -> dict[str, object]:
    """Return what ``configure`` does as a dictionary for ``dictConfig``: plain JSON types, no secret.

    The Event Hub handler is in it whenever it is switched on. It finds connection and details by
    itself, in the framework's configuration and the environment, when it takes its first record;
    so what code or a YAML file says about the Event Hub reaches it through ``configure`` only.

    Args:
        settings: what to switch on, and how.
        framework: ``django``, ``flask`` or empty.
    """
    handlers = _handlers(settings, framework)
    redaction = as_plain(settings.redaction)
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {
            CONSOLE: {"()": "hublog.ConsoleFormatter", "redaction": redaction},
            _JSON: {
                "()": "hublog.JsonFormatter",
                "service": asdict(settings.service),
                "framework": framework,
                "redaction": redaction,
            },
        },
        "handlers": handlers,
        "loggers": {name: {"level": "WARNING"} for name in unset_loggers()},
        "root": {
            "level": level_text(root_level(settings, has_event_hub=settings.eventhub.enabled)),
            "handlers": list(handlers),
        },
    }


def level_text(level: int) -> int | str:
    """Return the name of a level, or its number if it has no name."""
    name = logging.getLevelName(level)
    return name if logging.getLevelNamesMapping().get(name) == level else level


def _handlers(settings: Settings, framework: str) -> dict[str, dict[str, object]]:
    handlers: dict[str, dict[str, object]] = {}
    if settings.log_to_stdout:
        handlers[CONSOLE] = {
            "class": "hublog.ConsoleHandler",
            "level": level_text(settings.level),
            "formatter": CONSOLE,
        }
    if settings.file.enabled:
        handlers[FILE] = {
            "class": "hublog.configure.file_log.FileLogHandler",
            "level": level_text(settings.file.level),
            "formatter": _JSON,
            "filename": str(settings.log_dir / file_name()),
            "max_bytes": settings.file.max_bytes,
            "backup_count": settings.file.backup_count,
        }
    if settings.eventhub.enabled:
        handlers[EVENT_HUB] = {
            "class": "hublog.EventHubHandler",
            "level": level_text(settings.eventhub.level),
            "framework": framework,
        }
    if not handlers:
        handlers[NOTHING] = {"class": "hublog.configure.handlers.NoDestination"}
    return handlers
