import logging
import math
import sys
from datetime import datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.kits.lines import fits, strict

from hublog.capture import context
from hublog.capture.columns import BY_NAME, OPEN_COLUMNS
from hublog.capture.formatter import LineFormatter
from hublog.capture.stdlib_formatters import JsonFormatter
from hublog.capture.typed_columns import Misfits
from hublog.line import RecordIds
from hublog.redaction.card_numbers import is_card
from hublog.settings import PersonalData, RedactionSettings, ServiceSettings

LOGGER = logging.getLogger("tests.formatter")


def make_record(message="hello", args=(), *, level=logging.INFO, exc_info=None, extra=None, stack=None):
    return LOGGER.makeRecord(
        "shop.orders", level, "/srv/shop/orders.py", 42, message, args, exc_info, "ship", extra, stack
    )


@pytest.fixture
def formatter():
    return LineFormatter(ServiceSettings(name="shop"), framework="flask", ids=RecordIds())


def encode(formatter, *args, **kwargs):
    return strict(formatter.encode(make_record(*args, **kwargs)))


def test_a_plain_record_fills_all_columns_that_apply(formatter):
    record = make_record("order %s shipped", (7,))
    row = strict(formatter.encode(record))
    assert fits(row) == {}
    expected = {
        "level": "INFO",
        "level_number": 20,
        "severity_number": 9,
        "logger_name": "shop.orders",
        "message": "order 7 shipped",
        "message_template": "order %s shipped",
        "record_type": "log",
        "source_file": "/srv/shop/orders.py",
        "source_module": "orders",
        "source_function": "ship",
        "source_line": 42,
        "process_id": record.process,
        "process_name": record.processName,
        "thread_id": record.thread,
        "thread_name": record.threadName,
        "service_name": "shop",
        "framework": "flask",
        "sequence": 1,
        "schema_version": 1,
    }
    assert {name: row[name] for name in expected} == expected
    assert datetime.fromisoformat(row["timestamp"]).timestamp() == pytest.approx(record.created, abs=1e-5)


@pytest.mark.parametrize(
    ("level", "severity"), [(5, 1), (10, 5), (20, 9), (25, 9), (30, 13), (40, 17), (50, 21), (99, 21)]
)
def test_severity_follows_opentelemetry(formatter, level, severity):
    assert encode(formatter, level=level)["severity_number"] == severity


def test_extra_names_that_are_columns_become_columns_and_the_rest_goes_into_extra(formatter):
    row = encode(formatter, extra={"tenant_id": "acme", "http_status_code": 404, "cart": {"items": 3}})
    assert (row["tenant_id"], row["http_status_code"], row["extra"]) == ("acme", 404, {"cart": {"items": 3}})


def test_a_value_that_does_not_fit_its_column_is_kept_in_extra(formatter):
    row = encode(
        formatter, extra={"http_status_code": "teapot", "duration_ms": True, "db_query_count": 2**40}
    )
    assert fits(row) == {}
    assert row["extra"] == {
        "http_status_code": "teapot",
        "duration_ms": "true",
        "db_query_count": "1099511627776",
    }


def test_the_application_cannot_overwrite_what_the_library_owns(formatter):
    row = encode(formatter, extra={"record_id": "mine", "sequence": -1, "timestamp": "now", "level": "LOUD"})
    assert (row["sequence"], row["level"]) == (1, "INFO")
    assert row["extra"] == {"record_id": "mine", "sequence": -1, "timestamp": "now", "level": "LOUD"}


def test_bound_fields_stand_in_every_record_and_the_records_own_win(formatter):
    token = context.enter({"request_id": "r1", "tenant_id": "acme", "basket": 5})
    try:
        plain = encode(formatter)
        own = encode(formatter, extra={"tenant_id": "other", "basket": 6, "more": 1})
    finally:
        context.leave(token)
    assert (plain["request_id"], plain["tenant_id"], plain["extra"]) == ("r1", "acme", {"basket": 5})
    assert (own["request_id"], own["tenant_id"], own["extra"]) == ("r1", "other", {"basket": 6, "more": 1})
    assert "request_id" not in encode(formatter)


