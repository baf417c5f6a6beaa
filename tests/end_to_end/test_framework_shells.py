"""The shells of Django and Flask change levels of running processes; SIGHUP reads their secrets again."""

import json
import signal
import subprocess
import sys
import threading
import time

import pytest
from tests.kits.environ import inherited

LIMIT_S = 40.0
HUB = "Endpoint=sb://127.0.0.1:1;SharedAccessKeyName=n;SharedAccessKey={};UseDevelopmentEmulator=true"
SERVE = """
import logging, sys
log = logging.getLogger("shop.orders")
log.info("started")
print("ready", flush=True)
for line in sys.stdin:
    log.debug("detail")
    print("logged", flush=True)
"""
FLASK = """
from flask import Flask
from hublog.flask import HubLog
app = Flask("shop")
app.config.update(LOG_DIR="logs", EVENTHUB_LOG_SPOOL_DIR="spool", FILE_LOG_LEVEL="INFO", LOG_LEVEL="INFO")
HubLog(app)
"""
DJANGO = """
import hublog.django
INSTALLED_APPS = ["hublog.django"]
SECRET_KEY = "x"
LOG_DIR, EVENTHUB_LOG_SPOOL_DIR, FILE_LOG_LEVEL, LOG_LEVEL = "logs", "spool", "INFO", "INFO"
LOGGING = hublog.django.logging_config()
"""
SHELLS = {
    "flask": ("shop.py", FLASK, "import shop\n", ("-m", "flask", "--app", "shop", "hublog")),
    "django": (
        "shop_settings.py",
        DJANGO,
        "import django\ndjango.setup()\n",
        ("-m", "django", "hublog"),
    ),
}


class Application:
    """A running process of a framework, and the shell of the same application."""

    def __init__(self, folder, kind):
        name, source, begin, self._shell = SHELLS[kind]
        self.folder, self.secret = folder, folder / "secret"
        self.secret.write_text(HUB.format("b2xkLWtleQ=="))
        (folder / name).write_text(source)
        (folder / "serve.py").write_text(begin + SERVE)
        self.environ = {
            **inherited("EVENTHUB", "LOG", "FILE", "COVERAGE", "DJANGO"),
            "EVENTHUB_NAMESPACE_CONNECTION_STRING_FILE": str(self.secret),
            "EVENTHUB_LOG_EXIT_TIMEOUT": "0.5",
            "LOG_RELOAD_ON_SIGHUP": "true",
            "DJANGO_SETTINGS_MODULE": "shop_settings",
            "PYTHONPATH": str(folder),
        }
        self.process = subprocess.Popen(
            [sys.executable, "serve.py"],
            cwd=folder,
            env=self.environ,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self.read_until("ready")

    def read_until(self, word):
        for line in self.process.stdout:
            if line.strip() == word:
                return
        raise AssertionError(f"it ended before it said {word!r}")

    def shell(self, *arguments):
        """Run a command of hublog in the shell of the application."""
        return subprocess.run(
            [sys.executable, *self._shell, *arguments],
            cwd=self.folder,
            env=self.environ,
            capture_output=True,
            text=True,
            timeout=LIMIT_S,
            check=False,
        )

    def details(self):
        """Have it log a DEBUG record; returns how many have reached the log file."""
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        self.read_until("logged")
        return sum(message == "detail" for message in self.messages())

    def messages(self):
        lines = (self.folder / "logs" / "application.log").read_text().splitlines()
        return [json.loads(line)["message"] for line in lines]


def until(found, what):
    never, end = threading.Event(), time.monotonic() + LIMIT_S
    while not found():
        assert time.monotonic() < end, what
        never.wait(0.05)


@pytest.fixture(params=sorted(SHELLS))
def application(request, tmp_path):
    made = Application(tmp_path, request.param)
    yield made
    made.process.kill()
    made.process.communicate()


def test_the_shell_of_the_framework_changes_a_level_of_a_running_process(application):
    assert application.details() == 0
    ordered = application.shell("level", "shop.orders=DEBUG", "--for", "1h")
    assert ordered.returncode == 0, ordered.stderr
    assert "running processes follow within seven seconds" in ordered.stderr
    until(lambda: application.details() > 0, "it follows the order")
    assert "shop.orders DEBUG" in application.shell("level").stdout
    assert application.shell("level", "--clear").returncode == 0
    until(lambda: any("is again" in each for each in application.messages()), "it takes the order back")


def test_a_hang_up_has_the_framework_read_its_secret_again(application):
    application.secret.write_text(HUB.format("bmV3LWtleQ=="))
    application.process.send_signal(signal.SIGHUP)
    said = "The settings were read again at SIGHUP; changed: EVENTHUB_NAMESPACE_CONNECTION_STRING."
    until(lambda: said in application.messages(), said)
    assert application.details() == 0
