import asyncio
import contextvars
import inspect
import logging
import subprocess
import sys
import threading
import traceback
import weakref
from concurrent.futures import ThreadPoolExecutor
from logging.handlers import QueueHandler, QueueListener
from multiprocessing.pool import ThreadPool
from queue import Queue

import pytest

import hublog
from hublog.capture import context, thread_context
from hublog.configure.handlers import configure
from hublog.runtime.registry import get_pipeline
from hublog.settings import EventHubSettings, FileSettings, RequestSettings, Settings, SpoolMode
from hublog.testing import MemorySender

LIMIT_S = 10
FIELDS = {"request_id": "r-1"}


@pytest.fixture(autouse=True)
def clean():
    token = context.enter({})
    yield
    context.leave(token)


@pytest.fixture
def installed():
    thread_context.install()


def bound():
    return dict(context.bound())


def joined(thread):
    thread.start()
    thread.join(LIMIT_S)
    assert not thread.is_alive()


def in_thread(function):
    """Return what a function returned in a plain thread."""
    found = []
    joined(threading.Thread(target=lambda: found.append(function())))
    return found[0]


class Worker(threading.Thread):
    seen = None

    def run(self):
        self.seen = bound()


def by_target():
    return in_thread(bound)


def by_subclass():
    worker = Worker()
    joined(worker)
    return worker.seen


def by_timer():
    found = []
    joined(threading.Timer(0, lambda: found.append(bound())))
    return found[0]


def by_submit():
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(bound).result(LIMIT_S)


def by_map():
    with ThreadPoolExecutor(1) as pool:
        [found] = pool.map(lambda _: bound(), [1])
        return found


def by_run_in_executor():
    async def main():
        return await asyncio.get_running_loop().run_in_executor(None, bound)

    return asyncio.run(main())


def by_to_thread():
    return asyncio.run(asyncio.to_thread(bound))


def by_create_task():
    async def seen():
        return bound()

    async def main():
        return await asyncio.create_task(seen())

    return asyncio.run(main())


def by_a_thread_of_a_thread():
    return in_thread(lambda: in_thread(bound))


def by_a_job_of_a_job():
    with ThreadPoolExecutor(2) as pool:
        return pool.submit(lambda: pool.submit(bound).result(LIMIT_S)).result(LIMIT_S)


WAYS = [
    by_target,
    by_subclass,
    by_timer,
    by_submit,
    by_map,
    by_run_in_executor,
    by_to_thread,
    by_create_task,
    by_a_thread_of_a_thread,
    by_a_job_of_a_job,
]


@pytest.mark.parametrize("way", WAYS)
def test_what_a_request_starts_has_its_fields(installed, way):
    token = context.enter(FIELDS)
    assert way() == FIELDS
    context.leave(token)
    assert way() == {}


@pytest.mark.parametrize("way", WAYS)
def test_what_it_binds_there_is_not_bound_here(installed, way, monkeypatch):
    context.enter(FIELDS)
    monkeypatch.setitem(globals(), "bound", lambda: context.bind(step=2) and dict(context.bound()))
    assert way() == {**FIELDS, "step": 2}
    assert dict(context.bound()) == FIELDS


def test_a_thread_keeps_the_fields_that_were_bound_at_its_start(installed):
    begun, found = threading.Event(), []

    def work():
        begun.wait(LIMIT_S)
        found.append(bound())

    token = context.enter(FIELDS)
    thread = threading.Thread(target=work)
    thread.start()
    context.leave(token)
    context.bind(request_id="r-2")
    begun.set()
    thread.join(LIMIT_S)
    assert found == [FIELDS]


def test_many_requests_at_once_on_one_pool_mix_nothing_up(installed):
    barrier = threading.Barrier(8)

    def request(number):
        token = context.enter({"request_id": number})
        barrier.wait(LIMIT_S)
        futures = [pool.submit(bound) for _ in range(50)]
        context.leave(token)
        return [future.result(LIMIT_S)["request_id"] for future in futures]

    with ThreadPoolExecutor(4) as pool:
        found = {}
        requests = [
            threading.Thread(target=lambda number=number: found.update({number: request(number)}))
            for number in range(8)
        ]
        for thread in requests:
            thread.start()
        for thread in requests:
            thread.join(LIMIT_S)
    assert found == {number: [number] * 50 for number in range(8)}


