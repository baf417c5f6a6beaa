"""Django's system checks: each mis-setup has an id, used once.

| id | what is wrong |
| --- | --- |
| `hublog.E001` | A setting is invalid; without the check it takes its default. |
| `hublog.W001` | The middleware is missing, so no record has its request's fields. |
| `hublog.W002` | Another middleware stands before ours: its records have no request fields. |
| `hublog.W003` | The Event Hub is switched on, but no logger has an `EventHubHandler`. |
"""

from collections.abc import Iterator, Sequence
from typing import Any, Final

from django.apps import AppConfig
from django.conf import settings
from django.core.checks import CheckMessage, Error, Warning  # noqa: A004  # Django's name
from django.utils.module_loading import import_string

from hublog.django.project import read_project
from hublog.handler import EventHubHandler

MIDDLEWARE: Final = "hublog.django.middleware.RequestContextMiddleware"


def check_settings(app_configs: Sequence[AppConfig] | None, **kwargs: Any) -> list[CheckMessage]:  # noqa: ANN401
    """Find invalid settings."""
    del app_configs, kwargs
    problems = read_project().problems
    return [Error(problem, id="hublog.E001") for problem in problems]


def check_middleware(app_configs: Sequence[AppConfig] | None, **kwargs: Any) -> list[CheckMessage]:  # noqa: ANN401
    """Find a middleware that is missing or not the first."""
    del app_configs, kwargs
    listed = list(settings.MIDDLEWARE)
    if MIDDLEWARE not in listed:
        hint = f"Put {MIDDLEWARE!r} first in MIDDLEWARE."
        return [Warning("No record has the fields of its request.", hint=hint, id="hublog.W001")]
    if listed[0] != MIDDLEWARE:
        hint = f"Move {MIDDLEWARE!r} to the first place of MIDDLEWARE."
        text = f"What {listed[0]} and others before it log has no request fields."
        return [Warning(text, hint=hint, id="hublog.W002")]
    return []


def check_handler(app_configs: Sequence[AppConfig] | None, **kwargs: Any) -> list[CheckMessage]:  # noqa: ANN401
    """Find an Event Hub that is switched on and has no handler."""
    del app_configs, kwargs
    hub = read_project().settings.eventhub
    if not (hub.enabled and hub.is_configured) or any(_is_ours(name) for name in _classes()):
        return []
    hint = "Set LOGGING = hublog.django.logging_config(globals()), or add a hublog.EventHubHandler to it."
    return [Warning("No logger sends to the Event Hub.", hint=hint, id="hublog.W003")]


def _classes() -> Iterator[str]:
    config = settings.LOGGING if isinstance(settings.LOGGING, dict) else {}
    for handler in config.get("handlers", {}).values():
        name = handler.get("class") or handler.get("()")
        if isinstance(name, str):
            yield name


def _is_ours(name: str) -> bool:
    try:
        found = import_string(name)
    except ImportError:
        return False
    return isinstance(found, type) and issubclass(found, EventHubHandler)
