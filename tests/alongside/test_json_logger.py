"""Options of our JSON formatter in the manner of python-json-logger, and that one beside us."""

import io
import json
import logging
import logging.config

import pytest
from pythonjsonlogger.json import JsonFormatter as PythonJsonFormatter
from tests.kits.lines import unique

import hublog
from hublog import JsonFormatter, SettingsError
from hublog.capture.columns import BY_NAME
from hublog.settings import ServiceSettings


def record(message="paid %s", args=("twice",), **extra):
    made = logging.LogRecord("shop", 20, "/srv/shop.py", 5, message, args, None)
    made.__dict__.update(extra)
    return made


def read(text):
    assert len(text.splitlines()) == 1
    return json.loads(text, object_pairs_hook=unique)


@pytest.mark.usefixtures("fields")
def test_fields_are_renamed_and_nothing_else_changes():
    plain = read(JsonFormatter().format(record(order=7, tenant_id="acme", total=2**63 - 1, rate=0.1)))
    names = {"message": "msg", "level": "severity", "extra": "context", "tenant_id": "extra"}
    renamed = read(
        JsonFormatter(rename_fields=names).format(
            record(order=7, tenant_id="acme", total=2**63 - 1, rate=0.1, created=0.0)
        )
    )
    expected = {names.get(name, name): value for name, value in plain.items()}
    assert list(renamed) == list(expected)
    assert {**renamed, "timestamp": 0} == {**expected, "timestamp": 0}


@pytest.mark.usefixtures("fields")
def test_static_fields_are_on_every_line():
    static = {"team": "shop", "cells": [1, {"a": None}], "is_canary": True, "é\u2028": "\u2029"}
    formatter = JsonFormatter(static_fields=static)
    first, second = read(formatter.format(record(order=7))), read(formatter.format(record()))
    assert {name: first[name] for name in static} == {name: second[name] for name in static} == static
    assert (first["message"], first["extra"]) == ("paid twice", {"order": 7})


def test_both_go_together_and_what_is_changed_afterwards_does_not_count():
    names, static = {"message": "msg"}, {"message": ["shop"]}
    formatter = JsonFormatter(rename_fields=names, static_fields=static)
    names["level"], static["message"] = "severity", ["other"]
    row = read(formatter.format(record()))
    assert (row["msg"], row["message"], row["level"]) == ("paid twice", ["shop"], "INFO")


def test_text_stays_one_line_whatever_it_holds():
    formatter = JsonFormatter(rename_fields={"message": "msg"}, static_fields={"team": "a\u0085b"})
    text = "a\r\nb\u2028c\u2029d\x85e\x00\ud800"
    assert read(formatter.format(record(text, None)))["msg"] == text.replace("\ud800", "\\ud800")


def test_two_columns_may_change_their_names():
    names = {"message": "message_template", "message_template": "message"}
    row = read(JsonFormatter(rename_fields=names).format(record()))
    assert (row["message"], row["message_template"]) == ("paid %s", "paid twice")


