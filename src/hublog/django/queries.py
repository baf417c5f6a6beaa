"""Counts the queries of Django's connections: one wrapper on each, for as long as the connection lives."""

import time
from collections.abc import Callable
from typing import Any, Final

from django.db import connections
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.signals import connection_created

from hublog.capture.context import stored
from hublog.capture.queries import watched

_NAME: Final = "django"


def watch() -> None:
    """Count on all connections: those that this thread has, and each one that is opened from now on."""
    connection_created.connect(_on_created, dispatch_uid="hublog")
    for connection in connections.all(initialized_only=True):
        _wrap(connection)
    watched.add(_NAME)


def _on_created(connection: BaseDatabaseWrapper, **known: object) -> None:
    del known
    _wrap(connection)


def _wrap(connection: BaseDatabaseWrapper) -> None:
    wrappers: list[Any] = connection.execute_wrappers
    if _timed not in wrappers:
        # In front: ``execute_wrapper`` takes off the last one when its block ends, and a connection may be
        # opened inside such a block.
        wrappers.insert(0, _timed)


def _timed(execute: Callable[..., object], sql: str, params: object, many: bool, context: object) -> object:  # noqa: FBT001  # Django's order
    counter = stored().counter
    if counter is None:
        return execute(sql, params, many, context)
    started = time.perf_counter()
    try:
        return execute(sql, params, many, context)
    finally:
        counter.add(time.perf_counter() - started)
