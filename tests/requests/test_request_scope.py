import hashlib
import logging
import subprocess
import sys
import threading
from contextvars import copy_context
from http import HTTPStatus

import pytest

from hublog.capture import context, tracing
from hublog.configure.handlers import NoDestination
from hublog.requests import query_counting, request_scope
from hublog.requests.request_fields import session_hash
from hublog.requests.request_record import LOGGER_NAME
from hublog.requests.request_scope import RequestScope
from hublog.settings import RequestSettings
from hublog.testing import FakeClock


def make(headers=None, *, now=None, settings=None, **known):
    lowered = {name.lower(): value for name, value in (headers or {}).items()}
    known = {"method": "GET", "path": "/orders/7", **known}
    return RequestScope(
        settings or RequestSettings(), lambda name: lowered.get(name.lower()), now=now or FakeClock(), **known
    )


def test_fields_are_bound_between_enter_and_leave():
    scope = make(host="shop.example", remote_address="192.0.2.1")
    scope.enter()
    bound = dict(context.bound())
    scope.leave()
    assert context.bound() == {}
    assert bound["request_id"] == scope.request_id
    assert (bound["http_method"], bound["http_path"], bound["http_host"], bound["client_ip"]) == (
        "GET",
        "/orders/7",
        "shop.example",
        "192.0.2.1",
    )


def test_a_request_inside_a_request_gives_the_outer_ones_fields_back():
    outer, inner = make(path="/outer"), make(path="/inner")
    outer.enter()
    inner.enter()
    inner.leave()
    assert context.bound()["http_path"] == "/outer"
    outer.leave()


def test_a_request_that_another_thread_leaves_takes_nothing_from_that_one():
    elsewhere, here = make(path="/elsewhere"), make(path="/here")
    copy_context().run(elsewhere.enter)
    here.enter()
    elsewhere.leave()
    assert context.bound()["http_path"] == "/here"
    here.leave()


@pytest.fixture(autouse=True)
def clean():
    """A test that fails must not leave its fields to the next one."""
    token = context.enter({})
    yield
    context.leave(token)
    request_scope._current.set(None)


def test_a_request_that_a_copy_of_its_context_leaves_is_gone_there():
    scope = make()
    scope.enter()

    def leave():
        scope.leave()
        return dict(context.bound()), request_scope.current_scope()

    assert copy_context().run(leave) == ({}, None)


def test_what_was_bound_before_the_request_is_bound_after_it():
    token = context.bind(worker="w1")
    scope = make()
    scope.enter()
    assert "worker" not in context.bound()
    scope.leave()
    assert context.bound() == {"worker": "w1"}
    context.unbind(token)


@pytest.mark.parametrize(
    ("status", "level"), [(200, "INFO"), (302, "INFO"), (404, "WARNING"), (500, "ERROR"), (503, "ERROR")]
)
def test_one_record_says_how_the_request_ended(caplog, status, level):
    clock = FakeClock()
    scope = make(now=clock)
    scope.enter()
    clock.advance(0.0123)
    with caplog.at_level(logging.INFO, LOGGER_NAME):
        scope.finish(status, size="42")
        scope.finish(500)
    scope.leave()
    [record] = caplog.records
    assert record.levelname == level
    assert record.getMessage() == f"GET /orders/7 {status} 12.3 ms"
    assert (record.record_type, record.event_name, record.http_status_code) == (
        "request",
        "request.finished",
        status,
    )
    assert (record.duration_ms, record.http_response_size) == (12.3, 42)


def test_the_record_can_be_switched_off(caplog):
    with caplog.at_level(logging.INFO, LOGGER_NAME):
        make(settings=RequestSettings(access_records=False)).finish(200)
    assert caplog.records == []


@pytest.mark.parametrize("value", ["a\r\nSet-Cookie: x=1", "a" * 129, "é", "", " ", "<script>"])
def test_a_hostile_id_is_replaced(value):
    found = make({"X-Request-ID": value}).request_id
    assert len(found) == 32
    assert found.isalnum()


class Follower:
    """Notes its calls, and what was bound then."""

    def __init__(self):
        self.calls = []

    def begin(self, scope):
        self.calls.append(("begin", scope, dict(context.bound())))

    def end(self, scope, *, status, seconds, has_failed):
        self.calls.append(("end", scope, dict(context.bound()), status, seconds, has_failed))


class Broken(Follower):
    def begin(self, scope):
        raise LookupError("begin")

    def end(self, scope, *, status, seconds, has_failed):
        raise LookupError("end")