@pytest.mark.parametrize("error", [None, ValueError, KeyboardInterrupt, SystemExit, asyncio.CancelledError])
def test_a_pools_thread_is_clean_after_a_job_however_it_ended(installed, error):
    def job():
        context.bind(step=1)
        if error is not None:
            raise error

    with ThreadPoolExecutor(1) as pool:
        token = context.enter(FIELDS)
        future = pool.submit(job)
        context.leave(token)
        assert type(future.exception(LIMIT_S)) is (error or type(None))
        assert pool.submit(bound).result(LIMIT_S) == {}
        assert type(pool.submit(job).exception(LIMIT_S)) is (error or type(None))
        assert pool.submit(bound).result(LIMIT_S) == {}


def test_a_cancelled_job_leaves_nothing_behind(installed):
    go_on, tracked = threading.Event(), Tracked()
    gone = weakref.ref(tracked)
    with ThreadPoolExecutor(1) as pool:
        pool.submit(go_on.wait, LIMIT_S)
        token = context.enter({"request_id": tracked})
        cancelled = pool.submit(bound)
        context.leave(token)
        del token, tracked
        assert cancelled.cancel()
        go_on.set()
        assert pool.submit(bound).result(LIMIT_S) == {}
        assert gone() is None


class Tracked:
    """Can be referred to weakly."""


def test_what_a_pools_initializer_bound_is_there_for_jobs_without_fields(installed):
    with ThreadPoolExecutor(1, initializer=lambda: context.bind(worker="w-1")) as pool:
        context.enter(FIELDS)
        assert pool.submit(bound).result(LIMIT_S) == FIELDS
        context.enter({})
        assert pool.submit(bound).result(LIMIT_S) == {"worker": "w-1"}


def test_context_variables_of_others_stay_as_they_are(installed):
    var = contextvars.ContextVar("others", default="default")
    var.set("mine")
    context.enter(FIELDS)
    assert in_thread(var.get) == "default"
    with ThreadPoolExecutor(1) as pool:
        assert pool.submit(var.get).result(LIMIT_S) == "default"


def test_threads_that_serve_others_keep_nothing_of_the_request_that_started_them(installed):
    found = []

    class Seeing(logging.Handler):
        def emit(self, record):
            found.append(bound())

    context.enter(FIELDS)
    queue = Queue()
    listener = QueueListener(queue, Seeing())
    listener.start()
    QueueHandler(queue).handle(logging.makeLogRecord({"msg": "hello"}))
    listener.stop()
    with ThreadPool(1) as pool:
        found.append(pool.apply(bound))
    assert found == [{}, {}]


@pytest.mark.parametrize("module", ["pymongo.periodic_executor", "apscheduler.schedulers.blocking", "anyio"])
def test_threads_of_packages_that_serve_many_have_no_fields(installed, module):
    def by(kind):
        found = []

        def work(*_):
            found.append(bound())

        work.__module__ = module if kind == "target" else __name__
        made = type("Kind", (threading.Thread,), {"__module__": module, "run": work})
        joined(threading.Thread(target=work) if kind == "target" else made())
        return found

    context.enter(FIELDS)
    expected = {} if "." in module else FIELDS  # an application may have a module of that name
    assert by("target") == by("class") == [expected]


def test_a_loop_that_runs_in_a_thread_has_the_fields_of_whoever_calls_it(installed):
    async def seen():
        return bound()

    loop = asyncio.new_event_loop()
    token = context.enter(FIELDS)
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    first = asyncio.run_coroutine_threadsafe(seen(), loop).result(LIMIT_S)
    context.leave(token)
    second = asyncio.run_coroutine_threadsafe(seen(), loop).result(LIMIT_S)
    loop.call_soon_threadsafe(loop.stop)
    thread.join(LIMIT_S)
    loop.close()
    assert (first, second) == (FIELDS, {})


