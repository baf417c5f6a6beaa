"""The route to a namespace: host and port, transport and proxy; sender, doctor and log lines use the same."""

import ipaddress
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from hublog.settings.connection import (
    PROXY,
    PROXY_SETTING,
    Proxy,
    expiry_of,
    parts_of,
    place_of,
    port_of,
    read_proxy,
)
from hublog.settings.model import EventHubSettings
from hublog.settings.values import InvalidValueError, Transport

#: AMQP over TLS, the emulator's AMQP without it, and both inside WebSockets.
AMQPS_PORT: Final = 5671
AMQP_PORT: Final = 5672
WSS_PORT: Final = 443
WS_PORT: Final = 80


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """Where the client connects; the only secret is that of the proxy.

    Attributes:
        namespace: host name that the token is for.
        host: host that the client connects to; the certificate must be for it.
        has_tls: whether the connection is encrypted; only an emulator's is not.
        proxy: None for a direct connection.
        proxy_problem: why the proxy of the environment cannot be used; empty if it can.
        ca_file: certificates that are trusted in addition to the usual ones.
        has_identity: whether it signs in without a key.
        expires_at: expiry of the token in the connection string; None if there is none.
    """

    namespace: str
    host: str
    port: int
    has_tls: bool
    transport: Transport = Transport.AMQP
    proxy: Proxy | None = None
    proxy_problem: str = ""
    ca_file: Path | None = None
    has_identity: bool = False
    expires_at: datetime | None = None

    @property
    def is_websocket(self) -> bool:
        """Whether AMQP is sent over WebSockets."""
        return self.transport is Transport.WEBSOCKET

    @property
    def place(self) -> str:
        """Host and port."""
        return place_of(self.host, self.port)

    @property
    def default_port(self) -> int:
        """The port of the transport."""
        return default_port(has_tls=self.has_tls, is_websocket=self.is_websocket)


def route_of(settings: EventHubSettings, environ: Mapping[str, str] | None = None) -> Route:
    """Return the route to the namespace of a configured Event Hub; the environment may name a proxy."""
    parts = parts_of(settings.connection_string)
    has_tls = parts.get("usedevelopmentemulator") != "true"
    is_websocket = settings.transport is Transport.WEBSOCKET
    stated = urlsplit(parts.get("endpoint") or f"sb://{settings.fully_qualified_namespace}")
    namespace = host = stated.hostname or ""
    port = port_of(stated)
    if is_websocket and port in {AMQPS_PORT, AMQP_PORT}:
        port = 0  # the port of plain AMQP, as the portal shows it
    if settings.endpoint:
        custom = urlsplit(f"sb://{settings.endpoint}")
        host, port = custom.hostname or "", port_of(custom)
    proxy, problem = _find_proxy(settings, host, os.environ if environ is None else environ, has_tls=has_tls)
    return Route(
        namespace=namespace,
        host=host,
        port=port or default_port(has_tls=has_tls, is_websocket=is_websocket),
        has_tls=has_tls,
        transport=settings.transport,
        proxy=proxy,
        proxy_problem=problem,
        ca_file=settings.ca_file,
        has_identity=not settings.connection_string,
        expires_at=expiry_of(settings.connection_string),
    )


def default_port(*, has_tls: bool, is_websocket: bool) -> int:
    """Return the port of a transport."""
    if is_websocket:
        return WSS_PORT if has_tls else WS_PORT
    return AMQPS_PORT if has_tls else AMQP_PORT


def _find_proxy(
    settings: EventHubSettings, host: str, environ: Mapping[str, str], *, has_tls: bool
) -> tuple[Proxy | None, str]:
    """Return the proxy, and the problem of that in the environment."""
    if settings.transport is not Transport.WEBSOCKET:  # an HTTP proxy carries nothing else
        return None, ""
    source, stated = PROXY_SETTING, settings.proxy
    if not stated:
        lower = "https_proxy" if has_tls else "http_proxy"
        # The lower-case one wins even if it is empty, as in the client's WebSocket package.
        source = lower if lower in environ else lower.upper()
        stated = "".join(environ.get(source, "").split())
    if not stated or is_excepted(host, environ.get("no_proxy", environ.get("NO_PROXY", ""))):
        return None, ""
    try:
        return read_proxy(stated, source), ""
    except InvalidValueError as error:
        return None, f"{source} {error}; it must be {PROXY.allowed}."


def is_excepted(host: str, no_proxy: str) -> bool:
    """Whether a host is reached directly although there is a proxy, by the rules of the client's package.

    Args:
        host: name or address.
        no_proxy: entries separated by commas: names, which include their subdomains, addresses, networks like
            ``10.0.0.0/8``, or ``*``.
    """
    entries = [entry.strip() for entry in no_proxy.split(",") if entry.strip()]
    if "*" in entries or host in entries:
        return True
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return any(
            host.endswith(entry.lstrip(".") if entry.startswith(".") else f".{entry}") for entry in entries
        )
    return any(address in network for network in _networks(entries))


def _networks(entries: list[str]) -> Iterator[ipaddress.IPv4Network | ipaddress.IPv6Network]:
    for entry in entries:
        try:
            yield ipaddress.ip_network(entry)
        except ValueError:
            continue
