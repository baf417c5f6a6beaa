"""An outage of the event hub, and when each alarm fires and clears: ``python -m demo.drill``, in the root.

The alarms are those of ``observability``, asked by a real Prometheus and over the table of the local hub,
with a second for each of their minutes.
"""

import contextlib
import http.client
import json
import re
import secrets
import shutil
import socket
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from demo.interrupts import InterruptedDemoError, Interrupts
from demo.processes import DemoError, Processes
from demo.screen import Screen
from demo.stage import APPLICATIONS, ROOT, Application, Running, Stage
from hublog.errors import HublogError
from hublog_local.kql import run_kql

_PROMETHEUS: Final = ROOT / "observability" / "prometheus" / "alarms.yaml"
_TABLE: Final = ROOT / "observability" / "adx" / "alarms"
#: An outage ends when all of these have fired in Prometheus, and the drill when none fires any more.
_EXPECTED: Final = {
    "Prometheus": (
        *("HublogCircuitOpen", "HublogQueueNearlyFull", "HublogRecordsDropped", "HublogNothingSent"),
        *("HublogSpoolNearlyFull", "HublogRecordsOld", "HublogRestartsWithLoss", "HublogDeliveryLag"),
    ),
    # What cannot be sent is not in the table: the others are for what is slow or fails in one process.
    "KQL": ("HublogSilent", "HublogRecordsDropped", "HublogCircuitOpen", "HublogDeliveryLag"),
}
#: Those that can only fire when the hub takes what has waited.
_LATER: Final = {"Prometheus": {"HublogDeliveryLag"}, "KQL": set(_EXPECTED["KQL"]) - {"HublogSilent"}}
_QUIET_S: Final = 8.0
_LIMIT_S: Final = 90.0
_LOOK_S: Final = 0.5
#: Those who open the pages of one shop, and what each of them waits between two.
_VISITORS: Final = 6
_PAUSE_S: Final = 0.05
_SETTINGS: Final = {
    "EVENTHUB_LOG_HEARTBEAT_SECONDS": "1",
    "EVENTHUB_LOG_BATCH_TIMEOUT": "0.5",
    "EVENTHUB_LOG_CIRCUIT_THRESHOLD": "2",
    "EVENTHUB_LOG_CIRCUIT_COOLDOWN": "1",
    "EVENTHUB_LOG_SEND_TIMEOUT": "2",
    "EVENTHUB_LOG_QUEUE_SIZE": "200",
    "EVENTHUB_LOG_SPOOL_BYTES": "512KiB",
    "EVENTHUB_LOG_EXIT_TIMEOUT": "1",
}
#: What waits is on disk in one shop and in memory in the other.
_SHOPS: Final = {
    APPLICATIONS[0]: _SETTINGS,
    APPLICATIONS[1]: {**_SETTINGS, "EVENTHUB_LOG_SPOOL": "memory"},
}
#: Any process that may read the spool can show the metrics of the application.
_EXPORTER: Final = """
import sys, time
from pathlib import Path
from prometheus_client import start_http_server
from hublog.metrics.prometheus import register
register(spool_dir=Path(sys.argv[1]))
start_http_server(int(sys.argv[2]), addr="127.0.0.1")
print("ready")
while True:
    time.sleep(60)
"""


@dataclass(slots=True)
class Watch:
    """When each alarm of one kind fired first and cleared last, in seconds since the drill began."""

    fired: dict[str, float] = field(default_factory=dict)
    cleared: dict[str, float] = field(default_factory=dict)
    firing: set[str] = field(default_factory=set)

    def see(self, firing: set[str], now_s: float) -> None:
        """Take note of what fires now."""
        for name in firing - self.firing:
            self.fired.setdefault(name, now_s)
        for name in self.firing - firing:
            self.cleared[name] = now_s
        self.firing = firing


def scaled(text: str) -> str:
    """Return rules or a query with a second for each minute, and so for what is compared with seconds."""
    text = re.sub(r"\b(\d+)h\b", lambda found: f"{int(found[1]) * 60}s", re.sub(r"\b(\d+)m\b", r"\1s", text))
    return re.sub(
        r"(_seconds(?:_bucket\[\w+\]\)\))? > )(\d+)\b", lambda found: f"{found[1]}{int(found[2]) // 60}", text
    )


