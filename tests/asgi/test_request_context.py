"""An ASGI application, wrapped: requests and websockets of whatever framework is inside."""

import asyncio
import copy
import logging
import os
import socket
import subprocess
import sys
import threading

import pytest
import uvicorn
from tests.kits.asgi_client import ACCEPT, CONNECT, Client, run
from tests.kits.seen import watching

import hublog
from hublog.asgi import lifespan, request_context

LOGGER = logging.getLogger("shop.views")


@pytest.fixture
def seen():
    with watching(logging.INFO) as handler:
        yield handler


def request_outcome(seen):
    fields = seen.one("hublog.request")
    return fields["http_status_code"], fields["levelname"], fields["event_name"]


def answering(status=200, parts=(b"ok",), headers=()):
    async def app(scope, receive, send):
        LOGGER.info("serving")
        hublog.bind(tenant_id="acme")
        await send({"type": "http.response.start", "status": status, "headers": list(headers)})
        for part in parts:
            await send({"type": "http.response.body", "body": part, "more_body": True})
        await send({"type": "http.response.body"})

    return app


@pytest.mark.parametrize(("status", "level"), [(200, "INFO"), (404, "WARNING"), (503, "ERROR")])
def test_a_request_has_its_fields_its_id_and_one_record(seen, status, level):
    client = run(answering(status, [b"ab", b"c"], [(b"content-type", b"text/plain")]))
    fields = seen.one("shop.views")
    names = ("request_id", "http_method", "http_path", "http_host", "client_ip", "http_user_agent")
    assert [fields[name] for name in names] == [
        "abc",
        "GET",
        "/orders/7",
        "shop.example",
        "192.0.2.1",
        "tester",
    ]
    assert request_outcome(seen) == (status, level, "request.finished")
    end = seen.one("hublog.request")
    assert (end["http_response_size"], end["tenant_id"]) == (3, "acme")
    assert client.headers() == [
        (b"content-type", b"text/plain"),
        (b"x-request-id", b"abc"),
        (b"access-control-expose-headers", b"X-Request-ID"),
    ]


def test_lists_of_exposed_headers_become_one(seen):
    name = b"Access-Control-Expose-Headers"
    headers = [(name, b"X-Total"), (b"content-type", b"text/plain"), (name, b"X-Pages")]
    client = run(answering(headers=headers))
    assert client.headers() == [
        (b"content-type", b"text/plain"),
        (b"x-request-id", b"abc"),
        (b"access-control-expose-headers", b"X-Total, X-Pages, X-Request-ID"),
    ]


def test_an_id_that_the_application_has_set_stays_and_is_noted(seen):
    headers = [(b"X-Request-Id", b"own"), (b"access-control-expose-headers", b"X-Total")]
    assert run(answering(headers=headers)).headers() == headers
    fields = seen.one("hublog.request")
    assert (fields["request_id"], fields["response_request_id"]) == ("abc", "own")


def test_headers_that_came_several_times_are_joined(seen, monkeypatch):
    monkeypatch.setenv("LOG_TRUSTED_PROXY_COUNT", "2")
    monkeypatch.setenv("LOG_REQUEST_QUERY", "true")
    run(answering(), headers=[(b"x-forwarded-for", b"203.0.113.7"), (b"x-forwarded-for", b"10.0.0.1:80")])
    fields = seen.one("hublog.request")
    assert (fields["client_ip"], fields["http_query"]) == ("203.0.113.7", "a=1")


def test_an_application_that_raises_is_logged_once_and_goes_on(seen):
    async def app(scope, receive, send):
        raise LookupError("broken")

    with pytest.raises(LookupError):
        run(app)
    assert request_outcome(seen) == (500, "ERROR", "request.finished")


def test_an_application_that_says_nothing_is_an_error(seen):
    async def app(scope, receive, send):
        pass

    run(app)
    assert request_outcome(seen) == (500, "ERROR", "request.finished")


def test_a_client_that_disconnected_before_the_end_is_logged_once(seen):
    async def app(scope, receive, send):
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"abc", "more_body": True})
        assert (await receive())["type"] == "http.disconnect"

    run(app, says=[{"kind": "http.disconnect"}])
    assert request_outcome(seen) == (499, "WARNING", "request.cancelled")
    assert seen.one("hublog.request")["http_response_size"] == 3


