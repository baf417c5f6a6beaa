import re

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from opentelemetry import trace as otel
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

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


#: What is close to a valid header: parts that are right, and parts that are wrong in one way.
_HEX = st.text("0123456789abcdef", min_size=0, max_size=40)
_PARTS = (
    st.sampled_from(["00", "01", "cc", "ff", "0", "000", "0G", ""]) | _HEX,
    st.sampled_from([TRACE, TRACE.upper(), "0" * 32, TRACE[:-1], TRACE + "a"]) | _HEX,
    st.sampled_from([SPAN, SPAN.upper(), "0" * 16, SPAN[:-1], SPAN + "a"]) | _HEX,
    st.sampled_from(["00", "01", "02", "03", "ff", "1", "0x", "-1"]) | _HEX,
)
_NEAR = st.builds(
    lambda parts, before, after: f"{before}{'-'.join(parts)}{after}",
    st.tuples(*_PARTS),
    st.sampled_from(["", " ", "\t \t", "\n", "x"]),
    st.sampled_from(["", " ", "\t", "-", "-extra", "-" + "x" * 500, "\n", "\r\n", " x", "\u3000"]),
)


@given(_NEAR | st.text(max_size=80))
@settings(max_examples=1_000, deadline=None)
@example(f"00-{TRACE}-{SPAN}-01")
def test_a_header_is_read_as_opentelemetry_reads_it(header):
    context = TraceContextTextMapPropagator().extract({"traceparent": header})
    theirs = otel.get_current_span(context).get_span_context()
    ours = tracing.read_traceparent(header)
    assert (ours is not None) == theirs.is_valid
    if ours is not None:
        assert ours == (f"{theirs.trace_id:032x}", f"{theirs.span_id:016x}", theirs.trace_flags.sampled)


_MEMBERS = st.lists(
    st.builds(
        "{}={}".format,
        st.from_regex(r"[a-z][a-z0-9_*/-]{0,6}(@[a-z]{1,3})?", fullmatch=True) | st.text(max_size=4),
        st.text("abc :/-~!", max_size=8) | st.just("x" * 256) | st.just("x" * 257),
    )
    | st.sampled_from(["", " ", "a=1", "b", "=", "A=1", "a=1=2", "é=1"]),
    max_size=40,
)


@given(_MEMBERS, st.sampled_from([",", " , ", "\t,"]))
@settings(max_examples=500, deadline=None)
def test_a_state_without_duplicates_is_read_as_opentelemetry_reads_it(members, comma):
    header = comma.join(members)
    keys = [part.strip(" \t").partition("=")[0] for part in header.split(",") if part.strip(" \t")]
    context = TraceContextTextMapPropagator().extract(
        {"traceparent": f"00-{TRACE}-{SPAN}-01", "tracestate": header}
    )
    theirs = otel.get_current_span(context).get_span_context().trace_state.to_header()
    ours = tracing.parse_tracestate(header)
    if len(set(keys)) == len(keys):
        assert ours == theirs or (len(theirs) > 512 and theirs.startswith(f"{ours},"))
    assert len(ours) <= 512


@pytest.mark.parametrize(
    ("header", "state"),
    [
        (None, ""),
        ("rojo=00f067aa0ba902b7,congo=t61rcWkgMzE", "rojo=00f067aa0ba902b7,congo=t61rcWkgMzE"),
        (" a=1 ,\tb=2,,", "a=1,b=2"),
        ("a=1,a=2,b=3", "a=1,b=3"),
        (",".join(f"k{number}=v" for number in range(32)), ",".join(f"k{number}=v" for number in range(32))),
        (",".join(f"k{number}=v" for number in range(33)), ""),
        ("a=" + "x" * 256, "a=" + "x" * 256),
        ("a=" + "x" * 257, ""),
        ("a=1,B=2", ""),
        ("a=1\r\nX-Evil: 1", ""),
        (",".join(f"k{number}={'x' * 250}" for number in range(32)), f"k0={'x' * 250},k1={'x' * 250}"),
        ("a=1," * 5_000, ""),
    ],
)
def test_a_state_has_at_most_32_members_of_256_characters_and_512_in_all(header, state):
    assert tracing.parse_tracestate(header) == state


def test_the_state_is_not_asked_for_where_the_header_is_not_valid():
    def never():
        raise AssertionError

    assert "tracestate" not in tracing.trace_fields(f"00-{TRACE}-{SPAN}-01-extra", never)


@pytest.mark.parametrize(("flags", "is_sampled"), [("00", False), ("01", True), ("02", False), ("03", True)])
def test_the_lowest_flag_says_whether_the_trace_is_sampled(flags, is_sampled):
    fields = tracing.trace_fields(f"00-{TRACE}-{SPAN}-{flags}", lambda: "a=1")
    assert (fields["trace_sampled"], fields["tracestate"]) == (is_sampled, "a=1")


def test_a_new_id_is_hex_and_never_all_zeros():
    assert all(re.fullmatch("[0-9a-f]{16}", tracing.new_id(8)) for _ in range(100))
