"""The project's settings, and keeping their secrets out of what Django shows of them."""

import re
from collections.abc import Iterator
from typing import Final

from django.conf import settings
from django.views.debug import SafeExceptionReporterFilter, get_default_exception_reporter_filter

from hublog.doctor.offline_checks import PREFIXES
from hublog.redaction.hidden_settings import hidden, hide_handlers
from hublog.settings import Reading, read_settings


def lookup(name: str) -> object | None:
    """Return a Django setting by its name; None if it is not set."""
    return getattr(settings, name, None)


def read_project() -> Reading:
    """Read hublog's settings from the project and the environment."""
    return read_settings(framework=lookup)


def project_names() -> dict[str, object]:
    """Return the project's settings that may be meant for hublog, including misspelt names."""
    return {name: lookup(name) for name in dir(settings) if name.startswith(PREFIXES)}


_NAME: Final = "CONNECTION_STRING"


def hide_secrets() -> None:
    """Hide secrets in hublog's settings, and add connection strings to the names that Django's filter hides.

    The filter also applies to the environment in ``request.META``. It is changed once, and not at all if the
    project has replaced it.
    """
    for name, value in project_names().items():
        safe = hidden(value)
        if safe is not value:
            setattr(settings, name, safe)
    hide_handlers(getattr(settings, "LOGGING", None))
    known = SafeExceptionReporterFilter.hidden_settings
    if not known.search(_NAME):
        SafeExceptionReporterFilter.hidden_settings = re.compile(f"{known.pattern}|{_NAME}", known.flags)


def shown_settings(secret: str) -> Iterator[str]:
    """Yield the names of settings in which Django's debug page would show a secret."""
    for name, value in get_default_exception_reporter_filter().get_safe_settings().items():
        if secret in repr(value):
            yield name
