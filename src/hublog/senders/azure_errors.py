"""Why a connection could not be made: the cause below the client's error, in words and with advice.

The client wraps each failure of the network into the same error. What it wrapped is still there, as cause or
context; errors of other packages are known by the name of their class, so nothing of them is loaded here.
"""

import errno
import os
import re
import socket
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Final

from hublog.errors import (
    EventTooLargeError,
    PermanentSendError,
    RejectedSendError,
    SendError,
    TransientSendError,
)
from hublog.senders.sign_in import Cause, is_sign_in, sign_in_cause
from hublog.settings.connection import PROXY_SETTING
from hublog.settings.route import Route

#: Links of a chain of errors that are looked at.
_CHAIN_MAX: Final = 24
_CONNECT_STATUS = re.compile(r"(?i)proxy status: (\d{3})")
_PROXY_LOGIN: Final = 407
_SERVER_TROUBLE: Final = 500
_TOO_MANY: Final = 429
_CLOSED = re.compile(
    r"(?i)unexpectedly closed|connection (?:to remote host )?was lost|already (?:been )?closed"
)
_LATE = re.compile(r"(?i)timed out")
#: How the namespace says why it refuses a token: ``InvalidSignature: The token has ...``.
_REASON = re.compile(r"\s*([A-Za-z]{3,40}):")
_NO_ROUTE: Final = frozenset({errno.EHOSTUNREACH, errno.ENETUNREACH, errno.EHOSTDOWN, errno.ENETDOWN})
_WRONG_TIME: Final = "check the clock of this machine; if it is right, the certificate has to be replaced"
_WRONG_NAME: Final = (
    "the host in the connection string or in EVENTHUB_LOG_ENDPOINT must be one that the certificate names"
)
_AUTHORITY: Final = (
    "put the certificate (PEM) of the authority that signed it into EVENTHUB_LOG_CA_FILE; a proxy or"
    " firewall of the company may open TLS"
)
#: By OpenSSL's verification errors (``X509_V_ERR_…``): not yet valid, expired; another name, another address.
_CERTIFICATE_ADVICE: Final = {9: _WRONG_TIME, 10: _WRONG_TIME, 62: _WRONG_NAME, 64: _WRONG_NAME}

_FIREWALL: Final = "check firewall, proxy and private endpoint"


def cause_of(error: BaseException, route: Route) -> Cause | None:
    """Return why the connection failed; None if the error says nothing of what is below the client.

    Args:
        error: what the client raised.
        route: where it was to connect.
    """
    for link in chain(error):
        for find in _FINDERS:
            cause = find(link, route)
            if cause is not None:
                return cause
    return None


def chain(error: BaseException) -> Iterator[BaseException]:
    """Yield an error and what is below it, the nearest first."""
    waiting: list[BaseException] = [error]
    seen: set[int] = set()
    while waiting and len(seen) < _CHAIN_MAX:
        link = waiting.pop(0)
        if id(link) in seen:
            continue
        seen.add(id(link))
        yield link
        below = (link.__cause__, link.__context__, *link.args)
        waiting += [each for each in below if isinstance(each, BaseException)]


def _is_busy(status: int) -> bool:
    """Whether an answer with this status is trouble that passes."""
    return status >= _SERVER_TROUBLE or status == _TOO_MANY


def proxy_refusal(status: int, route: Route) -> Cause:
    """Return why a proxy that answered with this status opened no tunnel."""
    place = route.proxy.place if route.proxy else ""
    if status == _PROXY_LOGIN:
        has_login = route.proxy is not None and route.proxy.username
        what = "refused the login" if has_login else "refused the tunnel without a login"
        advice = f"check user and password in {route.proxy.source if route.proxy else PROXY_SETTING}"
        return Cause(text=f"proxy {place} {what} (407)", advice=advice, is_permanent=True)
    text = f"proxy {place} refused the tunnel to {route.place} ({status})"
    if _is_busy(status):
        return Cause(text=text, advice=f"check that the proxy reaches {route.place}")
    return Cause(text=text, advice=f"have the proxy allow CONNECT to {route.place}", is_permanent=True)


def proxy_failure(how: str, route: Route) -> Cause:
    """Return why a proxy that gave no status opened no tunnel; ``how`` completes the sentence."""
    place, source = (route.proxy.place, route.proxy.source) if route.proxy else ("", PROXY_SETTING)
    advice = f"check that {place} is an HTTP proxy, see {source}"
    return Cause(text=f"proxy {place} {how} to the request for a tunnel", advice=advice)


def upgrade_refusal(status: int | None, route: Route) -> Cause:
    """Return why there is no WebSocket where the request for it was answered with this status."""
    advice = f"check that {route.place} is the namespace, or a gateway that passes WebSockets on"
    if status is None:
        text = f"WebSocket upgrade failed: {route.place} answered something else"
        return Cause(text=text, advice=advice)
    text = f"WebSocket upgrade refused by {route.place} ({status})"
    return Cause(text=text, advice=advice, is_permanent=not _is_busy(status))


