"""What leaves a Flask app: the client gets what it gets without us, and one record says what was raised."""

import asyncio
import io
import logging
from functools import partial
from wsgiref.util import FileWrapper

import pytest
from flask import Blueprint, Flask, Response, abort, request
from werkzeug.exceptions import HTTPException, NotFound
from werkzeug.test import EnvironBuilder

from hublog.flask import HubLog
from hublog.requests.wsgi_requests import serve
from hublog.settings import RequestSettings
from hublog.testing import capture_records

LOGGER = logging.getLogger("shop.views")
ID = {"X-Request-ID": "abc"}
shop = Blueprint("shop", __name__)


@pytest.fixture
def rows():
    """What reaches the hub."""
    with capture_records() as records:
        yield records


def broken_parts(first=b"abc"):
    yield first
    raise LookupError("for the test")


@shop.get("/broken")
def broken():
    raise LookupError("for the test")


@shop.get("/logged")
def logged():
    try:
        raise LookupError("for the test")
    except LookupError:
        LOGGER.exception("broken")
        raise


@shop.get("/cancelled")
def cancelled():
    raise asyncio.CancelledError("for the test")


@shop.get("/exit")
def leave():
    raise SystemExit(1)


@shop.get("/stream")
def stream():
    return Response(broken_parts())


@shop.get("/first")
def first():
    return Response(broken_parts(None) if request.args else (1 / 0 for _ in range(1)))


@shop.get("/page")
def page():
    return Response(broken_parts(), 503, {"Content-Length": "6"})


@shop.get("/aborted")
def aborted():
    abort(Response(broken_parts(), 503, {"Content-Length": "6"}))


@shop.get("/unwritable")
def unwritable():
    return Response([b"ok", 7])


@shop.get("/closing")
def closing():
    response = Response("ok")

    @response.call_on_close
    def close():
        LOGGER.info("closing")
        raise LookupError("for the test")

    return response


@shop.get("/own-id")
def own_id():
    return Response("ok", headers=[("x-request-id", "own"), ("Access-Control-Expose-Headers", "X-Total")])


@shop.get("/empty-id")
def empty_id():
    return Response("ok", headers=[("X-Request-ID", "")])


@shop.get("/cookies")
def cookies():
    response = Response("ok")
    response.set_cookie("a", "1")
    response.set_cookie("b", "2")
    response.headers.add("X-Twice", "1")
    response.headers.add("X-Twice", "2")
    return response


@shop.get("/file")
def file():
    return Response(FileWrapper(io.BytesIO(b"x" * 10)), direct_passthrough=True)


@shop.get("/nothing")
def nothing():
    return "", 204


@shop.get("/sized")
def sized():
    return Response([b"a", b"b"])


class Teapot(HTTPException):
    code = 418
    description = "short and stout"


@shop.get("/teapot")
def teapot():
    raise Teapot


@shop.teardown_request
def teardown(error):
    if request.path == "/teardown":
        raise LookupError("for the test")


@shop.get("/teardown")
def torn_down():
    return "ok"


def make(wrap, **config):
    app = Flask("shop")
    app.config.update(
        EVENTHUB_LOGGING_ENABLED=False, FILE_LOGGING_ENABLED=False, LOG_TO_STDOUT=False, SECRET_KEY="test"
    )
    app.config.update(config)
    app.register_blueprint(shop)
    if wrap:
        HubLog(app)
    return app


def answer(app, environ):
    """Serve a request as a server does; return all that a client or the server could notice."""
    seen = []

    def start_response(status, headers, exc_info=None):
        seen.append((status, headers, exc_info))
        return seen.append

    parts, raised = [], []
    body = ()
    try:
        body = app(environ, start_response)
        length = len(body) if hasattr(body, "__len__") else None
        for part in body:
            parts.append(part)
    except BaseException as error:
        length = None
        raised.append(f"{type(error).__name__}: {error}")
    try:
        if hasattr(body, "close"):
            body.close()
    except BaseException as error:
        raised.append(f"closing: {type(error).__name__}: {error}")
    return [seen, parts, length, raised]


OURS = {"x-request-id", "access-control-expose-headers"}


def without_ours(found):
    seen, *rest = found
    kept = [
        (status, [pair for pair in headers if pair[0].lower() not in OURS], exc_info)
        for status, headers, exc_info in seen
    ]
    return [kept, *rest]


PATHS = [
    *("/broken", "/logged", "/cancelled", "/exit", "/stream", "/first", "/first?none", "/page", "/aborted"),
    *("/unwritable", "/closing", "/teardown", "/cookies", "/file", "/nothing", "/sized", "/teapot"),
    *("/nowhere", "/static/none.css"),
]


@pytest.mark.parametrize("method", ["GET", "HEAD", "POST", "OPTIONS"])
@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("key", ["", "DEBUG", "TESTING", "PROPAGATE_EXCEPTIONS"])
def test_a_client_gets_what_it_gets_without_us(path, key, method):
    config = {key: True} if key else {}
    with_us, without = (
        answer(make(wrap, **config), EnvironBuilder(path, method=method, headers=ID).get_environ())
        for wrap in (True, False)
    )
    assert without_ours(with_us) == without_ours(without)


@pytest.mark.parametrize("path", ["/file", "/sized", "/stream"])
def test_a_file_goes_to_the_server_as_it_is(path):
    found = []
    for wrap in (True, False):
        environ = EnvironBuilder(path).get_environ()
        environ["wsgi.file_wrapper"] = FileWrapper
        found.append(isinstance(make(wrap)(environ, lambda *known: None), FileWrapper))
    assert found[0] is found[1]


