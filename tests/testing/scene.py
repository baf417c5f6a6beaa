"""Handlers and connections of these tests."""

import contextlib
import logging

KEY = "S3cretKeyS3cretKeyS3cretKeyS3cretKeyS3cretK="
#: Where nobody may call.
CONNECTION = f"Endpoint=sb://hub.example;SharedAccessKeyName=n;SharedAccessKey={KEY}"


@contextlib.contextmanager
def attached(handler, logger=None):
    """Have a handler on a logger, the root one by default."""
    at = logger or logging.getLogger()
    at.addHandler(handler)
    try:
        yield handler
    finally:
        at.removeHandler(handler)
        handler.close()
