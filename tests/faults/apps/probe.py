"""What every application of the harness imports first: it logs with ids, keeps a journal and measures.

The journal has one line for each record whose logging call has returned; it is written at once, so it
survives every kind of death. The book is written at the exit, after all hooks that were registered
later, hublog's own among them: its statistics, the cost of a log call, memory, threads.
"""

import atexit
import contextlib
import json
import logging
import os
import signal
import sys
import time
from array import array
from pathlib import Path

FOLDER = Path(os.environ.get("FAULTS_DIR", "."))
ID = "fault_id"
log = logging.getLogger("faults")
_costs = array("q")
_journals: dict[int, int] = {}


def _memory_kib(name: str) -> int:
    """Return a line of the process's memory; the kernel's peak of ``getrusage`` is that of our starter."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next((int(line.split()[1]) for line in lines if line.startswith(f"{name}:")), 0)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=lambda: _costs.__delitem__(slice(None)))
_state = {"resident_kib": _memory_kib("VmRSS")}


def write(
    id_: str, text: str = "record %s", *args: object, level: int = logging.INFO, **extra: object
) -> None:
    """Log one record under an id, and note it in the journal when the call has returned."""
    call(id_, text, *(args or (id_,)), level=level, **extra)
    note(id_)


def call(id_: str, text: str, *args: object, level: int = logging.INFO, **extra: object) -> None:
    """Log one record under an id, and measure it."""
    start = time.perf_counter_ns()
    log.log(level, text, *args, extra={ID: id_, **extra})
    _costs.append(time.perf_counter_ns() - start)


def note(id_: str) -> None:
    """Write to the journal that a record was accepted."""
    pid = os.getpid()
    journal = _journals.get(pid)
    if journal is None:
        path = FOLDER / f"journal-{pid}-{time.monotonic_ns()}"
        opened = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        journal = _journals.setdefault(pid, opened)  # no lock: we may stand in a signal handler
        if journal != opened:
            os.close(opened)
    os.write(journal, id_.encode() + b"\n")


def book() -> None:
    """Write the book of this process."""
    hublog = sys.modules.get("hublog")
    costs = sorted(_costs)
    import threading

    content = {
        "pid": os.getpid(),
        "stats": [_plain(stats) for stats in hublog.stats().pipelines] if hublog is not None else [],
        "calls": len(costs),
        "p99_us": costs[int(len(costs) * 0.99)] / 1000 if costs else 0,
        "max_us": costs[-1] / 1000 if costs else 0,
        "start_kib": _state["resident_kib"],
        "peak_kib": _memory_kib("VmHWM"),
        "threads": [thread.name for thread in threading.enumerate()],
    }
    path = FOLDER / f"book-{os.getpid()}-{time.monotonic_ns()}.json"
    path.with_suffix(".part").write_text(json.dumps(content))
    path.with_suffix(".part").rename(path)


def _plain(stats: object) -> dict[str, object]:
    names = ("accepted_total", "sent_total", "dropped_total", "held")
    found = {name: getattr(stats, name, 0) for name in names}
    return {**found, "dropped": {str(reason): number for reason, number in stats.dropped.items()}}


def set_up(*, is_alone: bool = True) -> None:
    """Set logging up as the environment says, after the probe's own exit hook; send our records alone."""
    import hublog

    hublog.setup_logging()
    if is_alone:
        send_ours_alone()


def send_ours_alone() -> None:
    """Keep the records of servers and libraries from the hub: the ledger would not know of them."""
    for handler in logging.getLogger().handlers:
        if type(handler).__name__ == "EventHubHandler":
            handler.addFilter(logging.Filter(log.name))


HAS_BOOK = os.environ.get("FAULTS_BOOK", "yes") == "yes"
if HAS_BOOK and not hasattr(sys.modules.get("sitecustomize"), "write_book"):
    atexit.register(book)  # else it is registered there, before the package was imported
log.setLevel(logging.DEBUG)
_stacks = (FOLDER / "stacks.txt").open("a")
with contextlib.suppress(ImportError):  # an isolated sub-interpreter has none
    import faulthandler

    # Not enable(): it would take SIGABRT from the server.
    faulthandler.register(signal.SIGRTMIN + 5, file=_stacks, all_threads=True)
