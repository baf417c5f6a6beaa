"""Threads and executors that a request or task starts log with its fields, and so do records that wait.

A coroutine, ``asyncio.create_task`` and ``asyncio.to_thread`` have them anyway: Python copies the context.
A plain thread and a ``ThreadPoolExecutor`` do not, so ``install`` wraps ``Thread.start`` and
``ThreadPoolExecutor.submit``, and the handlers of ``logging`` that hand records over later, see ``origin``.
Nothing but the fields travels; the context variables of others stay as they are. Whatever was wrapped around
the functions before stays inside, what comes later stays outside.
"""

import functools
import inspect
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from threading import Thread, current_thread
from typing import Any, Final, ParamSpec, TypeVar, cast

from hublog.capture.context import EMPTY, Context, call_with, is_over, lend, restore, stored
from hublog.capture.origin import wrap_prepare, wrap_taking
from hublog.settings import Settings

P = ParamSpec("P")
R = TypeVar("R")
_Function = Callable[..., Any]

#: Threads of these modules serve any request, so they keep nothing of the request that started them.
_SERVING: Final = (
    *("asyncio.base_events", "concurrent.futures.", "logging.handlers", "multiprocessing.managers"),
    *("multiprocessing.pool", "multiprocessing.queues", "socketserver"),
    *("anyio.", "cheroot.", "trio.", "uvicorn.", "waitress.", "watchdog."),
    *("apscheduler.", "billiard.", "celery.", "django_q.", "dramatiq.", "huey.", "kafka.", "kombu.", "rq."),
    *("azure.", "psycopg_pool.", "pymongo.", "redis."),
    *("ddtrace.", "elasticapm.", "hublog.", "loguru.", "newrelic.", "opencensus.", "opentelemetry."),
    *("posthog.", "prometheus_client.", "sentry_sdk."),
)


def preserve_context(function: Callable[P, R]) -> Callable[P, R]:
    """Return a function that logs with the fields bound now, wherever and whenever it is called.

    For what has no context of its own: a pool that hublog does not know, a callback, a job for later. Calls
    may overlap. A coroutine function has the fields until its coroutine ends; of a generator function, and of
    another one that returns an awaitable, only the call itself has them.

    Args:
        function: what to call; arguments, result and exceptions are its own.
    """
    now = stored()
    fields = EMPTY if is_over(now) else Context(now.fields, now.counter)  # without an end
    if inspect.iscoroutinefunction(function):
        return cast("Callable[P, R]", _carry_coroutine(function, fields))

    @functools.wraps(function)
    def carried(*args: P.args, **kwargs: P.kwargs) -> R:
        token = lend(fields)
        try:
            return function(*args, **kwargs)
        finally:
            restore(token)

    return carried


def _carry_coroutine(function: _Function, fields: Context) -> _Function:
    @functools.wraps(function)
    async def carried(*args: object, **kwargs: object) -> object:
        token = lend(fields)
        try:
            result = await function(*args, **kwargs)
        except GeneratorExit:
            raise  # it is discarded, perhaps amid another request whose fields are not ours to take
        except BaseException:
            restore(token)
            raise
        restore(token)
        return result

    return carried


@contextmanager
def detached_context() -> Iterator[None]:
    """Log without fields inside, and start threads there that have none: they outlive the request."""
    token = lend(EMPTY)
    try:
        yield
    finally:
        restore(token)


class _Run:
    """Stands before ``run`` of one thread until it is called, once, in that thread.

    It is not left at the end: what follows ``run``, such as ``threading.excepthook``, has the fields too, and
    the thread's context ends with it.
    """

    __slots__ = ("_context", "_former", "_had", "_thread")

    def __init__(self, thread: Thread, context: Context) -> None:
        self._had = vars(thread).get("run")
        self._former: _Function = thread.run
        self._thread: Thread | None = thread
        self._context: Context | None = context
        vars(thread)["run"] = self
        if thread.run is not self:  # a class that hides what its objects hold
            self.take_off(thread)

    def __call__(self, *args: object) -> object:
        former, context, thread = self._former, self._context, self._thread
        if context is None or thread is None:  # once more, by another package's wrapper that keeps it
            return former(*args)
        lend(context)
        self.take_off(thread)
        # A thread that is kept when it has ended keeps nothing of the request, and is in no cycle.
        self._former = getattr(former, "__func__", former)
        self._had = self._thread = self._context = context = thread = None
        return former()  # Sentry's wrapper passes the thread, which a bound method has already

    def take_off(self, thread: Thread) -> None:
        """Leave the thread as it was; it may have begun all the same, so what it then calls stays whole."""
        if vars(thread).get("run") is self:
            del vars(thread)["run"]
            if self._had is not None:
                vars(thread)["run"] = self._had


