"""Who makes a request of Flask: as far as the application knows already."""

import hashlib
import logging

import pytest
from flask import session
from flask.sessions import SessionInterface, SessionMixin
from flask_login import LoginManager, UserMixin, current_user, login_required, login_user
from sqlalchemy import create_engine, event
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, sessionmaker
from sqlalchemy.pool import StaticPool
from werkzeug.datastructures import CallbackDict

import hublog

LOGGER = logging.getLogger("shop.views")


class User(UserMixin):
    def __init__(self, key):
        self.id = key


class Base(DeclarativeBase):
    pass


class Account(UserMixin, Base):
    __tablename__ = "account"
    id: Mapped[int] = mapped_column(primary_key=True)
    is_active: Mapped[bool] = mapped_column(default=True)


class StoredSession(CallbackDict, SessionMixin):
    """A session as Flask-Session makes it: the server keeps it under ``sid``."""

    modified = False
    accessed = False  # Flask 3.0 takes it for granted

    def __init__(self, sid, initial):
        super().__init__(initial, lambda own: setattr(own, "modified", True))
        self.sid = sid


class StoredSessions(SessionInterface):
    def __init__(self):
        self.kept = {}
        self.seen = []

    def open_session(self, app, request):
        sid = request.cookies.get("session", "s" * 32)
        return StoredSession(sid, self.kept.get(sid, {}))

    def save_session(self, app, session, response):
        self.seen.append((session.accessed, session.modified))
        if session.accessed:
            response.vary.add("Cookie")


@pytest.fixture
def loads():
    return []


@pytest.fixture
def app(make, loads):
    app = make(LOG_SESSION_ID=True, LOG_EASY_AUTH=True)
    manager = LoginManager(app)

    @manager.user_loader
    def load(key):
        loads.append(key)
        return User(key)

    @app.get("/login")
    def login():
        login_user(User("42"))
        return "ok"

    @app.get("/me")
    def me():
        return str(current_user.is_authenticated)

    @app.get("/plain")
    def plain():
        LOGGER.info("plain")
        return "ok"

    @app.get("/visits")
    def visits():
        session["visits"] = 1
        return "ok"

    @app.get("/broken")
    def broken():
        raise LookupError(current_user.get_id())

    return app


def test_a_user_that_is_not_used_is_not_loaded(app, seen, loads):
    client = app.test_client()
    client.get("/login")
    client.get("/plain")
    assert loads == []
    assert "user_id" not in seen.of("hublog.request")[-1][1]


def test_a_user_whom_the_view_loaded_is_noted(app, seen, loads):
    client = app.test_client()
    client.get("/login")
    client.get("/me")
    assert loads == ["42"]
    found = [(fields["user_id"], fields["user_authenticated"]) for _, fields in seen.of("hublog.request")]
    assert found == [("42", True)] * 2


def test_no_user_is_noted_where_the_view_asked(app, seen):
    app.test_client().get("/me")
    fields = seen.one("hublog.request")
    assert fields["user_authenticated"] is False
    assert "user_id" not in fields


def test_the_record_of_an_exception_names_whom_it_hit(app, seen):
    client = app.test_client()
    client.get("/login")
    client.get("/broken")
    assert seen.one("shop")["user_id"] == "42"


def test_whom_the_edge_signed_in_gives_way_to_the_applications_user_only(app, seen):
    edge = {"X-MS-CLIENT-PRINCIPAL-ID": "edge"}
    client = app.test_client()
    client.get("/plain", headers=edge)
    client.get("/me", headers=edge)
    client.get("/login", headers=edge)
    assert [fields["user_id"] for _, fields in seen.of("hublog.request")] == ["edge", "edge", "42"]
    assert seen.one("shop.views")["user_id"] == "edge"


@pytest.fixture
def shop(make):
    """An app without Flask-Login, which looks at the session of each request itself."""
    app = make(LOG_SESSION_ID=True)

    @app.get("/")
    def index():
        LOGGER.info("index")
        return "ok"

    return app


