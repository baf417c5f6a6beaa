"""A record is the same after each of our formatters and handlers; what others leave on it stays out."""

import contextlib
import copy
import io
import itertools
import logging
import sys
import threading

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.kits.any_values import LEAVES, VALUES

from hublog import ConsoleFormatter, JsonFormatter
from hublog.capture.formatter import LineFormatter
from hublog.line import RecordIds
from hublog.settings import ServiceSettings

LINES = LineFormatter(ServiceSettings(), ids=RecordIds())
WAYS = {
    "lines": LINES.encode,
    "json": JsonFormatter().format,
    "renamed": JsonFormatter(rename_fields={"message": "msg"}, static_fields={"team": "shop"}).format,
    "console": ConsoleFormatter().format,
}


class Hostile:
    """Cannot be shown."""

    def __str__(self):
        raise RuntimeError("no")

    __repr__ = __str__


def exc_info():
    try:
        try:
            raise KeyError("inner")
        except KeyError as error:
            raise LookupError("outer") from error
    except LookupError:
        return sys.exc_info()


EXC_INFO = exc_info()
CYCLE = []
CYCLE.append(CYCLE)
CORPUS = {
    "plain": {"msg": "order %d of %s", "args": (7, "Ann")},
    "mapping as arguments": {"msg": "order %(order)d", "args": {"order": 7}},
    "arguments that do not fit": {"msg": "order %d", "args": ("seven",)},
    "exception": {"msg": "failed", "exc_info": EXC_INFO},
    "exception, rendered before": {"msg": "failed", "exc_info": EXC_INFO, "exc_text": "LookupError: before"},
    "stack": {"msg": "here", "stack_info": "Stack (most recent call last):\n  File x"},
    "no text": {"msg": Hostile()},
    "bytes": {"msg": b"order"},
    "structlog": {
        "msg": {"event": "paid", "order": 7, "exc_info": True, "positional_args": (1,), "nested": {"a": [1]}},
        "_logger": logging.getLogger("x"),
        "_name": "info",
    },
    "mapping": {"msg": {"message": "paid", "order": [7]}},
    "loguru": {
        "msg": "x\nTraceback (most recent call last):\n",
        "extra": {"a": {}},
        "exc_info": EXC_INFO,
        "exc_text": "\n",
    },
    "extra": {"msg": "m", "order": 7, "tenant_id": "acme", "http_status_code": "teapot", "cart": {"a": [{}]}},
    "hostile extra": {"msg": "m", "value": Hostile(), "values": {1: Hostile(), (1, 2): CYCLE}},
    "leftovers": {"msg": "m", "message": "of another", "asctime": "then", "exc_text": "of another"},
    "odd types": {
        "msg": "m",
        "lineno": None,
        "thread": 2**70,
        "process": "x",
    },
    "long": {"msg": "m" * 200_000, "text": "x" * 200_000},
    "many": {"msg": "m", **{f"key {number}": number for number in range(2_000)}},
    "surrogates": {"msg": "\ud800", "\ud801": "\ud802"},
}


def make(attributes):
    record = logging.LogRecord("shop", 20, "/srv/shop.py", 5, "m", (), None)
    record.__dict__.update(attributes)
    return record


def state(record):
    """What the next handler would find: each object by identity, and what is inside those that can change."""
    inside = {}
    for name, value in record.__dict__.items():
        try:
            inside[name] = repr(value)
        except RuntimeError:
            inside[name] = id(value)
    return [(name, id(value)) for name, value in record.__dict__.items()], inside, type(record)


@pytest.mark.usefixtures("fields")
@pytest.mark.parametrize("name", CORPUS)
def test_no_way_of_ours_changes_a_record(name, hub):
    handler = hub.handler()
    ways = {**WAYS, "hub": handler.handle}
    for order in itertools.permutations(ways, 2):
        record = make(CORPUS[name])
        before = state(record)
        for way in order:
            ways[way](record)
            assert state(record) == before, way
    assert len(hub.rows()) == 8


@settings(max_examples=150, deadline=None)
@given(
    st.dictionaries(
        st.text(max_size=8) | st.sampled_from(["extra", "_logger", "tenant_id"]), VALUES, max_size=5
    ),
    LEAVES | st.dictionaries(st.sampled_from(["event", "message", "a"]), VALUES),
    st.permutations(list(WAYS)),
)
def test_no_way_of_ours_changes_any_record(extra, message, order):
    own = make({}).__dict__
    record = make({"msg": message, **{name: value for name, value in extra.items() if name not in own}})
    before = state(record)
    for way in order:
        WAYS[way](record)
        assert state(record) == before, way


@pytest.mark.usefixtures("fields")
@pytest.mark.parametrize("name", [name for name in CORPUS if name not in {"many", "long"}])
def test_what_other_formatters_leave_does_not_change_our_line(name):
    """Theirs first or not at all: the line is the same."""
    alone, shared = make(CORPUS[name]), make(CORPUS[name])
    shared.__dict__.update({key: alone.__dict__[key] for key in ("created", "msecs", "relativeCreated")})
    with contextlib.suppress(Exception):  # it cannot show each of them, and leaves what it has left then
        logging.Formatter("%(asctime)s %(message)s").format(shared)
    formatter = JsonFormatter()
    assert formatter.format(shared) == formatter.format(alone)


def test_a_copied_record_gives_the_same_line(fields):
    record = make(CORPUS["extra"])
    formatter = JsonFormatter()
    assert formatter.format(copy.copy(record)) == formatter.format(record)


def test_handlers_in_many_threads_share_one_record_unharmed(hub):
    record = make(CORPUS["structlog"])
    before, lines = state(record), []
    stream = logging.StreamHandler(io.StringIO())
    stream.setFormatter(ConsoleFormatter())
    threads = [
        threading.Thread(target=lambda: lines.extend(WAYS["json"](record) for _ in range(50)))
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert (state(record), len(set(lines)), len(lines)) == (before, 1, 200)
