"""The checks of the connection: name, port, proxy, certificate, WebSocket, and the client's link to the hub.

Each failure has the cause and the advice that the sender would log for it.
"""

import base64
import contextlib
import logging
import os
import re
import socket
import ssl
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from hublog.capture.formatter import LineFormatter
from hublog.delivery.packer import Packer
from hublog.doctor.steps import StepResult, StepTimeoutError, TimeBudget, fail, ok, run_with_timeout, took
from hublog.errors import PermanentSendError, SendError, TransientSendError
from hublog.runtime.delivery_log import THROTTLED, reach_advice, sentence_of
from hublog.senders.azure_errors import cause_of, proxy_failure, proxy_refusal, translate, upgrade_refusal
from hublog.senders.connections import Connections, tls_context
from hublog.senders.event_hub import EventHubSender, connect_producer
from hublog.senders.sign_in import Cause
from hublog.settings import EventHubSettings, Settings
from hublog.settings.route import WSS_PORT, Route, route_of

if TYPE_CHECKING:
    from hublog.senders.event_hub import EventHubProducerClient

_WEB_S: Final = 2.0
_LEAST_S: Final = 0.5
_SHOWN_ADDRESSES: Final = 3
#: Maximum that is read of an HTTP response; its status is in the first line.
_ANSWER_MAX_BYTES: Final = 16_384
_STATUS = re.compile(rb"HTTP/1\.[01] (\d{3})\b")
_ACCEPTED: Final = 200
_SWITCHING: Final = 101
_PATH: Final = "/$servicebus/websocket"
_SUBPROTOCOL: Final = "AMQPWSB10"

_NAME_HINT: Final = (
    "Check the host in the configuration, and the DNS of this machine (a private endpoint needs its private"
    " DNS zone)."
)
_INTERCEPTED: Final = (
    "A proxy or firewall may be intercepting TLS: exclude this host from it, or check the host name and the"
    " clock of this machine."
)


class _NoTunnelError(Exception):
    """The proxy or the WebSocket server refused."""

    def __init__(self, cause: Cause) -> None:
        super().__init__(cause.text)
        self.cause = cause


def check_network(
    route: Route, budget: TimeBudget, *, roots: str, environ: Mapping[str, str] | None = None
) -> Iterator[StepResult]:
    """Yield a result for each step, until one fails; ``roots`` is the file of trusted certificates."""
    begin = time.monotonic()
    addresses, result = _look_up(route, budget.step_s())
    yield took(begin, result)
    if not addresses:
        return
    steps: list[Callable[[float], StepResult]] = [lambda limit_s: _connect(route, addresses, limit_s)]
    if route.proxy is not None:
        steps.append(lambda limit_s: _tunnel(route, limit_s))
    if route.has_tls:
        variables = os.environ if environ is None else environ
        steps.append(lambda limit_s: _shake_hands(route, limit_s, roots, variables))
    if route.is_websocket:
        steps.append(lambda limit_s: _upgrade(route, limit_s, roots))
    for step in steps:
        begin = time.monotonic()
        result = took(begin, step(budget.step_s()))
        yield result
        if result.hint:
            return


def _first_hop(route: Route) -> tuple[str, int]:
    """Return the host and port that this machine connects to."""
    return (route.proxy.host, route.proxy.port) if route.proxy else (route.host, route.port)


def _look_up(route: Route, limit_s: float) -> tuple[list[str], StepResult]:
    host, port = _first_hop(route)

    def resolve() -> list[str]:
        answers = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        return list(dict.fromkeys(str(each[4][0]) for each in answers))

    try:
        addresses = run_with_timeout(limit_s, resolve)
    except StepTimeoutError:
        return [], fail("dns", f"{host} was not resolved within {limit_s:.0f} s", _NAME_HINT)
    except (OSError, ValueError, OverflowError) as error:  # an impossible name is one of these
        return [], _failed("dns", error, route, f"host name not found: {host} ({_why(error)})")
    shown = ", ".join(addresses[:_SHOWN_ADDRESSES])
    more = f" and {len(addresses) - _SHOWN_ADDRESSES} more" if len(addresses) > _SHOWN_ADDRESSES else ""
    whose = "the proxy " if route.proxy else ""
    detail = f"{host} is an address" if addresses == [host] else f"{whose}{host} is {shown}{more}"
    return addresses, ok("dns", detail)


