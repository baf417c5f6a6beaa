"""structlog in front of ``logging``, in the ways that its documentation gives."""

import asyncio
import io
import json
import logging
import sys

import pytest
import structlog
from structlog.stdlib import BoundLogger, LoggerFactory, ProcessorFormatter
from structlog.testing import capture_logs

import hublog

WRAP = ProcessorFormatter.wrap_for_formatter


@pytest.fixture(autouse=True)
def _structlog():
    """Find structlog, and the class of loggers that it sets, as they were."""
    kind = logging.getLoggerClass()
    yield
    structlog.reset_defaults()
    structlog.contextvars.clear_contextvars()
    logging.setLoggerClass(kind)


@pytest.fixture
def configure(logger):
    """Return a function that configures structlog with these last processors and returns its logger."""

    def configure(*processors):
        structlog.configure(
            processors=[
                structlog.contextvars.merge_contextvars,
                structlog.stdlib.add_log_level,
                structlog.stdlib.PositionalArgumentsFormatter(),
                *processors,
            ],
            logger_factory=LoggerFactory(),
            wrapper_class=BoundLogger,
        )
        return structlog.get_logger(logger.name)

    return configure


@pytest.fixture
def console(logger):
    """The console of the user, with structlog's formatter, in front of the hub."""
    handler = logging.StreamHandler(io.StringIO())
    handler.setFormatter(
        ProcessorFormatter(
            processors=[ProcessorFormatter.remove_processors_meta, structlog.processors.JSONRenderer()],
            foreign_pre_chain=[structlog.stdlib.add_log_level],
        )
    )
    logger.handlers.insert(0, handler)
    return lambda: [json.loads(line) for line in handler.stream.getvalue().splitlines()]


def test_the_event_is_the_message_and_its_values_are_fields(configure, hub):
    log = configure(WRAP).bind(order=7)
    log.warning("paid", tenant_id="acme", http_status_code=201, items=[1, 2])
    row = hub.row()
    assert (row["message"], row["message_template"], row["level"]) == ("paid", "paid", "WARNING")
    assert (row["tenant_id"], row["http_status_code"]) == ("acme", 201)
    assert row["extra"] == {"order": 7, "items": [1, 2], "level": "warning"}


def test_the_json_formatter_reads_the_same(configure, logger):
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(hublog.JsonFormatter())
    logger.addHandler(handler)
    configure(WRAP).info("paid", order=7)
    row = json.loads(stream.getvalue())
    assert (row["message"], row["extra"]["order"]) == ("paid", 7)


@pytest.mark.parametrize(
    "render",
    [WRAP, structlog.stdlib.render_to_log_kwargs, structlog.stdlib.render_to_log_args_and_kwargs],
    ids=["wrap_for_formatter", "render_to_log_kwargs", "render_to_log_args_and_kwargs"],
)
def test_what_is_bound_by_structlog_and_by_hublog_arrives(render, configure, hub):
    structlog.contextvars.bind_contextvars(tenant_id="acme", cart=3)
    hublog.bind(user_id="u-1", cart=0)
    configure(render).bind(order=7).info("paid %s", "twice", n=1)
    row = hub.row()
    assert (row["message"], row["tenant_id"], row["user_id"]) == ("paid twice", "acme", "u-1")
    assert row["extra"] == {"order": 7, "n": 1, "cart": 3, "level": "info"}


@pytest.mark.parametrize("how", ["exception", "exc_info=True", "exc_info=error"])
@pytest.mark.parametrize("render", [WRAP, structlog.stdlib.render_to_log_kwargs], ids=["wrap", "kwargs"])
def test_the_exception_is_kept(render, how, configure, hub):
    log = configure(render)
    try:
        raise LookupError("no such order")
    except LookupError as error:
        if how == "exception":
            log.exception("failed", order=7)
        else:
            log.error("failed", order=7, exc_info=error if how == "exc_info=error" else True)
    row = hub.row()
    assert (row["exception_type"], row["exception_message"]) == ("LookupError", "no such order")
    assert (row["message"], row["record_type"]) == ("failed", "exception")
    assert "in test_the_exception_is_kept" in row["exception_stacktrace"]
    assert row["extra"] == {"order": 7, "level": "error"}


def test_exc_info_outside_of_an_exception_is_none(configure, hub):
    configure(WRAP).error("failed", exc_info=True)
    row = hub.row()
    assert (row["record_type"], "exception_type" in row) == ("log", False)


@pytest.mark.parametrize("how", ["exception", "error"])
@pytest.mark.parametrize(
    "error", [LookupError("no such order"), LookupError(), UnicodeError("a\nb\n")], ids=repr
)
def test_a_rendered_exception_stands_once(error, how, configure, hub):
    log = configure(structlog.processors.format_exc_info, WRAP)
    try:
        raise error
    except (ValueError, LookupError):
        getattr(log, how)("failed", exc_info=True)
    row = hub.row()
    assert row["exception_type"] == type(error).__name__
    assert row["extra"] == {"level": "error"}


def test_a_rendered_exception_that_is_over_stays_as_text(configure, hub):
    log = configure(structlog.processors.format_exc_info, WRAP)
    try:
        raise LookupError("no such order")
    except LookupError as error:
        over = error
    try:
        raise TimeoutError("another")
    except TimeoutError:
        log.error("failed", exc_info=over)
    row = hub.row()
    assert row["extra"]["exception"].endswith("LookupError: no such order")
    assert "exception_type" not in row


