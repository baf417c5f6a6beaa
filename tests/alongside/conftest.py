"""A hub in memory for the handler under test, and loggers that nobody else uses."""

import logging

import pytest
from tests.kits.lines import fits, strict

import hublog
from hublog.capture import context
from hublog.delivery.accounting import Drop
from hublog.handler import EventHubHandler
from hublog.runtime.pipeline import Pipeline
from hublog.runtime.shared import runtime
from hublog.settings import EventHubSettings, Settings
from hublog.testing import MemorySender

CONNECTED = (
    "Endpoint=sb://127.0.0.1:1;SharedAccessKeyName=n;SharedAccessKey=verysecret;UseDevelopmentEmulator=true"
)


class Hub:
    """What has arrived, row by row, each looked at as ADX would."""

    def __init__(self):
        self.sender = MemorySender()

    def handler(self, **keywords):
        """Return a handler that sends here."""
        if keywords:
            return EventHubHandler(logging.DEBUG, connection_string=CONNECTED, **keywords)
        hub = EventHubSettings(connection_string=CONNECTED, level=1, batch_timeout_seconds=0.05)
        return EventHubHandler(settings=Settings(eventhub=hub))

    def rows(self):
        """Return all rows, oldest first."""
        assert hublog.flush(10)
        rows = [strict(line) for body in self.sender.bodies for line in body.splitlines()]
        assert [fits(row) for row in rows] == [{}] * len(rows)
        return rows

    def row(self):
        """Return the one row that has arrived."""
        [row] = self.rows()
        return row


@pytest.fixture
def hub(monkeypatch):
    """All pipelines of the test send to this one."""
    found = Hub()
    monkeypatch.setattr(runtime, "pipelines", {})
    original = Pipeline.__init__

    def init(self, *args, **kwargs):
        original(self, *args, **{**kwargs, "make_sender": lambda settings: found.sender})

    monkeypatch.setattr(Pipeline, "__init__", init)
    yield found
    for pipeline in runtime.pipelines.values():
        if pipeline.process is not None:
            pipeline.process.shipper.drop_held(Drop.EXIT)
            pipeline.retire()
            assert pipeline.process.worker.wait_until_ended(5.0)


@pytest.fixture
def fields():
    """Bind nothing but what the test binds."""
    token = context.enter({})
    yield
    context.leave(token)


@pytest.fixture
def logger(hub, fields):
    """A logger whose records go to the hub and nowhere else."""
    found = logging.getLogger("beside.shop")
    found.setLevel(1)
    found.propagate = False
    found.addHandler(hub.handler())
    yield found
    found.handlers.clear()
    found.filters.clear()
    found.propagate = True
    found.setLevel(logging.NOTSET)


@pytest.fixture
def alone(hub, fields):
    """A logger that no one else sees: pytest's own handlers show each record, and raise for odd ones."""
    found = logging.Logger("beside.shop", 1)
    found.addHandler(hub.handler())
    return found
