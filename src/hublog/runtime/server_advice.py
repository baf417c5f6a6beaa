"""What servers do to threads, signals and exits: seen in the process, reported where it costs records.

No server is imported here, and none is believed to run because it is installed or imported. What serves the
process has left a trace that nothing else leaves: uWSGI its module, uvicorn and gunicorn their handler of
SIGTERM, waitress its loop in the main thread, Celery the name of the process.
"""

import importlib
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field
from enum import Enum, auto
from types import FrameType
from typing import Final

from hublog.settings import EventHubSettings, SpoolMode

#: Under this attribute a handler that stands before another one names it.
FORMER: Final = "hublog_former"
#: Not SIGCHLD, which programs that a thread starts may need, nor those that report the thread's own errors.
STEERING: Final = frozenset(
    getattr(signal, name)
    for name in ("SIGHUP", "SIGINT", "SIGQUIT", "SIGTERM", "SIGUSR1", "SIGUSR2", "SIGALRM")
    if hasattr(signal, name)
)
#: The workers of gunicorn that patch the process they run in.
_PATCHING: Final = frozenset({"gunicorn.workers.ggevent", "gunicorn.workers.geventlet"})
_LOOK_S: Final = 1.0
#: A process with another id was forked from the one that has imported this.
_FIRST_PID: Final = os.getpid()
#: And the longer it has run, the less is new: a fifth of its age.
_SHARE_OF_AGE: Final = 0.2
_LOST: Final = "so records that wait in memory then are lost"
_ALWAYS: Final = "EVENTHUB_LOG_SPOOL=always"
_HOOK: Final = "EVENTHUB_LOG_FLUSH_ON_SIGTERM=true"


class Way(Enum):
    """A way out that the application has taken."""

    #: An application is wrapped in ``hublog.asgi.lifespan``.
    WRAPPER = auto()
    #: A server has begun the lifespan of a wrapped application, so it will announce its end.
    LIFESPAN = auto()
    #: The hook of SIGTERM is installed.
    HOOK = auto()


#: The ways that are taken in this process; filled by ``hublog.asgi`` and ``hublog.runtime.shutdown``.
taken: Final[set[Way]] = set()


def _main_modules() -> frozenset[str]:
    frames = sys._current_frames()  # noqa: SLF001  # documented, in spite of its name
    return frozenset(modules_of(frames.get(threading.main_thread().ident or 0)))


def modules_of(frame: FrameType | None) -> Iterator[str]:
    """Yield the names of the modules on a stack, the innermost first."""
    while frame is not None:
        yield str(frame.f_globals.get("__name__", ""))
        frame = frame.f_back


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerView:
    """Where to look; by default at this process.

    Attributes:
        modules: what is imported, by name.
        term_handler: returns the handler of SIGTERM.
        main_modules: returns the modules on the stack of the main thread.
        ways: those that are taken.
    """

    modules: Mapping[str, object] = field(default_factory=lambda: sys.modules)
    term_handler: Callable[[], object] = lambda: signal.getsignal(signal.SIGTERM)
    main_modules: Callable[[], Collection[str]] = _main_modules
    ways: Collection[Way] = field(default_factory=lambda: taken)


THIS_PROCESS: Final = ServerView()


def _is_main_interpreter() -> bool:
    # ``_interpreters`` from 3.13 on, the other before.
    for name in ("_interpreters", "_xxsubinterpreters"):
        try:
            module = importlib.import_module(name)
            return bool(module.get_current() == module.get_main())
        except (ImportError, AttributeError):
            continue
    return True


#: Whether this is no sub-interpreter, of either kind; True where the interpreter does not say. Looked up here
#: and not by the first record: a child that is forked in the middle of an import can never do it again.
IS_MAIN_INTERPRETER: Final = _is_main_interpreter()


def why_no_thread(modules: Mapping[str, object] = sys.modules, *, is_main: bool = IS_MAIN_INTERPRETER) -> str:
    """Return why no background thread may be started in this process, as a clause; empty if one may.

    Quick enough for the first record of a process.

    Args:
        modules: what is imported, by name.
        is_main: whether this is the main interpreter.
    """
    if not is_main:
        # Isolated ones allow none; a legacy one aborts the process if one lives at its end, up to 3.11.
        return "this is a sub-interpreter (WSGIApplicationGroup %{GLOBAL} has mod_wsgi use none)"
    uwsgi = modules.get("uwsgi")
    if uwsgi is not None and not _has_threads(uwsgi):
        return "uWSGI runs without threads (enable-threads = true switches them on)"
    return ""


def _has_threads(uwsgi: object) -> bool:
    # Not the option: from uWSGI 2.0.27 on threads are on without it, and before that ``threads`` implied it.
    has_threads = getattr(uwsgi, "has_threads", None)
    if has_threads is not None:
        return bool(has_threads)
    options = _options(uwsgi)
    return options.is_on("enable-threads") or options.number("threads") > 0


