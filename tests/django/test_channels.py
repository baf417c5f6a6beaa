"""Consumers of Channels have the fields of their websocket."""

import asyncio
import logging

import pytest
from channels.consumer import SyncConsumer
from channels.db import database_sync_to_async
from channels.exceptions import StopConsumer
from channels.generic.websocket import AsyncWebsocketConsumer
from channels.routing import ProtocolTypeRouter, URLRouter
from channels.testing import WebsocketCommunicator
from django.urls import path

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
