"""Metrics for Prometheus, by its real client, checker and server, under a real gunicorn."""

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families
from tests.kits.environ import inherited

from hublog.delivery.accounting import Circuit, Drop, State
from hublog.delivery.durations import BOUNDS_S, Durations
from hublog.metrics.prometheus import register
from hublog.operations.publishing import Publisher
from hublog.operations.snapshot import COUNTERS, GAUGES, PipelineSnapshot, ProcessSnapshot

LIMIT_S = 40
DEAD_HUB = "Endpoint=sb://127.0.0.1:1;SharedAccessKeyName=n;SharedAccessKey=a2V5;UseDevelopmentEmulator=true"
APP = """
import logging, os
from flask import Flask, Response
from prometheus_client import CollectorRegistry, Counter, REGISTRY, generate_latest, multiprocess
import hublog.metrics.prometheus
from hublog.flask import HubLog

app = Flask("shop")
HubLog(app)
served = Counter("shop_served", "Orders.")
log = logging.getLogger("shop")
if "PROMETHEUS_MULTIPROC_DIR" in os.environ:
    registry = CollectorRegistry()
    multiprocess.MultiProcessCollector(registry)
else:
    registry = REGISTRY
hublog.metrics.prometheus.register(registry)

@app.get("/")
def order():
    served.inc()
    log.info("order")
    return str(os.getpid())

@app.get("/metrics")
def metrics():
    return Response(generate_latest(registry), mimetype="text/plain", headers={"X-Pid": str(os.getpid())})
"""


def tool(name):
    """Return the path of a program of Debian's package prometheus."""
    found = shutil.which(name)
    assert found, f"{name} is missing: apt-get install prometheus"
    return found


def until(is_true, what):
    end = time.monotonic() + LIMIT_S
    while not (found := is_true()):
        assert time.monotonic() < end, what
        time.sleep(0.05)
    return found


def values(text):
    """Return the value of each sample without labels, or with them in braces."""
    found = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            labels = ",".join(f"{name}={value}" for name, value in sample.labels.items())
            found[f"{sample.name}{{{labels}}}" if labels else sample.name] = sample.value
    return found


@pytest.fixture
def published(tmp_path):
    """A process that has published everything."""
    part = PipelineSnapshot(
        destination="hub",
        counters={name: number for number, name in enumerate(COUNTERS, 1)},
        gauges={name: number for number, name in enumerate(GAUGES, 100)} | {"queue_records_max": 1_000},
        dropped={"queue_full": 3, "exit": 2},
        dropped_by_level={"INFO": 4, 'odd "level"\n': 1},
        state=State.OPEN,
        state_since_s=1.0,
        circuit=Circuit.OPEN,
        circuit_since_s=2.0,
        oldest_s=time.time() - 90,
        last_failure_s=3.0,
        latency=Durations((5, *[1] * len(BOUNDS_S)), 12.5),
    )
    publisher = Publisher(tmp_path)
    publisher.publish(lambda: ProcessSnapshot(pid=1, pipelines=(part,)))
    yield part
    publisher._close()


def text_of(spool):
    registry = CollectorRegistry()
    register(registry, spool_dir=spool)
    return generate_latest(registry).decode()


def test_the_metrics_are_those_of_the_snapshots(published, tmp_path):
    found = values(text_of(tmp_path))
    assert found["hublog_records_accepted_total"] == published.counters["accepted_total"]
    assert found["hublog_records_sent_total"] == published.counters["sent_total"]
    assert found["hublog_records_dropped_total{reason=queue_full}"] == 3
    assert found["hublog_records_dropped_total{reason=nested}"] == 0, "each reason is there from the start"
    assert found['hublog_records_dropped_by_level_total{level=odd "level"\n}'] == 1
    assert found["hublog_circuit_state"] == 2
    assert (found["hublog_delivery_state{state=open}"], found["hublog_delivery_state{state=healthy}"]) == (
        1,
        0,
    )
    assert found["hublog_queue_fill_ratio"] == published.queue_share
    assert 90 <= found["hublog_oldest_record_age_seconds"] < 90 + LIMIT_S
    assert found["hublog_delivery_latency_seconds_bucket{le=0.005}"] == 5
    assert found["hublog_delivery_latency_seconds_bucket{le=+Inf}"] == 5 + len(BOUNDS_S)
    assert found["hublog_delivery_latency_seconds_sum"] == 12.5
    assert "hublog_last_success_timestamp_seconds" not in found, "it never was"
    assert sum(name.startswith("hublog_records_dropped_total{") for name in found) == len(Drop)


def test_names_and_types_follow_the_conventions(published, tmp_path):
    checked = subprocess.run(
        [tool("promtool"), "check", "metrics"],
        input=text_of(tmp_path),
        capture_output=True,
        text=True,
        check=False,
    )
    assert (checked.returncode, checked.stdout, checked.stderr) == (0, "", "")


def test_a_spool_that_nobody_has_used_gives_zeros(tmp_path):
    found = values(text_of(tmp_path / "none"))
    assert (found["hublog_processes"], found["hublog_records_accepted_total"]) == (0, 0)


