"""What is bound in the threads and tasks of a request is in its record."""

import asyncio
import logging
import threading
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context

import pytest

import hublog
from hublog.capture import context
from hublog.requests.request_record import LOGGER_NAME
from hublog.requests.request_scope import RequestScope
from hublog.requests.task_scope import TaskScope
from hublog.settings import RequestSettings


@pytest.fixture(autouse=True)
def clean():
    token = context.enter({})
    yield
    context.leave(token)


@pytest.fixture
def scope():
    found = RequestScope(RequestSettings(), {}.get, method="GET", path="/orders/7")
    found.enter()
    yield found
    found.leave()


def recorded(scope):
    """Write the request record, and return what is bound when it is made."""
    seen = []

    def look(record):
        seen.append(dict(context.bound()))
        return True

    logger = logging.getLogger(LOGGER_NAME)
    logger.addFilter(look)
    level = logger.level
    logger.setLevel(logging.INFO)
    try:
        scope.finish(200)
    finally:
        logger.removeFilter(look)
        logger.setLevel(level)
    [found] = seen
    return found


def elsewhere(function):
    """Call it in a thread with a copy of the context, as a thread pool of a web framework does."""
    with ThreadPoolExecutor(1) as pool:
        pool.submit(copy_context().run, function).result()


def test_what_is_bound_in_a_copy_of_the_context_is_in_the_record_and_not_bound_here(scope):
    elsewhere(lambda: hublog.bind(tenant_id="acme"))
    assert "tenant_id" not in context.bound()
    assert recorded(scope)["tenant_id"] == "acme"
    assert "tenant_id" not in context.bound()


def test_what_is_bound_in_a_task_is_in_the_record(scope):
    async def bind():
        hublog.bind(tenant_id="acme")

    async def main():
        await asyncio.create_task(bind())

    asyncio.run(main())
    assert recorded(scope)["tenant_id"] == "acme"


def test_the_last_one_wins_wherever_it_is_bound(scope):
    hublog.bind(tenant_id="first", cart=1)
    elsewhere(lambda: hublog.bind(tenant_id="second"))
    hublog.bind(cart=2)
    found = recorded(scope)
    assert (found["tenant_id"], found["cart"]) == ("second", 2)


def test_what_is_taken_back_is_gone(scope):
    def work():
        hublog.bind(kept=1)
        token = hublog.bind(kept=2, gone=1)
        hublog.unbind(token)
        hublog.bind(named=1)
        hublog.unbind("named")

    elsewhere(work)
    hublog.unbind(hublog.bind(here=1))
    found = recorded(scope)
    assert found["kept"] == 1
    assert not {"gone", "named", "here"} & found.keys()


def test_a_task_that_runs_inside_binds_for_itself(scope):
    task = TaskScope(name="shop.send", task_id="t1", carried={})
    task.enter()
    hublog.bind(order=7)
    task.leave()
    assert "order" not in recorded(scope)


def test_a_request_inside_binds_for_itself(scope):
    inner = RequestScope(RequestSettings(), {}.get, method="GET", path="/inner")
    inner.enter()
    hublog.bind(tenant_id="acme")
    assert recorded(inner)["tenant_id"] == "acme"
    inner.leave()
    assert "tenant_id" not in recorded(scope)


def test_what_is_detached_binds_for_itself(scope):
    with hublog.detached_context():
        hublog.bind(worker=1)
    assert "worker" not in recorded(scope)


def test_a_request_that_is_ended_elsewhere_has_all(scope):
    elsewhere(lambda: hublog.bind(tenant_id="acme"))
    scope.suspend()
    found = []
    thread = threading.Thread(target=lambda: found.append(recorded(scope)))
    thread.start()
    thread.join()
    assert found[0]["tenant_id"] == "acme"


def test_outside_of_a_request_it_binds_here():
    token = hublog.bind(worker=1)
    assert hublog.bound() == {"worker": 1}
    hublog.unbind(token)
    assert hublog.bound() == {}
