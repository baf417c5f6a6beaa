"""Our console shows events of structlog as text and values, and keeps secrets out of them."""

import logging

import pytest
import structlog
from structlog.stdlib import BoundLogger, ProcessorFormatter

import hublog


@pytest.fixture
def log(capsys, fields):
    logger = logging.Logger("beside.shop", 1)
    console = hublog.ConsoleHandler()
    console.setFormatter(hublog.ConsoleFormatter())
    logger.addHandler(console)
    return structlog.wrap_logger(
        logger,
        processors=[ProcessorFormatter.wrap_for_formatter],
        wrapper_class=BoundLogger,
    )


def test_an_event_is_shown_as_text_and_values(log, capsys):
    log.info("order paid", order=7, cart={"items": [1]}, name="Ann")
    shown = capsys.readouterr().out
    assert shown.endswith(" INFO     beside.shop order paid order=7 cart={'items': [1]} name=Ann\n")


def test_its_exception_follows(log, capsys):
    try:
        raise LookupError("no such order")
    except LookupError:
        log.error("failed", exc_info=True)
    shown = capsys.readouterr().out
    assert " failed\n    Traceback (most recent call last):" in shown
    assert shown.endswith("\n    LookupError: no such order\n")


def test_an_event_cannot_forge_a_record(log, capsys):
    log.info("order\n2026-11-23 13:10:31,123 INFO     root forged", note="a\n2026-11-23 more\x1b]0;title\x07")
    lines = capsys.readouterr().out.splitlines()
    assert all(line.startswith("    ") for line in lines[1:])
    assert "\x1b]" not in "".join(lines)


def test_a_mapping_without_a_text_stays_as_logging_shows_it(log, capsys):
    log._logger.info({"order": 7})
    assert capsys.readouterr().out.endswith(" beside.shop {'order': 7}\n")


def test_secrets_of_an_event_are_not_shown(log, capsys):
    log.info("signed in", password="hunter2hunter2", nested={"api_key": "hunter2hunter2"})
    log.info("token=hunter2hunter2")
    assert "hunter2" not in capsys.readouterr().out
