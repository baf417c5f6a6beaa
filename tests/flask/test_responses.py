"""What a request of Flask says in every way in which it can end."""

import io
import logging
import socket
import threading
from functools import partial
from wsgiref.util import FileWrapper

import pytest
from flask import Blueprint, Flask, Response, abort, redirect, request, send_file, stream_with_context
from werkzeug.middleware.dispatcher import DispatcherMiddleware
from werkzeug.serving import make_server
from werkzeug.test import EnvironBuilder, run_wsgi_app

import hublog
from hublog.capture import context
from hublog.flask import HubLog
from hublog.requests.wsgi_requests import serve
from hublog.settings import RequestSettings

LOGGER = logging.getLogger("shop.views")
ID = {"X-Request-ID": "abc"}


shop = Blueprint("views", __name__)


@shop.get("/orders/<int:number>")
def order(number):
    LOGGER.info("order")
    return {"number": number}


@shop.get("/broken")
def broken():
    raise LookupError("broken")


@shop.get("/handled")
def handled():
    raise ArithmeticError("handled")


@shop.errorhandler(ArithmeticError)
def on_arithmetic_error(error):
    LOGGER.info("handling")
    return "handled", 422


@shop.get("/teapot")
def teapot():
    abort(418)


@shop.get("/moved")
def moved():
    return redirect("/orders/1")


@shop.get("/closed/")
def closed():
    return "ok"


@shop.get("/bound")
def bound():
    hublog.bind(tenant_id="acme", cart=7)
    LOGGER.info("bound")
    return "ok"


@shop.get("/stream")
def stream():
    hublog.bind(tenant_id="acme")

    def parts():
        try:
            for number in range(3):
                LOGGER.info("part %s", request.path)
                yield f"{number}\n"
        finally:
            LOGGER.info("closed")

    return Response(stream_with_context(parts()))


@shop.get("/broken-stream")
def broken_stream():
    def parts():
        yield b"abc"
        raise LookupError("broken")

    return Response(parts())


@shop.get("/file")
def file():
    return send_file(io.BytesIO(b"x" * 10_000), download_name="x.bin")


@pytest.fixture
def app(make):
    app = make(TESTING=False)
    app.register_blueprint(shop)

    @app.before_request
    def gate():
        return ("closed", 403) if request.path == "/gate" else None

    return app


def request_outcome(seen):
    fields = seen.one("hublog.request")
    return fields["http_status_code"], fields["levelname"], fields["event_name"]


@pytest.mark.parametrize("debug", [False, True])
@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/orders/7", (200, "INFO")),
        ("/nowhere", (404, "WARNING")),
        ("/handled", (422, "WARNING")),
        ("/teapot", (418, "WARNING")),
        ("/moved", (302, "INFO")),
        ("/closed", (308, "INFO")),
        ("/gate", (403, "WARNING")),
        ("/static/none.css", (404, "WARNING")),
    ],
)
def test_every_response_carries_the_id_and_has_one_record(app, seen, debug, path, expected):
    app.debug = debug
    response = app.test_client().get(path, headers=ID)
    assert (response.status_code, response.headers["X-Request-ID"]) == (expected[0], "abc")
    assert request_outcome(seen) == (*expected, "request.finished")
    assert context.bound() == {}


def test_a_method_that_is_not_allowed_carries_the_id(app, seen):
    response = app.test_client().post("/orders/7", headers=ID)
    assert (response.status_code, response.headers["X-Request-ID"]) == (405, "abc")
    assert request_outcome(seen)[0] == 405


def test_a_head_request_does_not_look_like_a_disconnected_client(app, seen):
    for path in ("/stream", "/file", "/orders/7"):
        response = app.test_client().head(path)
        response.close()
    assert [fields["http_status_code"] for _, fields in seen.of("hublog.request")] == [200] * 3


def test_an_unhandled_exception_is_a_500_with_the_id(app, seen):
    response = app.test_client().get("/broken", headers=ID)
    assert (response.status_code, response.headers["X-Request-ID"]) == (500, "abc")
    assert request_outcome(seen) == (500, "ERROR", "request.finished")
    assert seen.one("shop")["http_route"] == "/broken"


@pytest.mark.parametrize("key", ["TESTING", "PROPAGATE_EXCEPTIONS"])
def test_an_exception_that_leaves_the_app_is_logged_once_and_goes_on(app, seen, key):
    app.config[key] = True
    with pytest.raises(LookupError):
        app.test_client().get("/broken", headers=ID)
    assert request_outcome(seen) == (500, "ERROR", "request.finished")
    assert context.bound() == {}


