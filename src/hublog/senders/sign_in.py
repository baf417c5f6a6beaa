"""Signing in to the namespace, and why it failed, in words and with advice.

The messages of azure-identity are long, hold links, and list each way that was tried; what matters of them is
kept, in one line, and what may be a secret in them is masked.
"""

import logging
import re
import threading
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any, Final

from hublog.errors import PermanentSendError
from hublog.internal_log import report
from hublog.settings import EventHubSettings
from hublog.settings.connection import expiry_of, parts_of, read_connection_string
from hublog.settings.values import InvalidValueError

#: Characters of a foreign text that are kept.
_SHOWN_MAX: Final = 240

_ROLE: Final = "the identity needs the role Azure Event Hubs Data Sender"
_NO_WAY: Final = (
    "give this machine a managed identity (AZURE_CLIENT_ID for a user-assigned one) or a workload identity,"
    f" set AZURE_TENANT_ID, AZURE_CLIENT_ID and AZURE_CLIENT_SECRET, or sign in with az login; {_ROLE}"
)
_REFUSED: Final = f"check AZURE_TENANT_ID, AZURE_CLIENT_ID and the secret, certificate or token; {_ROLE}"
_UNREACHABLE: Final = (
    "let this machine out to the sign-in service, login.microsoftonline.com; a proxy for it is named by"
    " HTTPS_PROXY and a private authority by REQUESTS_CA_BUNDLE"
)
_STRING_FILE: Final = "EVENTHUB_NAMESPACE_CONNECTION_STRING_FILE"
_CONFIGURED: Final = "check the variables whose names begin with AZURE_"

#: One of the ways that were tried, and what became of it.
_TRIED = re.compile(r"(?m)^\s*(\w+)Credential: (.+)$")
#: What says that a way is not set up here at all.
_UNAVAILABLE = re.compile(
    r"(?i)unavailable|not (?:fully )?configured|not found on path|is not installed|could not be found"
    r"|requires the|not logged in|please run|no accounts were found|can not be found|unable to find"
)
#: What says that the service could not be reached, so that waiting may help.
_NETWORK = re.compile(
    r"(?i)failed to resolve|failed to establish|connection (?:refused|reset|aborted|timed out)|timed? ?out"
    r"|max retries|certificate verify failed|remote end closed|network is unreachable|temporarily|proxy"
    r"|\b(?:429|50[0234])\b|AADSTS(?:90033|50196|90055)"
)
_ERROR_CODE = re.compile(r"AADSTS\d+")
_BUSY_CODE = re.compile(r"AADSTS(?:90033|50196|90055)")
#: From here on a text repeats what is known, or points to pages.
_REST = re.compile(
    r"(?is)(?:\.?\s+(?:trace id|correlation id|timestamp|to mitigate|visit https?:|see the troubleshooting"
    r"|please refer)|\r?\n).*"
)
_SECRET = re.compile(
    r"(?i)((?:client_?)?(?:secret|assertion|password)|access_token|token|sig|key)(\s*[=:]\s*)['\"]?[^\s;&'\",]+"
)
_LONG_TOKEN = re.compile(r"[A-Za-z0-9_~.+/=-]{40,}")

_PACKAGES: Final = ("azure.identity", "azure.core", "msal")


@dataclass(frozen=True, slots=True, kw_only=True)
class Cause:
    """Why a connection could not be made.

    Attributes:
        text: begins in lower case, without a full stop and without secrets.
        advice: what to check or change; likewise.
        is_permanent: whether waiting does not help.
    """

    text: str
    advice: str
    is_permanent: bool = False


def warn_of_expiry(connection_string: str) -> None:
    """Report that the token in a connection string has expired: no hub will take it."""
    end = expiry_of(connection_string)
    if end is not None and end <= datetime.now(UTC):
        report(
            logging.WARNING,
            "The shared access signature in EVENTHUB_NAMESPACE_CONNECTION_STRING expired at"
            f" {end:%Y-%m-%d %H:%M:%S} UTC; put a new one there, or use a policy and its key.",
        )


