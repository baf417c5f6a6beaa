import logging
import math
import re
from pathlib import Path

import pytest

from hublog.settings.values import (
    BOOLEAN,
    HEADER_NAME,
    HOST_NAME,
    HUB_NAME,
    LEVEL,
    PATH,
    SECONDS,
    TEXT,
    InvalidValueError,
    Packing,
    choice,
    integer,
    shown,
    size,
)


class Odd:
    def __repr__(self):
        raise RuntimeError


ALLOWED = {
    "boolean": (
        BOOLEAN,
        *[
            (value, True)
            for value in ("true", "TRUE", "True", "1", "yes", "Yes", "on", "ON", " on ", 1, True)
        ],
        *[(value, False) for value in ("false", "False", "0", "no", "NO", "off", "Off", 0, False)],
    ),
    "level": (
        LEVEL,
        ("debug", 10),
        ("Warn", 30),
        ("FATAL", 50),
        ("25", 25),
        ("NOTSET", 0),
        (logging.ERROR, 40),
    ),
    "integer": (integer(1), ("10_000", 10_000), (" 5 ", 5), ("+5", 5)),
    "size": (
        size(0),
        ("0", 0),
        ("32MiB", 32 << 20),
        ("32 mib", 32 << 20),
        ("10MB", 10_000_000),
        ("2kB", 2_000),
        ("512 B", 512),
    ),
    "seconds": (SECONDS, ("0.001", 0.001), (3, 3.0), ("86400", 86_400.0)),
    "path": (PATH, ("logs/shop", Path("logs/shop")), (Path("/a b"), Path("/a b"))),
    "text": (TEXT, ("Größe 1", "Größe 1")),
    "hub": (HUB_NAME, ("a.b_c-1", "a.b_c-1")),
    "host": (HOST_NAME, ("shop.servicebus.windows.net", "shop.servicebus.windows.net")),
    "header": (HEADER_NAME, ("x-request-id", "x-request-id")),
    "choice": (choice(Packing), (" Lines ", Packing.LINES), (Packing.SINGLE, Packing.SINGLE)),
}

ARABIC_ONE = "\u0661"

REFUSED = {
    "boolean": (BOOLEAN, "2", "y", "ja", "tru", "none", 2, -1, 1.0, [], b"true", Odd()),
    "level": (LEVEL, "LOUD", "-1", "1.5", -1, True, 1.0, None, [], "Level 15"),
    "integer": (integer(1, 9), "0", "10", "1.0", "1e0", "0x1", ARABIC_ONE, "1__0", "", 0, 10, True, 1.0),
    "large integer": (integer(1), "9" * 5_000, 10**12, "2147483648"),
    "size": (size(1), "0", "-1", "1.5MiB", "1 parsec", "MiB", "1M", "9" * 400, True, 1.5, 1 << 41, []),
    "seconds": (SECONDS, "nan", "inf", "-inf", "0", "-1", "1s", "86401", "", True, math.nan, math.inf),
    "other seconds": (SECONDS, 0, -1.0, 10**400, "1e400", [], None),
    "path": (PATH, "a\0b", "a\nb", 5, b"/tmp", True, "~nobody-of-this-name/x"),
    "text": (TEXT, "a\nb", "a\x1b[1m", "x" * 257, 1.1, True, b"a", "\udc80"),
    "hub": (HUB_NAME, "-a", "a-", "a b", "a/b", "x" * 257, "ü", 1.5),
    "host": (HOST_NAME, "sb://a/", "a/b", "a:5671", "a b", "-a"),
    "header": (HEADER_NAME, "X Request", "X-Request-ID:", "a\r\nb", "x" * 129),
    "choice": (choice(Packing), "zip", "", 1, None, []),
}


def cases(table):
    for name, (kind, *values) in table.items():
        for number, value in enumerate(values):
            parts = value if table is ALLOWED else (value,)
            yield pytest.param(kind, *parts, id=f"{name}-{number}")


@pytest.mark.parametrize(("kind", "value", "expected"), list(cases(ALLOWED)))
def test_an_allowed_value_is_read(kind, value, expected):
    found = kind.parse(value)
    assert (found, type(found)) == (expected, type(expected))


@pytest.mark.parametrize(("kind", "value"), list(cases(REFUSED)))
def test_any_other_value_is_refused(kind, value):
    with pytest.raises(InvalidValueError):
        kind.parse(value)


def test_a_level_that_the_application_has_named_is_known():
    logging.addLevelName(7, "TRACE")
    try:
        assert LEVEL.parse("trace") == 7
    finally:
        logging._nameToLevel.pop("TRACE")
        logging._levelToName.pop(7)


def test_a_home_directory_is_filled_in(monkeypatch):
    monkeypatch.setenv("HOME", "/home/shop")
    assert PATH.parse("~/logs") == Path("/home/shop/logs")


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (0, "0"),
        ("LOUD", "LOUD"),
        ("a b", "'a b'"),
        ("a\nb", r"'a\nb'"),
        (True, "True"),
        (None, "None"),
        ([1], "[1] (list)"),
        (Odd(), "<Odd> (Odd)"),
    ],
    ids=["zero", "word", "words", "line break", "bool", "none", "list", "no repr"],
)
def test_a_value_is_shown_on_one_line(value, expected):
    assert shown(value) == expected


def test_a_long_value_is_cut():
    assert shown("ab " * 400) == "'" + ("ab " * 20)[:59] + "..."


@pytest.mark.parametrize(("value", "text"), [(0, "0"), (1000, "1000"), (2048, "2 KiB"), (3 << 20, "3 MiB")])
def test_a_size_is_documented_in_its_largest_unit(value, text):
    assert size(0).show(value) == text


@pytest.mark.parametrize(
    "secret",
    [
        "Endpoint=sb://a/;SharedAccessKeyName=b;SharedAccessKey=c",
        "SharedAccessSignature sr=x&sig=y",
        "dGhpcyBpcyBhIGtleSBvZiBzdWZmaWNpZW50IGxlbmd0aA==",
        ["Endpoint=sb://a/;SharedAccessKey=c"],
        {"password": "c"},
        "https://user:c@gateway.example:443",
        " user:c@gateway.example",
        "http://:c@gateway.example",
        ["amqps://user:c@gateway.example"],
    ],
)
def test_a_value_that_looks_like_a_secret_is_not_shown(secret):
    expected = r"a string of \d+ characters, not shown since it may contain a secret"
    assert re.fullmatch(expected, shown(secret))
