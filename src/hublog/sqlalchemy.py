"""For SQLAlchemy: counts a request's queries, with or without an engine of one's own.

::

    from hublog.sqlalchemy import watch

    watch()  # all engines of the process
    watch(engine)  # this one only, an ``AsyncEngine`` too

Flask, Django and ``hublog.asgi.request_context`` watch all engines by themselves once the application has
imported SQLAlchemy, unless ``LOG_COUNT_DB_QUERIES`` is off; a program of another kind calls ``watch``.
"""

from typing import TYPE_CHECKING

from hublog.requests.query_counting import listen

try:
    from sqlalchemy import Engine, event
except ImportError as error:
    raise ImportError("hublog.sqlalchemy needs SQLAlchemy 2: pip install sqlalchemy.") from error

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncEngine  # needs greenlet, which SQLAlchemy does without

__all__ = ["watch"]


def watch(engine: "Engine | AsyncEngine | None" = None) -> None:
    """Count the queries that requests make.

    Args:
        engine: the engine; None means all engines, those made later too. Asking twice counts once.
    """
    listen(event, Engine if engine is None else getattr(engine, "sync_engine", engine))
