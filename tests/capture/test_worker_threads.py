"""Workers that are started inside a request and go on after it."""

import asyncio
import logging
import signal
import threading
from queue import Queue

import dramatiq
import huey
import pytest
from dramatiq.brokers.stub import StubBroker

from hublog.capture import context, thread_context
from hublog.testing import capture_records

LIMIT_S = 10
A = {"request_id": "req-a", "http_path": "/a", "tenant_id": "acme"}
B = {"request_id": "req-b", "http_path": "/b", "tenant_id": "umbrella"}
log = logging.getLogger("shop")


@pytest.fixture(autouse=True)
def clean():
    token = context.lend(context.EMPTY)
    thread_context.install()
    yield
    context.restore(token)


@pytest.fixture
def records():
    with capture_records(level="DEBUG") as records:
        yield records


def request(fields, function, *args):
    token = context.resume(context.Context(fields))
    try:
        return function(*args)
    finally:
        context.leave(token)


def fields(records, message):
    [row] = records.where(message=message)
    return {name: row[name] for name in A if name in row}


def test_a_job_of_dramatiq_has_no_field_of_the_request_that_started_the_worker(records):
    broker = StubBroker()
    dramatiq.set_broker(broker)
    done = threading.Event()

    @dramatiq.actor(broker=broker)
    def job():
        log.info("in the job")
        done.set()

    worker = dramatiq.Worker(broker, worker_timeout=50, worker_threads=1)
    request(A, worker.start)
    request(B, job.send)
    assert done.wait(LIMIT_S)
    worker.stop()
    assert fields(records, "in the job") == {}


def test_a_task_of_huey_has_no_field_of_the_request_that_started_the_consumer(records):
    queue = huey.MemoryHuey("shop", immediate=False)
    done = threading.Event()

    @queue.task()
    def job():
        log.info("in the job")
        done.set()

    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    consumer = queue.create_consumer(workers=1, initial_delay=0.01, max_delay=0.05, check_worker_health=False)
    try:
        request(A, consumer.start)
        request(B, job)
        assert done.wait(LIMIT_S)
        consumer.stop(graceful=True)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    assert fields(records, "in the job") == {}


class Worker:
    """Does jobs in a thread of its own, as many applications have it."""

    def __init__(self, *, is_daemon):
        self.jobs = Queue()
        self.thread = threading.Thread(target=self.serve, daemon=is_daemon)

    def serve(self):
        while (job := self.jobs.get(timeout=LIMIT_S)) is not None:
            message, done = job
            log.info(message)
            done.set()

    def do(self, message):
        done = threading.Event()
        self.jobs.put((message, done))
        assert done.wait(LIMIT_S)

    def end(self):
        self.jobs.put(None)
        self.thread.join(LIMIT_S)
        assert not self.thread.is_alive()


def test_a_daemon_thread_has_the_fields_of_its_request_until_that_ends(records):
    worker = Worker(is_daemon=True)

    def serve():
        worker.thread.start()
        worker.do("for a")

    request(A, serve)
    request(B, worker.do, "for b")
    worker.end()
    assert fields(records, "for a") == A
    assert fields(records, "for b") == {}


@pytest.mark.parametrize("is_long_after", [False, True])
def test_another_thread_has_them_for_a_while_longer(records, is_long_after, monkeypatch):
    worker = Worker(is_daemon=False)
    request(A, worker.thread.start)
    if is_long_after:
        now = context.time.monotonic()
        monkeypatch.setattr(context.time, "monotonic", lambda: now + context.LINGER_S)
    worker.do("after a")
    worker.end()
    assert fields(records, "after a") == ({} if is_long_after else A)


def test_a_thread_keeps_what_was_bound_for_the_process(records):
    worker = Worker(is_daemon=True)
    context.bind(**A)
    worker.thread.start()
    request(B, worker.do, "for b")
    worker.end()
    assert fields(records, "for b") == A


def test_what_such_a_thread_binds_itself_is_on_its_records(records, monkeypatch):
    monkeypatch.setattr(context, "is_over", lambda found: found.life is not None and found.life.ended_mono)
    gone = threading.Event()

    def serve():
        gone.wait(LIMIT_S)
        context.bind(tenant_id="own")
        log.info("own")

    thread = threading.Thread(target=serve)
    request(A, thread.start)
    gone.set()
    thread.join(LIMIT_S)
    assert fields(records, "own") == {"tenant_id": "own"}


@pytest.mark.parametrize("is_long_after", [False, True])
def test_a_task_that_outlives_its_request_has_them_for_a_while_longer(records, is_long_after, monkeypatch):
    async def main():
        gone = asyncio.Event()

        async def poll():
            await gone.wait()
            log.info("after a")

        token = context.resume(context.Context(A))
        task = asyncio.create_task(poll())
        context.leave(token)
        if is_long_after:
            now = context.time.monotonic()
            monkeypatch.setattr(context, "LINGER_S", 60.0)
            monkeypatch.setattr(context.time, "monotonic", lambda: now + 61.0)
        gone.set()
        await task

    asyncio.run(main())
    assert fields(records, "after a") == ({} if is_long_after else A)


def test_a_request_that_goes_on_after_a_part_of_its_stream_goes_on_for_its_threads(records):
    worker = Worker(is_daemon=True)
    found = context.Context(A)

    def begin():
        token = context.resume(found)
        worker.thread.start()
        context.leave(token)

    begin()
    token = context.resume(found)
    worker.do("in the stream")
    context.leave(token)
    worker.do("after the stream")
    worker.end()
    assert fields(records, "in the stream") == A
    assert fields(records, "after the stream") == {}


def test_a_carried_function_keeps_them_however_long(records, monkeypatch):
    import hublog

    carried = request(A, hublog.preserve_context, lambda: log.info("carried"))
    monkeypatch.setattr(context, "is_over", lambda found: found.life is not None and found.life.ended_mono)
    threading.Thread(target=carried).run()
    assert fields(records, "carried") == A