def renewed(settings: EventHubSettings) -> EventHubSettings:
    """Return settings with what the file of the connection string holds now; the same ones if it is the same.

    A file that names another event hub is not followed: what waits was logged for this one.
    """
    path = settings.connection_string_file
    if path is None or not settings.connection_string:
        return settings
    try:
        text = read_connection_string(path)
    except InvalidValueError as error:
        report(logging.WARNING, f"{_STRING_FILE} {error}; the connection string of before is used.")
        return settings
    if text == settings.connection_string:
        return settings
    hubs = [
        (parts.get("endpoint", "").rstrip("/").lower(), parts.get("entitypath", settings.eventhub_name))
        for parts in map(parts_of, (text, settings.connection_string))
    ]
    if hubs[0] != hubs[1]:
        report(
            logging.WARNING,
            f"{_STRING_FILE} is {path}, which names another event hub now; restart the process for it.",
        )
        return settings
    report(logging.INFO, f"The connection string was read again from {path}; it has changed.")
    return replace(settings, connection_string=text)


def is_sign_in(error: BaseException) -> bool:
    """Whether an error comes from signing in: nothing else here goes by HTTP, which ``azure.core`` is for."""
    return type(error).__module__.startswith(_PACKAGES)


def sign_in_cause(error: BaseException) -> Cause:
    """Return why signing in failed."""
    text = str(error)
    failed = [(name, reason) for name, reason in _TRIED.findall(text) if not _UNAVAILABLE.search(reason)]
    if not failed and (_TRIED.search(text) or _UNAVAILABLE.search(text)):
        tried = ", ".join(name for name, _ in _TRIED.findall(text))
        missing = f"no credential is available here{f' (tried {tried})' if tried else ''}"
        return Cause(text=f"sign-in failed: {missing}", advice=_NO_WAY, is_permanent=True)
    name, reason = failed[-1] if failed else ("", text)
    shown = f"sign-in failed: {f'{name}Credential: ' if name else ''}{shortened(reason)}"
    # The service's own answer is no trouble of the network, whatever it says.
    is_refused = bool(_ERROR_CODE.search(reason)) and not _BUSY_CODE.search(reason)
    if _NETWORK.search(reason) and not is_refused:
        return Cause(text=shown, advice=_UNREACHABLE)
    return Cause(text=shown, advice=_REFUSED, is_permanent=True)


def misconfigured(error: BaseException) -> PermanentSendError:
    """Return our error for one that was raised where no way to sign in could be set up at all."""
    shown = shortened(str(error)) or type(error).__name__
    return PermanentSendError(f"sign-in is not configured properly: {shown}", advice=_CONFIGURED)


def shortened(text: str) -> str:
    """Return the beginning of a foreign text, in one line, without links and without what may be a secret."""
    line = " ".join(_REST.sub("", text.strip()).split())
    masked = _LONG_TOKEN.sub("***", _SECRET.sub(r"\1\2***", line)).rstrip(". ")
    return masked if len(masked) <= _SHOWN_MAX else f"{masked[: _SHOWN_MAX - 1]}…"


class QuietCredential:
    """Signs in without a word of the packages below: what fails is reported once, by us.

    They log the whole text of each failure as a warning, to console and file of the application.

    Args:
        credential: a ``TokenCredential``.
    """

    def __init__(self, credential: Any) -> None:  # noqa: ANN401  # of a package that may be missing
        self._credential = credential

    def get_token(self, *scopes: str, **options: Any) -> Any:  # noqa: ANN401  # passed on as they come
        """Return a token, see ``azure.core.credentials.TokenCredential``."""
        # A filter of a logger is not asked for those below it, and some are made at the first sign-in only.
        for name in list(logging.root.manager.loggerDict):  # other threads make loggers meanwhile
            if name.startswith(_PACKAGES):
                logging.getLogger(name).addFilter(_not_this_thread)
        thread = threading.get_ident()
        _not_this_thread.threads.add(thread)
        try:
            return self._credential.get_token(*scopes, **options)
        finally:
            _not_this_thread.threads.discard(thread)

    def close(self) -> None:
        """Close the credential."""
        self._credential.close()


class _NotThisThread(logging.Filter):
    """Lets nothing through that is logged in threads that sign in just now."""

    def __init__(self) -> None:
        super().__init__()
        self.threads: set[int] = set()

    def filter(self, record: logging.LogRecord) -> bool:  # noqa: ARG002  # logging's signature
        return threading.get_ident() not in self.threads


_not_this_thread = _NotThisThread()
