"""hublog's own troubles, told on the logger ``hublog.internal``: to console and file, never to the hub."""

import contextlib
import logging
import sys
from typing import Final

LOGGER_NAME: Final = "hublog.internal"
#: Set on handlers that do not take our reports, so that a report is not sent to nobody.
SKIPS_REPORTS: Final = "hublog_skips_reports"


def report(level: int, message: str) -> None:
    """Tell the operator; where no handler would take it, standard error does.

    Args:
        level: a ``logging`` level.
        message: ready text without secrets.
    """
    logger = logging.getLogger(LOGGER_NAME)
    if not logger.isEnabledFor(level):
        return
    if _has_listener(logger, level):
        logger.log(level, "%s", message)
        return
    with contextlib.suppress(Exception):  # standard error may be closed: there is nobody left to tell
        sys.stderr.write(f"{logging.getLevelName(level)} {LOGGER_NAME}: {message}\n")


def _has_listener(logger: logging.Logger, level: int) -> bool:
    current: logging.Logger | None = logger
    while current is not None:
        for handler in current.handlers:
            if level >= handler.level and not getattr(handler, SKIPS_REPORTS, False):
                return True
        current = current.parent if current.propagate else None
    return False
