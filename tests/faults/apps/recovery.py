"""A backlog, then records of now: ``recovery COUNT BYTES``, a line on standard input, and 30 errors at 10/s.

Another line ends it, after a flush.
"""

import logging
import os
import sys
import threading

import probe

probe.set_up()
count, size = int(sys.argv[1]), int(sys.argv[2])
for number in range(count):
    probe.write(f"old-{number}", "record %s", "x" * size)
print("all logged", flush=True)
sys.stdin.readline()
for number in range(30):
    probe.write(f"new-{number}", level=logging.ERROR)
    threading.Event().wait(0.1)  # the pace of the program; nobody waits for anything
print("new logged", flush=True)
sys.stdin.readline()
if os.environ.get("FAULTS_FLUSH_S"):
    import hublog

    hublog.flush(float(os.environ["FAULTS_FLUSH_S"]))
