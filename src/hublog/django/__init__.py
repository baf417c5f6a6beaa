"""The Django app: ``"hublog.django"`` in INSTALLED_APPS, the middleware, and ``logging_config()``."""

from collections.abc import Mapping
from typing import Any

try:
    import django as _django
except ImportError as error:
    raise ImportError("hublog.django needs Django: pip install 'hublog[django]'.") from error

from hublog.configure import logging_config as _logging_config
from hublog.settings import Settings, read_settings

__all__ = ["logging_config"]

del _django


def logging_config(namespace: Mapping[str, object] | None = None) -> dict[str, Any]:
    """Return a ``LOGGING`` dict: console, log file and Event Hub side by side.

    Call it at the end of the settings module. It holds no secret: the Event Hub's connection is read when
    Django is ready; names that the module sets below the call are applied to the handlers then, too.

    Args:
        namespace: the settings module's ``globals()``; its names win over the environment.
    """
    reading = read_settings(framework=namespace.get if namespace is not None else None)
    made[:] = [reading.settings]
    return _logging_config(reading.settings, framework="django")


#: The settings of the last call, empty before it; the app compares them when Django is ready.
made: list[Settings] = []
