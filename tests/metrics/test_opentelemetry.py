"""Metrics for OpenTelemetry, by its real SDK and exporters, in processes that log, fork and lose records."""

import http.server
import json
import logging
import re
import shutil
import subprocess
import sys
import threading
import time
import urllib.request
from pathlib import Path

import pytest
from opentelemetry.exporter.prometheus import PrometheusMetricReader
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.semconv._incubating.attributes import otel_attributes
from opentelemetry.semconv._incubating.metrics import otel_metrics
from opentelemetry.semconv.attributes.error_attributes import ERROR_TYPE, ErrorTypeValues
from prometheus_client import REGISTRY, generate_latest
from tests.kits.environ import inherited

from hublog import __version__
from hublog.delivery.accounting import Circuit, Drop, State
from hublog.metrics.opentelemetry import register
from hublog.runtime.shared import runtime
from hublog_local import LocalHub

PAGE = (Path(__file__).parents[2] / "docs" / "metrics.md").read_text(encoding="utf-8")
HUB = "application-logs"
LIMIT_S = 60
DEAD_HUB = "Endpoint=sb://127.0.0.1:1;SharedAccessKeyName=n;SharedAccessKey=a2V5;UseDevelopmentEmulator=true"
PROGRAM = """
import json, logging, os, time
import hublog
import hublog.metrics.opentelemetry
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader

reader = InMemoryMetricReader()
provider = MeterProvider([reader])
hublog.metrics.opentelemetry.register(provider)
hublog.setup_logging()
log = logging.getLogger("shop")

def read():
    found = {}
    for resource in reader.get_metrics_data().resource_metrics:
        for metric in resource.scope_metrics[0].metrics:
            for point in metric.data.data_points:
                labels = [value for name, value in point.attributes.items() if "component" not in name]
                found[f"{metric.name} {labels[0]}" if labels else metric.name] = point.value
    return found

def show():
    print(json.dumps(read()), flush=True)

def until(is_true):
    end = time.monotonic() + 40
    while not is_true(read()):
        assert time.monotonic() < end, read()
        time.sleep(0.02)
"""
APP = """
import logging, os
from flask import Flask
from hublog.flask import HubLog
import hublog.metrics.opentelemetry
from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.metrics import set_meter_provider
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
from opentelemetry.sdk.resources import Resource

app = Flask("shop")
HubLog(app)
hublog.metrics.opentelemetry.register()
exporter = OTLPMetricExporter(os.environ["COLLECTOR"] + "/v1/metrics")
set_meter_provider(MeterProvider(
    [PeriodicExportingMetricReader(exporter, export_interval_millis=200)],
    Resource.create({"service.name": "shop", "service.instance.id": str(os.getpid())}),
))
hublog.metrics.opentelemetry.register()

@app.get("/")
def order():
    logging.getLogger("shop").info("order")
    return str(os.getpid())
"""


def environment(folder, connection, **more):
    return {
        **inherited("EVENTHUB", "LOG", "FILE", "COVERAGE", "OTEL"),
        "LOG_DIR": str(folder / "logs"),
        "LOG_TO_STDOUT": "false",
        "EVENTHUB_LOG_SPOOL_DIR": str(folder / "spool"),
        "EVENTHUB_LOG_EXIT_TIMEOUT": "0.5",
        "EVENTHUB_LOG_HEARTBEAT_SECONDS": "0",  # the records are counted
        "EVENTHUB_NAMESPACE_CONNECTION_STRING": connection,
        **more,
    }


@pytest.fixture
def run(tmp_path):
    """Run a program with metrics; returns what it has shown, a dictionary each time."""

    def run_program(source, connection=DEAD_HUB, **more):
        ran = subprocess.run(
            [sys.executable, "-W", "ignore::DeprecationWarning", "-c", PROGRAM + source],
            cwd=tmp_path,
            env=environment(tmp_path, connection, **more),
            capture_output=True,
            text=True,
            timeout=LIMIT_S,
            check=False,
        )
        assert ran.returncode == 0, ran.stderr
        return [json.loads(line) for line in ran.stdout.splitlines()]

    return run_program