@pytest.mark.parametrize("path", ["/own-id", "/empty-id"])
def test_headers_of_the_applications_own_stay(rows, path):
    with_us, without = (
        answer(make(wrap), EnvironBuilder(path, headers=ID).get_environ()) for wrap in (True, False)
    )
    assert with_us == without
    assert rows[-1]["request_id"] == "abc"
    assert rows[-1].get("extra", {}).get("response_request_id") == ("own" if path == "/own-id" else None)


RAISING = {
    "/broken": 500,
    "/logged": 500,
    "/cancelled": 500,
    "/exit": 500,
    "/stream": 500,
    "/first": 500,
    "/first?none": 500,
    "/page": 500,
    "/aborted": 503,
    "/unwritable": 500,
    "/closing": 200,
    "/teardown": 500,
}


@pytest.mark.parametrize(("path", "status"), RAISING.items())
@pytest.mark.parametrize("key", ["", "DEBUG", "TESTING", "PROPAGATE_EXCEPTIONS"])
def test_what_is_raised_is_in_one_record_and_the_request_in_one(rows, key, path, status):
    app = make(wrap=True, **({key: True} if key else {}))
    answer(app, EnvironBuilder(path, headers=ID).get_environ())
    found = [row for row in rows if "exception_type" in row]
    names = [row["logger_name"] for row in found]
    assert names == (["shop.views", "shop"] if path == "/logged" and not key else names[:1])
    assert (found[0]["request_id"], found[0]["level"]) == ("abc", "ERROR")
    [ended] = [row for row in rows if row["record_type"] == "request"]
    assert (ended["http_status_code"], ended["event_name"]) == (status, "request.finished")


def test_what_runs_when_a_response_is_closed_logs_with_the_fields(rows):
    answer(make(wrap=True), EnvironBuilder("/closing", headers=ID).get_environ())
    [row] = [row for row in rows if row["message"] == "closing"]
    assert (row["request_id"], row["http_route"]) == ("abc", "/closing")


# A WSGI application below the app's own


def below(wrap, inner):
    app = make(wrap)
    if wrap:
        app.wsgi_app = partial(serve, inner, RequestSettings())
    else:
        app.wsgi_app = inner
    return app


class Odd(list):
    """A body with a length and an end."""

    closed = 0

    def close(self):
        self.closed += 1


def by_hand(environ, start_response):
    write = start_response(status="200 OK", headers=[("X-Own", "1")])
    write(b"by hand")
    return []


def in_error(environ, start_response):
    start_response("200 OK", [("X-Own", "1")])
    try:
        raise LookupError("for the test")
    except LookupError as error:
        start_response("500 Oh", [("X-Own", "2")], (type(error), str(error), None))
    return [b"no"]


ODD = {
    "a list": lambda environ, start: start("200 OK", []) and [b"a", b"b"],
    "a body with a length and an end": lambda environ, start: start("200 OK", []) and Odd([b"a", b"b"]),
    "a status without a reason": lambda environ, start: start("200", []) and [b""],
    "a status that is not one": lambda environ, start: start("odd", []) and [b""],
    "a status that is a number": lambda environ, start: start(200, []) and [b""],
    "headers that are a tuple": lambda environ, start: start("200 OK", (("X-Own", "1"),)) and [b""],
    "a header that is not a string": lambda environ, start: start("200 OK", [("X-Own", 1)]) and [b""],
    "a header that is not a pair": lambda environ, start: start("200 OK", [("X-Own",)]) and [b""],
    "a header with a line break": lambda environ, start: start("200 OK", [("X-Own", "a\r\nb")]) and [b""],
    "a header in Latin-1": lambda environ, start: start("200 OK", [("X-Own", "\xe9")]) and [b""],
    "no headers": lambda environ, start: start("200 OK", None) and [b""],
    "nothing": lambda environ, start: None,
    "a string": lambda environ, start: start("200 OK", []) and "ab",
    "bytes": lambda environ, start: start("200 OK", []) and b"ab",
    "no start": lambda environ, start: [b"ab"],
    "parts that are strings": lambda environ, start: start("200 OK", []) and ["ab"],
    "by hand": by_hand,
    "in error": in_error,
}


@pytest.mark.parametrize("name", ODD)
def test_an_invalid_response_passes_as_it_is(name):
    with_us, without = (
        answer(below(wrap, ODD[name]), EnvironBuilder("/", headers=ID).get_environ())
        for wrap in (True, False)
    )
    assert without_ours_of_any(with_us) == without_ours_of_any(without)


def without_ours_of_any(found):
    seen, *rest = found
    kept = []
    for status, headers, exc_info in (call for call in seen if isinstance(call, tuple)):
        is_list = isinstance(headers, list)
        others = [pair for pair in headers if pair[0].lower() not in OURS] if is_list else headers
        kept.append((status, others, exc_info))
    return [kept, *rest]


def test_a_server_that_takes_two_arguments_gets_two():
    calls = []
    app = below(True, lambda environ, start: start("200 OK", []) or [b""])
    list(app(EnvironBuilder("/").get_environ(), lambda status, headers: calls.append(status)))
    assert calls == ["200 OK"]


def test_a_page_of_werkzeugs_is_not_made_before_the_server_asks(rows):
    app = make(wrap=True)
    answer(app, EnvironBuilder("/nowhere", headers=ID).get_environ())
    [row] = rows
    assert (row["http_status_code"], row["http_response_size"]) == (404, len(NotFound().get_body()))
