"""Programs whose surroundings change: ``surroundings CASE``."""

import asyncio
import logging
import os
import signal
import sys
import threading
import time

import probe

CASES = {}


def case(function):
    """Register a program."""
    CASES[function.__name__] = function
    return function


def log(name, number, pause_s=0.0):
    """Log so many records under a name."""
    for index in range(number):
        probe.write(f"{name}-{index}")
        if pause_s:
            time.sleep(pause_s)


def wait_for_word(word):
    """Tell, and wait until somebody answers."""
    print(word, flush=True)
    sys.stdin.readline()


@case
def clock():
    """C1: the wall clock jumps an hour back, then two ahead, while the broker is down."""
    probe.set_up()
    true = time.time
    log("first", 100)
    time.time = lambda: true() - 3_600
    log("back", 100)
    time.time = lambda: true() + 3_600
    log("ahead", 100)
    wait_for_word("jumped")
    log("last", 100)
    import hublog

    hublog.flush(20)


@case
def event_loop():
    """C3: the loop logs, a thread of its logs, and a task that is cancelled logs."""
    probe.set_up()
    slow = []

    class Slow(logging.Handler):
        def emit(self, record):
            slow.append(record.getMessage())

    logging.getLogger("asyncio").addHandler(Slow())

    async def cancelled():
        try:
            await asyncio.sleep(60)
        finally:
            probe.write("cancelled")

    async def main():
        asyncio.get_running_loop().slow_callback_duration = 0.05
        task = asyncio.create_task(cancelled())
        for number in range(500):
            probe.write(f"loop-{number}")
            await asyncio.sleep(0)
        await asyncio.to_thread(log, "thread", 100)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    asyncio.run(main(), debug=True)
    print(f"{sum('took' in text for text in slow)} slow callbacks", flush=True)


@case
def patched_late():
    """C4: gevent or eventlet patches after the handler was made, before the first record."""
    probe.set_up()
    if sys.argv[2] == "gevent":
        from gevent import monkey

        monkey.patch_all()
        import gevent

        gevent.joinall([gevent.spawn(log, f"greenlet{number}", 200) for number in range(5)])
    else:
        import eventlet

        eventlet.monkey_patch()
        for greenlet in [eventlet.spawn(log, f"greenlet{number}", 200) for number in range(5)]:
            greenlet.wait()


@case
def descriptors():
    """C5: no file can be opened for a while."""
    probe.set_up()
    log("before", 50)
    taken = []
    try:
        while True:
            taken.append(os.open(os.devnull, os.O_RDONLY))
    except OSError:
        pass
    log("without", 200)
    print("logged", flush=True)
    sys.stdin.readline()
    for descriptor in taken:
        os.close(descriptor)
    log("after", 50)
    import hublog

    hublog.flush(20)


INSIDE = """
import sys
sys.path[:0] = {path!r}
import threading
import probe
probe.set_up()
for number in range(20):
    probe.write(f"inside-{{number}}")
print("threads inside:", sorted(thread.name for thread in threading.enumerate()), flush=True)
"""


@case
def interpreter():
    """S21: a sub-interpreter logs, and ends."""
    code = INSIDE.format(path=sys.path)
    try:
        import _interpreters as interpreters
    except ImportError:
        import _xxsubinterpreters as interpreters
    if sys.version_info >= (3, 13):
        number = interpreters.create("legacy" if sys.argv[2] == "legacy" else "isolated")
        error = interpreters.exec(number, code)
        if error is not None:
            print("failed inside:", error.formatted, flush=True)
    else:
        number = interpreters.create(isolated=sys.argv[2] != "legacy")
        interpreters.run_string(number, code)
    interpreters.destroy(number)
    print("ended inside", flush=True)


@case
def bound():
    """D10: a process whose spool is bounded, together with others."""
    probe.set_up()
    log(os.environ["FAULTS_NAME"], 8_000)
    wait_for_word("all logged")


@case
def limited():
    """D4: files may not grow beyond a limit, and the signal of it is at its default action."""
    if sys.argv[2] == "default":
        signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
    probe.set_up()
    log("limited", 8_000)
    wait_for_word("all logged")


if threading.current_thread() is threading.main_thread():
    CASES[sys.argv[1]]()