class _Job:
    """A function given to an executor: it has the fields of the one who gave it, and leaves none behind."""

    __slots__ = ("_context", "_function")

    def __init__(self, function: _Function, context: Context) -> None:
        self._function = function
        self._context = context

    def __call__(self, /, *args: object, **kwargs: object) -> object:
        # Without fields it keeps those that the executor's initializer bound.
        token = lend(self._context if self._context.fields else stored())
        try:  # not by ``call_with``: a traceback has one frame more, not two
            return self._function(*args, **kwargs)
        finally:
            restore(token)


@dataclass(slots=True, eq=False)
class _Patch:
    """One method of a class, what makes its wrapper, the wrapper that was made, and the former method."""

    owner: type
    name: str
    wrap: Callable[[_Function], _Function]
    made: _Function | None = None
    former: _Function | None = None

    def put(self) -> None:
        """Wrap the method, unless our wrapper is in place or inside of another package's."""
        now = getattr(self.owner, self.name)
        if self.made is None or not _is_inside(self.made, now):
            self.former, self.made = now, self.wrap(now)
            setattr(self.owner, self.name, self.made)

    def remove(self) -> None:
        """Bring the former method back, unless ours was wrapped; that stays, without an effect."""
        if self.made is not None and getattr(self.owner, self.name) is self.made:
            setattr(self.owner, self.name, self.former)
            self.made = self.former = None


def _is_inside(made: _Function, function: object) -> bool:
    """Whether one function is another one, or what it says to wrap."""
    for _ in range(64):  # a chain that was closed to a ring ends too
        if function is made or function is None:
            break
        function = getattr(function, "__wrapped__", None)
    return function is made


class _State:
    """Whether the wrappers do anything, and where they are."""

    is_active = False
    patches: tuple[_Patch, ...] = ()


def install() -> None:
    """Have threads, executors and records that wait carry the fields; once, however often it is called."""
    if not _State.patches:
        # Needed only when it is switched on.
        from concurrent.futures import ThreadPoolExecutor  # noqa: PLC0415
        from logging.handlers import BufferingHandler, QueueHandler  # noqa: PLC0415

        _State.patches = (
            _Patch(Thread, "start", _wrap_start),
            _Patch(ThreadPoolExecutor, "submit", _wrap_submit),
            _Patch(QueueHandler, "prepare", wrap_prepare),
            _Patch(QueueHandler, "enqueue", wrap_taking),
            _Patch(BufferingHandler, "emit", wrap_taking),
        )
    for patch in _State.patches:
        patch.put()
    _State.is_active = True


def uninstall() -> None:
    """Have threads and executors carry nothing any more; wrappers of others stay."""
    _State.is_active = False
    for patch in _State.patches:
        patch.remove()


def is_installed() -> bool:
    """Whether threads, executors and records that wait carry the fields now."""
    return _State.is_active


def follow(settings: Settings) -> None:
    """Do as the settings say that are read last."""
    if settings.request.context_in_threads:
        install()
    else:
        uninstall()


def _wrap_start(original: _Function) -> _Function:
    @functools.wraps(original)
    def start(self: Thread, *args: object, **kwargs: object) -> object:
        fields = stored()
        if not (fields.fields and _State.is_active):
            return original(self, *args, **kwargs)
        run = None
        with suppress(Exception):  # the thread starts, whatever is wrong with its fields
            fields = _for_thread(self, fields)
            if fields.fields and not isinstance(vars(self).get("run"), _Run):
                run = _Run(self, fields)
        # Where a thread inherits the context, as under gevent, one that serves others has none either.
        try:
            return call_with(fields, original, self, *args, **kwargs)
        except BaseException:
            if run is not None:
                run.take_off(self)
            raise

    return start


def _wrap_submit(original: _Function) -> _Function:
    @functools.wraps(original)
    def submit(self: object, fn: _Function, /, *args: object, **kwargs: object) -> object:
        if not _State.is_active or isinstance(fn, _Job):
            return original(self, fn, *args, **kwargs)
        # A worker that is started for this job will do others: it gets no fields of its own.
        return call_with(EMPTY, original, self, _Job(fn, stored()), *args, **kwargs)

    return submit


def _for_thread(thread: Thread, now: Context) -> Context:
    """Return what a thread is to log with that is started where this is bound.

    Who makes a daemon of a thread, where its starter is none, means it to serve for as long as the process
    lives: it has the fields no longer than what is bound here lasts.
    """
    if is_over(now) or _is_serving(thread):
        return EMPTY
    if thread.daemon and not current_thread().daemon:
        return Context(now.fields, now.counter, now.life, linger_s=0.0)
    return now


def _is_serving(thread: Thread) -> bool:
    """Whether a thread works for more than the one who starts it."""
    target = getattr(thread, "_target", None)
    return any(
        module.startswith(_SERVING)
        for module in (type(thread).__module__, getattr(target, "__module__", None))
        if isinstance(module, str)
    )
