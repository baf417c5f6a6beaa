"""Real frameworks under ``request_context``: route, view, user, what is bound; by a client and uvicorn."""

import contextlib
import logging
import socket
import threading
import warnings
from dataclasses import dataclass

import httpx
import litestar
import pytest
import quart
import uvicorn
from fastapi import APIRouter, Depends, FastAPI, HTTPException, WebSocket
from litestar.middleware import AbstractAuthenticationMiddleware, AuthenticationResult
from starlette.applications import Starlette
from starlette.authentication import AuthCredentials, AuthenticationBackend, SimpleUser
from starlette.background import BackgroundTask
from starlette.middleware import Middleware
from starlette.middleware.authentication import AuthenticationMiddleware
from starlette.middleware.base import BaseHTTPMiddleware
from starlette.responses import PlainTextResponse
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

import hublog
from hublog.asgi import request_context
from hublog.requests.request_fields import caller_fields
from hublog.testing import capture_records

LOGGER = logging.getLogger("shop.views")
ID = {"X-Request-ID": "abc", "X-User": "ann"}


@pytest.fixture
def rows():
    """What reaches the hub."""
    with capture_records() as records:
        yield records


class Backend(AuthenticationBackend):
    async def authenticate(self, conn):
        name = conn.headers.get("X-User")
        return (AuthCredentials(["authenticated"]), SimpleUser(name)) if name else None


def fastapi_app():
    app, outer, inner, sub = FastAPI(), APIRouter(prefix="/api"), APIRouter(prefix="/v1"), FastAPI()

    def tenant():
        hublog.bind(tenant_id="acme")  # a dependency without ``async`` runs in a thread

    @app.get("/items/{item}", dependencies=[Depends(tenant)])
    def item(item: int):
        hublog.bind(cart=item)
        LOGGER.info("item")
        return {"item": item}

    @inner.get("/orders/{order}")
    async def order(order: int):
        LOGGER.info("order")
        return {}

    @sub.get("/users/{user}")
    async def user(user: str):
        return {}

    @app.get("/teapot")
    async def teapot():
        raise HTTPException(418)

    @app.get("/broken")
    def broken():
        raise LookupError("for the test")

    @app.websocket("/chat/{room}")
    async def chat(websocket: WebSocket, room: str):
        await websocket.accept()
        LOGGER.info("chat")
        await websocket.close()

    outer.include_router(inner)
    app.include_router(outer)
    app.mount("/sub/{tenant}", sub)
    app.add_middleware(AuthenticationMiddleware, backend=Backend())
    return app


def starlette_app(tmp_path):
    async def home(request):
        LOGGER.info("home")
        return PlainTextResponse("ok")

    def threaded(request):
        hublog.bind(tenant_id="acme")
        return PlainTextResponse("ok")

    async def after(request):
        def work():
            raise LookupError("for the test")

        return PlainTextResponse("ok", background=BackgroundTask(work))

    class Pass(BaseHTTPMiddleware):
        async def dispatch(self, request, call_next):
            return await call_next(request)

    (tmp_path / "a.css").write_text("a")
    inner = [Route("/in/{y}", home), Route("/threaded", threaded), Mount("/deep", app=fastapi_app())]
    return Starlette(
        routes=[
            Route("/home/{x:int}", home),
            Route("/after", after),
            Mount("/m/{t}", routes=inner),
            Mount("/static", app=StaticFiles(directory=tmp_path)),
        ],
        middleware=[Middleware(Pass), Middleware(AuthenticationMiddleware, backend=Backend())],
    )


@dataclass
class Customer:
    id: int


def litestar_app():
    class Auth(AbstractAuthenticationMiddleware):
        async def authenticate_request(self, connection):
            return AuthenticationResult(user=Customer(7), auth=None)

    @litestar.get("/items/{item:int}", sync_to_thread=True)
    def item() -> str:
        hublog.bind(tenant_id="acme")
        LOGGER.info("item")
        return "ok"

    class Bills(litestar.Controller):
        path = "/bills"

        @litestar.get("/{bill:str}")
        async def bill(self) -> str:
            return "ok"

        @litestar.get("/broken")
        async def broken(self) -> str:
            raise LookupError("for the test")

    shop = litestar.Router("/shop", route_handlers=[Bills])
    return litestar.Litestar([item, shop], middleware=[Auth], logging_config=None)  # it replaces all handlers


def quart_app():
    app = quart.Quart("shop")
    bills = quart.Blueprint("bills", "shop", url_prefix="/bills")

    @bills.get("/<int:bill>")
    async def show(bill):
        hublog.bind(tenant_id="acme")
        LOGGER.info("bill")
        return "ok"

    @bills.get("/threaded")
    def threaded():
        hublog.bind(tenant_id="acme")
        return "ok"

    @bills.get("/broken")
    async def broken():
        raise LookupError("for the test")

    @app.websocket("/chat/<room>")
    async def chat(room):
        await quart.websocket.accept()
        LOGGER.info("chat")

    app.register_blueprint(bills)
    return app


