"""A handler that keeps what each record would carry."""

import logging

from hublog.capture import context


class Seen(logging.Handler):
    """Each record's own extras over what was bound when it was made."""

    def __init__(self):
        super().__init__()
        self.records = []

    def emit(self, record):
        self.records.append((record.name, record.getMessage(), {**context.bound(), **record.__dict__}))

    def of(self, name):
        return [(message, fields) for found, message, fields in self.records if found == name]

    def one(self, name):
        [(_, fields)] = self.of(name)
        return fields
