"""Programs that fork: ``forks CASE``."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
import warnings

import probe

probe.set_up()
import hublog  # noqa: E402  # after the probe's exit hook

warnings.simplefilter("ignore")  # forks amid threads are what is tested
CASES = {}


def case(function):
    """Register a program."""
    CASES[function.__name__] = function
    return function


def fork(work, *arguments, leave=sys.exit):
    """Do something in a child; returns its process id, in the parent alone."""
    pid = os.fork()
    if pid:
        return pid
    work(*arguments)
    leave(0)
    raise AssertionError("a child goes on")


def log(name, number):
    """Log so many records under a name."""
    for index in range(number):
        probe.write(f"{name}-{index}")


def wait_for(pids):
    """Wait for children; says how each that failed has ended."""
    for pid in pids:
        status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        if status:
            print(f"child {pid} ended with {status}", flush=True)


@case
def amid_threads():
    """P1: four threads log flat out while the main thread forks."""
    log("first", 10)
    threads = [threading.Thread(target=log, args=(f"thread{number}", 2_000)) for number in range(4)]
    for thread in threads:
        thread.start()
    wait_for([fork(log, f"child{number}", 20) for number in range(30)])
    for thread in threads:
        thread.join()


@case
def early():
    """T3: forks, and calls that need the lock of all loggers, in the half second after the first record."""
    import multiprocessing
    from concurrent.futures import ProcessPoolExecutor

    longest = {"fork": 0.0, "getLogger": 0.0}

    def timed(name, do, *arguments):
        start = time.monotonic()
        found = do(*arguments)
        longest[name] = max(longest[name], time.monotonic() - start)
        return found

    def ask():
        number = 0
        while not stop.wait(0.002):
            timed("getLogger", probe.logging.getLogger, f"never asked for {number}")
            number += 1

    stop = threading.Event()
    asking = threading.Thread(target=ask)
    log("first", 1)
    asking.start()
    parent, forked, true_fork = os.getpid(), [], os.fork

    def fork_timed():
        start = time.monotonic()
        pid = true_fork()
        if os.getpid() == parent:
            longest["fork"] = max(longest["fork"], time.monotonic() - start)
            forked.append(pid)
        return pid

    os.fork = fork_timed
    wait_for([fork(log, f"child{number}", 5) for number in range(8)])
    with multiprocessing.get_context("fork").Pool(4) as pool:
        pool.map(abs, range(8))
    with ProcessPoolExecutor(4, mp_context=multiprocessing.get_context("fork")) as executor:
        list(executor.map(abs, range(8)))
    stop.set()
    asking.join()
    print(json.dumps({**longest, "forks": len(forked)}), flush=True)


@case
def os_exit():
    """P2: a child that leaves by ``os._exit``; the parent lives on until it is told."""
    log("parent", 10)
    wait_for([fork(log, "child", 50, leave=os._exit)])
    print("the child has left", flush=True)
    sys.stdin.readline()


@case
def orphaned():
    """T7: two thousand children leave by ``os._exit``, each with a spool directory of its own."""
    for number in range(0, 2_000, 20):
        wait_for([fork(log, f"orphan{number + place}", 10, leave=os._exit) for place in range(20)])
    print("all have left", flush=True)


@case
def daemon():
    """P5: a double fork, and the daemon at the end of it logs."""

    def middle():
        os.setsid()
        reading, writing = os.pipe()
        pid = fork(log, "daemon", 50)
        os.close(writing)
        os.read(reading, 1)  # comes back when the daemon is gone
        os.close(reading)
        wait_for([pid])

    log("parent", 50)
    wait_for([fork(middle)])


@case
def from_thread():
    """P5: a thread forks."""
    log("parent", 50)
    thread = threading.Thread(target=lambda: wait_for([fork(log, "child", 50, leave=leave)]))
    thread.start()
    thread.join()


def leave(_):
    """End a child that is not the main thread as an interpreter ends."""
    hublog.flush(5)
    os._exit(0)


@case
def preexec():
    """P5: a fork that only execs starts no thread and opens no file."""
    log("parent", 50)
    descriptors = probe.FOLDER / "descriptors"
    script = f"ls -l /proc/self/fd > {descriptors}"
    subprocess.run(["/bin/sh", "-c", script], preexec_fn=lambda: None, close_fds=False, check=True)  # the row


@case
def burst():
    """P6: sixty children at once."""
    log("parent", 10)
    reading, writing = os.pipe()

    def work(number):
        os.close(writing)
        os.read(reading, 1)  # all begin at once
        log(f"child{number}", 10)

    pids = [fork(work, number) for number in range(60)]
    os.close(writing)
    wait_for(pids)


@case
def outlived():
    """P7: a child that never logs outlives its parent."""
    log("parent", 200)
    fork(signal.pause)
    print("forked", flush=True)
    signal.pause()


@case
def while_sending():
    """P8: a child logs and leaves while the parent is connected and sends."""
    log("parent", 10)
    print(hublog.flush(10), flush=True)
    stop = threading.Event()

    def send():
        number = 0
        while not stop.wait(0.001):
            probe.write(f"steady-{number}")
            number += 1

    thread = threading.Thread(target=send)
    thread.start()
    wait_for([fork(log, f"child{number}", 20) for number in range(5)])
    log("after", 10)
    stop.set()
    thread.join()


@case
def many_threads():
    """P9: ten thousand threads, each with a context value of its own."""
    threading.stack_size(65_536)
    begin = threading.Event()

    def work(number):
        begin.wait()
        hublog.bind(tenant_id=f"tenant-{number}")  # in the thread's own context
        probe.write(f"thread-{number}")

    threads = []
    with contextlib.suppress(RuntimeError):  # the machine has no more; those that run are enough to tell
        for number in range(10_000):
            thread = threading.Thread(target=work, args=(number,))
            thread.start()
            threads.append(thread)
    begin.set()
    for thread in threads:
        thread.join()
    print(len(threads), "threads", flush=True)


@case
def no_threads():
    """P10: no thread can be started until later: none has so much room for its stack."""
    threading.stack_size(1 << 46)
    with contextlib.suppress(RuntimeError):
        threading.Thread(target=int).start()
        print("a thread could be started", flush=True)
    log("without", 200)
    print("logged", flush=True)
    sys.stdin.readline()
    threading.stack_size(0)
    log("with", 1)


@case
def free_threads():
    """P11: eight threads log as fast as they can."""
    threads = [threading.Thread(target=log, args=(f"thread{number}", 50_000)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


CASES[sys.argv[1]]()
