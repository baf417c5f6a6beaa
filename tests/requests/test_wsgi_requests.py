"""A WSGI application without a framework; the adapters' tests have the rest."""

import logging
from functools import partial
from wsgiref.util import setup_testing_defaults

import pytest

from hublog.capture import context
from hublog.requests.request_record import LOGGER_NAME
from hublog.requests.wsgi_requests import response_of, serve
from hublog.settings import RequestSettings


@pytest.fixture
def records(caplog):
    with caplog.at_level(logging.INFO, LOGGER_NAME):
        yield lambda: caplog.records


def answer(application, **known):
    """Return the body, the status and the headers of one response."""
    environ = {"SCRIPT_NAME": "", "PATH_INFO": "/orders/7", **known}
    setup_testing_defaults(environ)
    started = []
    parts = partial(serve, application, RequestSettings())(environ, lambda *start: started.append(start))
    body = b"".join(parts)
    if hasattr(parts, "close"):
        parts.close()
    [(status, headers)] = started
    return body, status, dict(headers)


def greet(environ, start_response):
    start_response("200 OK", [("Content-Length", "2")])
    return [b"hi"]


def test_a_response_has_the_id_and_the_request_one_record(records):
    body, status, headers = answer(greet, HTTP_X_REQUEST_ID="abc")
    assert (body, status, headers["X-Request-ID"]) == (b"hi", "200 OK", "abc")
    [record] = records()
    assert (record.http_status_code, record.http_response_size) == (200, 2)
    assert context.bound() == {}


def test_an_application_inside_another_one_that_is_followed_writes_no_record_of_its_own(records):
    answer(partial(serve, greet, RequestSettings()))
    assert len(records()) == 1


def test_a_streamed_body_ends_the_request_when_it_is_closed(records):
    ended = []

    def stream(environ, start_response):
        response_of(environ).is_streamed = True
        start_response("200 OK", [])

        def parts():
            yield b"a"
            ended.append(len(records()))
            yield b"bc"

        return parts()

    assert answer(stream)[0] == b"abc"
    [record] = records()
    assert (ended, record.http_response_size) == ([0], 3)


def test_an_exception_goes_on_and_stands_in_the_record(records):
    def fail(environ, start_response):
        raise LookupError("no such order")

    with pytest.raises(LookupError):
        answer(fail)
    [record] = records()
    assert (record.levelname, record.http_status_code, record.exc_info[0]) == ("ERROR", 500, LookupError)
    assert context.bound() == {}