@pytest.mark.parametrize("answer", ["raises", "raises another error", "returns"])
@pytest.mark.parametrize(
    ("kind", "says", "expected"),
    [
        ("http", {"type": "http.response.body", "body": b"more"}, (499, "WARNING", "request.cancelled")),
        ("websocket", {"type": "websocket.send", "text": "more"}, (101, "WARNING", "websocket.closed")),
    ],
)
def test_a_client_that_the_server_cannot_reach_is_no_error(seen, kind, says, expected, answer):
    async def app(scope, receive, send):
        start = {"type": "http.response.start", "status": 200, "headers": []}
        await send(start if kind == "http" else ACCEPT)
        try:
            await send(says)
        except OSError as error:
            if answer == "raises":
                raise
            if answer != "returns":
                raise LookupError("client is gone") from error

    async def main():
        client = Client(request_context(app), kind)

        async def send(message):
            if message is says:
                raise ConnectionResetError

        client.send = send
        await client.run()

    if answer == "returns":
        asyncio.run(main())
    else:
        with pytest.raises((ConnectionResetError, LookupError)):
            asyncio.run(main())
    assert request_outcome(seen) == expected


@pytest.mark.parametrize(
    ("kind", "expected"),
    [("http", (499, "WARNING", "request.cancelled")), ("websocket", (101, "WARNING", "websocket.closed"))],
)
def test_what_the_server_cancels_is_logged_once(seen, kind, expected):
    async def main():
        begun = asyncio.Event()

        async def app(scope, receive, send):
            if kind == "websocket":
                await send({"type": "websocket.accept"})
            begun.set()
            await asyncio.Event().wait()

        task = asyncio.ensure_future(Client(request_context(app), kind).run())
        await asyncio.wait_for(begun.wait(), 10)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(main())
    assert request_outcome(seen) == expected


def test_work_after_the_response_has_the_fields_and_no_second_record(seen):
    async def app(scope, receive, send):
        await answering()(scope, receive, send)
        LOGGER.info("background")
        raise LookupError("in the background")

    with pytest.raises(LookupError):
        run(app)
    assert [fields["request_id"] for _, fields in seen.of("shop.views")] == ["abc"] * 2
    (_, ended), (message, failed) = seen.of("hublog.request")
    assert (ended["http_status_code"], ended["levelname"], ended["exc_info"]) == (200, "INFO", None)
    assert (message, failed["levelname"], failed["event_name"], failed["request_id"]) == (
        "GET /orders/7 raised LookupError",
        "ERROR",
        "request.failed",
        "abc",
    )


def test_a_file_that_the_server_sends_by_itself_ends_the_request(seen):
    async def app(scope, receive, send):
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.pathsend", "path": "/x"})

    run(app)
    assert request_outcome(seen) == (200, "INFO", "request.finished")


@pytest.mark.parametrize("message", [{"type": "http.response.start"}, {"type": "odd"}, {}])
def test_an_invalid_message_reaches_the_server_as_it_is(seen, message):
    async def app(scope, receive, send):
        await send(message)

    client = run(app)
    assert client.sent == [message]
    seen.one("hublog.request")


@pytest.mark.parametrize(
    ("kind", "opening"),
    [("http", "http.response.start"), ("websocket", "websocket.accept"), ("websocket", "websocket.close")],
)
def test_headers_that_can_be_read_once_reach_the_server(seen, kind, opening):
    async def app(scope, receive, send):
        pairs = ((name, b"1") for name in (b"x-total", b"content-length"))
        await send({"type": opening, "status": 200, "headers": pairs})

    client = run(app, kind)
    assert list(client.headers())[:2] == [(b"x-total", b"1"), (b"content-length", b"1")]


def test_what_the_making_of_headers_raises_is_the_applications(seen):
    def pairs():
        yield b"x-total", b"1"
        raise LookupError("for the test")

    async def app(scope, receive, send):
        await send({"type": "http.response.start", "status": 200, "headers": pairs()})

    with pytest.raises(LookupError):
        run(app)


def test_a_invalid_scope_is_the_applications_to_refuse(seen):
    async def app(scope, receive, send):
        await send({"type": "http.response.start", "status": 400, "headers": []})

    client = run(app, query_string="a=1")  # bytes, says ASGI
    assert client.sent[0]["status"] == 400
    assert seen.of("hublog.request") == []


@pytest.mark.parametrize("scope", [{"client": None}, {"headers": None, "path": ""}, {"query_string": None}])
def test_a_scope_with_little_in_it_is_served(seen, scope):
    run(answering(), **scope)
    assert request_outcome(seen)[0] == 200


