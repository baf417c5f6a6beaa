"""A Celery application for a real worker: once the worker is ready it sends tasks of every kind.

Nothing is connected to ``setup_logging``: that our handlers stay is part of what is tested.
"""

import logging
import os
import time
import uuid
from pathlib import Path

import file_hub
from celery import Celery, chain, chord, group, signals
from celery.backends.filesystem import FilesystemBackend
from celery.exceptions import Ignore, Reject, SoftTimeLimitExceeded
from kombu.transport import TRANSPORT_ALIASES, filesystem
from kombu.utils.encoding import ensure_bytes
from kombu.utils.json import dumps

import hublog
from hublog.capture import context


class Channel(filesystem.Channel):
    """Shows a message when all of it is written; kombu's own may be read before."""

    def _put(self, queue, payload, **_):
        path = Path(self.data_folder_out, f"{time.monotonic_ns()}_{uuid.uuid4()}.{queue}.msg")
        part = path.with_suffix(".part")
        part.write_text(dumps(payload))
        part.rename(path)


class Transport(filesystem.Transport):
    Channel = Channel


class Backend(FilesystemBackend):
    """Shows a result when all of it is written."""

    def set(self, key, value):
        path = Path(os.fsdecode(self._filename(key)))
        part = path.with_name(f"{path.name}.{uuid.uuid4()}")
        part.write_bytes(ensure_bytes(value))
        part.rename(path)


TRANSPORT_ALIASES["whole"] = "shop:Transport"
file_hub.set_up(logger=logging.getLogger())
queue = Path("queue").absolute()
results = Path("results").absolute()
for folder in (queue, results):
    folder.mkdir(exist_ok=True)
app = Celery("shop")
import hublog.celery  # noqa: E402  # as an application does

hublog.bind(of_parent=True)
log = logging.getLogger("shop.tasks")
log.info("parent")

app.conf.update(
    broker_url="whole://",
    broker_transport_options={
        "data_folder_in": str(queue),
        "data_folder_out": str(queue),
        "polling_interval": 0.05,
    },
    result_backend=f"shop:Backend+file://{results}",
    broker_connection_retry_on_startup=True,
    task_acks_late=False,
)
TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
FIELDS = {
    "trace_id": TRACE,
    "span_id": SPAN,
    "request_id": "req-1",
    "correlation_id": "corr-1",
    "tenant_id": "acme",
    "user_id": "7",
    "user_authenticated": True,
    "http_path": "/orders/",
    "basket": 3,
}
HOSTILE = [
    "text",
    7,
    ["a"],
    {"request_id": "a\r\nb", "trace_id": "x" * 32, "parent_span_id": SPAN, "user_id": 7},
    {"request_id": "a" * 129, "user_authenticated": "yes", "tenant_id": "t" * 129, "level": "CRITICAL"},
    {"request_id": {"a": {"b": []}}, "correlation_id": None, "user_id": "a\u2028b", "__class__": "x"},
]


@app.task
def work(name, *_):
    log.info("work %s", name)
    context.bind(left_behind=name)
    return name


@app.task
def outer():
    log.info("outer")
    inner.delay()
    work.apply(("eager",))
    log.info("outer again")


@app.task
def inner():
    log.info("inner")


@app.task
def fail():
    raise LookupError("gone")


@app.task(throws=(LookupError,))
def expected():
    raise LookupError("gone")


@app.task(bind=True, max_retries=2)
def flaky(self):
    log.info("try %d", self.request.retries)
    if self.request.retries < 2:
        raise self.retry(countdown=0)


@app.task
def ignored():
    raise Ignore


@app.task
def rejected():
    raise Reject("no", requeue=False)


@app.task(soft_time_limit=1)
def slow():
    import threading

    try:
        threading.Event().wait(20)
    except SoftTimeLimitExceeded:
        log.info("too slow")
        raise


def send():
    context.enter(FIELDS)
    for task in (outer, fail, expected, flaky, ignored, rejected):
        task.delay()
    if os.environ["POOL"] == "prefork":
        slow.delay()
    work.apply_async(
        ("headers",), headers={"theirs": "kept", "traceparent": f"00-{TRACE}-1111111111111111-00"}
    )
    chain(work.s("chain 1"), work.si("chain 2")).delay()
    group(work.s("group 1"), work.s("group 2")).delay()
    chord([work.s("chord 1"), work.s("chord 2")], work.si("chord end")).delay()
    context.enter({})
    work.delay("unbound")
    for number, header in enumerate(HOSTILE):
        work.apply_async((f"hostile {number}",), headers={"hublog": header, "traceparent": header})


#: outer, inner, eager, fail, expected, three tries, ignored, rejected: 10. Headers, two of a chain, two of a
#: group, three of a chord, unbound: 9.
RUNS = 10 + 9 + len(HOSTILE) + (os.environ["POOL"] == "prefork")


@signals.worker_ready.connect
def send_at_once(**_):
    send()


@signals.task_postrun.connect(weak=False)
def note(task=None, **_):
    if not task.name.startswith("shop."):
        return
    log.info("after %s", task.name)
    if task.name == "shop.work":
        theirs = (task.request.headers or {}).get("theirs")
        log.info("theirs %s", theirs)
    journal = os.open("journal", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.write(journal, b"x\n")
    os.close(journal)
    if Path("journal").read_bytes().count(b"\n") >= RUNS:
        file_hub.say("all done")
