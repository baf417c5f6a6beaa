"""A logger on a pipeline of the test's own, whose hub is a list."""

import json
import logging

from hublog.capture.reentry_guard import CaptureHandler
from hublog.delivery.accounting import Drop
from hublog.requests.request_scope import RequestScope
from hublog.runtime.pipeline import Pipeline
from hublog.runtime.registry import install
from hublog.runtime.shared import runtime
from hublog.settings import EventHubSettings, RequestSettings, ServiceSettings, Settings, SpoolMode
from hublog.testing import MemorySender

CONNECTED = "Endpoint=sb://127.0.0.1:1;SharedAccessKeyName=n;SharedAccessKey=k;UseDevelopmentEmulator=true"
REPORT = "hublog.records_dropped"


class Front(CaptureHandler):
    """A handler on one pipeline of the test's own."""

    def __init__(self, pipeline):
        super().__init__()
        self.pipeline = pipeline

    def capture(self, record):
        self.pipeline.accept(record)

    def refuse(self, record):
        self.pipeline.refuse_nested(record)


def make_settings(*, slow_seconds=0.0, **hub):
    hub = {"connection_string": CONNECTED, "batch_timeout_seconds": 0.05, "spool": SpoolMode.MEMORY, **hub}
    return Settings(
        eventhub=EventHubSettings(**hub),
        service=ServiceSettings(name="shop"),
        request=RequestSettings(slow_seconds=slow_seconds),
    )


def end_pipeline(pipeline):
    """Drop what a pipeline holds, and wait for the end of its threads."""
    process = pipeline.process
    if process is not None:
        process.shipper.drop_held(Drop.EXIT)
        pipeline.retire()
        assert process.worker.wait_until_ended(5.0)


class Shop:
    """A logger on a pipeline of its own."""

    def __init__(self, number, **known):
        self.sender = MemorySender()
        self.pipeline = Pipeline(make_settings(**known), make_sender=lambda settings: self.sender)
        install()
        runtime.pipelines[self] = self.pipeline
        self.logger = logging.Logger(f"shop.{number}")
        self.logger.addHandler(Front(self.pipeline))

    @property
    def rows(self):
        assert self.pipeline.flush(10)
        found = [json.loads(line) for body in self.sender.bodies for line in body.splitlines()]
        return [row for row in found if row.get("event_name") != REPORT]

    @property
    def messages(self):
        return [row["message"] for row in self.rows]

    @property
    def stats(self):
        stats = self.pipeline.stats()
        assert stats.accepted_total == stats.sent_total + stats.dropped_total + stats.held
        return stats

    def close(self):
        runtime.pipelines.pop(self, None)
        end_pipeline(self.pipeline)


def begin():
    scope = RequestScope(RequestSettings(access_records=False), lambda name: None, method="GET", path="/")
    scope.enter()
    return scope


def end(scope, status=200):
    scope.finish(status)
    scope.leave()


# Off


def of_views(shop):
    return [row["message"] for row in shop.rows if row["logger_name"] == "shop.views"]
