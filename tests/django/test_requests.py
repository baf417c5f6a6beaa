"""What a request of Django says in every way in which it can end."""

import asyncio
import gc
import hashlib
import weakref
from io import BytesIO
from wsgiref.util import FileWrapper, setup_testing_defaults

import pytest
from asgiref.sync import async_to_sync, iscoroutinefunction
from django.core.handlers.asgi import ASGIHandler
from django.core.handlers.wsgi import WSGIHandler
from django.http import HttpResponse, StreamingHttpResponse
from django.test import AsyncClient, Client, RequestFactory, override_settings
from tests.django import request_urls

from hublog.capture import context
from hublog.django.middleware import RequestContextMiddleware

ID = {"X-Request-ID": "abc"}


@pytest.fixture(autouse=True)
def _urls():
    with override_settings(ROOT_URLCONF="tests.django.request_urls"):
        yield


def get(path, **known):
    return Client(raise_request_exception=False).get(
        path, headers={**ID, **known.pop("headers", {})}, **known
    )


def aget(path, **known):
    """Ask under ASGI, with synchronous code in this thread, whose database the test has."""

    async def ask():
        return await AsyncClient(raise_request_exception=False).get(path, headers=ID, **known)

    return async_to_sync(ask)()


@pytest.fixture
def rf_scope():
    """Serve a request that has this ``scope``."""

    def serve(scope):
        request = RequestFactory().get("/plain/")
        request.scope = scope
        return RequestContextMiddleware(lambda request: HttpResponse("ok"))(request)

    return serve


def told(seen):
    fields = seen.one("hublog.request")
    return fields["http_status_code"], fields["levelname"], fields["event_name"]


@pytest.mark.parametrize("ask", [get, aget])
@pytest.mark.parametrize("debug", [False, True])
@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/raising/missing/", (404, "WARNING")),
        ("/raising/denied/", (403, "WARNING")),
        ("/raising/suspicious/", (400, "WARNING")),
        ("/raising/broken/", (500, "ERROR")),
        ("/araising/broken/", (500, "ERROR")),
        ("/araising/suspicious/", (400, "WARNING")),
        ("/nowhere/", (404, "WARNING")),
        ("/status/405/", (405, "WARNING")),
        ("/plain/", (200, "INFO")),
    ],
)
def test_every_response_carries_the_id_and_has_one_record(seen, ask, debug, path, expected):
    with override_settings(DEBUG=debug):
        response = ask(path)
    assert (response.status_code, response.headers["X-Request-ID"]) == (expected[0], "abc")
    assert told(seen) == (*expected, "request.finished")
    assert context.bound() == {}


@pytest.mark.parametrize("ask", [get, aget])
@pytest.mark.parametrize("debug", [False, True])
def test_a_host_that_is_not_allowed_is_a_400_with_the_id(seen, ask, debug):
    with override_settings(DEBUG=debug, ALLOWED_HOSTS=["shop.example"]):
        response = ask("/host/")
    assert (response.status_code, response.headers["X-Request-ID"]) == (400, "abc")
    assert "http_host" not in seen.one("hublog.request")


@pytest.mark.parametrize("ask", [get, aget])
def test_an_exception_in_a_middleware_below_is_a_500_with_the_id(seen, ask):
    middleware = [
        "hublog.django.middleware.RequestContextMiddleware",
        "tests.django.request_urls.failing_middleware",
    ]
    with override_settings(MIDDLEWARE=middleware):
        response = ask("/plain/")
    assert (response.status_code, response.headers["X-Request-ID"]) == (500, "abc")
    assert told(seen) == (500, "ERROR", "request.finished")
    assert seen.one("django.request")["request_id"] == "abc"


@pytest.mark.parametrize("place", [0, 1])
def test_a_middleware_without_coroutines_on_either_side_changes_nothing(seen, place):
    middleware = ["hublog.django.middleware.RequestContextMiddleware"]
    middleware.insert(place, "tests.django.request_urls.sync_middleware")

    async def main():
        client = AsyncClient()
        paths = [f"/aplain/{number}/" for number in range(10)]
        await asyncio.gather(*(client.get(path, headers={"X-Request-ID": path[8:-1]}) for path in paths))

    with override_settings(MIDDLEWARE=middleware):
        asyncio.run(main())
    views = [row for row in seen.of("shop.views") if "middleware" not in row[0]]
    assert len(views) == 20
    assert all(fields["request_id"] == message.split()[1] for message, fields in views)
    assert {fields["http_route"] for _, fields in views} == {"/aplain/<int:number>/"}
    ends = [(fields["request_id"], fields["tenant_id"]) for _, fields in seen.of("hublog.request")]
    assert sorted(ends) == [(f"{number}", "acme") for number in range(10)]


