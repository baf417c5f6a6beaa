"""Everything that is ours can be set up by ``dictConfig`` from the text of a JSON file."""

import json
import logging
import logging.config
import logging.handlers
import sys
import weakref
from dataclasses import fields as dataclass_fields

import certifi
import pytest
from tests.alongside.conftest import CONNECTED
from tests.kits.lines import strict

from hublog import EventHubHandler
from hublog.settings import EventHubSettings

NAME = "beside.plain"


@pytest.fixture(autouse=True)
def _logger(hub, fields):
    yield
    found = logging.getLogger(NAME)
    for handler in list(found.handlers):
        found.removeHandler(handler)
        handler.close()
    found.setLevel(logging.NOTSET)
    found.propagate = True


def apply(handlers, **others):
    """Apply handlers, by way of JSON's text, and return the logger that has them."""
    config = {
        "version": 1,
        "disable_existing_loggers": False,
        "handlers": handlers,
        "loggers": {NAME: {"handlers": list(handlers), "level": "DEBUG", "propagate": False}},
        **others,
    }
    logging.config.dictConfig(json.loads(json.dumps(config)))
    return logging.getLogger(NAME)


def eventhub(**keywords):
    return {"class": "hublog.EventHubHandler", "level": "DEBUG", "connection_string": CONNECTED, **keywords}


def values(tmp_path):
    """A valid value for each setting of the handler, other than the default where that does no harm here."""
    (tmp_path / "secret").write_text(CONNECTED)
    return {
        "enabled": True,
        "level": "WARNING",
        "connection_string": CONNECTED,
        "connection_string_file": str(tmp_path / "secret"),
        "fully_qualified_namespace": "shop.servicebus.windows.net",
        "eventhub_name": "other",
        "transport": "websocket",
        "proxy": "http://proxy.example:3128",
        "endpoint": "gateway.example",
        "ca_file": certifi.where(),
        "batch_size": 7,
        "batch_timeout_seconds": 0.5,
        "urgent_level": "CRITICAL",
        "max_queue_size": 5_000,
        "max_queue_bytes": "16 MiB",
        "circuit_breaker_threshold": 3,
        "circuit_breaker_cooldown_seconds": 4.5,
        "packing": "gzip",
        "gzip_level": 2,
        "route_database": "logs",
        "route_table": "PipelineLogs",
        "route_format": "json",
        "route_mapping": "mapping",
        "max_record_bytes": "32 KiB",
        "spool": "always",
        "spool_dir": str(tmp_path / "spool"),
        "spool_max_bytes": "64 MiB",
        "spool_sync": "batch",
        "send_timeout_seconds": 7.5,
        "exit_timeout_seconds": 2.5,
        "heartbeat_seconds": 300.0,
        "flush_on_sigterm": False,
        "tail_sampling": True,
        "tail_max_records": 50,
        "dedup_seconds": 2.5,
        "rate_limit": 9,
        "rate_burst": 18,
    }


def test_every_setting_of_the_handler_is_a_keyword(tmp_path):
    given = values(tmp_path)
    assert set(given) == {field.name for field in dataclass_fields(EventHubSettings)}
    for name, value in given.items():
        logger = apply({"eventhub": {"class": "hublog.EventHubHandler", name: value}})
        [handler] = logger.handlers
        if name == "level":  # logging takes this one for the handler itself
            assert handler.level == logging.WARNING
            continue
        found = getattr(handler.pipeline.read().eventhub, name)
        default = getattr(EventHubSettings(), name)
        assert found == value if isinstance(value, bool) else found != default, name


@pytest.mark.parametrize(
    ("keywords", "told"),
    [
        ({"batch_sise": 7}, "batch_sise"),
        ({"batch_size": "many"}, "batch_size"),
        ({"batch_size": 0}, "batch_size"),
        ({"packing": "zip"}, "packing"),
        ({"spool": None, "queue": 7}, "queue"),
    ],
    ids=str,
)
def test_a_wrong_keyword_is_told_by_its_name_and_shows_no_secret(keywords, told):
    with pytest.raises(ValueError, match="Unable to configure handler 'eventhub'") as caught:
        apply({"eventhub": eventhub(**keywords)})
    assert told in str(caught.value.__cause__)
    assert "verysecret" not in str(caught.value.__cause__)


