"""Django's tasks, from Django 6.0 on; see ``conftest``."""

import asyncio
import json
import pickle
import threading

import django
import pytest
from django.conf import settings
from django.tasks import task_backends
from django.tasks.base import Task
from django.tasks.signals import task_finished, task_started
from django.test import override_settings
from tests.django import stored_tasks

import hublog
from hublog.capture import context
from hublog.django import tasks

TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
FIELDS = {"trace_id": TRACE, "span_id": SPAN, "request_id": "req-1", "user_id": 7, "http_path": "/"}


@pytest.fixture(autouse=True)
def empty():
    stored_tasks.AFTER.clear()
    for alias in ("stored", "plain"):
        task_backends[alias].stored.clear()


def work(alias="stored", **known):
    """Run what is stored, as a worker would, in a thread; returns what is bound there afterwards."""
    backend, found = task_backends[alias], []
    thread = threading.Thread(target=lambda: found.append((backend.work(**known), dict(context.bound()))))
    with hublog.detached_context():
        thread.start()
    thread.join(10)
    return found[0][1]


def ends(seen):
    return [
        (fields["task_name"].rpartition(".")[2], fields["event_name"]) for _, fields in seen.of("hublog.task")
    ]


def test_a_task_that_runs_at_once_belongs_to_the_request_and_gives_its_fields_back(seen):
    context.enter(FIELDS)
    result = stored_tasks.pay.enqueue(7)
    fields = seen.one("shop.tasks")
    assert (fields["request_id"], fields["trace_id"], fields["parent_span_id"]) == ("req-1", TRACE, SPAN)
    assert (fields["task_id"], fields["task_queue"], fields["task_retries"]) == (result.id, "default", 0)
    assert fields["task_name"] == "tests.django.stored_tasks.pay"
    assert "http_path" not in fields
    assert context.bound() == FIELDS
    assert stored_tasks.AFTER == [FIELDS]
    end = seen.one("hublog.task")
    assert (end["record_type"], end["event_name"], end["levelname"]) == ("task", "task.succeeded", "INFO")
    assert end["duration_ms"] >= 0


def test_a_failed_task_has_djangos_traceback_and_one_record(seen):
    context.enter(FIELDS)
    stored_tasks.fail.enqueue()
    assert ends(seen) == [("fail", "task.failed")]
    assert seen.one("hublog.task")["levelname"] == "ERROR"
    assert seen.one("hublog.task")["exc_info"] is None
    [failed] = [fields for _, fields in seen.of("django.tasks") if fields["exc_info"]]
    assert (failed["request_id"], failed["task_name"].rpartition(".")[2]) == ("req-1", "fail")
    assert context.bound() == FIELDS


def test_a_task_inside_a_task_gives_the_outer_ones_fields_back(seen):
    stored_tasks.outer.enqueue()
    before, inside, after = (fields for _, fields in seen.of("shop.tasks"))
    assert before["task_id"] == after["task_id"] != inside["task_id"]
    assert inside["parent_span_id"] == before["span_id"]
    assert "left_behind" not in after
    assert ends(seen) == [("pay", "task.succeeded"), ("outer", "task.succeeded")]
    assert context.bound() == {}


def test_a_coroutine_that_is_enqueued_from_a_coroutine_has_the_fields(seen):
    async def main():
        context.enter(FIELDS)
        await stored_tasks.coroutine.aenqueue()
        return dict(context.bound())

    assert asyncio.run(main()) == FIELDS
    assert seen.one("shop.tasks")["request_id"] == "req-1"
    assert ends(seen) == [("coroutine", "task.succeeded")]


def test_a_task_that_takes_the_context_gets_it(seen):
    stored_tasks.told.enqueue()
    [(message, _)] = seen.of("shop.tasks")
    assert message == "attempt 1"


