"""Records of frameworks and servers have the status of a response in its column, no request in ``extra``."""

import logging
import socket

import pytest
from django.conf import settings
from django.core.servers.basehttp import WSGIRequestHandler as DjangoHandler
from django.http import HttpRequest


@pytest.fixture(autouse=True)
def project():
    """A request of Django's needs settings; without the tests of the adapter there are none."""
    if not settings.configured:
        settings.configure()


def handled(alone, name, message, args=(), **extra):
    record = logging.getLogger(name).makeRecord(name, 30, "p", 1, message, args, None, extra=extra)
    alone.handlers[0].handle(record)
    return record


@pytest.mark.parametrize(
    "name", ["django.request", "django.server", "django.security.DisallowedHost", "django.security.csrf"]
)
@pytest.mark.parametrize("of", [HttpRequest, socket.socket])
def test_what_django_adds_is_in_columns(alone, hub, name, of):
    request = of()
    record = handled(alone, name, "Not Found", status_code=404, request=request)
    row = hub.row()
    assert row["http_status_code"] == 404
    assert "extra" not in row
    assert (record.status_code, record.request) == (404, request)  # as Django's own handlers know it
    if of is socket.socket:
        request.close()


def test_a_line_of_djangos_own_server_is_read(alone, hub, monkeypatch):
    logger = logging.getLogger("django.server")
    monkeypatch.setattr(logger, "handlers", alone.handlers)
    monkeypatch.setattr(logger, "level", logging.INFO)
    monkeypatch.setattr(logger, "propagate", False)
    handler = object.__new__(DjangoHandler)
    handler.client_address, handler.requestline, handler.request = ("127.0.0.1", 1), "GET / HTTP/1.1", None
    handler.log_request(302, 5)
    row = hub.row()
    assert (row["http_status_code"], row["message"]) == (302, '"GET / HTTP/1.1" 302 5')
    assert set(row.get("extra", {})) <= {"request"}


@pytest.mark.parametrize("status", [None, "404", 0, -1, 10_000, True])
def test_a_status_that_is_none_stays_where_it_was(alone, hub, status):
    handled(alone, "django.request", "odd", status_code=status, request=HttpRequest())
    row = hub.row()
    assert "http_status_code" not in row
    assert row["extra"] == {"status_code": status}


def test_what_the_application_itself_adds_under_these_names_stays(alone, hub):
    handled(alone, "shop", "mine", status_code=404, request="a text")
    handled(alone, "django.request", "mine", status_code=404, request={"id": 7}, http_status_code=418)
    first, second = hub.rows()
    assert (first["extra"], "http_status_code" in first) == ({"status_code": 404, "request": "a text"}, False)
    assert (second["extra"], second["http_status_code"]) == ({"request": {"id": 7}}, 418)


@pytest.mark.parametrize(
    ("name", "line", "status"),
    [
        ("werkzeug", ('127.0.0.1 - - [now] "%s" %s %s', ("GET / HTTP/1.1", "200", "-")), 200),
        ("werkzeug", ('127.0.0.1 - - [now] "%s" %s %s', ("\x1b[33mGET / HTTP/1.1\x1b[0m", 404, "-")), 404),
        ("werkzeug", ('127.0.0.1 - - [now] "%s" %s %s', ("GET / HTTP/1.1", "-", "-")), None),
        ("werkzeug", ("Press CTRL+C to quit", ()), None),
        ("uvicorn.access", ('%s - "%s %s HTTP/%s" %d', ("127.0.0.1:1", "GET", "/", "1.1", 503)), 503),
        ("uvicorn.access", ("%s %s", ("a", 200)), None),
        ("gunicorn.access", ('%(h)s "%(r)s" %(s)s', {"h": "1", "r": "GET /", "s": "301"}), 301),
        ("gunicorn.access", ("%(h)s", {"h": "1"}), None),
        ("shop", ('"%s" %s %s', ("GET / HTTP/1.1", "200", "-")), None),
    ],
)
def test_an_access_line_of_a_server_has_its_status(alone, hub, name, line, status):
    message, args = line
    handled(alone, name, message, (args,) if isinstance(args, dict) else args)
    assert hub.row().get("http_status_code") == status