def test_a_rendered_stack_is_the_stack_of_the_row(configure, hub):
    configure(structlog.processors.StackInfoRenderer(), WRAP).info("here", stack_info=True)
    row = hub.row()
    assert "test_a_rendered_stack_is_the_stack_of_the_row" in row["stack_info"]
    assert row["extra"] == {"level": "info"}


def test_positional_arguments_that_structlog_left_are_put_in(configure, logger, hub):
    structlog.configure(processors=[WRAP], logger_factory=LoggerFactory(), wrapper_class=BoundLogger)
    log = structlog.get_logger(logger.name)
    log.info("order %s of %s", 7, "Ann")
    log.info("order %(order)s", {"order": 8})
    log.info("100 %")
    found = [(row["message"], row["message_template"]) for row in hub.rows()]
    assert found == [
        ("order 7 of Ann", "order %s of %s"),
        ("order 8", "order %(order)s"),
        ("100 %", "100 %"),
    ]


def test_names_that_logging_keeps_for_itself_arrive_all_the_same(configure, hub):
    configure(WRAP).info("paid", name="Ann", args=[1], msg="m", message="n", module="shop", created="today")
    row = hub.row()
    assert (row["message"], row["source_module"] == "shop") == ("paid", False)
    expected = {"name": "Ann", "args": [1], "msg": "m", "message": "n", "module": "shop", "created": "today"}
    assert row["extra"] == {**expected, "level": "info"}


@pytest.mark.parametrize(
    ("event", "message"), [(None, ""), (7, "7"), (ValueError("odd"), "odd"), (b"x", "b'x'"), ("", "")]
)
def test_an_event_of_any_type_is_a_message(event, message, configure, hub):
    configure(WRAP).info(event, order=7)
    row = hub.row()
    assert (row.get("message", ""), row["extra"]["order"]) == (message, 7)


def test_foreign_records_and_the_users_console_go_on(configure, console, logger, hub):
    log = configure(WRAP)
    log.info("paid", order=7)
    logger.info("foreign %s", "record", extra={"order": 8})
    log.info("paid again", order=9)
    assert console() == [
        {"order": 7, "event": "paid", "level": "info"},
        {"event": "foreign record", "level": "info"},
        {"order": 9, "event": "paid again", "level": "info"},
    ]
    assert [(row["message"], row["extra"]["order"]) for row in hub.rows()] == [
        ("paid", 7),
        ("foreign record", 8),
        ("paid again", 9),
    ]


@pytest.mark.parametrize("is_first", [True, False], ids=["hub first", "console first"])
def test_neither_disturbs_the_other_whichever_is_first(is_first, configure, console, logger, hub):
    if is_first:
        logger.handlers.reverse()
    log = configure(WRAP)
    try:
        raise LookupError("no such order")
    except LookupError:
        log.exception("failed", order=7, tenant_id="acme")
    [line] = console()
    assert {name: line[name] for name in ("order", "tenant_id", "event", "level", "exc_info")} == {
        "order": 7,
        "tenant_id": "acme",
        "event": "failed",
        "level": "error",
        "exc_info": True,
    }
    row = hub.row()
    assert (row["message"], row["tenant_id"], row["exception_type"]) == ("failed", "acme", "LookupError")


def test_a_rendered_json_text_stays_the_message(configure, hub):
    configure(structlog.processors.JSONRenderer(sort_keys=True)).info("paid", order=7)
    row = hub.row()
    assert json.loads(row["message"]) == {"event": "paid", "level": "info", "order": 7}
    assert "extra" not in row


def test_the_call_site_is_the_applications(logger, hub):
    structlog.configure(processors=[WRAP], logger_factory=LoggerFactory(), wrapper_class=BoundLogger)
    name = f"{logger.name}.made_after"  # structlog sets the class of loggers that are made from then on
    structlog.get_logger(name).info("paid")
    row = hub.row()
    assert row["source_function"] == sys._getframe().f_code.co_name
    assert row["source_file"].endswith("test_structlog.py")


def test_an_event_is_read_as_it_is_when_it_is_logged(configure, hub):
    log, order = configure(WRAP), {"number": 7}
    log.info("paid", order=order)
    order["number"] = 8
    assert hub.row()["extra"]["order"] == {"number": 7}


def test_the_methods_for_coroutines_keep_fields_and_exception(configure, hub):
    log = configure(WRAP)

    async def main():
        hublog.bind(request_id="r-1")
        structlog.contextvars.bind_contextvars(tenant_id="acme")
        try:
            raise LookupError("no such order")
        except LookupError:
            await log.aexception("failed", order=7)

    asyncio.run(main())
    row = hub.row()
    assert (row["request_id"], row["tenant_id"], row["extra"]["order"]) == ("r-1", "acme", 7)
    assert row["exception_type"] == "LookupError"


def test_structlogs_own_capture_works_beside(configure, hub):
    log = configure(WRAP)
    with capture_logs() as entries:
        log.info("paid", order=7)
    assert entries == [{"order": 7, "event": "paid", "log_level": "info"}]
    assert hub.rows() == []


def test_a_message_that_is_a_mapping_without_structlog_is_read_too(logger, hub):
    logger.info({"message": "paid", "order": 7, 8: "eight"})
    logger.info({"event": "sent", "order": 7}, extra={"order": 9})
    logger.info({"order": 10})
    logger.info("%s", {"event": "an argument"})
    first, second, third, fourth = hub.rows()
    assert (first["message"], first["extra"]) == ("paid", {"order": 7, "8": "eight"})
    assert (second["message"], second["extra"]) == ("sent", {"order": 9, "order_": 7})
    assert (third["message"], third["extra"]) == ("{'order': 10}", {"order": 10})
    assert (fourth["message"], "extra" in fourth) == ("{'event': 'an argument'}", False)
