"""Records that are handled later than they are made, or by another thread: whose fields do they have?"""

import asyncio
import copy
import io
import json
import logging
import pickle
import subprocess
import sys
import threading
from logging.handlers import BufferingHandler, MemoryHandler, QueueHandler, QueueListener
from queue import Queue, SimpleQueue

import pytest

import hublog
from hublog.capture import context, origin, thread_context
from hublog.testing import capture_records

LIMIT_S = 10
A = {"request_id": "req-a", "http_path": "/a", "tenant_id": "acme"}
B = {"request_id": "req-b", "http_path": "/b", "tenant_id": "umbrella"}
NAMES = tuple(A)


@pytest.fixture(autouse=True)
def clean():
    token = context.lend(context.EMPTY)
    thread_context.install()
    yield
    context.restore(token)
    assert not [entry for entry in origin.kept.values() if entry[0]() is None]


class Shop:
    """A logger, a hub in memory, a JSON line and a console line for each record."""

    def __init__(self, records):
        self.records = records
        self.logger = logging.Logger("shop", logging.DEBUG)
        self.lines, self.screen = io.StringIO(), io.StringIO()
        self.hub = hublog.EventHubHandler(logging.DEBUG)
        file, console = logging.StreamHandler(self.lines), logging.StreamHandler(self.screen)
        file.setFormatter(hublog.JsonFormatter())
        console.setFormatter(hublog.ConsoleFormatter())
        self.destinations = [self.hub, file, console]

    def fields(self, message):
        """Return the fields that a record has at all three destinations, which must be the same."""
        rows = [row for row in self.records.rows if row["message"] == message]
        lines = [json.loads(line) for line in self.lines.getvalue().splitlines()]
        lines = [line for line in lines if line["message"] == message]
        found = [{name: row[name] for name in NAMES if name in row} for row in [*rows, *lines]]
        assert len(found) == 2
        assert found[0] == found[1]
        [shown] = [line for line in self.screen.getvalue().splitlines() if line.endswith(message)]
        assert ("req-" in shown) is ("request_id" in found[0])
        assert found[0].get("request_id", "") in shown
        return found[0]


class Fan(logging.Handler):
    """Hands each record to all destinations at once."""

    def __init__(self, handlers):
        super().__init__()
        self.handlers = handlers

    def emit(self, record):
        for handler in self.handlers:
            handler.handle(record)


class Own(logging.Handler):
    """A handler of the application's that keeps records without hublog's knowing of it."""

    def __init__(self, target):
        super().__init__()
        self.records, self.target = [], target

    def emit(self, record):
        self.records.append(record)

    def flush(self):
        for record in self.records:
            self.target.handle(record)
        self.records = []


@pytest.fixture
def shop():
    with capture_records(level="DEBUG") as records:
        yield Shop(records)


def request(fields, function, *args):
    token = context.resume(context.Context(fields))
    try:
        return function(*args)
    finally:
        context.leave(token)


def logged(shop, handler):
    """Log from request A, from nowhere and from request B; B's record comes last."""
    shop.logger.addHandler(handler)
    request(A, shop.logger.info, "of a")
    shop.logger.info("of none")
    request(B, shop.logger.info, "of b")


@pytest.mark.parametrize("moment", ["in b", "in none"])
def test_what_a_memory_handler_flushes_later_has_the_fields_of_its_own_request(shop, moment):
    handler = MemoryHandler(100, target=Fan(shop.destinations))
    logged(shop, handler)
    request(B, handler.flush) if moment == "in b" else handler.flush()
    assert (shop.fields("of a"), shop.fields("of none"), shop.fields("of b")) == (A, {}, B)


def test_an_error_that_flushes_the_others_leaves_them_their_fields(shop):
    shop.logger.addHandler(MemoryHandler(100, flushLevel=logging.ERROR, target=Fan(shop.destinations)))
    request(A, shop.logger.info, "of a")
    request(B, shop.logger.error, "of b")
    shop.logger.error("of none")
    assert (shop.fields("of a"), shop.fields("of none"), shop.fields("of b")) == (A, {}, B)


@pytest.mark.parametrize("is_started_in_a_request", [False, True])
def test_a_queue_listener_gives_each_record_its_own_fields(shop, is_started_in_a_request):
    queue = Queue()
    listener = QueueListener(queue, *shop.destinations)
    request(B, listener.start) if is_started_in_a_request else listener.start()
    logged(shop, QueueHandler(queue))
    listener.stop()
    assert (shop.fields("of a"), shop.fields("of none"), shop.fields("of b")) == (A, {}, B)


class Bare(QueueHandler):
    """As many write it: the record goes into the queue as it is."""

    def emit(self, record):
        self.enqueue(record)


class Whole(QueueHandler):
    def prepare(self, record):
        return record


class Copy(QueueHandler):
    def prepare(self, record):
        return copy.copy(super().prepare(record))


class Put(QueueHandler):
    def enqueue(self, record):
        self.queue.put(record)


