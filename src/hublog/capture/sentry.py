"""Sentry, where the application uses it: a failed request is one event, that of its exception."""

import contextlib
import sys
from typing import Any


def leave_out(logger: str) -> None:
    """Have Sentry make no event and no breadcrumb of a logger's records; without Sentry do nothing.

    It may be set up before us or after, so this is said again each time that it matters.
    """
    # Looked up, not imported: that the package is installed does not mean that the application uses it.
    integration: Any = sys.modules.get("sentry_sdk.integrations.logging")
    if integration is not None:
        with contextlib.suppress(Exception):  # a foreign package must not break the request
            integration.ignore_logger(logger)
