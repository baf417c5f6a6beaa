"""The way to the namespace below AMQP: the name, the port, the certificate."""

import contextlib
import socket
import ssl
import time
from collections.abc import Iterator
from typing import Final

from hublog.doctor.limits import Budget, TookTooLongError, within
from hublog.doctor.result import Result, fail, ok
from hublog.doctor.target import Target

#: AMQP over WebSockets, which many firewalls let through; hublog does not use it.
_WEB_PORT: Final = 443
_WEB_S: Final = 2.0
_LEAST_S: Final = 0.5
_SHOWN_ADDRESSES: Final = 3

_NAME_HINT: Final = (
    "Check the host in the connection string, and the DNS of this machine (a private endpoint needs its"
    " private DNS zone)."
)
_CERTIFICATE_HINT: Final = (
    "Something between here and the namespace may open TLS (a proxy, a firewall): have it leave this host"
    " alone; else check the host name and the clock of this machine."
)


def look_at_network(target: Target, budget: Budget, *, roots: str) -> Iterator[Result]:
    """Yield a result for each step, until one fails.

    Args:
        target: where to.
        budget: how long it may take.
        roots: file with the certificates that are trusted.
    """
    addresses, result = _look_up(target, budget)
    yield result
    if not addresses:
        return
    result = _connect(target, addresses, budget)
    yield result
    if result.hint or not target.has_tls:
        return
    yield _shake_hands(target, budget, roots)


def _look_up(target: Target, budget: Budget) -> tuple[list[str], Result]:
    begun, limit_s = time.monotonic(), budget.step_s()

    def resolve() -> list[str]:
        found = socket.getaddrinfo(target.host, target.port, type=socket.SOCK_STREAM)
        return list(dict.fromkeys(str(each[4][0]) for each in found))

    try:
        addresses = within(limit_s, resolve)
    except TookTooLongError:
        return [], fail("dns", f"{target.host} was not resolved within {limit_s:.0f} s", _NAME_HINT)
    except (OSError, ValueError, OverflowError) as error:  # a name that no name can be is one of these
        return [], fail("dns", f"{target.host} does not resolve ({_why(error)})", _NAME_HINT)
    shown = ", ".join(addresses[:_SHOWN_ADDRESSES])
    more = f" and {len(addresses) - _SHOWN_ADDRESSES} more" if len(addresses) > _SHOWN_ADDRESSES else ""
    return addresses, ok("dns", f"{target.host} is {shown}{more}", seconds=time.monotonic() - begun)


def _connect(target: Target, addresses: list[str], budget: Budget) -> Result:
    begun, limit_s = time.monotonic(), budget.step_s()
    each_s = max(limit_s / len(addresses), _LEAST_S)

    def connect() -> str:
        with socket.create_connection((target.host, target.port), timeout=each_s) as found:
            return str(found.getpeername()[0])

    try:
        address = within(limit_s, connect)
    except (TookTooLongError, TimeoutError):
        why = f"no answer from {target.host} on port {target.port} within {limit_s:.0f} s"
        return fail("tcp", why, _port_hint(target, is_refused=False))
    except (OSError, OverflowError) as error:
        why = f"{target.host} takes no connection on port {target.port} ({_why(error)})"
        return fail("tcp", why, _port_hint(target, is_refused=isinstance(error, ConnectionRefusedError)))
    return ok("tcp", f"connected to {address}, port {target.port}", seconds=time.monotonic() - begun)


def _port_hint(target: Target, *, is_refused: bool) -> str:
    if not target.has_tls:
        start = "Start the emulator (hublog local), or check the port in the connection string"
        return f"{start}." if is_refused else f"{start} and the firewall."
    hint = f"Let this machine out to port {target.port} of the namespace (firewall, proxy, private endpoint)."
    if _is_open(target.host):
        hint += f" Port {_WEB_PORT} answers, but hublog does not use AMQP over WebSockets."
    return hint


def _is_open(host: str) -> bool:
    def connect() -> bool:
        with socket.create_connection((host, _WEB_PORT), timeout=_WEB_S):
            return True

    with contextlib.suppress(TookTooLongError, OSError):
        return within(_WEB_S, connect)
    return False


def _shake_hands(target: Target, budget: Budget, roots: str) -> Result:
    begun, limit_s = time.monotonic(), budget.step_s()

    def shake() -> str:
        context = ssl.create_default_context(cafile=roots)
        with (
            socket.create_connection((target.host, target.port), timeout=limit_s) as plain,
            context.wrap_socket(plain, server_hostname=target.host) as found,
        ):
            certificate = found.getpeercert() or {}
            return (
                f"{found.version()}, certificate good until {certificate.get('notAfter', 'an unknown day')}"
            )

    try:
        detail = within(limit_s, shake)
    except (TookTooLongError, TimeoutError):
        why = f"{target.host} said nothing to the TLS handshake within {limit_s:.0f} s"
        return fail("tls", why, _CERTIFICATE_HINT)
    except ssl.SSLCertVerificationError as error:
        why = f"the certificate of {target.host} is not trusted ({error.verify_message})"
        return fail("tls", why, _CERTIFICATE_HINT)
    except OSError as error:
        return fail("tls", f"no TLS with {target.host} ({_why(error)})", _CERTIFICATE_HINT)
    return ok("tls", detail, seconds=time.monotonic() - begun)


def _why(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error) or type(error).__name__
