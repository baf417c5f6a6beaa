"""Programs that set logging up again and again: ``reconfigure CASE``."""

import json
import logging.config
import sys
import threading
import time
from pathlib import Path

import probe

CONFIG = {
    "version": 1,
    "disable_existing_loggers": False,
    "handlers": {"hub": {"class": "hublog.EventHubHandler", "level": "INFO"}},
    "root": {"handlers": ["hub"], "level": "INFO"},
}


def count():
    """Return how many threads, descriptors and spool directories there are."""
    spool = Path(sys.argv[2])
    return {
        "threads": threading.active_count(),
        "files": len(list(Path("/proc/self/fd").iterdir())),
        "directories": len(list(spool.iterdir())) if spool.exists() else 0,
    }


def twice():
    """X7: a thousand records wait, other threads log, and the configuration is read twice more."""
    logging.config.dictConfig(CONFIG)
    for number in range(1_000):
        probe.write(f"queued-{number}")
    stop = threading.Event()

    logged = threading.Semaphore(0)

    def steady():
        number = 0
        while not stop.is_set() and number < 3_000:
            probe.write(f"steady-{number}")
            logged.release()
            number += 1

    thread = threading.Thread(target=steady)
    thread.start()
    seconds = []
    for number in range(2):
        for _ in range(200):
            logged.acquire()
        start = time.perf_counter()
        logging.config.dictConfig(CONFIG)
        seconds.append(time.perf_counter() - start)
        probe.write(f"after-{number}")
    stop.set()
    thread.join()
    print(json.dumps({"seconds": seconds}), flush=True)


def often():
    """X8: a handler is removed and made again a thousand times, with a record each time."""
    logging.config.dictConfig(CONFIG)
    probe.write("first")
    import hublog

    hublog.flush(10)
    before = count()
    for number in range(1_000):
        logging.config.dictConfig(CONFIG)
        probe.write(f"again-{number}")
    hublog.flush(10)
    print(json.dumps({"before": before, "after": count()}), flush=True)


{"twice": twice, "often": often}[sys.argv[1]]()