def _connect(route: Route, addresses: list[str], limit_s: float) -> StepResult:
    host, port = _first_hop(route)
    each_s = max(limit_s / len(addresses), _LEAST_S)

    def connect() -> str:
        with socket.create_connection((host, port), timeout=each_s) as connected:
            return str(connected.getpeername()[0])

    try:
        address = run_with_timeout(limit_s, connect)
    except (StepTimeoutError, OSError, OverflowError) as error:
        late = f"connection to {host}, port {port}, timed out: no answer within {limit_s:.0f} s"
        result = _failed("tcp", error, route, late)
        may_be_blocked = route.has_tls and not (route.proxy or route.is_websocket)
        if may_be_blocked and _is_open(route.host):
            return fail("tcp", result.detail, f"{result.hint} Port {WSS_PORT} answers.")
        return result
    return ok("tcp", f"connected to {address}, port {port}")


def _is_open(host: str) -> bool:
    def connect() -> bool:
        with socket.create_connection((host, WSS_PORT), timeout=_WEB_S):
            return True

    with contextlib.suppress(StepTimeoutError, OSError):
        return run_with_timeout(_WEB_S, connect)
    return False


def _tunnel(route: Route, limit_s: float) -> StepResult:
    def connect() -> None:
        with _open(route, limit_s):
            pass

    try:
        run_with_timeout(limit_s, connect)
    except StepTimeoutError:
        return _result_of("proxy", proxy_failure("did not answer in time", route))
    except (_NoTunnelError, OSError) as error:
        return _failed("proxy", error, route)
    place = route.proxy.place if route.proxy else ""
    return ok("proxy", f"{place} opens a tunnel to {route.place} (CONNECT)")


def _shake_hands(route: Route, limit_s: float, roots: str, environ: Mapping[str, str]) -> StepResult:
    def shake() -> str:
        with _open(route, limit_s) as plain, _secured(plain, route, roots, limit_s) as secured:
            certificate = secured.getpeercert() or {}
            until = certificate.get("notAfter", "an unknown date")
            return f"{secured.version()}, certificate valid until {until}, signed by {_issuer(certificate)}"

    try:
        detail = run_with_timeout(limit_s, shake)
    except (StepTimeoutError, TimeoutError):
        why = f"TLS handshake with {route.place} timed out: no answer within {limit_s:.0f} s"
        return fail("tls", why, _INTERCEPTED)
    except (SendError, _NoTunnelError, OSError) as error:
        result = _failed("tls", error, route)
        return fail("tls", result.detail, f"{result.hint}{_unread_store(environ)}")
    return ok("tls", detail)


def _upgrade(route: Route, limit_s: float, roots: str) -> StepResult:
    def upgrade() -> None:
        with contextlib.ExitStack() as stack:
            connection = stack.enter_context(_open(route, limit_s))
            if route.has_tls:
                connection = stack.enter_context(_secured(connection, route, roots, limit_s))
            _ask_for_websocket(connection, route)

    try:
        run_with_timeout(limit_s, upgrade)
    except (StepTimeoutError, TimeoutError):
        why = f"WebSocket upgrade timed out: no answer from {route.place} within {limit_s:.0f} s"
        return fail("websocket", why, sentence_of(upgrade_refusal(None, route).advice))
    except (SendError, _NoTunnelError, OSError) as error:
        return _failed("websocket", error, route)
    return ok("websocket", f"{route.place} accepts AMQP over WebSockets")


@contextlib.contextmanager
def _open(route: Route, limit_s: float) -> Iterator[socket.socket]:
    """Connect to the namespace, through the proxy if there is one."""
    with socket.create_connection(_first_hop(route), timeout=limit_s) as connection:
        if route.proxy is not None:
            _ask_for_tunnel(connection, route)
        yield connection


@contextlib.contextmanager
def _secured(plain: socket.socket, route: Route, roots: str, limit_s: float) -> Iterator[ssl.SSLSocket]:
    context = tls_context(Connections(), roots=roots, ca_file=route.ca_file, handshake_max_s=limit_s)
    with context.wrap_socket(plain, server_hostname=route.host) as secured:
        yield secured


