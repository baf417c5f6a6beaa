"""Programs that log odd records: ``odd CASE``."""

import decimal
import gc
import itertools
import logging
import math
import signal
import sys
import time

import probe

CASES = {}
NEIGHBOUR = "kept"


def case(function):
    """Register a program."""
    CASES[function.__name__] = function
    return function


def deep(levels):
    """Return a list in a list in a list."""
    found = []
    for _ in range(levels):
        found = [found]
    return found


def values():
    """Return odd values by name."""
    recursive = {"name": "recursive"}
    recursive["self"] = recursive
    return {
        "nan": math.nan,
        "infinity": -math.inf,
        "bytes": b"\xff\x00\xfe",
        "set": {1, 2},
        "recursive": recursive,
        "deep": deep(100_000),
        "surrogate": "a\ud800b",
        "long": 10**5_000,
        "nul": "a\x00b",
        "keys": {1: "one", (2, 3): "tuple", None: "none", "1": "text"},
        "signalling": decimal.Decimal("sNaN"),
        "type": object,
        "complex": 1j,
    }


@case
def strange():
    """R1: each odd value in the message, in its arguments and in extra."""
    for name, value in values().items():
        text = value if isinstance(value, str) else f"value of {name}"
        attempts = (
            (f"msg-{name}", text if name in ("surrogate", "nul") else value, (), {}),
            (f"args-{name}", "value %s", (value,), {}),
            (f"extra-{name}", f"see {name}", (), {"odd": value}),
        )
        for id_, message, arguments, extra in attempts:
            probe.log.info(message, *arguments, extra={probe.ID: id_, "neighbour": NEIGHBOUR, **extra})
            probe.note(id_)


class Hostile:
    """Does something in each of its conversions."""

    def __init__(self, act):
        self.act = act

    def __str__(self):
        self.act()
        return "converted"

    __repr__ = __format__ = __str__

    def items(self):
        """Look like a mapping."""
        self.act()
        return []


def fail(error):
    """Return a function that raises."""

    def act():
        raise error

    return act


depth = 0


def log_inside():
    """Log a record whose conversion logs again."""
    global depth  # noqa: PLW0603  # counts the nesting
    if depth < 10:
        depth += 1
        probe.call(f"inside-{depth}", "inside %s", Hostile(log_inside))


@case
def hostile():
    """R2: conversions that raise, leave, log or sleep."""
    acts = {
        "error": fail(ValueError("of the application")),
        "exit": fail(SystemExit(7)),
        "logs": log_inside,
        "sleeps": lambda: time.sleep(2),
    }
    for name, act in acts.items():
        for place in ("msg", "args", "extra"):
            id_ = f"{place}-{name}"
            extra = {probe.ID: id_, "neighbour": NEIGHBOUR}
            try:
                if place == "msg":
                    probe.log.info(Hostile(act), extra=extra)
                elif place == "args":
                    probe.log.info("value %s", Hostile(act), extra=extra)
                else:
                    probe.log.info("see extra", extra={**extra, "odd": Hostile(act)})
            except (SystemExit, KeyboardInterrupt) as error:
                print(id_, "raised", type(error).__name__, flush=True)
            probe.note(id_)
    print("survived", flush=True)


@case
def large():
    """R3: a hundred records of 1 MiB, then ten of 10 MiB, their text not ASCII."""
    for number in range(100):
        probe.write(f"one-{number}", "%s", "ä" * (1 << 19), event_name=f"fault:one-{number}")
    for number in range(10):
        probe.write(f"ten-{number}", "%s", "€" * ((10 << 20) // 3), event_name=f"fault:ten-{number}")


@case
def timer():
    """R4: a signal handler logs in the middle of log calls."""
    ticks = itertools.count()
    depth = 0

    def tick(*_):
        nonlocal depth
        depth += 1
        if depth < 8:  # the next signal may come before the call returns; a busy machine must not go deeper
            signal.setitimer(signal.ITIMER_REAL, 0.0005)
        probe.write(f"signal-{next(ticks)}")
        depth -= 1
        signal.setitimer(signal.ITIMER_REAL, 0.0005)

    signal.signal(signal.SIGALRM, tick)
    signal.setitimer(signal.ITIMER_REAL, 0.0005)
    for number in range(3_000):
        probe.write(f"plain-{number}")
    signal.setitimer(signal.ITIMER_REAL, 0, 0)
    print(next(ticks), "signals", flush=True)


class Cycle:
    """Garbage that logs when it is collected."""

    made = 0

    def __init__(self):
        self.itself = self
        self.id = f"dying-{Cycle.made}"
        Cycle.made += 1

    def __del__(self):
        probe.write(self.id)


@case
def garbage():
    """R5: the collector runs at each allocation, and what it collects logs."""
    gc.set_threshold(1)
    for number in range(400):
        Cycle()
        probe.write(f"plain-{number}")
    gc.set_threshold(700)
    gc.collect()
    print(Cycle.made, "cycles", flush=True)


@case
def verbose():
    """R6: everything at DEBUG, the client's own records too, while the broker is down."""
    logging.getLogger().setLevel(logging.DEBUG)
    for name in ("azure", "azure.eventhub", "uamqp", "hublog"):
        logging.getLogger(name).setLevel(logging.DEBUG)
    for number in range(300):
        probe.write(f"plain-{number}")
        time.sleep(0.01)  # the pace of the program; nobody waits for anything
    print("logged", flush=True)


@case
def meddling():
    """R7: a filter and a formatter of the user raise or change the record."""

    class Raising(logging.Filter):
        def filter(self, record):
            if "refused" in record.getMessage():
                raise ValueError("of the filter")
            record.neighbour = NEIGHBOUR
            return True

    probe.write("before")
    handler = logging.getLogger().handlers[0]
    handler.addFilter(Raising())
    try:
        probe.call("raising", "refused")
    except ValueError:
        print("raised", flush=True)
    probe.write("after", "changed %s")


@case
def captured():
    """R8: warnings, uncaught exceptions of threads and of the program, asyncio's debug mode."""
    import asyncio
    import threading
    import warnings

    logging.captureWarnings(True)
    warnings.warn("a warning", stacklevel=1)

    def hook(args):
        probe.log.error("in a thread", exc_info=args.exc_value, extra={probe.ID: "thread"})
        probe.note("thread")

    threading.excepthook = hook
    thread = threading.Thread(target=lambda: 1 / 0)
    thread.start()
    thread.join()

    async def slow():
        time.sleep(0.2)  # noqa: ASYNC251  # asyncio shall notice
        probe.write("asyncio")

    asyncio.run(slow(), debug=True)

    def uncaught(kind, error, trace):
        probe.log.critical("uncaught", exc_info=(kind, error, trace), extra={probe.ID: "uncaught"})
        probe.note("uncaught")

    sys.excepthook = uncaught
    raise LookupError("of the application")


probe.set_up(is_alone=sys.argv[1] not in ("verbose", "captured"))
CASES[sys.argv[1]]()
