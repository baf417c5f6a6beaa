"""Queries of SQLAlchemy are counted for the request that makes them."""

import logging
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
import sqlalchemy
from flask import Flask
from sqlalchemy import create_engine, event, text
from sqlalchemy.exc import OperationalError
from sqlalchemy.ext.asyncio import AsyncEngine
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column
from sqlalchemy.pool import StaticPool
from tests.kits.seen import watching

from hublog.capture import context
from hublog.flask import HubLog
from hublog.requests import query_counting
from hublog.requests.query_counting import QueryCounter
from hublog.sqlalchemy import watch


class Base(DeclarativeBase):
    pass


class Order(Base):
    __tablename__ = "orders"
    number: Mapped[int] = mapped_column(primary_key=True)


def forget():
    for name, listener in query_counting._LISTENERS.items():
        if event.contains(sqlalchemy.Engine, name, listener):
            event.remove(sqlalchemy.Engine, name, listener)


@pytest.fixture(autouse=True)
def _listens_to_nothing(monkeypatch):
    """Find SQLAlchemy without our listeners, and leave it so."""
    monkeypatch.setattr(query_counting, "watched", set())
    monkeypatch.setattr(query_counting, "watched", query_counting.watched)
    forget()
    yield
    forget()


@pytest.fixture
def engine():
    engine = create_engine("sqlite://", poolclass=StaticPool, connect_args={"check_same_thread": False})
    Base.metadata.create_all(engine)
    yield engine
    engine.dispose()


@pytest.fixture
def counter():
    counter = QueryCounter()
    token = context.enter({}, counter=counter)
    yield counter
    context.leave(token)


@pytest.fixture
def seen():
    with watching() as handler:
        yield handler


def select(engine, times=1):
    with engine.connect() as connection:
        for _ in range(times):
            connection.execute(text("SELECT 1"))


def count(counter):
    return counter.columns().get("db_query_count", 0)


def test_one_engine_is_watched_and_no_other(engine, counter):
    other = create_engine("sqlite://")
    watch(engine)
    select(engine, 3)
    select(other)
    other.dispose()
    assert count(counter) == 3
    assert counter.columns()["db_duration_ms"] > 0


def test_all_engines_are_watched_those_made_before_and_after(engine, counter):
    watch()
    later = create_engine("sqlite://")
    select(engine)
    select(later)
    select(engine.execution_options(stream_results=True))
    later.dispose()
    assert count(counter) == 3


def test_an_engine_that_is_watched_twice_and_with_all_counts_once(engine, counter):
    watch(engine)
    watch()
    watch(engine)
    watch()
    select(engine, 2)
    assert count(counter) == 2


def test_the_engine_below_an_async_one_is_watched(engine, counter):
    class Known(AsyncEngine):
        """As if it had an async driver, of which there is none here."""

        def __init__(self, engine):
            self.sync_engine = engine

    watch(Known(engine))
    select(engine)
    assert count(counter) == 1


def test_a_query_that_fails_is_counted_once(engine, counter):
    watch(engine)
    with engine.connect() as connection, pytest.raises(OperationalError):
        connection.execute(text("SELECT nothing FROM nowhere"))
    select(engine)
    assert count(counter) == 2


def test_an_engine_that_cannot_connect_raises_its_own_error(counter, tmp_path):
    watch()
    unavailable = create_engine(f"sqlite:///{tmp_path}/none/none.db")
    with pytest.raises(OperationalError):
        unavailable.connect()
    assert count(counter) == 0


def test_statements_of_a_session_are_counted(engine, counter):
    watch(engine)
    with Session(engine) as session:
        session.add_all([Order(number=number) for number in range(5)])
        session.commit()
        assert len(session.query(Order).all()) == 5
    assert count(counter) == 2  # one insert of many rows, one select


def test_outside_of_a_request_nothing_is_counted_and_nothing_left_on_the_statement(engine):
    watch(engine)
    left = []
    event.listen(engine, "after_cursor_execute", lambda *known: left.append(vars(known[4]).copy()))
    select(engine)
    assert not [name for name in left[0] if "hublog" in name]


