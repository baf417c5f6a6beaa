"""Keeps a fork from happening in the middle of an import of ours.

A child inherits the locks that another thread held, and nobody there to release them: its own thread would
wait for them for ever. An import holds such locks, and so do some things that the standard library does once.
What our threads do of that kind late, since it is heavy or may be missing, they do under one lock of ours,
and a fork waits for it: about 0.1 s, once in the life of a process.
"""

import contextlib
import importlib
import os
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from typing import Final

#: A fork never waits longer than this.
LIMIT_S: Final = 10.0


class _Loading:
    """The lock, as each process has it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._holder: int | None = None
        self._is_held = False

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """Have forks of other threads wait."""
        with self._lock:
            self._holder = threading.get_ident()
            try:
                yield
            finally:
                self._holder = None

    def before_fork(self) -> None:
        """Wait for an import that is under way, unless it is that import which forks."""
        is_ours = self._holder == threading.get_ident()
        self._is_held = not is_ours and self._lock.acquire(timeout=LIMIT_S)

    def after_fork(self) -> None:
        """Go on, in the parent."""
        if self._is_held:
            self._lock.release()

    def after_fork_in_child(self) -> None:
        """Go on, in the child, whoever held the lock."""
        self._lock, self._holder = threading.Lock(), None


_loading = _Loading()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(
        before=_loading.before_fork,
        after_in_parent=_loading.after_fork,
        after_in_child=_loading.after_fork_in_child,
    )


def loader(package: str, homes: Mapping[str, str]) -> Callable[[str], object]:
    """Return the ``__getattr__`` of a package whose names are loaded when they are used.

    Args:
        package: name of the package.
        homes: the modules of the names.
    """

    def load(name: str) -> object:
        if name not in homes:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        home = homes[name]
        # A fork of another thread waits for an import; what is there already waits for nobody.
        with contextlib.nullcontext() if home in sys.modules else importing():
            found = getattr(importlib.import_module(home), name)
        setattr(sys.modules[package], name, found)
        return found

    return load


def importing() -> contextlib.AbstractContextManager[None]:
    """Import inside; not to be nested. Nobody forks meanwhile but what is done inside."""
    return _loading.held()
