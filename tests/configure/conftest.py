"""Tests here change the root logger: each finds it as pytest made it, and leaves it so."""

import logging

import pytest

from hublog.configure import handlers

_NAMES = ("", "azure", "msal", "hublog", "hublog.internal", "web-1", "web-2")


@pytest.fixture
def logging_state():
    loggers = [logging.getLogger(name) for name in _NAMES]
    before = [(logger, logger.level, list(logger.handlers)) for logger in loggers]
    for logger in loggers[1:]:
        logger.setLevel(logging.NOTSET)
    yield
    for logger, level, found in before:
        for handler in set(logger.handlers) - set(found):
            logger.removeHandler(handler)
            handler.close()
        for handler in found:
            if handler not in logger.handlers:
                logger.addHandler(handler)
        logger.setLevel(level)
    handlers._Installed.plan, handlers._Installed.handlers = None, ()


@pytest.fixture
def reports(caplog):
    """Return a function that gives level and text of what was told on hublog.internal."""
    return lambda: [
        (found.levelname, found.getMessage()) for found in caplog.records if found.name == "hublog.internal"
    ]
