import asyncio
import signal
import threading

import pytest
from tests.kits.file_hub import Program

from hublog.asgi import _wrap, lifespan
from hublog.runtime import server_advice
from hublog.runtime.server_advice import Way

#: What a busy machine may add to a limit.
SLACK_S = 3.0
STARTUP, SHUTDOWN = {"type": "lifespan.startup"}, {"type": "lifespan.shutdown"}
STARTED, ENDED = {"type": "lifespan.startup.complete"}, {"type": "lifespan.shutdown.complete"}
NOT_STARTED, NOT_ENDED = {"type": "lifespan.startup.failed"}, {"type": "lifespan.shutdown.failed"}


@pytest.fixture(autouse=True)
def _no_way_is_taken(monkeypatch):
    monkeypatch.setattr(server_advice, "taken", set())
    monkeypatch.setattr("hublog.asgi.taken", server_advice.taken)


class FakeEnding:
    """Notes what is asked of it, in the order in which all else happens."""

    def __init__(self, events):
        self.events = events
        self.thread = None

    def write_always(self):
        self.events.append("always")

    def secure(self):
        self.events.append("secured")
        return 0

    def deliver(self):
        self.thread = threading.current_thread()
        self.events.append("delivered")


class Server:
    """Lives through one lifespan of an application, as a server does.

    Attributes:
        events: what was sent to it and asked of the ending, in order.
    """

    def __init__(self, app, *, ending=None, messages=(STARTUP, SHUTDOWN)):
        self.events = []
        self.ending = ending or FakeEnding(self.events)
        self.app = _wrap(app, self.ending)
        self.scope = {"type": "lifespan", "asgi": {"version": "3.0"}, "state": {}}
        self._messages = list(messages)

    async def receive(self):
        if not self._messages:
            await asyncio.Event().wait()
        return self._messages.pop(0)

    async def send(self, message):
        self.events.append(message)

    async def live(self):
        await self.app(self.scope, self.receive, self.send)

    def run(self, *, fails=None):
        if fails is None:
            asyncio.run(self.live())
        else:
            with pytest.raises(fails):
                asyncio.run(self.live())
        return self.events


async def supporting(scope, receive, send):
    assert await receive() == STARTUP
    await send(STARTED)
    assert await receive() == SHUTDOWN
    await send(ENDED)


def failing_at(moment):
    """Return an application that raises before it says the word of a moment."""

    async def app(scope, receive, send):
        for expected, answer in ((STARTUP, STARTED), (SHUTDOWN, ENDED)):
            if expected is SHUTDOWN and moment == "life":
                raise LookupError
            await receive()
            if expected["type"].endswith(moment):
                raise LookupError
            await send(answer)

    return app


DELIVERED = [STARTED, "always", "delivered", ENDED]


def test_the_server_gets_the_end_after_the_delivery():
    assert Server(supporting).run() == DELIVERED


def test_the_delivery_comes_after_the_applications_own_end():
    async def app(scope, receive, send):
        await receive()
        await send(STARTED)
        await receive()
        server.events.append("cleaned up")
        await send(ENDED)

    server = Server(app)
    assert server.run() == [STARTED, "cleaned up", "always", "delivered", ENDED]


def test_an_end_that_failed_is_sent_after_the_delivery_too():
    async def app(scope, receive, send):
        await receive()
        await send(STARTED)
        await receive()
        await send(NOT_ENDED)
        raise LookupError

    assert Server(app).run(fails=LookupError) == [STARTED, "always", "delivered", NOT_ENDED]


async def raising(scope, receive, send):
    raise ValueError("Django can only handle ASGI/HTTP connections, not lifespan.")


async def returning(scope, receive, send):
    return


async def returning_without_an_answer(scope, receive, send):
    await receive()


async def returning_after_the_start(scope, receive, send):
    await receive()
    await send(STARTED)


async def returning_without_the_last_word(scope, receive, send):
    await receive()
    await send(STARTED)
    await receive()