def test_our_own_threads_have_no_fields(installed):
    found = []

    class Sender(MemorySender):
        def send(self, bodies, properties):
            found.append((threading.current_thread() is not threading.main_thread(), bound()))
            return super().send(bodies, properties)

    hub = EventHubSettings(
        fully_qualified_namespace="shop.servicebus.windows.net",
        spool=SpoolMode.MEMORY,
        eventhub_name="own-threads",
    )
    settings = Settings(eventhub=hub)
    pipeline = get_pipeline(settings, make_sender=lambda settings: Sender())
    handler = hublog.EventHubHandler(settings=settings)
    context.enter(FIELDS)
    handler.handle(logging.LogRecord("shop", logging.INFO, "", 1, "it starts the threads", None, None))
    assert pipeline.flush(LIMIT_S)
    handler.close()
    assert found == [(True, {})]


def test_a_detached_thread_has_no_fields(installed):
    context.enter(FIELDS)
    with hublog.detached_context():
        assert bound() == {}
        assert in_thread(bound) == {}
    assert bound() == FIELDS
    assert in_thread(bound) == FIELDS


def test_detached_ends_with_an_exception_too():
    context.enter(FIELDS)
    with pytest.raises(LookupError), hublog.detached_context():
        raise LookupError
    assert bound() == FIELDS


def test_nothing_is_wrapped_for_a_thread_when_nothing_is_bound(installed):
    seen = []
    thread = threading.Thread(target=lambda: seen.append("run" in vars(thread)))
    joined(thread)
    assert seen == [False]


def fail():
    raise LookupError("gone")


def frames_of(run):
    """Return the names of the functions in the traceback that a thread ends with, with the fields there."""
    found = []

    def hook(args):
        found.append((bound(), [frame.name for frame in traceback.extract_tb(args.exc_traceback)]))

    former, threading.excepthook = threading.excepthook, hook
    try:
        joined(threading.Thread(target=run))
    finally:
        threading.excepthook = former
    return found[0]


def test_the_hook_of_an_exception_has_the_fields_and_one_frame_more():
    context.enter(FIELDS)
    without = frames_of(fail)
    thread_context.install()
    with_it = frames_of(fail)
    assert without[0] == {}
    assert with_it[0] == FIELDS
    assert len(with_it[1]) == len(without[1]) + 1
    assert [name for name in with_it[1] if name != "__call__"] == without[1]


def test_a_jobs_traceback_has_one_frame_more():
    def frames():
        with ThreadPoolExecutor(1) as pool:
            error = pool.submit(fail).exception(LIMIT_S)
        return [frame.name for frame in traceback.extract_tb(error.__traceback__)]

    context.enter(FIELDS)
    without = frames()
    thread_context.install()
    assert [name for name in frames() if name != "__call__"] == without
    assert len(frames()) == len(without) + 1


def test_a_finished_thread_is_as_it_was_and_holds_nothing(installed):
    tracked = Tracked()
    token = context.enter({"request_id": tracked})
    worker, plain = Worker(), threading.Thread(target=bound)
    before = [set(vars(thread)) for thread in (worker, plain)]
    joined(worker)
    joined(plain)
    context.leave(token)
    worker.seen, ref = None, weakref.ref(tracked)
    del token, tracked
    assert ref() is None
    assert set(vars(worker)) - {"seen"} <= before[0]
    assert set(vars(plain)) <= before[1]
    assert worker.run.__func__ is Worker.run


def test_a_thread_that_cannot_start_is_as_it_was(installed, monkeypatch):
    name = "_start_joinable_thread" if hasattr(threading, "_start_joinable_thread") else "_start_new_thread"

    def refuse(*args, **kwargs):
        raise RuntimeError("can't start new thread")

    context.enter(FIELDS)
    worker = Worker()
    with monkeypatch.context() as patch:
        patch.setattr(threading, name, refuse)
        with pytest.raises(RuntimeError, match="can't start new thread"):
            worker.start()
    assert "run" not in vars(worker)
    assert bound() == FIELDS


