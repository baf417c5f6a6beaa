"""An application whose settings change while records wait, and its event hubs."""

import json
import logging

from tests.spool.independent import lines_on_disk, names_of

from hublog.delivery.accounting import Drop
from hublog.errors import TransientSendError
from hublog.runtime.pipeline import Pipeline
from hublog.runtime.shared import runtime
from hublog.testing import MemorySender
from hublog.testing.memory_hub import lines_of

CONNECTED = "Endpoint=sb://127.0.0.1:1;SharedAccessKeyName=n;SharedAccessKey=k;UseDevelopmentEmulator=true"
LIMIT_S = 20
MODES = ("memory", "overflow", "always")


class Hub(MemorySender):
    """An event hub that is unavailable until it is healed."""

    def __init__(self):
        super().__init__()
        self.is_away = False

    def send(self, bodies, properties):
        if self.is_away:
            raise TransientSendError("unavailable")
        return super().send(bodies, properties)


class ChangingApp:
    """An application whose framework may hand over its configuration at any moment."""

    def __init__(self, monkeypatch, tmp_path):
        self.patch = monkeypatch
        self.path = tmp_path
        self.hubs = {}
        self.wanted = []
        self.environ = {
            "EVENTHUB_NAMESPACE_CONNECTION_STRING": CONNECTED,
            "EVENTHUB_LOGS_NAME": "first",
            "EVENTHUB_LOG_BATCH_TIMEOUT": "0.02",
            "EVENTHUB_LOG_CIRCUIT_COOLDOWN": "0.1",
            "EVENTHUB_LOG_CIRCUIT_THRESHOLD": "1",
            "EVENTHUB_LOG_SPOOL_DIR": str(tmp_path / "former"),
        }
        self.pipeline = self.make()

    def make(self):
        for name, value in self.environ.items():
            self.patch.setenv(name, value)
        pipeline = Pipeline(make_sender=lambda settings: self.hub(settings.eventhub_name))
        pipeline.read()
        return pipeline

    def hub(self, name):
        return self.hubs.setdefault(name, Hub())

    def set(self, **changes):
        """Set the environment of a process that has not begun."""
        self.environ.update(changes)
        self.pipeline = self.make()

    def change(self, **changes):
        """Have the framework hand over its configuration."""
        self.patch.setattr(runtime, "lookup", changes.get)
        self.pipeline.read_again()

    def log(self, name, count=10):
        """Log records; ``wanted`` has their messages."""
        for number in range(count):
            record = logging.LogRecord("shop", logging.INFO, "", 0, f"{name}-{number}", None, None)
            self.pipeline.accept(record)
            self.wanted.append(f"{name}-{number}")

    def arrived(self, name):
        hub = self.hub(name)
        bodies = [lines_of(*event) for event in zip(hub.bodies, hub.properties, strict=False)]
        return [json.loads(line)["message"] for body in bodies for line in body.splitlines()]

    def check_accounting(self):
        stats = self.pipeline.stats()
        assert stats.accepted_total == len(self.wanted)
        assert stats.accepted_total + stats.recovered_total == (
            stats.sent_total + stats.dropped_total + stats.held
        )
        assert stats.dropped_total == 0
        return stats

    def on_disk(self, name):
        root = self.path / name
        owners = [root / each for each in names_of(root)] if root.exists() else []
        return [json.loads(line)["message"] for owner in owners for line in lines_on_disk(owner)]

    def end(self):
        for process in self.pipeline.processes():
            process.shipper.drop_held(Drop.EXIT)
            process.end()
        self.pipeline.retire()
        for process in self.pipeline.processes():
            assert process.worker.wait_until_ended(LIMIT_S)
