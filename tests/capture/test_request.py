import logging

import pytest

from hublog.capture import context, request
from hublog.capture.request import LOGGER_NAME, RequestScope, client_address
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


def test_what_an_abandoned_request_left_behind_goes_with_the_next_one():
    abandoned, following = make(path="/abandoned"), make(path="/next")
    abandoned.enter()
    abandoned.is_over = True
    following.enter()
    following.leave()
    assert context.bound() == {}


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
def test_one_record_tells_how_the_request_ended(caplog, status, level):
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


@pytest.mark.parametrize(
    ("headers", "settings", "expected"),
    [
        ({"X-Request-ID": "abc"}, RequestSettings(), "abc"),
        ({"X-Correlation-ID": "abc"}, RequestSettings(), "abc"),
        ({"X-Request-ID": "second", "X-Trace": "first"}, RequestSettings(id_header="X-Trace"), "first"),
    ],
)
def test_the_request_id_comes_from_the_header(headers, settings, expected):
    assert make(headers, settings=settings).request_id == expected


@pytest.mark.parametrize("value", ["a\r\nSet-Cookie: x=1", "a" * 129, "é", "", " ", "<script>"])
def test_a_hostile_id_is_replaced(value):
    found = make({"X-Request-ID": value}).request_id
    assert len(found) == 32
    assert found.isalnum()


def test_an_id_is_not_taken_when_it_is_not_trusted():
    settings = RequestSettings(trust_request_id=False)
    assert make({"X-Request-ID": "abc"}, settings=settings).request_id != "abc"


@pytest.mark.parametrize(
    ("existing", "exposed"),
    [
        ("", "X-Request-ID"),
        ("X-Total", "X-Total, X-Request-ID"),
        ("x-request-id, X-Total", None),
        ("*", None),
    ],
)
def test_the_id_is_echoed_and_exposed_beside_what_was_exposed_before(existing, exposed):
    scope = make({"X-Request-ID": "abc"})
    headers = scope.response_headers({"Access-Control-Expose-Headers": existing})
    assert headers.pop("X-Request-ID") == "abc"
    assert headers.get("Access-Control-Expose-Headers") == exposed


@pytest.mark.parametrize(
    ("forwarded", "proxies", "expected"),
    [
        (None, 0, "10.0.0.9"),
        ("1.1.1.1", 0, "10.0.0.9"),
        ("1.1.1.1", 1, "1.1.1.1"),
        ("6.6.6.6, 1.1.1.1", 1, "1.1.1.1"),
        ("6.6.6.6, 1.1.1.1, 10.0.0.1", 2, "1.1.1.1"),
        ("1.1.1.1", 2, "10.0.0.9"),
        ("[2001:db8::1]", 1, "2001:db8::1"),
        ("<script>", 1, "10.0.0.9"),
    ],
)
def test_the_client_is_as_many_places_from_the_right_as_there_are_proxies(forwarded, proxies, expected):
    assert client_address(forwarded, "10.0.0.9", trusted_proxies=proxies) == expected


@pytest.mark.parametrize(
    ("value", "size"), [("12", 12), ("-1", None), ("1e3", None), ("9" * 30, None), ("٣", None)]
)
def test_a_size_is_a_number_or_nothing(value, size):
    assert make({"Content-Length": value}).fields.get("http_request_size") == size


class Follower:
    """Notes what it is told, and what was bound then."""

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
    monkeypatch.setattr(request, "observers", [Broken(), found])
    return found


def test_an_observer_is_told_the_start_and_the_end_once_with_the_fields_bound(follower):
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


def test_an_observer_is_told_after_the_request_record_was_written(follower, caplog):
    follower.end = lambda scope, **known: follower.calls.append(len(caplog.records))
    with caplog.at_level(logging.INFO, LOGGER_NAME):
        make().finish(200)
    assert follower.calls == [1]


def test_an_observer_is_told_of_a_request_without_a_record_and_of_its_failure(follower):
    make(settings=RequestSettings(access_records=False)).finish(503)
    [(_, _, _, status, _, has_failed)] = follower.calls
    assert (status, has_failed) == (503, True)


def test_the_current_scope_is_the_inner_one_until_it_ends():
    outer, inner = make(), make()
    outer.enter()
    inner.enter()
    assert request.current_scope() is inner
    inner.leave()
    assert request.current_scope() is outer
    outer.leave()
    assert request.current_scope() is None
