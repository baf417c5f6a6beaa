"""A program that logs what applications log, and keeps a ledger of its own: see ``table_keeper``."""

import asyncio
import datetime as dt
import decimal
import enum
import json
import logging
import multiprocessing
import os
import pathlib
import sys
import threading
import uuid

import flask
from table_keeper import begin, bind, bound, serve, tell_process

import hublog
from hublog.flask import HubLog

TRACE, NOTICE = 5, 25
ODD = 'é ü 漢字 😀 👩‍👩‍👧 שלום \u202eabc\u202c \x00\x01\x7f \u2028\u2029\x85 \r\n\t " \\ \\u0041 <b> {} %s'

log = logging.getLogger("shop.checkout")


class OrderError(ValueError):
    __module__ = "shop.errors"


class Colour(enum.Enum):
    RED = "red"


class Shown:
    def __str__(self):
        return f"shown as text {ODD}"


def fail(number):
    raise OrderError(f"order {number} is broken: {ODD}")


def log_levels_and_arguments():
    logging.addLevelName(TRACE, "TRACE")
    logging.addLevelName(NOTICE, "NOTICE")
    for level in (TRACE, 10, 20, NOTICE, 30, 35, 40, 50, 60):
        log.log(level, "at level %d", level)
    logging.getLogger().info("on the root logger")
    logging.getLogger("shop.é😀").info("a name in %s", "Unicode")
    log.info("%s and %r, %d %5.2f %%", "text", ["a", None], 7, 2.5)
    log.info("%(order)s of %(who)s", {"order": 7, "who": "Ada"})
    log.info("100 %")
    log.info("")
    log.info(Shown())
    log.info(OrderError("an exception as the message"))
    log.info(12.5)
    log.info("does not %d fit", "really")
    log.info("odd: %s", ODD)
    log.info(ODD)
    log.info("lone \ud800 surrogate", extra={"lone": "\udfff", "k\ud800": 1})
    log.info("line one\nline two\r\nline three\u2028four\x1e")
    log.info("with a stack", stack_info=True)
    log.info(
        "with a stack and %s", ODD, stack_info=True, extra={"tenant_id": "acme", "http_status_code": "x"}
    )


OPEN = {
    "event_name": "order.placed", "trace_id": "0af7651916cd43dd8448eb211c80319c",
    "span_id": "b7ad6b7169203331", "parent_span_id": "00f067aa0ba902b7", "correlation_id": "c-1",
    "request_id": "r-1", "http_method": "PUT", "http_host": "shop.example:8443", "http_path": "/é/😀",
    "http_route": "/<name>", "http_query": "a=1&b=%20", "http_user_agent": "agent \x00", "client_ip": "::1",
    "http_request_size": 2**63 - 1, "view_name": "orders.put", "http_status_code": 204,
    "http_response_size": 0, "duration_ms": 12.25, "user_id": "u-1", "user_authenticated": True,
    "session_id": "s-1", "tenant_id": "acme", "task_id": "t-1", "task_name": "shop.tasks.pay",
    "task_queue": "slow", "task_retries": 3, "db_query_count": 2**31 - 1, "db_duration_ms": 0.1,
    "metrics": {"queue": 5, "rate": 0.5, "deep": {"a": [1, None, True, "x"]}}, "record_type": "task",
}  # fmt: skip
MISFITS = ("abc", 12.5, 2**31, -(2**31) - 1, 2**63, 10**30, True, float("nan"), float("-inf"), [1], {"a": 1})


def log_open_columns():
    log.info("every open column", extra=OPEN)
    log.info("every open column, the slow way", extra=OPEN, stack_info=True)
    log.info("other types", extra={"user_id": 42, "tenant_id": True, "task_id": 1.5, "session_id": [1, "é"]})
    log.info("false, zero", extra={"user_authenticated": False, "task_retries": 0, "duration_ms": 0.0})
    log.info("nothing", extra={"user_id": None, "tenant_id": "", "task_retries": None, "metrics": None})
    for edge in (2**31 - 1, -(2**31)):
        log.info("edge of 32 bits", extra={"http_status_code": edge, "task_retries": edge})
    for edge in (2**63 - 1, -(2**63), 2**53 + 1, 2**31):
        log.info("edge of 64 bits", extra={"http_request_size": edge, "items": edge})
    for real in (5, -1, 1e308, 5e-324, -0.0, 0.1 + 0.2, 1 / 3, 2**53):
        log.info("a real", extra={"duration_ms": real, "db_duration_ms": real, "free": real})
    for value in MISFITS:
        log.info("misfit %r", value, extra={"http_status_code": value, "user_authenticated": value, "n": 1})
    for value in ("abc", 12.5, 2**63, True, [1]):
        log.info("misfit %r", value, extra={"http_request_size": value, "duration_ms": f"{value}", "n": 1})
    for value in (2**64, float("inf"), "12.5", None, {"deep": float("nan")}, [], "text", 5, {}):
        log.info("a bag of %r", value, extra={"metrics": value, "free": value, "db_duration_ms": 1})
    log.info("long columns", extra={"http_path": "/" + "é" * 3000, "user_id": "u" * 2048, "free": "x" * 5000})


