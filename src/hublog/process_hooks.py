"""The hooks of exit and fork, and imports that neither a fork nor monkey patching may interrupt.

No import of hublog registers a hook: the first handler or ``configure`` does. Modules say with ``in_child``
what a forked child must forget, and that is all.

A child inherits the locks that another thread held, and no thread there releases them: an import in the child
would wait for them for ever. What our threads import late, since it is heavy or may be missing, they import
in parts, each under one lock of ours, and a fork waits for the part that is under way: some milliseconds. One
that takes longer is not waited for; the child forgets the half of it that it has, and imports it anew.

Monkey patching replaces what identifies threads, so an import that began before it cannot end after it.

No thread waits here by a lock of the system alone: greenlets may share the thread, and with it the only one
that can release the lock.
"""

import _thread
import atexit
import contextlib
import importlib
import importlib.util
import os
import sys
import threading
import time
import types
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from importlib.machinery import ModuleSpec, PathFinder
from types import ModuleType
from typing import Any, Final

#: How long an import waits for forks.
_YIELD_S: Final = 1.0
#: How long it waits for a monkey patch that was announced, and how long that waits for it.
_PATCH_S: Final = 3.0
_POLL_S: Final = 0.001
#: What may patch, and the modules without which it cannot.
_GREENLETS: Final = ("gevent", "eventlet")
_PATCHERS: Final = frozenset({"gevent.monkey", "eventlet.patcher"})
#: The events of gevent that begin and end the time in which no import may be under way.
_PATCHES: Final = {"GeventWillPatchAllEvent": True, "GeventDidPatchAllEvent": False}


class Loading:
    """The lock, as each process has it.

    Attributes:
        limit_s: a fork never waits longer than this.
    """

    def __init__(self) -> None:
        self.limit_s = 0.4
        self._lock = threading.Lock()
        #: Who imports, or forks; None while no thread does.
        self._holder: int | None = None
        self._forker: int | None = None
        #: One entry for each that waits: it comes before the next part of an import.
        self._forks: deque[None] = deque()
        self._patched_mono = 0.0
        self._is_watching = False

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """Have forks of other threads wait."""
        self._enter()
        try:
            self._holder = threading.get_ident()
            yield
        finally:
            self._holder = None
            self._lock.release()

    @property
    def is_awaited(self) -> bool:
        """Whether a fork waits for the import that is under way."""
        return bool(self._forks)

    def before_fork(self) -> None:
        """Wait for an import that is under way, unless it is that import which forks."""
        if self._holder == threading.get_ident():
            return
        self._forks.append(None)
        try:
            if _acquire(self._lock, self.limit_s):
                self._forker = threading.get_ident()
        finally:
            self._forks.pop()

    def after_fork(self) -> None:
        """Go on, in the parent."""
        if self._forker == threading.get_ident():
            self._forker = None
            self._lock.release()

    def after_fork_in_child(self) -> None:
        """Go on, in the child, whichever thread held the lock."""
        if self._holder not in (None, threading.get_ident()):
            forget_torn_imports()
        self._lock, self._holder, self._forker = threading.Lock(), None, None
        self._forks.clear()

    def _enter(self) -> None:
        """Take the lock, behind who waits: else the next part would begin before a sleeper is awake."""
        end = time.monotonic() + _YIELD_S
        while True:
            while self._is_awaited(end):
                time.sleep(_POLL_S)
            _acquire(self._lock)
            if not self._is_awaited(end):
                return
            self._lock.release()

    def _is_awaited(self, end: float) -> bool:
        return (self.is_awaited and time.monotonic() < end) or self._is_patching

    def find_spec(self, name: str, path: Sequence[str] | None, *_: object) -> ModuleSpec | None:
        """Notice what is about to patch; ``sys.meta_path`` calls this, and nothing may wait here."""
        if name in _PATCHERS:
            self._patched_mono = time.monotonic() + _PATCH_S
        if name != "gevent.events":
            return None
        spec = PathFinder.find_spec(name, path)
        loader = spec.loader if spec is not None else None
        execute = getattr(loader, "exec_module", None)
        if execute is not None:

            def execute_and_watch(module: ModuleType) -> None:
                execute(module)
                self._watch_gevent()  # in the thread that patches, and before it does

            with contextlib.suppress(AttributeError):
                loader.exec_module = execute_and_watch  # type: ignore[union-attr,method-assign]  # of this one
        return spec

    def watch(self) -> None:
        """Notice a monkey patch that is still to come, where one can come."""
        if not self._is_watching and not is_patched() and not _PATCHERS.isdisjoint(sys.modules):
            self._patched_mono = time.monotonic() + _YIELD_S  # what patches is there, and may be about to
        self._is_watching = True
        if self in sys.meta_path or not any(map(importlib.util.find_spec, _GREENLETS)):
            return
        # In front, and for good: a thread that walks along the list now would miss a finder if one left it.
        sys.meta_path.insert(0, self)

    @property
    def _is_patching(self) -> bool:
        self._watch_gevent()
        if time.monotonic() >= self._patched_mono:
            return False
        return bool(self._subscribers) or not is_patched()  # eventlet has no event when it has patched

    @property
    def _subscribers(self) -> list[object]:
        subscribers = getattr(sys.modules.get("gevent.events"), "subscribers", None)
        return subscribers if isinstance(subscribers, list) else []

    def _watch_gevent(self) -> None:
        if "gevent.events" in sys.modules and self._patch not in self._subscribers:
            self._subscribers.append(self._patch)

    def _patch(self, event: object) -> None:
        """Keep imports out from the beginning of a monkey patch to its end; called by gevent."""
        begins = _PATCHES.get(type(event).__name__)
        if begins is not None:
            self._patched_mono = time.monotonic() + _PATCH_S if begins else 0.0
        # Wait for an import that is under way.
        if begins and self._holder != threading.get_ident() and _acquire(self._lock, _PATCH_S):
            self._lock.release()


