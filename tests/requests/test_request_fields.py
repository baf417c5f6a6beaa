import itertools
import json
import logging
import re
import tracemalloc

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hublog.capture import context
from hublog.capture.formatter import LineFormatter
from hublog.requests.request_fields import (
    FIELDS_MAX,
    AsgiHeaders,
    RequestLine,
    client_address,
    environ_name,
    exposing,
    header_text,
    request_fields,
    utf8_text,
)
from hublog.settings import RequestSettings, ServiceSettings

ORDER = [
    "X-Trace-Key",
    "X-Request-ID",
    "X-Correlation-ID",
    "X-Azure-Ref",
    "X-ARR-LOG-ID",
    "Request-Id",
    "x-ms-client-request-id",
]
SIGNED_IN = {
    "X-MS-CLIENT-PRINCIPAL-ID": "6f1c9f5e",
    "X-MS-CLIENT-PRINCIPAL-NAME": "ann@shop.example",
    "X-MS-CLIENT-PRINCIPAL-IDP": "aad",
}


def read(headers=None, *, settings=None, **known):
    lowered = {name.lower(): value for name, value in (headers or {}).items()}
    known = {"method": "GET", "path": "/orders/7", **known}
    return request_fields(
        settings or RequestSettings(), lambda name: lowered.get(name.lower()), RequestLine(**known)
    )


@pytest.mark.parametrize("first", range(len(ORDER)))
def test_the_request_id_comes_from_the_first_header_that_has_one(first):
    headers = {name: f"id-{place}" for place, name in enumerate(ORDER) if place >= first}
    settings = RequestSettings(id_header="X-Trace-Key")
    assert read(headers, settings=settings)["request_id"] == f"id-{first}"


@pytest.mark.parametrize("bad", ["not valid!", "", "x" * 129, "é", "a\nb"])
def test_a_header_that_is_not_valid_gives_way_to_the_next(bad):
    assert read({"X-Request-ID": bad, "X-Correlation-ID": "good"})["request_id"] == "good"


def test_without_trust_no_header_becomes_the_request_id():
    found = read(dict.fromkeys(ORDER[1:], "abc"), settings=RequestSettings(trust_request_id=False))
    assert found["request_id"] != "abc"
    assert len(found["request_id"]) == 32
    assert (found["azure_ref"], found["arr_log_id"], found["correlation_id"]) == ("abc", "abc", "abc")


def test_the_edges_own_ids_are_kept_beside_another_request_id():
    found = read({"X-Request-ID": "abc", "X-Azure-Ref": "ref", "X-ARR-LOG-ID": "arr"})
    assert (found["azure_ref"], found["arr_log_id"]) == ("ref", "arr")


def test_the_edges_own_id_is_not_repeated_where_it_is_the_request_id():
    found = read({"X-Azure-Ref": "ref", "X-ARR-LOG-ID": "arr"})
    assert (found["request_id"], found["arr_log_id"]) == ("ref", "arr")
    assert "azure_ref" not in found


def test_an_edges_id_that_is_hostile_is_left_out():
    assert "azure_ref" not in read({"X-Azure-Ref": "<script>"})


def test_who_is_signed_in_at_the_edge_is_taken_only_where_that_is_set():
    assert "user_id" not in read(SIGNED_IN)
    found = read(SIGNED_IN, settings=RequestSettings(easy_auth=True))
    assert {
        name: found[name] for name in ("user_id", "user_authenticated", "user_name", "identity_provider")
    } == {
        "user_id": "6f1c9f5e",
        "user_authenticated": True,
        "user_name": "ann@shop.example",
        "identity_provider": "aad",
    }


def test_an_edge_that_has_signed_no_user_in_says_nothing():
    headers = {"X-MS-CLIENT-PRINCIPAL-IDP": "aad", "X-MS-CLIENT-PRINCIPAL-NAME": "ann"}
    assert not {"user_id", "user_name", "user_authenticated"} & set(
        read(headers, settings=RequestSettings(easy_auth=True))
    )


