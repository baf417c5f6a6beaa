"""Jobs, and the worker that runs them until its queue is empty."""

import importlib
import logging
import os
import sys

import file_hub
from redis import Redis
from rq import Queue, SimpleWorker, Worker
from rq.worker import SpawnWorker

import hublog

log = logging.getLogger("shop.jobs")
file_hub.set_up(logger=logging.getLogger())
if os.environ.get("WITHOUT") != "hublog.rq":
    importlib.import_module("hublog.rq")


def work(name):
    for number in range(10):
        log.info("%s %d", name, number)
    hublog.bind(left_behind=name)


def fail():
    raise LookupError("gone")


def leave():
    log.info("it leaves")
    hublog.flush()
    os._exit(3)


if __name__ == "__main__":
    sys.modules["jobs"] = sys.modules["__main__"]
    kind = {"fork": Worker, "spawn": SpawnWorker, "simple": SimpleWorker}[os.environ["KIND"]]
    connection = Redis(port=int(os.environ["REDIS_PORT"]))
    # The server of the test does not answer it in the form that the client reads.
    connection.set_response_callback("CLIENT INFO", lambda *_, **__: {"addr": "127.0.0.1:0"})
    kind([Queue("orders", connection=connection)], connection=connection).work(
        burst=True, logging_level="INFO"
    )
