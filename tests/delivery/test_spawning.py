import queue
import subprocess
import sys
import threading
import time

import pytest

from hublog.delivery.spawning import Spawner


def test_a_thread_has_its_name_and_does_not_keep_the_process_alive():
    seen = queue.SimpleQueue()
    thread = Spawner().make(lambda: seen.put(threading.current_thread()), name="hublog")
    thread.start()
    found = seen.get(timeout=60)
    thread.join(60)
    assert (found.name, found.daemon, thread.is_alive()) == ("hublog", True, False)


LATE = """
import sys, threading, time
from hublog.delivery.spawning import Spawner
spawner = Spawner()
jobs, seen = spawner.make_queue(), []
def work():
    jobs.get()
    later = spawner.make(lambda: seen.append(jobs.get()), name="later")
    later.start()
    jobs.put("done")
    while not seen:  # the thread of the system: nothing else runs in it
        pass
    seen.append(threading.get_native_id())
first = spawner.make(work, name="first")
first.start()
if sys.argv[1] == "gevent":
    from gevent import monkey
    monkey.patch_all()
else:
    import eventlet
    eventlet.monkey_patch()
jobs.put(None)
first.join(60)
while len(seen) < 2:
    time.sleep(0.01)
print(seen[0], seen[1] != threading.get_native_id())
"""


@pytest.mark.parametrize("kind", ["gevent", "eventlet"])
def test_what_a_thread_makes_after_a_patch_is_a_thread_too(kind):
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", LATE, kind],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.stdout == "done True\n", done.stderr
    assert "Traceback" not in done.stderr


def test_a_bare_thread_can_be_waited_for(monkeypatch):
    monkeypatch.setattr("hublog.delivery.spawning.is_patched", lambda: True)
    gate = threading.Event()
    thread = Spawner().make(gate.wait, name="bare")
    thread.start()
    thread.join(0.0)
    assert thread.is_alive()
    gate.set()
    end = time.monotonic() + 60
    while thread.is_alive() and time.monotonic() < end:
        thread.join(1.0)
    assert not thread.is_alive()
