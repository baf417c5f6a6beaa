"""Real workers of RQ against a Redis server: what jobs log arrives, with the fields of who enqueued them."""

import json
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from tests.kits.file_hub import Program

from hublog.capture import context

pytest.importorskip("rq")
fakeredis = pytest.importorskip("fakeredis")

from redis import Redis  # noqa: E402
from rq import Queue, Retry  # noqa: E402

import hublog.rq  # noqa: E402, F401

HERE = Path(__file__).parent
TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
FIELDS = {"trace_id": TRACE, "span_id": SPAN, "request_id": "req-1", "tenant_id": "acme", "http_path": "/a"}
CALLER = {"trace_id": TRACE, "request_id": "req-1", "tenant_id": "acme", "parent_span_id": SPAN}
KINDS = ["fork", "spawn", "simple"]


@pytest.fixture
def server():
    made = fakeredis.TcpFakeServer(("127.0.0.1", 0), server_type="redis")
    made.daemon_threads = True
    thread = threading.Thread(target=made.serve_forever, daemon=True)
    thread.start()
    yield made.server_address[1]
    made.shutdown()
    made.server_close()
    thread.join(10)


def run(folder, port, kind, enqueue, **environ):
    """Enqueue jobs in a request, let a worker do them, and return the rows and what it printed."""
    (folder / "jobs.py").write_text((HERE / "jobs.py").read_text())
    with Redis(port=port) as connection:
        token = context.enter(FIELDS)
        enqueue(Queue("orders", connection=connection))
        context.leave(token)
    environ = {"KIND": kind, "REDIS_PORT": str(port), **environ}
    with Program(folder, "-W", "ignore", "jobs.py", **environ) as worker:
        assert worker.process.wait(60) == 0, worker.text()
        text = worker.text()
    path = folder / "arrived"
    rows = [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
    return rows, text


def of(rows, message):
    [row] = [row for row in rows if row["message"] == message]
    return row


def ends(rows, name):
    return [row for row in rows if row["logger_name"] == "hublog.task" and row["task_name"] == f"jobs.{name}"]


@pytest.mark.parametrize("kind", KINDS)
def test_all_that_a_job_logs_arrives_with_the_fields_of_its_request(tmp_path, server, kind):
    def enqueue(queue):
        queue.enqueue("jobs.work", "first")
        queue.enqueue("jobs.work", "second")
        queue.enqueue("jobs.fail")

    rows, text = run(tmp_path, server, kind, enqueue)
    for name in ("first", "second"):
        for number in range(10):
            row = of(rows, f"{name} {number}")
            assert "http_path" not in row
            if kind == "spawn":
                continue
            assert {key: row[key] for key in CALLER} == CALLER
            assert (row["task_name"], row["task_queue"]) == ("jobs.work", "orders")
            assert "left_behind" not in row.get("extra", {})
    if kind != "spawn":
        assert [row["event_name"] for row in ends(rows, "work")] == ["task.succeeded"] * 2
        assert [(row["event_name"], row["level"]) for row in ends(rows, "fail")] == [("task.failed", "ERROR")]
        [error] = [row for row in rows if "LookupError: gone" in row["message"]]
        assert error["request_id"] == "req-1"
    assert "import hublog.rq" not in text
    assert not list((tmp_path / "spool").glob("*/*.seg"))


def test_a_job_that_is_tried_again_says_so(tmp_path, server):
    rows, _ = run(tmp_path, server, "fork", lambda queue: queue.enqueue("jobs.fail", retry=Retry(max=1)))
    assert [row["event_name"] for row in ends(rows, "fail")] == ["task.retried", "task.failed"]
    assert {row["request_id"] for row in ends(rows, "fail")} == {"req-1"}


def test_a_worker_without_the_import_says_what_is_missing(tmp_path, server):
    _, text = run(tmp_path, server, "fork", lambda queue: queue.enqueue("jobs.leave"), WITHOUT="hublog.rq")
    assert "import hublog.rq" in text


def test_a_missing_rq_is_named():
    code = "import sys; sys.modules['rq'] = None; import hublog.rq"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False
    )
    assert "ImportError: hublog.rq needs RQ: pip install rq." in done.stderr