def _proxy_cause(error: BaseException, route: Route) -> Cause | None:
    if type(error).__name__ != "WebSocketProxyException" or route.proxy is None:
        return None
    text = str(error)
    status = _CONNECT_STATUS.search(text)
    if status is not None:
        return proxy_refusal(int(status[1]), route)
    if _LATE.search(text):
        return proxy_failure("did not answer in time", route)
    return proxy_failure("closed the connection" if _CLOSED.search(text) else "gave no valid answer", route)


def _tls_cause(error: BaseException, route: Route) -> Cause | None:
    name = type(error).__name__
    if name == "SSLCertVerificationError":
        return _certificate_cause(error, route)
    if not any(each.__name__ == "SSLError" for each in type(error).__mro__):
        return None
    reason = str(getattr(error, "reason", "") or "").replace("_", " ").lower()
    if _LATE.search(str(error)):
        return Cause(text=f"TLS handshake with {route.place} timed out", advice=_FIREWALL)
    if name in {"SSLEOFError", "SSLZeroReturnError"} or "eof" in reason:
        text = f"connection to {route.place} was closed in the TLS handshake"
        return Cause(text=text, advice=f"{_FIREWALL}, and that {route.place} speaks TLS")
    text = f"TLS handshake with {route.place} failed ({reason or 'no reason given'})"
    return Cause(
        text=text, advice=f"check host and port: something else than TLS may listen at {route.place}"
    )


def _certificate_cause(error: BaseException, route: Route) -> Cause:
    why = str(getattr(error, "verify_message", "") or "no reason given").rstrip(".")
    advice = _CERTIFICATE_ADVICE.get(getattr(error, "verify_code", 0), _AUTHORITY)
    text = f"TLS certificate verify failed for {route.place}: {why}"
    return Cause(text=text, advice=advice, is_permanent=True)


def _upgrade_cause(error: BaseException, route: Route) -> Cause | None:
    name = type(error).__name__
    if name == "WebSocketBadStatusException":
        status = getattr(error, "status_code", None)
        return upgrade_refusal(status if isinstance(status, int) else None, route)
    if name in {"WebSocketException", "WebSocketProtocolException", "WebSocketPayloadException"}:
        return upgrade_refusal(None, route)
    return None


def _name_cause(error: BaseException, route: Route) -> Cause | None:
    if not isinstance(error, socket.gaierror | UnicodeError):
        return None
    host = route.proxy.host if route.proxy else route.host
    why = error.strerror if isinstance(error, socket.gaierror) else "not a valid name"
    if route.proxy:
        advice = f"check {route.proxy.source} and the DNS of this machine"
    else:
        advice = (
            "check the host in the configuration and the DNS of this machine (a private endpoint needs its"
            " private DNS zone)"
        )
    return Cause(text=f"host name not found: {host} ({why})", advice=advice)


def _socket_cause(error: BaseException, route: Route) -> Cause | None:
    peer = f"proxy {route.proxy.place}" if route.proxy else route.place
    if isinstance(error, ConnectionRefusedError):
        return Cause(text=f"connection refused by {peer}", advice=_port_advice(route, is_refused=True))
    if isinstance(error, TimeoutError):
        what, advice = str(error).lower(), _FIREWALL
        if "handshake" in what:
            text = f"TLS handshake with {route.place} timed out"
        elif any(step in what for step in ("operation", "receive", "send")):
            text = f"no answer from {route.place}: the operation timed out"
        else:
            text, advice = f"connection to {peer} timed out", _port_advice(route, is_refused=False)
        return Cause(text=text, advice=advice)
    if isinstance(error, ConnectionResetError | BrokenPipeError):
        return Cause(text=f"connection to {peer} was reset", advice=_FIREWALL)
    number = error.errno if isinstance(error, OSError) else None
    if not number:
        return None
    what = f"no route to {peer}" if number in _NO_ROUTE else f"connection to {peer} failed"
    why = os.strerror(number) if number > 0 else "unknown error"
    return Cause(text=f"{what} ({why})", advice=_FIREWALL)


def _closed_cause(error: BaseException, route: Route) -> Cause | None:
    if type(error).__name__ == "WebSocketTimeoutException":
        return Cause(text=f"WebSocket upgrade timed out: no answer from {route.place}", advice=_FIREWALL)
    is_closed = isinstance(error, OSError) and _CLOSED.search(str(error)) is not None
    if is_closed or type(error).__name__ == "WebSocketConnectionClosedException":
        return Cause(text=f"connection to {route.place} was closed by the other side", advice=_FIREWALL)
    return None


