import asyncio
import contextvars
import threading

import pytest

from hublog.capture import context
from hublog.requests.query_counting import QueryCounter


@pytest.fixture(autouse=True)
def clean():
    token = context.enter({})
    yield
    context.leave(token)


def test_enter_replaces_what_was_bound_and_leave_brings_it_back():
    context.bind(a=1)
    token = context.enter({"b": 2})
    assert context.bound() == {"b": 2}
    context.leave(token)
    assert context.bound() == {"a": 1}


def test_bind_adds_and_unbind_takes_back():
    token = context.bind(a=1)
    inner = context.bind(b=2)
    assert context.bound() == {"a": 1, "b": 2}
    context.unbind(inner)
    context.unbind(token)
    assert context.bound() == {}


def test_a_token_of_another_context_clears_instead_of_raising():
    token = contextvars.copy_context().run(lambda: context.enter({"a": 1}))
    context.bind(b=2)
    context.leave(token)
    assert context.bound() == {}


def test_a_thread_starts_without_the_fields_of_the_one_that_made_it():
    context.bind(a=1)
    seen = []
    thread = threading.Thread(target=lambda: seen.append(dict(context.bound())))
    thread.start()
    thread.join()
    assert seen == [{}]


def test_what_a_thread_begins_after_the_request_that_lent_it_fields_goes_on():
    context.clear()
    request = context.enter({"request_id": "r"})
    lent = context.stored()
    context.leave(request)
    context.lend(lent)
    task = context.enter({"task_id": "t"})
    assert context.stored().life is not lent.life
    assert (lent.life.ended_mono is None, context.stored().life.ended_mono) == (False, None)
    context.leave(task)
    context.clear()


def test_tasks_keep_their_own_fields():
    async def request(number, barrier):
        context.enter({"request_id": number})
        await barrier.wait()
        return dict(context.bound())

    async def main():
        barrier = asyncio.Barrier(5)
        return await asyncio.gather(*(request(number, barrier) for number in range(5)))

    assert asyncio.run(main()) == [{"request_id": number} for number in range(5)]


def test_what_counts_queries_goes_on_through_bind_and_enter_and_ends_with_its_own_enter():
    counter, other = QueryCounter(), QueryCounter()
    token = context.enter({"a": 1}, counter=counter)
    context.bind(b=2)
    assert context.stored().counter is counter
    inner = context.enter({"c": 3})
    assert context.stored().counter is counter
    context.leave(inner)
    inner = context.enter({}, counter=other)
    assert context.stored().counter is other
    context.leave(inner)
    context.leave(token)
    assert context.stored().counter is None


def test_unbind_takes_names_back_that_are_bound_or_not():
    context.bind(a=1, b=2, c=3)
    context.unbind("a", "c", "unknown")
    assert context.bound() == {"b": 2}
    context.unbind()
    assert context.bound() == {"b": 2}


def test_what_unbind_takes_back_is_bound_again_by_a_token_of_before():
    token = context.bind(a=1)
    inner = context.bind(b=2)
    context.unbind("a", "b")
    assert context.bound() == {}
    context.unbind(inner)
    assert context.bound() == {"a": 1}
    context.unbind(token)
    assert context.bound() == {}


@pytest.mark.parametrize("wrong", [(1,), ("a", None), ({"a": 1},)])
def test_unbind_says_what_it_takes(wrong):
    context.bind(a=1)
    with pytest.raises(TypeError, match="names of fields, or one token"):
        context.unbind(*wrong)
    assert context.bound() == {"a": 1}