def log_extra():
    moment = dt.datetime(2026, 11, 23, 13, 10, 31, 123456, tzinfo=dt.UTC)
    log.info("nested", extra={"order": {"id": 7, "lines": [{"sku": "a"}, {"sku": ODD}], "": None, "é": {}}})
    log.info("numbers", extra={"huge": 10**40, "nan": float("nan"), "big": 2**63, "small": -(2**63) - 1})
    for number in (2**63, 2**64 - 1, -(2**63) - 1):
        log.info("a number of more than 64 bits", extra={"big": number, "metrics": number})
    log.info("keys", extra={"a b": 1, 'quo"te': 2, "\x00": 3, "back\\slash": 4, "$.x": 5, ODD: 6})
    log.info("keys of other types", extra={"bag": {1: "int", None: "none", 2.5: "float", (1, 2): "tuple"}})
    log.info(
        "types", extra={"at": moment, "day": moment.date(), "uuid": uuid.UUID(int=5), "bytes": b"a\xff\n"}
    )
    log.info(
        "types", extra={"decimal": decimal.Decimal("1.10"), "path": pathlib.Path("/srv"), "shown": Shown()}
    )
    log.info("types", extra={"set": {1}, "tuple": (1, "a"), "enum": Colour.RED, "error": OrderError("x")})
    # Columns that are not the application's to fill.
    closed = (
        "level",
        "timestamp",
        "logger_name",
        "sequence",
        "record_id",
        "sent_at",
        "service_name",
        "truncated",
    )
    log.info("closed columns", extra={name: f"mine: {name}" for name in (*closed, "extra", "exception_type")})


def log_bound():
    with bound(tenant_id="acme", basket=5, request_id="r-9"):
        log.info("bound")
        log.info("bound and given", extra={"tenant_id": "other", "basket": 6, "more": [1]})
        with bound(user_id=7, basket={"a": ODD}, http_status_code=12.5, task_retries=2):
            log.info("bound twice")
            log.info("bound twice, and a stack", stack_info=True)
        log.info("bound once again")
        pump = threading.Thread(target=log.info, args=("a thread has its own",), name="pump-é😀")
        with hublog.detached_context():
            pump.start()
        pump.join()
    log.info("nothing is bound")


def log_exceptions():
    for number in (1, 2):
        try:
            fail(number)
        except OrderError:
            log.exception("failed %d", number)
    try:
        try:
            {}["key"]
        except KeyError as error:
            raise OrderError("with a cause") from error
    except OrderError as error:
        error.add_note("a note\nof two lines")
        log.error("with a cause", exc_info=error, extra={"tenant_id": "acme", "free": 1})
    try:
        try:
            fail(3)
        finally:
            json.loads("{")
    except ValueError:
        log.warning("with a context and a stack", exc_info=True, stack_info=True)
    log.error("no exception at all", exc_info=True)
    log.error("never raised", exc_info=OrderError())
    try:
        raise ExceptionGroup("several", [OrderError("one"), KeyError("two")])
    except ExceptionGroup:
        log.exception("a group")
    try:
        (again := lambda depth: again(depth + 1))(0)
    except RecursionError:
        log.exception("a deep one")
    try:
        raise OrderError("long " * 5000)
    except OrderError:
        log.exception("a long one")


def log_large():
    log.info("start %s end", "m" * 300_000, extra={"user_id": "u-1"})
    log.info("start " + "é\n" * 150_000 + "end", stack_info=True)
    log.info("large and slow " + "s" * 100_000, stack_info=True)
    log.info(
        "large extra",
        extra={"text": "t" * 200_000, "more": "m" * 30_000, "list": [{"n": n} for n in range(300)], "n": 1},
    )
    with bound(tenant_id="acme", trace_id="0af7651916cd43dd8448eb211c80319c"):
        try:
            raise OrderError("x" * 70_000)
        except OrderError:
            log.exception("large all over %s", "y" * 70_000, extra={"text": "z" * 70_000})