def _token_cause(error: BaseException, route: Route) -> Cause | None:
    """Return what became of a token that the namespace, or the client itself, does not take."""
    name = type(error).__name__
    if name == "TokenExpired":
        return _expired_cause(route)
    if name != "TokenAuthFailure":
        return None
    status = getattr(error, "status_code", None)
    answer = getattr(error, "status_description", None) or b""
    word = _REASON.match(answer.decode("utf-8", "replace") if isinstance(answer, bytes) else str(answer))
    reason = word[1] if word else ""
    if isinstance(status, int) and _is_busy(status):
        text = f"the namespace could not check the token ({status})"
        return Cause(text=text, advice="see the state of the namespace in the portal")
    if reason == "ExpiredToken" or _is_over(route):
        return _expired_cause(route)
    text = f"the namespace refused the token ({' '.join(filter(None, (str(status), reason)))})"
    return Cause(text=text, advice=f"check {_key_advice(route)}", is_permanent=True)


def _expired_cause(route: Route) -> Cause:
    clock = "check the clock of this machine"
    if route.expires_at is None:
        # Made anew for each connection: only a wrong clock makes it expire at once.
        return Cause(text="the token has expired", advice=clock)
    text = f"the shared access signature expired at {route.expires_at:%Y-%m-%d %H:%M:%S} UTC"
    if not _is_over(route):
        return Cause(text=f"{text} by the namespace's clock", advice=clock, is_permanent=True)
    advice = "put a new one into the connection string, or use a policy and its key"
    return Cause(text=text, advice=advice, is_permanent=True)


def _is_over(route: Route) -> bool:
    return route.expires_at is not None and route.expires_at <= datetime.now(UTC)


def _key_advice(route: Route) -> str:
    """Return what may be wrong with that by which the namespace knows us."""
    if route.has_identity:
        return "that the identity has the role Azure Event Hubs Data Sender in this namespace"
    if route.expires_at is not None:
        return "that the token in the connection string is for this namespace and signed with a current key"
    return "the connection string: policy and key must be current ones of this namespace"


def _sign_in_cause(error: BaseException, route: Route) -> Cause | None:  # noqa: ARG001  # as the others
    return sign_in_cause(error) if is_sign_in(error) else None


def _port_advice(route: Route, *, is_refused: bool) -> str:
    if route.proxy is not None:
        return f"check {route.proxy.source}, and that the proxy runs"
    if not route.has_tls:
        start = "start the emulator (hublog local), or check the port in the connection string"
        return start if is_refused else f"{start} and the firewall"
    advice = f"let this machine out to port {route.port} of the namespace (firewall, private endpoint)"
    if route.is_websocket:
        return f"{advice}, or name a proxy in {PROXY_SETTING}"
    return f"{advice}, or set EVENTHUB_LOG_TRANSPORT=websocket, which needs port 443 only"


#: Asked in this order of each link of a chain.
_FINDERS: Final = (
    _sign_in_cause,
    _token_cause,
    _proxy_cause,
    _tls_cause,
    _closed_cause,
    _upgrade_cause,
    _name_cause,
    _socket_cause,
)

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
#: The client's word for an answer of the hub that it has lost.
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
    # Where the hub itself has answered, what is below the client is not to blame.
    is_answer = name == _REFUSAL or any(word in condition for word in (*_ADVICE, *_BUSY, "message-size"))
    cause = None if route is None or is_answer else cause_of(error, route)
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
    if name == _REFUSAL and not any(word in condition for word in _TROUBLE):
        has_reason = condition not in {"", _UNKNOWN}
        reason = _shown(error) if has_reason else "the hub gave no reason"
        return RejectedSendError(f"{name} ({condition or _UNKNOWN}): {reason}")
    return TransientSendError(text)


def is_expired(error: Exception) -> bool:
    """Whether nothing was sent since the client's own token had expired while the connection was idle."""
    return any(type(link).__name__ == "TokenExpired" for link in chain(error))


def is_settled(error: Exception) -> bool:
    """Whether the hub answered with a refusal that leaves the connection as good as it was."""
    condition = _condition(error)
    if type(error).__name__ != _REFUSAL or condition in {"", _UNKNOWN}:
        return False
    return not any(word in condition for word in _TROUBLE) and not _advice(error)


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
    seconds = _WAIT.search(text)
    return min(float(seconds[1]), BUSY_WAIT_MAX_S) if seconds else BUSY_WAIT_S


def _condition(error: Exception) -> str:
    """Return the AMQP condition (``amqp:not-found`` ...) that the client kept, or nothing."""
    kept = getattr(error, "error", None)
    return str(getattr(kept, "condition", kept) or "")


def _shown(error: Exception) -> str:
    text = str(error).partition("\nError")[0]  # the client repeats itself below, and in each line
    lines = dict.fromkeys(line.strip() for line in text.splitlines())
    return _SECRET.sub(r"\1\2***", " ".join(filter(None, lines)))[:300]
