"""Takes connections from a listening socket, and loses none of them when it stops.

``asyncio.Server`` forgets a connection that it has accepted but not yet set up when it is closed: the
socket then stays open until it is collected, with a ``ResourceWarning`` (seen with Python 3.11 and 3.13).
"""

import asyncio
import contextlib
import socket
from collections.abc import Awaitable, Callable
from typing import Final

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
        # A handshake that fails is the client's affair.
        with contextlib.suppress(OSError, asyncio.CancelledError):
            await self._take(connection)

    def _resume(self) -> None:
        if self._socket.fileno() >= 0:
            self._loop.add_reader(self._socket, self._accept)
