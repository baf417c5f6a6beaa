"""Minimal applications: one route, no database; the view makes the log calls that a turn asks for."""

import asyncio
import os
import sys
import types
from collections.abc import Awaitable, Callable, Iterable
from importlib import import_module
from typing import Any, Final

from benchmarks.requests.loggers import HublogLogs, Logs, OpenTelemetryLogs
from benchmarks.requests.visits import asgi_scope

#: Serves one request after the other.
Serve = Callable[[Iterable[dict[str, Any]]], None]


class Plan:
    """What the view does.

    Attributes:
        records: number of log calls.
        queries: number of queries through SQLAlchemy; with Flask only.
        parts: number of parts of a streamed response, none if 0; with Flask only.
    """

    records = 1
    queries = 0
    parts = 0


def work(logs: Logs, order_id: int) -> str:
    """Do what the view does."""
    for _ in range(Plan.records):
        logs.log(order_id)
    return f"order {order_id}"


def flask(logs: Logs) -> Serve:
    """Return a Flask application."""
    from flask import Flask, Response, request

    app = Flask("shop")
    if isinstance(logs, HublogLogs):
        from hublog.flask import HubLog

        HubLog(app)
    if isinstance(logs, OpenTelemetryLogs):
        import_module("opentelemetry.instrumentation.flask").FlaskInstrumentor().instrument_app(app)
    if logs.has_request_record:

        @app.before_request
        def begin() -> None:
            environ = request.environ
            logs.begin(environ, request.method, request.path, environ["REMOTE_ADDR"])

        @app.after_request
        def end(response: Response) -> Response:
            logs.end(response.status_code, request.path)
            return response

    from sqlalchemy import create_engine, text

    engine, query = create_engine("sqlite://"), text("SELECT 1")

    @app.route("/orders/<int:order_id>")
    def show(order_id: int) -> Response:
        if Plan.queries:
            with engine.connect() as connection:
                for _ in range(Plan.queries):
                    connection.execute(query)
        answer = work(logs, order_id)
        return Response(iter([answer] * Plan.parts)) if Plan.parts else Response(answer)

    return lambda environs: call_wsgi(app, environs)


def django(logs: Logs) -> Serve:
    """Return a Django application behind WSGI."""
    _configure_django(logs, is_async=False)
    from django.core.wsgi import get_wsgi_application

    app = get_wsgi_application()
    return lambda environs: call_wsgi(app, environs)


def django_asgi(logs: Logs) -> Serve:
    """Return a Django application behind ASGI, with an asynchronous view."""
    _configure_django(logs, is_async=True)
    from django.core.asgi import get_asgi_application

    return _asgi(get_asgi_application())


def asgi(logs: Logs) -> Serve:
    """Return a plain ASGI application."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        del receive
        body = work(logs, int(scope["path"].rpartition("/")[2])).encode()
        headers = [(b"content-type", b"text/plain"), (b"content-length", str(len(body)).encode())]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    async def with_record(scope: Any, receive: Any, send: Any) -> None:
        headers = {
            f"HTTP_{name.decode().upper().replace('-', '_')}": value.decode()
            for name, value in scope["headers"]
        }
        logs.begin(headers, scope["method"], scope["path"], scope["client"][0])
        await app(scope, receive, send)
        logs.end(200, scope["path"])

    if isinstance(logs, HublogLogs):
        import hublog
        from hublog.asgi import request_context

        hublog.setup_logging()
        return _asgi(request_context(app))
    return _asgi(with_record if logs.has_request_record else app)


def call_wsgi(app: Callable[..., Iterable[bytes]], environs: Iterable[dict[str, Any]]) -> None:
    """Call the application as a server does, and check the status."""
    statuses = []

    def start_response(status: str, headers: object, exc_info: object = None) -> None:
        del headers, exc_info
        statuses.append(status)

    for environ in environs:
        body = app(environ, start_response)
        for _ in body:
            pass
        close = getattr(body, "close", None)
        if close is not None:
            close()
    assert set(statuses) == {"200 OK"}, set(statuses)


def _asgi(app: Callable[..., Awaitable[None]]) -> Serve:
    loop = asyncio.new_event_loop()

    async def receive_nothing() -> Any:
        await asyncio.Event().wait()

    async def serve(environs: Iterable[dict[str, Any]]) -> None:
        statuses = []

        async def send(message: Any) -> None:
            if message["type"] == "http.response.start":
                statuses.append(message["status"])

        for environ in environs:
            messages = [{"type": "http.request", "body": b"", "more_body": False}]

            async def receive(messages: list[dict[str, Any]] = messages) -> Any:
                return messages.pop() if messages else await receive_nothing()

            # A task, and so a context, for each request, as servers do.
            await asyncio.create_task(_call(app, asgi_scope(environ), receive, send))
        assert set(statuses) == {200}, set(statuses)

    return lambda environs: loop.run_until_complete(serve(environs))


async def _call(app: Callable[..., Awaitable[None]], scope: Any, receive: Any, send: Any) -> None:
    await app(scope, receive, send)


def _configure_django(logs: Logs, *, is_async: bool) -> None:
    from django.conf import settings
    from django.http import HttpRequest, HttpResponse
    from django.urls import path

    def show(request: HttpRequest, order_id: int) -> HttpResponse:
        del request
        return HttpResponse(work(logs, order_id))

    async def show_async(request: HttpRequest, order_id: int) -> HttpResponse:
        return show(request, order_id)

    module: Any = types.ModuleType("shop_site")
    module.urlpatterns = [path("orders/<int:order_id>", show_async if is_async else show)]
    module.with_record = _django_middleware(logs)
    sys.modules["shop_site"] = module
    middleware = [
        "django.middleware.security.SecurityMiddleware",
        "django.middleware.common.CommonMiddleware",
    ]
    more: dict[str, Any] = {"LOGGING_CONFIG": None}
    if isinstance(logs, HublogLogs):
        import hublog.django

        middleware.insert(0, "hublog.django.middleware.RequestContextMiddleware")
        more = {"LOGGING": hublog.django.logging_config({}), "INSTALLED_APPS": ["hublog.django"]}
    elif logs.has_request_record:
        middleware.insert(0, "shop_site.with_record")
    settings.configure(
        SECRET_KEY=os.urandom(32).hex(),
        ALLOWED_HOSTS=["*"],
        ROOT_URLCONF="shop_site",
        MIDDLEWARE=middleware,
        **more,
    )
    import django

    django.setup()


def _django_middleware(logs: Logs) -> Any:
    from asgiref.sync import iscoroutinefunction
    from django.utils.decorators import sync_and_async_middleware

    @sync_and_async_middleware
    def with_record(get_response: Any) -> Any:
        if iscoroutinefunction(get_response):

            async def serve_async(request: Any) -> Any:
                logs.begin(request.META, request.method, request.path, request.META["REMOTE_ADDR"])
                response = await get_response(request)
                logs.end(response.status_code, request.path)
                return response

            return serve_async

        def serve(request: Any) -> Any:
            logs.begin(request.META, request.method, request.path, request.META["REMOTE_ADDR"])
            response = get_response(request)
            logs.end(response.status_code, request.path)
            return response

        return serve

    return with_record


APPLICATIONS: Final[dict[str, Callable[[Logs], Serve]]] = {
    "flask": flask,
    "django": django,
    "django_asgi": django_asgi,
    "asgi": asgi,
}
