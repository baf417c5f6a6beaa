import asyncio
import concurrent.futures

import greenlet
import pytest
import trio

from hublog.requests.request_record import was_cancelled


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (asyncio.CancelledError(), False),  # the application's own: no task ends here
        (concurrent.futures.CancelledError(), False),  # of a future that the application waited for
        (BaseExceptionGroup("", [greenlet.GreenletExit(), GeneratorExit()]), True),
        (BaseExceptionGroup("", [greenlet.GreenletExit(), LookupError()]), False),
        (greenlet.GreenletExit(), True),
        (GeneratorExit(), True),
        (SystemExit(1), False),
        (KeyboardInterrupt(), False),
        (LookupError(), False),
    ],
)
def test_a_cancellation_is_not_a_failure(error, expected):
    assert was_cancelled(error) is expected


@pytest.mark.parametrize(("way", "expected"), [("own", False), ("of a part", False), ("from outside", True)])
def test_a_cancellation_of_asyncio_is_one_where_the_task_itself_was_cancelled(way, expected):
    async def serve():
        try:
            if way == "own":
                raise asyncio.CancelledError
            part = asyncio.ensure_future(asyncio.Event().wait())
            if way == "of a part":
                asyncio.get_running_loop().call_soon(part.cancel)
            await part
        except BaseException as error:
            return was_cancelled(error)

    async def main():
        task = asyncio.ensure_future(serve())
        await asyncio.sleep(0)
        if way == "from outside":
            task.cancel()
        return await asyncio.wait_for(asyncio.shield(task), 10)

    assert asyncio.run(main()) is expected


def test_a_cancellation_of_trio_is_one():
    found = []

    async def main():
        with trio.CancelScope() as scope:
            scope.cancel()
            try:
                await trio.lowlevel.checkpoint()
            except BaseException as error:
                found.append(was_cancelled(error))
                raise

    trio.run(main)
    assert found == [True]
