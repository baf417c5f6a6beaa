"""Secrets in everything that leaves through the formatters: lines, file, console."""

import copy
import logging
import re
import sys
from pathlib import Path

import orjson
import pytest
from tests.kits.lines import strict
from tests.kits.secret_texts import SECRETS

from hublog.capture import context
from hublog.capture.formatter import LineFormatter
from hublog.capture.stdlib_formatters import ConsoleFormatter, JsonFormatter
from hublog.redaction.redactor import find_secrets
from hublog.settings import Mask, PersonalData, RedactionSettings, ServiceSettings

SECRET = "hunter2"
LOGGER = logging.getLogger("tests.redaction")
OFF = RedactionSettings(enabled=False)


def make_record(message, *args, extra=None, exc_info=None, stack=None):
    return LOGGER.makeRecord(
        "shop", logging.INFO, "/srv/shop/orders.py", 42, message, args, exc_info, "ship", extra, stack
    )


def row_of(*args, formatter=None, **kwargs):
    return strict((formatter or LineFormatter(ServiceSettings())).encode(make_record(*args, **kwargs)))


def raised(error):
    try:
        raise error
    except type(error) as caught:
        return type(caught), caught, caught.__traceback__


class Account:
    def __str__(self):
        return "Account(name='bob', password='hunter2')"


@pytest.mark.parametrize("marked", SECRETS.values(), ids=SECRETS.keys())
@pytest.mark.parametrize("way", ["message", "argument", "extra", "bound", "error"])
def test_no_secret_leaves_by_any_way(marked, way):
    text = re.sub("[«»]", "", marked)
    record = make_record("done")
    token = context.bind()
    if way == "message":
        record = make_record(text)
    elif way == "argument":
        record = make_record("saw %s and %s", "it", text)
    elif way == "extra":
        record = make_record("done", extra={"note": text, "nested": {"list": [text]}})
    elif way == "bound":
        token = context.bind(note=text)
    else:
        record = make_record("done", exc_info=raised(ValueError(text)))
    try:
        shown = [
            LineFormatter(ServiceSettings()).encode(record).decode(),
            JsonFormatter(ServiceSettings()).format(record),
            ConsoleFormatter().format(record),
        ]
    finally:
        context.unbind(token)
    for secret in re.findall("«(.*?)»", marked, re.DOTALL):
        for form in (secret, orjson.dumps(secret).decode()[1:-1]):
            assert len(secret) < 5 or not any(form in text for text in shown)


def test_a_template_keeps_its_places_and_loses_its_secrets():
    row = row_of("password=%s for %s", "hunter2", "bob")
    assert row["message"] == "password=[redacted] for bob"
    assert row["message_template"] == "password=%s for %s"
    row = row_of("password=hunter2 for %s", "bob")
    assert row["message"] == "password=[redacted] for bob"
    assert row["message_template"] == "password=[redacted] for %s"


@pytest.mark.parametrize(
    ("template", "args", "message"),
    [
        ("%s=%s", ("pwd", "abc"), "pwd=[redacted]"),
        ("user %s", ("pwd=abc",), "user pwd=[redacted]"),
        ("%s: %s", ("token", "abcd"), "token: [redacted]"),
        ("%s %s", ("Bearer", "abcdef123456"), "Bearer [redacted]"),
        ("Bearer %s", ("abcd1234",), "Bearer [redacted]"),
        ("card %d", (4111111111111111,), "card [redacted]"),
        ("card 4111 1111 %s %s", ("1111", "1111"), "card [redacted]"),
        ("card %s %s %s %s", ("4111", "1111", "1111", "1111"), "card [redacted]"),
        ("login %(user)s", {"user": {"password": "x y"}}, "login {'password': '[redacted]'}"),
        ("data %s", ({"password": 12345678, "n": [1]},), "data {'password': [redacted], 'n': [1]}"),
        ("account %s", (Account(),), "account Account(name='bob', password='[redacted]')"),
        ("https://bob:%s@host/", ("hunter2",), "https://bob:[redacted]@host/"),
    ],
)
def test_a_secret_is_known_where_template_and_arguments_make_it_together(template, args, message):
    formatter = LineFormatter(ServiceSettings())
    for _ in range(3):
        record = make_record(template, *(args if isinstance(args, tuple) else (args,)))
        assert strict(formatter.encode(record))["message"] == message


def test_values_under_secret_names_are_hidden_in_extra_and_in_what_is_bound():
    extra = {
        "db_password": "a",
        "headers": {"Authorization": b"Bearer abc", "Cookie": "sid=1", "Accept": "*/*"},
        "pairs": [(b"authorization", b"Bearer abc"), ("accept", "*/*")],
        "input_tokens": 7,
        "password_ok": True,
    }
    before = copy.deepcopy(extra)
    token = context.bind(api_key="b", config={"SharedAccessKey": "c", "name": "d"})
    try:
        row = row_of("done", extra=extra)
    finally:
        context.unbind(token)
    assert row["extra"] == {
        "api_key": "[redacted]",
        "config": {"SharedAccessKey": "[redacted]", "name": "d"},
        "db_password": "[redacted]",
        "headers": {"Authorization": "[redacted]", "Cookie": "[redacted]", "Accept": "*/*"},
        "pairs": [["authorization", "[redacted]"], ["accept", "*/*"]],
        "input_tokens": 7,
        "password_ok": True,
    }
    assert extra == before


