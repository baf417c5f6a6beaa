"""loguru with our handler as its sink, and with ``logging`` intercepted by loguru."""

import logging
import threading

import pytest
from loguru import logger as loguru

import hublog
from hublog.internal_log import report

HEAD = "Traceback (most recent call last):"


class InterceptHandler(logging.Handler):
    """As loguru's documentation has it."""

    def emit(self, record):
        try:
            level = loguru.level(record.levelname).name
        except ValueError:
            level = record.levelno
        frame, depth = logging.currentframe(), 0
        while frame and (depth == 0 or frame.f_code.co_filename == logging.__file__):
            frame, depth = frame.f_back, depth + 1
        loguru.opt(depth=depth, exception=record.exc_info).log(level, record.getMessage())


@pytest.fixture(autouse=True)
def _loguru(fields):
    loguru.remove()
    yield
    loguru.remove()


@pytest.fixture
def sink(hub):
    """Give loguru our handler with these options; the rows are in the hub."""
    return lambda **options: loguru.add(hub.handler(), level=0, **{"format": "{message}", **options})


def test_message_level_place_and_bound_values_arrive(sink, hub):
    sink()
    hublog.bind(request_id="r-1")
    loguru.bind(order=7, tenant_id="acme").info("paid {} of {total}", 3, total=4)
    row = hub.row()
    assert (row["message"], row["level"], row["logger_name"]) == ("paid 3 of 4", "INFO", __name__)
    assert row["source_function"] == "test_message_level_place_and_bound_values_arrive"
    assert (row["tenant_id"], row["request_id"]) == ("acme", "r-1")
    assert row["extra"] == {"order": 7, "total": 4}


def test_nothing_bound_leaves_no_extra(sink, hub):
    sink()
    loguru.info("100% {done}")
    row = hub.row()
    assert (row["message"], "extra" in row) == ("100% {done}", False)


@pytest.mark.parametrize(
    ("level", "number", "severity"), [("TRACE", 5, 1), ("SUCCESS", 25, 9), ("CRITICAL", 50, 21)]
)
def test_levels_of_its_own_keep_name_and_number(level, number, severity, sink, hub):
    sink()
    loguru.log(level, "told")
    row = hub.row()
    assert (row["level"], row["level_number"], row["severity_number"]) == (level, number, severity)


def test_a_level_that_the_user_makes_keeps_its_name(sink, hub):
    sink()
    try:
        loguru.level("AUDIT")
    except ValueError:
        loguru.level("AUDIT", no=33)
    loguru.log("AUDIT", "seen")
    row = hub.row()
    assert (row["level"], row["level_number"], row["severity_number"]) == ("AUDIT", 33, 13)


def message_alone(record):
    return "{message}"


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"format": message_alone},
        {"diagnose": False},
        {"backtrace": False, "diagnose": False},
        {"backtrace": False},
    ],
    ids=["as it is", "format", "diagnose", "backtrace and diagnose", "backtrace"],
)
def test_the_exception_is_in_its_columns_and_not_in_the_message(options, sink, hub):
    sink(**options)
    secret = "hunter2"
    try:
        try:
            raise KeyError(secret[:0])
        except KeyError as cause:
            raise LookupError("no such order") from cause
    except LookupError:
        loguru.opt(exception=True).error("failed {}", 7)
    row = hub.row()
    assert (row["message"], row["record_type"]) == ("failed 7", "exception")
    assert (row["exception_type"], row["exception_message"]) == ("LookupError", "no such order")
    assert "KeyError" in row["exception_stacktrace"]
    assert secret not in str(row), "loguru shows local values in its traceback"


def test_a_group_of_exceptions_is_in_its_columns_too(sink, hub):
    sink()
    try:
        raise ExceptionGroup("both", [ValueError("one"), KeyError("two")])
    except ExceptionGroup:
        loguru.exception("failed")
    row = hub.row()
    assert (row["message"], row["exception_type"]) == ("failed", "ExceptionGroup")


@pytest.mark.parametrize(
    "written", [f"{HEAD}\n  File x\n", f"{HEAD}\n\n  File x\n"], ids=["python's", "loguru's"]
)
def test_a_message_that_quotes_a_traceback_stays_whole(written, sink, hub):
    sink()
    quoted = f"it said:\n{written}ValueError: quoted"
    try:
        raise LookupError("no such order")
    except LookupError:
        loguru.exception(quoted)
    assert hub.row()["message"].startswith(quoted)


def test_an_exception_without_a_traceback_is_told(sink, hub):
    sink()
    loguru.opt(exception=LookupError("never raised")).error("failed")
    row = hub.row()
    assert (row["exception_type"], row["message"].partition("\n")[0]) == ("LookupError", "failed")


def test_queued_records_arrive_whole(sink, hub):
    sink(enqueue=True)
    try:
        raise LookupError("no such order")
    except LookupError:
        loguru.bind(order=7).exception("failed")
    loguru.bind(order=8).info("paid")
    loguru.complete()
    first, second = hub.rows()
    assert (first["exception_type"], first["extra"]["order"]) == ("LookupError", 7)
    assert (second["message"], second["extra"]["order"]) == ("paid", 8)


def test_contextualize_holds_inside_its_block(sink, hub):
    sink()
    with loguru.contextualize(tenant_id="acme", job="j-1"):
        loguru.info("inside")
    loguru.info("outside")
    inside, outside = hub.rows()
    assert (inside["tenant_id"], inside["extra"]) == ("acme", {"job": "j-1"})
    assert ("tenant_id" in outside, "extra" in outside) == (False, False)


def test_intercepted_records_arrive_once_and_nothing_goes_round(sink, hub, logger):
    sink()
    logger.handlers[:] = [InterceptHandler()]
    for number in range(3):
        logger.info("record %d", number)
    try:
        raise LookupError("no such order")
    except LookupError:
        logger.exception("failed")
    rows = hub.rows()
    assert [row["message"] for row in rows] == ["record 0", "record 1", "record 2", "failed"]
    assert rows[3]["exception_type"] == "LookupError"
    assert {row["source_file"].rpartition("/")[2] for row in rows} == {"test_loguru.py"}


@pytest.mark.parametrize("enqueue", [False, True], ids=["at once", "queued"])
def test_what_sending_itself_logs_does_not_go_round_by_loguru(enqueue, sink, hub):
    sink(enqueue=enqueue)
    root, intercept, sent = logging.getLogger(), InterceptHandler(), threading.Event()
    accept = hub.sender.send
    of_azure = {"__name__": "azure.eventhub._transport", "logging": logging}
    exec("def log(): logging.getLogger(__name__).error('one more send')", of_azure)

    def send(bodies, properties):
        of_azure["log"]()
        report(logging.ERROR, "the hub is busy")
        sent.set()
        return accept(bodies, properties)

    hub.sender.send = send
    root.addHandler(intercept)
    try:
        loguru.info("the only record")
        assert sent.wait(10)
        assert hub.rows()
        loguru.complete()
        rows = hub.rows()
    finally:
        root.removeHandler(intercept)
    assert [row["message"] for row in rows] == ["the only record"]