def is_about_to_patch(view: ServerView = THIS_PROCESS) -> bool:
    """Whether the server of this process makes greenlets of all threads within moments, if it has not yet.

    A worker of gunicorn logs that it boots, and runs hooks of the application, before it patches anything.
    """
    arbiter = _term_owner(view, "gunicorn.arbiter")
    kinds = getattr(getattr(arbiter, "worker_class", None), "__mro__", ())
    # The master itself never does.
    return any(kind.__module__ in _PATCHING for kind in kinds) and getattr(arbiter, "pid", 0) != os.getpid()


def when_patched(resume: Callable[[], object], view: ServerView = THIS_PROCESS) -> None:
    """Have this called by gevent's loop once gevent has patched this process; if another does, never."""
    subscribers = getattr(view.modules.get("gevent.events"), "subscribers", None)
    spawn_later = getattr(view.modules.get("gevent"), "spawn_later", None)
    if subscribers is None or spawn_later is None:
        return

    def notice(event: object) -> None:
        if type(event).__name__ == "GeventDidPatchAllEvent":
            spawn_later(0.0, resume)

    subscribers.append(notice)


def leave_signals() -> None:
    """Have the current thread take no signal that ends or steers the process; for threads of ours.

    A main thread that blocks one of these signals for a moment, as children of Celery's pool do while they
    hold a lock of all of them, would else be interrupted through our thread, and the pool would hang.
    """
    # Under gevent it is the main thread that runs us, and that one must go on taking them.
    mains = (os.getpid(), threading.main_thread().native_id)
    if hasattr(signal, "pthread_sigmask") and threading.get_native_id() not in mains:
        signal.pthread_sigmask(signal.SIG_BLOCK, STEERING)


def advice(settings: EventHubSettings, view: ServerView = THIS_PROCESS) -> list[str]:
    """Return what the operator should know of this process's server, one line each.

    A server that still imports the application is not judged yet, so ask again: see ``Adviser``.

    Args:
        settings: the mode of the spool, the exit budget, and whether the hook of SIGTERM is wanted.
        view: where to look.
    """
    if not settings.enabled or not settings.is_configured:
        return []
    lines = [_thread_advice(settings, view)]
    if settings.spool is not SpoolMode.ALWAYS:
        options = _options(view.modules.get("uwsgi"))
        lines += [_uwsgi_exit_advice(options), _celery_advice(view), _rq_advice(view)]
        if not settings.flush_on_sigterm and Way.HOOK not in view.ways:
            lines += [_uvicorn_advice(view), _waitress_advice(view)]
    if settings.spool is SpoolMode.MEMORY:  # else the disk has them before the exit is cut short
        lines.append(_gunicorn_advice(settings, view))
    return [line for line in lines if line]


class Adviser:
    """Looks again and again, since a server shows only when it has imported the application.

    Args:
        settings: see ``advice``.
        view: where to look.
        now: monotonic seconds.
    """

    def __init__(
        self,
        settings: EventHubSettings,
        view: ServerView = THIS_PROCESS,
        *,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._settings = settings
        self._view = view
        self._now = now
        self._begun_mono = self._next_mono = now()
        self._reported: set[str] = set()

    def look(self) -> list[str]:
        """Return the lines that it has not returned yet; looks each second at first, then less often."""
        now = self._now()
        if now < self._next_mono:
            return []
        self._next_mono = now + max(_LOOK_S, (now - self._begun_mono) * _SHARE_OF_AGE)
        lines = [line for line in advice(self._settings, self._view) if line not in self._reported]
        self._reported.update(lines)
        return lines


def _thread_advice(settings: EventHubSettings, view: ServerView) -> str:
    reason = why_no_thread(view.modules)
    place = "in memory" if settings.spool is SpoolMode.MEMORY else "on disk"
    return f"Records wait {place} until the exit: no thread can send them, since {reason}." if reason else ""


@dataclass(frozen=True, slots=True)
class _Options:
    """The options of uWSGI: those without a value are True, the others bytes, or a list if given twice."""

    given: Mapping[str, object]

    def is_on(self, name: str) -> bool:
        """Read a switch as uWSGI does."""
        text = self._text(name)
        return text is not None and text.lower() not in ("false", "off", "no", "0")

    def number(self, name: str) -> int:
        """Read a number; 0 if it is not given."""
        text = self._text(name) or ""
        return int(text) if text.isdecimal() else 0

    def _text(self, name: str) -> str | None:
        value = self.given.get(name)
        if isinstance(value, list):
            value = value[-1] if value else None
        if value is None:
            return None
        return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)


def _options(uwsgi: object) -> _Options:
    options = getattr(uwsgi, "opt", None)
    return _Options(options if isinstance(options, Mapping) else {})


