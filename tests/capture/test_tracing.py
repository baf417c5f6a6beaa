import types

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hublog.capture import tracing

TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"


@pytest.mark.parametrize(
    "header",
    [
        f"00-{TRACE}-{SPAN}-01",
        f"00-{TRACE}-{SPAN}-00",
        f"  00-{TRACE}-{SPAN}-01\t",
        f"01-{TRACE}-{SPAN}-01",
        f"cc-{TRACE}-{SPAN}-01-what-the-future-will-bring",
    ],
)
def test_a_valid_header_gives_its_trace_and_its_span_as_the_parent(header):
    fields = tracing.trace_fields(header)
    assert (fields["trace_id"], fields["parent_span_id"]) == (TRACE, SPAN)
    assert fields["span_id"] != SPAN
    assert len(fields["span_id"]) == 16


@pytest.mark.parametrize(
    "header",
    [
        None,
        "",
        "hello",
        f"00-{TRACE.upper()}-{SPAN}-01",
        f"00-{'0' * 32}-{SPAN}-01",
        f"00-{TRACE}-{'0' * 16}-01",
        f"ff-{TRACE}-{SPAN}-01",
        f"00-{TRACE}-{SPAN}-01-extra",
        f"00-{TRACE}-{SPAN}-1",
        f"00-{TRACE}-{SPAN}-01\r\nX-Evil: 1",
        f"00-{TRACE}-{SPAN}-01" + "-x" * 300,
        f"00-{TRACE[:-1]}g-{SPAN}-01",
    ],
)
def test_an_invalid_header_is_ignored_as_a_whole(header):
    fields = tracing.trace_fields(header)
    assert set(fields) == {"trace_id", "span_id"}
    assert fields["trace_id"] != TRACE
    assert len(fields["trace_id"]) == 32


def test_an_active_span_of_opentelemetry_wins(monkeypatch):
    context = types.SimpleNamespace(is_valid=True, trace_id=0xABC, span_id=0xD)
    span = types.SimpleNamespace(get_span_context=lambda: context)
    fake = types.SimpleNamespace(get_current_span=lambda: span)
    monkeypatch.setitem(tracing.sys.modules, "opentelemetry.trace", fake)
    assert tracing.trace_fields(f"00-{TRACE}-{SPAN}-01") == {
        "trace_id": f"{0xABC:032x}",
        "span_id": f"{0xD:016x}",
    }
    context.is_valid = False
    assert tracing.trace_fields(f"00-{TRACE}-{SPAN}-01")["trace_id"] == TRACE


@pytest.mark.parametrize(
    "value",
    [
        "7",
        "a" * 128,
        "6f1c9f5e-0c7d-4a8e-9d4f-0f3a1a2b3c4d",
        "Root=1-67891233-abcdef012345678912345678",
        "a/b+c==",
    ],
)
def test_ids_of_the_usual_makers_are_taken(value):
    assert tracing.request_id([None, value]) == value


@given(st.text(st.characters(), max_size=300))
def test_whatever_comes_from_outside_the_id_is_safe_for_a_header_and_a_log(value):
    found = tracing.request_id([value])
    assert 1 <= len(found) <= 128
    assert found.isascii()
    assert found.isprintable()
    assert not set(found) & set(" \r\n\"'<>,;")


def test_the_first_valid_candidate_wins():
    assert tracing.request_id(["not valid!", None, "second", "third"]) == "second"