def test_a_session_in_a_cookie_has_no_id_and_is_not_touched(shop, seen):
    response = shop.test_client().get("/")
    assert "Vary" not in response.headers
    assert "session_id" not in seen.one("hublog.request")


def test_a_session_that_the_server_keeps_is_shown_by_its_hash_and_not_touched(shop, seen):
    shop.session_interface = StoredSessions()
    response = shop.test_client().get("/")
    expected = hashlib.blake2b(b"s" * 32, digest_size=16).hexdigest()
    found = [seen.one(name)["session_id"] for name in ("shop.views", "hublog.request")]
    assert found == [expected] * 2
    assert shop.session_interface.seen == [(False, False)]
    assert "Vary" not in response.headers
    assert "s" * 32 not in str(seen.records)


def test_a_session_is_not_shown_unless_that_is_set(make, seen):
    app = make()
    app.session_interface = StoredSessions()
    app.add_url_rule("/", view_func=lambda: "ok")
    app.test_client().get("/")
    assert "session_id" not in seen.one("hublog.request")


def test_a_view_behind_login_required_logs_with_the_user(app, seen, loads):
    @app.get("/account")
    @login_required
    def account():
        LOGGER.info("account")
        return "ok"

    client = app.test_client()
    client.get("/login")
    client.get("/account")
    assert loads == ["42"]
    assert (seen.one("shop.views")["user_id"], seen.one("shop.views")["user_authenticated"]) == ("42", True)


def test_what_is_logged_before_the_user_is_loaded_has_none_and_what_follows_has(app, seen):
    @app.get("/twice")
    def twice():
        LOGGER.info("before")
        assert current_user.is_authenticated
        LOGGER.info("after")
        hublog.bind(tenant_id="acme")
        LOGGER.info("bound")
        return "ok"

    client = app.test_client()
    client.get("/login")
    response = client.get("/twice")
    assert response.status_code == 200
    found = [(message, fields.get("user_id")) for message, fields in seen.of("shop.views")]
    assert found == [("before", None), ("after", "42"), ("bound", "42")]


def test_one_who_signs_in_during_the_request_is_named_from_then_on(app, seen):
    @app.get("/sign-in")
    def sign_in():
        assert not current_user.is_authenticated
        LOGGER.info("stranger")
        login_user(User("7"))
        LOGGER.info("known")
        return "ok"

    app.test_client().get("/sign-in")
    found = [(fields["user_authenticated"], fields.get("user_id")) for _, fields in seen.of("shop.views")]
    assert found == [(False, None), (True, "7")]


def test_looking_for_the_user_loads_no_user(app, seen, loads):
    client = app.test_client()
    client.get("/login")
    client.get("/plain")
    assert loads == []
    assert "user_id" not in seen.one("shop.views")


@pytest.fixture
def database():
    engine = create_engine("sqlite://", poolclass=StaticPool)
    Base.metadata.create_all(engine)
    with sessionmaker(engine)() as session:
        session.add(Account(id=42))
        session.commit()
        yield session
    engine.dispose()


@pytest.mark.parametrize("is_logged_before", [True, False])
def test_a_user_whom_a_commit_has_expired_is_named_without_a_query(make, seen, database, is_logged_before):
    app = make()
    LoginManager(app).request_loader(lambda _: database.get(Account, 42))
    queries = []

    @app.get("/order")
    def order():
        assert current_user.is_authenticated
        if is_logged_before:
            LOGGER.info("before")
        database.commit()
        event.listen(database.get_bind(), "before_cursor_execute", lambda *given: queries.append(given[2]))
        LOGGER.info("ordered")
        return "ok"

    assert app.test_client().get("/order").status_code == 200
    assert queries == []
    records = [*seen.of("shop.views"), *seen.of("hublog.request")]
    found = [(fields["user_authenticated"], fields["user_id"]) for _, fields in records]
    assert found == [(True, "42")] * (2 + is_logged_before)