@pytest.mark.parametrize("kind", [Bare, Whole, Put])
def test_queue_handlers_of_the_applications_own_kind_do_too(shop, kind):
    queue = SimpleQueue()
    listener = QueueListener(queue, *shop.destinations)
    logged(shop, kind(queue))
    listener.start()
    listener.stop()
    assert (shop.fields("of a"), shop.fields("of none"), shop.fields("of b")) == (A, {}, B)


def test_a_queue_behind_a_memory_handler_gives_each_record_its_own_fields(shop):
    queue = Queue()
    memory = MemoryHandler(100, target=QueueHandler(queue))
    logged(shop, memory)
    request(B, memory.flush)
    listener = QueueListener(queue, *shop.destinations)
    listener.start()
    listener.stop()
    assert (shop.fields("of a"), shop.fields("of none"), shop.fields("of b")) == (A, {}, B)


def test_a_record_that_waits_keeps_its_fields_long_after_its_request(shop, monkeypatch):
    monkeypatch.setattr(context, "LINGER_S", 0.0)
    handler = MemoryHandler(100, target=Fan(shop.destinations))
    logged(shop, handler)
    request(B, handler.flush)
    assert shop.fields("of a") == A


def test_what_a_request_binds_later_is_not_on_what_it_logged_before(shop):
    handler = MemoryHandler(100, target=Fan(shop.destinations))
    shop.logger.addHandler(handler)

    def serve():
        shop.logger.info("before")
        context.bind(tenant_id="later")
        shop.logger.info("after")
        handler.flush()

    request(A, serve)
    assert shop.fields("before") == A
    assert shop.fields("after") == {**A, "tenant_id": "later"}


@pytest.mark.parametrize("flush_in", ["b", "an outer unit", "thread", "task"])
def test_what_a_handler_that_hublog_does_not_know_flushes_has_no_fields_of_others(shop, flush_in):
    handler = Own(Fan(shop.destinations))
    shop.logger.addHandler(handler)
    if flush_in == "an outer unit":
        token = context.bind(**B)
        request(A, shop.logger.info, "of a")
        handler.flush()
        context.unbind(token)
    elif flush_in == "thread":
        request(A, shop.logger.info, "of a")
        thread = threading.Thread(target=request, args=(B, handler.flush))
        thread.start()
        thread.join(LIMIT_S)
    elif flush_in == "task":
        asyncio.run(interleaved(shop, handler))
    else:
        request(A, shop.logger.info, "of a")
        request(B, handler.flush)
    assert shop.fields("of a") == {}


async def interleaved(shop, handler):
    """Begin B, log from A, flush in B."""
    begun, logged = asyncio.Event(), asyncio.Event()

    async def serve_b():
        context.enter(B)
        begun.set()
        await logged.wait()
        if not hasattr(logging, "logAsyncioTasks"):  # before Python 3.12 a record does not say its task
            context.bind(seen=True)
        handler.flush()

    async def serve_a():
        await begun.wait()
        context.enter(A)
        shop.logger.info("of a")
        logged.set()

    await asyncio.gather(serve_b(), serve_a())


def test_a_handler_in_between_that_hands_over_at_once_changes_nothing(shop):
    shop.logger.addHandler(Fan([Fan(shop.destinations)]))
    request(A, shop.logger.info, "of a")
    shop.logger.info("of none")
    assert (shop.fields("of a"), shop.fields("of none")) == (A, {})


def test_fields_that_a_filter_binds_are_on_the_record_that_it_sees(shop):
    class Binding(logging.Filter):
        def filter(self, record):
            context.bind(tenant_id="filtered")
            return True

    shop.logger.addFilter(Binding())
    shop.logger.addHandler(Fan(shop.destinations))
    request(A, shop.logger.info, "of a")
    assert shop.fields("of a") == {**A, "tenant_id": "filtered"}


@pytest.mark.parametrize("change_s", [-3600.0, 3600.0])
def test_a_wall_clock_that_jumps_takes_no_fields(shop, monkeypatch, change_s):
    import time

    shop.logger.addHandler(Fan(shop.destinations))
    real, real_ns = time.time, time.time_ns

    def serve():
        monkeypatch.setattr(time, "time", lambda: real() + change_s)
        monkeypatch.setattr(time, "time_ns", lambda: real_ns() + int(change_s * 1e9))
        shop.logger.info("of a")

    request(A, serve)
    assert shop.fields("of a") == A


class Numbered(logging.LogRecord):
    pass


def test_another_record_factory_changes_nothing(shop):
    former = logging.getLogRecordFactory()
    logging.setLogRecordFactory(Numbered)
    try:
        handler = MemoryHandler(100, target=Fan(shop.destinations))
        logged(shop, handler)
        request(B, handler.flush)
    finally:
        logging.setLogRecordFactory(former)
    assert (shop.fields("of a"), shop.fields("of none"), shop.fields("of b")) == (A, {}, B)


def test_a_record_made_by_hand_in_a_request_has_its_fields(shop):
    shop.logger.addHandler(Fan(shop.destinations))

    def serve():
        shop.logger.handle(logging.makeLogRecord({"msg": "of a", "levelno": 20, "levelname": "INFO"}))

    request(A, serve)
    assert shop.fields("of a") == A


