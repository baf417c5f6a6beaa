"""The example shops under real servers keep serving while the hub is killed, and deliver when it is back."""

import json
import os
import re
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent
HUB = (sys.executable, "-m", "hublog", "local")
SHOPS = {
    "flask": ("example_flask", (sys.executable, "-m", "flask", "--app", "shop", "init-db")),
    "django": ("example_django", (sys.executable, "manage.py", "migrate")),
}
SERVERS = {
    "gunicorn": (sys.executable, "-m", "gunicorn", "--bind", "127.0.0.1:0", "--workers", "2"),
    "uvicorn": (
        sys.executable,
        "-m",
        "uvicorn",
        "--host",
        "127.0.0.1",
        "--port",
        "0",
        "shopsite.asgi:application",
    ),
}
LIMIT_S = 40


def until(is_true, what):
    """Ask again and again until it is true; the limit fails the test."""
    end = time.monotonic() + LIMIT_S
    while not (found := is_true()):
        assert time.monotonic() < end, what
        time.sleep(0.05)
    return found


class Town:
    """A hub and a shop as processes of their own."""

    def __init__(self, folder):
        self.folder = folder
        self.data = folder / "hub"
        self.log = folder / "server.log"
        self.running = []

    def start(self, command, *, cwd, **environment):
        with self.log.open("ab") as log:
            process = subprocess.Popen(
                command,
                cwd=cwd,
                env={**os.environ, **environment},
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        self.running.append(process)
        return process

    def start_hub(self, port=0):
        ready = self.folder / "ready"
        ready.unlink(missing_ok=True)
        options = ("--port", str(port), "--data", str(self.data), "--ready-file", str(ready))
        process = self.start((*HUB, *options), cwd=self.folder)
        return process, until(lambda: ready.exists() and ready.read_text().strip(), "the hub is ready")

    def port(self):
        found = re.search(r"http://127\.0\.0\.1:(\d+)", self.log.read_text())
        return int(found.group(1)) if found else 0

    def messages(self):
        rows = []
        for path in self.data.glob("PipelineLogs*.jsonl"):
            rows += [json.loads(line) for line in path.read_text().splitlines() if line.endswith("}")]
        return {row["request_id"] for row in rows if row.get("request_id")}

    def stop(self):
        for process in self.running:
            if process.poll() is None:
                os.killpg(process.pid, 9)
            process.wait()


@pytest.fixture
def town(tmp_path):
    found = Town(tmp_path)
    yield found
    found.stop()


def ask(port, path, name):
    request = urllib.request.Request(f"http://127.0.0.1:{port}{path}", headers={"X-Request-ID": name})
    try:
        with urllib.request.urlopen(request, timeout=20) as answer:
            return answer.status
    except urllib.error.HTTPError as error:
        return error.code
    except OSError:
        return 0


@pytest.mark.parametrize(
    ("shop", "server"),
    [("flask", "gunicorn"), ("django", "gunicorn"), ("django", "uvicorn")],
    ids=["flask-gunicorn", "django-gunicorn", "django-uvicorn"],
)
def test_a_shop_serves_while_the_hub_is_killed_and_delivers_when_it_is_back(town, shop, server):
    folder, prepare = SHOPS[shop]
    hub, connection = town.start_hub()
    environment = {
        "EVENTHUB_NAMESPACE_CONNECTION_STRING": connection,
        "EVENTHUB_LOG_CIRCUIT_COOLDOWN": "1",
        "EVENTHUB_LOG_BATCH_TIMEOUT": "0.2",
        "EVENTHUB_LOG_HEARTBEAT_SECONDS": "0",
        "LOG_DIR": str(town.folder / "logs"),
        "SHOP_DATABASE": str(town.folder / "shop.sqlite3"),
        "FLASK_DATABASE_URL": f"sqlite:///{town.folder / 'shop.sqlite3'}",
        "PYTHONUNBUFFERED": "1",
    }
    subprocess.run(
        prepare, cwd=ROOT / folder, env={**os.environ, **environment}, check=True, capture_output=True
    )
    town.start(SERVERS[server], cwd=ROOT / folder, **environment)
    port = until(town.port, "the server names its port")
    until(lambda: ask(port, "/nowhere", "first"), "the server answers")
    until(lambda: "first" in town.messages(), "a record arrives")

    hub.kill()
    hub.wait()
    away = [f"away-{number}" for number in range(20)]
    assert {ask(port, "/nowhere", name) for name in away} == {404}

    town.start_hub(int(re.search(r":(\d+);", connection).group(1)))
    assert ask(port, "/nowhere", "after") == 404
    until(
        lambda: {"after", *away} <= town.messages(), "what was logged meanwhile arrives, and what comes after"
    )


@pytest.mark.parametrize("shop", SHOPS)
def test_one_variable_rolls_the_event_hub_back_and_what_waits_on_disk_is_sent_once_it_is_on_again(town, shop):
    folder, prepare = SHOPS[shop]
    hub, connection = town.start_hub()
    hub.kill()
    hub.wait()
    environment = {
        "EVENTHUB_NAMESPACE_CONNECTION_STRING": connection,
        "EVENTHUB_LOG_SPOOL": "always",
        "EVENTHUB_LOG_EXIT_TIMEOUT": "1",
        "EVENTHUB_LOG_HEARTBEAT_SECONDS": "0",
        "LOG_DIR": str(town.folder / "logs"),
        "SHOP_DATABASE": str(town.folder / "shop.sqlite3"),
        "FLASK_DATABASE_URL": f"sqlite:///{town.folder / 'shop.sqlite3'}",
        "PYTHONUNBUFFERED": "1",
    }
    subprocess.run(
        prepare, cwd=ROOT / folder, env={**os.environ, **environment}, check=True, capture_output=True
    )

    def serve(names, **changes):
        """Serve these requests with a real gunicorn, and stop it as a deployment does."""
        town.log.unlink()
        server = town.start(SERVERS["gunicorn"], cwd=ROOT / folder, **environment, **changes)
        port = until(town.port, "the server names its port")
        until(lambda: ask(port, "/nowhere", names[0]), "the server answers")
        assert {ask(port, "/nowhere", name) for name in names[1:]} == {404}
        return server

    def stop(server):
        server.terminate()
        assert server.wait(LIMIT_S) == 0

    before, off, after = ([f"{part}-{number}" for number in range(5)] for part in ("before", "off", "after"))
    stop(serve(before))
    town.start_hub(int(re.search(r":(\d+);", connection).group(1)))
    stop(serve(off, EVENTHUB_LOGGING_ENABLED="false"))
    assert town.messages() == set(), "nothing is sent while it is off"
    logged = (town.folder / "logs" / "application.log").read_text()
    assert all(f'"{name}"' in logged for name in before + off), "the file goes on"
    stop(serve(after))
    until(lambda: {*before, *after} <= town.messages(), "what waited arrives, and what is new")
    assert not town.messages() & {*off}