@pytest.fixture
def follower(monkeypatch):
    found = Follower()
    monkeypatch.setattr(request_scope, "observers", [Broken(), found])
    return found


def test_an_observer_sees_the_start_and_the_end_once_with_the_fields_bound(follower):
    clock = FakeClock()
    scope = make(now=clock)
    scope.enter()
    clock.advance(0.25)
    scope.suspend()
    scope.enter()
    scope.finish(200)
    scope.finish(500)
    scope.leave()
    assert follower.calls == [
        ("begin", scope, scope.fields),
        ("end", scope, scope.fields, 200, 0.25, False),
    ]


def test_an_observer_is_called_after_the_request_record_was_written(follower, caplog):
    follower.end = lambda scope, **known: follower.calls.append(len(caplog.records))
    with caplog.at_level(logging.INFO, LOGGER_NAME):
        make().finish(200)
    assert follower.calls == [1]


def test_an_observer_sees_a_request_without_a_record_and_of_its_failure(follower):
    make(settings=RequestSettings(access_records=False)).finish(503)
    [(_, _, _, status, _, has_failed)] = follower.calls
    assert (status, has_failed) == (503, True)


def test_the_current_scope_is_the_inner_one_until_it_ends():
    outer, inner = make(), make()
    outer.enter()
    inner.enter()
    assert request_scope.current_scope() is inner
    inner.leave()
    assert request_scope.current_scope() is outer
    outer.leave()
    assert request_scope.current_scope() is None


def test_what_the_application_bound_is_bound_again_after_a_pause():
    scope = make()
    scope.enter()
    context.bind(tenant_id="acme")
    scope.suspend()
    assert context.bound() == {}
    with scope.resumed():
        context.bind(part=1)
    assert context.bound() == {}
    with scope.resumed():
        assert (context.bound()["tenant_id"], context.bound()["part"]) == ("acme", 1)
        with scope.resumed():
            pass
        assert context.bound()["part"] == 1
    assert context.bound() == {}


def test_the_record_has_the_fields_wherever_the_request_is_ended(caplog):
    scope, other = make(path="/mine"), make(path="/other")
    seen = []
    scope.enter()
    context.bind(tenant_id="acme")
    scope.suspend()
    other.enter()
    with caplog.at_level(logging.INFO, LOGGER_NAME):
        logging.getLogger(LOGGER_NAME).addFilter(lambda record: seen.append(dict(context.bound())) or True)
        try:
            scope.finish(200)
        finally:
            logging.getLogger(LOGGER_NAME).filters.clear()
    assert context.bound()["http_path"] == "/other"
    other.leave()
    assert [(fields["http_path"], fields["tenant_id"]) for fields in seen] == [("/mine", "acme")]


def test_a_client_that_disconnected_is_a_warning_with_its_own_name(caplog):
    with caplog.at_level(logging.INFO, LOGGER_NAME):
        scope = make()
        scope.cancel()
        scope.finish(200)
    [record] = caplog.records
    assert (record.levelname, record.event_name, record.http_status_code) == (
        "WARNING",
        "request.cancelled",
        499,
    )


@pytest.mark.parametrize(
    ("path", "status", "has_record"),
    [
        ("/healthz", 200, False),
        ("/healthz", 404, False),
        ("/healthz", 500, True),
        ("/healthz/deep", 200, True),
        ("/static/a/b.css", 200, False),
        ("/static", 200, True),
        ("/a?b[c]", 200, False),
        ("/aXb[c]", 200, True),
        ("/x/live\n", 200, False),
        ("/orders/7", 200, True),
    ],
)
def test_an_excluded_path_has_a_record_only_if_it_fails(caplog, path, status, has_record):
    settings = RequestSettings(excluded_paths=("/healthz", "/static/*", "/a?b[c]", "*/live*"))
    with caplog.at_level(logging.INFO, LOGGER_NAME):
        make(path=path, settings=settings).finish(status)
    assert bool(caplog.records) is has_record


def test_a_pattern_with_many_stars_does_not_backtrack_on_a_hostile_path(caplog):
    settings = RequestSettings(excluded_paths=("*a" * 20 + "b",))
    with caplog.at_level(logging.INFO, LOGGER_NAME):
        make(path="/" + "a" * 2_000, settings=settings).finish(200)  # a backtracking search would not end
    assert len(caplog.records) == 1


