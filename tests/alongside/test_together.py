"""hublog, Sentry and OpenTelemetry in one application: each gets all, once, in any order of set-up."""

import pytest
from opentelemetry.sdk.trace import TracerProvider
from tests.alongside.programs.run import run

from hublog.capture import context

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
#: What the application logs, in order; what each framework says of the failure stands between.
BEFORE = ["order 7", "slow payment", "payment failed"]
AFTER = ["new", "outside of a request", "no span"]
FAILURE = {"flask": "Exception on /fail [GET]", "django": "Internal Server Error: /fail"}
CASES = [
    (framework, order)
    for framework in ("flask", "django")
    for order in ("sentry,hublog,otel", "otel,hublog,sentry", "hublog,sentry,otel")
]


@pytest.fixture(scope="module", params=CASES, ids="-".join)
def seen(request, tmp_path_factory):
    framework, order = request.param
    found = run("together.py", framework, order, folder=tmp_path_factory.mktemp("together"))
    assert found["statuses"] == [200, 500, 200]
    return {**found, "framework": framework}


def of_application(messages):
    """Leave out our request records, and what OpenTelemetry says of the request in Django's record."""
    return [text for text in messages if not text.startswith(("GET ", "Invalid type"))]


def test_each_of_the_three_gets_each_record_once(seen):
    expected = sorted([*BEFORE, FAILURE[seen["framework"]], *AFTER])
    assert sorted(of_application(row["message"] for row in seen["rows"])) == expected
    assert sorted(of_application(entry["body"] for entry in seen["sentry logs"])) == expected
    assert sorted(of_application(entry["body"] for entry in seen["logs"])) == expected


def test_our_request_record_is_there_once_for_each_request(seen):
    found = [row["message"].split()[:3] for row in seen["rows"] if row["record_type"] == "request"]
    assert found == [["GET", "/orders/7", "200"], ["GET", "/fail", "500"], ["GET", "/new", "200"]]


def test_each_failure_is_one_event_in_sentry_and_one_row(seen):
    events = [[value["type"] for value in event["exception"]["values"]] for event in seen["events"]]
    assert events == [["TimeoutError"], ["LookupError"]]
    rows = [row["exception_type"] for row in seen["rows"] if "exception_type" in row]
    assert rows == ["TimeoutError", "LookupError"]


def test_sentrys_breadcrumbs_are_the_records_before(seen):
    crumbs = [crumb["message"] for crumb in seen["events"][0]["breadcrumbs"]["values"] if "message" in crumb]
    assert crumbs[-2:] == ["order 7", "slow payment"]


def test_rows_have_the_ids_of_the_active_span(seen):
    spans = {span["name"]: span for span in reversed(seen["spans"])}  # the first of each name
    rows = {row["message"]: row for row in seen["rows"]}
    for message, name in (("order 7", "server"), ("slow payment", "charge"), ("payment failed", "server")):
        found = (rows[message]["trace_id"], rows[message]["span_id"])
        assert found == (TRACE, spans[name]["span_id"]), message
    outside = rows["outside of a request"]
    assert (outside["trace_id"], outside["span_id"]) == (
        spans["outside"]["trace_id"],
        spans["outside"]["span_id"],
    )
    assert "span_id" not in rows["no span"]
    of_logs = {entry["body"]: entry["span_id"] for entry in seen["logs"]}
    assert [of_logs[message] for message in BEFORE] == [rows[message]["span_id"] for message in BEFORE]


def test_all_rows_of_a_request_share_its_trace(seen):
    of_requests = [row for row in seen["rows"] if row.get("request_id") == "r-1"]
    assert len(of_requests) >= 6
    assert {row["trace_id"] for row in of_requests} == {TRACE}


def test_all_rows_of_a_request_that_brought_no_trace_share_one(seen):
    of_request = [row for row in seen["rows"] if row.get("request_id") == "r-2"]
    assert {row["record_type"] for row in of_request} == {"log", "request"}
    assert len({row["trace_id"] for row in of_request}) == 1


def test_a_program_without_requests_has_the_ids_of_its_spans_too(alone, hub, monkeypatch):
    monkeypatch.setattr(context, "current", context.stored)
    with TracerProvider().get_tracer("shop").start_as_current_span("job") as span:
        alone.info("order")
    alone.info("order")
    inside, outside = hub.rows()
    assert inside["span_id"] == f"{span.get_span_context().span_id:016x}"
    assert "span_id" not in outside