class Alarms:
    """Asks Prometheus and the table which alarms fire."""

    def __init__(self, prometheus_port: int, data: Path) -> None:
        self._url = f"http://127.0.0.1:{prometheus_port}/api/v1/alerts"
        self._data = data
        self._queries = {path.stem: scaled(path.read_text()) for path in sorted(_TABLE.glob("*.kql"))}
        self._begun = time.monotonic()
        self.watches = {"Prometheus": Watch(), "KQL": Watch()}

    @property
    def now_s(self) -> float:
        """Seconds since the drill began."""
        return time.monotonic() - self._begun

    def look(self) -> None:
        """Ask both."""
        with contextlib.suppress(OSError), urllib.request.urlopen(self._url, timeout=5) as answer:
            alerts = json.load(answer)["data"]["alerts"]
            firing = {each["labels"]["alertname"] for each in alerts if each["state"] == "firing"}
            self.watches["Prometheus"].see(firing, self.now_s)
        try:
            found = {name for name, query in self._queries.items() if run_kql(query, self._data).records()}
        except HublogError as error:
            raise DemoError(f"An alarm's query failed: {error}") from error
        self.watches["KQL"].see(found, self.now_s)

    def wait(self, is_done: Callable[[], bool], what: str) -> None:
        """Look until something is so.

        Raises:
            DemoError: it was not within the limit.
        """
        end = time.monotonic() + _LIMIT_S
        while not is_done():
            if time.monotonic() > end:
                states = {kind: sorted(watch.firing) for kind, watch in self.watches.items()}
                raise DemoError(f"Within {_LIMIT_S:.0f} s not {what}; now firing: {states}.")
            self.look()
            time.sleep(_LOOK_S)

    def has_fired(self, *, is_later: bool) -> bool:
        """Whether all have fired that must, without or with those that can only afterwards."""
        return all(
            name in self.watches[kind].fired or (name in _LATER[kind] and not is_later)
            for kind, names in _EXPECTED.items()
            for name in names
        )

    @property
    def is_quiet(self) -> bool:
        """Whether none fires."""
        return not any(watch.firing for watch in self.watches.values())


def main() -> int:
    """Run the drill; returns its exit status."""
    folder = (ROOT / ".hublog" / "drill").resolve()
    screen, interrupts = Screen(), Interrupts()
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    try:
        with interrupts.caught(), Processes(folder, interrupts) as processes:
            _play(screen, processes, folder)
    except InterruptedDemoError as error:
        screen.failed(f"The drill was {error}. Everything that it started has been stopped.")
        return 128 + error.signal_number
    except DemoError as error:
        screen.failed(str(error))
        return 1
    return 0


def _play(screen: Screen, processes: Processes, folder: Path) -> None:
    screen.headline("Starting a local hub, two shops and Prometheus")
    stage = Stage(processes, folder, password=secrets.token_urlsafe(), hub_port=_free_port())
    hub = stage.start_hub()
    stage.prepare_shops()
    shops = [_open(screen, stage, application) for application in _SHOPS]
    spools = {application.name: stage.logs / application.name / "spool" for application in _SHOPS}
    alarms = Alarms(_start_prometheus(processes, folder, spools), stage.data)
    screen.done("Prometheus", "the rules of this project, a second for a minute")
    with _traffic(shops):
        screen.headline("The hub is there")
        begun = alarms.now_s
        alarms.wait(lambda: alarms.now_s - begun > _QUIET_S and alarms.is_quiet, "quiet")
        alarms.watches = {kind: Watch() for kind in alarms.watches}
        screen.done("No alarm fires", f"at {alarms.now_s:.0f} s")

        stopped_s = alarms.now_s
        processes.stop(hub)
        screen.headline(f"The hub is stopped at {stopped_s:.0f} s")
        alarms.wait(lambda: "HublogQueueNearlyFull" in alarms.watches["Prometheus"].fired, "a queue full")
        processes.stop(shops[1].server)
        shops[1] = _open(screen, stage, shops[1].application)
        alarms.wait(lambda: alarms.has_fired(is_later=False), "all alarms of the outage")
        screen.done("All alarms of the outage have fired", f"at {alarms.now_s:.0f} s")

        started_s = alarms.now_s
        hub = stage.start_hub()
        screen.headline(f"The hub is back at {started_s:.0f} s")
        alarms.wait(lambda: alarms.has_fired(is_later=True) and alarms.is_quiet, "all fired and cleared")
        screen.done("All alarms have fired and cleared", f"at {alarms.now_s:.0f} s")
    for server in (hub, *(shop.server for shop in shops)):
        server.check_alive()
    screen.headline("When each alarm fired first and cleared last, in seconds")
    names = dict.fromkeys(name for names in _EXPECTED.values() for name in names)
    screen.alarms([(name, *_times(alarms.watches, name)) for name in names])
    others = {name for watch in alarms.watches.values() for name in watch.fired} - set(names)
    if others:
        raise DemoError(f"Alarms fired that have nothing to do with it: {', '.join(sorted(others))}.")