def test_a_start_that_is_interrupted_does_not_stop_the_thread(installed):
    class Interrupted(threading.Event):
        def wait(self, timeout=None):
            raise KeyboardInterrupt

    go_on, ended, found = threading.Event(), threading.Event(), []

    class Held(threading.Thread):
        """Is told to go on when its start was interrupted."""

        def _bootstrap(self):
            go_on.wait(LIMIT_S)
            super()._bootstrap()

        def run(self):
            found.append("ran")
            ended.set()

    context.enter(FIELDS)
    thread = Held()
    thread._started = Interrupted()
    with pytest.raises(KeyboardInterrupt):
        thread.start()
    assert "run" not in vars(thread)
    go_on.set()
    assert ended.wait(LIMIT_S)
    assert found == ["ran"]


def test_a_run_that_somebodys_wrapper_keeps_can_be_called_again():
    before, found = threading.Thread.start, []

    class Seeing(threading.Thread):
        def run(self):
            found.append(bound())

    def start(self):
        kept = self.run
        self.run = lambda: kept(self)  # as Sentry has it
        return before(self)

    threading.Thread.start = start
    try:
        thread_context.install()  # around the other one
        context.enter(FIELDS)
        thread = Seeing()
        joined(thread)
        context.enter({})
        thread.run()
    finally:
        thread_context.uninstall()
        threading.Thread.start = before
    assert found == [FIELDS, {}]


def test_a_thread_that_is_started_twice_fails_as_ever(installed):
    context.enter(FIELDS)
    worker = Worker()
    joined(worker)
    with pytest.raises(RuntimeError, match="threads can only be started once"):
        worker.start()
    assert "run" not in vars(worker)


class Slotted(threading.Thread):
    __slots__ = ("seen",)

    def run(self):
        self.seen = bound()


class Guarded(Worker):
    """Refuses attributes."""

    def __setattr__(self, name, value):
        if name == "run":
            raise AttributeError(name)
        super().__setattr__(name, value)


class Hidden(threading.Thread):
    """Has its ``run`` from a property, which hides what the object holds."""

    seen = None

    @property
    def run(self):
        return lambda: setattr(self, "seen", bound())


class Broken(Worker):
    """Has no target that can be read."""

    @property
    def _target(self):
        raise LookupError

    @_target.setter
    def _target(self, value):
        pass


@pytest.mark.parametrize(
    ("kind", "expected"), [(Slotted, FIELDS), (Guarded, FIELDS), (Hidden, {}), (Broken, {})]
)
def test_odd_subclasses_run_as_ever(installed, kind, expected):
    context.enter(FIELDS)
    thread = kind()
    joined(thread)
    assert thread.seen == expected
    assert "run" not in vars(thread)


def test_a_run_that_the_application_set_on_the_object_is_called_and_stays(installed):
    context.enter(FIELDS)
    thread, found = threading.Thread(), []
    thread.run = lambda: found.append(bound())
    own = thread.run
    joined(thread)
    assert found == [FIELDS]
    assert thread.run is own


def test_installing_twice_wraps_once_and_uninstalling_brings_the_former_back():
    before = threading.Thread.start, ThreadPoolExecutor.submit
    thread_context.install()
    once = threading.Thread.start, ThreadPoolExecutor.submit
    thread_context.install()
    assert (threading.Thread.start, ThreadPoolExecutor.submit) == once != before
    assert [function.__name__ for function in once] == ["start", "submit"]
    thread_context.uninstall()
    thread_context.uninstall()
    assert (threading.Thread.start, ThreadPoolExecutor.submit) == before


def test_a_wrapper_that_came_later_stays_when_ours_goes(monkeypatch):
    calls = []

    def wrapped(former):
        def start(self):
            calls.append(self.name)
            return former(self)

        start.__wrapped__ = former
        return start

    before = threading.Thread.start
    thread_context.install()
    ours = threading.Thread.start
    theirs = wrapped(ours)
    monkeypatch.setattr(threading.Thread, "start", theirs)
    context.enter(FIELDS)
    thread_context.uninstall()
    assert threading.Thread.start is theirs
    assert in_thread(bound) == {}
    thread_context.install()
    assert threading.Thread.start is theirs
    assert in_thread(bound) == FIELDS
    assert len(calls) == 2
    monkeypatch.undo()
    assert threading.Thread.start is before or threading.Thread.start is ours


