"""The Django app: ``"hublog.django"`` in INSTALLED_APPS, the middleware, and ``logging_config()``."""

import copy
from collections.abc import Mapping
from typing import Any, Final

try:
    import django as _django
except ImportError as error:
    raise ImportError("hublog.django needs Django: pip install 'hublog[django]'.") from error

from hublog.configure import logging_config as _logging_config
from hublog.settings import Settings, read_settings

__all__ = ["logging_config"]

del _django


def logging_config(namespace: Mapping[str, object] | None = None) -> dict[str, Any]:
    """Return a ``LOGGING`` dict with console, log file and Event Hub.

    Django's own console handler is removed from the logger ``django``, else with ``DEBUG`` its records would
    be on the console twice; ``mail_admins`` stays, and ``django.server``, whose lines reach no other handler.

    Call it at the end of the settings module. It contains no secret: the Event Hub's connection is read when
    Django is ready, and settings below the call are applied to the handlers then, too.

    Args:
        namespace: the settings module's ``globals()``; its names win over the environment.
    """
    reading = read_settings(framework=namespace.get if namespace is not None else None)
    made[:] = [reading.settings]
    config: dict[str, Any] = _logging_config(reading.settings, framework="django")
    _keep_djangos(config)
    return config


def _keep_djangos(config: dict[str, Any]) -> None:
    """Add the logger ``django`` as Django has configured it, without its console handler."""
    from django.utils.log import DEFAULT_LOGGING  # noqa: PLC0415  # not while a settings module is being imported

    defaults: dict[str, Any] = copy.deepcopy(DEFAULT_LOGGING)
    entry = defaults["loggers"]["django"]
    entry["handlers"] = [name for name in entry.get("handlers", ()) if name != DJANGOS_CONSOLE]
    config["loggers"]["django"] = entry
    for name in entry["handlers"]:
        handler = config["handlers"][name] = defaults["handlers"][name]
        for used in handler.get("filters", ()):
            config.setdefault("filters", {})[used] = defaults["filters"][used]


#: The handler of Django's own logging that writes to standard error with ``DEBUG``.
DJANGOS_CONSOLE: Final = "console"
#: The settings of the last call, if any; the app compares them when Django is ready.
made: list[Settings] = []
