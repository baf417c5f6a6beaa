import json
import logging
import subprocess
import sys
import threading

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from hublog.capture import context, tracing
from hublog.capture.formatter import LineFormatter
from hublog.requests.request_scope import RequestScope
from hublog.settings import RequestSettings, ServiceSettings

TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
TRACER = TracerProvider().get_tracer("shop")


@pytest.fixture(autouse=True)
def clean(monkeypatch):
    monkeypatch.setattr(context, "current", context.stored)
    token = context.enter({})
    yield
    context.leave(token)


@pytest.fixture
def encode():
    """Return the row that a record makes just now."""
    formatter = LineFormatter(ServiceSettings())

    def row(**added):
        record = logging.LogRecord("shop", logging.INFO, "shop.py", 1, "hello", (), None)
        record.__dict__.update(added)
        return json.loads(formatter.encode(record))

    return row


def ids(span):
    found = span.get_span_context()
    return f"{found.trace_id:032x}", f"{found.span_id:016x}"


def request(headers=None):
    lowered = headers or {}
    return RequestScope(RequestSettings(), lambda name: lowered.get(name.lower()), method="GET", path="/")


def test_an_active_span_wins_over_the_header_at_the_start_of_a_request():
    with TRACER.start_as_current_span("server") as span:
        fields = tracing.trace_fields(f"00-{TRACE}-{SPAN}-01")
    assert (fields["trace_id"], fields["span_id"]) == ids(span)
    assert fields["trace_sampled"] is True
    assert "parent_span_id" not in fields


def test_a_span_of_a_remote_parent_names_it_and_its_state():
    parent = TraceContextTextMapPropagator().extract(
        {"traceparent": f"00-{TRACE}-{SPAN}-01", "tracestate": "a=1"}
    )
    with TRACER.start_as_current_span("server", context=parent) as span:
        fields = tracing.trace_fields(None)
    assert fields == {
        "trace_id": TRACE,
        "span_id": ids(span)[1],
        "parent_span_id": SPAN,
        "trace_sampled": True,
        "tracestate": "a=1",
    }


def test_without_a_span_the_header_counts():
    assert tracing.trace_fields(f"00-{TRACE}-{SPAN}-01")["trace_id"] == TRACE


def test_a_span_that_is_not_sampled_is_said_to_be_so():
    tracer = TracerProvider(sampler=ALWAYS_OFF).get_tracer("shop")
    with tracer.start_as_current_span("server"):
        assert tracing.trace_fields(None)["trace_sampled"] is False


def test_a_record_inside_a_span_carries_its_ids_and_the_next_one_the_requests(encode):
    scope = request({"traceparent": f"00-{TRACE}-{SPAN}-01", "tracestate": "a=1"})
    scope.enter()
    before = encode()
    with TRACER.start_as_current_span("outer") as outer:
        with TRACER.start_as_current_span("inner") as inner:
            within = [encode(), encode(cart=1)]
        between = encode()
    after = encode()
    scope.leave()
    assert (before["trace_id"], before["parent_span_id"]) == (TRACE, SPAN)
    assert before["extra"] == {"trace_sampled": True, "tracestate": "a=1"}
    assert [(row["trace_id"], row["span_id"]) for row in within] == [ids(inner)] * 2
    assert within[0]["parent_span_id"] == ids(outer)[1]
    assert within[1]["extra"] == {"trace_sampled": True, "cart": 1}
    assert (between["trace_id"], between["span_id"]) == ids(outer)
    assert "parent_span_id" not in between
    assert after["span_id"] == before["span_id"]
    assert all(row["request_id"] == scope.request_id for row in (before, *within, between, after))


def test_a_record_made_in_the_slow_way_carries_the_ids_of_the_span_too(encode):
    tracing.active_fields()
    with TRACER.start_as_current_span("inner") as inner:
        row = encode(stack_info="Stack:")
    assert (row["trace_id"], row["span_id"]) == ids(inner)


def test_what_is_bound_inside_a_span_is_in_its_records(encode):
    scope = request()
    scope.enter()
    with TRACER.start_as_current_span("inner") as inner:
        encode()
        context.bind(tenant_id="acme")
        row = encode()
    scope.leave()
    assert (row["tenant_id"], row["span_id"]) == ("acme", ids(inner)[1])


def test_a_span_outside_of_any_request_gives_its_ids_to_records(encode):
    tracing.active_fields()
    with TRACER.start_as_current_span("job") as span:
        row = encode()
    assert (row["trace_id"], row["span_id"]) == ids(span)
    assert "trace_id" not in encode()


def test_spans_of_threads_that_log_at_once_are_not_mixed_up(encode):
    tracing.active_fields()
    wrong = []

    def work():
        for _ in range(200):
            with TRACER.start_as_current_span("job") as span:
                row = encode()
                if (row["trace_id"], row["span_id"]) != ids(span):
                    wrong.append(row)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_a_request_takes_on_the_span_that_instrumentation_opens_inside_of_it():
    scope = request({"traceparent": f"00-{TRACE}-{SPAN}-01"})
    scope.enter()
    context.bind(tenant_id="acme")
    with TRACER.start_as_current_span("server") as span:
        scope.use_active_span()
    bound = dict(context.bound())
    scope.leave()
    assert (scope.fields["trace_id"], scope.fields["span_id"]) == ids(span)
    assert (bound["span_id"], bound["tenant_id"]) == (ids(span)[1], "acme")
    assert "parent_span_id" not in bound


def test_a_tracer_that_raises_costs_a_record_nothing(encode, monkeypatch):
    class Broken:
        def get_current_span(self):
            raise LookupError("broken")

    tracing.active_fields()
    monkeypatch.setitem(sys.modules, "opentelemetry.trace", Broken())
    assert tracing.active_fields() == {}
    assert encode()["message"] == "hello"
    monkeypatch.delitem(sys.modules, "opentelemetry.trace")
    assert encode()["message"] == "hello"


def test_a_program_without_opentelemetry_asks_no_record_for_a_span():
    source = """
import sys
from hublog.capture import context
from hublog.requests.request_scope import RequestScope
from hublog.settings import RequestSettings
scope = RequestScope(RequestSettings(), {}.get, method="GET", path="/")
scope.enter()
print(context.current is context.stored, any(name.startswith("opentelemetry") for name in sys.modules))
"""
    result = subprocess.run([sys.executable, "-c", source], capture_output=True, text=True, check=True)
    assert result.stdout.split() == ["True", "False"]


def test_a_span_that_is_not_recorded_is_followed_too(encode):
    tracing.active_fields()
    remote = TraceContextTextMapPropagator().extract({"traceparent": f"00-{TRACE}-{SPAN}-00"})
    with trace.use_span(trace.get_current_span(remote)):
        row = encode()
    assert (row["trace_id"], row["span_id"]) == (TRACE, SPAN)