def test_the_record_stays_as_it_is_for_other_handlers():
    detail = {"password": "hunter2", "list": [{"token": "abc"}]}
    record = make_record("password=hunter2 %s", detail, extra={"detail": detail, "secret": "s"})
    record.exc_info = raised(ValueError("password=hunter2"))
    before = dict(record.__dict__)
    content = copy.deepcopy(detail)
    for formatter in (JsonFormatter(), ConsoleFormatter()):
        formatter.format(record)
    assert record.__dict__.keys() == before.keys()
    assert all(record.__dict__[name] is value for name, value in before.items())
    assert detail == content


def test_texts_of_an_exception_are_scrubbed_and_its_fingerprint_is_not_changed():
    error = ExceptionGroup("group", [ValueError("password=hunter2")])
    error.add_note("Authorization: Bearer abcdef123")
    error.__cause__ = KeyError("postgres://bob:hunter2@db/x")
    try:
        raise error  # password=hunter2
    except ExceptionGroup:
        exc_info = sys.exc_info()
    record = make_record("failed", exc_info=exc_info)
    row = row_of("failed", exc_info=exc_info)
    stack = row["exception_stacktrace"]
    assert "hunter2" not in stack
    assert "abcdef123" not in stack
    assert "raise error  # password=" in stack
    assert "ValueError: password=[redacted]" in stack
    assert "Authorization: Bearer [redacted]" in stack
    assert "KeyError: 'postgres://bob:[redacted]@db/x'" in stack
    off = strict(LineFormatter(ServiceSettings(), redaction=OFF).encode(record))
    assert off["exception_fingerprint"] == row["exception_fingerprint"]
    assert "hunter2" in off["exception_stacktrace"]


def test_stack_info_is_scrubbed():
    row = row_of("done", stack='Stack:\n  File "x.py", line 1\n    login(password="hunter2")')
    assert row["stack_info"].endswith('login(password="[redacted]")')


@pytest.mark.parametrize("length", [3_000, 60_000, 70_000, 300_000])
def test_a_secret_across_any_cut_leaves_no_half(length):
    class Shown:
        def __init__(self, text):
            self.text = text

        def __str__(self):
            return self.text

    secret = "ghp_" + "q" * 36
    formatters = [
        LineFormatter(ServiceSettings(), max_record_bytes=size) for size in (4_096, 65_536, 900_000)
    ]
    for shift in range(0, 40, 7):
        text = f"{'x ' * (length // 2 - shift)}{secret} {'y ' * length}"
        for record in (
            make_record("%s", text),
            make_record(text),
            make_record(
                "done", extra={"note": text, "http_path": text, "nested": {"a": text, "b": Shown(text)}}
            ),
            make_record("done", exc_info=raised(ValueError(text))),
            make_record("done", stack=text),
        ):
            assert not any("qqq" in one.encode(record).decode() for one in formatters)
            assert "qqq" not in ConsoleFormatter().format(record)


def test_what_is_cut_before_it_is_looked_at_counts_as_cut():
    row = row_of("%s", "password=hunter2 " * 1_000_000)
    assert row["truncated"] is True
    assert row["extra"]["original_bytes"] > 17_000_000
    assert "hunter2" not in row["message"]
    assert "characters left out" in row["message"]


def test_personal_columns_are_dropped_or_hashed_wherever_they_come_from():
    bound = {"client_ip": "192.0.2.7", "user_id": 7, "session_id": "abc", "http_path": "/x"}

    def row_with(**redaction):
        formatter = LineFormatter(ServiceSettings(), redaction=RedactionSettings(**redaction))
        token = context.enter(bound)
        try:
            record = make_record("done", extra={"http_query": "a=1", "user_id": "8"})
            return strict(formatter.encode(record)), strict(formatter.encode(make_record("done")))
        finally:
            context.leave(token)

    kept, _ = row_with()
    assert (kept["client_ip"], kept["user_id"], kept["http_query"]) == ("192.0.2.7", "8", "a=1")
    for dropped in row_with(personal_data=PersonalData.DROP):
        assert not {"client_ip", "user_id", "session_id", "http_query"} & dropped.keys()
        assert dropped["http_path"] == "/x"
    hashed, other = row_with(personal_data=PersonalData.HASH, hash_key="k")
    names = ("client_ip", "user_id", "session_id", "http_query")
    assert all(re.fullmatch("[0-9a-f]{16}", hashed[name]) for name in names)
    assert hashed["client_ip"] == other["client_ip"]
    assert hashed["user_id"] != other["user_id"]
    slow = LineFormatter(
        ServiceSettings(), redaction=RedactionSettings(personal_data=PersonalData.HASH, hash_key="k")
    )
    token = context.enter(bound)
    try:
        assert row_of("done", stack="x", formatter=slow)["user_id"] == other["user_id"]
    finally:
        context.leave(token)


