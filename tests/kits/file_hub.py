"""A hub in a file, for programs that are ended in one way or another; and what a test reads of it.

A program imports this as ``file_hub``, logs through ``log``, and says what it waits for by ``say``.
"""

import json
import logging
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

from hublog.handler import EventHubHandler
from hublog.runtime.registry import get_pipeline
from hublog.settings import EventHubSettings, Settings, SpoolMode

HERE = Path(__file__).parent
LIMIT_S = 30.0
log = logging.getLogger("shop")


class FileHub:
    """Appends what it is sent to a file, or hangs."""

    max_send_bytes = 1 << 20

    def __init__(self, settings):
        self._is_hanging = "HUB_HANGS" in os.environ

    def open(self):
        pass

    def send(self, bodies, properties):
        if self._is_hanging:
            threading.Event().wait(60)
        with Path("arrived").open("ab") as file:
            file.writelines(body.rstrip(b"\n") + b"\n" for body in bodies)
        return len(bodies)

    def cut(self):
        pass

    def close(self):
        pass


def set_up(*, linger_s=30.0, logger=log):
    """Log into the file, by the environment's mode and exit budget."""
    hub = EventHubSettings(
        fully_qualified_namespace="shop.servicebus.windows.net",
        spool=SpoolMode(os.environ.get("HUB_MODE", "overflow")),
        spool_dir=Path("spool").absolute(),
        exit_timeout_seconds=float(os.environ.get("HUB_EXIT_S", "5")),
        batch_timeout_seconds=linger_s,
    )
    settings = Settings(eventhub=hub)
    get_pipeline(settings, make_sender=FileHub)
    logger.setLevel(logging.INFO)
    logger.addHandler(EventHubHandler(settings=settings))


def say(word):
    """Tell the test."""
    Path(word).touch()


class Program:
    """A process in a folder of its own, ended with the test.

    Args:
        folder: where it runs.
        command: what follows the interpreter.
        environ: in addition.
    """

    def __init__(self, folder, *command, **environ):
        self.folder = folder
        self._begin_mono = 0.0
        self.output = folder / "output"
        # Without coverage: a child forked amid threads waits for the lock of its collector for ever.
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("COVERAGE")}
        path = os.pathsep.join([str(HERE), str(folder)])
        with self.output.open("ab") as output:
            self.process = subprocess.Popen(
                [sys.executable, *command],
                cwd=folder,
                env={**inherited, "PYTHONPATH": path, "PYTHONUNBUFFERED": "1", **environ},
                stdout=output,
                stderr=output,
            )

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self.process.kill()
        self.process.wait(LIMIT_S)

    def wait_for(self, word, times=1):
        """Wait until the program has said a word, or printed it so many times."""
        never, end = threading.Event(), time.monotonic() + LIMIT_S
        while not (self.folder / word).exists() and self.text().count(word) < times:
            assert self.process.poll() is None, self.text()
            assert time.monotonic() < end, self.text()
            never.wait(0.02)

    def end(self, *numbers):
        """Send signals and wait for the end; returns the exit status and the seconds that it took."""
        begin = time.monotonic()
        for number in numbers:
            self.process.send_signal(number)
        return self.process.wait(LIMIT_S), time.monotonic() - begin

    def text(self):
        """Return what it has printed."""
        return self.output.read_text()

    def arrived(self):
        """Return the messages in the hub, in order."""
        path = self.folder / "arrived"
        return (
            [json.loads(line)["message"] for line in path.read_text().splitlines()] if path.exists() else []
        )

    def on_disk(self):
        """Return the messages that wait in the spool, in any order."""
        from tests.faults.segments import unsettled

        return [row["message"] for row in unsettled(self.folder / "spool")]