def test_an_exception_that_leaves_django_is_logged_once_and_goes_on(seen):
    with override_settings(DEBUG_PROPAGATE_EXCEPTIONS=True), pytest.raises(LookupError):
        Client().get("/raising/broken/")
    assert told(seen) == (500, "ERROR", "request.finished")
    assert context.bound() == {}


@pytest.mark.parametrize("ask", [get, aget])
@pytest.mark.parametrize("path", ["/status/418/", "/astatus/418/"])
def test_djangos_own_line_on_a_response_has_the_fields_and_comes_once(seen, ask, path):
    ask(path)
    fields = seen.one("django.request")
    assert (fields["request_id"], fields["status_code"]) == ("abc", 418)


def test_a_namespace_is_part_of_the_view_and_its_prefix_of_the_route(seen):
    get("/shop/orders/7/")
    fields = seen.one("shop.views")
    assert (fields["http_route"], fields["view_name"]) == ("/shop/orders/<int:number>/", "store:order")


@pytest.mark.parametrize("scope", ["odd", None, {"hublog.request": None}])
def test_an_attribute_of_the_application_that_is_called_scope_does_no_harm(seen, rf_scope, scope):
    assert rf_scope(scope).status_code == 200
    seen.one("hublog.request")


def test_a_request_that_was_served_goes_without_the_garbage_collector(seen):
    request = RequestFactory().get("/plain/")
    gone = weakref.ref(request)
    gc.disable()
    try:
        RequestContextMiddleware(lambda request: HttpResponse("ok"))(request)
        del request
        assert gone() is None
    finally:
        gc.enable()


def test_under_asgi_no_thread_is_needed_to_note_the_route():
    async def serve(request):
        return None

    assert iscoroutinefunction(RequestContextMiddleware(serve).process_view)


# Users and sessions


@override_settings(LOG_SESSION_ID=True, LOG_REQUEST_QUERY=True, LOG_EASY_AUTH=True)
@pytest.mark.parametrize("ask", [get, aget])
@pytest.mark.parametrize("path", ["/plain/", "/raising/broken/", "/status/400/", "/nowhere/"])
def test_what_is_not_used_costs_no_query_no_vary_and_no_cookie(seen, database, ask, path):
    with database.assertNumQueries(0):
        response = ask(path)
    assert "Vary" not in response.headers
    assert not response.cookies
    assert not {"user_id", "user_authenticated", "session_id"} & set(seen.one("hublog.request"))


@override_settings(LOG_SESSION_ID=True)
def test_a_session_that_the_view_used_is_shown_by_its_hash(seen, database):
    client = Client()
    client.get("/visits/")
    key = client.session.session_key
    expected = hashlib.blake2b(key.encode(), digest_size=16).hexdigest()
    assert seen.one("hublog.request")["session_id"] == expected
    with database.assertNumQueries(1):  # what the view itself loads
        response = client.get("/look/")
    assert response.headers["Vary"] == "Cookie"
    assert not response.cookies
    assert [fields["session_id"] for _, fields in seen.of("hublog.request")] == [expected] * 2
    assert key not in str(seen.records)


@override_settings(LOG_SESSION_ID=True)
def test_a_session_cookie_that_was_not_read_is_not_shown(seen, database):
    client = Client()
    client.get("/visits/")
    with database.assertNumQueries(0):
        response = client.get("/plain/")
    assert "Vary" not in response.headers
    assert "session_id" not in seen.of("hublog.request")[-1][1]


@override_settings(LOG_SESSION_ID=True)
def test_a_session_key_that_the_client_invented_is_not_shown(seen, database):
    client = Client()
    client.cookies["sessionid"] = "invented" * 4
    client.get("/look/")
    assert "session_id" not in seen.one("hublog.request")


