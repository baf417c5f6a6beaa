"""Arguments whose name or template says that they are secret, in all that leaves; and lines that are cut."""

import json
import logging
from collections import UserDict, defaultdict

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.kits.lines import strict

from hublog.capture.formatter import LineFormatter
from hublog.capture.slow_path import shortened
from hublog.capture.stdlib_formatters import ConsoleFormatter, JsonFormatter
from hublog.line import RecordIds
from hublog.settings import RedactionSettings, ServiceSettings

SECRET = "hunter2xyz"


def make_record(template, *args):
    return logging.LogRecord("shop", logging.INFO, "/srv/shop.py", 7, template, args, None)


def message(template, *args, **redaction):
    formatter = LineFormatter(ServiceSettings(), redaction=RedactionSettings(**redaction))
    return strict(formatter.encode(make_record(template, *args)))["message"]


def console(template, *args, **redaction):
    return ConsoleFormatter(redaction=RedactionSettings(**redaction)).format(make_record(template, *args))


@pytest.mark.parametrize(
    ("template", "args"),
    [
        ("%(password)s", ({"password": SECRET},)),
        ("%(user)s with %(api_key)r", ({"user": "bob", "api_key": SECRET},)),
        ("%(password)d", ({"password": SECRET},)),
        ("%(token)s", (UserDict(token=SECRET),)),
        ("%(secret)s", (defaultdict(str, secret={"a": SECRET}),)),
        ("password=%s %s", (SECRET,)),
        ("password=%d", (SECRET,)),
        ("password", (SECRET,)),
        ("%s=%s %s", ("password", SECRET)),
        ("login", (f"password={SECRET}",)),
        ("login", ({"a": 1}, {"password": SECRET})),
        ("a %s", ("Authorization", SECRET)),
    ],
)
def test_no_secret_argument_leaves(template, args):
    record = make_record(template, *args)
    before = dict(record.__dict__)
    shown = [
        LineFormatter(ServiceSettings()).encode(record).decode(),
        JsonFormatter(ServiceSettings()).format(record),
        ConsoleFormatter().format(record),
    ]
    assert not any(SECRET in text for text in shown)
    assert record.__dict__ == before


@pytest.mark.parametrize(
    ("template", "args", "shown"),
    [
        ("%(user)s logged in", ({"user": "bob"},), "bob logged in"),
        ("%(password)s", ({"password": SECRET},), "[redacted]"),
        ("%(token_count)05d tokens", ({"token_count": 7},), "00007 tokens"),
        ("%(tokens)05d tokens", ({"tokens": 7},), "00007 tokens"),
        ("order %s", ({"id": 7},), "order {'id': 7}"),
        ("order %r", (UserDict(id=7),), "order {'id': 7}"),
        ("nothing to fill", ({"id": 7},), "nothing to fill"),
        ("%(list)s", ({"list": [1, "a"]},), "[1, 'a']"),
    ],
)
def test_arguments_by_name_are_filled_in_as_ever(template, args, shown):
    assert message(template, *args) == shown
    assert console(template, *args).endswith(f" {shown}")


def test_arguments_that_do_not_fit_are_shown_where_nothing_names_a_secret():
    assert message("order %d", "a7") == 'order %d <arguments ["a7"] do not fit: TypeError>'
    assert message("token_count %d", "a7") == 'token_count %d <arguments ["a7"] do not fit: TypeError>'
    assert message("%(id)s", {"no": 7}) == '%(id)s <arguments {"no":7} do not fit: KeyError>'


def test_numbers_stay_among_arguments_that_do_not_fit():
    assert message("token of %s", 7, "ab") == 'token of %s <arguments [7,"[redacted]"] do not fit: TypeError>'


def test_arguments_are_shown_where_redaction_is_off():
    assert message("%(password)s", {"password": "abc"}, enabled=False) == "abc"
    assert message("password", "abc", enabled=False) == 'password <arguments ["abc"] do not fit: TypeError>'
    assert console("%(password)s", {"password": "abc"}, enabled=False).endswith(" abc")


def test_many_words_that_nobody_judges_count_as_a_secret():
    words = [f"word{number}" for number in range(101)]
    assert "word7" not in message("order", *words)


FORMATTER = LineFormatter(ServiceSettings(name="shop"), max_record_bytes=1_000_000, ids=RecordIds())


def line_of(message="m", **extra):
    record = logging.LogRecord("shop.cart", logging.ERROR, "cart.py", 7, message, None, None)
    record.__dict__.update(extra)
    return FORMATTER.encode(record)


def test_what_names_the_record_stays_and_the_cut_is_marked():
    line = line_of("x" * 300_000, basket=list(range(1_000)))
    whole, cut = json.loads(line), json.loads(shortened(line, 100_000))
    assert cut["truncated"] is True
    assert cut["extra"]["original_bytes"] == len(line)
    for name in (
        "timestamp",
        "record_id",
        "sequence",
        "level",
        "level_number",
        "logger_name",
        "service_name",
    ):
        assert cut[name] == whole[name]
    assert cut["message"].startswith("xxx")


@given(
    st.text(max_size=3_000),
    st.dictionaries(st.text(max_size=10), st.text(max_size=500)),
    st.integers(1_500, 9_000),
)
def test_a_cut_line_is_one_line_of_json_within_its_limit(message, extra, limit):
    cut = shortened(line_of(message, **{f"x_{name}": value for name, value in extra.items()}), limit)
    assert cut is not None
    assert len(cut) <= limit
    assert b"\n" not in cut
    assert json.loads(cut)["logger_name"] == "shop.cart"


@pytest.mark.parametrize("line", [b"", b"[1]", b"{", b"no json", line_of("x" * 500)])
def test_what_cannot_be_cut_is_not(line):
    assert shortened(line, 100) is None
