"""Werkzeug colours its log for a terminal: the console keeps that, hub and file have the text alone."""

import io
import json
import logging

import pytest
from werkzeug import serving
from werkzeug.serving import WSGIRequestHandler

from hublog import ConsoleFormatter, JsonFormatter

BOLD_RED = "\x1b[31m\x1b[1m"


@pytest.fixture
def streams(hub, fields, monkeypatch):
    """Werkzeug's logger with the formatters of file and console, and a hub."""
    monkeypatch.setattr(serving, "_log_add_style", True)
    logger = logging.getLogger("werkzeug")
    made = []
    for formatter in (JsonFormatter(), ConsoleFormatter()):
        handler = logging.StreamHandler(io.StringIO())
        handler.setFormatter(formatter)
        made.append(handler)
    monkeypatch.setattr(logger, "handlers", [*made, hub.handler()])
    monkeypatch.setattr(logger, "propagate", False)
    monkeypatch.setattr(logger, "level", logging.INFO)
    return made


def answered(path, code):
    """Log a request as Werkzeug's server does."""
    handler = object.__new__(WSGIRequestHandler)
    handler.client_address = ("127.0.0.1", 1)
    handler.command, handler.path, handler.request_version = "GET", path, "HTTP/1.1"
    handler.log_request(code)


@pytest.mark.parametrize("code", [101, 200, 302, 304, 404, 400, 500])
def test_no_colour_of_a_request_is_stored_and_the_console_shows_only_werkzeugs(streams, hub, code):
    answered("/caf%C3%A9?m=%0A%1B%5B8m", code)
    file, console = (handler.stream.getvalue() for handler in streams)
    row = hub.row()
    assert "\x1b" not in row["message"]
    assert row["message"].endswith(f' HTTP/1.1" {code} -')
    assert '"GET /' in row["message"]
    assert row["message_template"].endswith('"%s" %s %s')
    assert json.loads(file)["message"] == row["message"]
    assert console.count("\n") == 1
    assert "\x1b[8m" not in console
    assert ("\x1b" in console) == (code != 200)


def test_neither_are_the_colours_of_its_hints(streams, hub):
    logging.getLogger("werkzeug").warning(f"{BOLD_RED}WARNING: for development\x1b[0m\n * Running on x")
    row = hub.row()
    assert row["message"] == row["message_template"] == "WARNING: for development\n * Running on x"
    assert (
        streams[1]
        .stream.getvalue()
        .endswith(f"{BOLD_RED}WARNING: for development\x1b[0m\n     * Running on x\n")
    )
