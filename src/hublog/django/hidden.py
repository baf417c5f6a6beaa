"""Keeps the connection string out of Django's debug page, its mails to ADMINS and ``diffsettings``."""

import re
from collections.abc import Iterator
from typing import Final

from django.conf import settings
from django.views.debug import SafeExceptionReporterFilter, get_default_exception_reporter_filter

from hublog.capture.hidden import hidden, hide_handlers
from hublog.django.project import project_names

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