def test_a_configuration_that_failed_does_not_break_the_next_one(hub):
    with pytest.raises(ValueError, match="eventhub") as kept:
        apply({"eventhub": eventhub(batch_sise=7)})
    logger = apply({"eventhub": eventhub(batch_timeout_seconds=0.05)})
    logger.info("order")
    assert hub.row()["message"] == "order"
    ours = [made for made in (found() for found in logging._handlerList) if isinstance(made, EventHubHandler)]
    logging.shutdown([weakref.ref(made) for made in ours])  # half made ones would be among them
    assert kept.value.__cause__ is not None


def test_a_factory_makes_the_handler_too(hub):
    made = eventhub(batch_timeout_seconds=0.05)
    made["()"] = made.pop("class")
    logger = apply({"eventhub": made})
    logger.debug("order")
    assert hub.row()["message"] == "order"


def test_a_formatter_on_the_handler_of_the_event_hub_changes_nothing(hub):
    handlers = {"eventhub": eventhub(batch_timeout_seconds=0.05, formatter="short")}
    logger = apply(handlers, formatters={"short": {"format": "short: %(message)s"}})
    logger.info("order")
    assert hub.row()["message"] == "order"


def test_a_file_of_the_old_form_makes_the_handler(hub, tmp_path):
    path = tmp_path / "logging.ini"
    path.write_text(
        f"""
[loggers]
keys=root,shop
[handlers]
keys=eventhub
[formatters]
keys=
[logger_root]
handlers=
[logger_shop]
qualname={NAME}
handlers=eventhub
level=INFO
propagate=0
[handler_eventhub]
class=hublog.EventHubHandler
level=INFO
kwargs={{"connection_string": "{CONNECTED}", "batch_timeout_seconds": 0.05}}
"""
    )
    root = logging.getLogger()
    before = list(root.handlers)
    try:
        logging.config.fileConfig(path, disable_existing_loggers=False)
    finally:
        for handler in before:
            if handler not in root.handlers:
                root.addHandler(handler)
    logging.getLogger(NAME).info("order %d", 7)
    assert hub.row()["message"] == "order 7"


def test_a_wrong_option_of_the_formatter_is_told():
    handlers = {"console": {"class": "logging.StreamHandler", "formatter": "json"}}
    formatters = {"json": {"()": "hublog.JsonFormatter", "rename_fields": {"msg": "message"}}}
    with pytest.raises(ValueError, match="Unable to configure formatter 'json'") as caught:
        apply(handlers, formatters=formatters)
    assert "rename_fields has 'msg'" in str(caught.value.__cause__)


def test_formatter_and_console_are_made_of_plain_data(capsys, tmp_path):
    logger = apply(
        {
            "console": {"class": "hublog.ConsoleHandler", "formatter": "console"},
            "json": {"class": "logging.FileHandler", "filename": str(tmp_path / "log"), "formatter": "json"},
            "eventhub": eventhub(),
        },
        formatters={
            "console": {"()": "hublog.ConsoleFormatter", "redaction": {"keys": ["colour"]}},
            "json": {
                "()": "hublog.JsonFormatter",
                "service": {"name": "shop", "version": "ext://sys.byteorder"},
                "framework": "flask",
                "rename_fields": {"message": "msg"},
                "static_fields": {"team": "shop", "nested": {"a": [1, {"b": None}]}},
                "redaction": {"enabled": False},
            },
        },
    )
    logger.info("order %d", 7, extra={"password": "hunter2"})
    logger.info("colour=blue")
    out = capsys.readouterr().out
    assert "INFO     beside.plain order 7" in out
    assert "blue" not in out
    row = strict((tmp_path / "log").read_bytes().splitlines()[0])
    assert row["extra"] == {"password": "hunter2"}
    assert (row["msg"], row["team"], row["nested"]) == ("order 7", "shop", {"a": [1, {"b": None}]})
    assert (row["service_name"], row["service_version"], row["framework"]) == ("shop", sys.byteorder, "flask")


