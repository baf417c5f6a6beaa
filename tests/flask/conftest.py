"""A Flask app that logs to nowhere but the test."""

import logging

import pytest
from flask import Flask
from tests.kits.seen import watching

from hublog.capture import context
from hublog.flask import HubLog


@pytest.fixture(autouse=True)
def clean():
    """A test that fails must not leave its fields to the next one."""
    token = context.enter({})
    yield
    context.leave(token)


@pytest.fixture
def seen():
    with watching() as handler:
        yield handler


@pytest.fixture
def make(seen):
    """Make an app with these settings and a HubLog."""

    def made(name="shop", **config):
        app = Flask(name)
        app.config.update(
            EVENTHUB_LOGGING_ENABLED=False, FILE_LOGGING_ENABLED=False, LOG_TO_STDOUT=False, SECRET_KEY="test"
        )
        app.config.update(config)
        HubLog(app)
        logging.getLogger().setLevel(logging.INFO)
        return app

    return made
