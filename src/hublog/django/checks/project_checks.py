"""What is wrong with the settings of the project, ``LOGGING`` aside."""

import os
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Final

from django.conf import settings
from django.core.checks import CheckMessage

from hublog.django.checks.table import message
from hublog.django.hidden import shown_settings
from hublog.django.logging_dict import read_logging
from hublog.django.project import lookup, project_names, read_project
from hublog.doctor.names import misspelt
from hublog.settings import NO_HASH_KEY

MIDDLEWARE: Final = "hublog.django.middleware.RequestContextMiddleware"

_CONNECTION: Final = "EVENTHUB_NAMESPACE_CONNECTION_STRING"
_HASH_KEY: Final = "LOG_REDACTION_HASH_KEY"
_PATH: Final = "eventhub_logging.connection_string"
_SOURCE_MAX_BYTES: Final = 1 << 20


def find_invalid_settings() -> Iterator[CheckMessage]:
    """Find what is set to something that is not allowed."""
    for problem in read_project().problems:
        yield message("E002" if problem.endswith(NO_HASH_KEY) else "E001", problem)


def find_overridden_settings() -> Iterator[CheckMessage]:
    """Find what has no effect, since a stronger source says otherwise."""
    for override in read_project().overrides:
        yield message("I002", override.text)


def find_misspelt_settings() -> Iterator[CheckMessage]:
    """Find names that are almost ours."""
    for place, names in (("setting", project_names()), ("environment variable", dict(os.environ))):
        for name, meant in misspelt(names):
            yield message("W008", f"The {place} {name} has no effect; {meant} is the name of a setting.")


def find_middleware_trouble() -> Iterator[CheckMessage]:
    """Find a middleware that is missing or not the first."""
    value = getattr(settings, "MIDDLEWARE", None)
    listed = list(value) if isinstance(value, list | tuple) else []
    if MIDDLEWARE not in listed:
        yield message("W001", "No record has the fields of its request.")
    elif listed[0] != MIDDLEWARE:
        yield message("W002", f"What {listed[0]} and others before it log has no request fields.")


def find_missing_connection() -> Iterator[CheckMessage]:
    """Find a project in production that sends nothing, although it is not said so."""
    reading = read_project()
    hub = reading.settings.eventhub
    is_meant = not hub.enabled or settings.DEBUG
    if not is_meant and not hub.is_configured and _PATH not in reading.invalid and not _hub_in_logging():
        yield message("W012")


def _hub_in_logging() -> bool:
    """Whether a handler in ``LOGGING`` says itself where to send."""
    found = read_logging()
    named = {"connection_string", "fully_qualified_namespace"}
    return any(named & set(found.keywords_of(name)) for name in found.handlers)


def find_missing_identity() -> Iterator[CheckMessage]:
    """Find a namespace without a key, and nothing to sign in with."""
    hub = read_project().settings.eventhub
    if hub.enabled and hub.fully_qualified_namespace and not hub.connection_string and not _has_identity():
        yield message("E003")


def _has_identity() -> bool:
    try:
        return find_spec("azure.identity") is not None
    except (ImportError, ValueError):
        return False


def find_open_secrets() -> Iterator[CheckMessage]:
    """Find redaction that is off in production."""
    if not read_project().settings.redaction.enabled and not settings.DEBUG:
        yield message("W013")


def find_secrets_in_settings() -> Iterator[CheckMessage]:
    """Find secrets that are written where the source is; none of them is shown."""
    for name in (_CONNECTION, _HASH_KEY):
        if _is_written_down(lookup(name)):
            yield message("W007", f"{name} is written in the settings, and goes wherever the source goes.")
    found = read_logging()
    for handler in found.handlers:
        if _is_written_down(found.keywords_of(handler).get("connection_string")):
            text = f"LOGGING holds the connection_string of the handler {handler!r}."
            yield message("W007", text)


def find_shown_secrets() -> Iterator[CheckMessage]:
    """Find settings with the key of the connection that Django's debug page would show."""
    connection = read_project().settings.eventhub.connection_string
    secret = _secret_in(connection) if connection else ""
    for name in shown_settings(secret) if secret else ():
        yield message("W020", f"Django's debug page and its mails to ADMINS would show the key in {name}.")


def _is_written_down(value: object) -> bool:
    """Whether a value is a secret that no variable of the environment holds, and the source may."""
    if not isinstance(value, str) or not value.strip():
        return False
    secret = _secret_in(value.strip())
    if not secret or any(secret in held for held in os.environ.values()):
        return False
    sources = _sources()
    # A vault, or a file beside the source, is a good place for it.
    return not sources or any(secret in source for source in sources)


def _secret_in(value: str) -> str:
    """Return the secret part of a connection string, or the whole of another text."""
    pairs = [part.partition("=") for part in value.split(";")]
    parts = {name.strip().lower(): text.strip() for name, sign, text in pairs if sign}
    if parts.get("usedevelopmentemulator", "").lower() == "true":
        return ""
    return parts.get("sharedaccesskey") or parts.get("sharedaccesssignature") or value


def _sources() -> list[str]:
    """Return the sources of the settings: the module, and what is imported from beside or below it.

    Empty where the settings come from no module.
    """
    module = sys.modules.get(str(getattr(settings, "SETTINGS_MODULE", "") or ""))
    named = getattr(module, "__file__", None)
    if not named:
        return []
    place = str(Path(named).parent) + os.sep
    files = {getattr(each, "__file__", None) or "" for each in list(sys.modules.values())}
    return [_text_of(file) for file in files if file.startswith(place) and file.endswith(".py")]


def _text_of(file: str) -> str:
    try:
        with Path(file).open(encoding="utf-8", errors="replace") as source:
            return source.read(_SOURCE_MAX_BYTES)
    except OSError:
        return ""
