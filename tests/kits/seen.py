"""A handler that keeps what each record would carry."""

import logging
import threading
from contextlib import contextmanager

from hublog.capture import context


class Seen(logging.Handler):
    """Each record's own extras over what was bound when it was made."""

    def __init__(self):
        super().__init__()
        self.records = []
        self._came = threading.Condition()

    def emit(self, record):
        with self._came:
            self.records.append((record.name, record.getMessage(), {**context.bound(), **record.__dict__}))
            self._came.notify_all()

    def wait_for(self, name, limit_s=10.0):
        """Wait for a record that a thread of a server makes."""
        with self._came:
            assert self._came.wait_for(lambda: self.of(name), limit_s), self.records

    def of(self, name):
        return [(message, fields) for found, message, fields in self.records if found == name]

    def one(self, name):
        [(_, fields)] = self.of(name)
        return fields


@contextmanager
def watching(level=None):
    """Let one stand on the root logger, which gets a level if one is given; nothing is bound at first."""
    handler, root = Seen(), logging.getLogger()
    before, token = root.level, context.enter({})
    root.addHandler(handler)
    if level is not None:
        root.setLevel(level)
    yield handler
    context.leave(token)
    root.removeHandler(handler)
    root.setLevel(before)
