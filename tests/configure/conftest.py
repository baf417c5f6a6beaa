"""What the tests of the set-up share."""

import pytest

from hublog.capture.stdlib_formatters import JsonFormatter
from hublog.configure.file_log import FileLogHandler


@pytest.fixture
def reports(caplog):
    """Return a function that gives level and text of what was told on hublog.internal."""
    return lambda: [
        (found.levelname, found.getMessage()) for found in caplog.records if found.name == "hublog.internal"
    ]


@pytest.fixture
def make(tmp_path):
    """Return a function that makes handlers of the log file; they are closed at the end."""
    handlers = []

    def make_handler(path=tmp_path / "application.log", **kwargs):
        handler = FileLogHandler(path, **kwargs)
        handler.setFormatter(JsonFormatter())
        handlers.append(handler)
        return handler

    yield make_handler
    for handler in handlers:
        handler.close()