@pytest.fixture
def hub():
    with LocalHub({HUB: 2}) as found:
        yield found


def metrics():
    """Return what a provider of its own reads in this process, by name."""
    reader = InMemoryMetricReader()
    provider = MeterProvider([reader])
    register(provider)
    [resource] = reader.get_metrics_data().resource_metrics
    [scope] = resource.scope_metrics
    assert (scope.scope.name, scope.scope.version) == ("hublog", __version__)
    provider.shutdown()
    return {metric.name: metric for metric in scope.metrics}


def kind(metric):
    data = type(metric.data).__name__
    return (data, metric.data.is_monotonic) if data == "Sum" else (data, None)


def test_names_units_and_kinds_are_those_of_the_semantic_conventions():
    ours = {name: metric for name, metric in metrics().items() if name.startswith("otel.")}
    assert len(ours) == 5
    reader = InMemoryMetricReader()
    meter = MeterProvider([reader]).get_meter("conventions")
    for name in ours:
        create = getattr(otel_metrics, f"create_{name.replace('.', '_')}")
        create(meter).add(1)
    [resource] = reader.get_metrics_data().resource_metrics
    theirs = {metric.name: metric for metric in resource.scope_metrics[0].metrics}
    assert {name: (kind(metric), metric.unit) for name, metric in ours.items()} == {
        name: (kind(metric), metric.unit) for name, metric in theirs.items()
    }


def test_attributes_are_those_of_the_semantic_conventions():
    for name, metric in metrics().items():
        for point in metric.data.data_points:
            if name.startswith("otel."):
                attributes = dict(point.attributes)
                assert attributes.pop(otel_attributes.OTEL_COMPONENT_TYPE) == "hublog.EventHubHandler"
                assert attributes.pop(otel_attributes.OTEL_COMPONENT_NAME) == "hublog.EventHubHandler/0"
                assert attributes.keys() <= {ERROR_TYPE}
                assert set(attributes.values()) <= set(map(str, Drop))
    [_, failed] = metrics()["hublog.send.attempts"].data.data_points
    assert failed.attributes == {ERROR_TYPE: ErrorTypeValues.OTHER.value}


def test_no_name_is_the_beginning_of_another():
    names = list(metrics())
    assert not [(one, other) for one in names for other in names if other.startswith(f"{one}.")]


def test_the_page_names_each_metric():
    named = set(re.findall(r"`((?:otel\.sdk|hublog)\.[a-z_.]+)`", PAGE))
    absent = {f"hublog.{name}.timestamp" for name in ("oldest_record", "last_success", "last_failure")}
    attributes = {"hublog.drop.reason", "hublog.level", "hublog.circuit.state", "hublog.delivery.state"}
    found = set(metrics()) | absent | attributes | {"hublog.records.dropped_by_level"}
    assert {name for name in named if not name.startswith("hublog.metrics.")} == found


def test_records_that_the_hub_has_accepted_are_exported(run, hub):
    [found] = run(
        """
for number in range(50):
    log.info("order %d", number)
assert hublog.flush(20)
until(lambda found: found["otel.sdk.exporter.log.exported"] == 50)
show()
""",
        hub.connection_string(HUB),
    )
    assert found["otel.sdk.exporter.log.exported"] == 50
    assert found["otel.sdk.processor.log.processed"] == 50
    assert found["hublog.records.accepted"] == found["hublog.delivery.measured"] == 50
    assert (found["otel.sdk.processor.log.queue.size"], found["otel.sdk.exporter.log.inflight"]) == (0, 0)
    assert found["otel.sdk.processor.log.queue.capacity"] > 50
    assert found["hublog.send.events"] == sum(hub.events_total().values())
    assert found["hublog.send.size"] > 0
    assert found["hublog.send.attempts"] > 0
    assert found["hublog.send.attempts _OTHER"] == 0
    assert found["hublog.send.time"] > 0
    assert found["hublog.delivery.time"] > 0
    assert found["hublog.circuit.status closed"] == found["hublog.delivery.status healthy"] == 1
    assert found["hublog.last_success.timestamp"] <= time.time()
    assert "hublog.last_failure.timestamp" not in found, "none failed"


