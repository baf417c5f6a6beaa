"""The shops' tasks in a real worker of Celery, over a broker in the file system."""

import contextlib
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from tests.faults.children import wait_until
from tests.kits.environ import inherited

ROOT = Path(__file__).resolve().parents[2]
LIMIT_S = 60
BUY_IN_FLASK = """
from shop import create_app
client = create_app().test_client()
assert client.post("/orders", json={"sku": "tea"}, headers={"X-Tenant": "acme"}).status_code == 201
paid = client.post("/orders/1/pay", json={"card": "4242424242424242"}, headers={"X-Tenant": "acme"})
assert paid.status_code == 200
print(paid.headers["X-Request-ID"])
"""
BUY_IN_DJANGO = """
import django
django.setup()
from django.test import Client
from orders.models import Product
Product.objects.create(sku="tea", price_cents=450, in_stock=10)
client = Client(headers={"X-Tenant": "acme", "Host": "localhost"})
body = {"content_type": "application/json"}
assert client.post("/orders/", {"sku": "tea"}, **body).status_code == 201
paid = client.post("/orders/1/pay/", {"card": "4242424242424242"}, **body)
assert paid.status_code == 200
print(paid.headers["X-Request-ID"])
"""
SHOPS = {
    "flask": ("example_flask", ("-m", "flask", "--app", "shop", "init-db"), BUY_IN_FLASK, "shop.worker"),
    "django": ("example_django", ("manage.py", "migrate", "--verbosity", "0"), BUY_IN_DJANGO, "shopsite"),
}


@pytest.fixture
def environ(tmp_path):
    """A broker in a folder, a database in a file, and logs in a file alone."""
    queue = tmp_path / "queue"
    queue.mkdir()
    transport = {
        "data_folder_in": str(queue),
        "data_folder_out": str(queue),
        "control_folder": str(queue / "control"),  # else it is made in the example itself
        "polling_interval": 0.05,
    }
    (tmp_path / "settings_with_queue.py").write_text(
        f"from shopsite.settings import *\nCELERY_BROKER_TRANSPORT_OPTIONS = {transport!r}\n"
    )
    return inherited("LOG_", "EVENTHUB_") | {
        "CELERY_BROKER_URL": "filesystem://",
        "FLASK_CELERY__broker_transport_options": json.dumps(transport),
        "PYTHONPATH": os.pathsep.join([str(tmp_path), "."]),
        "FLASK_DATABASE_URL": f"sqlite:///{tmp_path / 'shop.sqlite3'}",
        "SHOP_DATABASE": str(tmp_path / "shop.sqlite3"),
        "EVENTHUB_LOGGING_ENABLED": "false",
        "LOG_TO_STDOUT": "false",
        "LOG_DIR": str(tmp_path / "logs"),
    }


@contextlib.contextmanager
def running(command, *, cwd, environ, output):
    """Run a process beside the block; its whole group ends with it."""
    with output.open("wb") as log:
        process = subprocess.Popen(
            command, cwd=cwd, env=environ, stdout=log, stderr=log, start_new_session=True
        )
    try:
        yield process
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(LIMIT_S)
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()


@pytest.mark.parametrize("name", SHOPS)
def test_a_receipt_is_sent_by_a_worker_that_logs_with_the_fields_of_the_request(tmp_path, environ, name):
    folder, prepare, buy, worker = SHOPS[name]
    if name == "django":
        environ["DJANGO_SETTINGS_MODULE"] = "settings_with_queue"

    def run(*command):
        done = subprocess.run(
            [sys.executable, *command],
            cwd=ROOT / folder,
            env=environ,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout.split()

    def logged():
        lines = (tmp_path / "logs/application.log").read_text().splitlines(keepends=True)
        return [json.loads(line) for line in lines if line.endswith("\n")]

    def ended():
        return [row for row in logged() if row.get("record_type") == "task"]

    run(*prepare)
    (request_id,) = run("-c", buy)
    options = ("--concurrency", "1", "--without-gossip", "--without-mingle", "--without-heartbeat")
    command = (sys.executable, "-m", "celery", "--app", worker, "worker", *options)
    output = tmp_path / "worker.out"
    with running(command, cwd=ROOT / folder, environ=environ, output=output) as process:
        assert wait_until(lambda: ended() or process.poll() is not None, LIMIT_S), output.read_text()
        assert process.poll() is None, output.read_text()
    (task,) = ended()
    (sent,) = [row for row in logged() if row.get("event_name") == "receipt.sent"]
    assert task["task_name"].endswith(".tasks.send_receipt")
    for row in (sent, task):
        assert (row["task_id"], row["request_id"], row["tenant_id"]) == (task["task_id"], request_id, "acme")
    (paid,) = [row for row in logged() if row.get("event_name") == "payment.received"]
    assert paid["process_id"] != sent["process_id"]
    assert "4242424242424242" not in (tmp_path / "logs/application.log").read_text()
