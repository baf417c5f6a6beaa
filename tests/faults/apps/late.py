"""A program whose first records come before its threads are made greenlets: ``late gevent|eventlet``."""

import sys
import time

import probe

probe.set_up()
import hublog  # noqa: E402  # after the probe's exit hook

for number in range(5):
    probe.write(f"before-{number}")
print("logged", flush=True)
if len(sys.argv) > 2:
    sys.stdin.readline()  # until a send hangs
if sys.argv[1] == "gevent":
    from gevent import monkey, spawn

    monkey.patch_all()
else:
    import eventlet
    from eventlet import spawn

    eventlet.monkey_patch()

second = hublog.EventHubHandler(batch_size=7)
second.addFilter(probe.logging.Filter("faults"))
other = probe.logging.getLogger("faults.other")
other.propagate = False
other.addHandler(second)
gaps = []
flushed = []


def tick():
    """Measure for how long no greenlet could run."""
    while len(flushed) < 1:
        start = time.monotonic()
        time.sleep(0.01)
        gaps.append(time.monotonic() - start)


def work(name):
    """Log to both pipelines."""
    for number in range(50):
        probe.write(f"{name}-{number}")
        other.info("record", extra={probe.ID: f"other-{name}-{number}"})
        probe.note(f"other-{name}-{number}")
        time.sleep(0.005)


def flush():
    """Wait until all of it is sent."""
    for worker in workers:
        wait_for(worker)
    flushed.append(hublog.flush(60))


def wait_for(greenlet):
    """Wait for a greenlet, of either kind."""
    (greenlet.join if hasattr(greenlet, "join") else greenlet.wait)()


workers = [spawn(work, f"greenlet{number}") for number in range(4)]
everything = [spawn(tick), spawn(flush)]
for greenlet in everything:
    wait_for(greenlet)
print("flushed" if flushed == [True] else "not flushed", f"{max(gaps):.2f}", flush=True)
