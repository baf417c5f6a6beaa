"""Logs at a steady rate: ``steady COUNT RATE``; 0 is without end, or as fast as it can.

Ends when it is told so on its standard input, or by itself after COUNT records and a line.
"""

import os
import sys
import threading

import probe

probe.set_up()
count, rate = int(sys.argv[1]), float(sys.argv[2]) if len(sys.argv) > 2 else 0.0
told = threading.Event()
name = os.environ.get("FAULTS_NAME", f"steady-{os.getpid()}")


def listen():
    """Wait until somebody tells us to end, or is gone."""
    sys.stdin.readline()
    told.set()


threading.Thread(target=listen, daemon=True).start()
number = 0
go = probe.FOLDER / "go"
if os.environ.get("FAULTS_WAIT") == "yes":  # one record to begin with, the others when somebody says so
    probe.write(f"{name}-{number}")
    number += 1
    while not go.exists():
        told.wait(0.01)
while not told.is_set() and (not count or number < count):
    probe.write(f"{name}-{number}")
    number += 1
    if rate:
        told.wait(1 / rate)
print("all logged", flush=True)
told.wait()
flush_s = float(os.environ.get("FAULTS_FLUSH_S", "0"))
if flush_s:
    import hublog

    hublog.flush(flush_s)
