"""Logs one odd record among 99 plain ones: ``large BYTES``, or ``large poison``."""

import os
import sys

import probe

probe.set_up()
for number in range(100):
    if number != 50:
        probe.write(f"plain-{number}")
    elif sys.argv[1] == "poison":
        probe.write("odd", "POI%s", "SON")
    else:
        probe.write("odd", "%s", "x" * int(sys.argv[1]), event_name="fault:odd")
print("all logged", flush=True)
sys.stdin.readline()
flush_s = float(os.environ.get("FAULTS_FLUSH_S", "0"))
if flush_s:
    import hublog

    hublog.flush(flush_s)
