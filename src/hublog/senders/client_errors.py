"""What the client's errors mean: known by class name and AMQP condition, so nothing of it is loaded here."""

import re
from typing import Final

from hublog.errors import (
    EventTooLargeError,
    PermanentSendError,
    RejectedSendError,
    SendError,
    TransientSendError,
)
from hublog.senders.causes import cause_of, chain
from hublog.settings.network import Route

#: What the Basic tier takes in one send; a refusal does not tell the limit.
BASIC_SEND_BYTES: Final = 1 << 18
#: The service asks for four seconds in the text of its refusal; nothing of it is a field.
BUSY_WAIT_S: Final = 4.0
#: A text that asks for more is not taken at its word.
BUSY_WAIT_MAX_S: Final = 300.0

_BUSY = ("server-busy", "resource-limit-exceeded")
#: The hub's own trouble, or the client's: what was sent is not to blame.
_TROUBLE = (
    "timeout",
    "internal-error",
    "operation-cancelled",
    "container-close",
    "resource-locked",
    "connection:",
    "session:",
    "detach-forced",
    "stolen",
    "socket-error",
    "client-error",
)
#: The client's error for a delivery that the hub settled otherwise than as accepted.
_REFUSAL: Final = "EventDataSendError"
#: What the client says when it lost what the hub said.
_UNKNOWN: Final = "unknown-error"
_ADVICE: Final = {
    "not-found": "check EVENTHUB_LOGS_NAME and the namespace",
    "unauthorized": "check the key and its Send right (or the role Azure Event Hubs Data Sender)",
    "entity-disabled": "the event hub is disabled: enable it in the portal",
}
_ROLE_ADVICE: Final = "give the identity the role Azure Event Hubs Data Sender (it takes minutes to work)"
_KEY_ADVICE: Final = "the namespace refuses the key or token: check the connection string"
_SECRET = re.compile(r"(?i)(SharedAccessKey|SharedAccessSignature|sig|password|token)(\s*[=:]\s*)[^\s;&'\"]+")
_WAIT = re.compile(r"(?i)\bwait (?:for )?(\d{1,6}(?:\.\d+)?) ?s(?:ec|\b)")
#: How the client passes on the status of a refused token: like HTTP, from 500 on it is the hub's own trouble.
_TOKEN_TROUBLE = re.compile(r"(?i)status code: (?:429|5\d\d)\b")


def translate(error: Exception, route: Route | None = None) -> SendError:
    """Return our error for one of the client's, with what to check and without secrets.

    Args:
        error: what the client raised.
        route: where it was to connect; None leaves out what is below the client.
    """
    condition = _condition(error)
    name = type(error).__name__
    text = f"{name} ({condition})" if condition else f"{name}: {_shown(error)}"
    cause = None if route is None or _is_answer(error) else cause_of(error, route)
    if cause is not None:
        make = PermanentSendError if cause.is_permanent else TransientSendError
        return make(cause.text, advice=cause.advice)
    advice = _advice(error)
    if advice:
        is_role = route is not None and route.has_identity and "unauthorized" in condition
        return PermanentSendError(text, advice=_ROLE_ADVICE if is_role else advice)
    if any(word in condition for word in _BUSY):
        return TransientSendError(text, retry_after_s=_asked_wait_s(str(error)))
    if "message-size" in condition:
        return EventTooLargeError(text, limit_bytes=BASIC_SEND_BYTES)
    if name == _REFUSAL and not _is_trouble(condition):
        has_reason = condition not in {"", _UNKNOWN}
        reason = _shown(error) if has_reason else "the hub gave no reason"
        return RejectedSendError(f"{name} ({condition or _UNKNOWN}): {reason}")
    return TransientSendError(text)


def is_expired(error: Exception) -> bool:
    """Whether nothing was sent since the client's own token had expired while the connection was idle."""
    return any(type(link).__name__ == "TokenExpired" for link in chain(error))


def _is_answer(error: Exception) -> bool:
    """Whether the hub itself answered, so that what is below the client is not to blame."""
    condition = _condition(error)
    if type(error).__name__ == _REFUSAL:
        return True
    return any(word in condition for word in (*_ADVICE, *_BUSY, "message-size"))


def is_settled(error: Exception) -> bool:
    """Whether the hub answered with a refusal that leaves the connection as good as it was."""
    condition = _condition(error)
    if type(error).__name__ != _REFUSAL or condition in {"", _UNKNOWN}:
        return False
    return not _is_trouble(condition) and not _advice(error)


def _is_trouble(condition: str) -> bool:
    return any(word in condition for word in _TROUBLE)


def _advice(error: Exception) -> str:
    """Return what has to be checked, or nothing when waiting may help."""
    condition = _condition(error)
    for key, advice in _ADVICE.items():
        if key in condition:
            return advice
    if type(error).__name__ != "AuthenticationError":
        return ""
    # With this condition the client says that no answer to its token came in time.
    is_late = "internal-error" in condition
    return "" if is_late or _TOKEN_TROUBLE.search(str(error)) else _KEY_ADVICE


def _asked_wait_s(text: str) -> float:
    """Return the seconds of "Please wait 4 seconds", as far as they are believable."""
    found = _WAIT.search(text)
    return min(float(found[1]), BUSY_WAIT_MAX_S) if found else BUSY_WAIT_S


def _condition(error: Exception) -> str:
    """Return the AMQP condition (``amqp:not-found`` ...) that the client kept, or nothing."""
    found = getattr(error, "error", None)
    return str(getattr(found, "condition", found) or "")


def _shown(error: Exception) -> str:
    text = str(error).partition("\nError")[0]  # the client repeats itself below, and in each line
    lines = dict.fromkeys(line.strip() for line in text.splitlines())
    return _SECRET.sub(r"\1\2***", " ".join(filter(None, lines)))[:300]
