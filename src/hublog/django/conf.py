"""The project's settings, and keeping their secrets out of what Django shows of them."""

import re
from collections.abc import Iterator
from typing import Final

from django.conf import settings
from django.views.debug import SafeExceptionReporterFilter, get_default_exception_reporter_filter

from hublog.capture.hidden import hidden, hide_handlers
from hublog.doctor.offline_checks import PREFIXES
from hublog.settings import Reading, read_settings


def lookup(name: str) -> object | None:
    """Return a Django setting by its name, None where it is not set."""
    return getattr(settings, name, None)


def read_project() -> Reading:
    """Read hublog's settings as they stand in the project and the environment now."""
    return read_settings(framework=lookup)


def project_names() -> dict[str, object]:
    """Return what of the project's settings may be meant for hublog, rightly named or not."""
    return {name: lookup(name) for name in dir(settings) if name.startswith(PREFIXES)}


_NAME: Final = "CONNECTION_STRING"


def hide_secrets() -> None:
    """Hide what holds a secret among our settings, and have Django's filter know connection strings by name.

    The filter also serves what ``request.META`` has of the environment. It is changed once, and stays as it
    is where the project has replaced it by one with names of its own.
    """
    for name, value in project_names().items():
        kept = hidden(value)
        if kept is not value:
            setattr(settings, name, kept)
    hide_handlers(getattr(settings, "LOGGING", None))
    known = SafeExceptionReporterFilter.hidden_settings
    if not known.search(_NAME):
        SafeExceptionReporterFilter.hidden_settings = re.compile(f"{known.pattern}|{_NAME}", known.flags)


def shown_settings(secret: str) -> Iterator[str]:
    """Return the names of settings that Django's debug page would show with a secret in their value."""
    for name, value in get_default_exception_reporter_filter().get_safe_settings().items():
        if secret in repr(value):
            yield name
