"""What leaves a Django project: its client gets what it gets without us, one record says what was raised."""

import asyncio
import contextlib
import gc
import logging
import pickle
import warnings
import weakref

import pytest
from asgiref.sync import async_to_sync
from django.core.handlers.asgi import ASGIHandler
from django.core.handlers.wsgi import WSGIHandler
from django.core.signals import request_finished
from django.http import HttpResponse, StreamingHttpResponse
from django.test import RequestFactory, override_settings
from django.urls import path
from werkzeug.test import EnvironBuilder

from hublog.django.middleware import RequestContextMiddleware
from hublog.testing import capture_records

LOGGER = logging.getLogger("shop.views")
OURS = {"x-request-id", "access-control-expose-headers"}


@pytest.fixture
def rows():
    """What reaches the hub."""
    with capture_records() as records:
        yield records


@pytest.fixture(autouse=True)
def _urls():
    with override_settings(ROOT_URLCONF=__name__):
        yield


def broken(request):
    raise LookupError("for the test")


def leave(request):
    raise SystemExit(1)


def parts(error):
    yield b"abc"
    raise error("for the test")


def stream(request):
    return StreamingHttpResponse(parts(LookupError))


async def flow(request):
    async def own():
        yield b"abc"

    return StreamingHttpResponse(own())


async def cancelled(request):
    raise asyncio.CancelledError("for the test")


async def cancelled_stream(request):
    async def own():
        for part in parts(asyncio.CancelledError):
            yield part

    return StreamingHttpResponse(own())


async def broken_stream(request):
    async def own():
        for part in parts(LookupError):
            yield part

    return StreamingHttpResponse(own())


def plain(request):
    return HttpResponse("ok", headers={"X-Own": "1"})


def own_id(request):
    return HttpResponse("ok", headers={"x-request-id": "own", "Access-Control-Expose-Headers": "X-Total"})


def closing(request):
    response = HttpResponse("ok")

    def close():
        LOGGER.info("closing")
        HttpResponse.close(response)

    response.close = close
    return response


SAME = HttpResponse("ok")


def same(request):
    return SAME


urlpatterns = [
    path("broken/", broken),
    path("exit/", leave),
    path("stream/", stream),
    path("cancelled/", cancelled),
    path("cancelled-stream/", cancelled_stream),
    path("broken-stream/", broken_stream),
    path("plain/", plain),
    path("own-id/", own_id),
    path("closing/", closing),
    path("same/", same),
    path("flow/", flow),
]


@pytest.fixture
def finished():
    """Log, and perhaps raise, when a request is finished."""
    errors = []

    def receive(**known):
        LOGGER.info("finished")
        for error in errors:
            raise error

    request_finished.connect(receive)
    yield errors
    request_finished.disconnect(receive)


def answer(where, method="GET"):
    """Serve a request as a server of WSGI does; return all that a client or the server could notice."""
    seen, found, raised, body = [], [], [], None
    environ = EnvironBuilder(where, method=method, headers={"X-Request-ID": "abc"}).get_environ()
    environ["HTTP_HOST"] = "testserver"
    try:
        body = WSGIHandler()(environ, lambda status, headers: seen.append((status, headers)))
        found = list(body)
    except BaseException as error:
        raised.append(f"{type(error).__name__}: {error}")
    try:
        if body is not None:
            body.close()
    except BaseException as error:
        raised.append(f"closing: {type(error).__name__}: {error}")
    heads = [(status, [pair for pair in headers if pair[0].lower() not in OURS]) for status, headers in seen]
    return heads, found, raised


def ask(where):
    """Serve a request as a server of ASGI does, whatever comes of it."""

    async def main():
        says = [{"type": "http.request", "body": b"", "more_body": False}]

        async def receive():
            if not says:
                await asyncio.Event().wait()
            return says.pop()

        async def send(message):
            pass

        scope = {
            "type": "http",
            "method": "GET",
            "path": where,
            "query_string": b"",
            "headers": [(b"host", b"testserver"), (b"x-request-id", b"abc")],
        }
        await asyncio.wait_for(ASGIHandler()(scope, receive, send), 10)

    with contextlib.suppress(BaseException):
        async_to_sync(main)()
    with warnings.catch_warnings():  # Django leaves the body of a request open whose task was cancelled
        warnings.simplefilter("ignore", ResourceWarning)
        gc.collect()


@pytest.mark.parametrize("method", ["GET", "HEAD", "POST"])
@pytest.mark.parametrize("is_propagating", [False, True])
@pytest.mark.parametrize(
    "where", ["/broken/", "/exit/", "/stream/", "/plain/", "/closing/", "/cancelled/", "/nowhere/"]
)
@pytest.mark.parametrize("error", [None, LookupError("for the test")])
def test_a_client_gets_what_it_gets_without_us(finished, where, is_propagating, method, error):
    finished.extend([error] if error else [])
    with override_settings(DEBUG_PROPAGATE_EXCEPTIONS=is_propagating):
        with_us = answer(where, method)
        with override_settings(MIDDLEWARE=[]):
            without = answer(where, method)
    assert with_us == without


