"""Arguments whose name or template says that they are secret, in all that leaves."""

import logging
from collections import UserDict, defaultdict

import pytest
from tests.kits.lines import strict

from hublog.capture.formatter import LineFormatter
from hublog.capture.stdlib_formatters import ConsoleFormatter, JsonFormatter
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
