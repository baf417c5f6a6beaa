"""The shop's database: SQLAlchemy, one session for each request or task."""

import logging

import click
from flask import Flask, current_app
from flask.cli import with_appcontext
from flask.globals import app_ctx
from sqlalchemy import create_engine, event
from sqlalchemy.orm import Session, scoped_session, sessionmaker

from shop.models import Base, Product

log = logging.getLogger(__name__)

_PRODUCTS = {"tea": (450, 1_000_000), "coffee": (1290, 1_000_000), "honey": (799, 3)}


def session() -> Session:
    """Return the session of this request or task."""
    return current_app.extensions["database"]()


def init_app(app: Flask) -> None:
    """Make the engine, end each session with its request, and add ``flask --app shop init-db``."""
    engine = app.extensions["engine"] = create_engine(app.config["DATABASE_URL"])
    if engine.dialect.name == "sqlite":
        event.listen(engine, "connect", _prepare_sqlite)
    make = sessionmaker(engine, expire_on_commit=False)  # else what is known is read again after each commit
    # A task that runs within a request has an app context, and so a session, of its own.
    sessions = scoped_session(make, scopefunc=lambda: id(app_ctx._get_current_object()))  # noqa: SLF001
    app.extensions["database"] = sessions
    app.teardown_appcontext(lambda _error: sessions.remove())
    app.cli.add_command(init_db)


@click.command("init-db")
@with_appcontext
def init_db() -> None:
    """Make the tables and fill the shelves; safe to repeat."""
    database = session()
    Base.metadata.create_all(database.connection())
    for sku, (price, number) in _PRODUCTS.items():
        if database.get(Product, sku) is None:
            database.add(Product(sku=sku, price_cents=price, in_stock=number))
    database.commit()
    log.info("%d products are on the shelves", len(_PRODUCTS), extra={"event_name": "shop.stocked"})


def _prepare_sqlite(connection, _record) -> None:
    """Let several workers read while one writes."""
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = NORMAL")
    connection.execute("PRAGMA busy_timeout = 20000")
