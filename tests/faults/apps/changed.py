"""Logs, has other settings handed over, and logs on: ``changed COUNT NAME=VALUE ...``.

``flush()`` is asked for when all is logged and once more when that is told on standard input; what it returns
is printed, with the books.
"""

import logging
import os
import sys

import probe

import hublog
from hublog.runtime.registry import use_lookup

count, changes = int(sys.argv[1]), dict(argument.split("=", 1) for argument in sys.argv[2:])
name = os.environ.get("FAULTS_NAME", f"changed-{os.getpid()}")
logging.getLogger("faults").addHandler(hublog.EventHubHandler())


def show(limit_s: float) -> None:
    """Print what ``flush`` returns, and whether the books balance."""
    is_flushed = hublog.flush(limit_s)
    stats = hublog.stats()
    left = stats.accepted_total + stats.recovered_total - stats.sent_total - stats.dropped_total - stats.held
    print(f"flush {is_flushed}, {stats.held} held, {left} unaccounted", flush=True)


for number in range(count):
    probe.write(f"{name}-early-{number}@{os.environ['EVENTHUB_LOGS_NAME']}")
use_lookup(changes.get, framework="flask")
hub = changes.get("EVENTHUB_LOGS_NAME", os.environ["EVENTHUB_LOGS_NAME"])
for number in range(count):
    probe.write(f"{name}-late-{number}@{hub}")
show(float(os.environ.get("FAULTS_FLUSH_S", "0.1")))
print("all logged", flush=True)
sys.stdin.readline()
show(30.0)