def test_a_wrapper_that_hides_ours_leads_to_no_second_frame(monkeypatch):
    methods = [(threading.Thread, "start"), (ThreadPoolExecutor, "submit")]
    before = [getattr(owner, name) for owner, name in methods]
    thread_context.install()
    for owner, name in methods:
        hidden = getattr(owner, name)
        setattr(owner, name, lambda *args, hidden=hidden, **kwargs: hidden(*args, **kwargs))
    try:
        thread_context.install()  # it cannot see that ours is there
        context.enter(FIELDS)
        assert frames_of(fail)[1].count("__call__") == 1
        assert by_submit() == FIELDS
        thread_context.uninstall()
        assert by_target() == by_submit() == {}
    finally:
        for (owner, name), former in zip(methods, before, strict=True):
            setattr(owner, name, former)


@pytest.mark.parametrize("is_first", [True, False], ids=["ours first", "theirs first"])
def test_a_wrapper_of_run_and_start_as_opentelemetry_has_it_works_beside_ours(monkeypatch, is_first):
    var = contextvars.ContextVar("span", default=None)

    def instrument():
        start, run = threading.Thread.start, threading.Thread.run

        def started(self):
            self._span = var.get()
            return start(self)

        def ran(self):
            token = var.set(self._span)
            try:
                return run(self)
            finally:
                var.reset(token)

        monkeypatch.setattr(threading.Thread, "start", started)
        monkeypatch.setattr(threading.Thread, "run", ran)

    for step in (thread_context.install, instrument) if is_first else (instrument, thread_context.install):
        step()
    context.enter(FIELDS)
    var.set("span-1")
    assert in_thread(lambda: (bound(), var.get())) == (FIELDS, "span-1")
    assert by_subclass() == FIELDS


@pytest.mark.parametrize("is_on", [True, False])
@pytest.mark.parametrize("destinations", ["none", "hub"])
def test_the_setting_switches_it_on_when_it_is_applied(is_on, destinations):
    before = threading.Thread.start
    settings = Settings(
        log_to_stdout=False,
        file=FileSettings(enabled=False),
        request=RequestSettings(context_in_threads=is_on),
    )
    if destinations == "hub":
        hublog.EventHubHandler(settings=settings).close()
    else:
        configure(settings)
    assert (threading.Thread.start is not before) is is_on
    context.enter(FIELDS)
    assert by_target() == by_submit() == (FIELDS if is_on else {})


def test_importing_hublog_wraps_nothing():
    code = """
import threading
before = threading.Thread.start
import hublog
assert threading.Thread.start is before
"""
    subprocess.run([sys.executable, "-c", code], timeout=60, check=True)


def test_a_carried_function_has_the_fields_of_where_it_was_made():
    token = context.enter(FIELDS)
    carried = hublog.preserve_context(bound)
    context.leave(token)
    assert carried.__name__ == "bound"
    assert bound() == {}
    assert carried() == FIELDS
    assert bound() == {}
    assert in_thread(carried) == FIELDS
    context.enter({"request_id": "r-2"})
    assert carried() == FIELDS
    assert bound() == {"request_id": "r-2"}


def test_a_carried_function_passes_arguments_result_and_exception_on():
    carried = hublog.preserve_context(divmod)
    assert carried(7, 2) == (3, 1)
    with pytest.raises(ZeroDivisionError):
        carried(7, 0)
    with pytest.raises(TypeError):
        carried()
    assert bound() == {}


def test_calls_of_a_carried_function_may_overlap():
    barrier = threading.Barrier(4)

    def work(number):
        context.bind(number=number)
        barrier.wait(LIMIT_S)
        return bound()

    token = context.enter(FIELDS)
    carried = hublog.preserve_context(work)
    context.leave(token)
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(carried, range(4)))
        assert list(pool.map(lambda _: bound(), range(4))) == [{}] * 4
    assert found == [{**FIELDS, "number": number} for number in range(4)]


