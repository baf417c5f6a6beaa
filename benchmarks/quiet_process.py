"""A process with next to nothing to do: what its threads cost at a request a second, and without any."""

import tempfile
import threading
import time
from itertools import islice
from pathlib import Path
from typing import Any

from benchmarks.requests.applications import flask
from benchmarks.requests.loggers import HublogLogs
from benchmarks.requests.visits import environs
from benchmarks.turns import Figures, serve_turns


def threads_cpu_s() -> float:
    """Return the CPU seconds of all threads but this one, as long as they run."""
    here = threading.current_thread()
    return sum(
        time.clock_gettime(time.pthread_getcpuclockid(thread.ident))
        for thread in threading.enumerate()
        if thread is not here and thread.ident is not None
    )


def wakeups() -> int:
    """Return how often the threads of this process, but its first one, have waited."""
    count = 0
    for task in Path("/proc/self/task").iterdir():
        if int(task.name) != threading.get_native_id():
            status = (task / "status").read_text()
            count += int(status.partition("\nvoluntary_ctxt_switches:")[2].split()[0])
    return count


def main() -> None:
    """Serve a Flask application whose records go to the Event Hub and the file."""
    with tempfile.TemporaryDirectory() as folder:
        logs = HublogLogs("hub_file", Path(folder))
        serve = flask(logs)
        visits = environs(1)
        serve(islice(visits, 50))
        logs.flush()
        time.sleep(1)

        def measure(turn: dict[str, Any]) -> Figures:
            idle_s, busy_s = turn["idle_s"], turn["busy_s"]
            cpu, woken = time.process_time(), wakeups()
            time.sleep(idle_s)
            idle = {
                "idle_cpu_us_per_s": (time.process_time() - cpu) / idle_s * 1e6,
                "idle_wakeups_per_s": (wakeups() - woken) / idle_s,
            }
            used = threads_cpu_s()
            for _ in range(busy_s):
                serve(islice(visits, 1))
                time.sleep(1)
            logs.flush()
            return {**idle, "threads_at_one_request_percent": (threads_cpu_s() - used) / busy_s * 100}

        serve_turns(measure)


if __name__ == "__main__":
    main()
