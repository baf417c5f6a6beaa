"""Logs each shape of input once to each destination, each time in a child of its own; run under cachegrind.

Prints one JSON object: for each case the process ids of a child that does nothing and of one that logs.
Both have executed what their parent had until then, so that the difference is the log call. valgrind writes
what each has executed to a file named after its process id.
"""

import json
import logging
import os
import sys

from tests.growth.shapes import SHAPES, STEPS, call_site

from hublog.capture import context
from hublog.capture.formatter import LineFormatter
from hublog.capture.interop import take_as_meant
from hublog.capture.stdlib_formatters import ConsoleFormatter, JsonFormatter
from hublog.line import RecordIds
from hublog.requests.asgi_requests import _request
from hublog.sampling.dedup import equality_key
from hublog.settings import RedactionSettings, RequestSettings, ServiceSettings
from hublog.testing import capture_records


def destinations():
    redaction = RedactionSettings()
    console, file = ConsoleFormatter(redaction), JsonFormatter(redaction=redaction)
    lines = LineFormatter(ServiceSettings(), ids=RecordIds(), redaction=redaction)

    def encode(record):
        equality_key(record)  # what makes one record of equal ones sees the record first
        return lines.encode(record)

    def hub(record):
        return take_as_meant(record, encode)

    return {"console": console.format, "file": file.format, "hub": hub, "testing": testing}


def testing(record):
    with capture_records() as records:
        logging.getLogger("shop").handle(record)
        return records.messages[0]


def child(work):
    pid = os.fork()
    if not pid:
        work()
        os._exit(0)
    _, status = os.waitpid(pid, 0)
    if status:
        raise SystemExit(f"a child ended with {status}")
    return pid


def main(names, sizes):
    # What is made at the first record is made before.
    for log in destinations().values():
        log(SHAPES["message"](1_024).record())
    shapes = {**SHAPES, **STEPS}
    pids = {}
    for name in names:
        for size in sizes:
            logged = shapes[name](size)
            record = logged.record()
            idle = child(lambda: None)
            for destination, log in destinations().items():

                def work(log=log, record=record, logged=logged):
                    if logged.headers:
                        _request(logged.scope(), RequestSettings(trusted_proxy_count=1))
                    context.bind(**logged.bound)
                    log(record)

                pids[f"{destination} {name} {size}"] = [idle, child(work)]
    json.dump(pids, sys.stdout)


def main_templates(records):
    """Log so many records of known templates, and of new ones, of 64 loggers each, to each destination."""
    logs = {name: log for name, log in destinations().items() if log is not testing}
    known = [call_site(number).record() for number in range(64)] * (records // 64)
    new = [call_site(64 + number).record() for number in range(len(known))]
    pids = {}
    for destination, log in logs.items():
        for record in known:
            log(record)
        idle = child(lambda: None)
        for name, made in {"known": known, "new": new}.items():

            def work(log=log, made=made):
                for record in made:
                    log(record)

            pids[f"{destination} {name} {len(made)}"] = [idle, child(work)]
    json.dump(pids, sys.stdout)


if __name__ == "__main__":
    if sys.argv[1] == "templates":
        main_templates(int(sys.argv[2]))
    else:
        main(sys.argv[1].split("|"), [int(size) for size in sys.argv[2].split(",")])
