"""What hublog executes for a record, a request and a batch: ``python -m tests.instructions.counts``.

Counted are the bytecode instructions and the Python calls in files of the package, in the thread that logs.
They are the same on a busy machine; what C code does, the encoder and regular expressions, is not among them.
Each figure is the least of several: a new second, a thread to wake or a cache to fill come on top.
"""

import json
import logging
import os
import sys
import tempfile
from contextlib import contextmanager
from itertools import islice
from pathlib import Path

from benchmarks.requests.applications import APPLICATIONS
from benchmarks.requests.loggers import make_logs
from benchmarks.requests.visits import environs
from benchmarks.traffic import _Process as Process
from benchmarks.workload import read_lines

import hublog
from hublog.settings import EventHubSettings, Packing

HERE = str(Path(hublog.__file__).parent) + os.sep
WARM_UP, PASSES = 30, 8
VISITS = 10
SEED = 20_261_201


class Counter:
    """Instructions and calls of the package while it counts."""

    def __init__(self):
        self.instructions = self.calls = 0

    @contextmanager
    def counting(self):
        before = sys.gettrace()
        sys.settrace(self._called)
        try:
            yield
        finally:
            sys.settrace(before)

    def _called(self, frame, event, argument):
        if not frame.f_code.co_filename.startswith(HERE):
            return None
        self.calls += 1
        frame.f_trace = self._inside  # first: from Python 3.13 on the next line has no effect without it
        frame.f_trace_opcodes, frame.f_trace_lines = True, False
        return self._inside

    def _inside(self, frame, event, argument):
        self.instructions += event == "opcode"
        return self._inside


def least(work, *, passes=PASSES):
    """Return the least instructions and calls of this work."""
    found = []
    for _ in range(passes):
        counter = Counter()
        with counter.counting():
            work()
        found.append((counter.instructions, counter.calls))
    return min(found)


def log_call(destinations, folder, extra):
    make_logs(destinations, folder)
    hublog.setup_logging()
    logger = logging.getLogger("shop.orders")

    def work():
        logger.info("order %s shipped in %d ms", 7, 31, extra=extra)

    for _ in range(WARM_UP):
        work()
    return least(work)


def request(framework, destinations, folder):
    """Count a request: the mean of several, no two alike."""
    serve = APPLICATIONS[framework](make_logs(destinations, folder))
    visits = list(islice(environs(SEED), VISITS))
    for _ in range(WARM_UP // VISITS):
        serve(visits)
    counts = [least(lambda visit=visit: serve([visit])) for visit in visits]
    return tuple(round(sum(column) / VISITS) for column in zip(*counts, strict=True))


def batch():
    """Count what takes 100 lines from the queue, packs them and hands them to Azure's client."""
    process = Process(EventHubSettings(packing=Packing.GZIP), max_send_bytes=1 << 20)
    lines = read_lines()[:100]
    found = []
    for _ in range(PASSES):
        for line in lines:
            process._queue.put(line)
        process._now_s += 10
        found.append(least(process._step, passes=1))
    return min(found)


FIVE = {"order_id": 7, "items": 3, "amount": 12.5, "currency": "EUR", "express": True}
CASES = {
    "a log call with arguments": lambda folder: log_call("hub", folder, None),
    "a log call with 5 extras": lambda folder: log_call("hub", folder, FIVE),
    "a Flask request, all off": lambda folder: request("flask", "off", folder),
    "a Flask request, 2 records to the hub": lambda folder: request("flask", "hub", folder),
    "a Django request, all off": lambda folder: request("django", "off", folder),
    "a Django request, 2 records to the hub": lambda folder: request("django", "hub", folder),
    "a batch of 100 lines": lambda folder: batch(),
    "a record in file and console": lambda folder: log_call("file_console", folder, None),
}


def in_a_child(work, folder):
    """Run this in a fork, since what is configured stays; return what it returns."""
    reader, writer = os.pipe()
    pid = os.fork()
    if not pid:
        status = 1
        try:
            os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
            os.write(writer, json.dumps(work(folder)).encode())
            status = 0
        finally:
            if status:
                sys.excepthook(*sys.exc_info())
            os._exit(status)
    os.close(writer)
    with os.fdopen(reader, "rb") as pipe:
        result = pipe.read()
    _, status = os.waitpid(pid, 0)
    if status:
        raise SystemExit(f"a child ended with {status}")
    return json.loads(result)


def main(arguments):
    found = {}
    for name, work in CASES.items():
        with tempfile.TemporaryDirectory() as folder:
            found[name] = in_a_child(work, Path(folder))
    if arguments == ["--json"]:
        print(json.dumps(found))
        return
    for name, (instructions, calls) in found.items():
        print(f'    "{name}": ({instructions:_}, {calls}),')


if __name__ == "__main__":
    main(sys.argv[1:])
