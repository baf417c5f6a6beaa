"""Threads that a test leaves behind, whose records belong to no other test."""

import sys
import threading
import weakref
from collections.abc import Iterable
from logging import LogRecord
from types import FrameType
from typing import Final

#: Code in which threads wait that serve whoever comes, by the first parts of its modules' names: pools and
#: servers, which one test starts and others use.
_SERVING: Final = (
    "anyio",
    "apscheduler",
    "asyncio",
    "celery",
    "cheroot",
    "concurrent.futures",
    "dramatiq",
    "gevent",
    "huey",
    "hypercorn",
    "multiprocessing.pool",
    "socketserver",
    "trio",
    "uvicorn",
    "waitress",
)
_late: Final["weakref.WeakSet[threading.Thread]"] = weakref.WeakSet()


def note_late(there: Iterable[threading.Thread]) -> None:
    """Take no record any more from the threads that run now.

    Args:
        there: threads that were there before, and go on as ever.
    """
    left = set(threading.enumerate()).difference(there)
    frames = sys._current_frames() if left else {}  # noqa: SLF001  # documented, for debuggers
    for thread in left:
        if not _serves(frames.get(thread.ident or 0)):
            _late.add(thread)


def is_late(record: LogRecord) -> bool:
    """Whether a record comes from a thread that was left behind by a test that is over."""
    return any(thread.ident == record.thread and thread.is_alive() for thread in list(_late))


def _serves(frame: FrameType | None) -> bool:
    while frame is not None:
        name = str(frame.f_globals.get("__name__", ""))
        if any(name == module or name.startswith(f"{module}.") for module in _SERVING):
            return True
        frame = frame.f_back
    return False