@pytest.mark.parametrize(
    ("seconds", "status", "level", "is_slow"),
    [(0.4, 200, "INFO", False), (0.6, 200, "WARNING", True), (0.6, 500, "ERROR", True)],
)
def test_a_slow_request_is_at_least_a_warning(caplog, seconds, status, level, is_slow):
    clock = FakeClock()
    scope = make(now=clock, settings=RequestSettings(slow_seconds=0.5))
    clock.advance(seconds)
    with caplog.at_level(logging.INFO, LOGGER_NAME):
        scope.finish(status)
    [record] = caplog.records
    assert record.levelname == level
    assert getattr(record, "slow", False) is is_slow


def test_the_applications_own_user_wins_over_the_edges():
    headers = {"X-MS-CLIENT-PRINCIPAL-ID": "edge", "X-MS-CLIENT-PRINCIPAL-IDP": "aad"}
    scope = make(headers, settings=RequestSettings(easy_auth=True))
    scope.enter()
    scope.add_user({"user_authenticated": False, "user_id": ""})
    assert (context.bound()["user_id"], context.bound()["user_authenticated"]) == ("edge", True)
    scope.add_user({"user_authenticated": True, "user_id": "7"})
    assert context.bound()["user_id"] == "7"
    scope.leave()


def test_headers_that_cannot_be_read_do_not_end_the_request():
    def broken(name):
        raise LookupError(name)

    scope = RequestScope(RequestSettings(), broken, method="GET", path="/orders/7")
    assert (len(scope.request_id), scope.fields["http_path"]) == (32, "/orders/7")


@pytest.fixture
def request_logger(monkeypatch, caplog):
    """The logger of request records, with a handler that makes nothing of them and no other."""
    caplog.set_level(logging.INFO, LOGGER_NAME)
    found = logging.getLogger(LOGGER_NAME)
    monkeypatch.setattr(found, "propagate", False)
    monkeypatch.setattr(found, "handlers", [NoDestination()])
    monkeypatch.setattr(found, "filters", [])
    return found


def ended(**known):
    """Return a request that has ended, entered and left."""
    scope = make(**known)
    scope.enter()
    scope.add(http_route="/orders/<number>")
    scope.finish(200)
    scope.leave()
    return scope


def test_a_request_of_which_nothing_is_logged_has_nothing_made_of_it(request_logger, monkeypatch):
    monkeypatch.delitem(sys.modules, tracing.MODULE, raising=False)  # with it the span of the start counts
    scope = ended()
    assert scope.life.made is None
    assert scope.fields["http_route"] == "/orders/<number>"


def test_a_filter_sees_the_record_without_a_handler(request_logger):
    seen = []
    request_logger.filters.append(lambda record: seen.append(record.http_status_code))
    ended()
    assert seen == [200]


def test_a_package_that_replaces_what_calls_handlers_sees_the_record(request_logger, monkeypatch):
    seen = []
    monkeypatch.setattr(
        logging.Logger, "callHandlers", lambda logger, record: seen.append(record.duration_ms)
    )
    ended()
    assert seen == [0.0]


def test_a_logger_without_handlers_has_its_warnings_on_stderr(request_logger, monkeypatch):
    seen = []
    request_logger.handlers.clear()
    last = logging.Handler()
    last.emit = lambda record: seen.append(record.levelname)
    monkeypatch.setattr(logging, "lastResort", last)
    make().finish(404)
    assert seen == ["WARNING"]


def test_fields_that_are_made_late_are_those_of_the_start(request_logger):
    environ = {
        "REQUEST_METHOD": "POST",
        "PATH_INFO": "/a",
        "HTTP_X_REQUEST_ID": "first",
        "REMOTE_ADDR": "::1",
    }
    scope = RequestScope.from_environ(RequestSettings(), environ)
    scope.enter()
    environ |= {"REQUEST_METHOD": "PUT", "PATH_INFO": "/b", "HTTP_X_REQUEST_ID": "b", "REMOTE_ADDR": "::2"}
    bound = context.bound()
    scope.leave()
    assert [bound[name] for name in ("http_method", "http_path", "request_id", "client_ip")] == [
        *("POST", "/a", "first", "::1")
    ]


