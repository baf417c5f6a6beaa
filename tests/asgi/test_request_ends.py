"""How a request or a websocket of an ASGI application ends, and what its record says of that."""

import asyncio
import logging

import pytest
from tests.kits.asgi_client import ACCEPT, CONNECT, Client, run

from hublog.asgi import request_context
from hublog.testing import capture_records

LOGGER = logging.getLogger("shop.views")
START = {"type": "http.response.start", "status": 200, "headers": []}
PART = {"type": "http.response.body", "body": b"abc", "more_body": True}
LAST = {"type": "http.response.body", "body": b""}
LEFT = {"kind": "http.disconnect"}


@pytest.fixture
def rows():
    """What reaches the hub."""
    with capture_records() as records:
        yield records


def ending(rows):
    [row] = [row for row in rows if row["logger_name"] == "hublog.request"]
    return row["http_status_code"], row["level"], row["event_name"]


class ClientDisconnect(Exception):  # noqa: N818  # as Starlette calls it
    pass


async def cancelled_part():
    part = asyncio.ensure_future(asyncio.Event().wait())
    asyncio.get_running_loop().call_soon(part.cancel)
    await part


@pytest.mark.parametrize("before", [[], [START, PART]], ids=["before the response", "half way"])
@pytest.mark.parametrize("way", ["own", "of a part"])
def test_a_cancellation_of_the_applications_own_is_a_failure(rows, way, before):
    async def app(scope, receive, send):
        for message in before:
            await send(message)
        if way == "own":
            raise asyncio.CancelledError("for the test")
        await cancelled_part()

    with pytest.raises(asyncio.CancelledError):
        run(app)
    assert ending(rows) == (500, "ERROR", "request.finished")
    assert rows[-1]["exception_type"] == "asyncio.exceptions.CancelledError"


def raising(error, *, answers=False, logs=False, logged=None):
    async def app(scope, receive, send):
        try:
            raise error
        except Exception:
            if logs:
                LOGGER.log(logs, "broken", exc_info=True if logged is None else logged)
            if answers:  # as Starlette's outermost middleware does
                await send({**START, "status": 500})
                await send(LAST)
            raise

    return app


@pytest.mark.parametrize("answers", [False, True])
def test_the_record_carries_what_leaves_the_application(rows, answers):
    with pytest.raises(LookupError):
        run(raising(LookupError("for the test"), answers=answers))
    assert ending(rows) == (500, "ERROR", "request.finished")
    [row] = rows
    assert (row["exception_type"], row["exception_message"], row["record_type"]) == (
        "LookupError",
        "for the test",
        "request",
    )
    assert "test_request_ends.py" in row["exception_stacktrace"]


@pytest.mark.parametrize("answers", [False, True])
def test_what_the_application_has_logged_itself_is_not_shown_again(rows, answers):
    with pytest.raises(LookupError):
        run(raising(LookupError("for the test"), answers=answers, logs=logging.ERROR))
    assert [row.get("exception_type") for row in rows] == ["LookupError", None]
    assert ending(rows) == (500, "ERROR", "request.finished")


@pytest.mark.parametrize(
    ("level", "logged"),
    [(logging.DEBUG, None), (logging.ERROR, ValueError("another")), (logging.ERROR, False)],
)
def test_what_may_not_have_been_seen_is_shown(rows, level, logged):
    with pytest.raises(LookupError):
        run(raising(LookupError("for the test"), logs=level, logged=logged))
    assert rows[-1]["exception_type"] == "LookupError"


def test_a_framework_that_answers_for_an_exception_in_silence_hides_nothing(rows):
    async def app(scope, receive, send):
        try:
            raise LookupError("for the test")
        except LookupError:
            await send({**START, "status": 500})
            await send(LAST)

    run(app)
    assert ending(rows) == (500, "ERROR", "request.finished")
    assert rows[0]["exception_type"] == "LookupError"


def test_an_exception_behind_an_answer_below_500_is_the_applications_way_to_say_it(rows):
    async def app(scope, receive, send):
        try:
            raise LookupError("for the test")
        except LookupError:
            await send({**START, "status": 404})
            await send(LAST)

    run(app)
    assert ending(rows) == (404, "WARNING", "request.finished")
    assert "exception_type" not in rows[0]


@pytest.mark.parametrize(
    "name",
    [{"LOG_ACCESS_RECORDS": "false"}, {"LOG_EXCLUDED_PATHS": "/orders/*"}],
    ids=lambda names: next(iter(names)),
)
def test_what_leaves_an_application_without_request_records_has_a_record(rows, monkeypatch, name):
    for setting, value in name.items():
        monkeypatch.setenv(setting, value)

    async def app(scope, receive, send):
        await send(START)
        await send(LAST)
        raise LookupError("for the test")

    with pytest.raises(LookupError):
        run(app)
    [row] = rows
    assert (row["event_name"], row["record_type"], row["exception_type"], row["request_id"]) == (
        "request.failed",
        "exception",
        "LookupError",
        "abc",
    )