def log_foreign():
    """Records that came from elsewhere, through a socket say."""
    foreign = {"name": "else.where", "msg": "from elsewhere", "levelname": "INFO", "levelno": 20}
    places = {"pathname": "/srv/other/a.py", "module": "a", "funcName": "f", "lineno": 12}
    for moment in (1785000000, 1785000000.0005, 1785000000.998, 1785000000.999999, 0.25):
        log.handle(logging.makeLogRecord({**foreign, **places, "created": moment}))
    log.handle(
        logging.makeLogRecord({**foreign, **places, "thread": 2**62, "threadName": "t", "processName": None})
    )
    log.handle(logging.makeLogRecord({**foreign, **places, "thread": 2**64 - 1, "lineno": 2**31}))
    log.log(2**40, "a level of 40 bits")

    def factory(*args, **kwargs):
        record = logging.LogRecord(*args, **kwargs)
        record.shard, record.task_queue = "s-1", "from the factory"
        return record

    logging.setLogRecordFactory(factory)
    log.info("made by a factory", extra={"free": 1})
    log.exception("made by a factory, and no exception")
    logging.setLogRecordFactory(logging.LogRecord)


async def log_tasks():
    async def work(number):
        with bound(task_id=f"t-{number}"):
            await asyncio.sleep(0)
            log.info("in task %d", number)

    await asyncio.gather(*(asyncio.create_task(work(number), name=f"task-{number}-é") for number in range(3)))
    log.info("in the first task")


def make_app():
    app = flask.Flask("shop")
    HubLog(app, strict=True)

    @app.get("/orders/<int:number>")
    def order(number):
        bind(tenant_id="acme", user_id=number, user_authenticated=True)
        log.info("order %d", number, extra={"db_query_count": 2, "db_duration_ms": 1.5})
        return {"number": number}

    @app.post("/orders")
    def create():
        log.warning("created", extra={"basket": 3})
        return "é", 201

    @app.get("/fail")
    def broken():
        fail(5)

    bills = flask.Blueprint("bills", __name__, url_prefix="/bills")

    @bills.get("/<name>/", endpoint="one")
    def bill(name):
        log.info("bill of %s", name)
        return ""

    app.register_blueprint(bills)
    return app


def log_requests(app):
    trace = {
        "traceparent": "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
        "Host": "shop.example:8443",
    }
    ids = {"X-Request-ID": "abc-1", "X-Correlation-ID": "edge-1", "X-Forwarded-For": "203.0.113.9"}
    agent = {
        "User-Agent": "tester/1.0 " + "x" * 300,
        "traceparent": "00-" + "0" * 32 + "-00f067aa0ba902b7-01",
    }
    one, many = "/orders/<int:number>", "/orders"
    requests = (
        ("GET", one, "order", "/orders/7?secret=1", {**trace, **ids}),
        ("POST", many, "create", "/orders", agent, b"x" * 1234),
        (
            "GET",
            "/bills/<name>/",
            "bills.one",
            "/bills/%D7%A9%20%F0%9F%98%80/",
            {"X-Correlation-ID": "edge-2"},
        ),
        ("GET", "", "", "/nowhere", {}),
        ("GET", "/fail", "broken", "/fail", trace),
    )
    names = ("method", "route", "view", "path", "headers", "data")
    for number, request in enumerate(requests):
        serve(app, number, **dict(zip(names, request, strict=False)))
    log.info("after the requests")


def child():
    """A process of its own, without a framework."""
    hublog.setup_logging()
    begin("")
    for number in range(5):
        log.info("child %d", number)


def forked():
    tell_process("flask")
    with bound(worker="forked"):
        for number in range(5):
            log.info("forked child %d", number)


def log_processes():
    for method, work in (("spawn", child), ("fork", forked)):
        process = multiprocessing.get_context(method).Process(target=work, name=f"worker-{method}-é")
        process.start()
        process.join()
        if process.exitcode:
            sys.exit(f"the child of {method} ended with {process.exitcode}")


def main():
    app = make_app()
    begin("flask")
    parts = {
        "levels": log_levels_and_arguments,
        "columns": log_open_columns,
        "extra": log_extra,
        "bound": log_bound,
        "exceptions": log_exceptions,
        "large": log_large,
        "foreign": log_foreign,
        "requests": lambda: log_requests(app),
        "tasks": lambda: asyncio.run(log_tasks()),
        "processes": log_processes,
    }
    for name in os.environ.get("TABLE_PARTS", " ".join(parts)).split():
        parts[name]()
    log.info("the end")


if __name__ == "__main__":
    main()
