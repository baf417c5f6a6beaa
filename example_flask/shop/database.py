"""The shop's SQLite database: one connection for each request, one file for all workers."""

import logging
import sqlite3

import click
from flask import Flask, current_app, g
from flask.cli import with_appcontext

log = logging.getLogger(__name__)

_PRODUCTS = [("tea", 450, 1_000_000), ("coffee", 1290, 1_000_000), ("honey", 799, 3)]

_SCHEMA = """
CREATE TABLE IF NOT EXISTS product (
    sku TEXT PRIMARY KEY, price_cents INTEGER NOT NULL, in_stock INTEGER NOT NULL CHECK (in_stock >= 0)
);
CREATE TABLE IF NOT EXISTS purchase (
    id INTEGER PRIMARY KEY, sku TEXT NOT NULL REFERENCES product (sku), quantity INTEGER NOT NULL,
    total_cents INTEGER NOT NULL, status TEXT NOT NULL DEFAULT 'placed'
);
"""


def connection() -> sqlite3.Connection:
    """Return this request's connection."""
    if "database" not in g:
        g.database = sqlite3.connect(current_app.config["DATABASE"], timeout=20)
        g.database.row_factory = sqlite3.Row
        g.database.execute("PRAGMA synchronous = NORMAL")
    return g.database


def init_app(app: Flask) -> None:
    """Close the connection after each request, and add ``flask --app shop init-db``."""
    app.teardown_appcontext(_close)
    app.cli.add_command(init_db)


@click.command("init-db")
@with_appcontext
def init_db() -> None:
    """Make the tables and fill the shelves; safe to repeat."""
    database = connection()
    database.execute("PRAGMA journal_mode = WAL")
    database.executescript(_SCHEMA)
    with database:
        database.executemany("INSERT OR IGNORE INTO product VALUES (?, ?, ?)", _PRODUCTS)
    log.info("%d products are on the shelves", len(_PRODUCTS), extra={"event_name": "shop.stocked"})


def _close(_error: BaseException | None) -> None:
    database = g.pop("database", None)
    if database is not None:
        database.close()