def test_an_exception_fills_its_columns(formatter):
    try:
        raise KeyError("missing") from ValueError("cause")
    except KeyError:
        row = encode(formatter, "failed", level=logging.ERROR, exc_info=sys.exc_info())
    assert (row["record_type"], row["exception_type"], row["exception_message"]) == (
        "exception",
        "KeyError",
        "'missing'",
    )
    assert "ValueError: cause" in row["exception_stacktrace"]
    assert "direct cause" in row["exception_stacktrace"]
    assert len(row["exception_fingerprint"]) == 16


def test_the_record_type_may_be_stated(formatter):
    row = encode(formatter, extra={"record_type": "request", "event_name": "request.finished"})
    assert (row["record_type"], row["event_name"]) == ("request", "request.finished")


def test_stack_info_is_kept(formatter):
    assert encode(formatter, stack="Stack (most recent call last): here")["stack_info"].endswith("here")


def test_what_other_formatters_leave_on_the_record_is_not_extra(formatter):
    record = make_record("hello %s", ("you",))
    logging.Formatter("%(asctime)s %(message)s").format(record)
    row = strict(formatter.encode(record))
    assert "extra" not in row
    assert row["message"] == "hello you"


def test_a_record_factory_that_puts_its_attributes_first_is_understood(formatter):
    class Odd(logging.LogRecord):
        def __init__(self, *args, **kwargs):
            self.first = "here"
            super().__init__(*args, **kwargs)

    row = strict(formatter.encode(Odd("n", 20, "/x.py", 1, "m", (), None)))
    assert row["extra"] == {"first": "here"}


def test_the_record_is_not_changed(formatter):
    record = make_record("m %s", ([1],), extra={"x": {1, 2}})
    before = dict(record.__dict__)
    formatter.encode(record)
    assert record.__dict__ == before


class Hostile:
    def __init__(self, error):
        self.error = error

    def __str__(self):
        raise self.error

    __repr__ = __str__


class HostileMapping(dict):
    def items(self):
        raise RuntimeError("no items")


def deep(levels):
    found = []
    for _ in range(levels):
        found = [found]
    return found


def cyclic():
    found = {}
    found["self"] = found
    return found


ODD = {
    "nan": math.nan,
    "infinity": math.inf,
    "bytes": b"\xff\x00",
    "set": {1, "a"},
    "cycle": cyclic(),
    "deep": deep(100_000),
    "lone surrogate": "a\ud800b",
    "surrogate key": {"\udfff": 1},
    "integer of 5,000 digits": 10**4_999,
    "integer over 64 bits": 2**64,
    "nul": "a\x00b",
    "line break": "a\r\nb\u2028c",
    "keys that are no text": {1: "a", "1": "b", (2, 3): "c", None: "d"},
    "raises": Hostile(ValueError("no")),
    "raises SystemExit": Hostile(SystemExit(3)),
    "raises RecursionError": Hostile(RecursionError()),
    "mapping that raises": HostileMapping(a=1),
    "class": dict,
    "exception": ValueError("x"),
    "complex": 3 + 4j,
    "generator": (x for x in [1]),
    "large": "x" * 10_000_000,
    "many": list(range(100_000)),
}


@pytest.mark.parametrize("name", list(ODD))
@pytest.mark.parametrize(
    "place", ["message", "argument", "mapping argument", "extra", "bound", "extra column"]
)
def test_an_odd_value_costs_only_itself(formatter, name, place):
    value = ODD[name]
    token = None
    if place == "message":
        record = make_record(value)
    elif place == "argument":
        record = make_record("before %s after %s", (value, "neighbour"))
    elif place == "mapping argument":
        record = make_record("before %(odd)s after", ({"odd": value},))
    elif place == "extra":
        record = make_record("m", extra={"odd": value, "neighbour": "untouched"})
    elif place == "extra column":
        record = make_record("m", extra={"tenant_id": value, "duration_ms": value, "neighbour": "untouched"})
    else:
        record = make_record("m")
        token = context.enter({"odd": value, "tenant_id": "untouched"})
    try:
        line = formatter.encode(record)
    finally:
        if token:
            context.leave(token)
    row = strict(line)
    assert len(line) <= 65_536
    assert fits(row) == {}
    assert row["logger_name"] == "shop.orders"
    if place in ("extra", "extra column") and name not in ("large", "many"):
        assert row["extra"]["neighbour"] == "untouched"
    if place == "bound":
        assert row["tenant_id"] == "untouched"