def test_a_record_made_by_hand_before_the_request_has_none(shop):
    record = logging.makeLogRecord({"msg": "of none", "levelno": 20, "levelname": "INFO"})
    request(B, Fan(shop.destinations).handle, record)
    assert shop.fields("of none") == {}


ELSEWHERE = """
import logging, pickle, sys
sys.stdout.buffer.write(pickle.dumps(logging.LogRecord("shop", 20, "x.py", 1, "of a", None, None)))
"""


@pytest.mark.parametrize("how", ["process", "socket"])
def test_a_record_of_another_process_has_no_fields_of_this_one(shop, how):
    other = subprocess.run(
        [sys.executable, "-S", "-c", ELSEWHERE], capture_output=True, check=True, timeout=60
    )
    record = pickle.loads(other.stdout)  # noqa: S301  # it is our own
    if how == "socket":

        def receive():
            shop.logger.handle(logging.makeLogRecord(record.__dict__))

        shop.logger.addHandler(Fan(shop.destinations))
        request(B, receive)
    else:
        request(B, Fan(shop.destinations).handle, record)
    assert shop.fields("of a") == {}


def test_a_record_can_be_pickled_wherever_it_waits(shop):
    handler = BufferingHandler(100)
    shop.logger.addHandler(handler)
    request({**A, "lock": threading.Lock()}, shop.logger.info, "of a")
    [record] = handler.buffer
    assert vars(pickle.loads(pickle.dumps(record))) == vars(record)  # noqa: S301  # it is our own
    assert not [name for name in vars(record) if "hublog" in name]


def test_nothing_is_kept_of_records_that_are_gone(shop):
    before = len(origin.kept)
    handler = MemoryHandler(100, target=Fan(shop.destinations))
    logged(shop, handler)
    assert len(origin.kept) == before + 3
    handler.flush()
    assert len(origin.kept) == before


def test_the_setting_that_is_off_leaves_the_handlers_alone(shop):
    thread_context.uninstall()
    assert MemoryHandler.emit is BufferingHandler.emit
    assert not hasattr(BufferingHandler.emit, "__wrapped__")
    assert not hasattr(QueueHandler.prepare, "__wrapped__")
    handler = MemoryHandler(100, target=Fan(shop.destinations))
    logged(shop, handler)
    request(B, handler.flush)
    assert (shop.fields("of a"), shop.fields("of none")) == ({}, {})


def test_the_active_span_of_another_moment_is_not_the_records(shop):
    trace = pytest.importorskip("opentelemetry.trace")
    ids = trace.SpanContext(0xABC, 0xDEF, is_remote=False, trace_flags=trace.TraceFlags(1))
    others = trace.SpanContext(0x123, 0x456, is_remote=False, trace_flags=trace.TraceFlags(1))
    handler = MemoryHandler(100, target=Fan(shop.destinations))
    shop.logger.addHandler(handler)
    with trace.use_span(trace.NonRecordingSpan(ids)):
        shop.logger.info("inside")
    shop.logger.info("outside")
    with trace.use_span(trace.NonRecordingSpan(others)):
        handler.flush()
    rows = {row["message"]: row.get("trace_id") for row in shop.records.rows}
    assert rows == {"inside": f"{0xABC:032x}", "outside": None}


@pytest.mark.parametrize("is_late", [False, True])
def test_records_of_loguru_and_structlog_have_the_fields_of_their_request(shop, is_late):
    structlog = pytest.importorskip("structlog")
    from loguru import logger

    handler = MemoryHandler(100, target=Fan(shop.destinations)) if is_late else Fan(shop.destinations)
    shop.logger.addHandler(handler)
    wrapped = structlog.wrap_logger(
        shop.logger,
        processors=[structlog.stdlib.render_to_log_kwargs],
        wrapper_class=structlog.stdlib.BoundLogger,
    )
    number = logger.add(handler, format="{message}", catch=False)

    def serve(name):
        logger.info(f"loguru {name}")
        wrapped.info(f"structlog {name}")

    try:
        request(A, serve, "a")
        request(B, serve, "b")
        request(A, handler.flush)
    finally:
        logger.remove(number)
    for library in ("loguru", "structlog"):
        assert (shop.fields(f"{library} a"), shop.fields(f"{library} b")) == (A, B)


def test_a_record_that_is_handled_in_its_own_log_call_costs_no_search(shop):
    """Calls are counted, since they are the same on every machine."""
    shop.logger.addHandler(shop.hub)
    token = context.enter(A)
    shop.logger.info("first")
    called = []

    def note(frame, event, _):
        if event == "call" and frame.f_globals.get("__name__") == origin.__name__:
            called.append(frame.f_code.co_name)

    sys.setprofile(note)
    try:
        shop.logger.info("second")
    finally:
        sys.setprofile(None)
    context.leave(token)
    assert called == []
    assert [row["request_id"] for row in shop.records.rows] == ["req-a", "req-a"]
