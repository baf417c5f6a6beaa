"""Real processes against a local hub on a real socket."""

import gzip
import json
import subprocess
import sys
import time
from pathlib import Path

import pytest
from tests.kits.environ import inherited

from hublog_local import LocalHub

HUB = "application-logs"


class Program:
    """A Python program of its own process, with hublog's settings in its environment."""

    def __init__(self, process, started_mono):
        self.process = process
        self.started_mono = started_mono
        self.output = self.errors = ""
        self.seconds = 0.0

    def read_line(self):
        """Read a line of its output; the test's own time limit is the limit."""
        return self.process.stdout.readline().rstrip("\n")

    def write_line(self):
        """Let a program that reads a line go on."""
        self.process.stdin.write("\n")
        self.process.stdin.flush()

    def end(self, timeout=60):
        """Wait for its end; returns its exit status."""
        self.output, self.errors = self.process.communicate(timeout=timeout)
        self.seconds = time.monotonic() - self.started_mono
        return self.process.returncode


@pytest.fixture
def hub():
    with LocalHub({HUB: 2}) as found:
        yield found


@pytest.fixture
def start(tmp_path):
    """Start a program; whatever still runs at the end of the test is killed."""
    running = []

    def start_program(source, *, connection=None, **environment):
        script = tmp_path / f"program{len(running)}.py"
        script.write_text(source)
        # Without coverage: a child forked amid threads waits for the lock of its collector for ever.
        environment = {
            **inherited("EVENTHUB", "LOG", "FILE", "COVERAGE"),
            "LOG_DIR": str(tmp_path / "logs"),
            "LOG_TO_STDOUT": "false",
            "EVENTHUB_LOG_HEARTBEAT_SECONDS": "0",  # what arrives is what was logged, however long that takes
            "PYTHONUNBUFFERED": "1",
            **({"EVENTHUB_NAMESPACE_CONNECTION_STRING": connection} if connection else {}),
            **environment,
        }
        process = subprocess.Popen(
            [sys.executable, "-W", "ignore::DeprecationWarning", str(script)],
            env=environment,
            cwd=tmp_path,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        program = Program(process, time.monotonic())
        running.append(process)
        return program

    yield start_program
    for process in running:
        if process.poll() is None:
            process.kill()
            process.communicate()


@pytest.fixture
def run(start):
    """Run a program to its end."""

    def run_program(source, **environment):
        program = start(source, **environment)
        program.end()
        return program

    return run_program


def rows_of(hub):
    """Every record that arrived at the hub, read without the package's own code."""
    found = []
    for event in hub.events(HUB):
        properties = {str(name): value for name, value in event.properties.items()}
        body = gzip.decompress(event.body) if properties.get("Compression") == "gzip" else event.body
        found += [json.loads(line) for line in body.splitlines()]
    return found


def messages_of(hub):
    return [row["message"] for row in rows_of(hub)]


@pytest.fixture
def arrived():
    """Return the messages at the hub once there are so many, or what there is at the limit."""

    def wait(hub, number, timeout=30.0):
        end = time.monotonic() + timeout
        events = 0
        while len(messages_of(hub)) < number and time.monotonic() < end:
            hub.wait_for(events + 1, hub=HUB, timeout_s=0.2)
            events = len(hub.events(HUB))
        return messages_of(hub)

    return wait


@pytest.fixture
def rows():
    return rows_of


@pytest.fixture
def log_file(tmp_path):
    """The rows of the program's log file."""

    def read():
        path = Path(tmp_path) / "logs" / "application.log"
        return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []

    return read