def _open(screen: Screen, stage: Stage, application: Application) -> Running:
    found = stage.wait_until_serving(application, stage.start(application, _SHOPS[application]))
    screen.done(application.title, f"2 workers on http://127.0.0.1:{found.port}")
    return found


def _times(watches: Mapping[str, Watch], name: str) -> list[str]:
    return [
        f"{moments[name]:.0f}" if name in moments else "-"
        for watch in watches.values()
        for moments in (watch.fired, watch.cleared)
    ]


def _start_prometheus(processes: Processes, folder: Path, spools: Mapping[str, Path]) -> int:
    """Start it, and for each shop what it scrapes, a process that reads the spool; returns its port."""
    program = shutil.which("prometheus")
    if program is None:
        raise DemoError("Prometheus is not installed. On Debian and Ubuntu: apt-get install prometheus")
    rules, config, port = folder / "alarms.yaml", folder / "prometheus.yml", _free_port()
    targets = {name: _free_port() for name in spools}
    for name, spool in spools.items():
        command = [sys.executable, "-c", _EXPORTER, str(spool), str(targets[name])]
        environ = {"PYTHONUNBUFFERED": "1"}
        exporter = processes.start(f"metrics of {name}", command, folder=folder, environ=environ)
        exporter.wait_for_output("ready", limit_s=_LIMIT_S)
    rules.write_text(scaled(_PROMETHEUS.read_text()))
    scraped = [
        {"job_name": name, "static_configs": [{"targets": [f"127.0.0.1:{target}"]}]}
        for name, target in targets.items()
    ]
    found = {
        "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
        "rule_files": [str(rules)],
        "scrape_configs": scraped,
    }
    config.write_text(json.dumps(found))  # which is YAML, too
    command = [program, f"--config.file={config}", f"--storage.tsdb.path={folder / 'prometheus'}"]
    server = processes.start(
        "prometheus", [*command, f"--web.listen-address=127.0.0.1:{port}"], folder=folder, environ={}
    )
    server.wait_for_output("Server is ready", limit_s=_LIMIT_S)
    return port


@contextlib.contextmanager
def _traffic(shops: Sequence[Running]) -> Iterator[None]:
    """Open a page of each shop again and again."""
    is_over = threading.Event()

    def visit(number: int) -> None:
        while not is_over.wait(_PAUSE_S):
            with contextlib.suppress(OSError, http.client.HTTPException):
                shop = shops[number % len(shops)]
                connection = http.client.HTTPConnection("127.0.0.1", shop.port, timeout=10)
                connection.request("GET", shop.application.shop.report)
                connection.getresponse().read()
                connection.close()

    threads = [
        threading.Thread(target=visit, args=(number,), daemon=True)
        for number in range(_VISITORS * len(shops))
    ]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        is_over.set()
        for thread in threads:
            thread.join()


def _free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port: int = found.getsockname()[1]
        return port


if __name__ == "__main__":
    sys.exit(main())