def clients(app):
    with warnings.catch_warnings():  # it would rather have a package that httpx's successor will be
        warnings.simplefilter("ignore")
        from starlette.testclient import TestClient

    return TestClient(request_context(app), raise_server_exceptions=False)


@contextlib.contextmanager
def served(app):
    """Serve an application by uvicorn, and talk to it over the network."""
    server = uvicorn.Server(uvicorn.Config(request_context(app), log_config=None, lifespan="off"))
    listening = socket.create_server(("127.0.0.1", 0))
    thread = threading.Thread(target=server.run, args=([listening],))
    thread.start()
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{listening.getsockname()[1]}", timeout=20) as client:
            yield client
    finally:
        server.should_exit = True
        thread.join()
        listening.close()


APPS = {
    "fastapi": lambda tmp_path: fastapi_app(),
    "starlette": starlette_app,
    "litestar": lambda tmp_path: litestar_app(),
    "quart": lambda tmp_path: quart_app(),
}
#: What is asked of each, and the route, the end of the view's name, the status, the user and what was bound.
CASES = [
    ("fastapi", "/items/7", "/items/{item}", ".item", 200, "ann", "acme"),
    ("fastapi", "/items/x", "/items/{item}", ".item", 422, "ann", "acme"),
    ("fastapi", "/api/v1/orders/7", "/api/v1/orders/{order}", ".order", 200, "ann", None),
    ("fastapi", "/sub/9/users/bob", "/sub/{tenant}/users/{user}", ".user", 200, "ann", None),
    ("fastapi", "/sub/9/nowhere", "/sub/{tenant}/{path}", None, 404, "ann", None),
    ("fastapi", "/teapot", "/teapot", ".teapot", 418, "ann", None),
    ("fastapi", "/broken", "/broken", ".broken", 500, "ann", None),
    ("fastapi", "/nowhere", None, None, 404, "ann", None),
    ("starlette", "/home/7", "/home/{x:int}", ".home", 200, "ann", None),
    ("starlette", "/m/5/in/2", "/m/{t}/in/{y}", ".home", 200, "ann", None),
    ("starlette", "/m/5/threaded", "/m/{t}/threaded", ".threaded", 200, "ann", "acme"),
    (
        "starlette",
        "/m/5/deep/sub/9/users/2",
        "/m/{t}/deep/sub/{tenant}/users/{user}",
        ".user",
        200,
        "ann",
        None,
    ),
    ("starlette", "/m/5/deep/items/3", "/m/{t}/deep/items/{item}", ".item", 200, "ann", "acme"),
    ("starlette", "/static/a.css", "/static/{path}", None, 200, "ann", None),
    ("litestar", "/items/7", "/items/{item}", ".item", 200, "7", "acme"),
    ("litestar", "/shop/bills/a", "/shop/bills/{bill}", ".bill", 200, "7", None),
    ("litestar", "/shop/bills/broken", "/shop/bills/broken", ".broken", 500, "7", None),
    ("litestar", "/nowhere", None, None, 404, None, None),
    ("quart", "/bills/7", "/bills/<int:bill>", "bills.show", 200, None, "acme"),
    ("quart", "/bills/threaded", "/bills/threaded", "bills.threaded", 200, None, "acme"),
    ("quart", "/bills/broken", "/bills/broken", "bills.broken", 500, None, None),
    ("quart", "/nowhere", None, None, 404, None, None),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case[0]}{case[1]}")
@pytest.mark.parametrize("ask", [clients, served])
def test_the_record_has_route_view_user_and_what_was_bound(rows, tmp_path, ask, case):
    name, where, route, view, status, user, tenant = case
    with ask(APPS[name](tmp_path)) as client:
        assert client.get(where, headers=ID).status_code == status
    [row] = [row for row in rows if row["record_type"] == "request"]
    assert (row["http_status_code"], row.get("http_route"), row.get("user_id"), row.get("tenant_id")) == (
        status,
        route,
        user,
        tenant,
    )
    assert row.get("view_name", "").endswith(view) if view else "view_name" not in row
    shown = [row for row in rows if "exception_type" in row and row["logger_name"] != "uvicorn.error"]
    assert len(shown) == (status == 500)
    assert {row["request_id"] for row in shown} <= {"abc"}


