"""The Django app: ``"hublog.django"`` in INSTALLED_APPS, the middleware, and ``logging_config()``."""

from collections.abc import Mapping
from typing import Any

try:
    import django as _django
except ImportError as error:
    raise ImportError("hublog.django needs Django: pip install 'hublog[django]'.") from error

from hublog.configure import logging_config as _logging_config
from hublog.settings import read_settings

__all__ = ["logging_config"]

del _django


def logging_config(namespace: Mapping[str, object] | None = None) -> dict[str, Any]:
    """Return a ``LOGGING`` dict: console, log file and Event Hub side by side.

    Call it at the end of the settings module, or at least below the settings that it reads. It holds
    no secret: the Event Hub's connection is read later, when Django is ready.

    Args:
        namespace: the settings module's ``globals()``; its names win over the environment.
    """
    reading = read_settings(framework=namespace.get if namespace is not None else None)
    return _logging_config(reading.settings, framework="django")
