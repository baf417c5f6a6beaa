"""An ASGI client that a test plays: what it says, and what the application sends."""

import asyncio

from hublog.asgi import request_context
from hublog.capture import context

CONNECT = {"kind": "websocket.connect"}
ACCEPT = {"type": "websocket.accept"}


class Client:
    """One connection to an application.

    Attributes:
        sent: what the application has said.
    """

    def __init__(self, app, kind="http", *, spec="2.3", **known):
        self.app = app
        self.sent = []
        self.left = asyncio.Event()
        self.scope = {
            "type": kind,
            "asgi": {"version": "3.0", "spec_version": spec},
            "method": "GET",
            "path": "/orders/7",
            "query_string": b"a=1",
            "headers": [(b"host", b"shop.example"), (b"x-request-id", b"abc"), (b"user-agent", b"tester")],
            "client": ("192.0.2.1", 4711),
            **known,
        }
        self._said = asyncio.Queue()

    def say(self, kind, **known):
        self._said.put_nowait({"type": kind, **known})

    async def receive(self):
        return await self._said.get()

    async def send(self, message):
        self.sent.append(message)

    async def run(self):
        await self.app(self.scope, self.receive, self.send)

    def headers(self):
        [start] = [message for message in self.sent if "headers" in message]
        return start["headers"]


def run(app, kind="http", *, says=(), **known):
    async def main():
        client = Client(request_context(app), kind, **known)
        for message in says:
            client.say(**message)
        try:
            await asyncio.wait_for(client.run(), 10)
        finally:
            assert context.bound() == {}
        return client

    return asyncio.run(main())