def test_dropped_records_are_counted_by_their_reason_and_nothing_is_missing(run):
    [found] = run(
        """
for number in range(500):
    log.info("order %d", number)
until(lambda found: found["hublog.circuit.status open"] == 1 and found["hublog.records.accepted"] == 500)
show()
""",
        EVENTHUB_LOG_QUEUE_SIZE="100",
        EVENTHUB_LOG_SPOOL="memory",
    )
    dropped = found["otel.sdk.processor.log.processed queue_full"]
    assert dropped > 0
    assert dropped == found["hublog.records.dropped queue_full"]
    assert dropped == found["hublog.records.dropped_by_level INFO"]
    held = found["otel.sdk.processor.log.queue.size"] + found["otel.sdk.exporter.log.inflight"]
    assert found["hublog.records.accepted"] == 500 == dropped + held
    assert found["otel.sdk.exporter.log.exported"] == 0
    assert found["otel.sdk.processor.log.queue.capacity"] == 100
    assert 0.9 <= found["hublog.queue.utilization"] <= 1
    assert found["hublog.send.attempts _OTHER"] > 0
    assert found["hublog.oldest_record.timestamp"] <= found["hublog.last_failure.timestamp"] <= time.time()


def test_a_state_is_one_of_all_states(run):
    [found] = run("show()")
    circuits = [found[f"hublog.circuit.status {state}"] for state in Circuit]
    assert sorted(circuits) == [0] * (len(Circuit) - 1) + [1]
    states = [found[f"hublog.delivery.status {state}"] for state in State]
    assert sorted(states) == [0] * (len(State) - 1) + [1]


def test_each_reason_is_there_from_the_start(run):
    [found] = run("show()")
    assert {found[f"hublog.records.dropped {reason}"] for reason in Drop} == {0}
    assert found["otel.sdk.exporter.log.exported rejected"] == 0
    assert "otel.sdk.processor.log.processed sampled_out" not in found, "it was meant"


def test_a_forked_child_shows_its_own_records(run):
    mine, child, mine_after = run(
        """
accepted = "hublog.records.accepted"
for _ in range(5):
    log.info("parent")
until(lambda found: found[accepted] == 5)
show()
pid = os.fork()
if pid == 0:
    show()
    for _ in range(3):
        log.info("child")
    until(lambda found: found[accepted] == 3)
    os._exit(0)
assert os.waitpid(pid, 0)[1] == 0
log.info("parent")
until(lambda found: found[accepted] == 6)
show()
"""
    )
    accepted = "hublog.records.accepted"
    assert (mine[accepted], child[accepted], mine_after[accepted]) == (5, 0, 6)


def test_it_is_registered_once_however_often_and_before_the_provider_is_set():
    ran = subprocess.run(
        [
            sys.executable,
            "-c",
            """
from collections import Counter
from opentelemetry.metrics import set_meter_provider
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from hublog.metrics.opentelemetry import register
register()
register()
reader, other = InMemoryMetricReader(), InMemoryMetricReader()
provider = MeterProvider([reader])
set_meter_provider(provider)
register()
register(provider)
register(MeterProvider([other]))
for each in (reader, other):
    [resource] = each.get_metrics_data().resource_metrics
    names = Counter(metric.name for scope in resource.scope_metrics for metric in scope.metrics)
    assert names["hublog.records.accepted"] == 1, names
    assert set(names.values()) == {1}, names
""",
        ],
        env=inherited("OTEL", "COVERAGE"),
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
        check=False,
    )
    assert (ran.returncode, ran.stderr) == (0, "")