def test_a_session_is_not_shown_unless_that_is_set(seen, database):
    Client().get("/visits/")
    assert "session_id" not in seen.one("hublog.request")


@pytest.fixture
def ann(database):
    from django.contrib.auth.models import User

    return User.objects.create_user("ann", password="pw")


@pytest.mark.parametrize("path", ["/me/", "/ame/"])
@pytest.mark.parametrize("is_async", [False, True])
def test_a_user_that_the_view_loaded_is_noted_at_no_cost(seen, database, ann, path, is_async):
    client = AsyncClient() if is_async else Client()
    client.force_login(ann)
    ask = async_to_sync(client.get) if is_async else client.get
    with database.assertNumQueries(2):  # the session and the user, which the view asked for
        ask(path)
    fields = seen.one("hublog.request")
    assert (fields["user_id"], fields["user_authenticated"]) == (str(ann.pk), True)


def test_a_user_of_an_earlier_request_who_was_not_loaded_is_not_noted(seen, database, ann):
    client = Client()
    client.force_login(ann)
    with database.assertNumQueries(0):
        response = client.get("/plain/")
    assert "Vary" not in response.headers
    assert "user_id" not in seen.one("hublog.request")


def test_the_record_of_an_exception_names_whom_it_hit(seen, database, ann):
    client = Client(raise_request_exception=False)
    client.force_login(ann)
    client.get("/failing/")
    assert seen.one("django.request")["user_id"] == str(ann.pk)


@override_settings(LOG_EASY_AUTH=True)
def test_whom_the_edge_signed_in_gives_way_to_the_applications_user_only(seen, database, ann):
    edge = {"X-MS-CLIENT-PRINCIPAL-ID": "edge", "X-MS-CLIENT-PRINCIPAL-NAME": "ann@shop.example"}
    client = Client()
    client.get("/plain/", headers=edge)
    client.get("/me/", headers=edge)  # nobody is signed in at the application
    client.force_login(ann)
    client.get("/me/", headers=edge)
    found = [(fields["user_id"], fields["user_authenticated"]) for _, fields in seen.of("hublog.request")]
    assert found == [("edge", True), ("edge", True), (str(ann.pk), True)]
    assert seen.one("shop.views")["user_name"] == "ann@shop.example"


# What the application binds, and what is configured


def test_what_the_view_binds_is_in_its_records_and_the_requests(seen):
    get("/bound/")
    for name in ("shop.views", "hublog.request"):
        assert (seen.one(name)["tenant_id"], seen.one(name)["cart"]) == ("acme", 7)
    assert context.bound() == {}


@override_settings(LOG_REQUEST_QUERY=True)
def test_the_query_is_taken_as_it_came(seen):
    get("/plain/?a=%C3%A9&b=1")
    assert seen.one("hublog.request")["http_query"] == "a=%C3%A9&b=1"


@override_settings(LOG_EXCLUDED_PATHS=["/plain/", "/raising/*"], LOG_TRUSTED_PROXY_COUNT=1)
def test_excluded_paths_and_proxies_of_the_project_apply(seen):
    get("/plain/", headers={"X-Forwarded-For": "6.6.6.6, 203.0.113.7:4711"})
    assert seen.of("hublog.request") == []
    assert seen.one("shop.views")["client_ip"] == "203.0.113.7"
    get("/raising/missing/")
    assert seen.of("hublog.request") == []
    get("/raising/broken/")
    assert told(seen)[0] == 500


# Streams


def test_a_stream_keeps_what_the_view_bound_and_its_bytes_are_counted(seen):
    response = get("/bound-stream/")
    assert b"".join(response.streaming_content) == b"0\n1\n2\n"
    assert [fields["tenant_id"] for _, fields in seen.of("shop.views")] == ["acme"] * 3
    fields = seen.one("hublog.request")
    assert (fields["tenant_id"], fields["http_response_size"]) == ("acme", 6)


def test_a_stream_that_fails_is_an_error(seen):
    response = get("/broken-stream/")
    with pytest.raises(LookupError):
        list(response.streaming_content)
    assert told(seen) == (500, "ERROR", "request.finished")
    assert seen.one("hublog.request")["http_response_size"] == 3