@pytest.mark.parametrize("value", ["a\x1b[31m", "a\x00", "\x7f"])
def test_a_name_from_the_edge_with_control_characters_is_left_out(value):
    found = read({**SIGNED_IN, "X-MS-CLIENT-PRINCIPAL-NAME": value}, settings=RequestSettings(easy_auth=True))
    assert "user_name" not in found


def test_a_name_from_the_edge_is_read_as_utf8_and_cut():
    name = "Zoë" * 200
    headers = {**SIGNED_IN, "X-MS-CLIENT-PRINCIPAL-NAME": name.encode().decode("latin-1")}
    assert read(headers, settings=RequestSettings(easy_auth=True))["user_name"] == name[:256]


def test_the_query_is_taken_only_where_that_is_set_and_cut():
    assert "http_query" not in read(query="a=1")
    assert read(query="a=1", settings=RequestSettings(query=True))["http_query"] == "a=1"
    assert len(read(query="a" * 5_000, settings=RequestSettings(query=True))["http_query"]) == 2_048


@pytest.mark.parametrize(
    ("forwarded", "proxies", "expected"),
    [
        (None, 0, "10.0.0.9"),
        ("1.1.1.1", 0, "10.0.0.9"),
        ("1.1.1.1", 1, "1.1.1.1"),
        ("6.6.6.6, 1.1.1.1", 1, "1.1.1.1"),
        ("6.6.6.6, 1.1.1.1, 10.0.0.1", 2, "1.1.1.1"),
        ("6.6.6.6,1.1.1.1,", 1, "1.1.1.1"),
        ("1.1.1.1", 2, "10.0.0.9"),
        ("1.1.1.1:5678", 1, "1.1.1.1"),
        ("[2001:db8::1]", 1, "2001:db8::1"),
        ("[2001:DB8::1]:5678", 1, "2001:db8::1"),
        ("2001:db8::1", 1, "2001:db8::1"),
        ("fe80::1%eth0", 1, "fe80::1"),
        ("[fe80::1%25eth0]:443", 1, "fe80::1"),
        ("[2001:db8::1", 1, "10.0.0.9"),
        ("[2001:db8::1]x", 1, "10.0.0.9"),
        ("1.1.1.1:port", 1, "10.0.0.9"),
        ("1.1.1.1:", 1, "10.0.0.9"),
        ("1.1.1.1:123456", 1, "10.0.0.9"),
        ("<script>", 1, "10.0.0.9"),
        ("unknown", 1, "10.0.0.9"),
        ("_hidden", 1, "10.0.0.9"),
        ("256.1.1.1", 1, "10.0.0.9"),
        ("1.1.1.1\r\nX: y", 1, "10.0.0.9"),
        (" , ,", 1, "10.0.0.9"),
    ],
)
def test_the_client_is_as_many_places_from_the_right_as_there_are_proxies(forwarded, proxies, expected):
    assert client_address(forwarded, "10.0.0.9", trusted_proxy_count=proxies) == expected


@given(st.text(max_size=60), st.integers(0, 4))
def test_whatever_was_forwarded_the_client_is_an_address(forwarded, proxies):
    found = client_address(forwarded, "10.0.0.9", trusted_proxy_count=proxies)
    assert set(found) <= set("0123456789abcdef.:")


@pytest.mark.parametrize(
    ("value", "size"),
    [("12", 12), ("-1", None), ("1e3", None), ("9" * 30, None), ("9" * 18, 10**18 - 1), ("٣", None)],
)
def test_a_size_is_a_number_or_nothing(value, size):
    assert read({"Content-Length": value}).get("http_request_size") == size