@pytest.fixture
def make(engine, tmp_path):
    def made(**config):
        app = Flask("shop")
        app.config.update(
            EVENTHUB_LOGGING_ENABLED=False, FILE_LOGGING_ENABLED=False, LOG_TO_STDOUT=False, **config
        )
        HubLog(app)
        logging.getLogger().setLevel(logging.INFO)

        @app.get("/queries/<int:times>")
        def queries(times):
            select(engine, times)
            return "ok"

        @app.get("/stream")
        def stream():
            def parts():
                for _ in range(3):
                    select(engine)
                    yield b"x"

            return app.response_class(parts())

        @app.get("/nested")
        def nested():
            app.test_client().get("/queries/2")
            select(engine)
            return "ok"

        return app

    return made


def counted(seen):
    return [fields["db_query_count"] for _, fields in seen.of("hublog.request")]


def test_a_flask_app_counts_without_being_asked(make, seen):
    client = make().test_client()
    for times in (3, 0, 1):
        client.get(f"/queries/{times}")
    assert counted(seen) == [3, 0, 1]
    fields = seen.of("hublog.request")[0][1]
    assert 0 < fields["db_duration_ms"] <= fields["duration_ms"]
    assert context.stored().counter is None


def test_a_stream_and_a_request_inside_a_request_count_their_own(make, seen):
    client = make().test_client()
    assert client.get("/stream").data == b"xxx"
    client.get("/nested")
    assert counted(seen) == [3, 2, 1]


def test_what_threads_and_executors_of_a_request_query_counts_for_it(make, engine, seen):
    app = make()

    @app.get("/threads")
    def threads():
        begun = threading.Thread(target=select, args=(engine,))
        begun.start()
        begun.join()
        with ThreadPoolExecutor(1) as pool:
            list(pool.map(select, [engine] * 3))
        return "ok"

    app.test_client().get("/threads")
    assert counted(seen) == [4]


def test_threads_count_apart(make, seen):
    client = make().test_client()

    def work(times):
        for _ in range(10):
            client.application.test_client().get(f"/queries/{times}")

    threads = [threading.Thread(target=work, args=(times,)) for times in (1, 2, 3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    found = [(fields["http_path"], fields["db_query_count"]) for _, fields in seen.of("hublog.request")]
    assert sorted(found) == sorted((f"/queries/{times}", times) for times in (1, 2, 3) for _ in range(10))


def test_counting_can_be_switched_off(make, seen):
    make(LOG_COUNT_DB_QUERIES=False).test_client().get("/queries/3")
    assert "db_query_count" not in seen.one("hublog.request")
    assert query_counting.watched == set()


def test_an_app_without_sqlalchemy_does_not_import_it_and_one_that_imports_it_late_counts():
    source = """
import logging, sys
from flask import Flask
from hublog.flask import HubLog

app = Flask("shop")
app.config.update(EVENTHUB_LOGGING_ENABLED=False, FILE_LOGGING_ENABLED=False, LOG_TO_STDOUT=False)
HubLog(app)

class Show(logging.Handler):
    def emit(self, record):
        print(getattr(record, "db_query_count", None))

logging.getLogger("hublog.request").addHandler(Show())

@app.get("/")
def index():
    return str("sqlalchemy" in sys.modules)

@app.get("/late")
def late():
    import sqlalchemy
    with sqlalchemy.create_engine("sqlite://").connect() as connection:
        connection.execute(sqlalchemy.text("SELECT 1"))
    return "ok"

client = app.test_client()
print(client.get("/").text)
client.get("/late")
client.get("/late")
"""
    result = subprocess.run([sys.executable, "-c", source], capture_output=True, text=True, check=True)
    # The request that imports it is not counted: nobody listened when it began.
    assert result.stdout.split() == ["None", "False", "None", "1"]
