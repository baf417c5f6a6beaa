"""The ASGI application: a plain callable that logs five records with ids before it answers."""

import asyncio
import os
from urllib.parse import parse_qsl

import probe  # before hublog: its exit hook must run last

probe.set_up()
for number in range(int(os.environ.get("FAULTS_AT_IMPORT", "0"))):
    probe.write(f"import-{os.getpid()}-{number}")


async def app(scope, receive, send):
    """Log, then hold the request as long as asked, then answer."""
    if scope["type"] == "lifespan":
        await _live(receive, send)
        return
    query = dict(parse_qsl(scope["query_string"].decode()))
    if scope["path"] == "/work":
        name = query["id"]
        for number in range(int(query.get("records", 5))):
            probe.call(f"{name}.{number}", "record %d of %s", number, name)
        for number in range(int(query.get("burst", 0))):
            probe.write(f"{name}.burst{number}")
        await asyncio.sleep(float(query.get("sleep", 0)))
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
    await send({"type": "http.response.body", "body": b"ok"})


async def _live(receive, send):
    while True:
        message = await receive()
        await send({"type": f"{message['type']}.complete"})
        if message["type"] == "lifespan.shutdown":
            return


if os.environ.get("FAULTS_LIFESPAN") == "true" and os.environ["EVENTHUB_LOGGING_ENABLED"] == "true":
    from hublog.asgi import lifespan

    app = lifespan(app)