def test_what_is_hostile_is_cut():
    found = read({"User-Agent": "x" * 999}, method="M" * 99, path="/" * 9_999, host="h" * 999)
    lengths = {
        name: len(found[name]) for name in ("http_method", "http_path", "http_host", "http_user_agent")
    }
    assert lengths == {"http_method": 32, "http_path": 2_048, "http_host": 255, "http_user_agent": 256}


@pytest.mark.parametrize(
    ("exposed", "expected"),
    [
        ("", "X-Request-ID"),
        ("X-Total", "X-Total, X-Request-ID"),
        ("X-Total, X-Pages", "X-Total, X-Pages, X-Request-ID"),
        ("x-request-id, X-Total", None),
        ("*", None),
        ("X-Total, *", None),
    ],
)
def test_the_id_is_exposed_beside_what_was_exposed_before(exposed, expected):
    headers = exposing("X-Request-ID", "abc", exposed)
    assert headers.pop("X-Request-ID") == "abc"
    assert headers.get("Access-Control-Expose-Headers") == expected


def test_an_environment_has_two_headers_under_their_own_names():
    names = [environ_name(name) for name in ("X-Request-ID", "content-length", "Content-Type")]
    assert names == ["HTTP_X_REQUEST_ID", "CONTENT_LENGTH", "CONTENT_TYPE"]


@given(st.text())
def test_a_text_survives_the_way_through_latin_1(text):
    sent = text.encode("utf-8", "replace")
    assert utf8_text(sent.decode("latin-1"), 1_000) == sent.decode()


@given(st.text(), st.integers(0, 8))
def test_a_text_is_cut_between_two_characters(text, limit):
    sent = text.encode("utf-8", "replace")
    for read_text in (utf8_text, header_text):
        assert read_text(sent.decode("latin-1"), limit) == sent.decode()[:limit]


@pytest.mark.parametrize(
    ("sent", "expected"),
    [
        ("Zoë/1.0".encode(), "Zoë/1.0"),
        ("日本語 🙂".encode(), "日本語 🙂"),
        ("Zoë/1.0".encode("latin-1"), "Zoë/1.0"),
        (b"plain", "plain"),
        ("Zoë".encode()[:-1], "ZoÃ"),
    ],
)
def test_a_user_agent_is_read_as_utf8_where_it_is_and_else_as_latin_1(sent, expected):
    assert read({"User-Agent": sent.decode("latin-1")})["http_user_agent"] == expected


def test_a_header_that_a_test_client_has_decoded_already_stays_as_it_is():
    assert header_text("日本語", 256) == "日本語"


# What a hostile request costs


class Pairs:
    """The fields of a request, one after the other; counts those that are looked at."""

    def __init__(self, *pairs):
        self._pairs = iter(itertools.chain(*pairs))
        self.taken = 0

    def __iter__(self):
        return self

    def __next__(self):
        pair = next(self._pairs)
        self.taken += 1
        return pair


@pytest.mark.parametrize("number", [10, FIELDS_MAX, 100_000])
@pytest.mark.parametrize("name", [b"a", b"x-request-id", b"x-forwarded-for", b"user-agent"])
def test_of_a_request_with_many_fields_a_bounded_number_is_looked_at(name, number):
    pairs = Pairs(itertools.repeat((name, b"b"), number))
    headers = AsgiHeaders(pairs, "X-Request-ID")
    request_fields(EVERYTHING, headers, RequestLine(method="GET", path="/"))
    assert pairs.taken == min(number, FIELDS_MAX + 1)


@pytest.mark.parametrize("name", ["X-Forwarded-For", "User-Agent", "tracestate", "X-Request-ID"])
def test_a_long_value_costs_memory_in_proportion_to_its_length(name):
    value = b", " * 500_000
    trace = (b"traceparent", b"00-" + b"a" * 32 + b"-" + b"b" * 16 + b"-01")
    headers = AsgiHeaders([trace, (name.lower().encode(), value)], "X-Request-ID")
    tracemalloc.start()
    try:
        request_fields(EVERYTHING, headers, RequestLine(method="GET", path="/"))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 4 * len(value)


