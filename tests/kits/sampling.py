"""One process's volume control with a list in place of the stores, and records to put in."""

import json
import logging
import sys

from hublog.capture.formatter import LineFormatter
from hublog.line import RecordIds
from hublog.requests.request_scope import RequestScope
from hublog.sampling.sampler import Sampler
from hublog.settings import EventHubSettings, RequestSettings, ServiceSettings, Settings
from hublog.testing import FakeClock


def make_record(message="hello", *args, level=logging.INFO, name="shop", line=1, at=None, **extra):
    exc_info = extra.pop("exc_info", None)
    record = logging.LogRecord(name, level, f"/srv/{name}.py", line, message, args, exc_info, "view")
    record.__dict__.update(extra)
    if at is not None:
        record.created = at
    return record


def make_scope(*, request_id=None, **known):
    known = {"method": "GET", "path": "/", "now": FakeClock(), **known}
    return RequestScope(RequestSettings(), {"X-Request-ID": request_id}.get, **known)


def error_of(message="broken", *, cause=None):
    try:
        raise LookupError(message) from cause
    except LookupError:
        return sys.exc_info()


class Kit:
    """Takes records.

    Attributes:
        lines: what was shipped.
        refused: levels and loggers of what was over the limit.
        wakes: how often the worker was woken.
    """

    def __init__(self, *, slow_seconds=0.0, **hub):
        self.clock = FakeClock()
        self.ids = RecordIds()
        self.lines = []
        self.refused = []
        self.wakes = 0
        settings = Settings(
            eventhub=EventHubSettings(**hub), request=RequestSettings(slow_seconds=slow_seconds)
        )

        def make_encode(ids):
            return LineFormatter(
                ServiceSettings(name="shop"), ids=ids, max_record_bytes=settings.eventhub.max_record_bytes
            ).encode

        self.sampler = Sampler(
            settings,
            ids=self.ids,
            encode=make_encode(self.ids),
            make_encode=make_encode,
            ship=lambda line: self.lines.append(line.data),
            refuse=lambda level, logger: self.refused.append((level, logger)),
            wake=self.wake,
            now=self.clock,
        )

    def wake(self):
        self.wakes += 1

    def log(self, *args, **known):
        self.sampler.take(make_record(*args, **known))

    @property
    def rows(self):
        return [json.loads(line) for line in self.lines]

    @property
    def messages(self):
        return [row["message"] for row in self.rows]

    @property
    def counts(self):
        """Of each row how many it stands for."""
        return [row.get("extra", {}).get("repeat_count", 1) for row in self.rows]
