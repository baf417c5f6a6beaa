import signal
import subprocess
import sys

import pytest
from tests.kits.file_hub import Program

pytest.importorskip("celery")

TASKS = """
import os
from pathlib import Path
import file_hub
from celery import Celery, signals
{imports}

queue = Path("queue").absolute()
queue.mkdir(exist_ok=True)
app = Celery("tasks")
app.conf.update(
    broker_url="filesystem://",
    broker_transport_options={{
        "data_folder_in": str(queue), "data_folder_out": str(queue), "polling_interval": 0.05
    }},
    worker_prefetch_multiplier=1,
    task_ignore_result=True,
)

@signals.setup_logging.connect
def set_up(**_):
    file_hub.set_up()

@signals.worker_ready.connect
def send(**_):
    for number in range(10):
        work.delay(number)

@app.task
def work(number):
    file_hub.log.info("task %d", number)
    journal = os.open("journal", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.write(journal, b"%d\\n" % number)
    os.close(journal)
    if Path("journal").read_bytes().count(b"\\n") == 10:
        file_hub.say("all done")
"""
WORKER = ("-m", "celery", "--app", "tasks", "--quiet", "worker", "--without-gossip", "--without-mingle")
DONE = sorted(f"task {number}" for number in range(10))


def work(folder, *options, imports="import hublog.celery", **environ):
    """Let a worker do ten tasks, then stop it; returns the messages in the hub and those on disk."""
    (folder / "tasks.py").write_text(TASKS.format(imports=imports))
    with Program(folder, *WORKER, "--without-heartbeat", "--concurrency", "2", *options, **environ) as worker:
        worker.wait_for("all done")
        worker.end(signal.SIGTERM)
    return sorted(worker.arrived()), sorted(worker.on_disk())


def test_children_of_the_pool_deliver_before_they_leave_or_are_replaced(tmp_path):
    options = ("--pool", "prefork", "--max-tasks-per-child", "3")
    assert work(tmp_path, *options, HUB_MODE="memory") == (DONE, [])


def test_without_it_they_lose_what_waits_in_memory(tmp_path):
    """If this fails, Celery's children run exit hooks, and the module is not needed any more."""
    arrived, on_disk = work(tmp_path, "--pool", "prefork", imports="")
    assert len(arrived) + len(on_disk) < len(DONE)


def test_a_missing_celery_is_reported_with_the_name_of_the_extra():
    code = "import sys; sys.modules['celery'] = None; import hublog.celery"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.stderr.strip().splitlines()[-1] == (
        "ImportError: hublog.celery needs Celery: pip install 'hublog[celery]'."
    )


def test_it_is_connected_once_however_often_it_is_imported():
    code = """
import importlib, sys
import hublog.celery
importlib.reload(hublog.celery)
from celery.signals import worker_process_shutdown
print(len(worker_process_shutdown.receivers))
"""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout.strip() == "1"