def test_the_name_of_the_platforms_sign_in_is_personal_where_it_is_bound():
    token = context.enter({"user_name": "ada@shop.example", "tenant": "acme"})
    try:
        kept, dropped, hashed = (
            row_of("done", formatter=LineFormatter(ServiceSettings(), redaction=redaction))["extra"]
            for redaction in (
                RedactionSettings(),
                RedactionSettings(personal_data=PersonalData.DROP),
                RedactionSettings(personal_data=PersonalData.HASH, hash_key="k"),
            )
        )
    finally:
        context.leave(token)
    assert kept == {"user_name": "ada@shop.example", "tenant": "acme"}
    assert dropped == {"tenant": "acme"}
    assert re.fullmatch("[0-9a-f]{16}", hashed["user_name"])


def test_a_session_id_is_a_hash_already_and_stays():
    assert row_of("done", extra={"session_id": "0123abcd"})["session_id"] == "0123abcd"


def test_a_query_loses_its_secrets_and_no_more():
    query = "page=2&access_token=abc&code=abcdefghijklmnop123&sig=x%2F"
    assert row_of("done", extra={"http_query": query})["http_query"] == (
        "page=2&access_token=[redacted]&code=[redacted]&sig=[redacted]"
    )
    assert row_of("done", extra={"http_query": "code=abcdefghijklmnop123"})["http_query"] == "code=[redacted]"


def test_two_formatters_with_other_rules_do_not_share_what_is_bound():
    open_line = LineFormatter(ServiceSettings(), redaction=OFF)
    line = LineFormatter(ServiceSettings())
    token = context.bind(api_key="abc")
    try:
        for _ in range(2):
            assert row_of("done", formatter=open_line)["extra"] == {"api_key": "abc"}
            assert row_of("done", formatter=line)["extra"] == {"api_key": "[redacted]"}
    finally:
        context.unbind(token)


def test_switched_off_all_three_show_everything():
    record = make_record("password=hunter2", extra={"token": "abc"})
    assert row_of("password=hunter2", formatter=LineFormatter(ServiceSettings(), redaction=OFF))[
        "message"
    ] == ("password=hunter2")
    assert '"token":"abc"' in JsonFormatter(redaction=OFF).format(record)
    assert "hunter2" in ConsoleFormatter(OFF).format(record)


@pytest.mark.parametrize("name", ["LOG_REDACTION", "LOG_REDACTION_KEYS"])
def test_formatters_made_by_hand_follow_the_environment(monkeypatch, name):
    monkeypatch.setenv(name, "false" if name == "LOG_REDACTION" else "note")
    record = make_record("password=hunter2 note=abc", extra={"note": "abc"})
    is_off = name == "LOG_REDACTION"
    for shown in (JsonFormatter().format(record), ConsoleFormatter().format(record)):
        assert ("hunter2" in shown) is is_off
        assert ("abc" in shown) is is_off


def test_a_rule_given_as_plain_data_is_checked():
    for make in (JsonFormatter, ConsoleFormatter):
        with pytest.raises(ValueError, match=r"redaction has 'colour'.*mode is x"):
            make(redaction={"colour": 1, "mode": "x"})
    made = JsonFormatter(redaction={"mode": "hash", "hash_key": "k", "keys": ["note"]})
    same = JsonFormatter(redaction=RedactionSettings(mode=Mask.HASH, hash_key="k", keys=("note",)))
    record = make_record("done", extra={"note": "abc"})
    assert made.format(record) == same.format(record)
    assert "[redacted:" in made.format(record)


def test_the_rows_as_text_hold_no_secret_shape():
    for marked in SECRETS.values():
        text = re.sub("[«»]", "", marked)
        line = LineFormatter(ServiceSettings()).encode(make_record("%s", text, extra={"note": text}))
        assert find_secrets(line.decode()) == []


def test_nothing_is_evaluated_to_be_scrubbed():
    lazy = type("SimpleLazyObject", (), {"__module__": "django.utils.functional", "__str__": lambda _: 1 / 0})
    base = type("LazyObject", (), {"__module__": "django.utils.functional"})
    made = type("User", (lazy, base), {})()
    row = row_of("done", extra={"user": made, "password": made})
    assert "not evaluated" in row["extra"]["user"]
    assert "not evaluated" in row["extra"]["password"]


def test_the_examples_of_the_documents_are_true():
    page = (Path(__file__).parents[2] / "docs" / "redaction.md").read_text()
    examples = re.findall(r"^\| `([^`]+)` \| `([^`]+)` \|$", page, re.MULTILINE)
    assert len(examples) == 15
    assert [row_of("%s", logged)["message"] for logged, _ in examples] == [shown for _, shown in examples]
