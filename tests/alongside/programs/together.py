"""hublog, Sentry and OpenTelemetry in one application; prints what each of them has seen.

Arguments: ``flask`` or ``django``; the order in which the three are set up, such as
``sentry,hublog,otel``, where ``otel`` after ``hublog`` puts the span inside our request for Flask and
``otel`` before it around.
"""

import contextlib
import importlib
import json
import logging
import sys

import sentry_sdk
from opentelemetry import trace
from opentelemetry.propagate import extract
from opentelemetry.sdk._logs import LoggerProvider, LoggingHandler
from opentelemetry.sdk._logs.export import InMemoryLogRecordExporter, SimpleLogRecordProcessor
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from sentry_sdk.transport import Transport

import hublog
from hublog.runtime.registry import get_pipeline
from hublog.settings import read_settings
from hublog.testing import MemorySender

FRAMEWORK, ORDER = sys.argv[1], sys.argv[2].split(",")
TRACE, CALLER = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
HEADERS = {"traceparent": f"00-{TRACE}-{CALLER}-01", "X-Request-ID": "r-1"}
CONNECTION = "Endpoint=sb://127.0.0.1:1;SharedAccessKeyName=n;SharedAccessKey=k;UseDevelopmentEmulator=true"
SETTINGS = {
    "EVENTHUB_NAMESPACE_CONNECTION_STRING": CONNECTION,
    "FILE_LOGGING_ENABLED": False,
    "LOG_TO_STDOUT": False,
    "EVENTHUB_LOG_SPOOL": "memory",
}

log = logging.getLogger("shop.orders")
sender, spans, logs = MemorySender(), InMemorySpanExporter(), InMemoryLogRecordExporter()
tracer = trace.get_tracer("shop")
envelopes = []


class Memory(Transport):
    """Keeps what Sentry would send."""

    def capture_envelope(self, envelope):
        envelopes.append(envelope)


def order(number):
    """What the one view does."""
    log.info("order %d", number, extra={"cart": 3})
    with tracer.start_as_current_span("charge"):
        log.warning("slow payment")
    try:
        raise TimeoutError("bank")
    except TimeoutError:
        log.exception("payment failed")
    return "done"


def new():
    """A request that brings no trace."""
    log.info("new")
    return "done"


def set_up_sentry():
    module = importlib.import_module(f"sentry_sdk.integrations.{FRAMEWORK}")
    sentry_sdk.init(
        dsn="https://key@127.0.0.1/1",
        integrations=[getattr(module, f"{FRAMEWORK.title()}Integration")()],
        auto_enabling_integrations=False,  # those of all that is installed here take 1.4 s
        transport=Memory,
        enable_logs=True,
        auto_session_tracking=False,
        traces_sample_rate=1.0,
    )


def set_up_otel():
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(spans))
    trace.set_tracer_provider(provider)


def send_logs_to_otel():
    """Put OpenTelemetry's handler on the root logger; Django's LOGGING would take it away again."""
    of_logs = LoggerProvider()
    of_logs.add_log_record_processor(SimpleLogRecordProcessor(logs))
    logging.getLogger().addHandler(LoggingHandler(logging.INFO, logger_provider=of_logs))


@contextlib.contextmanager
def server_span(headers):
    with tracer.start_as_current_span("server", context=extract(headers), kind=trace.SpanKind.SERVER):
        yield


def flask():
    from flask import Flask

    from hublog.flask import HubLog

    app = Flask("shop")
    app.config.update(SETTINGS)
    app.add_url_rule("/orders/<int:number>", view_func=order)
    app.add_url_rule("/fail", view_func=fail)
    app.add_url_rule("/new", view_func=new)

    def instrument():
        set_up_otel()
        inner = app.wsgi_app

        def traced(environ, start_response):
            with server_span({"traceparent": environ.get("HTTP_TRACEPARENT", "")}):
                return inner(environ, start_response)

        app.wsgi_app = traced

    def connect():
        settings = read_settings(framework=app.config.get).settings
        get_pipeline(settings, framework="flask", make_sender=lambda settings: sender)
        HubLog(app)

    for step in ORDER:
        {"sentry": set_up_sentry, "otel": instrument, "hublog": connect}[step]()
    client = app.test_client()
    return lambda path, headers: client.get(path, headers=headers).status_code


def fail(request=None):
    raise LookupError("no such order")


def django():
    from django.conf import settings
    from django.http import HttpResponse
    from django.urls import path

    ours, theirs = "hublog.django.middleware.RequestContextMiddleware", f"{__name__}.traced"
    get_pipeline(framework="", make_sender=lambda settings: sender)
    for step in ORDER:
        if step == "hublog":
            settings.configure(
                SECRET_KEY="test",
                ALLOWED_HOSTS=["testserver"],
                ROOT_URLCONF=__name__,
                INSTALLED_APPS=["hublog.django"],
                MIDDLEWARE=[ours, theirs] if ORDER.index("hublog") < ORDER.index("otel") else [theirs, ours],
                LOGGING={
                    "version": 1,
                    "disable_existing_loggers": False,
                    "handlers": {"eventhub": {"class": "hublog.EventHubHandler"}},
                    "root": {"handlers": ["eventhub"], "level": "INFO"},
                },
                **SETTINGS,
            )
            import django

            django.setup()
        else:
            {"sentry": set_up_sentry, "otel": set_up_otel}[step]()
    module = sys.modules[__name__]
    module.urlpatterns = [
        path("orders/<int:number>", lambda request, number: HttpResponse(order(number))),
        path("fail", fail),
        path("new", lambda request: HttpResponse(new())),
    ]

    def traced(get_response):
        def middleware(request):
            with server_span({"traceparent": request.headers.get("traceparent", "")}):
                return get_response(request)

        return middleware

    module.traced = traced
    from django.test import Client

    client = Client(raise_request_exception=False)
    return lambda path, headers: client.get(path, headers=headers).status_code


def main():
    request = {"flask": flask, "django": django}[FRAMEWORK]()
    send_logs_to_otel()
    statuses = [
        request("/orders/7", HEADERS),
        request("/fail", HEADERS),
        request("/new", {"X-Request-ID": "r-2"}),
    ]
    with tracer.start_as_current_span("outside"):
        log.info("outside of a request")
    log.info("no span")
    assert hublog.flush(10)
    sentry_sdk.flush(5)
    items = [(item.type, item.payload.json) for envelope in envelopes for item in envelope.items]
    print(
        json.dumps(
            {
                "statuses": statuses,
                "rows": [json.loads(line) for body in sender.bodies for line in body.splitlines()],
                "events": [payload for kind, payload in items if kind == "event"],
                "sentry logs": [
                    entry for kind, payload in items if kind == "log" for entry in payload["items"]
                ],
                "spans": [
                    {
                        "name": span.name,
                        "trace_id": f"{span.context.trace_id:032x}",
                        "span_id": f"{span.context.span_id:016x}",
                    }
                    for span in spans.get_finished_spans()
                ],
                "logs": [
                    {"body": str(found.log_record.body), "span_id": f"{found.log_record.span_id:016x}"}
                    for found in logs.get_finished_logs()
                ],
            },
            default=str,
        )
    )


main()