class Odd:
    """No JSON."""

    def __repr__(self):
        return "Odd()"


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"rename_fields": {"msg": "message"}}, "rename_fields has 'msg'; it must be a column"),
        ({"rename_fields": {"message": "level"}}, "gives two columns the name 'level'"),
        ({"rename_fields": {"message": "x", "level": "x"}}, "gives two columns the name 'x'"),
        ({"rename_fields": {"message": ""}}, "rename_fields['message'] is ''"),
        ({"rename_fields": {"message": 7}}, "rename_fields['message'] is 7"),
        ({"rename_fields": {"message": "\ud800"}}, "it must be a text"),
        ({"rename_fields": ["message"]}, "rename_fields is a list; it must be a mapping"),
        ({"rename_fields": {7: "x"}}, "rename_fields has 7"),
        ({"static_fields": {"level": "x"}}, "static_fields has 'level', which is a column"),
        ({"static_fields": {"extra": {}}}, "static_fields has 'extra', which is a column"),
        ({"static_fields": {"": "x"}}, "a name must be a text"),
        ({"static_fields": {7: "x"}}, "static_fields has 7"),
        ({"static_fields": {"team": Odd()}}, "static_fields['team'] is a Odd that JSON cannot hold"),
        ({"static_fields": {"n": 2**70}}, "static_fields['n'] is a int that JSON cannot hold"),
        ({"static_fields": "team=shop"}, "static_fields is a str; it must be a mapping"),
        (
            {"rename_fields": {"message": "team"}, "static_fields": {"team": "x"}},
            "static_fields has 'team', which is a column",
        ),
        ({"service": {"nmae": "shop"}}, "service has 'nmae'; it may have name, namespace"),
        ({"service": {"name": 7}}, "service.name is 7; it must be a text"),
        ({"service": 7}, "service is a int; it must be a mapping"),
        ({"framework": None}, "framework is None; it must be a text"),
        ({"datefmt": "%Y"}, "format, datefmt and style do not apply"),
        ({"style": "{"}, "format, datefmt and style do not apply"),
        ({"service": "%(message)s"}, "format, datefmt and style do not apply"),
    ],
    ids=str,
)
def test_an_invalid_option_is_told_at_once(options, told):
    with pytest.raises(SettingsError) as caught:
        JsonFormatter(**options)
    assert told in str(caught.value)


def test_all_that_is_wrong_is_told_together():
    with pytest.raises(SettingsError) as caught:
        JsonFormatter(rename_fields={"a": "b"}, static_fields={"level": 1}, service={"x": "y"})
    assert len(caught.value.problems) == 3


def test_an_unknown_option_is_an_error():
    with pytest.raises(TypeError, match="renamed_fields"):
        JsonFormatter(renamed_fields={"message": "msg"})


def test_the_names_of_the_service_may_be_a_mapping():
    row = read(JsonFormatter(service={"name": "shop"}, framework="flask").format(record()))
    same = read(JsonFormatter(ServiceSettings(name="shop")).format(record()))
    assert (row["service_name"], row["framework"], same["service_name"]) == ("shop", "flask", "shop")


def test_every_column_may_be_renamed():
    names = {name: f"x.{name}" for name in BY_NAME}
    row = read(JsonFormatter(rename_fields=names).format(record(order=7)))
    assert set(row) <= set(names.values())


@pytest.mark.parametrize("is_first", [True, False], ids=["theirs first", "ours first"])
def test_python_json_logger_goes_on_beside_us(is_first, logger, hub):
    stream = io.StringIO()
    theirs = logging.StreamHandler(stream)
    theirs.setFormatter(
        PythonJsonFormatter(
            "%(asctime)s %(levelname)s %(message)s",
            rename_fields={"message": "msg", "levelname": "severity"},
            static_fields={"team": "shop"},
            timestamp=True,
        )
    )
    logger.handlers.insert(0 if is_first else 1, theirs)
    hublog.bind(tenant_id="acme")
    try:
        raise LookupError("no such order")
    except LookupError:
        logger.exception("failed %d", 7, extra={"order": 7})
    logger.info({"message": "paid", "order": 8})
    first, second = [json.loads(line) for line in stream.getvalue().splitlines()]
    assert (first["msg"], first["severity"], first["team"], first["order"]) == (
        "failed 7",
        "ERROR",
        "shop",
        7,
    )
    assert "LookupError: no such order" in first["exc_info"]
    assert (second["msg"], second["order"]) == ("paid", 8)
    rows = hub.rows()
    assert [(row["message"], row["extra"], row["tenant_id"]) for row in rows] == [
        ("failed 7", {"order": 7}, "acme"),
        ("paid", {"order": 8}, "acme"),
    ]
    assert rows[0]["exception_type"] == "LookupError"
