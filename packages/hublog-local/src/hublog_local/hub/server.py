"""The listening side: one port on loopback, inside an event loop."""

import asyncio
import contextlib
import errno
import ipaddress
import socket
import ssl
from collections.abc import Awaitable, Callable
from typing import Final

from hublog_local.errors import LocalHubError
from hublog_local.hub.connection import Connection
from hublog_local.hub.service import Service

#: Connections that wait in the kernel.
_BACKLOG: Final = 512
#: After an error that accepting again at once would only repeat, such as too many open files.
_REST_S: Final = 0.5


class Listener:
    """Accepts connections in the running event loop until it is stopped.

    Args:
        listening: bound; the listener owns it from now on.
        take: sets a connection up and, if it likes, serves it; owns the socket it is given.
    """

    def __init__(self, listening: socket.socket, take: Callable[[socket.socket], Awaitable[None]]) -> None:
        self._socket = listening
        self._take = take
        self._loop = asyncio.get_running_loop()
        self._tasks: set[asyncio.Task[None]] = set()
        listening.setblocking(False)  # noqa: FBT003  # the name of the argument is in the name of the method
        listening.listen(_BACKLOG)
        self._loop.add_reader(listening, self._accept)

    def stop(self) -> None:
        """Refuse connections from now on; those that were taken stay."""
        if self._socket.fileno() >= 0:
            self._loop.remove_reader(self._socket)
            self._socket.close()

    async def settle(self, *, cancel: bool) -> None:
        """Wait until all connections that were taken are set up, or served to their end.

        Args:
            cancel: end those that are not.
        """
        await asyncio.sleep(0)  # a task that never ran would leave its socket open if it were cancelled
        if cancel:
            for task in self._tasks:
                task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _accept(self) -> None:
        try:
            connection, _ = self._socket.accept()
        except (BlockingIOError, InterruptedError, ConnectionAbortedError):
            return
        except OSError:
            self._loop.remove_reader(self._socket)
            self._loop.call_later(_REST_S, self._resume)
            return
        connection.setblocking(False)  # noqa: FBT003  # as above
        task = self._loop.create_task(self._run(connection))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _run(self, connection: socket.socket) -> None:
        # A failed handshake is not an error of the server.
        with contextlib.suppress(OSError, asyncio.CancelledError):
            await self._take(connection)

    def _resume(self) -> None:
        if self._socket.fileno() >= 0:
            self._loop.add_reader(self._socket, self._accept)


#: What a stopping server gives its clients to read the last answers.
_GRACE_S: Final = 0.2
_END_S: Final = 2.0
_STEP_S: Final = 0.005


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


class Server:
    """Listens for clients. All but ``port`` belongs to the loop it is started in.

    Attributes:
        port: 0 before the start if a free one is wanted, which is then kept.
    """

    def __init__(
        self, service: Service, *, host: str, port: int, ssl_context: ssl.SSLContext | None = None
    ) -> None:
        self.port = port
        self._service = service
        self._host = host
        self._ssl_context = ssl_context
        self._listener: Listener | None = None
        self._is_listening = False

    def start_listening(self) -> None:
        """Take connections from now on; called in the loop.

        Raises:
            LocalHubError: the port is taken or not allowed.
        """
        if self._is_listening:
            return
        family = socket.AF_INET6 if ":" in self._host else socket.AF_INET
        listening = socket.socket(family, socket.SOCK_STREAM)
        try:
            # The port of a hub that has just ended is free again.
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listening.bind((self._host, self.port))
            self._listener = Listener(listening, self._take)
        except (OSError, OverflowError) as error:
            listening.close()
            raise LocalHubError(_explain(error, self._host, self.port)) from error
        self.port = listening.getsockname()[1]
        self._is_listening = True

    def stop_listening(self) -> None:
        """Take no more connections; those that are open stay."""
        if self._listener is not None:
            self._listener.stop()
        self._is_listening = False

    async def _take(self, connection: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        await loop.connect_accepted_socket(
            lambda: Connection(self._service, loop), connection, ssl=self._ssl_context
        )

    def drop_connections(self) -> int:
        """Reset all connections; returns how many there were."""
        connections = tuple(self._service.connections)
        for connection in connections:
            connection.abort()
        return len(connections)

    async def stop(self) -> None:
        """End the server and all connections; what was settled is still sent."""
        self.stop_listening()
        if self._listener is not None:
            # With TLS a client may be in a handshake that it never finishes.
            await self._listener.settle(cancel=self._ssl_context is not None)
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