def test_a_client_cannot_push_what_the_proxy_has_seen_out_of_sight():
    fields = [
        (b"x-forwarded-for", b"6.6.6.6"),
        *[(b"a", b"b")] * FIELDS_MAX,
        (b"x-forwarded-for", b"1.1.1.1"),
    ]
    settings = RequestSettings(trusted_proxy_count=1)
    headers = AsgiHeaders(fields, "X-Request-ID")
    found = request_fields(settings, headers, RequestLine(method="GET", path="/", remote_address="10.0.0.9"))
    assert found["client_ip"] == "10.0.0.9"


@pytest.mark.parametrize("filler", ["6.6.6.6, ", ",", " , "])
def test_the_proxys_address_is_found_behind_a_long_header_of_the_client(filler):
    forwarded = filler * 50_000 + "1.1.1.1, 10.0.0.1"
    assert client_address(forwarded, "10.0.0.9", trusted_proxy_count=2) == "1.1.1.1"


def test_an_address_that_the_cut_has_halved_is_none():
    seen = ", 2.2.2.2".rjust(8_192 - len("1.1.1.1"))
    assert client_address(f"221.1.1.1{seen}", "10.0.0.9", trusted_proxy_count=2) == "10.0.0.9"
    assert client_address(f"221.1.1.1{seen[2:]}", "10.0.0.9", trusted_proxy_count=2) == "221.1.1.1"


NAMES = ["host", "User-Agent", "X-REQUEST-ID", "x-forwarded-for", "tracestate", "cookie", "x-trace-key"]


@given(st.lists(st.tuples(st.sampled_from(NAMES), st.binary(max_size=5)), max_size=12))
def test_headers_of_asgi_are_those_that_were_sent_joined_in_their_order(sent):
    headers = AsgiHeaders([(name.encode(), value) for name, value in sent], "X-Trace-Key")
    for asked in ("Host", "user-agent", "X-Request-ID", "X-Forwarded-For", "tracestate", "X-Trace-Key"):
        values = [value.decode("latin-1") for name, value in sent if name.lower() == asked.lower()]
        assert headers(asked) == (",".join(values) if values else None)


@pytest.mark.parametrize(
    "odd", [None, (), (b"only",), ("host", b"x"), (b"user-agent", "x"), 7, (b"a", b"b", b"c")]
)
def test_a_field_that_is_none_does_not_end_the_request(odd):
    headers = AsgiHeaders([(b"user-agent", b"tester"), odd], "X-Request-ID")
    found = request_fields(RequestSettings(), headers, RequestLine(method="GET", path="/orders/7"))
    assert (found["http_user_agent"], found["http_path"]) == ("tester", "/orders/7")


ALL = [*ORDER, *SIGNED_IN, "traceparent", "tracestate", "X-Forwarded-For", "User-Agent", "Content-Length"]
EVERYTHING = RequestSettings(id_header="X-Trace-Key", trusted_proxy_count=1, query=True, easy_auth=True)


@given(st.dictionaries(st.sampled_from(ALL), st.text(max_size=300)), st.text(), st.text(), st.text())
@settings(deadline=None)
def test_whatever_a_client_sends_becomes_one_line_of_json_with_a_valid_id(headers, path, host, query):
    fields = read(headers, settings=EVERYTHING, path=path, host=host, query=query)
    assert re.fullmatch(r"[A-Za-z0-9._~:/+=@-]{1,128}", fields["request_id"])
    token = context.enter(fields)
    try:
        record = logging.LogRecord("shop", logging.INFO, "shop.py", 1, "hello", (), None)
        line = LineFormatter(ServiceSettings()).encode(record)
    finally:
        context.leave(token)
    row = json.loads(line)
    assert b"\n" not in line
    assert row["request_id"] == fields["request_id"]
    assert len(row.get("extra", {}).get("tracestate", "")) <= 512