def is_patched() -> bool:
    """Whether what starts threads has been replaced."""
    return not isinstance(_thread.start_new_thread, types.BuiltinFunctionType)


def _acquire(lock: threading.Lock, limit_s: float = threading.TIMEOUT_MAX) -> bool:
    """Return whether the lock could be had within a limit; greenlets of the same thread go on meanwhile."""
    end = time.monotonic() + limit_s
    while not lock.acquire(blocking=False):
        if time.monotonic() >= end:
            return False
        time.sleep(_POLL_S)
    return True


def forget_torn_imports() -> None:
    """Have what another thread was importing at a fork imported anew, in the child.

    The locks of imports have no public name. Where the private one has changed nothing is forgotten, and an
    import in the child may wait for ever, in the thread that sends.
    """
    locks = getattr(sys.modules.get("_frozen_importlib"), "_module_locks", {})
    torn = [
        name
        for name, reference in list(locks.items())
        if getattr(reference(), "owner", None) not in (None, threading.get_ident())
    ]
    for name in torn:
        locks.pop(name, None)
        inside = [known for known in list(sys.modules) if known.startswith(f"{name}.")]
        for known in (name, *inside):
            sys.modules.pop(known, None)


loading: Final = Loading()


def loader(package: str, names: Mapping[str, Sequence[str]]) -> Callable[[str], object]:
    """Return the ``__getattr__`` of a package whose names are loaded when they are used.

    Args:
        package: name of the package.
        names: those of each module.
    """
    homes = {name: home for home, inside in names.items() for name in inside}

    def load(name: str) -> object:
        if name not in homes:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        home = homes[name]
        # A fork of another thread waits for an import; what is there already waits for no import.
        with contextlib.nullcontext() if home in sys.modules else importing():
            value = getattr(importlib.import_module(home), name)
        setattr(sys.modules[package], name, value)
        return value

    return load


#: Import inside; not to be nested. No thread forks meanwhile but this one.
importing: Final = loading.held


def import_in_parts(names: Iterable[str]) -> None:
    """Import modules one by one, as far as they are there, so that a fork waits for one of them at most."""
    loading.watch()
    for name in names:
        with importing(), contextlib.suppress(ImportError):
            importlib.import_module(name)


class ProcessHooks:
    """Calls what belongs to hublog when this process, or a child that is forked from it, forks or exits."""

    def __init__(self) -> None:
        self._at_exit: list[Callable[[], object]] = []
        self._in_child: list[Callable[[], object]] = []
        self._once = threading.Lock()
        #: By process id: ``multiprocessing`` clears its finalizers when a child begins.
        self._finalizers: dict[int, Any] = {}

    def at_exit(self, hook: Callable[[], object]) -> None:
        """Have this called at the exit, once or more, the last one first as ``atexit`` does."""
        self._at_exit.append(hook)

    def in_child(self, forget: Callable[[], object]) -> None:
        """Have this called in each forked child: no I/O, no lock of the parent, no thread."""
        self._in_child.append(forget)

    def install(self) -> None:
        """Register the hooks, at the first call.

        Exit hooks run in the reverse order of their registration: ours before that of ``logging``, which
        closes all handlers. So do hooks before a fork: ours waits for an import, which may log, before that
        of ``logging`` takes the lock of all loggers.
        """
        if not self._once.acquire(blocking=False):  # it is never released
            return
        import logging  # noqa: F401, PLC0415  # its hooks must be registered before ours

        atexit.register(self._exit)
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(
                before=loading.before_fork,
                after_in_parent=loading.after_fork,
                after_in_child=self._after_fork_in_child,
            )

    def follow_multiprocessing(self) -> None:
        """Have the exit hooks called in a child of ``multiprocessing``, which leaves by ``os._exit``.

        Only that package's own finalizers run there. To be called while the child works: they are cleared
        when it begins. Where the package is just being imported this process is no child of it.
        """
        finalize = getattr(sys.modules.get("multiprocessing.util"), "Finalize", None)
        known = self._finalizers.get(os.getpid())
        if finalize is not None and (known is None or not known.still_active()):
            self._finalizers[os.getpid()] = finalize(None, self._exit, exitpriority=0)

    def _exit(self) -> None:
        with contextlib.ExitStack() as hooks:  # one that raises keeps no other from its work
            for hook in self._at_exit:
                hooks.callback(hook)

    def _after_fork_in_child(self) -> None:
        loading.after_fork_in_child()
        for forget in self._in_child:
            forget()


process_hooks: Final = ProcessHooks()
