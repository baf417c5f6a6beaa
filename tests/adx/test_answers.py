"""The shipped queries and functions, run on realistic records and compared with plain Python."""

import math
import re
from collections import Counter, defaultdict
from datetime import UTC, datetime, timedelta

import orjson
import pytest
from benchmarks.workload import read_lines

from hublog.adx import FUNCTIONS, QUERIES
from hublog.cli.prices import BILLED_BYTES, MILLION_EVENTS, TIERS, UNIT_BYTES
from hublog_local.kql import run_kql

TABLE = "PipelineLogs.jsonl"
LATER = timedelta(seconds=2)


def parse(text):
    return datetime.fromisoformat(text)


def write(moment):
    return moment.strftime("%Y-%m-%dT%H:%M:%S.%fZ")


class Rows:
    """3,000 records as a table: moved to the last 40 minutes, 50 twice, 7 lost, some cut."""

    def __init__(self, folder):
        lines = [orjson.loads(line) for line in read_lines()[:3000]]
        stamps = [parse(line["timestamp"]) for line in lines]
        first, last = min(stamps), max(stamps)
        self.end = datetime.now(UTC) - timedelta(minutes=1)
        self.start = self.end - timedelta(minutes=40)
        scale = timedelta(minutes=40) / (last - first)
        for line, stamp in zip(lines, stamps, strict=True):
            moment = self.start + (stamp - first) * scale
            line["timestamp"], line["sent_at"] = write(moment), write(moment + LATER)
            line["_ingestion_time"] = write(moment + 3 * LATER)
        for line in lines[::400]:
            line["truncated"] = True
        self.lost = Counter(line["record_id"][14:28] for line in lines[1000:1007])
        del lines[1000:1007]
        again = [{**line, "sent_at": write(parse(line["sent_at"]) + LATER)} for line in lines[:500:10]]
        self.all = lines + again
        self.once = lines
        (folder / TABLE).write_bytes(b"".join(orjson.dumps(line) + b"\n" for line in self.all))
        self._folder = folder

    def ask(self, text):
        return run_kql(text, self._folder).records()

    def call(self, name, *more):
        start, end = (write(moment) for moment in (self.start - LATER, self.end + LATER))
        arguments = ", ".join([f"datetime({start})", f"datetime({end})", *more])
        return self.ask(f"PipelineLogs{name}({arguments})")

    def requests(self):
        return [row for row in self.all if row["record_type"] == "request"]


@pytest.fixture(scope="module")
def rows(tmp_path_factory):
    return Rows(tmp_path_factory.mktemp("rows"))


def query(name):
    [found] = [one for one in QUERIES if one.name == name]
    return found.body


def minute(row):
    return parse(row["timestamp"]).replace(second=0, microsecond=0)


#: The local hub has no such function.
LINE = "strlen(tostring(pack_all(true)))"


@pytest.mark.parametrize("name", [one.name for one in QUERIES])
def test_every_query_runs_here(rows, name):
    assert isinstance(rows.ask(query(name).replace(LINE, "1000")), list)


@pytest.mark.parametrize("name", [one.name for one in FUNCTIONS if "bag_merge" not in one.body])
def test_every_function_but_the_crosswalk_runs_here(rows, name):
    arguments = '"x"' if name.endswith("Trace") else "ago(1h), now()"
    assert isinstance(rows.ask(f"{name}({arguments})"), list)


def test_requests_and_errors(rows):
    requests, errors = Counter(), Counter()
    for row in rows.requests():
        requests[minute(row)] += 1
        errors[minute(row)] += row["http_status_code"] >= 500
    found = rows.ask(query("requests_and_errors"))
    assert [(row["timestamp"], row["requests"], row["errors"]) for row in found] == [
        (moment, requests[moment], errors[moment]) for moment in sorted(requests)
    ]
    assert all(row["error_percent"] == round(100 * row["errors"] / row["requests"], 2) for row in found)
    assert sum(errors.values()) > 0