def uwsgi_advice(written: Mapping[str, object], settings: EventHubSettings) -> list[str]:
    """Return what options of uWSGI cost records, one line each, before it runs.

    Args:
        written: the options by their names, with dashes, as they stand in its configuration.
        settings: the mode of the spool.
    """
    options = _Options(written)
    lines = []
    if "enable-threads" in written and not options.is_on("enable-threads") and not options.number("threads"):
        lines.append("uWSGI runs no threads with enable-threads = false, so records wait until the exit.")
    if settings.spool is not SpoolMode.ALWAYS:
        lines.append(_uwsgi_exit_advice(options))
    return [line for line in lines if line]


def _uwsgi_exit_advice(options: _Options) -> str:
    """Exit hooks; ``max-requests`` and its like run them, and a fork without hooks is noticed elsewhere.

    Source: ``uwsgi_python_atexit`` and ``end_me`` of uWSGI 2.0.30, and runs of it.
    """
    guilty = [name for name in ("skip-atexit", "skip-atexit-teardown") if options.is_on(name)]
    guilty += [name for name in ("async", "gevent", "asyncio", "tornado") if options.number(name) > 1]
    if not guilty:
        return ""
    return f"uWSGI runs no exit hooks with {' and '.join(guilty)}, {_LOST}: set {_ALWAYS}."


def _celery_advice(view: ServerView) -> str:
    if "celery" not in view.modules or "hublog.celery" in view.modules:
        return ""
    current = getattr(view.modules.get("billiard.process"), "current_process", None)
    process = current() if callable(current) else None
    kind, _, number = str(getattr(process, "name", "")).rpartition("-")
    # One child reports it for all, in the first of its lives; an embedded beat may have taken number 1.
    is_first = getattr(process, "index", -1) == 0 and number in ("1", "2")
    if not is_first or not kind.endswith("PoolWorker"):
        return ""
    return (
        f"Children of Celery's prefork pool run no exit hooks, {_LOST}: import hublog.celery where the Celery"
        f" app is made, or set {_ALWAYS}."
    )


def _rq_advice(view: ServerView) -> str:
    """RQ forks a work-horse for each job; the worker that forks them says it for all."""
    is_known = "rq.worker" in view.modules and "hublog.rq" not in view.modules
    # A work-horse that is spawned runs a program given by -c.
    if not is_known or os.getpid() != _FIRST_PID or sys.argv[:1] == ["-c"]:
        return ""
    if not any(f"{module}.".startswith("rq.worker.") for module in view.main_modules()):
        return ""
    return f"RQ's work-horses run no exit hooks, {_LOST}: import hublog.rq in the worker, or set {_ALWAYS}."


def _uvicorn_advice(view: ServerView) -> str:
    """From 0.29 on uvicorn raises the signal again at its end, with its default action."""
    server = _term_owner(view, "uvicorn.server")
    if server is None or not getattr(server, "started", True) or Way.LIFESPAN in view.ways:
        return ""
    remedy = "wrap the application in hublog.asgi.lifespan"
    if Way.WRAPPER in view.ways:
        remedy = "let uvicorn reach hublog.asgi.lifespan (no --lifespan off, no wrapper that hides it)"
    return f"uvicorn runs no exit hooks on SIGTERM, {_LOST}: {remedy}, or set {_HOOK} or {_ALWAYS}."


def _waitress_advice(view: ServerView) -> str:
    if "waitress.server" not in view.modules or view.term_handler() is not signal.SIG_DFL:
        return ""
    if "waitress.server" not in view.main_modules():
        return ""
    return f"SIGTERM ends waitress without exit hooks, {_LOST}: set {_HOOK} or {_ALWAYS}."


def _gunicorn_advice(settings: EventHubSettings, view: ServerView) -> str:
    config = getattr(_term_owner(view, "gunicorn.workers.base"), "cfg", None)
    timeouts = [(name, getattr(config, name, None)) for name in ("graceful_timeout", "timeout")]
    budget_s = settings.exit_timeout_seconds
    # A time-out of 0 is none.
    limits = [(name, limit) for name, limit in timeouts if isinstance(limit, int) and 0 < limit < budget_s]
    short = [f"{name} ({limit} s)" for name, limit in limits]
    if not short:
        return ""
    return (
        f"gunicorn kills a worker before the time for its exit (EVENTHUB_LOG_EXIT_TIMEOUT, {budget_s:g} s) is"
        f" over, {_LOST}: raise {' and '.join(short)}, or set EVENTHUB_LOG_SPOOL=overflow."
    )


def _term_owner(view: ServerView, module: str) -> object:
    """Return the object that handles SIGTERM, if a class of its kind is defined in a module."""
    handler = view.term_handler()
    owner: object = getattr(getattr(handler, FORMER, handler), "__self__", None)
    return owner if any(kind.__module__ == module for kind in type(owner).__mro__) else None
