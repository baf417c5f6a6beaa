"""A line and what the stores must know to take it, for lines that are not put away by the log call itself."""

import logging
from typing import Final, NamedTuple

_OWN: Final = "hublog."


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


def is_own(logger: object) -> bool:
    """Whether a logger is ours, as that of the request record is: never kept aside, counted or refused."""
    return isinstance(logger, str) and logger.startswith(_OWN)