# A client that is gone


@pytest.mark.parametrize("status", [200, 204, 304])
@pytest.mark.parametrize("method", ["HEAD", "GET"])
def test_a_client_that_leaves_with_its_headers_had_all_there_is_of_a_response_without_a_body(
    rows, method, status
):
    async def app(scope, receive, send):
        await send({**START, "status": status})
        if (await receive())["type"] != "http.disconnect":
            await send(PART)

    run(app, method=method, says=[LEFT])
    is_cancelled = method == "GET" and status == 200
    assert ending(rows) == (
        (499, "WARNING", "request.cancelled") if is_cancelled else (status, "INFO", "request.finished")
    )
    assert rows[0]["http_response_size"] == 0


@pytest.mark.parametrize(("length", "status"), [(None, 499), (4, 499), (3, 200)])
def test_a_client_that_has_read_all_that_was_announced_has_not_disconnected(rows, length, status):
    async def app(scope, receive, send):
        headers = [(b"Content-Length", str(length).encode())] if length else []
        await send({**START, "headers": headers})
        await send(PART)
        await receive()

    run(app, says=[LEFT])
    assert (ending(rows)[0], rows[0]["http_response_size"]) == (status, 3)


def test_what_is_sent_to_a_disconnected_client_has_not_arrived(rows):
    async def app(scope, receive, send):
        await receive()
        await send(START)
        await send(LAST)

    run(app, says=[LEFT])
    assert ending(rows) == (499, "WARNING", "request.cancelled")


@pytest.mark.parametrize("answers", [False, True])
def test_an_exception_that_says_so_is_no_failure(rows, answers):
    async def app(scope, receive, send):
        await receive()
        await raising(ClientDisconnect(), answers=answers)(scope, receive, send)

    with pytest.raises(ClientDisconnect):
        run(app, says=[LEFT])
    assert ending(rows) == (499, "WARNING", "request.cancelled")
    assert len(rows) == 1


@pytest.mark.parametrize("error", [LookupError("for the test"), asyncio.CancelledError()])
def test_a_failure_after_the_client_has_disconnected_is_a_failure(rows, error):
    async def app(scope, receive, send):
        await receive()
        raise error

    with pytest.raises(type(error)):
        run(app, says=[LEFT])
    assert ending(rows) == (500, "ERROR", "request.finished")
    assert rows[0]["exception_type"].endswith(type(error).__name__)


# Websockets


@pytest.mark.parametrize(
    ("code", "level"),
    [
        (None, "INFO"),
        (1000, "INFO"),
        (1001, "INFO"),
        (1005, "INFO"),
        (1006, "WARNING"),
        (1002, "WARNING"),
        (1009, "WARNING"),
        (1011, "WARNING"),
        (1012, "INFO"),
        (3000, "INFO"),
        (4999, "INFO"),
    ],
)
def test_a_websocket_that_was_lost_is_a_warning(rows, code, level):
    async def app(scope, receive, send):
        await send(ACCEPT)
        await receive()

    run(app, "websocket", says=[{"kind": "websocket.disconnect", "code": code}])
    assert ending(rows) == (101, level, "websocket.closed")


def test_an_application_that_closes_for_an_error_of_its_own_is_an_error(rows):
    async def app(scope, receive, send):
        await send(ACCEPT)
        await send({"type": "websocket.close", "code": 1011})

    run(app, "websocket", says=[CONNECT])
    assert ending(rows) == (101, "ERROR", "websocket.closed")


def test_a_disconnect_that_leaves_the_application_as_an_exception_is_no_failure(rows):
    class WebSocketDisconnect(Exception):  # noqa: N818  # as Starlette calls it
        pass

    async def app(scope, receive, send):
        await send(ACCEPT)
        await receive()
        raise WebSocketDisconnect

    with pytest.raises(WebSocketDisconnect):
        run(app, "websocket", says=[{"kind": "websocket.disconnect", "code": 1001}])
    assert ending(rows) == (101, "INFO", "websocket.closed")


@pytest.mark.parametrize("error", [LookupError("for the test"), asyncio.CancelledError()])
def test_a_websocket_that_fails_carries_what_was_raised(rows, error):
    async def app(scope, receive, send):
        await send(ACCEPT)
        raise error

    with pytest.raises(type(error)):
        run(app, "websocket")
    assert ending(rows) == (500, "ERROR", "websocket.closed")
    assert rows[0]["exception_type"].endswith(type(error).__name__)


def test_a_task_that_the_server_ends_has_no_exception(rows):
    async def main():
        begun = asyncio.Event()

        async def app(scope, receive, send):
            begun.set()
            await asyncio.Event().wait()

        task = asyncio.ensure_future(Client(request_context(app)).run())
        await asyncio.wait_for(begun.wait(), 10)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(main())
    assert ending(rows) == (499, "WARNING", "request.cancelled")
    assert "exception_type" not in rows[0]
