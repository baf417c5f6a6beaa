"""A Flask and a bare ASGI application, whose records go to a hub in a file.

Imported first: both of the handler's pipelines, that of a logging configuration and that of ``HubLog``,
are made here.
"""

import logging

from file_hub import FileHub
from flask import Flask

from hublog.asgi import lifespan, request_context
from hublog.flask import HubLog
from hublog.runtime.registry import get_pipeline
from hublog.settings import read_settings

get_pipeline(make_sender=FileHub)


def create_app():
    app = Flask("shop")
    app.add_url_rule("/", view_func=lambda: app.logger.info("order") or "ok")
    get_pipeline(read_settings(framework=app.config.get).settings, framework="flask", make_sender=FileHub)
    HubLog(app)
    app.logger.setLevel(logging.INFO)
    return app


@lifespan
@request_context
async def asgi(scope, receive, send):
    if scope["type"] == "lifespan":
        raise NotImplementedError("as Django's does")
    logging.getLogger("shop").info("order")
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
    await send({"type": "http.response.body", "body": b"ok"})
