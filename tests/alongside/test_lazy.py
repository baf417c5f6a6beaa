"""What Django and SQLAlchemy evaluate late is not evaluated by a log call."""

import json
import logging
import socket
from dataclasses import dataclass

import pytest
from sqlalchemy import ForeignKey, Integer, Text, create_engine, event, select
from sqlalchemy.ext.associationproxy import association_proxy
from sqlalchemy.orm import (
    DeclarativeBase,
    Mapped,
    MappedAsDataclass,
    Session,
    declarative_base,
    deferred,
    mapped_column,
    relationship,
)
from tests.alongside.programs.run import run
from werkzeug.local import LocalProxy

import hublog


@pytest.fixture(scope="module")
def django(tmp_path_factory):
    """What each object of Django cost and showed, by the place where a record held it."""
    return run("lazy_django.py", folder=tmp_path_factory.mktemp("lazy"))


SHOWN = {
    "lazy object": "<django.utils.functional.SimpleLazyObject, not evaluated>",
    "query set": "<django.db.models.query.QuerySet, not evaluated>",
    "values": "<django.db.models.query.QuerySet, not evaluated>",
    "raw query set": "<RawQuerySet: select * from auth_user>",
    "manager": "<django.contrib.auth.models.UserManager, not evaluated>",
    "model": "<Talking pk=1>",
    "deferred model": "<User pk=1>",
    "model without a key": "<User pk=None>",
    "request": "<django.core.handlers.wsgi.WSGIRequest, not evaluated>",
    "user of the request": "<django.utils.functional.SimpleLazyObject, not evaluated>",
    "translation": "order",
    "lazy query": "<django.utils.functional.lazy.<locals>.__proxy__, not evaluated>",
    "lazy url": "/orders/",
    "form": "<__main__.Choice, not evaluated>",
    "page": "<django.core.paginator.Page, not evaluated>",
    "context": "<django.template.context.Context, not evaluated>",
    "dataclass": "Plain(number=7)",
    "dataclass of a model": "Holds(user=<Talking pk=1>, parts=(7, 'a'))",
    "dataclass of dataclasses": "Holds(user=Holds(user=<Talking pk=1>, parts=()), parts=())",
    "dataclass with a repr of its own": "<Shy>",
}


def test_nothing_of_django_reaches_the_database_from_any_place(django):
    asked = {
        (case, place): found["queries"]
        for case, places in django.items()
        for place, found in places.items()
        if found["queries"]
    }
    assert asked == {}
    assert len(django) == 31
    assert {len(places) for places in django.values()} == {9}


@pytest.mark.parametrize("case", SHOWN)
def test_an_object_of_django_is_shown(case, django):
    found = django[case]
    places = ("extra", "column", "adapter", "event", "nested extra", "bound")
    assert [found[place]["shown"] for place in places] == [SHOWN[case]] * len(places)
    assert found["nested"]["shown"] == {"a": [SHOWN[case]]}


class Base(DeclarativeBase):
    """The tables of today's style."""


class Customer(Base):
    __tablename__ = "customer"
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str]
    notes: Mapped[str] = deferred(mapped_column(Text, default=""))
    orders: Mapped[list["Order"]] = relationship(back_populates="customer")
    numbers = association_proxy("orders", "id")

    def __repr__(self):
        return f"<Customer {self.name} {self.notes} with {len(self.orders)} orders>"


class Order(Base):
    __tablename__ = "order"
    id: Mapped[int] = mapped_column(primary_key=True)
    customer_id: Mapped[int] = mapped_column(ForeignKey("customer.id"))
    customer: Mapped[Customer] = relationship(back_populates="orders")


class DataBase(MappedAsDataclass, DeclarativeBase):
    """Mapped classes that are dataclasses, with a repr of all their fields."""


class Basket(DataBase):
    __tablename__ = "basket"
    id: Mapped[int] = mapped_column(primary_key=True)
    items: Mapped[list["Item"]] = relationship(default_factory=list)


class Item(DataBase):
    __tablename__ = "item"
    id: Mapped[int] = mapped_column(primary_key=True)
    basket_id: Mapped[int] = mapped_column(ForeignKey("basket.id"), default=None)


OldBase = declarative_base()