def test_an_error_handlers_own_records_have_the_fields(app, seen):
    app.test_client().get("/handled", headers=ID)
    assert (seen.one("shop.views")["request_id"], seen.one("shop.views")["http_route"]) == ("abc", "/handled")


def test_several_lists_of_exposed_headers_are_kept(make):
    app = make()

    @app.get("/")
    def index():
        response = Response("ok")
        response.headers.add("Access-Control-Expose-Headers", "X-Total")
        response.headers.add("Access-Control-Expose-Headers", "X-Pages")
        return response

    response = app.test_client().get("/")
    assert response.headers.getlist("Access-Control-Expose-Headers") == ["X-Total, X-Pages, X-Request-ID"]


def test_what_the_view_binds_is_in_its_records_and_the_requests(app, seen):
    app.test_client().get("/bound")
    for name in ("shop.views", "hublog.request"):
        assert (seen.one(name)["tenant_id"], seen.one(name)["cart"]) == ("acme", 7)
    app.test_client().get("/orders/1")
    assert "tenant_id" not in seen.of("hublog.request")[-1][1]


# Streams


def test_a_stream_keeps_what_the_view_bound_and_its_bytes_are_counted(app, seen):
    response = app.test_client().get("/stream", buffered=False, headers=ID)
    assert context.bound() == {}
    assert response.data == b"0\n1\n2\n"
    response.close()
    assert [fields["tenant_id"] for _, fields in seen.of("shop.views")] == ["acme"] * 4
    assert request_outcome(seen) == (200, "INFO", "request.finished")
    assert seen.one("hublog.request")["http_response_size"] == 6


def test_a_stream_that_fails_is_an_error(app, seen):
    response = app.test_client().get("/broken-stream", buffered=False)
    with pytest.raises(LookupError):
        list(response.iter_encoded())
    response.close()
    assert request_outcome(seen) == (500, "ERROR", "request.finished")
    assert seen.one("hublog.request")["http_response_size"] == 3


def test_a_stream_whose_client_disconnects_is_logged_once_and_closed_with_the_fields(app, seen):
    body, _, _ = run_wsgi_app(app, EnvironBuilder("/stream", headers=ID).get_environ())
    next(iter(body))
    assert context.bound() == {}
    body.close()
    body.close()
    assert request_outcome(seen) == (499, "WARNING", "request.cancelled")
    [(_, fields)] = [row for row in seen.of("shop.views") if row[0] == "closed"]
    assert (fields["request_id"], fields["tenant_id"]) == ("abc", "acme")


def test_a_file_is_passed_on_to_the_server(app, seen):
    environ = {**EnvironBuilder("/file").get_environ(), "wsgi.file_wrapper": FileWrapper}
    body = app(environ, lambda *known: None)
    assert isinstance(body, FileWrapper)
    assert request_outcome(seen) == (200, "INFO", "request.finished")
    assert seen.one("hublog.request")["http_response_size"] == 10_000
    body.close()


def test_a_client_that_hangs_up_on_a_real_server_is_logged_once(app, seen):
    begun, ended = threading.Event(), threading.Event()

    @app.get("/endless")
    def endless():
        def parts():
            try:
                while True:
                    begun.set()
                    yield b"x" * 65_536
            finally:
                ended.set()

        return Response(parts())

    server = make_server("127.0.0.1", 0, app, threaded=True)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        with socket.create_connection(("127.0.0.1", server.port), timeout=10) as client:
            client.sendall(b"GET /endless HTTP/1.1\r\nHost: shop.example\r\n\r\n")
            assert begun.wait(10)
            client.recv(1_000)
        assert ended.wait(10)
        seen.wait_for("hublog.request")
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
    assert request_outcome(seen) == (499, "WARNING", "request.cancelled")


# Several apps


def test_apps_of_one_process_have_each_their_own_settings(make, seen):
    first = make("first", LOG_REQUEST_ID_HEADER="X-First", LOG_ACCESS_RECORDS=False)
    second = make("second", LOG_REQUEST_ID_HEADER="X-Second", LOG_TRUSTED_PROXY_COUNT=1)
    for app in (first, second):
        app.add_url_rule("/", view_func=lambda: "ok")
    headers = {"X-Forwarded-For": "203.0.113.7"}
    assert "X-First" in first.test_client().get("/", headers=headers).headers
    response = second.test_client().get("/", headers=headers)
    assert "X-Second" in response.headers
    assert "X-First" not in response.headers
    assert seen.one("hublog.request")["client_ip"] == "203.0.113.7"