def _ask_for_tunnel(connection: socket.socket, route: Route) -> None:
    """Ask the proxy for a tunnel.

    Raises:
        _NoTunnelError: it refuses.
    """
    proxy = route.proxy
    if proxy is None:
        return
    head = f"CONNECT {route.place} HTTP/1.1\r\nHost: {route.place}\r\n"
    if proxy.username:
        login = base64.b64encode(f"{proxy.username}:{proxy.password}".encode()).decode()
        head += f"Proxy-Authorization: Basic {login}\r\n"
    try:
        connection.sendall(f"{head}\r\n".encode())
        status = _read_status(connection)
    except TimeoutError:
        raise _NoTunnelError(proxy_failure("did not answer in time", route)) from None
    if status is None:
        raise _NoTunnelError(proxy_failure("gave no valid answer", route))
    if status != _ACCEPTED:
        raise _NoTunnelError(proxy_refusal(status, route))


def _ask_for_websocket(connection: socket.socket, route: Route) -> None:
    """Ask for a WebSocket as the client does.

    Raises:
        _NoTunnelError: the server refuses.
    """
    key = base64.b64encode(os.urandom(16)).decode()
    lines = (
        f"GET {_PATH} HTTP/1.1",
        f"Host: {route.place}",
        "Upgrade: websocket",
        "Connection: Upgrade",
        f"Sec-WebSocket-Key: {key}",
        "Sec-WebSocket-Version: 13",
        f"Sec-WebSocket-Protocol: {_SUBPROTOCOL}",
        "",
        "",
    )
    connection.sendall("\r\n".join(lines).encode())
    status = _read_status(connection)
    if status != _SWITCHING:
        raise _NoTunnelError(upgrade_refusal(status, route))


def _read_status(connection: socket.socket) -> int | None:
    """Return the status of an HTTP response; None if it is not one."""
    answer = b""
    while b"\r\n\r\n" not in answer and len(answer) < _ANSWER_MAX_BYTES:
        # One byte at a time: what follows belongs to the tunnel.
        piece = connection.recv(1)
        if not piece:
            break
        answer += piece
    status = _STATUS.match(answer)
    return int(status[1]) if status else None


def _failed(what: str, error: Exception, route: Route, otherwise: str = "") -> StepResult:
    """Return a failed step with its cause."""
    if isinstance(error, SendError):
        return fail(what, error.cause, sentence_of(error.advice))
    cause = error.cause if isinstance(error, _NoTunnelError) else cause_of(error, route)
    if cause is None or isinstance(error, StepTimeoutError):
        hint = _NAME_HINT if what == "dns" else _port_hint(route)
        return fail(what, otherwise or f"no connection to {route.place} ({_why(error)})", hint)
    return _result_of(what, cause)


def _result_of(what: str, cause: Cause) -> StepResult:
    return fail(what, cause.text, sentence_of(cause.advice))


def _port_hint(route: Route) -> str:
    cause = cause_of(TimeoutError("timed out"), route)
    return sentence_of(cause.advice) if cause else _INTERCEPTED


def _unread_store(environ: Mapping[str, str]) -> str:
    path = environ.get("SSL_CERT_FILE", "")
    if not path or os.access(path, os.R_OK):
        return ""
    return f" SSL_CERT_FILE is {path}, which cannot be read."


def _issuer(certificate: Mapping[str, object]) -> str:
    issuer = certificate.get("issuer", ())
    pairs = [pair for part in issuer for pair in part] if isinstance(issuer, tuple) else []
    names = dict(pairs)
    return str(names.get("organizationName") or names.get("commonName") or "an unknown authority")


def _why(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error) or type(error).__name__


EVENT_NAME: Final = "hublog.doctor"
_OPEN: Final = "event hub"
_SEND: Final = "send"
_CLOSE_S: Final = 1.0
_KIB: Final = 1 << 10
#: Loggers of the client's packages, which log each failure too.
_CHATTY: Final = ("azure", "msal")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Link:
    """A client whose link is open."""

    client: "EventHubProducerClient"
    connections: Connections