@pytest.mark.parametrize(
    ("where", "is_propagating", "status"),
    [("/broken/", False, 500), ("/broken/", True, 500), ("/exit/", False, 500), ("/stream/", False, 500)],
)
def test_what_is_raised_is_in_one_record_and_the_request_in_one(rows, where, is_propagating, status):
    with override_settings(DEBUG_PROPAGATE_EXCEPTIONS=is_propagating):
        answer(where)
    [found] = [row for row in rows if "exception_type" in row]
    assert (found["request_id"], found["level"], found["http_route"]) == ("abc", "ERROR", where)
    [ended] = [row for row in rows if row["record_type"] == "request"]
    assert (ended["http_status_code"], ended["event_name"]) == (status, "request.finished")


@pytest.mark.parametrize(
    ("where", "raised"),
    [
        ("/cancelled/", "CancelledError"),
        ("/cancelled-stream/", "CancelledError"),  # which Django 5.2 keeps from the server
        ("/broken-stream/", "LookupError"),
    ],
)
def test_under_asgi_what_is_raised_is_a_failure_and_in_one_record(rows, where, raised):
    ask(where)
    [found] = [row for row in rows if "exception_type" in row]
    assert found["exception_type"].endswith(raised)
    assert (found["http_status_code"], found["event_name"], found["request_id"], found["level"]) == (
        500,
        "request.finished",
        "abc",
        "ERROR",
    )


@pytest.mark.parametrize("serve", [answer, ask])
@pytest.mark.parametrize("where", ["/plain/", "/closing/", "/flow/"])
def test_what_runs_when_the_response_is_closed_logs_with_the_fields(rows, finished, serve, where):
    serve(where)
    found = [row for row in rows if row["message"] in ("finished", "closing")]
    assert len(found) == 1 + (where == "/closing/")
    assert {(row["request_id"], row["http_route"]) for row in found} == {("abc", where)}


@pytest.mark.parametrize("where", ["/plain/", "/closing/"])
def test_what_a_receiver_raises_at_the_end_is_in_a_record(rows, finished, where):
    finished.append(LookupError("for the test"))
    _, _, raised = answer(where)
    assert raised == ["closing: LookupError: for the test"]
    [row] = [row for row in rows if "exception_type" in row]
    assert (row["event_name"], row["level"], row["request_id"]) == ("request.failed", "ERROR", "abc")


def test_an_id_of_the_applications_own_stays_and_is_noted(rows):
    [(_, headers)], _, _ = answer("/own-id/")
    assert ("x-request-id", "own") not in headers  # taken off by the test's own look
    response = RequestContextMiddleware(own_id)(RequestFactory().get("/", headers={"X-Request-ID": "abc"}))
    assert (response["X-Request-ID"], response["Access-Control-Expose-Headers"]) == ("own", "X-Total")
    assert [row["extra"]["response_request_id"] for row in rows] == ["own"] * 2


@pytest.mark.parametrize("is_pickled", [False, True])
def test_a_response_that_is_sent_again_has_the_id_of_each_request(rows, is_pickled):
    kept = HttpResponse("ok", headers={"Access-Control-Expose-Headers": "X-Total"})
    for own in ("first", "second", "third"):
        request = RequestFactory().get("/", headers={"X-Request-ID": own})
        sent = RequestContextMiddleware(lambda _, kept=kept: kept)(request)
        assert (sent["X-Request-ID"], sent["Access-Control-Expose-Headers"]) == (own, "X-Total, X-Request-ID")
        kept = pickle.loads(pickle.dumps(sent)) if is_pickled else sent  # noqa: S301  # its own
    assert [row["request_id"] for row in rows] == ["first", "second", "third"]
    assert not [row for row in rows if "response_request_id" in row.get("extra", {})]


def test_a_response_that_a_view_returns_again_and_again_stays_as_it_is(rows):
    answer("/same/")
    before = set(vars(SAME))
    for _ in range(3):
        answer("/same/")
    assert set(vars(SAME)) == before
    for _ in range(3):  # and nobody closes these
        RequestContextMiddleware(same)(RequestFactory().get("/"))
    assert SAME.close.own is None
    SAME.close()
    assert "close" not in vars(SAME)


def test_a_response_can_be_pickled_by_a_cache_outside_and_closed_by_its_reader(finished):
    response = RequestContextMiddleware(plain)(RequestFactory().get("/"))
    taken = pickle.loads(pickle.dumps(response))  # noqa: S301  # its own
    taken = pickle.loads(pickle.dumps(taken))  # noqa: S301  # its own
    assert taken.content == b"ok"
    taken.close()
    assert taken.closed
    assert not response.closed


def test_a_response_that_was_closed_goes_without_the_garbage_collector():
    response = RequestContextMiddleware(plain)(RequestFactory().get("/"))
    gone = weakref.ref(response)
    gc.disable()
    try:
        response.close()
        del response
        assert gone() is None
    finally:
        gc.enable()


@pytest.mark.parametrize("odd", [None, "text", object()])
def test_what_is_no_response_is_the_handlers_to_refuse(rows, odd):
    assert RequestContextMiddleware(lambda request: odd)(RequestFactory().get("/")) is odd
    assert rows[0]["http_status_code"] == 500
