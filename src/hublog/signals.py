"""Signals of `blinker <https://blinker.readthedocs.io>`_: notify a program of what delivery does.

::

    from hublog.signals import circuit_opened

    @circuit_opened.connect
    def raise_alarm(sender, **values): ...

A receiver is called with the sender ``"hublog"`` and the keyword arguments named below; take ``**values``,
since later versions may add some. It runs in hublog's own thread: it must be quick and must not wait for
anything, ``hublog.flush()`` least of all, since nothing is delivered meanwhile. What it logs goes to console
and file, never to the hub. An exception is reported once and affects neither delivery nor other receivers.
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

#: The first argument of every receiver.
SENDER: Final = "hublog"
#: A receiver that takes longer is reported.
SLOW_S: Final = 1.0
#: Receivers that are reported per process, since a program may connect any number of them.
_REPORTED_MAX: Final = 100

_signals: Final = Namespace()

batch_sent = _signals.signal(
    "batch_sent",
    doc="""The hub accepted a send.

    Args:
        records (int): log records in it.
        events (int): events in it.
        body_bytes (int): bytes of their bodies, as sent.
        seconds (float): how long the send took.
        is_replay (bool): whether the records were stored before, on disk or in memory.
        stats (hublog.Stats): a snapshot after it.
    """,
)
batch_failed = _signals.signal(
    "batch_failed",
    doc="""A send failed or was abandoned; its records are still held.

    Args:
        error (hublog.errors.SendError): why; its message contains no secrets.
        records (int): log records in it.
        seconds (float): how long the send took.
        stats (hublog.Stats): a snapshot after it.
    """,
)
circuit_opened = _signals.signal(
    "circuit_opened",
    doc="""Sending is paused: the circuit is open, or sends hang and cannot be ended.

    Args:
        error (hublog.errors.SendError | None): the last failure.
        stats (hublog.Stats): a snapshot.
    """,
)
circuit_half_opened = _signals.signal(
    "circuit_half_opened",
    doc="""One send probes whether the hub is available; ``circuit_opened`` or ``circuit_closed`` follows.

    Args:
        error (hublog.errors.SendError | None): the last failure.
        stats (hublog.Stats): a snapshot.
    """,
)
circuit_closed = _signals.signal(
    "circuit_closed",
    doc="""Sending resumes after ``circuit_opened``.

    Args:
        error (hublog.errors.SendError | None): None after a success.
        stats (hublog.Stats): a snapshot.
    """,
)
records_dropped = _signals.signal(
    "records_dropped",
    doc="""Records were lost and are reported for the first time.

    Args:
        count (int): their number.
        text (str): the message that is logged.
        details (dict): counts by reason, level and logger, as plain data.
    """,
)
spool_replayed = _signals.signal(
    "spool_replayed",
    doc="""All that was put aside on disk and in memory has been sent.

    Args:
        records (int): how many of them were sent since the stores were empty last.
        stats (hublog.Stats): a snapshot.
    """,
)
state_changed = _signals.signal(
    "state_changed",
    doc="""Delivery went from one state to another; see ``hublog.State``.

    Args:
        old (hublog.State): the state before.
        new (hublog.State): the state now.
        error (hublog.errors.SendError | None): the last failure, if any.
        stats (hublog.Stats): a snapshot.
    """,
)

_reported: Final[set[tuple[str, int]]] = set()


def emit(
    name: str,
    values: Mapping[str, object],
    log: Callable[[int, str], None],
    *,
    now: Callable[[], float] = time.monotonic,
) -> None:
    """Call each receiver of a signal; exceptions of receivers do not propagate.

    Args:
        name: one of ``__all__``.
        values: keyword arguments of the receivers.
        log: logs a message; called once for each receiver that raises, is slow or is a coroutine function.
        now: monotonic seconds, to measure receivers.
    """
    signal = _signals[name]
    if not signal.receivers or signal.is_muted:
        return
    receivers: list[Callable[..., object]] = []
    with contextlib.suppress(RuntimeError):  # another thread is connecting one
        receivers = list(signal.receivers_for(SENDER))
    for receiver in receivers:
        begin = now()
        problem = _call(receiver, values)
        seconds = now() - begin
        if not problem and seconds > SLOW_S:
            problem = f"took {seconds:.1f} s, and nothing is delivered meanwhile: hand long work to a thread"
        if problem:
            _report_once(name, receiver, problem, log)


def _call(receiver: Callable[..., object], values: Mapping[str, object]) -> str:
    """Return what went wrong; empty if nothing did."""
    try:
        result = receiver(SENDER, **values)
    except BaseException as error:  # noqa: BLE001  # SystemExit must not end this thread either
        return f"raised {type(error).__name__}; correct it or disconnect it"
    if not inspect.iscoroutine(result):
        return ""
    result.close()
    return "is a coroutine function, and there is no event loop in this thread: connect a plain function"


def _report_once(
    name: str, receiver: Callable[..., object], problem: str, log: Callable[[int, str], None]
) -> None:
    shown = getattr(receiver, "__qualname__", type(receiver).__qualname__)
    known = (shown, id(receiver))
    if known in _reported or len(_reported) >= _REPORTED_MAX:
        return
    _reported.add(known)
    log(
        logging.WARNING,
        f"The receiver {getattr(receiver, '__module__', '')}.{shown} of hublog's signal {name!r} {problem}."
        " Delivery is not affected; this is reported once.",
    )
