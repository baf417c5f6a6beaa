import json
import logging
import subprocess
import sys
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hublog.capture import context
from hublog.requests import task_scope
from hublog.requests.task_scope import TaskOutcome, TaskScope, accepted, outgoing, traceparent
from hublog.testing import FakeClock

TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
CARRIED = {
    "trace_id": TRACE,
    "parent_span_id": SPAN,
    "request_id": "req-1",
    "correlation_id": "corr-1",
    "tenant_id": "Äpfel & Söhne",
    "user_id": "ann@shop.example",
    "user_authenticated": True,
}


@pytest.fixture(autouse=True)
def clean():
    token = context.enter({})
    yield
    context.leave(token)


def make(**known):
    known = {"name": "shop.pay", "task_id": "t-1", "carried": {}, "now": FakeClock(), **known}
    return TaskScope(**known)


def test_what_is_bound_travels_and_nothing_else():
    bound = {name: value for name, value in CARRIED.items() if name != "parent_span_id"}
    context.enter(
        {**bound, "span_id": SPAN, "parent_span_id": "1" * 16, "http_path": "/x", "basket": object()}
    )
    assert outgoing() == CARRIED
    assert accepted(json.loads(json.dumps(outgoing()))) == CARRIED


def test_nothing_travels_when_nothing_is_bound():
    assert outgoing() == {}
    context.bind(basket=3, http_path="/")
    assert outgoing() == {}


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (7, "7"),
        (UUID(int=7), "00000000-0000-0000-0000-000000000007"),
        (True, None),
        (1.5, None),
        (None, None),
        ("", None),
        ("x" * 128, "x" * 128),
        ("x" * 129, None),
        ("a\nb", None),
        ("a\x00", None),
        ("\u202eabc", None),
        pytest.param("\ud800", None, id="half a character"),
        (10**400, None),
        pytest.param(10**5000, None, id="a huge number"),
        (object(), None),
    ],
)
def test_a_user_travels_as_a_short_text(value, expected):
    context.bind(user_id=value)
    assert outgoing().get("user_id") == expected


def test_a_text_of_a_class_of_its_own_travels_as_a_plain_one():
    class Safe(str):
        __slots__ = ()

        def __str__(self):
            raise LookupError

    context.bind(tenant_id=Safe("acme"))
    assert type(outgoing()["tenant_id"]) is str
    assert outgoing() == {"tenant_id": "acme"}


@pytest.mark.parametrize("value", [None, "text", 7, [], [("request_id", "a")], b"x", object()])
def test_what_is_no_mapping_is_ignored(value):
    assert accepted(value) == {}


@pytest.mark.parametrize(
    "value",
    [
        {"request_id": "a\r\nb"},
        {"request_id": "a" * 129},
        {"request_id": 7, "correlation_id": ["a"]},
        {"user_id": {"$ne": None}},
        {"user_authenticated": 1},
        {"trace_id": TRACE},
        {"trace_id": TRACE, "parent_span_id": "0" * 16},
        {"trace_id": "0" * 32, "parent_span_id": SPAN},
        {"trace_id": TRACE.upper(), "parent_span_id": SPAN},
        {"trace_id": f"{TRACE}-{SPAN}", "parent_span_id": SPAN},
        {"trace_sampled": True, "trace_id": TRACE},
        {"level": "CRITICAL", "record_type": "request", "message": "x", "__class__": "x", 7: 8},
    ],
)
def test_what_is_not_valid_is_ignored(value):
    assert accepted(value) == {}
    assert accepted({**value, "tenant_id": "acme"}) == {"tenant_id": "acme"}


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=8,
)


@given(
    st.dictionaries(
        st.sampled_from([*CARRIED, "trace_sampled", "span_id", "other"]) | st.text(),
        json_values | st.text(max_size=300),
    )
)
def test_whatever_is_accepted_is_small_and_accepted_again(value):
    found = accepted(value)
    assert set(found) <= {*CARRIED, "trace_sampled"}
    assert len(json.dumps(found, ensure_ascii=False)) < 1024
    assert accepted(found) == found


def test_a_trace_has_a_header_that_says_it_is_recorded():
    assert traceparent(CARRIED) == f"00-{TRACE}-{SPAN}-01"
    assert traceparent({**CARRIED, "trace_sampled": True}) == f"00-{TRACE}-{SPAN}-01"
    assert traceparent({"request_id": "a"}) == ""


def test_a_trace_that_the_caller_does_not_record_stays_so():
    context.enter({"trace_id": TRACE, "span_id": SPAN, "trace_sampled": False})
    assert traceparent(outgoing()) == f"00-{TRACE}-{SPAN}-00"
    assert make(carried=outgoing()).fields["trace_sampled"] is False


