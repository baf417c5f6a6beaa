"""Programs that end in one way or another: ``exits CASE``."""

import atexit
import logging
import os
import signal
import sys
import threading

import probe

RECORDS = 500
CASES = {}


def case(function):
    """Register a program."""
    CASES[function.__name__] = function
    return function


def log(name="record", number=RECORDS):
    """Log, and tell that it is done."""
    for index in range(number):
        probe.write(f"{name}-{os.getpid()}-{index}")


def tell():
    """Tell the driver that the exit begins."""
    print("ends", flush=True)


@case
def normal():
    """X1: the end of the program."""
    probe.set_up()
    log()
    tell()


@case
def error():
    """X1: an exception that nobody catches."""
    probe.set_up()
    log()
    tell()
    raise LookupError("of the application")


@case
def sys_exit():
    """X1: an exit by the program."""
    probe.set_up()
    log()
    tell()
    sys.exit(3)


@case
def first_at_exit():
    """X2: the first record of all is logged by an exit hook."""
    probe.set_up()
    atexit.register(log, "late", 1)
    tell()


@case
def after_ours():
    """X3: a hook that was registered before the package runs after the package's own."""
    atexit.register(log, "late", 20)
    probe.set_up()
    log()
    tell()


@case
def outliving_thread():
    """X3: a thread that is no daemon outlives the main thread."""
    probe.set_up()

    def work():
        threading.main_thread().join()
        log("thread", 50)

    threading.Thread(target=work).start()
    log()
    tell()


class Dying:
    """Logs when it is taken away at teardown."""

    def __init__(self):
        self.write = probe.write

    def __del__(self):
        self.write("dying", "teardown")


@case
def finalizer():
    """X3: an object that lives to the teardown of the interpreter logs in its finalizer."""
    global dying  # noqa: PLW0603  # it must live as long as the module
    probe.set_up()
    log()
    dying = Dying()
    tell()


class Late(Dying):
    """One of many that do."""

    def __init__(self, number):
        super().__init__()
        self.number = number

    def __del__(self):
        self.write(f"dying-{self.number}", "teardown")


@case
def finalizers():
    """T6: a thousand objects log at the teardown of the interpreter."""
    global dying  # noqa: PLW0603  # they must live as long as the module
    probe.set_up()
    log()
    dying = [Late(number) for number in range(1_000)]
    tell()


@case
def late_hooks():
    """T6: a thousand records of an exit hook that runs behind the package's own."""
    atexit.register(log, "late", 1_000)
    probe.set_up()
    log()
    tell()


def wait_for_signal():
    """Log, tell, and wait in a way that a signal can end."""
    probe.set_up()
    log()
    tell()
    threading.Event().wait(60)


@case
def interrupted():
    """X4: Ctrl-C."""
    wait_for_signal()


@case
def terminated():
    """X4: SIGTERM that the program turns into an exit."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(4))
    wait_for_signal()


@case
def shutdown():
    """X6: logging is shut down in mid-program."""
    probe.set_up()
    log("first", 250)
    logging.shutdown()
    log("second", 250)
    tell()


dying = None
CASES[sys.argv[1]]()