class Old(OldBase):
    __tablename__ = "old"
    id = mapped_column(Integer, primary_key=True)
    name = mapped_column(Integer, primary_key=True)

    def __repr__(self):
        return f"<Old {self.name}>"


@pytest.fixture
def engine():
    found = create_engine("sqlite://")
    for base in (Base, DataBase, OldBase):
        base.metadata.create_all(found)
    with Session(found) as session:
        session.add(Customer(id=1, name="Ann", orders=[Order(id=7)]))
        session.add(Basket(id=1, items=[Item(id=2)]))
        session.add(Old(id=1, name=2))
        session.commit()
    yield found
    found.dispose()


@pytest.fixture
def statements(engine):
    """The statements that reach the database."""
    found = []
    event.listen(engine, "before_cursor_execute", lambda *arguments: found.append(arguments[2]))
    return found


@pytest.mark.parametrize("state", ["loaded", "expired", "detached and expired"])
def test_instances_of_sqlalchemy_are_shown_by_their_identity(state, engine, statements, alone, hub):
    with Session(engine) as session:
        values = [session.get(Customer, 1), session.get(Basket, 1), session.get(Old, (1, 2))]
        if state != "loaded":
            session.expire_all()
        if state.startswith("detached"):
            session.expunge_all()
        statements.clear()
        alone.info("m", extra={"value": values, "tenant_id": values[0]})
        alone.info({"event": "m", "value": {"customer": values[0]}})
        hublog.bind(value=values[0])
        alone.info("m")
        assert statements == []
    first, second, third = hub.rows()
    assert first["extra"]["value"] == ["<Customer pk=1>", "<Basket pk=1>", "<Old pk=1, 2>"]
    assert first["tenant_id"] == third["extra"]["value"] == "<Customer pk=1>"
    assert second["extra"]["value"] == {"customer": "<Customer pk=1>"}


def test_rows_statements_and_collections_of_sqlalchemy_ask_nothing(engine, statements, alone, hub):
    with Session(engine) as session:
        row = session.execute(select(Customer, Customer.name)).one()
        customer = session.get(Customer, 1)
        proxy = customer.numbers
        session.expire_all()
        statements.clear()
        alone.info(
            "m",
            extra={
                "new": Customer(name="new"),
                "row": row,
                "query": session.query(Customer),
                "select": select(Customer.name),
                "proxy": proxy,
                "session": session,
            },
        )
        assert statements == []
    extra = hub.row()["extra"]
    assert (extra["new"], extra["row"]) == (
        "<Customer pk=None>",
        {"Customer": "<Customer pk=1>", "name": "Ann"},
    )
    assert extra["select"].startswith("SELECT customer.name")
    assert extra["proxy"].endswith("not evaluated>")


def test_a_dataclass_that_holds_itself_and_a_model_ends(alone, hub, engine, statements):
    @dataclass
    class Ring:
        customer: object
        next: object = None

    with Session(engine) as session:
        ring = Ring(session.get(Customer, 1))
        ring.next = ring
        session.expire_all()
        statements.clear()
        alone.info("m", extra={"ring": ring})
        assert statements == []
    assert "Ring(customer=<Customer pk=1>, next=" in hub.row()["extra"]["ring"]


def test_the_socket_in_djangos_server_is_shown_and_not_read(alone, hub):
    ours, theirs = socket.socketpair()
    with ours, theirs:
        theirs.send(b"GET /")
        alone.info("m", extra={"request": ours, "status_code": 200})
        assert ours.recv(10) == b"GET /"
    assert hub.row()["extra"]["request"].startswith("<socket.socket fd=")


def test_a_proxy_of_werkzeug_is_not_asked(alone, hub):
    asked = []
    alone.info("m", extra={"user": LocalProxy(lambda: asked.append(1))})
    assert asked == []
    assert hub.row()["extra"]["user"] == "<werkzeug.local.LocalProxy, not evaluated>"


def test_what_the_message_shows_is_evaluated_once_as_by_any_handler():
    class Counts:
        total = 0

        def __str__(self):
            Counts.total += 1
            return "shown"

    record = logging.LogRecord("shop", 20, "p", 1, "%s", (Counts(),), None)
    assert json.loads(hublog.JsonFormatter().format(record))["message"] == "shown"
    assert Counts.total == 1