def test_latency_by_route(rows):
    durations, errors = defaultdict(list), Counter()
    for row in rows.requests():
        key = row["service_name"], row["http_method"], row.get("http_route", "")
        durations[key].append(row["duration_ms"])
        errors[key] += row["http_status_code"] >= 500
    found = rows.ask(query("latency_by_route"))
    assert {(row["service_name"], row["http_method"], row["http_route"]) for row in found} == set(durations)
    for row in found:
        values = sorted(durations[row["service_name"], row["http_method"], row["http_route"]])
        assert (row["requests"], row["slowest"]) == (len(values), values[-1])
        assert row["errors"] == errors[row["service_name"], row["http_method"], row["http_route"]]
        for name, part in (("p50", 0.5), ("p95", 0.95), ("p99", 0.99)):
            below = sum(value <= row[name] for value in values)
            assert row[name] in values
            assert below >= part * len(values) - 1
            assert below - values.count(row[name]) <= part * len(values)
    assert [row["p95"] for row in found] == sorted((row["p95"] for row in found), reverse=True)


def test_requests_by_route(rows):
    routes = Counter(row.get("http_route", "") for row in rows.requests())
    found = rows.ask(query("requests_by_route"))
    named = {row["route"] for row in found} - {"others"}
    assert len(named) == 10
    assert min(routes[name] for name in named) >= max(routes[name] for name in routes.keys() - named)
    counts = Counter()
    for row in rows.requests():
        route = row.get("http_route", "")
        counts[minute(row), route if route in named else "others"] += 1
    assert {(row["timestamp"], row["route"]): row["requests"] for row in found} == counts


def test_latency(rows):
    durations = defaultdict(list)
    for row in rows.requests():
        durations[minute(row)].append(row["duration_ms"])
    found = rows.ask(query("latency"))
    assert [row["timestamp"] for row in found] == sorted(durations)
    for row in found:
        values = durations[row["timestamp"]]
        assert row["p50"] <= row["p95"] <= row["p99"] <= max(values)
        assert {row["p50"], row["p95"], row["p99"]} <= set(values)


def test_the_cost_of_a_day_is_that_of_the_price_list(rows):
    at_length = 2_000_000
    found = rows.ask(query("cost_by_day").replace(LINE, str(at_length)))
    days, minutes = Counter(), Counter()
    for row in rows.all:
        days[minute(row).replace(hour=0, minute=0)] += 1
        minutes[minute(row)] += 1
    assert {row["timestamp"]: row["records"] for row in found} == days
    for row in found:
        busiest = max(
            number for moment, number in minutes.items() if moment.date() == row["timestamp"].date()
        )
        size = row["records"] * at_length
        units = math.ceil(busiest * at_length / 60 / UNIT_BYTES)
        assert (row["gigabytes"], row["units"]) == (pytest.approx(size / 1e9), units)
        usd = units * 24 * TIERS["standard"].unit_hour + size / BILLED_BYTES / 1e6 * MILLION_EVENTS
        assert row["usd"] == pytest.approx(usd, abs=0.01)
        assert row["usd"] > 0.72, "more than one unit"


def test_records_by_level(rows):
    counts = Counter((minute(row), row["level"]) for row in rows.all)
    found = rows.ask(query("records_by_level"))
    assert {(row["timestamp"], row["level"]): row["records"] for row in found} == counts


def test_records_by_service(rows):
    found = rows.ask(query("records_by_service"))
    counts = Counter(row["service_name"] for row in rows.all)
    errors = Counter(row["service_name"] for row in rows.all if row["level_number"] >= 40)
    newest = {
        row["service_name"]: row["timestamp"] for row in sorted(rows.all, key=lambda row: row["timestamp"])
    }
    assert {row["service_name"]: row["records"] for row in found} == counts
    assert {row["service_name"]: row["errors"] for row in found if row["errors"]} == errors
    assert {row["service_name"]: write(row["newest"]) for row in found} == newest


def test_duplicates(rows):
    found = rows.ask(query("duplicates"))
    assert sum(row["duplicates"] for row in found) == len(rows.all) - len(rows.once) == 50
    assert sum(row["records"] for row in found) == len(rows.once)