def test_a_run_continues_the_trace_with_a_span_of_its_own():
    fields = make(carried=CARRIED, queue="mail", retries=2).fields
    assert (fields["trace_id"], fields["parent_span_id"]) == (TRACE, SPAN)
    assert fields["span_id"] not in (SPAN, "")
    assert {name: fields[name] for name in ("task_id", "task_name", "task_queue", "task_retries")} == {
        "task_id": "t-1",
        "task_name": "shop.pay",
        "task_queue": "mail",
        "task_retries": 2,
    }
    assert {name: fields[name] for name in CARRIED} == CARRIED


def test_it_is_not_said_of_a_trace_whether_it_is_recorded_where_it_is_unknown():
    assert "trace_sampled" not in make(carried=CARRIED).fields


SPANS = """
from opentelemetry.sdk.trace import TracerProvider
from hublog.capture import context
from hublog.requests.task_scope import TaskScope, outgoing, traceparent

tracer = TracerProvider().get_tracer("shop")
context.enter({"trace_id": "1" * 32, "span_id": "2" * 16, "request_id": "req-1"})
with tracer.start_as_current_span("publish") as span:
    carried = outgoing()
    ids = span.get_span_context()
    assert carried["request_id"] == "req-1"
    assert traceparent(carried) == f"00-{ids.trace_id:032x}-{ids.span_id:016x}-01"
assert outgoing()["trace_id"] == "1" * 32
with tracer.start_as_current_span("run") as span:
    fields = TaskScope(name="shop.pay", task_id="t-1", carried=carried).fields
    ids = span.get_span_context()
    assert (fields["trace_id"], fields["span_id"]) == (f"{ids.trace_id:032x}", f"{ids.span_id:016x}")
    assert fields["request_id"] == "req-1"
"""


def test_opentelemetrys_active_span_is_the_one_that_sends_and_the_one_that_runs():
    subprocess.run([sys.executable, "-c", SPANS], timeout=60, check=True)


def test_a_run_without_a_trace_begins_one_or_takes_that_of_the_header():
    assert "parent_span_id" not in make().fields
    assert make(header=f"00-{TRACE}-{SPAN}-00").fields["parent_span_id"] == SPAN
    assert make(carried=CARRIED, header=f"00-{'1' * 32}-{SPAN}-00").fields["trace_id"] == TRACE


@pytest.mark.parametrize("header", [b"x", 7, ["a"], {"a": 1}, "00-x", object()])
def test_a_header_that_is_none_is_ignored(header):
    assert "parent_span_id" not in make(header=header).fields


@pytest.mark.parametrize("retries", [-1, 1 << 31, True, "3", None, 1.5])
def test_retries_that_are_no_number_of_tries_are_none(retries):
    assert make(retries=retries).fields["task_retries"] == 0


def test_names_from_the_queue_are_cut():
    fields = make(name="n" * 1_000, task_id="i" * 1_000, queue="q" * 1_000).fields
    assert {len(fields[name]) for name in ("task_name", "task_id", "task_queue")} == {256}


def test_fields_are_bound_between_enter_and_leave_in_place_of_others():
    context.bind(basket=3)
    scope = make(carried=CARRIED)
    scope.enter()
    assert context.bound() == scope.fields
    context.bind(step=1)
    scope.leave()
    scope.leave()
    assert context.bound() == {"basket": 3}


def test_the_running_task_is_found_by_its_id_and_takes_those_inside_with_it():
    outer, inner = make(task_id="outer"), make(task_id="inner")
    outer.enter()
    inner.enter()
    assert task_scope.running("inner") is inner
    assert task_scope.running("outer") is outer
    assert task_scope.running("other") is None
    outer.leave()  # the inner one never ended
    assert task_scope.running("inner") is None
    assert context.bound() == {}


def test_nothing_is_left_after_forgetting():
    make().enter()
    task_scope.forget()
    assert task_scope.running("t-1") is None
    assert context.bound() == {}


@pytest.mark.parametrize(
    ("outcome", "level"),
    [
        (TaskOutcome.SUCCEEDED, "INFO"),
        (TaskOutcome.FAILED, "ERROR"),
        (TaskOutcome.RETRIED, "WARNING"),
        (TaskOutcome.REJECTED, "INFO"),
        (TaskOutcome.IGNORED, "INFO"),
    ],
)
def test_one_record_says_how_it_ended(caplog, outcome, level):
    clock = FakeClock()
    scope = make(now=clock)
    clock.advance(0.0123)
    with caplog.at_level(logging.INFO, task_scope.LOGGER_NAME):
        scope.finish(outcome)
        scope.finish(TaskOutcome.FAILED)
    [record] = caplog.records
    assert (record.levelname, record.getMessage()) == (level, f"shop.pay {outcome} 12.3 ms")
    assert (record.record_type, record.event_name, record.duration_ms) == ("task", f"task.{outcome}", 12.3)