@pytest.mark.parametrize(
    "app",
    [
        raising,
        returning,
        returning_without_an_answer,
        returning_after_the_start,
        returning_without_the_last_word,
    ],
)
def test_what_the_application_leaves_unsaid_is_said_for_it(app):
    assert Server(app).run() == DELIVERED


def test_a_start_that_failed_is_passed_on_and_nothing_more_is_said():
    async def app(scope, receive, send):
        await receive()
        await send(NOT_STARTED)
        raise LookupError

    assert Server(app).run(fails=LookupError) == [NOT_STARTED]


@pytest.mark.parametrize("moment", ["startup", "life"])
def test_an_error_amid_the_life_leaves_everything_on_disk_and_is_passed_on(moment):
    events = Server(failing_at(moment)).run(fails=LookupError)
    assert [event for event in events if event != STARTED] == ["always", "secured"]


def test_an_error_at_the_end_is_passed_on_after_the_delivery():
    assert Server(failing_at("shutdown")).run(fails=LookupError) == DELIVERED[:-1]


def test_a_life_that_is_cancelled_leaves_everything_on_disk():
    async def cancel():
        task = asyncio.create_task(server.live())
        for _ in range(10):
            await asyncio.sleep(0)  # until it waits for the end
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    server = Server(supporting, messages=[STARTUP])
    asyncio.run(cancel())
    assert server.events == [STARTED, "always", "secured"]


def test_the_application_sees_the_state_that_the_server_gives():
    async def app(scope, receive, send):
        scope["state"]["pool"] = "made"
        await supporting(scope, receive, send)

    server = Server(app)
    server.run()
    assert server.scope["state"] == {"pool": "made"}


def test_other_scopes_pass_through_untouched():
    async def app(*given):
        calls.append(given)

    calls, given = [], ({"type": "http"}, object(), object())
    asyncio.run(lifespan(app)(*given))
    assert all(mine is theirs for mine, theirs in zip(given, calls[0], strict=True))


def test_an_error_of_a_request_passes_through():
    with pytest.raises(ValueError, match="only handle"):
        asyncio.run(lifespan(raising)({"type": "http"}, None, None))


class WaitingEnding(FakeEnding):
    """Delivers once the event loop has shown that it still runs."""

    def __init__(self, events):
        super().__init__(events)
        self.is_free = threading.Event()

    def deliver(self):
        assert self.is_free.wait(10)
        super().deliver()


def test_the_event_loop_goes_on_during_the_delivery():
    async def live():
        task = asyncio.create_task(server.live())
        asyncio.get_running_loop().call_later(0.01, ending.is_free.set)
        await task

    ending = WaitingEnding([])
    server = Server(supporting, ending=ending)
    asyncio.run(live())
    assert ending.events == ["always", "delivered"]
    assert ending.thread is not threading.main_thread()


def test_without_a_thread_the_delivery_is_made_in_place(monkeypatch):
    def start(self):
        raise RuntimeError("can't start new thread")

    server = Server(supporting)
    monkeypatch.setattr(threading.Thread, "start", start)
    assert server.run() == DELIVERED
    assert server.ending.thread is threading.main_thread()


def test_another_loop_than_that_of_asyncio_is_served():
    server = Server(supporting)
    with pytest.raises(StopIteration):  # it ran to its end, and waited for nothing of asyncio's
        server.live().send(None)
    assert server.events == DELIVERED


class BrokenEnding(FakeEnding):
    def deliver(self):
        raise OSError("disk")

    secure = deliver


@pytest.mark.parametrize(("app", "fails"), [(supporting, None), (failing_at("life"), LookupError)])
def test_troubles_of_the_delivery_do_not_reach_the_server(app, fails):
    assert Server(app, ending=BrokenEnding([])).run(fails=fails)[0] == STARTED


def test_a_life_may_be_followed_by_another_one():
    server = Server(supporting, messages=[STARTUP, SHUTDOWN, STARTUP, SHUTDOWN])
    server.run()
    assert server.run() == DELIVERED + DELIVERED