def test_truncated(rows):
    counts = Counter((row["service_name"], row["logger_name"]) for row in rows.all if row.get("truncated"))
    found = rows.ask(query("truncated"))
    assert {(row["service_name"], row["logger_name"]): row["records"] for row in found} == counts
    assert counts


def test_the_errors_function_groups_all_errors(rows):
    groups = Counter()
    for row in rows.all:
        if row["level_number"] >= 40 or row.get("http_status_code", 0) >= 500:
            kind = row.get("exception_fingerprint") or row.get("message_template") or row["message"]
            groups[row["service_name"], row["logger_name"], kind] += 1
    found = rows.call("Errors")
    assert {
        (row["service_name"], row["logger_name"], row["error"]): row["records"] for row in found
    } == groups
    assert groups


def test_the_slow_requests_function_takes_a_limit(rows):
    limit = sorted(row["duration_ms"] for row in rows.requests())[-20]
    slow = Counter(row["request_id"] for row in rows.requests() if row["duration_ms"] > limit)
    assert Counter(row["request_id"] for row in rows.call("SlowRequests", str(limit))) == slow
    assert slow


def test_the_dedup_function_gives_each_record_once(rows):
    found = rows.call("Dedup")
    assert sorted(row["record_id"] for row in found) == sorted(row["record_id"] for row in rows.once)
    latest = {}
    for row in rows.all:
        latest[row["record_id"]] = max(row["sent_at"], latest.get(row["record_id"], ""))
    assert all(write(row["sent_at"]) == latest[row["record_id"]] for row in found)


@pytest.mark.parametrize("key", ["trace_id", "request_id", "record_id"])
def test_the_trace_function_finds_all_of_an_id_in_order(rows, key):
    wanted = Counter(row[key] for row in rows.all if row.get(key)).most_common(1)[0][0]
    found = rows.ask(f'PipelineLogsTrace("{wanted}")')
    expected = sorted(
        (row["timestamp"], row["process_id"], row["sequence"]) for row in rows.all if row.get(key) == wanted
    )
    assert [(write(row["timestamp"]), row["process_id"], row["sequence"]) for row in found] == expected


def test_the_lag_function_splits_the_lag(rows):
    found = rows.call("Lag")
    assert sum(row["records"] for row in found) == len(rows.all)
    assert all(row["total_p50"] == row["total_max"] == pytest.approx(6) for row in found)
    assert all(2 <= row["application_p95"] <= 4 and 2 <= row["azure_p95"] <= 4 for row in found)


def test_the_gaps_function_counts_what_was_lost(rows):
    received = defaultdict(set)
    for row in rows.all:
        received[row["record_id"][14:28]].add(row["sequence"])
    lost = {life: max(seen) - min(seen) + 1 - len(seen) for life, seen in received.items()}
    found = {row["first_sequence"]: row["lost"] for row in rows.call("Gaps")}
    assert sorted(found.values()) == sorted(number for number in lost.values() if number)
    assert sum(found.values()) >= sum(rows.lost.values()) - 1


def test_an_alert_fires_for_what_it_should_and_nothing_else(rows):
    everything = re.sub(r"ago\(\w+\)", "ago(1d)", query("alert_error_rate"))
    requests = Counter(row["service_name"] for row in rows.requests())
    errors = Counter(row["service_name"] for row in rows.requests() if row["http_status_code"] >= 500)
    expected = {name for name in requests if requests[name] >= 20 and errors[name] > 0.05 * requests[name]}
    assert {row["service_name"] for row in rows.ask(everything)} == expected
    silent = query("alert_silent").replace("ago(5m)", f"datetime({write(rows.end)})")
    newest = defaultdict(str)
    for row in rows.all:
        key = row["service_name"], row.get("service_instance_id", ""), row["host_name"]
        newest[key] = max(newest[key], row["timestamp"])
    found = {(row["service_name"], row["service_instance_id"], row["host_name"]) for row in rows.ask(silent)}
    assert found == {key for key, moment in newest.items() if moment < write(rows.end)}
    assert rows.ask(query("alert_lag")) == []
    assert rows.ask(query("alert_lag").replace("> 60", "> 5"))
