"""SIGHUP: the settings are read again where that is asked for, and nobody else handles the signal."""

import json
import os
import re
import signal
import subprocess
import sys
import threading
import time

import pytest
from tests.kits.environ import inherited

LIMIT_S = 40.0
PROGRAM = """
import logging, signal, sys, hublog
{before}
hublog.setup_logging("logging.yaml")
log = logging.getLogger("shop")
print("ready", flush=True)
for line in sys.stdin:
    log.debug("debug %s", line.strip())
    log.info("info %s", line.strip())
    print("logged", flush=True)
"""
YAML = """
logging:
  log_to_stdout: false
  reload_on_sighup: {on}
  log_dir: {folder}
  file_logging: {{level: {level}}}
  eventhub_logging: {{enabled: false}}
"""


def until(found, what):
    never, end = threading.Event(), time.monotonic() + LIMIT_S
    while not found():
        assert time.monotonic() < end, what
        never.wait(0.02)
    return found()


class App:
    """A process that is configured by a YAML file, and logs what it reads."""

    def __init__(self, folder, before="", on="true"):
        self.folder, self.on = folder, on
        self.write("INFO")
        (folder / "program.py").write_text(PROGRAM.format(before=before))
        self.process = subprocess.Popen(
            [sys.executable, "program.py"],
            cwd=folder,
            env=inherited("EVENTHUB", "LOG", "FILE", "COVERAGE"),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self.process.stdout.readline() == "ready\n"

    def write(self, level, folder="logs"):
        (self.folder / "logging.yaml").write_text(YAML.format(level=level, on=self.on, folder=folder))

    def hang_up(self):
        self.process.send_signal(signal.SIGHUP)

    def log(self, text):
        self.process.stdin.write(f"{text}\n")
        self.process.stdin.flush()
        assert self.process.stdout.readline() == "logged\n"

    def messages(self, folder="logs"):
        path = self.folder / folder / "application.log"
        lines = path.read_text().splitlines() if path.exists() else []
        return [json.loads(line)["message"] for line in lines]

    def wait_for(self, text, folder="logs"):
        return until(lambda: any(text in each for each in self.messages(folder)), text)


@pytest.fixture
def run(tmp_path):
    apps = []

    def start(*arguments, **options):
        apps.append(App(tmp_path, *arguments, **options))
        return apps[-1]

    yield start
    for app in apps:
        app.process.kill()
        app.process.communicate()


def test_a_level_that_was_changed_in_the_file_applies_without_a_restart(run):
    app = run()
    app.log("one")
    app.write("DEBUG")
    app.hang_up()
    app.wait_for("read again at SIGHUP; changed: FILE_LOG_LEVEL.")
    app.log("two")
    logged = [each for each in app.messages() if each.startswith(("info", "debug"))]
    assert logged == ["info one", "debug two", "info two"]


def test_the_log_file_moves_to_another_directory(run):
    app = run()
    app.log("one")
    app.write("INFO", folder="elsewhere")
    app.hang_up()
    app.wait_for("changed: LOG_DIR", folder="elsewhere")
    app.log("two")
    assert app.messages() == ["info one"]
    assert app.messages("elsewhere")[-1] == "info two"


def test_settings_that_are_invalid_change_nothing(run):
    app = run()
    app.write("LOUD")
    app.hang_up()
    app.wait_for("are not applied, since some are invalid: logging.file_logging.level is LOUD")
    app.log("one")
    assert app.messages()[-1] == "info one"


def test_it_may_come_often_and_the_process_goes_on(run):
    app = run()
    for _ in range(50):
        app.hang_up()
    app.wait_for("none has changed")
    app.log("one")
    assert "info one" in app.messages()


def test_unless_it_is_asked_for_the_signal_ends_the_process_as_ever(run):
    app = run(on="false")
    app.hang_up()
    assert app.process.wait(LIMIT_S) == -signal.SIGHUP


@pytest.mark.parametrize(
    ("before", "said"),
    [
        (
            "signal.signal(signal.SIGHUP, lambda *_: print('mine', flush=True))",
            "SIGHUP is handled already, by __main__",
        ),
        ("signal.signal(signal.SIGHUP, signal.SIG_IGN)", "SIGHUP is ignored in this process"),
        ("sys.modules['uwsgi'] = sys", "uWSGI handles SIGHUP itself"),
    ],
)
def test_a_signal_that_is_handled_or_ignored_is_left_alone(run, before, said):
    app = run(before)
    app.wait_for(f"LOG_RELOAD_ON_SIGHUP has no effect: {said}")
    if "mine" in before:
        app.hang_up()
        assert app.process.stdout.readline() == "mine\n"


def test_in_a_thread_a_warning_says_that_it_cannot_be_taken(run):
    app = run(
        "import threading\nsetup = hublog.setup_logging\ndef in_thread(path):\n"
        "    each = threading.Thread(target=setup, args=[path])\n    each.start(); each.join()\n"
        "hublog.setup_logging = in_thread"
    )
    app.wait_for("only the main thread can take a signal")


FLASK = """
from flask import Flask
from hublog.flask import HubLog

app = Flask("shop")
HubLog(app)
"""


@pytest.mark.parametrize("preload", [[], ["--preload"]])
def test_gunicorn_reloads_by_its_own_signal(tmp_path, preload):
    (tmp_path / "shop.py").write_text(FLASK)
    log = tmp_path / "server.log"
    with log.open("wb") as output:
        server = subprocess.Popen(
            [sys.executable, "-m", "gunicorn", "--bind", "127.0.0.1:0", *preload, "shop:app"],
            cwd=tmp_path,
            env={
                **inherited("EVENTHUB", "LOG", "FILE", "COVERAGE"),
                "LOG_RELOAD_ON_SIGHUP": "true",
                "EVENTHUB_LOGGING_ENABLED": "false",
            },
            stdout=output,
            stderr=output,
        )
    try:

        def booted():
            return re.findall(r"Booting worker with pid: (\d+)", log.read_text())

        until(booted, "the first worker")
        os.kill(server.pid, signal.SIGHUP)
        until(lambda: len(booted()) > 1, "the second worker")
        assert "Handling signal: hup" in log.read_text()
        assert server.poll() is None
    finally:
        server.terminate()
        server.wait(LIMIT_S)