def test_a_decorated_application_keeps_its_name():
    @lifespan
    async def shop(scope, receive, send):
        """Sell."""

    assert (shop.__name__, shop.__doc__) == ("shop", "Sell.")


def test_the_way_is_taken_when_a_server_begins_the_life():
    server = Server(supporting)
    assert server_advice.taken == {Way.WRAPPER}
    server.run()
    assert server_advice.taken == {Way.WRAPPER, Way.LIFESPAN}


# Real servers.

APP = """
import os
import file_hub
from hublog.asgi import lifespan

file_hub.set_up()
file_hub.log.info("imported")

async def app(scope, receive, send):
    assert scope["type"] == "lifespan"
    await receive()
    file_hub.log.info("started")
    await send({"type": "lifespan.startup.complete"})
    await receive()
    file_hub.log.info("ended")
    await send({"type": "lifespan.shutdown.complete"})

app = lifespan(app)
"""
DJANGO = """
import django
from django.conf import settings
from django.core.asgi import get_asgi_application
import file_hub
from hublog.asgi import lifespan

settings.configure(SECRET_KEY="of a test", ROOT_URLCONF="site_app", USE_TZ=True)
file_hub.set_up()
urlpatterns = []
app = lifespan(get_asgi_application())
file_hub.log.info("imported")
"""
ALL = ["imported", "started", "ended"]
HANGS = {"HUB_HANGS": "yes", "HUB_EXIT_S": "1"}


def serve(folder, *command, app=APP, workers=0, **environ):
    """Serve an application, then end the server by SIGTERM; returns its program, status and seconds.

    A server with workers runs before they do, so these are waited for.
    """
    pytest.importorskip(command[0])
    (folder / "site_app.py").write_text(app)
    with Program(folder, "-m", *command, "site_app:app", **environ) as program:
        program.wait_for("unning on ")
        if workers:
            program.wait_for("Application startup complete", workers)
        status, seconds = program.end(signal.SIGTERM)
    return program, status, seconds


@pytest.mark.parametrize("mode", ["memory", "overflow", "always"])
def test_uvicorn_delivers_and_ends_by_the_signal(tmp_path, mode):
    program, status, _ = serve(tmp_path, "uvicorn", "--port", "0", HUB_MODE=mode)
    assert (program.arrived(), program.on_disk(), status) == (ALL, [], -signal.SIGTERM)


def test_uvicorn_with_a_hub_that_hangs_leaves_everything_on_disk(tmp_path):
    program, status, seconds = serve(tmp_path, "uvicorn", "--port", "0", **HANGS)
    assert (sorted(program.on_disk()), status) == (sorted(ALL), -signal.SIGTERM)
    assert seconds < 1.5 + SLACK_S


def test_uvicorn_with_memory_alone_reports_what_a_hanging_hub_did_not_take(tmp_path):
    program, _, _ = serve(tmp_path, "uvicorn", "--port", "0", HUB_MODE="memory", **HANGS)
    assert "3 records could not be delivered" in program.text()


def test_each_worker_of_uvicorn_delivers(tmp_path):
    program, _, _ = serve(tmp_path, "uvicorn", "--port", "0", "--workers", "2", workers=2)
    assert sorted(program.arrived()) == sorted(2 * ALL)


@pytest.mark.parametrize("choice", ["auto", "on"])
def test_uvicorn_serves_django_which_knows_no_lifespans(tmp_path, choice):
    pytest.importorskip("django")
    program, status, _ = serve(tmp_path, "uvicorn", "--port", "0", "--lifespan", choice, app=DJANGO)
    assert (program.arrived(), status) == (["imported"], -signal.SIGTERM)


@pytest.mark.parametrize("kind", ["asyncio", "trio"])
def test_hypercorn_is_served_under_either_loop(tmp_path, kind):
    if kind == "trio":
        pytest.importorskip("trio")
    program, status, _ = serve(tmp_path, "hypercorn", "--worker-class", kind, "--bind", "127.0.0.1:0")
    assert (program.arrived(), status) == (ALL, 0)
