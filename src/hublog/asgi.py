"""For ASGI servers: deliver what is queued when the application shuts down, and log its requests.

::

    application = lifespan(get_asgi_application())  # Django
    app = lifespan(app)  # Starlette, FastAPI, Quart, a plain callable; the outermost wrapper of all
    application = lifespan(request_context(ProtocolTypeRouter({...})))  # Channels: websockets too

uvicorn ends by its signal without running exit hooks, so ``lifespan`` is the last moment there. No server and
no framework is imported, and nothing is patched but two classes of Channels, see
``requests.framework_routes``.
"""

import asyncio
import contextlib
import threading
from collections.abc import Awaitable, Callable
from enum import Enum, auto
from functools import update_wrapper
from typing import Final, TypeVar, cast

from hublog.requests import asgi_requests, framework_routes
from hublog.requests.asgi_requests import Application, Message, Receive, Send
from hublog.requests.request_scope import SCOPE_KEY
from hublog.runtime.server_advice import Way, taken
from hublog.runtime.shared import runtime
from hublog.runtime.shutdown import ExitSequence, exit_sequence
from hublog.settings import RequestSettings, read_settings

__all__ = ["lifespan", "request_context"]

# The types of scope, receive and send are the application's own.
S = TypeVar("S")
R = TypeVar("R")
E = TypeVar("E")

STARTUP: Final = "lifespan.startup"
SHUTDOWN: Final = "lifespan.shutdown"


def lifespan(app: Callable[[S, R, E], Awaitable[None]]) -> Callable[[S, R, E], Awaitable[None]]:
    """Wrap an ASGI 3 application; everything passes through.

    When the server shuts the application down, the application runs its own shutdown first. After that each
    record goes to disk before its log call returns, where the mode has a disk, and what is queued is
    delivered within ``EVENTHUB_LOG_EXIT_TIMEOUT``; only then may the server go on. For an application
    without lifespan support, such as Django's, the server is answered here.
    """
    return _wrap(app, exit_sequence)


def request_context(app: Callable[[S, R, E], Awaitable[None]]) -> Callable[[S, R, E], Awaitable[None]]:
    """Wrap an ASGI 3 application: what it logs in a request or a websocket has its fields.

    Each request and each websocket ends in one record; the request id is echoed. Route, view and user are
    those of FastAPI, Starlette, Litestar, Quart and Channels; Django's middleware inside adds its
    own, and writes no record. Settings are those of Django, where its settings are loaded when the first
    request comes, else of the environment.
    """
    known: list[RequestSettings] = []

    async def wrapped(scope: S, receive: R, send: E) -> None:
        opened = cast("Message", scope)
        if opened["type"] not in (asgi_requests.HTTP, asgi_requests.WEBSOCKET) or SCOPE_KEY in opened:
            await app(scope, receive, send)
            return
        if not known:
            known.append(read_settings(framework=runtime.lookup).settings.request)
        framework_routes.watch()
        conversation = cast("Receive", receive), cast("Send", send)
        await asgi_requests.serve(cast("Application", app), opened, *conversation, known[0])

    return update_wrapper(wrapped, app, updated=())


def _wrap(
    app: Callable[[S, R, E], Awaitable[None]], ending: ExitSequence
) -> Callable[[S, R, E], Awaitable[None]]:
    taken.add(Way.WRAPPER)

    async def wrapped(scope: S, receive: R, send: E) -> None:
        if cast("Message", scope)["type"] != "lifespan":
            await app(scope, receive, send)
            return
        lifespan_ = _Lifespan(cast("Receive", receive), cast("Send", send), ending)
        await lifespan_.run(cast("Application", app), cast("Message", scope))

    return update_wrapper(wrapped, app, updated=())


class _Phase(Enum):
    """How far the lifespan protocol has come."""

    #: The application has not received the first message, so it may not support lifespans.
    NEW = auto()
    #: It has received the startup message, and has not answered.
    STARTING = auto()
    #: It has answered.
    STARTED = auto()
    #: It has received the shutdown message, and has not answered.
    ENDING = auto()
    #: No more messages come, in either direction.
    OVER = auto()


class _Lifespan:
    """One lifespan of an application, between its server and itself.

    Args:
        receive: the server's.
        send: the server's.
        ending: what is done at the end.
    """

    def __init__(self, receive: Receive, send: Send, ending: ExitSequence) -> None:
        self._receive = receive
        self._send = send
        self._ending = ending
        self._phase = _Phase.NEW

    async def run(self, app: Application, scope: Message) -> None:
        """Run the application, and answer the server for it where it does not."""
        try:
            try:
                await app(scope, self.receive, self.send)
            except Exception:
                if self._phase is _Phase.ENDING:
                    await self._deliver()
                if self._phase is not _Phase.NEW:
                    raise
            await self._finish()
        finally:
            if self._phase is not _Phase.OVER:
                # No shutdown message will come: the server has given up, or was sent an error.
                self._put_safe()

    async def receive(self) -> Message:
        """Pass on a message of the server."""
        message = await self._receive()
        if message["type"] == STARTUP:
            self._phase = _Phase.STARTING
            taken.add(Way.LIFESPAN)
        elif message["type"] == SHUTDOWN:
            self._phase = _Phase.ENDING
        return message

    async def send(self, message: Message) -> None:
        """Pass on a message of the application; the last one after the delivery."""
        kind = message["type"]
        if kind == f"{STARTUP}.complete":
            self._phase = _Phase.STARTED
        elif kind == f"{STARTUP}.failed":
            self._phase = _Phase.OVER
        elif kind in (f"{SHUTDOWN}.complete", f"{SHUTDOWN}.failed"):
            await self._deliver()
        await self._send(message)

    async def _finish(self) -> None:
        """Send the answers that the application has not sent when it returned."""
        if self._phase is _Phase.NEW:
            await self.receive()
        if self._phase is _Phase.STARTING:
            await self.send({"type": f"{STARTUP}.complete"})
        if self._phase is _Phase.STARTED:
            await self.receive()
        if self._phase is _Phase.ENDING:
            await self.send({"type": f"{SHUTDOWN}.complete"})

    async def _deliver(self) -> None:
        self._phase = _Phase.OVER

        def work() -> None:
            with contextlib.suppress(Exception):  # must not disturb the shutdown of the application
                # Before what is queued is written, so that no record falls in between.
                self._ending.write_always()
                self._ending.deliver()

        await _in_thread(work)

    def _put_safe(self) -> None:
        with contextlib.suppress(Exception):
            self._ending.write_always()
            self._ending.secure()


async def _in_thread(work: Callable[[], object]) -> None:
    """Do blocking work without blocking the event loop.

    The thread is its own: the loop's pool may be full of calls that hang. Without a thread, or under another
    loop than that of asyncio, it is done here: the server waits for nothing else at this moment.
    """
    try:
        loop = asyncio.get_running_loop()
        done = asyncio.Event()

        def run() -> None:
            try:
                work()
            finally:
                with contextlib.suppress(RuntimeError):  # the loop was closed meanwhile
                    loop.call_soon_threadsafe(done.set)

        threading.Thread(target=run, name="hublog-lifespan", daemon=True).start()
    except RuntimeError:
        work()
        return
    await done.wait()
