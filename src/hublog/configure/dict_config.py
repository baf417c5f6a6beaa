"""hublog's handlers as plain data for ``dictConfig``, updated once all settings are known."""

import logging
from collections.abc import Mapping
from dataclasses import asdict
from pkgutil import resolve_name
from typing import Any, Final, cast

from hublog.capture.reentry_guard import unset_loggers
from hublog.configure.handlers import (
    CONSOLE_NAME,
    EVENT_HUB_NAME,
    FILE_NAME,
    NO_DESTINATION_NAME,
    file_name,
    level_text,
    root_level,
)
from hublog.redaction.redactor import as_plain
from hublog.settings import Settings

_JSON: Final = "hublog_json"


def logging_config(settings: Settings, *, framework: str = "") -> dict[str, object]:
    """Return what ``configure`` does as a dictionary for ``dictConfig``: plain JSON types, no secret.

    The Event Hub handler is in it whenever it is switched on. It reads its own settings, from
    the framework's configuration and the environment, with its first record; so arguments and a
    YAML file reach it through ``configure`` only.

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
            CONSOLE_NAME: {"()": "hublog.ConsoleFormatter", "redaction": redaction},
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


def _handlers(settings: Settings, framework: str) -> dict[str, dict[str, object]]:
    handlers: dict[str, dict[str, object]] = {}
    if settings.log_to_stdout:
        handlers[CONSOLE_NAME] = {
            "class": "hublog.ConsoleHandler",
            "level": level_text(settings.level),
            "formatter": CONSOLE_NAME,
        }
    if settings.file.enabled:
        handlers[FILE_NAME] = {
            "class": "hublog.configure.file_log.FileLogHandler",
            "level": level_text(settings.file.level),
            "formatter": _JSON,
            "filename": str(settings.log_dir / file_name()),
            "max_bytes": settings.file.max_bytes,
            "backup_count": settings.file.backup_count,
        }
    if settings.eventhub.enabled:
        handlers[EVENT_HUB_NAME] = {
            "class": "hublog.EventHubHandler",
            "level": level_text(settings.eventhub.level),
            "framework": framework,
        }
    if not handlers:
        handlers[NO_DESTINATION_NAME] = {"class": "hublog.configure.handlers.NoDestination"}
    return handlers


_IN_ORDER: Final = (CONSOLE_NAME, FILE_NAME, EVENT_HUB_NAME, NO_DESTINATION_NAME)


def apply_late(made: Settings, settings: Settings, *, framework: str) -> None:
    """Bring the handlers that ``logging_config`` made on the root logger up to the effective settings."""
    former, wanted = (_config(each, framework) for each in (made, settings))
    root = logging.getLogger()
    for name in _IN_ORDER:
        current = next((handler for handler in root.handlers if handler.name == name), None)
        before, after = _spec(former, name), _spec(wanted, name)
        if before == after or (before and current is None):  # the project has removed or moved it
            continue
        handler = _make(after) if after else None
        if handler is not None:
            root.addHandler(handler)
        if current is not None:
            root.removeHandler(current)
            current.close()
        if handler is not None:
            handler.name = name  # only now: closing the old one takes its name out of logging's list
    if level_text(root.level) == former["root"]["level"]:  # else the project has set it
        root.setLevel(wanted["root"]["level"])


def _config(settings: Settings, framework: str) -> dict[str, Any]:
    return cast("dict[str, Any]", logging_config(settings, framework=framework))


def _spec(config: Mapping[str, Any], name: str) -> dict[str, Any]:
    """Return what a handler is made from, its formatter included; empty if it is switched off."""
    spec = dict(config["handlers"].get(name, {}))
    if "formatter" in spec:
        spec["formatter"] = config["formatters"][spec["formatter"]]
    return spec


def _make(spec: Mapping[str, Any]) -> logging.Handler:
    """Make a handler as ``dictConfig`` does."""
    keywords = dict(spec)
    kind, level = resolve_name(keywords.pop("class")), keywords.pop("level", logging.NOTSET)
    formatter = dict(keywords.pop("formatter", {}))
    handler: logging.Handler = kind(**keywords)
    handler.setLevel(level)
    if formatter:
        handler.setFormatter(resolve_name(formatter.pop("()"))(**formatter))
    return handler
