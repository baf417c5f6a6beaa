"""The listening side: one port on loopback, inside an event loop."""

import asyncio
import contextlib
import errno
import ipaddress
import ssl
from typing import Final

from hublog.errors import LocalHubError
from hublog.local.hub.connection import Connection
from hublog.local.hub.service import Service

#: What a stopping server gives its clients to read the last answers.
_GRACE_S: Final = 0.2
_END_S: Final = 2.0
_STEP_S: Final = 0.005
#: Turns of the loop until a connection that it accepted is made: three in Python 3.13, with room to spare.
_ACCEPT_TURNS: Final = 8


def check_loopback(host: str) -> str:
    """Return the address of a loopback host.

    Raises:
        LocalHubError: it is another one.
    """
    if host == "localhost":
        return "127.0.0.1"
    with contextlib.suppress(ValueError):
        if ipaddress.ip_address(host).is_loopback:
            return host
    raise LocalHubError(
        f"The local hub cannot listen on {host!r}: it is for development and binds loopback only; "
        "use 127.0.0.1 or ::1."
    )


async def settle_accepts() -> None:
    """Let connections that were accepted just before the listener closed come to be, so that they end too."""
    for _ in range(_ACCEPT_TURNS):
        await asyncio.sleep(0)


class Server:
    """Listens for clients. All but ``port`` belongs to the loop it is started in.

    Args:
        service: what all connections share.
        host: a loopback address.
        port: 0 takes a free one, and keeps it.
        ssl_context: for TLS.

    Attributes:
        port: the port; 0 before the start if a free one is wanted.
    """

    def __init__(
        self, service: Service, *, host: str, port: int, ssl_context: ssl.SSLContext | None = None
    ) -> None:
        self.port = port
        self._service = service
        self._host = host
        self._ssl_context = ssl_context
        self._server: asyncio.Server | None = None

    async def start_listening(self) -> None:
        """Take connections from now on.

        Raises:
            LocalHubError: the port is taken or not allowed.
        """
        if self._server is not None:
            return
        loop = asyncio.get_running_loop()
        try:
            self._server = await loop.create_server(
                lambda: Connection(self._service, loop),
                self._host,
                self.port,
                ssl=self._ssl_context,
                backlog=512,
            )
        except (OSError, OverflowError) as error:
            raise LocalHubError(_explain(error, self._host, self.port)) from error
        self.port = self._server.sockets[0].getsockname()[1]

    def stop_listening(self) -> None:
        """Take no more connections; those that are open stay."""
        if self._server is not None:
            self._server.close()
            self._server = None

    def drop_connections(self) -> int:
        """Reset all connections; returns how many there were."""
        connections = tuple(self._service.connections)
        for connection in connections:
            connection.abort()
        return len(connections)

    async def stop(self) -> None:
        """End the server and all connections; what was settled is still sent."""
        self.stop_listening()
        await settle_accepts()
        for connection in tuple(self._service.connections):
            if isinstance(connection, Connection):
                connection.close_transport()
        if not await self._are_gone(_GRACE_S):
            self.drop_connections()
            await self._are_gone(_END_S)

    async def _are_gone(self, seconds: float) -> bool:
        steps = round(seconds / _STEP_S)
        while self._service.connections and steps:
            await asyncio.sleep(_STEP_S)
            steps -= 1
        await asyncio.sleep(0)
        return not self._service.connections


def _explain(error: OSError | OverflowError, host: str, port: int) -> str:
    if isinstance(error, OSError) and error.errno == errno.EADDRINUSE:
        return (
            f"Port {port} on {host} is taken by another program; stop that program, or give another port "
            "(0 takes a free one)."
        )
    if isinstance(error, OSError) and error.errno == errno.EACCES:
        return (
            f"Port {port} on {host} is not allowed for this user; give one above 1023 (0 takes a free one)."
        )
    return f"Cannot listen on port {port} of {host}: {error}; a port is 0 (a free one) or 1 to 65535."