def test_the_page_names_each_metric(published, tmp_path):
    page = (Path(__file__).parents[2] / "docs" / "metrics.md").read_text(encoding="utf-8")
    named = set(re.findall(r"`(hublog_\w+)`", page))
    found = {name.partition("{")[0] for name in values(text_of(tmp_path))} | {
        "hublog_last_success_timestamp_seconds"
    }
    histograms = {"hublog_delivery_latency_seconds", "hublog_send_duration_seconds"}
    of_histograms = {name + end for name in histograms for end in ("_bucket", "_count", "_sum")}
    assert named == found - of_histograms | histograms


def test_they_are_registered_once(tmp_path):
    registry = CollectorRegistry()
    register(registry, spool_dir=tmp_path)
    with pytest.raises(ValueError, match="Duplicated"):
        register(registry, spool_dir=tmp_path)


class Shop:
    """A Flask application under gunicorn."""

    def __init__(self, folder, workers, **environ):
        (folder / "shop_metrics.py").write_text(APP)
        self._log = folder / "server.log"
        with self._log.open("wb") as log:
            self.process = subprocess.Popen(
                [
                    sys.executable,
                    "-m",
                    "gunicorn",
                    "--bind",
                    "127.0.0.1:0",
                    "-w",
                    str(workers),
                    "shop_metrics:app",
                ],
                cwd=folder,
                env={
                    **inherited("EVENTHUB", "LOG", "FILE", "COVERAGE", "PROMETHEUS"),
                    "LOG_DIR": str(folder / "logs"),
                    "LOG_TO_STDOUT": "false",
                    "EVENTHUB_LOG_EXIT_TIMEOUT": "0.5",
                    "EVENTHUB_NAMESPACE_CONNECTION_STRING": DEAD_HUB,
                    **environ,
                },
                stdout=log,
                stderr=log,
            )
        self.port = int(until(self._port, "the server names its port"))
        self.scraped_by = set()

    def _port(self):
        found = re.search(r"http://127\.0\.0\.1:(\d+)", self._log.read_text())
        return found and found[1]

    def get(self, path):
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=LIMIT_S) as answer:
            self.scraped_by.add(answer.headers.get("X-Pid"))
            return answer.read().decode()

    def scrape(self):
        return values(self.get("/metrics"))

    def stop(self):
        self.process.terminate()
        self.process.wait(LIMIT_S)


@pytest.fixture
def shop(tmp_path):
    running = []

    def start(workers=3, **environ):
        running.append(Shop(tmp_path, workers, **environ))
        return running[-1]

    yield start
    for each in running:
        each.stop()


def test_every_worker_shows_the_sum_of_all_and_it_never_falls(shop):
    server = shop()
    workers = {server.get("/") for _ in range(60)}
    assert len(workers) > 1
    accepted = "hublog_records_accepted_total"
    # Each request has two records, those for the metrics one; a worker publishes once a second.
    until(lambda: server.scrape()[accepted] >= 120, "all are counted")
    before = server.scrape()[accepted]
    os.kill(int(min(workers)), signal.SIGKILL)
    seen = [server.scrape()[accepted] for _ in range(40)]
    assert all(earlier <= later for earlier, later in zip([before, *seen], seen, strict=False))
    assert len(server.scraped_by) > 2


def test_it_works_beside_the_files_of_prometheus_client(shop, tmp_path):
    folder = tmp_path / "multiprocess"
    folder.mkdir()
    server = shop(PROMETHEUS_MULTIPROC_DIR=str(folder))
    for _ in range(20):
        server.get("/")
    found = until(
        lambda: (seen := server.scrape())["hublog_records_accepted_total"] >= 40 and seen, "all are counted"
    )
    assert found["shop_served_total"] == 20


def test_a_real_prometheus_scrapes_it(shop, tmp_path):
    server = shop(2)
    workers = set()
    until(lambda: workers.add(server.get("/")) or len(workers) == 2, "both have logged")
    for _ in range(10):
        server.get("/")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    (tmp_path / "prometheus.yml").write_text(
        "scrape_configs: [{job_name: shop, scrape_interval: 1s, static_configs:"
        f" [{{targets: ['127.0.0.1:{server.port}']}}]}}]"
    )
    data = tmp_path / "tsdb"
    with (tmp_path / "prometheus.log").open("wb") as log:
        prometheus = subprocess.Popen(
            [
                tool("prometheus"),
                f"--config.file={tmp_path / 'prometheus.yml'}",
                f"--storage.tsdb.path={data}",
                f"--web.listen-address=127.0.0.1:{port}",
            ],
            stdout=log,
            stderr=log,
        )

    def ask(query):
        try:
            url = f"http://127.0.0.1:{port}/api/v1/query?query={query}"
            with urllib.request.urlopen(url, timeout=LIMIT_S) as answer:
                result = json.load(answer)["data"]["result"]
        except OSError:
            return 0
        return float(result[0]["value"][1]) if result else 0

    try:
        until(lambda: ask("hublog_records_accepted_total") >= 20, "the counter is stored")
        assert ask("hublog_processes") == 2
        assert ask("max(hublog_circuit_state)") in {0, 1, 2}
        assert ask("count(hublog_records_dropped_total)") == len(Drop)
        assert ask("count(hublog_delivery_latency_seconds_bucket)") == len(BOUNDS_S) + 1
    finally:
        prometheus.terminate()
        prometheus.wait(LIMIT_S)
    assert Path(data).is_dir()
