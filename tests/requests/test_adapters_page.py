"""The page on adapters says what the code does: the adapter that it shows works."""

import logging
import re
from pathlib import Path
from wsgiref.util import setup_testing_defaults
from wsgiref.validate import validator

import pytest

from hublog import requests
from hublog.capture import context
from hublog.requests import RequestScope
from hublog.settings import RequestSettings
from hublog.testing import capture_records

PAGE = (Path(__file__).parents[2] / "docs" / "adapters.md").read_text()
WEB, TASK = (part.split("```")[0] for part in PAGE.split("```python\n")[1:])
logger = logging.getLogger("shop")


@pytest.fixture
def records():
    logging.getLogger().setLevel(logging.INFO)
    with capture_records() as captured:
        yield captured


@pytest.fixture
def serve(monkeypatch):
    """Serve one request with the adapter of the page around an application; return the response."""
    names = {}
    monkeypatch.setattr("hublog.setup_logging", lambda: None)
    exec(WEB, names)

    def serve(application):
        environ = {
            "HTTP_X_REQUEST_ID": "abc",
            "SCRIPT_NAME": "",
            "PATH_INFO": "/orders/7",
            "QUERY_STRING": "",
        }
        setup_testing_defaults(environ)
        started = []
        wrapped = validator(names["RequestLogging"](validator(application)))
        parts = wrapped(environ, lambda status, headers: started.append((status, dict(headers))))
        try:
            return b"".join(parts), *started
        finally:
            parts.close()

    return serve


def stream(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    for part in (b"a", b"bc"):
        logger.info("part")
        yield part


def refuse(environ, start_response):
    raise RuntimeError("out of stock")


def test_its_adapter_follows_a_streamed_response_to_its_end(serve, records):
    body, (status, headers) = serve(stream)
    assert (body, status, headers["X-Request-ID"]) == (b"abc", "200 OK", "abc")
    assert [(row["message"], row["request_id"]) for row in records.rows if row["logger_name"] == "shop"] == [
        ("part", "abc"),
        ("part", "abc"),
    ]
    [row] = [row for row in records.rows if row["logger_name"] == "hublog.request"]
    assert (row["event_name"], row["http_status_code"], row["http_path"], row["http_response_size"]) == (
        "request.finished",
        200,
        "/orders/7",
        3,
    )
    assert context.bound() == {}


def test_its_adapter_writes_the_record_of_a_request_that_fails(serve, records):
    with pytest.raises(RuntimeError, match="out of stock"):
        serve(refuse)
    [row] = [row for row in records.rows if row["logger_name"] == "hublog.request"]
    assert (row["level"], row["http_status_code"], row["exception_type"]) == ("ERROR", 500, "RuntimeError")
    assert context.bound() == {}


def test_its_task_logs_with_the_fields_of_its_sender(records):
    scope = RequestScope.from_environ(RequestSettings(), {"HTTP_X_REQUEST_ID": "abc"})
    scope.enter()
    exec(TASK, {})
    scope.leave()
    assert [(row["logger_name"], row["task_name"], row["request_id"]) for row in records.rows] == [
        ("mail", "send_mail", "abc"),
        ("hublog.task", "send_mail", "abc"),
    ]


def test_the_calls_that_it_names_exist():
    calls = set(re.findall(r"`([a-z_]+)\(", PAGE)) - {"read_settings"}
    assert {"enter", "finish", "leave", "suspend", "outgoing"} <= calls
    known = {
        *requests.__all__,
        *(attribute for name in requests.__all__ for attribute in dir(getattr(requests, name))),
    }
    assert calls - known == set()


def test_all_names_of_the_package_stand_there():
    assert [name for name in requests.__all__ if name not in PAGE] == []