def test_an_app_that_is_mounted_inside_another_one_adds_to_that_ones_record(make, seen):
    admin, app = make("admin"), Flask("shop")

    @admin.get("/users/<name>")
    def user(name):
        LOGGER.info("user")
        return "ok"

    app.config.update(admin.config)
    app.wsgi_app = DispatcherMiddleware(app.wsgi_app, {"/admin": admin})
    HubLog(app)
    response = app.test_client().get("/admin/users/ann", headers=ID)
    assert response.headers.getlist("X-Request-ID") == ["abc"]
    fields = seen.one("hublog.request")
    assert (fields["http_path"], fields["http_route"], fields["view_name"]) == (
        "/admin/users/ann",
        "/users/<name>",
        "user",
    )


def test_a_blueprint_gives_its_name_and_its_prefix_where_they_are_nested_too(make, seen):
    app = make()
    outer, inner = Blueprint("shop", __name__, url_prefix="/shop"), Blueprint("bills", __name__)

    @inner.get("/bills/<int:number>")
    def bill(number):
        return "ok"

    outer.register_blueprint(inner, url_prefix="/v2")
    app.register_blueprint(outer)
    app.test_client().get("/shop/v2/bills/7")
    fields = seen.one("hublog.request")
    assert (fields["http_route"], fields["view_name"]) == ("/shop/v2/bills/<int:number>", "shop.bills.bill")


# Settings


def test_prefixed_variables_of_flask_are_settings(monkeypatch, seen, tmp_path):
    values = {
        "LOG_TRUSTED_PROXY_COUNT": "1",
        "LOG_EXCLUDED_PATHS": '["/healthz", "/static/*"]',
        "LOG_SLOW_REQUEST_SECONDS": "0.5",
        "LOG_REQUEST_QUERY": "true",
        "LOG_REQUEST_ID_HEADER": "X-Trace-Key",
        "EVENTHUB_LOGGING_ENABLED": "false",
        "FILE_LOGGING_ENABLED": "false",
        "LOG_TO_STDOUT": "false",
        "LOG_LEVEL": "WARNING",
    }
    for name, value in values.items():
        monkeypatch.setenv(f"FLASK_{name}", value)
    app = Flask("shop")
    app.config.from_prefixed_env()
    HubLog(app, strict=True)
    settings = app.extensions["hublog"].settings
    found = settings.request
    assert (
        found.trusted_proxy_count,
        found.excluded_paths,
        found.slow_seconds,
        found.query,
        found.id_header,
    ) == (
        1,
        ("/healthz", "/static/*"),
        0.5,
        True,
        "X-Trace-Key",
    )
    assert (settings.level, settings.eventhub.enabled, settings.file.enabled) == (30, False, False)


def test_excluded_paths_and_the_query_of_the_app_apply(make, seen):
    app = make(LOG_EXCLUDED_PATHS=["/healthz"], LOG_REQUEST_QUERY=True)
    app.add_url_rule("/healthz", "healthz", lambda: "ok")
    app.add_url_rule("/shop", "shop", lambda: "ok")
    client = app.test_client()
    client.get("/healthz")
    client.get("/shop?a=%C3%A9")
    assert seen.one("hublog.request")["http_query"] == "a=%C3%A9"


def test_the_environment_of_a_request_that_was_served_keeps_nothing_of_ours(app, seen):
    environ = EnvironBuilder("/orders/7").get_environ()
    list(app(environ, lambda *known: None))
    assert not [name for name in environ if "hublog" in name]


@pytest.mark.parametrize("status", ["", "odd", "200"])
def test_an_invalid_response_of_a_wsgi_app_below_passes_as_it_is(make, seen, status):
    app = make()
    sent = []

    def below(environ, start_response):
        start_response(status, [("X-Own", "1")])
        return [b"ok"]

    app.wsgi_app = partial(serve, below, RequestSettings())
    assert app(EnvironBuilder("/").get_environ(), lambda *known: sent.append(known)) == [b"ok"]
    assert (sent[0][0], ("X-Own", "1") in sent[0][1]) == (status, True)
    seen.one("hublog.request")