def test_arguments_that_do_not_fit_the_template_are_shown(formatter):
    row = encode(formatter, "%d things of %s", ("x", "y"))
    assert row["message"].startswith("%d things of %s <arguments")
    assert '"x"' in row["message"]


def test_keyboard_interrupt_is_not_swallowed(formatter):
    with pytest.raises(KeyboardInterrupt):
        formatter.encode(make_record("%s", (Hostile(KeyboardInterrupt()),)))


def test_a_long_record_is_cut_and_says_so(formatter):
    row = encode(formatter, "x" * 200_000, extra={"big": "y" * 200_000, "small": 1})
    assert row["truncated"] is True
    assert row["extra"]["original_bytes"] > 400_000
    assert row["message"].startswith("xxx")
    assert row["sequence"] == 1


def test_ids_survive_the_smallest_limit():
    formatter = LineFormatter(ServiceSettings(name="shop"), max_record_bytes=4_096, ids=RecordIds())
    line = formatter.encode(make_record("é\x00" * 100_000, extra={"k" * 5_000: "v" * 9_000}))
    row = strict(line)
    assert len(line) <= 4_096
    assert (row["sequence"], row["truncated"], row["level"]) == (1, True, "INFO")


def test_the_same_record_is_cut_the_same_way_each_time(formatter):
    record = make_record("x" * 100_000, extra={"a": "y" * 50_000})
    first, second = (strict(formatter.encode(record)) for _ in range(2))
    for row in (first, second):
        del row["sequence"], row["record_id"]
    assert first == second


def test_a_thousand_frames_are_cut_in_the_middle(formatter):
    def fall(depth):
        if depth:
            swing(depth - 1)
        raise ValueError("bottom")

    def swing(depth):
        fall(depth)

    try:
        fall(450)
    except ValueError:
        row = encode(formatter, "deep", exc_info=sys.exc_info())
    assert "left out" in row["exception_stacktrace"]
    assert row["exception_stacktrace"].rstrip().endswith("ValueError: bottom")
    assert len(row["exception_stacktrace"]) <= 16_384


def test_a_formatter_made_before_a_fork_names_the_childs_process(formatter):
    for process in (100, 200):
        record = make_record("x")
        record.process = process
        assert strict(formatter.encode(record))["process_id"] == process


def test_the_file_log_writes_the_same_row_without_ids():
    row = strict(JsonFormatter(ServiceSettings(name="shop")).format(make_record("hello")).encode())
    assert (row["message"], row["service_name"]) == ("hello", "shop")
    assert not {"record_id", "sequence"} & set(row)


JSONISH = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(st.characters(), max_size=20)
    | st.binary(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=5)
        | st.dictionaries(st.text(max_size=8) | st.integers() | st.booleans(), inner, max_size=5)
        | st.tuples(inner, inner)
    ),
    max_leaves=20,
)
NAMES = st.text(st.characters(), min_size=1, max_size=12) | st.sampled_from(
    [name for name in BY_NAME if name != "message"]
)


@given(
    JSONISH,
    st.lists(JSONISH, max_size=3),
    st.dictionaries(NAMES, JSONISH, max_size=6),
    st.dictionaries(NAMES, JSONISH, max_size=6),
)
def test_whatever_is_logged_a_valid_row_comes_out(message, args, extra, bound):
    formatter = LineFormatter(ServiceSettings(), ids=RecordIds())
    record = make_record(message, tuple(args))
    for name, value in extra.items():
        if name not in record.__dict__:
            record.__dict__[name] = value
    token = context.enter(bound)
    try:
        row = strict(formatter.encode(record))
    finally:
        context.leave(token)
    assert fits(row) == {}