def test_a_stored_task_has_the_fields_of_the_request_in_the_worker(seen):
    context.enter(FIELDS)
    stored_tasks.send.enqueue(1, to="ann")
    context.enter({})
    assert work(attempts=3) == {}
    [(message, fields)] = seen.of("shop.tasks")
    assert message == "send (1,) ['to']"
    assert (fields["request_id"], fields["user_id"]) == ("req-1", "7")
    assert (fields["trace_id"], fields["parent_span_id"]) == (TRACE, SPAN)
    assert (fields["task_queue"], fields["task_retries"]) == ("mail", 2)
    assert ends(seen) == [("send", "task.succeeded")]
    assert stored_tasks.AFTER == [{}]


def test_what_a_stored_task_enqueues_belongs_to_the_request_too(seen):
    context.enter(FIELDS)
    stored_tasks.resend.enqueue()
    context.enter({})
    work()
    first, second = (fields for _, fields in seen.of("shop.tasks"))
    assert {first["request_id"], second["request_id"]} == {"req-1"}
    assert second["parent_span_id"] == first["span_id"]


def test_a_stored_task_that_takes_the_context_gets_it(seen):
    context.enter(FIELDS)
    stored_tasks.told_later.enqueue("mail")
    work()
    [(message, fields)] = seen.of("shop.tasks")
    assert (message, fields["request_id"]) == ("attempt 1 of mail", "req-1")


def test_a_stored_task_that_is_enqueued_from_a_coroutine_has_the_fields(seen):
    async def main():
        context.enter(FIELDS)
        await stored_tasks.send.aenqueue()

    asyncio.run(main())
    work()
    assert seen.one("shop.tasks")["request_id"] == "req-1"


def test_a_task_without_a_request_is_stored_as_ever_and_begins_a_trace(seen):
    stored_tasks.send.enqueue()
    assert json.loads(task_backends["stored"].stored[0])["kwargs"] == {}
    work()
    fields = seen.one("shop.tasks")
    assert "request_id" not in fields
    assert len(fields["trace_id"]) == 32


def test_another_backends_task_is_stored_as_ever(seen):
    context.enter(FIELDS)
    stored_tasks.plain.enqueue()
    context.enter({})
    work("plain")
    [(message, fields)] = seen.of("shop.tasks")
    assert message == "plain []"
    assert "request_id" not in fields


def test_a_task_of_another_class_gets_no_keyword(seen):
    context.enter(FIELDS)
    with override_settings(TASKS={**settings.TASKS, "plain": settings.TASKS["stored"]}):
        assert type(stored_tasks.plain) is Task
        stored_tasks.plain.enqueue()
        work("plain")
    [(message, _)] = seen.of("shop.tasks")
    assert message == "plain []"


@pytest.mark.parametrize("value", ["text", 7, None, {"request_id": "a\r\nb"}, {"user_id": ["a"]}])
def test_hostile_fields_are_left_out_and_not_handed_to_the_function(seen, value):
    stored_tasks.send.enqueue(**{tasks.KEY: value})
    work()
    [(message, fields)] = seen.of("shop.tasks")
    assert message == "send () []"
    assert not {"request_id", "user_id"} & set(fields)


if django.VERSION >= (6, 1):  # Django 6.0 itself can pickle no task

    def test_a_stored_task_can_be_pickled():
        pickled = pickle.dumps(stored_tasks.send.using(queue_name="other"))
        found = pickle.loads(pickled)  # noqa: S301  # it was pickled here
        assert (type(found), found.queue_name) == (tasks.ContextTask, "other")


def test_it_is_connected_once_however_often_the_app_is_ready():
    before = len(task_started.receivers), len(task_finished.receivers)
    tasks.connect()
    assert (len(task_started.receivers), len(task_finished.receivers)) == before


def test_the_end_of_a_task_whose_start_was_not_seen_is_ignored(seen):
    context.enter(FIELDS)
    result = task_backends["plain"].enqueue(stored_tasks.plain, [], {})
    task_finished.send(object, task_result=result)
    assert context.bound() == FIELDS
    assert ends(seen) == []
