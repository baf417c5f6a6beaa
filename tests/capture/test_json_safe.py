import enum
import math
import time
import uuid
from collections import OrderedDict, deque
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import PurePosixPath
from types import SimpleNamespace
from typing import NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import create_engine, text

from hublog.capture.json_safe import MAX_ITEMS, MAX_TEXT, Distinct, plain, text_of


class Colour(enum.Enum):
    RED = 1
    BLUE = "blue"


@dataclass
class Account:
    name: str
    password: str = field(repr=False)


class Text(str):
    __slots__ = ()


CASES = [
    (None, None),
    (True, True),
    (5, 5),
    (2**63 - 1, 2**63 - 1),
    (2**63, "9223372036854775808"),
    (10**5_000, "<int of 16610 bits>"),
    (1.5, 1.5),
    (math.nan, "<nan>"),
    (-math.inf, "<-inf>"),
    ("a\ud800", "a\\ud800"),
    (Text("x"), "x"),
    (b"caf\xc3\xa9\xff", "café\\xff"),
    (bytearray(b"ab"), "ab"),
    (memoryview(b"ab"), "ab"),
    ([1, (2, {3})], [1, [2, [3]]]),
    (deque([1]), [1]),
    (OrderedDict(a=1), {"a": 1}),
    ({1: "a", "1": "b"}, {"1": "a", "1_": "b"}),
    (datetime(2026, 11, 23, tzinfo=UTC), "2026-11-23T00:00:00+00:00"),
    (date(2026, 11, 23), "2026-11-23"),
    (timedelta(days=1, hours=2, minutes=3, seconds=4, microseconds=5), "1.02:03:04.0000050"),
    (timedelta(days=-1, seconds=1), "-23:59:59"),
    (timedelta(hours=25, milliseconds=1.5), "1.01:00:00.0015000"),
    (timedelta(), "00:00:00"),
    (Decimal("1.10"), "1.10"),
    (Decimal("sNaN"), "sNaN"),
    (uuid.UUID(int=1), "00000000-0000-0000-0000-000000000001"),
    (PurePosixPath("/srv"), "/srv"),
    (Colour.RED, "RED"),
    (Colour.BLUE, "blue"),
    (Account("a", "hunter2"), "Account(name='a')"),
    (ValueError("no"), "ValueError: no"),
    (ValueError, "builtins.ValueError"),
]


@pytest.mark.parametrize(("value", "shown"), CASES, ids=[str(number) for number in range(len(CASES))])
def test_values_are_shown_as_json_holds_them(value, shown):
    assert plain(value) == shown


def test_a_cycle_is_cut_where_it_closes():
    found = [1]
    found.append(found)
    assert plain(found) == [1, "<cycle>"]


def test_the_same_object_twice_is_no_cycle():
    shared = {"a": 1}
    assert plain([shared, shared]) == [{"a": 1}, {"a": 1}]


def test_depth_and_number_are_bounded_and_what_is_left_out_is_counted():
    assert plain(list(range(MAX_ITEMS * 3)))[-1].endswith("left out>")
    wide = plain({str(number): number for number in range(MAX_ITEMS * 3)})
    assert len(wide) <= MAX_ITEMS + 1
    assert wide["<left out>"] > 0


def test_a_long_text_says_how_much_is_missing():
    assert plain("x" * (MAX_TEXT + 7)) == "x" * MAX_TEXT + "<7 characters left out>"


def test_a_value_that_raises_is_named():
    class Broken:
        def __str__(self):
            raise LookupError("x")

    assert text_of(Broken()) == "<Broken that cannot be shown: LookupError>"


def fake(module, name):
    """A class that looks like one of a framework that is not loaded here."""
    return type(name, (), {"__module__": module, "__str__": lambda self: pytest.fail("evaluated")})


@pytest.mark.parametrize(
    ("module", "name"),
    [
        ("django.utils.functional", "LazyObject"),
        ("django.db.models.query", "QuerySet"),
        ("django.db.models.manager", "BaseManager"),
        ("django.http.request", "HttpRequest"),
        ("werkzeug.local", "LocalProxy"),
    ],
)
def test_lazy_objects_of_the_frameworks_are_not_evaluated(module, name):
    base = fake(module, name)
    child = type("Child", (base,), {"__module__": "shop"})
    assert plain(child()) == "<shop.Child, not evaluated>"


def test_a_model_is_shown_by_its_key_without_its_str():
    base = fake("django.db.models.base", "Model")
    order = type("Order", (base,), {"_meta": SimpleNamespace(pk=SimpleNamespace(attname="id"))})()
    order.id = 7
    assert plain({"order": order}) == {"order": "<Order pk=7>"}


@given(
    st.lists(
        st.sampled_from([bytes([byte]) for byte in b"a\\\xe2\x82\xac\xff\xf0"] + [b"\\udcff", "é".encode()])
    )
)
def test_bytes_are_shown_as_the_decoder_escapes_them(parts):
    data = b"".join(parts)
    assert (
        plain(data)
        == plain(bytearray(data))
        == plain(memoryview(data))
        == data.decode(errors="backslashreplace")
    )


@pytest.mark.parametrize("data", [b"x" * (MAX_TEXT + 1), b"\xff" * MAX_TEXT, "é".encode() * MAX_TEXT * 2])
def test_bytes_beyond_the_limit_are_cut_and_their_number_is_said(data):
    shown = plain(data)
    assert shown.endswith(f"<cut off, {len(data)} bytes in all>")
    assert shown[:MAX_TEXT] == data.decode(errors="backslashreplace")[:MAX_TEXT]


class Counting(dict):
    """Counts how often it is asked whether a name is taken."""

    asked = 0

    def __contains__(self, name):
        self.asked += 1
        return super().__contains__(name)


@pytest.mark.parametrize(
    "names",
    [
        ["k"] * 3_000,
        ["k", *(f"k_{number}" for number in range(1_500)), *["k"] * 1_500],
        [*(f"k{'_' * number}" for number in range(1_000)), *["k"] * 1_000, *["k_"] * 1_000],
    ],
    ids=["equal", "numbered before", "underscores before"],
)
def test_equal_names_are_made_distinct_in_a_few_questions_each(names):
    taken, distinct = Counting(), Distinct()
    for name in names:
        taken[distinct.name(name, taken)] = 1
    assert len(taken) == len(names)
    assert taken.asked <= 4 * len(names)


class Credentials(NamedTuple):
    user: str
    password: str
    before: object = None


def test_a_named_tuple_keeps_its_names():
    assert plain(Credentials("bob", "x")) == {"user": "bob", "password": "x", "before": None}
    assert plain({"list": [Credentials("bob", "x", Credentials("al", "y"))]}) == {
        "list": [{"user": "bob", "password": "x", "before": {"user": "al", "password": "y", "before": None}}]
    }
    assert plain(time.gmtime(0)) == [1970, 1, 1, 0, 0, 0, 3, 1, 0]


def test_a_named_tuple_that_holds_itself_ends():
    inside = []
    inside.append(Credentials("bob", "x", inside))
    assert plain(inside) == [{"user": "bob", "password": "x", "before": "<cycle>"}]


def test_a_row_of_sqlalchemy_keeps_its_names():
    engine = create_engine("sqlite://")
    with engine.connect() as connection:
        row = connection.execute(text("SELECT 'bob' AS name, 'x' AS password, 1 AS n, 2 AS n")).one()
    engine.dispose()
    assert plain(row) == {"name": "bob", "password": "x", "n": 1, "n_3": 2}
    assert plain([row]) == [plain(row)]