@pytest.mark.parametrize(
    "case",
    [
        ("fastapi", "/items/7", "/items/{item}", "ann"),
        ("fastapi", "/api/v1/orders/7", "/api/v1/orders/{order}", "ann"),
        ("starlette", "/m/5/in/2", "/m/{t}/in/{y}", "ann"),
        ("litestar", "/items/7", "/items/{item}", "7"),
        ("quart", "/bills/7", "/bills/<int:bill>", None),
    ],
)
def test_what_the_view_itself_logs_has_them_too(rows, tmp_path, case):
    name, where, route, user = case
    with clients(APPS[name](tmp_path)) as client:
        client.get(where, headers=ID)
    [row] = [row for row in rows if row["logger_name"] == "shop.views"]
    assert (row["http_route"], row.get("user_id"), row["request_id"]) == (route, user, "abc")


def test_one_who_is_not_signed_in_has_no_id(rows):
    with clients(fastapi_app()) as client:
        client.get("/items/7")
    [row] = [row for row in rows if row["record_type"] == "request"]
    assert (row["user_authenticated"], "user_id" in row) == (False, False)


@pytest.mark.parametrize(
    ("name", "route", "view"), [("fastapi", "/chat/{room}", ".chat"), ("quart", "/chat/<room>", "chat")]
)
def test_a_websocket_has_its_route(rows, name, route, view):
    with clients(APPS[name](None)) as client, client.websocket_connect("/chat/blue", headers=ID):
        pass
    [row] = [row for row in rows if row["record_type"] == "request"]
    assert (row["http_route"], row["event_name"], row["level"]) == (route, "websocket.closed", "INFO")
    assert row["view_name"].endswith(view)
    [said] = [row for row in rows if row["logger_name"] == "shop.views"]
    assert said["http_route"] == route


def test_quarts_own_client_sees_the_same(rows):
    import asyncio

    app = quart_app()
    app.asgi_app = request_context(app.asgi_app)

    async def main():
        return (await app.test_client().get("/bills/7", headers=ID)).status_code

    assert asyncio.run(main()) == 200
    [row] = [row for row in rows if row["record_type"] == "request"]
    assert (row["http_route"], row["tenant_id"]) == ("/bills/<int:bill>", "acme")


def test_a_quart_app_that_is_mounted_has_the_path_of_its_mount(rows):
    app = Starlette(routes=[Mount("/q/{t}", app=quart_app())])
    with clients(app) as client:
        assert client.get("/q/5/bills/7").status_code == 200
    [row] = [row for row in rows if row["record_type"] == "request"]
    assert row["http_route"] == "/q/{t}/bills/<int:bill>"


def test_an_exception_after_the_response_is_in_a_record_of_the_request(rows, tmp_path):
    with clients(starlette_app(tmp_path)) as client:
        assert client.get("/after", headers=ID).status_code == 200
    first, second = (row for row in rows if row["logger_name"] == "hublog.request")
    assert (first["http_status_code"], first["level"], "exception_type" in first) == (200, "INFO", False)
    assert (second["event_name"], second["exception_type"], second["request_id"]) == (
        "request.failed",
        "LookupError",
        "abc",
    )


# Whoever is in the place of the user


class Slotted:
    __slots__ = ("pk",)

    def __init__(self):
        self.pk = 7


class Loading:
    """Like a model whose attributes are loaded when they are read."""

    _sa_class_manager = None
    id = property(lambda self: pytest.fail("loaded"))
    pk = property(lambda self: pytest.fail("loaded"))


class Loaded(Loading):
    def __init__(self):
        self.__dict__["id"] = 7


class LazyObject:
    def __init__(self, wrapped):
        self.__dict__["_wrapped"] = wrapped

    def __getattr__(self, name):
        pytest.fail("evaluated")


class Stranger:
    is_authenticated = False
    id = 7


@pytest.mark.parametrize(
    ("user", "expected"),
    [
        (lambda: None, {}),
        (lambda: "ann", {"user_authenticated": True, "user_id": "ann"}),
        (lambda: 7, {"user_authenticated": True, "user_id": "7"}),
        (lambda: {"sub": "ann", "name": "Ann"}, {"user_authenticated": True, "user_id": "ann"}),
        (lambda: Customer(7), {"user_authenticated": True, "user_id": "7"}),
        (Slotted, {"user_authenticated": True, "user_id": "7"}),
        (lambda: SimpleUser("ann"), {"user_authenticated": True, "user_id": "ann"}),
        (Loading, {"user_authenticated": True, "user_id": ""}),
        (Loaded, {"user_authenticated": True, "user_id": "7"}),
        (Stranger, {"user_authenticated": False, "user_id": ""}),
        (lambda: LazyObject(object()), {}),
        (lambda: LazyObject(Customer(7)), {"user_authenticated": True, "user_id": "7"}),
        (object, {"user_authenticated": True, "user_id": ""}),
        (lambda: "x" * 999, {"user_authenticated": True, "user_id": "x" * 256}),
    ],
)
def test_a_user_of_any_kind_is_read_and_nothing_is_loaded(user, expected):
    assert caller_fields(user()) == expected
