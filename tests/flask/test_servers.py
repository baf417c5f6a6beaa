"""Flask under greenlets, OpenTelemetry and servers that leave entries out."""

import logging
import subprocess
import sys

import pytest
from flask import Flask
from opentelemetry import context as otel_context
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from werkzeug.test import EnvironBuilder

from hublog.capture import context
from hublog.flask import HubLog

LOGGER = logging.getLogger("shop.views")
TRACER = TracerProvider().get_tracer("shop")
TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"

GREENLETS = """
from gevent import monkey
monkey.patch_all()
import json, logging, threading, urllib.request
import gevent
from gevent.pywsgi import WSGIServer
from flask import Flask, Response
import hublog
from hublog.capture import context
from hublog.flask import HubLog

app = Flask("shop")
app.config.update(EVENTHUB_LOGGING_ENABLED=False, FILE_LOGGING_ENABLED=False, LOG_TO_STDOUT=False)
HubLog(app)
rows = []

class Keep(logging.Handler):
    def emit(self, record):
        rows.append((record.name, record.getMessage(), context.bound().get("request_id"),
                     context.bound().get("cart"), getattr(record, "http_status_code", None)))

logging.getLogger().addHandler(Keep())
logging.getLogger().setLevel("INFO")

@app.get("/work/<name>")
def work(name):
    hublog.bind(cart=name)
    for _ in range(5):
        logging.getLogger("shop.views").info(name)
        gevent.sleep(0.001)
    return "ok"

@app.get("/stream/<name>")
def stream(name):
    def parts():
        for _ in range(5):
            logging.getLogger("shop.views").info(name)
            yield b"x" * 1000
            gevent.sleep(0.001)
    return Response(parts())

@app.get("/slow/<name>")
def slow(name):
    gevent.sleep(60)

server = WSGIServer(("127.0.0.1", 0), app, log=None, error_log=None)
server.start()

def ask(path, name):
    request = urllib.request.Request(
        f"http://127.0.0.1:{server.server_port}/{path}/{name}", headers={"X-Request-ID": name})
    with urllib.request.urlopen(request, timeout=30) as response:
        response.read()

jobs = [gevent.spawn(ask, path, f"{path}-{number}") for number in range(20) for path in ("work", "stream")]
gevent.joinall(jobs, timeout=60, raise_error=True)

killed = gevent.spawn(app.test_client().get, "/slow/killed", headers={"X-Request-ID": "killed"})
gevent.sleep(0.01)
killed.kill()
server.stop()

mine = [row for row in rows if row[0] == "shop.views"]
ends = [row for row in rows if row[0] == "hublog.request"]
print(json.dumps({
    "views": len(mine), "mixed": [row for row in mine if row[1] != row[2]],
    "carts": [row for row in ends if row[2].startswith("work") and row[3] != row[2]],
    "ends": len(ends), "ids": len({row[2] for row in ends}),
    "killed": [row[4] for row in ends if row[2] == "killed"], "left": dict(context.bound()),
}))
"""


def test_greenlets_that_switch_within_a_request_keep_their_own_fields(tmp_path):
    result = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", GREENLETS],
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
        timeout=100,
    )
    assert result.stderr == ""
    assert result.stdout.strip() == (
        '{"views": 200, "mixed": [], "carts": [], "ends": 41, "ids": 41, "killed": [499], "left": {}}'
    )


@pytest.fixture(autouse=True)
def _asks_for_spans(monkeypatch):
    monkeypatch.setattr(context, "current", context.stored)


def ids(span):
    found = span.get_span_context()
    return f"{found.trace_id:032x}", f"{found.span_id:016x}"


def of(fields):
    return fields["trace_id"], fields["span_id"]


@pytest.mark.parametrize("is_outside", [False, True])
def test_instrumentation_gives_the_request_its_ids_on_either_side(seen, is_outside):
    """As OpenTelemetry's own does: its span is opened in a hook of the app, or around it."""
    spans = []
    app = Flask("shop")
    app.config.update(EVENTHUB_LOGGING_ENABLED=False, FILE_LOGGING_ENABLED=False, LOG_TO_STDOUT=False)
    HubLog(app)
    logging.getLogger().setLevel(logging.INFO)

    @app.before_request
    def begin():
        span = TRACER.start_span("server")
        spans.append((span, otel_context.attach(trace.set_span_in_context(span))))

    @app.teardown_request
    def end(error):
        otel_context.detach(spans[-1][1])

    if is_outside:
        app.before_request_funcs[None].reverse()

    @app.get("/")
    def index():
        LOGGER.info("server")
        with TRACER.start_as_current_span("inner") as inner:
            spans.append((inner, spans[-1][1]))
            LOGGER.info("inner")
        spans.pop()
        return "ok"

    seen.emit = lambda record: seen.records.append(
        (record.name, record.getMessage(), {**context.current().fields, **vars(record)})
    )
    app.test_client().get("/", headers={"traceparent": f"00-{TRACE}-{SPAN}-01"})
    [(server, _)] = spans
    found = {message: fields for _, message, fields in seen.records if message in ("server", "inner")}
    assert of(found["server"]) == ids(server)
    assert found["inner"]["trace_id"] != TRACE
    assert of(found["inner"])[1] != ids(server)[1]
    [(_, request)] = seen.of("hublog.request")
    assert of(request) == ids(server)
    assert request["http_route"] == "/"


@pytest.mark.parametrize("name", ["HTTP_HOST", "REMOTE_ADDR", "SCRIPT_NAME", "CONTENT_LENGTH"])
def test_an_entry_that_a_server_leaves_out_changes_nothing(make, seen, name):
    app = make()
    environ = {**EnvironBuilder("/").get_environ(), name: None}
    answers = []
    app.wsgi_app(environ, lambda status, headers, exc_info=None: answers.append(status))
    assert answers == ["404 NOT FOUND"]
    assert seen.one("hublog.request")["http_status_code"] == 404


def test_a_dump_of_the_config_masks_the_key_of_the_connection(make):
    key = "c2VjcmV0LWtleS1vZi10aGUtaHVi"
    connection = f"Endpoint=sb://x.servicebus.windows.net/;SharedAccessKeyName=n;SharedAccessKey={key}"
    app = make(EVENTHUB_NAMESPACE_CONNECTION_STRING=connection)
    assert key not in repr(app.config)
    assert app.config["EVENTHUB_NAMESPACE_CONNECTION_STRING"] == connection
