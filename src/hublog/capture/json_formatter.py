"""The line of the Event Hub as a ``logging.Formatter``, for the log file."""

import logging

from hublog.capture.formatter import LineFormatter
from hublog.settings import ServiceSettings


class JsonFormatter(logging.Formatter):
    """The same line for the log file, as text and without ``record_id`` and ``sequence``.

    Args:
        service: the names of the service.
        framework: ``django``, ``flask`` or empty.
    """

    def __init__(self, service: ServiceSettings | None = None, *, framework: str = "") -> None:
        super().__init__()
        self._lines = LineFormatter(service or ServiceSettings(), framework=framework)

    def format(self, record: logging.LogRecord) -> str:
        """Return the line of a record; never raises."""
        return self._lines.encode(record).decode()
