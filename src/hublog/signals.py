"""Signals of `blinker <https://blinker.readthedocs.io>`_: hublog tells a program what delivery does.

::

    from hublog.signals import circuit_opened

    @circuit_opened.connect
    def page_somebody(sender, **values): ...

A receiver is called with the sender ``"hublog"`` and the keyword arguments named below; take ``**values``,
since later versions may add some. It runs in hublog's own thread: it must be quick and must not wait for
anything, ``hublog.flush()`` least of all, since nothing is delivered meanwhile. What it logs goes to console
and file, never to the hub. What it raises is told once and hurts neither delivery nor other receivers.
"""

import contextlib
import inspect
import logging
import time
from collections.abc import Callable, Mapping
from typing import Final

from blinker import Namespace

__all__ = [
    "batch_failed",
    "batch_sent",
    "circuit_closed",
    "circuit_half_opened",
    "circuit_opened",
    "records_dropped",
    "spool_replayed",
    "state_changed",
]

#: What every receiver is given first.
SENDER: Final = "hublog"
#: A receiver that takes longer is told of.
SLOW_S: Final = 1.0
#: Receivers told of in the life of a process: a program may connect new ones without end.
_TOLD_MAX: Final = 100

_signals: Final = Namespace()

batch_sent = _signals.signal(
    "batch_sent",
    doc="""The hub accepted a send.

    Args:
        records (int): log records in it.
        events (int): events in it.
        body_bytes (int): bytes of their bodies, as sent.
        seconds (float): how long the send took.
        is_replay (bool): whether they had been put aside on disk or in memory.
        stats (hublog.Stats): the books after it.
    """,
)
batch_failed = _signals.signal(
    "batch_failed",
    doc="""A send failed, or was given up; its records are still held.

    Args:
        error (hublog.errors.SendError): why; its text holds no secrets.
        records (int): log records in it.
        seconds (float): how long the send took.
        stats (hublog.Stats): the books after it.
    """,
)
circuit_opened = _signals.signal(
    "circuit_opened",
    doc="""Sends are held back: the hub is left in peace, or sends hang and cannot be ended.

    Args:
        error (hublog.errors.SendError | None): the last failure.
        stats (hublog.Stats): the books.
    """,
)
circuit_half_opened = _signals.signal(
    "circuit_half_opened",
    doc="""One send finds out whether the hub is back; ``circuit_opened`` or ``circuit_closed`` follows.

    Args:
        error (hublog.errors.SendError | None): the last failure.
        stats (hublog.Stats): the books.
    """,
)
circuit_closed = _signals.signal(
    "circuit_closed",
    doc="""Sends go out again, after ``circuit_opened``.

    Args:
        error (hublog.errors.SendError | None): None after a success.
        stats (hublog.Stats): the books.
    """,
)
records_dropped = _signals.signal(
    "records_dropped",
    doc="""Records were lost, and are told of for the first time.

    Args:
        count (int): how many.
        text (str): the line that is logged.
        details (dict): by reason, by level and by logger, as plain data.
    """,
)
spool_replayed = _signals.signal(
    "spool_replayed",
    doc="""All that was put aside on disk and in memory has been sent.

    Args:
        records (int): how many of them were sent since the stores were empty last.
        stats (hublog.Stats): the books.
    """,
)
state_changed = _signals.signal(
    "state_changed",
    doc="""Delivery went from one state to another; see ``hublog.State``.

    Args:
        old (hublog.State): before.
        new (hublog.State): now.
        error (hublog.errors.SendError | None): the last failure, where there was one.
        stats (hublog.Stats): the books.
    """,
)

_told: Final[set[tuple[str, int]]] = set()


def emit(
    name: str,
    values: Mapping[str, object],
    tell: Callable[[int, str], None],
    *,
    now: Callable[[], float] = time.monotonic,
) -> None:
    """Call each receiver of a signal; for the observer. Nothing that a receiver raises leaves.

    Args:
        name: one of ``__all__``.
        values: keyword arguments of the receivers.
        tell: writes a line; once for each receiver that raises, is slow or is a coroutine function.
        now: seconds, to notice slow receivers.
    """
    signal = _signals[name]
    if not signal.receivers or signal.is_muted:
        return
    receivers: list[Callable[..., object]] = []
    with contextlib.suppress(RuntimeError):  # another thread connects one just now
        receivers = list(signal.receivers_for(SENDER))
    for receiver in receivers:
        begin = now()
        trouble = _call(receiver, values)
        seconds = now() - begin
        if not trouble and seconds > SLOW_S:
            trouble = f"took {seconds:.1f} s, and nothing is delivered meanwhile: hand long work to a thread"
        if trouble:
            _tell_once(name, receiver, trouble, tell)


def _call(receiver: Callable[..., object], values: Mapping[str, object]) -> str:
    """Return what went wrong, empty if nothing did."""
    try:
        found = receiver(SENDER, **values)
    except BaseException as error:  # noqa: BLE001  # this thread is ours: SystemExit may not end it either
        return f"raised {type(error).__name__}; correct it or disconnect it"
    if not inspect.iscoroutine(found):
        return ""
    found.close()
    return "is a coroutine function, and there is no event loop in this thread: connect a plain function"


def _tell_once(
    name: str, receiver: Callable[..., object], trouble: str, tell: Callable[[int, str], None]
) -> None:
    shown = getattr(receiver, "__qualname__", type(receiver).__qualname__)
    known = (shown, id(receiver))
    if known in _told or len(_told) >= _TOLD_MAX:
        return
    _told.add(known)
    tell(
        logging.WARNING,
        f"The receiver {getattr(receiver, '__module__', '')}.{shown} of hublog's signal {name!r} {trouble}."
        " Delivery goes on; it is told once.",
    )