@pytest.mark.parametrize("copied", [dict, copy.copy, copy.deepcopy, lambda scope: scope | {"user": None}])
def test_an_application_may_copy_its_scope(seen, copied):
    async def app(scope, receive, send):
        found = copied(scope)
        assert type(found) is dict
        await answering()(found, receive, send)

    run(app)
    assert request_outcome(seen)[0] == 200


def test_other_kinds_of_scope_pass_untouched(seen):
    scopes = []

    async def app(scope, receive, send):
        scopes.append(scope)

    client = Client(request_context(app), "lifespan")
    asyncio.run(client.run())
    assert scopes == [client.scope]
    assert scopes[0] is client.scope
    assert seen.records == []


def test_a_client_that_hangs_up_on_a_real_server_is_logged_once(seen):
    async def app(scope, receive, send):
        await receive()
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"x", "more_body": True})
        assert (await receive())["type"] == "http.disconnect"

    ended = threading.Event()

    class Notice(logging.Handler):
        def emit(self, record):
            ended.set()

    server = uvicorn.Server(
        uvicorn.Config(request_context(app), port=0, lifespan="off", log_config=None, http="h11")
    )
    listening = socket.create_server(("127.0.0.1", 0))
    thread = threading.Thread(target=server.run, args=([listening],))
    notice = Notice()
    logging.getLogger("hublog.request").addHandler(notice)
    thread.start()
    try:
        port = listening.getsockname()[1]
        with socket.create_connection(("127.0.0.1", port), timeout=10) as client:
            client.sendall(b"GET /endless HTTP/1.1\r\nHost: shop.example\r\nX-Request-ID: abc\r\n\r\n")
            assert b"x-request-id: abc" in client.recv(4_096)
        assert ended.wait(10)
    finally:
        server.should_exit = True
        thread.join()
        logging.getLogger("hublog.request").removeHandler(notice)
        listening.close()
    assert request_outcome(seen) == (499, "WARNING", "request.cancelled")


def test_it_goes_inside_of_lifespan_and_twice_is_once(seen):
    run(lifespan(request_context(request_context(answering()))))
    assert request_outcome(seen) == (200, "INFO", "request.finished")


# Websockets


def socket_that(*says, wait=True):
    async def app(scope, receive, send):
        await receive()
        for message in says:
            await send(message)
            LOGGER.info("said")
        while wait and (await receive())["type"] != "websocket.disconnect":
            LOGGER.info("heard")

    return app


@pytest.mark.parametrize(("code", "shown"), [(1001, 1001), (None, 1005), (4000, 4000)])
def test_a_websocket_has_its_fields_for_its_whole_life_and_one_record_at_its_end(seen, code, shown):
    says = [
        CONNECT,
        {"kind": "websocket.receive", "text": "hi"},
        {"kind": "websocket.disconnect", "code": code},
    ]
    run(socket_that(ACCEPT), "websocket", says=says)
    assert [(message, fields["request_id"]) for message, fields in seen.of("shop.views")] == [
        ("said", "abc"),
        ("heard", "abc"),
    ]
    assert request_outcome(seen) == (101, "INFO", "websocket.closed")
    fields = seen.one("hublog.request")
    assert (fields["close_code"], fields["record_type"], fields["http_path"]) == (
        shown,
        "request",
        "/orders/7",
    )


@pytest.mark.parametrize(
    ("says", "status", "code"),
    [
        ([ACCEPT, {"type": "websocket.close", "code": 4001}], 101, 4001),
        ([ACCEPT, {"type": "websocket.close"}], 101, 1000),
        ([{"type": "websocket.close"}], 403, 1000),
        (
            [
                {"type": "websocket.http.response.start", "status": 429, "headers": []},
                {"type": "websocket.http.response.body", "body": b"slow down"},
            ],
            429,
            None,
        ),
    ],
)
def test_the_application_closes_or_refuses(seen, says, status, code):
    run(socket_that(*says, wait=False), "websocket", says=[CONNECT])
    fields = seen.one("hublog.request")
    assert (fields["http_status_code"], fields.get("close_code")) == (status, code)
    assert fields["levelname"] == ("INFO" if status == 101 else "WARNING")


def test_a_websocket_that_fails_is_an_error(seen):
    async def app(scope, receive, send):
        await send(ACCEPT)
        raise LookupError("broken")

    with pytest.raises(LookupError):
        run(app, "websocket")
    assert request_outcome(seen) == (500, "ERROR", "websocket.closed")
    assert seen.one("hublog.request")["close_code"] == 1011