@given(
    st.dictionaries(
        st.text("abcdefgh", min_size=1, max_size=6),
        st.integers(-(2**63), 2**63 - 1).filter(lambda number: not is_card(str(number)))
        | st.text(max_size=10)
        | st.booleans()
        | st.none()
        | st.floats(allow_nan=False, allow_infinity=False),
        max_size=8,
    )
)
def test_plain_extra_comes_back_as_it_was(extra):
    extra = {
        name: value for name, value in extra.items() if name not in BY_NAME and name not in ("args", "msg")
    }
    row = strict(LineFormatter(ServiceSettings()).encode(make_record("m", extra=extra)))
    assert row.get("extra", {}) == extra


def test_fast_and_slow_way_agree():
    """The fast path is put together by hand: it must say what the slow path says."""
    formatter = LineFormatter(ServiceSettings(name="shop"), ids=RecordIds())
    token = context.enter({"request_id": "r", "free": [1]})
    try:
        raise ValueError("x")
    except ValueError:
        record = make_record("m %s", ("a",), exc_info=sys.exc_info(), extra={"tenant_id": "t", "n": 1.5})
    record.created = 1_700_000_000.0
    fast = strict(formatter.encode(record))
    record.created = 1_700_000_000  # an int, which a log call never makes
    slow = strict(formatter.encode(record))
    context.leave(token)
    for row in (fast, slow):
        del row["sequence"], row["record_id"]
    assert fast == slow


#: Names that are bound and added, so that they clash; with texts that come again, ids, secrets and misfits.
SHARED_NAMES = st.sampled_from(
    [*sorted(OPEN_COLUMNS), "user_name", "free", "order", "password", "trace_sampled"]
)
SHARED_VALUES = (
    st.sampled_from(
        [
            "",
            "GET",
            "shop.example.com",
            "0af7651916cd43dd8448eb211c80319c",
            "00f067aa0ba902b7",
            "1234567890123456",
        ]
    )
    | st.sampled_from(
        ["password=hunter2", "x" * 3_000, "\ud800", "\u2028", 4111111111111111, 2**31, 2**63, 1, True, 1.0]
    )
    | st.sampled_from([None, math.inf, ["a", {"token": "abc"}], {"b": 1}])
)
REDACTIONS = st.sampled_from(
    [
        RedactionSettings(),
        RedactionSettings(enabled=False),
        RedactionSettings(keys=("http_host", "order"), personal_data=PersonalData.HASH, hash_key="k"),
        RedactionSettings(personal_data=PersonalData.DROP, patterns=("[0-9]{4}",)),
    ]
)


@settings(max_examples=100, deadline=None)
@given(
    st.dictionaries(SHARED_NAMES, SHARED_VALUES, max_size=8),
    st.dictionaries(SHARED_NAMES, SHARED_VALUES, max_size=8),
    REDACTIONS,
)
def test_a_line_of_known_fragments_says_what_the_slow_way_says(bound, extra, redaction):
    misfits = Misfits()
    formatter = LineFormatter(ServiceSettings(name="shop"), misfits=misfits, redaction=redaction)
    record = make_record("m %s", ("a",), extra=extra)
    rows, counts = [], []
    for created in (1_700_000_000.0, 1_700_000_000.0, 1_700_000_000):  # an int goes the slow way
        record.created = created
        token = context.enter(dict(bound))
        before = misfits.read()
        rows.append(strict(formatter.encode(record)))
        counts.append(misfits.read() - before)
        context.leave(token)
    assert rows[0] == rows[1] == rows[2]
    assert counts[0] == counts[1] == counts[2]


def test_a_message_that_alone_is_too_long_is_cut_and_the_rest_stays():
    formatter = LineFormatter(ServiceSettings(), max_record_bytes=4_096)
    record = make_record("%s", ("ä" * 1_000_000,), extra={"order": {"items": ["x" * 50] * 10}})
    line = formatter.encode(record)
    row = strict(line)
    assert len(line) <= 4_096
    assert row["truncated"] is True
    assert row["message"][0] == row["message"][-1] == "ä"
    assert row["extra"]["order"] == {"items": ["x" * 50] * 10}
    assert row["extra"]["original_bytes"] > 2_000_000