def test_threads_that_need_the_fields_first_find_the_same_ids():
    scope = make()
    scope.enter()
    found, start = [], threading.Barrier(4)

    def work():
        start.wait(10)
        found.append((context.bound()["trace_id"], context.bound()["span_id"], context.bound()["request_id"]))

    threads = [threading.Thread(target=copy_context().run, args=(work,)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    scope.leave()
    assert len(found) == 4
    assert set(found) == {(scope.fields["trace_id"], scope.fields["span_id"], scope.request_id)}


def test_a_handler_that_raises_does_not_end_the_request(follower):
    def broken(record):
        raise LookupError("broken")

    logger = logging.getLogger(LOGGER_NAME)
    logger.addFilter(broken)
    try:
        make().finish(500)
    finally:
        logger.removeFilter(broken)
    assert [call[0] for call in follower.calls] == ["end"]


def test_queries_are_counted_from_every_thread_that_shares_the_context(caplog, monkeypatch):
    monkeypatch.setattr(query_counting, "watched", set())
    scope = make()
    scope.enter()

    def work():
        for _ in range(1_000):
            context.stored().counter.add(0.001)

    threads = [threading.Thread(target=copy_context().run, args=(work,)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with caplog.at_level(logging.INFO, LOGGER_NAME):
        scope.finish(200)
    scope.leave()
    [record] = caplog.records
    assert (record.db_query_count, record.db_duration_ms) == (4_000, pytest.approx(4_000))
    assert context.stored().counter is None


def test_a_request_of_many_queries_keeps_few_of_their_times():
    items = []
    counter = query_counting.QueryCounter(items)
    for _ in range(10_000):
        counter.add(0.5)
    assert len(items) <= query_counting._ITEMS_MAX
    assert counter.columns() == {"db_query_count": 10_000, "db_duration_ms": 5_000_000.0}


def test_a_field_that_is_given_stands_in_place_of_one_that_was_counted(caplog, monkeypatch):
    monkeypatch.setattr(query_counting, "watched", {"django"})
    with caplog.at_level(logging.INFO, LOGGER_NAME):
        make().finish(200, db_query_count=7, duration_ms=2.5)
    [record] = caplog.records
    assert (record.db_query_count, record.duration_ms, record.db_duration_ms) == (7, 2.5, 0.0)


@pytest.mark.parametrize(("watched", "expected"), [(set(), False), ({"django"}, True)])
def test_a_request_without_queries_says_so_only_where_they_would_be_counted(
    caplog, monkeypatch, watched, expected
):
    monkeypatch.setattr(query_counting, "watched", watched)
    with caplog.at_level(logging.INFO, LOGGER_NAME):
        make().finish(200)
        make(settings=RequestSettings(count_db_queries=False)).finish(200)
    first, second = caplog.records
    assert hasattr(first, "db_query_count") is expected
    assert not hasattr(second, "db_query_count")


def test_a_session_is_shown_by_a_hash_that_does_not_contain_it():
    found = session_hash("0123456789abcdef")
    assert found == hashlib.blake2b(b"0123456789abcdef", digest_size=16).hexdigest()
    assert (session_hash(None), session_hash("")) == ("", "")


#: In a process of its own: what a request calls depends on what else is imported and follows requests.
CALLS = """
import sys
from hublog.requests import RequestScope
from hublog.settings import RequestSettings

headers = {"x-request-id": "abc", "user-agent": "tester", "content-length": "12"}
settings = RequestSettings(access_records=False)
calls = []

def serve():
    scope = RequestScope(settings, lambda name: headers.get(name.lower()), method="GET", path="/orders/7")
    scope.enter()
    scope.add(http_route="/orders/<int:number>/", view_name="order")
    scope.finish(200)
    scope.leave()

serve()  # fills caches
sys.setprofile(lambda frame, event, arg: event == "call" and calls.append(frame.f_code.co_qualname))
serve()
sys.setprofile(None)
print(len(calls))
"""


def test_a_request_costs_a_bounded_number_of_calls():
    result = subprocess.run([sys.executable, "-c", CALLS], capture_output=True, text=True, check=True)
    assert 10 < int(result.stdout) <= 24


def test_a_websocket_is_never_slow_and_no_observer_follows_it(follower, caplog):
    clock = FakeClock()
    scope = make(now=clock, settings=RequestSettings(slow_seconds=0.5), is_long_lived=True)
    scope.enter()
    clock.advance(3_600)
    with caplog.at_level(logging.INFO, LOGGER_NAME):
        scope.finish(101, event_name="websocket.closed")
    scope.leave()
    assert (caplog.records[0].levelname, follower.calls) == ("INFO", [])


@pytest.mark.parametrize(
    ("said", "status"),
    [(HTTPStatus.NOT_FOUND, 404), ("201", 201), (None, 500), ("odd", 500), (-1, 500), ([], 500)],
)
def test_a_status_is_a_plain_number_whatever_was_said(caplog, said, status):
    with caplog.at_level(logging.INFO, LOGGER_NAME):
        make().finish(said)
    [record] = caplog.records
    assert type(record.http_status_code) is int
    assert record.http_status_code == status
