"""What other libraries hand over is searched for secrets like everything else."""

import io
import json
import logging

import pytest
import structlog
from loguru import logger as loguru
from structlog.stdlib import BoundLogger, ProcessorFormatter, render_to_log_kwargs

from hublog import JsonFormatter

SECRET = "hunter2hunter2"


class BraceRecord(logging.LogRecord):
    def getMessage(self):  # noqa: N802  # the name is logging's
        return str(self.msg).format(*self.args)


def by_structlog(render):
    def log(logger):
        wrapped = structlog.wrap_logger(logger, processors=[render], wrapper_class=BoundLogger)
        wrapped.bind(password=SECRET).info("signed in", note=f"token={SECRET}", nested=[{"api_key": SECRET}])
        wrapped.info(f"password={SECRET}")

    return log


def by_loguru(logger):
    number = loguru.add(logger.handlers[0], format="{message}")
    try:
        password = SECRET
        loguru.bind(password=password).info("signed in with token={}", password)
        try:
            raise LookupError(f"password={password}")
        except LookupError:
            loguru.exception("failed")
    finally:
        loguru.remove(number)


def by_record_class(logger):
    before = logging.getLogRecordFactory()
    logging.setLogRecordFactory(BraceRecord)
    message = "signed in with password={}"
    try:
        logger.info(message, SECRET)
        logger.info(message, SECRET, stack_info=True)
    finally:
        logging.setLogRecordFactory(before)


def by_mapping(logger):
    logger.info({"message": f"token={SECRET}", "password": SECRET})
    logger.info({"password": SECRET})


@pytest.mark.parametrize(
    "log",
    [
        by_structlog(ProcessorFormatter.wrap_for_formatter),
        by_structlog(render_to_log_kwargs),
        by_loguru,
        by_record_class,
        by_mapping,
    ],
    ids=["structlog", "structlog by keywords", "loguru", "a class of records", "a mapping"],
)
def test_no_secret_reaches_the_hub_or_a_file(log, alone, hub):
    loguru.remove()
    stream = io.StringIO()
    file = logging.StreamHandler(stream)
    file.setFormatter(JsonFormatter(rename_fields={"message": "msg"}, static_fields={"team": "shop"}))
    alone.addHandler(file)
    log(alone)
    assert len(hub.rows()) == 2
    assert SECRET not in str(hub.rows())
    assert SECRET not in stream.getvalue()
    assert all(json.loads(line)["team"] == "shop" for line in stream.getvalue().splitlines())