def test_the_key_class_makes_formatters_too(capsys, tmp_path):
    logger = apply(
        {
            "console": {"class": "hublog.ConsoleHandler", "formatter": "console"},
            "json": {"class": "logging.FileHandler", "filename": str(tmp_path / "log"), "formatter": "json"},
        },
        formatters={
            "console": {"class": "hublog.ConsoleFormatter"},
            "json": {"class": "hublog.JsonFormatter"},
        },
    )
    logger.info("order %d", 7)
    assert "order 7" in capsys.readouterr().out
    assert strict((tmp_path / "log").read_bytes().rstrip(b"\n"))["message"] == "order 7"


def test_a_format_for_lines_of_json_is_told():
    handlers = {"console": {"class": "logging.StreamHandler", "formatter": "json"}}
    formatters = {"json": {"class": "hublog.JsonFormatter", "format": "%(message)s"}}
    with pytest.raises(ValueError, match="formatter 'json'") as caught:
        apply(handlers, formatters=formatters)
    assert "format, datefmt and style do not apply" in str(caught.value.__cause__)


def test_an_incremental_configuration_changes_levels_and_loses_nothing(hub):
    logger = apply({"eventhub": eventhub(batch_timeout_seconds=0.05)})
    logger.info("before")
    logging.config.dictConfig(
        {
            "version": 1,
            "incremental": True,
            "handlers": {"eventhub": {"level": "ERROR"}},
            "loggers": {NAME: {"level": "INFO"}},
        }
    )
    logger.info("too low")
    logger.error("after")
    assert [row["message"] for row in hub.rows()] == ["before", "after"]


def test_filters_of_the_configuration_apply(hub):
    logger = apply(
        {"eventhub": eventhub(filters=["only"])},
        filters={"only": {"()": "logging.Filter", "name": f"{NAME}.x"}},
    )
    logger.getChild("x").info("kept")
    logger.info("refused")
    assert [row["message"] for row in hub.rows()] == ["kept"]


def log_through_a_queue(logger):
    try:
        raise LookupError("no such order")
    except LookupError:
        logger.exception("order %d", 7, extra={"order": 7, "tenant_id": "acme"})
    logger.info("plain %s", "text", stack_info=True)


def check_what_came_through_a_queue(rows):
    first, second = rows
    assert first["message"].startswith("order 7\nTraceback (most recent call last):")
    assert first["message"].endswith("LookupError: no such order")
    assert (first["tenant_id"], first["extra"], first["source_function"]) == (
        "acme",
        {"order": 7},
        "log_through_a_queue",
    )
    assert second["message"].startswith("plain text\nStack (most recent call last):")
    assert second["thread_name"] == "MainThread"


def test_what_comes_through_a_queue_handler_is_right(hub):
    import queue

    logger = logging.getLogger(NAME)
    between = queue.SimpleQueue()
    logger.addHandler(logging.handlers.QueueHandler(between))
    logger.setLevel(logging.DEBUG)
    listener = logging.handlers.QueueListener(between, hub.handler(batch_timeout_seconds=0.05))
    listener.start()
    try:
        log_through_a_queue(logger)
    finally:
        listener.stop()
    check_what_came_through_a_queue(hub.rows())


if sys.version_info >= (3, 12):  # where dictConfig makes queue handlers and listeners

    def test_dict_config_puts_a_queue_in_front(hub):
        logger = apply(
            {
                "eventhub": eventhub(batch_timeout_seconds=0.05),
                "queue": {"class": "logging.handlers.QueueHandler", "handlers": ["eventhub"]},
            },
            loggers={NAME: {"handlers": ["queue"], "level": "DEBUG", "propagate": False}},
        )
        listener = logging.getHandlerByName("queue").listener
        listener.start()
        try:
            log_through_a_queue(logger)
        finally:
            listener.stop()
        check_what_came_through_a_queue(hub.rows())
