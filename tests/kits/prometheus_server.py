"""A real Prometheus that has stored six hours of hublog's metrics: a quiet day with an outage of the hub."""

import contextlib
import json
import math
import shutil
import socket
import subprocess
import time
import urllib.error
import urllib.parse
import urllib.request
from collections import defaultdict

from hublog.delivery.accounting import Circuit, State
from hublog.delivery.durations import BOUNDS_S, Durations
from hublog.metrics.prometheus import _metrics
from hublog.operations.overview import Overview
from hublog.operations.snapshot import COUNTERS, GAUGES, PipelineSnapshot, ProcessSnapshot

LIMIT_S = 40
MINUTES = 360
#: When the hub is unavailable, and when what waited is sent, in minutes.
OUTAGE = range(180, 210)
DRAINING = range(210, 220)
RECORD_BYTES, EVENT_RECORDS = 1_000, 500
LOST = 240


def rate(minute):
    """Return the records of a minute."""
    return round(3_000 + 1_200 * math.sin(minute / 55) + 150 * math.sin(minute / 3))


class Day:
    """What an application has counted, minute by minute."""

    def __init__(self):
        self.accepted = self.sent = self.failures = self.dropped = self.replayed = 0
        self.latency = [0] * (len(BOUNDS_S) + 1)
        self.sends = [0] * (len(BOUNDS_S) + 1)

    def minutes(self, begin_s):
        """Yield each minute's moment and overview."""
        for minute in range(MINUTES + 1):
            yield begin_s + 60 * minute, self._overview(minute, begin_s + 60 * minute)

    def _overview(self, minute, now_s):
        records = rate(minute)
        self.accepted += records
        waiting = self.accepted - self.sent - self.dropped
        if minute in OUTAGE:
            self.failures += 4
            self.dropped += LOST // len(OUTAGE)
        else:
            sent = waiting // 2 if minute in DRAINING else waiting
            self.sent += sent
            self.replayed += max(sent - records, 0)
            self.latency[5 if minute not in DRAINING else 12] += sent * 9 // 10
            self.latency[6] += sent - sent * 9 // 10
            self.sends[2] += 50
            self.sends[3] += 5
        waiting = self.accepted - self.sent - self.dropped
        queued = min(waiting, 10_000)
        part = PipelineSnapshot(
            counters={
                **dict.fromkeys(COUNTERS, 0),
                "accepted_total": self.accepted,
                "sent_total": self.sent,
                "replayed_total": self.replayed,
                "events_total": self.sent // EVENT_RECORDS,
                "sent_bytes_total": self.sent * RECORD_BYTES,
                "failures_total": self.failures,
            },
            gauges={
                **dict.fromkeys(GAUGES, 0),
                "queued": queued,
                "queue_records_max": 10_000,
                "queue_bytes": queued * RECORD_BYTES,
                "queue_bytes_max": 20_000_000,
                "spooled": waiting - queued,
                "spool_bytes": (waiting - queued) * RECORD_BYTES,
                "spool_bytes_max": 200_000_000,
            },
            dropped={"queue_full": self.dropped},
            state=self._state(minute),
            circuit=Circuit.OPEN if minute in OUTAGE else Circuit.CLOSED,
            oldest_s=begin if (begin := now_s - 60 * max(minute - OUTAGE.start, 0)) and waiting else None,
            last_success_s=now_s,
            latency=Durations(tuple(self.latency), float(sum(self.latency))),
            send_duration=Durations(tuple(self.sends), sum(self.sends) / 10),
        )
        return Overview(processes=(ProcessSnapshot(pid=1, pipelines=(part,)),), read_s=now_s)

    def _state(self, minute):
        if minute in OUTAGE:
            return State.OPEN
        return State.DRAINING if minute in DRAINING else State.HEALTHY


def open_metrics(begin_s):
    """Return the day as text for `promtool tsdb create-blocks-from openmetrics`."""
    lines, kinds = defaultdict(list), {}
    for moment_s, overview in Day().minutes(begin_s):
        for family in _metrics(overview):
            kinds[family.name] = family.type
            for sample in family.samples:
                labels = ",".join(
                    f'{name}="{value}"' for name, value in (sample.labels | {"job": "shop"}).items()
                )
                lines[family.name].append(f"{sample.name}{{{labels}}} {float(sample.value)} {moment_s}")
    # As unknown: the parser takes counters and histograms only with all of their samples together.
    text = [line for name in kinds for line in (f"# TYPE {name} unknown", *lines[name])]
    return "\n".join([*text, "# EOF", ""])


def tool(name):
    """Return the path of a program of Debian's package prometheus."""
    found = shutil.which(name)
    assert found, f"{name} is missing: apt-get install prometheus"
    return found


class Prometheus:
    """Answers over what it has stored, which ends at `end_s`."""

    def __init__(self, port, end_s):
        self._url = f"http://127.0.0.1:{port}/api/v1/"
        self.end_s = end_s

    def _ask(self, path, **arguments):
        url = f"{self._url}{path}?{urllib.parse.urlencode(arguments)}"
        try:
            with urllib.request.urlopen(url, timeout=LIMIT_S) as answer:
                return json.load(answer)["data"]["result"]
        except urllib.error.HTTPError as error:
            raise AssertionError(error.read().decode()) from None

    def series(self, query, step_s=60):
        """Return the labels and the points of each series."""
        begin_s = self.end_s - 60 * MINUTES
        found = self._ask("query_range", query=query, start=begin_s, end=self.end_s, step=step_s)
        return [(one["metric"], [(moment, float(value)) for moment, value in one["values"]]) for one in found]

    def values(self, query, minute=MINUTES):
        """Return the labels and the value of each series at a minute."""
        found = self._ask("query", query=query, time=self.end_s - 60 * (MINUTES - minute))
        return [(one["metric"], float(one["value"][1])) for one in found]


@contextlib.contextmanager
def prometheus_of_a_day(folder):
    """Run a Prometheus that has the day, up to now."""
    end_s = int(time.time()) // 60 * 60
    (folder / "day.txt").write_text(open_metrics(end_s - 60 * MINUTES))
    data = folder / "tsdb"
    make = [tool("promtool"), "tsdb", "create-blocks-from", "openmetrics", str(folder / "day.txt"), str(data)]
    made = subprocess.run(make, capture_output=True, text=True, check=False)
    assert made.returncode == 0, made.stderr
    (folder / "prometheus.yml").write_text("scrape_configs: []")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    options = {
        "config.file": folder / "prometheus.yml",
        "storage.tsdb.path": data,
        "web.listen-address": f"127.0.0.1:{port}",
    }
    with (folder / "prometheus.log").open("wb") as log:
        command = [tool("prometheus"), *(f"--{name}={value}" for name, value in options.items())]
        process = subprocess.Popen(command, stdout=log, stderr=log)
    try:
        found, end = Prometheus(port, end_s), time.monotonic() + LIMIT_S
        while True:
            try:
                if found.values("hublog_processes"):
                    break
            except (OSError, AssertionError):
                pass
            assert time.monotonic() < end, (folder / "prometheus.log").read_text()
            time.sleep(0.05)
        yield found
    finally:
        process.terminate()
        process.wait(LIMIT_S)
