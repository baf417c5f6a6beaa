import asyncio

import pytest

from hublog.capture import context
from hublog.requests.request_record import LOGGER_NAME
from hublog.requests.request_scope import RequestScope
from hublog.requests.streaming import AsyncBody, Body
from hublog.settings import RequestSettings


@pytest.fixture(autouse=True)
def clean():
    token = context.enter({})
    yield
    context.leave(token)


@pytest.fixture
def scope():
    """A request whose view has bound a tenant and returned."""
    scope = RequestScope(RequestSettings(), {}.get, method="GET", path="/stream")
    scope.enter()
    context.bind(tenant_id="acme")
    scope.suspend()
    return scope


@pytest.fixture
def records(caplog):
    caplog.set_level("INFO", LOGGER_NAME)
    return lambda: caplog.records  # pytest has a list for each phase of a test


def request_outcome(records):
    [record] = records()
    return record.http_status_code, record.event_name, record.http_response_size


def parts(seen, *, failing=False):
    try:
        for part in (b"ab", b"c"):
            seen.append(context.bound().get("tenant_id"))
            yield part
        if failing:
            raise LookupError("broken")
    finally:
        seen.append("closed")


def test_each_part_is_made_with_the_fields_and_between_two_nothing_is_bound(scope, records):
    seen, between = [], []
    for _ in Body(scope, 200).over(parts(seen)):
        between.append(dict(context.bound()))
    assert (seen, between) == (["acme", "acme", "closed"], [{}, {}])
    assert request_outcome(records) == (200, "request.finished", 3)


def test_a_body_that_fails_is_an_error(scope, records):
    with pytest.raises(LookupError):
        list(Body(scope, 200).over(parts([], failing=True)))
    assert request_outcome(records) == (500, "request.finished", 3)
    assert records()[0].exc_info[0] is LookupError


def test_a_body_whose_client_disconnected_is_cancelled_once_and_closed_with_the_fields(scope, records):
    made = parts(seen := [])
    body = Body(scope, 200)
    next(body.over(made))
    seen.clear()
    body.end_after(made.close)
    body.end_after(made.close)
    assert request_outcome(records) == (499, "request.cancelled", 2)
    assert seen == ["closed"]


@pytest.mark.parametrize(
    ("status", "length", "size"), [(200, None, None), (200, 3, 3), (304, None, None), (304, 3, 0)]
)
def test_a_body_that_is_never_read_has_its_own_status(scope, records, status, length, size):
    Body(scope, status, length).end_after(None)
    [record] = records()
    assert (record.http_status_code, getattr(record, "http_response_size", None)) == (status, size)


def test_a_server_that_stops_at_the_announced_length_has_read_all(scope, records):
    body = Body(scope, 200, 2)
    next(body.over(parts([])))
    body.end_after(None)
    assert request_outcome(records) == (200, "request.finished", 2)


def test_a_close_that_raises_ends_the_request_and_goes_on(scope, records):
    def close():
        raise LookupError("broken")

    with pytest.raises(LookupError):
        Body(scope, 200).end_after(close)
    [record] = records()
    assert (record.http_status_code, record.levelname, record.exc_info[0]) == (200, "ERROR", LookupError)


def test_a_close_that_raises_after_the_last_part_has_a_record_of_its_own(scope, records):
    def close():
        raise LookupError("broken")

    body = Body(scope, 200).over(parts([]))
    assert b"".join(body) == b"abc"
    with pytest.raises(LookupError):
        body.end_after(close)
    first, second = records()
    assert (first.http_status_code, first.levelname, first.exc_info) == (200, "INFO", None)
    assert (second.event_name, second.levelname, second.exc_info[0]) == (
        "request.failed",
        "ERROR",
        LookupError,
    )


def test_a_body_of_a_head_request_that_is_not_read_to_its_end_has_not_lost_its_client(records):
    scope = RequestScope(RequestSettings(), {}.get, method="HEAD", path="/stream")
    scope.enter()
    scope.suspend()
    body = Body(scope, 200, 3)
    next(body.over(parts([])))
    body.end_after(None)
    assert request_outcome(records) == (200, "request.finished", 0)


def test_what_is_noted_before_the_end_is_in_the_record(scope, records):
    list(Body(scope, 200, before_end=lambda: scope.add(user_id="7")).over(iter([b"a"])))
    assert scope.fields["user_id"] == "7"
    assert len(records()) == 1


def test_a_body_that_is_discarded_leaves_nothing_bound(scope, records):
    body = Body(scope, 200).over(parts([]))
    next(body)
    del body
    assert context.bound() == {}


async def _aparts(seen, *, failing=False):
    for part in parts(seen, failing=failing):
        await asyncio.sleep(0)
        yield part


def test_an_async_body_is_followed_in_the_same_way(scope, records):
    seen, between = [], []

    async def main():
        async for _ in AsyncBody(scope, 200).over(_aparts(seen)):
            between.append(dict(context.bound()))

    asyncio.run(main())
    assert (seen, between) == (["acme", "acme", "closed"], [{}, {}])
    assert request_outcome(records) == (200, "request.finished", 3)


def test_an_async_body_that_fails_is_an_error(scope, records):
    async def main():
        return [part async for part in AsyncBody(scope, 200).over(_aparts([], failing=True))]

    with pytest.raises(LookupError):
        asyncio.run(main())
    assert request_outcome(records) == (500, "request.finished", 3)


def test_a_cancellation_that_an_async_body_raises_itself_is_a_failure(scope, records):
    async def own():
        yield b"ab"
        raise asyncio.CancelledError

    async def main():
        return [part async for part in AsyncBody(scope, 200).over(own())]

    with pytest.raises(asyncio.CancelledError):
        asyncio.run(main())
    assert request_outcome(records) == (500, "request.finished", 2)
    assert records()[0].exc_info[0] is asyncio.CancelledError


def test_an_async_body_that_is_cancelled_is_logged_once(scope, records):
    async def main():
        waiting = asyncio.Event()

        async def endless():
            yield b"ab"
            waiting.set()
            await asyncio.Event().wait()

        body = AsyncBody(scope, 200)

        async def send():
            async for _ in body.over(endless()):
                pass

        task = asyncio.ensure_future(send())
        await asyncio.wait_for(waiting.wait(), 10)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        body.end_after(None)

    asyncio.run(main())
    assert request_outcome(records) == (499, "request.cancelled", 2)