def test_a_carried_coroutine_function_has_the_fields_to_its_end():
    async def work(pause):
        await asyncio.sleep(0)
        if pause:
            await asyncio.Event().wait()
        return bound()

    token = context.enter(FIELDS)
    carried = hublog.preserve_context(work)
    context.leave(token)

    async def main():
        assert await carried(pause=False) == FIELDS
        assert bound() == {}
        task = asyncio.create_task(carried(pause=True))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert bound() == {}
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(carried(pause=True), 0.01)
        return bound()

    assert inspect.iscoroutinefunction(carried)
    assert asyncio.run(main()) == {}


def test_a_carried_coroutine_that_is_thrown_away_takes_nothing_from_another_request():
    class Never:
        def __await__(self):
            yield

    async def work():
        await Never()

    token = context.enter(FIELDS)
    carried = hublog.preserve_context(work)
    context.leave(token)
    coroutine = carried()
    contextvars.copy_context().run(coroutine.send, None)
    context.enter({"request_id": "r-2"})
    coroutine.close()
    assert bound() == {"request_id": "r-2"}


SENTRY = """
import threading, warnings
warnings.simplefilter("ignore")
from concurrent.futures import ThreadPoolExecutor
import sentry_sdk
import hublog
from hublog.capture import context, thread_context

events = []
def init():
    sentry_sdk.init(
        dsn="https://key@shop.example/1",
        auto_enabling_integrations=False,  # that of threads is always on; those of all packages take 1.4 s
        transport=lambda envelope: events.append(envelope),
        before_send=lambda event, hint: events.append(event) or None,
    )
steps = [thread_context.install, init]
for step in {order}:
    step()
sentry_sdk.set_tag("basket", "7")
context.enter({{"request_id": "r-1"}})
found = []
thread = threading.Thread(target=lambda: found.append(dict(hublog.bound())) or 1 / 0)
threading.excepthook = lambda args: found.append(dict(hublog.bound()))
thread.start()
thread.join(10)
assert found == [{{"request_id": "r-1"}}] * 2, found
[event] = events
assert event["tags"]["basket"] == "7", event
assert event["exception"]["values"][-1]["type"] == "ZeroDivisionError"
with ThreadPoolExecutor(1) as pool:
    assert dict(pool.submit(hublog.bound).result(10)) == {{"request_id": "r-1"}}
    context.enter({{}})
    assert dict(pool.submit(hublog.bound).result(10)) == {{}}
theirs = threading.Thread.start
thread_context.uninstall()
context.enter({{"request_id": "r-2"}})
thread = threading.Thread(target=lambda: found.append(dict(hublog.bound())))
thread.start()
thread.join(10)
assert found[2:] == [{{}}], found
"""


@pytest.mark.parametrize("order", ["steps", "steps[::-1]"], ids=["ours first", "sentry first"])
def test_sentrys_threading_integration_works_beside_ours(order):
    run(SENTRY.format(order=order))


GREEN = """
import warnings
warnings.simplefilter("ignore")
{before}
import threading, time
from concurrent.futures import ThreadPoolExecutor
import hublog
from hublog.capture import context, thread_context
thread_context.install()
{after}
found = []
def seen():
    time.sleep(0.001)
    found.append(dict(hublog.bound()))
token = context.enter({{"request_id": "r-1"}})
first = threading.Thread(target=seen)
first.start()
first.join(10)
pool = ThreadPoolExecutor(1)
pool.submit(seen).result(10)
context.leave(token)
pool.submit(seen).result(10)
last = threading.Thread(target=seen)
last.start()
last.join(10)
pool.shutdown()
fields = {{"request_id": "r-1"}}
assert found == [fields, fields, {{}}, {{}}], found
"""


@pytest.mark.parametrize("is_first", [True, False], ids=["patched before", "patched after"])
@pytest.mark.parametrize(
    "patch", ["from gevent import monkey; monkey.patch_all()", "import eventlet; eventlet.monkey_patch()"]
)
def test_under_green_threads_fields_travel_and_none_stays(patch, is_first):
    run(GREEN.format(before=patch if is_first else "", after="" if is_first else patch))


def run(code):
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
