"""Consumers of Channels have the fields of their websocket."""

import asyncio
import logging

import pytest
from channels.consumer import SyncConsumer
from channels.db import database_sync_to_async
from channels.exceptions import StopConsumer
from channels.generic.websocket import AsyncWebsocketConsumer
from channels.middleware import BaseMiddleware
from channels.routing import ProtocolTypeRouter, URLRouter
from channels.testing import WebsocketCommunicator
from django.urls import path, re_path

import hublog
from hublog.asgi import request_context

LOGGER = logging.getLogger("shop.views")


class Echo(AsyncWebsocketConsumer):
    async def connect(self):
        hublog.bind(tenant_id="acme")
        await self.accept()

    async def receive(self, text_data=None, bytes_data=None):
        LOGGER.info("echo %s", text_data)
        await database_sync_to_async(LOGGER.info)("in a thread")
        await self.send(text_data)

    async def disconnect(self, code):
        LOGGER.info("bye")


class Plain(SyncConsumer):
    def websocket_connect(self, event):
        self.send({"type": "websocket.accept"})

    def websocket_receive(self, event):
        LOGGER.info("echo %s", event["text"])
        LOGGER.info("in a thread")
        self.send({"type": "websocket.send", "text": event["text"]})

    def websocket_disconnect(self, event):
        LOGGER.info("bye")
        raise StopConsumer


@pytest.mark.parametrize("consumer", [Echo, Plain])
def test_a_consumer_of_channels_has_the_fields_for_its_whole_life(seen, consumer):
    router = ProtocolTypeRouter({"websocket": URLRouter([path("chat/<room>/", consumer.as_asgi())])})

    async def main():
        communicator = WebsocketCommunicator(
            request_context(router), "/chat/blue/", headers=[(b"x-request-id", b"abc")]
        )
        assert (await communicator.connect(timeout=10))[0]
        await communicator.send_to("hi")
        assert await communicator.receive_from(timeout=10) == "hi"
        await communicator.disconnect(code=1001, timeout=10)

    asyncio.run(main())
    found = [
        (message, fields["request_id"], fields["http_path"]) for message, fields in seen.of("shop.views")
    ]
    assert found == [(message, "abc", "/chat/blue/") for message in ("echo hi", "in a thread", "bye")]
    fields = seen.one("hublog.request")
    assert (fields["http_status_code"], fields["close_code"]) == (101, 1001)


class Member:
    pk = 7
    is_authenticated = True


class SignIn(BaseMiddleware):
    """As Channels' own for sessions does: it hands on a copy of the scope."""

    async def __call__(self, scope, receive, send):
        return await super().__call__(dict(scope, user=Member()), receive, send)


@pytest.mark.parametrize("consumer", [Echo, Plain])
@pytest.mark.parametrize(
    ("routes", "where", "route"),
    [
        ([("path", "chat/<room>/")], "/chat/blue/", "/chat/<room>/"),
        ([("re_path", r"^chat/(?P<room>[a-z]+)/$")], "/chat/blue/", "/chat/<room>/"),
        (
            [("path", "v<int:version>/"), ("path", "chat/<room>/")],
            "/v1/chat/blue/",
            "/v<int:version>/chat/<room>/",
        ),
        ([], "/chat/blue/", None),
    ],
)
def test_a_consumer_has_its_route_its_view_and_its_user(seen, consumer, routes, where, route):
    app = consumer.as_asgi()
    for kind, written in reversed(routes):
        app = URLRouter(
            [path("other/", Plain.as_asgi()), {"path": path, "re_path": re_path}[kind](written, app)]
        )

    async def main():
        communicator = WebsocketCommunicator(
            request_context(ProtocolTypeRouter({"websocket": SignIn(app)})), where
        )
        assert (await communicator.connect(timeout=10))[0]
        await communicator.send_to("hi")
        assert await communicator.receive_from(timeout=10) == "hi"
        await communicator.disconnect(timeout=10)

    asyncio.run(main())
    names = ("http_route", "view_name", "user_id", "user_authenticated")
    expected = (route, f"{__name__}.{consumer.__name__}", "7", True)
    for fields in (seen.one("hublog.request"), *(fields for _, fields in seen.of("shop.views"))):
        assert tuple(fields.get(name) for name in names) == expected
    if consumer is Echo:
        assert seen.one("hublog.request")["tenant_id"] == "acme"


def test_a_path_that_no_route_has_is_refused_as_without_us(seen):
    async def ask(app):
        communicator = WebsocketCommunicator(app, "/nowhere/")
        await communicator.send_input({"type": "websocket.connect"})
        with pytest.raises(ValueError, match="No route found"):
            await communicator.wait(timeout=10)  # connect() would wait for an answer until its time-out

    router = URLRouter([path("chat/<room>/", Echo.as_asgi())])
    asyncio.run(ask(router))
    asyncio.run(ask(request_context(router)))
    assert "http_route" not in seen.one("hublog.request")
