"""A Celery app over the file system: each task logs five records with ids before it returns."""

import importlib
import importlib.util
import os

import probe  # before hublog: its exit hook must run last
from celery import Celery, signals

app = Celery("tasks")
queue = probe.FOLDER / "queue"
queue.mkdir(exist_ok=True)
app.conf.update(
    broker_url="filesystem://",
    broker_transport_options={
        "data_folder_in": str(queue),
        "data_folder_out": str(queue),
        "polling_interval": 0.05,
    },
    worker_prefetch_multiplier=1,
    task_ignore_result=True,
)


@signals.setup_logging.connect
def set_up(**_):
    """Take logging out of Celery's hands."""
    probe.set_up()
    if importlib.util.find_spec("hublog.celery"):
        importlib.import_module("hublog.celery")  # children of the pool run no other exit hook


@signals.worker_ready.connect
def send_tasks(**_):
    """Fill the queue once somebody works on it."""
    for number in range(int(os.environ.get("FAULTS_TASKS", "0"))):
        work.delay(f"task{number}")


@app.task
def work(name):
    """Log, and note each record."""
    for number in range(5):
        probe.write(f"{name}.{number}-{os.getpid()}", "record %d of %s", number, name)
