import json
import subprocess
import sys
import threading

import pytest
from tests.kits.environ import inherited
from tests.spool.independent import lines_of

from hublog.locks import ThreadLock
from hublog.settings import SpoolMode

END_S = 30
#: Every lock that a record may need is held by a thread that ends with the interpreter, as a worker may that
#: writes to the disk just then. Objects in a module of their own outlive the exit hooks.
PROGRAM = """
import atexit, gc, logging, sys, threading, types
import hublog
from hublog.locks import ThreadLock

LOCKS = (ThreadLock, type(threading.Lock()), type(threading.RLock()))
go, is_held = threading.Event(), threading.Event()

def hold():
    go.wait()
    for each in gc.get_objects():
        if type(each).__module__.startswith("hublog.") and not isinstance(each, logging.Handler):
            for lock in getattr(each, "__dict__", {}).values():
                if isinstance(lock, LOCKS):
                    lock.acquire(timeout=0)
    is_held.set()
    threading.Event().wait()

threading.Thread(target=hold, daemon=True).start()

@atexit.register  # it runs after the hook of hublog
def hold_and_end():
    go.set()
    is_held.wait()

hublog.setup_logging(eventhub_config={
    "connection_string": "Endpoint=sb://127.0.0.1:1/;SharedAccessKeyName=a;SharedAccessKey=b;EntityPath=c"
    ";UseDevelopmentEmulator=true",
    "spool": sys.argv[1],
    "exit_timeout_seconds": 0.5,
})
log = logging.getLogger("app")
log.info("on time")

class Late:
    def __del__(self, info=log.info):
        info("late")

outliving = sys.modules["outliving"] = types.ModuleType("outliving")
outliving.late = [Late(), Late()]
del outliving
"""


@pytest.mark.parametrize("mode", SpoolMode)
def test_a_finalizer_logs_though_a_thread_ended_with_every_lock(mode, tmp_path):
    environ = {**inherited("EVENTHUB_LOG_"), "EVENTHUB_LOG_SPOOL_DIR": str(tmp_path)}
    command = [sys.executable, "-c", PROGRAM, mode.value]
    done = subprocess.run(command, env=environ, capture_output=True, text=True, timeout=END_S, check=True)
    assert done.stdout.count("late\n") == 2
    lines = [line for path in tmp_path.rglob("*.seg") for line in lines_of(path.read_bytes())]
    if mode is SpoolMode.MEMORY:
        assert "records could not be delivered before the exit and are lost" in done.stdout
    else:
        assert sorted(json.loads(line)["message"] for line in lines) == ["late", "late", "on time"]


def test_another_thread_waits_and_the_same_one_does_not():
    lock = ThreadLock()
    seen = []
    with lock, lock:
        other = threading.Thread(target=lambda: seen.append(lock.acquire(timeout=0.01)))
        other.start()
        other.join()
    assert seen == [False]
    other = threading.Thread(target=lambda: seen.append(lock.acquire(timeout=0)))
    other.start()
    other.join()
    assert seen == [False, True]


LATE = """
import os, threading
from hublog.locks import ThreadLock

lock = ThreadLock()
ends, held = os.pipe(), os.pipe()

def hold():
    with lock:
        os.write(held[1], b"1")
        os.read(ends[0], 1)
    os.write(held[1], b"2")

threading.Thread(target=hold).start()
os.read(held[0], 1)
import eventlet
eventlet.monkey_patch()
print(lock.acquire(timeout=0), end=" ")
os.write(ends[1], b"1")
os.read(held[0], 1)
print(lock.acquire(timeout=0))
"""


def test_eventlet_does_not_replace_a_lock_that_is_held():
    program = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", LATE],
        capture_output=True,
        text=True,
        timeout=END_S,
        env=inherited("COVERAGE"),
        check=False,
    )
    assert (program.stdout, "RuntimeError" in program.stderr) == ("False True\n", False), program.stderr
