"""The request that is served here, for what encodes records and knows no request otherwise."""

import logging
from contextvars import ContextVar
from typing import Any, Final

#: The ``RequestScope`` that is served here; the outer one while an application calls itself.
current: Final[ContextVar[Any]] = ContextVar("hublog_request", default=None)


def note_shown(record: logging.LogRecord) -> None:
    """Note that the line of a record shows its exception, so that the request record need not.

    A record below WARNING may be left out at one of the destinations, so it does not count.
    """
    scope = current.get()
    if scope is None or record.levelno < logging.WARNING:
        return
    shown: object = record.exc_info
    error = shown[1] if isinstance(shown, tuple) and len(shown) > 1 else shown
    if isinstance(error, BaseException):
        scope.record.note_shown(error)