def check_event_hub(
    settings: Settings,
    budget: TimeBudget,
    *,
    framework: str,
    sends_record: bool,
    client_options: Mapping[str, object],
) -> Iterator[StepResult]:
    """Open a link to the event hub as the sender does, and send one record on request."""
    with _quiet():
        link, result = _open_link(settings.eventhub, budget, client_options)
        yield result
        if link is None:
            return
        try:
            if sends_record:
                begin = time.monotonic()
                yield took(begin, _send(settings, link, budget.step_s(), framework=framework))
        finally:
            _end(link.client, link.connections)


def _open_link(
    settings: EventHubSettings, budget: TimeBudget, client_options: Mapping[str, object]
) -> tuple[_Link | None, StepResult]:
    try:
        EventHubSender(settings)  # loads the client outside of the time limit
        connections, client = connect_producer(settings, client_options)
    except Exception as error:  # noqa: BLE001  # raised by other packages
        return None, _failed_link(_OPEN, settings, error)
    begin, limit_s = time.monotonic(), budget.open_s()
    try:
        size = run_with_timeout(limit_s, lambda: client.create_batch().max_size_in_bytes)
    except Exception as error:  # noqa: BLE001  # each of the client's errors is reported
        if isinstance(error, StepTimeoutError):
            why = f"{settings.eventhub_name!r} could not be opened for sending within {limit_s:.0f} s"
            result = fail(_OPEN, why, _reach_hint(settings))
        else:
            result = _failed_link(_OPEN, settings, error)
        result = took(begin, result)
        _end(client, connections)
        return None, result
    detail = f"{settings.eventhub_name!r} is open for sending, up to {size // _KIB:,} KiB per batch"
    return _Link(client=client, connections=connections), took(begin, ok(_OPEN, detail))


def _send(settings: Settings, link: _Link, limit_s: float, *, framework: str) -> StepResult:
    hub = settings.eventhub
    packer = Packer(hub.packing, gzip_level=hub.gzip_level, routing=hub.routing)
    [packed] = packer.pack([_line(settings, framework)], sent_at=datetime.now(UTC))
    sender = EventHubSender(hub, connect=lambda _: link.client)
    try:
        run_with_timeout(limit_s, lambda: sender.send([packed.body], packer.properties))
    except StepTimeoutError:
        why = f"the event hub did not confirm a record within {limit_s:.0f} s"
        return fail(_SEND, why, _reach_hint(hub))
    except SendError as error:
        return _failed_link(_SEND, hub, error)
    return ok(_SEND, f"the event hub accepted one record with event_name {EVENT_NAME!r}")


def _line(settings: Settings, framework: str) -> bytes:
    record = logging.LogRecord(EVENT_NAME, logging.INFO, "", 0, "Sent by hublog doctor.", None, None)
    record.__dict__["event_name"] = EVENT_NAME
    return LineFormatter(settings.service, framework=framework).encode(record)


def _failed_link(what: str, settings: EventHubSettings, error: Exception) -> StepResult:
    """Return a failed step with its cause, and what to check."""
    is_known = isinstance(error, SendError | ImportError)
    known = error if is_known else translate(error, route_of(settings))
    failure = "could not be opened for sending" if what == _OPEN else "did not accept a record"
    cause = known.cause if isinstance(known, SendError) else str(known)
    hint = sentence_of(known.advice) if isinstance(known, SendError) else ""
    if isinstance(known, TransientSendError) and known.retry_after_s > 0:
        hint = THROTTLED
    elif not hint and isinstance(known, PermanentSendError | ImportError):
        hint = "Correct what the message names, and run the doctor again."
    detail = f"{settings.eventhub_name!r} {failure}: {cause}"
    return fail(what, detail, hint or _reach_hint(settings))


def _reach_hint(settings: EventHubSettings) -> str:
    return reach_advice(settings)


def _end(client: "EventHubProducerClient", connections: Connections) -> None:
    """Close a client in any state; abort one that hangs."""
    close: Callable[[], object] = client.close
    with contextlib.suppress(Exception):
        run_with_timeout(_CLOSE_S, close)
    connections.cut()
    connections.close()


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Silence the loggers of the client's packages: the doctor reports each failure once."""
    loggers = [logging.getLogger(name) for name in _CHATTY]
    before = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.CRITICAL + 1)
    try:
        yield
    finally:
        for logger, level in zip(loggers, before, strict=True):
            logger.setLevel(level)