@pytest.mark.parametrize(("spec", "has_id"), [("2.0", False), ("2.1", True), ("2.10", True), ("odd", False)])
def test_a_websocket_carries_the_id_where_the_server_takes_headers(seen, spec, has_id):
    client = run(socket_that(ACCEPT, wait=False), "websocket", says=[CONNECT], spec=spec)
    assert (
        (b"x-request-id", b"abc") in client.sent[0].get("headers", []) if has_id else client.sent == [ACCEPT]
    )


# Django inside

DJANGO = """
import asyncio, json, logging, sys
import django
from django.conf import settings
settings.configure(
    SECRET_KEY="test", ALLOWED_HOSTS=["*"], ROOT_URLCONF=__name__, EVENTHUB_LOGGING_ENABLED=False,
    LOG_REQUEST_ID_HEADER="X-Trace-Key", LOGGING_CONFIG=None,
    DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}},
    INSTALLED_APPS=["hublog.django"], MIDDLEWARE=["hublog.django.middleware.RequestContextMiddleware"],
)
import hublog
from asgiref.sync import sync_to_async
from django.core.asgi import get_asgi_application
from django.db import connection
from django.http import HttpResponse, StreamingHttpResponse
from django.urls import path
from hublog.asgi import request_context
from hublog.capture import context

def select():
    with connection.cursor() as cursor:
        cursor.execute("SELECT 1")

def view(request, number):
    hublog.bind(tenant_id="acme")
    logging.getLogger("shop").info("view")
    select()
    return HttpResponse("ok")

async def aview(request, number):
    hublog.bind(tenant_id="acme")
    logging.getLogger("shop").info("view")
    await sync_to_async(select)()
    return HttpResponse("ok")

async def stream(request, number):
    hublog.bind(tenant_id="acme")
    await sync_to_async(select)()
    async def parts():
        yield b"o"
        yield b"k"
    return StreamingHttpResponse(parts())

async def broken(request, number):
    hublog.bind(tenant_id="acme")
    await sync_to_async(select)()
    raise LookupError

urlpatterns = [
    path("view/<int:number>/", view), path("aview/<int:number>/", aview),
    path("stream/<int:number>/", stream), path("broken/<int:number>/", broken),
]
rows = []

class Keep(logging.Handler):
    def emit(self, record):
        rows.append({**context.bound(), **vars(record)})

logging.getLogger().addHandler(Keep())
logging.getLogger().setLevel("INFO")
application = request_context(get_asgi_application())

async def ask(where):
    sent = []
    body = [{"type": "http.request", "body": b"", "more_body": False}]
    async def receive():
        if body:
            return body.pop()
        await asyncio.Event().wait()
    async def send(message):
        sent.append(message)
    headers = [(b"host", b"shop.example"), (b"x-trace-key", b"abc")]
    scope = {"type": "http", "method": "GET", "path": where, "query_string": b"", "headers": headers}
    await application(scope, receive, send)
    return [value.decode() for name, value in sent[0]["headers"] if name.lower() == b"x-trace-key"]

for where in ("/view/7/", "/aview/7/", "/stream/7/", "/broken/7/", "/nowhere/"):
    rows.clear()
    ids = asyncio.run(ask(where))
    mine = [row for row in rows if row["name"] == "hublog.request"]
    known = ("http_status_code", "http_route", "tenant_id", "db_query_count", "http_response_size")
    logs = {row["request_id"] for row in rows}
    print(json.dumps([ids, len(mine), *(mine[0].get(name) for name in known[:4]), sorted(logs)]))
"""


def test_djangos_middleware_inside_adds_to_the_one_record(tmp_path):
    result = subprocess.run(
        [sys.executable, "-c", DJANGO],
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
        env={**os.environ, "LOG_DIR": str(tmp_path)},
        timeout=60,
    )
    assert result.stderr == ""
    assert result.stdout.splitlines() == [
        '[["abc"], 1, 200, "/view/<int:number>/", "acme", 1, ["abc"]]',
        '[["abc"], 1, 200, "/aview/<int:number>/", "acme", 1, ["abc"]]',
        '[["abc"], 1, 200, "/stream/<int:number>/", "acme", 1, ["abc"]]',
        '[["abc"], 1, 500, "/broken/<int:number>/", "acme", 1, ["abc"]]',
        '[["abc"], 1, 404, null, null, 0, ["abc"]]',
    ]