def test_a_stream_whose_client_disconnects_is_logged_once(seen):
    response = get("/bound-stream/")
    next(iter(response.streaming_content))
    response.close()
    response.close()
    assert told(seen) == (499, "WARNING", "request.cancelled")
    assert seen.one("hublog.request")["http_response_size"] == 2


def test_a_stream_that_is_discarded_unread_leaves_nothing_bound(seen):
    response = get("/bound-stream/")
    next(iter(response.streaming_content))
    assert context.bound() == {}
    del response
    gc.collect()  # Django's test client closes the response then
    assert context.bound() == {}
    assert told(seen) == (499, "WARNING", "request.cancelled")


class Closed(StreamingHttpResponse):
    """A response whose class lets nobody put anything in its place."""

    def __setattr__(self, name, value):
        if name in ("streaming_content", "close") and "_iterator" in vars(self):
            raise AttributeError(name)
        super().__setattr__(name, value)


def test_a_streamed_response_that_takes_nothing_from_us_is_sent_and_logged(seen):
    request = RequestFactory().get("/plain/")
    response = RequestContextMiddleware(lambda request: Closed([b"a", b"b"]))(request)
    assert list(response.streaming_content) == [b"a", b"b"]
    assert told(seen) == (200, "INFO", "request.finished")
    assert context.bound() == {}


def environ_of(path):
    environ = {"PATH_INFO": path, "wsgi.input": BytesIO()}
    setup_testing_defaults(environ)
    return {**environ, "HTTP_HOST": "testserver"}


def test_a_file_is_passed_on_to_the_server_and_its_request_ends_when_that_closes_it(seen):
    body = WSGIHandler()({**environ_of("/file/"), "wsgi.file_wrapper": FileWrapper}, lambda *known: None)
    assert isinstance(body, FileWrapper)
    assert sum(map(len, body)) == 10_000
    assert seen.of("hublog.request") == []
    body.close()
    assert told(seen) == (200, "INFO", "request.finished")
    assert seen.one("hublog.request")["http_response_size"] == 10_000


@pytest.mark.parametrize("path", ["/plain/", "/bound-stream/", "/file/", "/nowhere/"])
def test_a_wsgi_server_gets_the_id_on_everything_and_one_record_is_written(seen, path):
    sent = []
    body = WSGIHandler()(environ_of(path), lambda status, headers, *error: sent.extend(headers))
    list(body)
    body.close()
    assert len(dict(sent)["X-Request-ID"]) == 32
    seen.one("hublog.request")
    assert context.bound() == {}


class Connection:
    """A client of an ASGI application that hangs up when it is told to."""

    def __init__(self, path):
        self.sent = []
        self.gone = asyncio.Event()
        self.is_asked = False
        self.scope = {
            "type": "http",
            "method": "GET",
            "path": path,
            "query_string": b"",
            "headers": [(b"host", b"testserver"), (b"x-request-id", b"abc")],
            "client": ["192.0.2.1", 4711],
        }

    async def receive(self):
        if not self.is_asked:
            self.is_asked = True
            return {"type": "http.request", "body": b"", "more_body": False}
        await self.gone.wait()
        return {"type": "http.disconnect"}

    async def send(self, message):
        self.sent.append(message)


@pytest.mark.parametrize(("path", "event"), [("/endless/", "sent"), ("/forever/", "begun")])
def test_a_client_that_hangs_up_under_asgi_is_logged_once(seen, path, event):
    async def main():
        request_urls.EVENTS[event] = happened = asyncio.Event()
        connection = Connection(path)
        serving = asyncio.ensure_future(ASGIHandler()(connection.scope, connection.receive, connection.send))
        await asyncio.wait_for(happened.wait(), 10)
        connection.gone.set()
        await asyncio.wait_for(serving, 10)

    asyncio.run(main())
    assert told(seen) == (499, "WARNING", "request.cancelled")
    assert seen.one("hublog.request")["request_id"] == "abc"


def test_requests_that_the_server_cancels_are_logged_once(seen):
    async def main():
        request_urls.EVENTS["begun"] = begun = asyncio.Event()
        task = asyncio.ensure_future(AsyncClient().get("/forever/"))
        await asyncio.wait_for(begun.wait(), 10)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        return dict(context.bound())

    assert asyncio.run(main()) == {}
    assert told(seen) == (499, "WARNING", "request.cancelled")