class _Broken:
    def make(self):
        raise RuntimeError("secret")


def test_an_error_reaches_neither_the_application_nor_its_exporter(monkeypatch, tmp_path, caplog):
    monkeypatch.setattr(runtime, "status_files", {tmp_path: _Broken()})
    reader = InMemoryMetricReader()
    register(MeterProvider([reader]))
    with caplog.at_level(logging.DEBUG):
        assert reader.get_metrics_data() is None
        reader.get_metrics_data()
    assert [(one.name, one.levelname) for one in caplog.records] == [("hublog.internal", "ERROR")]
    assert "RuntimeError" in caplog.text
    assert "secret" not in caplog.text


def test_prometheus_takes_the_names_of_its_own_exporter():
    reader = PrometheusMetricReader()
    provider = MeterProvider([reader])
    register(provider)
    try:
        text = generate_latest(REGISTRY).decode()
    finally:
        provider.shutdown()
    assert "hublog_records_accepted" in text
    assert "otel_sdk_processor_log_queue_size" in text
    promtool = shutil.which("promtool")
    assert promtool, "promtool is missing: apt-get install prometheus"
    checked = subprocess.run(
        [promtool, "check", "metrics"], input=text, capture_output=True, text=True, check=False
    )
    assert "error while linting" not in checked.stderr, checked.stderr


class Collector(http.server.ThreadingHTTPServer):
    """Takes what the OTLP exporter sends; keeps the newest number of accepted records of each instance."""

    daemon_threads = True

    def __init__(self):
        self.accepted, self.names = {}, set()
        super().__init__(("127.0.0.1", 0), self._Handler)
        threading.Thread(target=self.serve_forever, daemon=True).start()

    class _Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self):
            body = self.rfile.read(int(self.headers["Content-Length"]))
            self.server.take(ExportMetricsServiceRequest.FromString(body))
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *arguments):
            pass

    def take(self, request):
        for resource in request.resource_metrics:
            attributes = {one.key: one.value.string_value for one in resource.resource.attributes}
            for metric in (metric for scope in resource.scope_metrics for metric in scope.metrics):
                self.names.add(metric.name)
                if metric.name == "hublog.records.accepted":
                    [point] = metric.sum.data_points
                    self.accepted[attributes["service.instance.id"]] = point.as_int


@pytest.fixture
def collector():
    with Collector() as found:
        yield found
        found.shutdown()


def until(is_true, what):
    end = time.monotonic() + LIMIT_S
    while not (found := is_true()):
        assert time.monotonic() < end, what
        time.sleep(0.05)
    return found


def test_each_worker_of_a_server_exports_its_own_by_otlp_and_the_sum_is_of_all(tmp_path, collector):
    (tmp_path / "shop_otel.py").write_text(APP)
    log_path = tmp_path / "server.log"
    url = f"http://127.0.0.1:{collector.server_address[1]}"
    with log_path.open("wb") as log:
        server = subprocess.Popen(
            [sys.executable, "-m", "gunicorn", "--bind", "127.0.0.1:0", "-w", "2", "shop_otel:app"],
            cwd=tmp_path,
            env=environment(tmp_path, DEAD_HUB, COLLECTOR=url, NO_PROXY="127.0.0.1"),
            stdout=log,
            stderr=log,
        )
    try:
        port = until(lambda: re.search(r"http://127\.0\.0\.1:(\d+)", log_path.read_text()), "its port")[1]

        def get():
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=LIMIT_S) as answer:
                return answer.read().decode()

        served = []
        until(lambda: served.append(get()) or len(set(served)) == 2, "both have answered")
        expected = {pid: 2 * served.count(pid) for pid in set(served)}
        until(lambda: collector.accepted == expected, "each has exported its own: a record and its request's")
        assert "otel.sdk.exporter.log.exported" in collector.names
    finally:
        server.terminate()
        server.wait(LIMIT_S)
