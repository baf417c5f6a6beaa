"""A line and what the stores must know to take it, for lines that are not put away by the log call itself."""

import logging
from typing import Final, NamedTuple

#: What the names of our own loggers begin with: the record of a request among them, never kept or counted.
OWN: Final = "hublog."


class Line(NamedTuple):
    """An encoded record.

    Attributes:
        data: one JSON object, UTF-8, no line break.
        levelno: of the record.
        level: name of its level.
        logger: name of its logger.
    """

    data: bytes
    levelno: int
    level: str
    logger: str


def line_of(record: logging.LogRecord, data: bytes) -> Line:
    """Return the line of a record."""
    return Line(data, record.levelno, record.levelname, record.name)
