"""The alarms over the table, on rows of one process at a time, by a clock that stands still."""

import re
from datetime import UTC, datetime, timedelta
from pathlib import Path

import orjson
import pytest

from hublog.adx import ALARMS
from hublog_local.kql import run_kql

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
PAGE = (Path(__file__).parents[2] / "docs" / "alarms.md").read_text()
PROMETHEUS = (Path(__file__).parents[2] / "observability" / "prometheus" / "alarms.yaml").read_text()
NAMES = [alarm.name for alarm in ALARMS]
#: Alarms over the table alone: what sends nothing to Prometheus is not scraped either.
OF_THE_TABLE = {"HublogSilent"}


def stamp(minutes):
    return (NOW - timedelta(minutes=minutes)).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def beat(minutes, *, sent=None, arrived=None, process=1, instance="a", event="handler.heartbeat", **metrics):
    """Return a row of so many minutes ago, that left and arrived so many minutes ago."""
    healthy = {
        "destination": "application-logs",
        "interval_s": 60.0,
        "counted_s": 86_400.0 - 60 * minutes,
        "state": "healthy",
        "circuit": "closed",
        "queue_share": 0.01,
        "spool_share": 0.0,
        "queued": 3,
        "spooled": 0,
        "lost_total": 7,
        "last_success_age_s": 1.0,
    }
    sent = minutes if sent is None else sent
    return {
        "timestamp": stamp(minutes),
        "sent_at": stamp(sent),
        "_ingestion_time": stamp(sent if arrived is None else arrived),
        "level": "INFO",
        "service_name": "shop",
        "service_instance_id": instance,
        "host_name": "web",
        "process_id": process,
        "record_type": "heartbeat",
        "event_name": event,
        "metrics": {name: value for name, value in {**healthy, **metrics}.items() if value is not None},
    }


def beats(first, last=0, **known):
    """Return a row of each minute from the first to the last."""
    return [beat(minutes, **known) for minutes in range(first, last - 1, -1)]


def log(minutes, **known):
    """Return a row of the application."""
    return {**beat(minutes, **known), "record_type": "log", "event_name": None, "metrics": None}


@pytest.fixture
def fires(tmp_path):
    """Return what an alarm finds in rows."""

    def find(name, rows):
        (tmp_path / "PipelineLogs.jsonl").write_bytes(b"".join(orjson.dumps(row) + b"\n" for row in rows))
        [alarm] = [alarm for alarm in ALARMS if alarm.name == name]
        now = f"datetime({NOW.isoformat()})"
        body = re.sub(r"\bago\((\w+)\)", rf"({now} - \1)", alarm.body).replace("now()", now)
        return run_kql(body, tmp_path).records()

    return find


#: By a name that says what has happened: the alarm, the rows, and what it finds: a column and its value.
FIRES = {
    "an outage that is over": (
        "HublogCircuitOpen",
        [*beats(12, 4, sent=2, circuit="open", last_success_age_s=700.0, last_error="down"), *beats(3)],
        ("last_error", "down"),
    ),
    "a hub that never took anything": (
        "HublogCircuitOpen",
        [beat(7, sent=1, circuit="half_open", last_success_age_s=None, counted_s=301.0)],
        ("open_s", 301.0),
    ),
    "a queue that is full now": (
        "HublogQueueNearlyFull",
        [*beats(5, 1), beat(0, queue_share=0.81)],
        ("queue_share", 0.81),
    ),
    "losses of one process": (
        "HublogRecordsDropped",
        [*beats(14, 8), *beats(7, lost_total=12), *beats(14, process=2)],
        ("lost", 5),
    ),
    "losses before the first row of a process": (
        "HublogRecordsDropped",
        [beat(1, counted_s=60.0, lost_total=7), beat(0, counted_s=120.0, lost_total=7)],
        ("lost", 7),
    ),
    "losses of an hour ago that are known now": (
        "HublogRecordsDropped",
        [beat(62, sent=1, lost_total=7), beat(61, sent=1, lost_total=9)],
        ("lost", 2),
    ),
    "a spool that is full now": ("HublogSpoolNearlyFull", [beat(1, spool_share=0.9)], ("spool_share", 0.9)),
    "a record that is old": ("HublogRecordsOld", [beat(1, oldest_age_s=601.0)], ("oldest_age_s", 601.0)),
    "a slow way in the application": (
        "HublogDeliveryLag",
        [log(20, sent=10, arrived=9)] * 5,
        ("application_p95", 600.0),
    ),
    "a slow way in Azure": ("HublogDeliveryLag", [log(20, sent=20, arrived=14)] * 5, ("azure_p95", 360.0)),
    "a process that was killed": ("HublogSilent", beats(30, 6), ("silent_s", 360.0)),
    "one of two instances": (
        "HublogSilent",
        [*beats(30, 6), *beats(30, instance="b")],
        ("service_instance_id", "a"),
    ),
}
#: The same, where nothing is found.
STAYS_SILENT = {
    "all is well": (NAMES, beats(59)),
    "records of the application alone": (set(NAMES) - {"HublogDeliveryLag"}, [log(50), log(1)]),
    "nothing at all": (NAMES, []),
    "a circuit that opened just now": (
        ["HublogCircuitOpen"],
        [*beats(5, 2), beat(1, circuit="open", last_success_age_s=90.0)],
    ),
    "an outage of yesterday": (
        ["HublogCircuitOpen"],
        [*beats(50, 40, sent=30, circuit="open", last_success_age_s=700.0), *beats(29)],
    ),
    "a queue that was full": (["HublogQueueNearlyFull"], [*beats(4, 1, queue_share=0.99), beat(0)]),
    "a queue at its border": (["HublogQueueNearlyFull"], [beat(0, queue_share=0.8)]),
    "a spool at its border": (["HublogSpoolNearlyFull"], [beat(0, spool_share=0.8)]),
    "old losses": (["HublogRecordsDropped"], [beat(40, lost_total=0), *beats(30)]),
    "a record that is not old yet": (["HublogRecordsOld"], [beat(0, oldest_age_s=600.0)]),
    "a record that was old": (["HublogRecordsOld"], [beat(4, oldest_age_s=900.0), beat(0)]),
    "few slow ones": (["HublogDeliveryLag"], [log(20, arrived=10), *[log(5)] * 40]),
    "an instance that has ended": (["HublogSilent"], [*beats(30, 7), beat(6, event="handler.ended")]),
    "a process of an instance that goes on": (["HublogSilent"], [*beats(30, 6), *beats(30, process=2)]),
    "a pause of four minutes": (["HublogSilent"], beats(30, 4)),
    "a long interval": (["HublogSilent"], [beat(55, interval_s=1_200.0)]),
    "a host that is long gone": (["HublogSilent"], beats(90, 61)),
}


@pytest.mark.parametrize("case", FIRES)
def test_an_alarm_fires_for_what_it_is_for(fires, case):
    name, rows, (column, value) = FIRES[case]
    [found] = fires(name, rows)
    assert found[column] == pytest.approx(value) if isinstance(value, float) else found[column] == value
    assert found["service_name"] == "shop"


@pytest.mark.parametrize(
    ("case", "name"), [(case, name) for case, (names, _) in STAYS_SILENT.items() for name in sorted(names)]
)
def test_an_alarm_stays_silent_otherwise(fires, case, name):
    assert fires(name, STAYS_SILENT[case][1]) == []


def test_each_alarm_has_cases_of_both_kinds():
    assert {name for name, _, _ in FIRES.values()} == set(NAMES)
    assert {name for names, _ in STAYS_SILENT.values() for name in names} == set(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_the_page_says_what_to_do_and_the_names_are_those_of_prometheus(name):
    assert f"\n## {name}\n" in PAGE
    assert f"(../observability/adx/alarms/{name}.kql)" in PAGE
    assert (f"- alert: {name}\n" in PROMETHEUS) is (name not in OF_THE_TABLE)


def test_bounds_stand_in_front_where_they_can_be_changed():
    for alarm in ALARMS:
        lets, _, query = alarm.body.partition("PipelineLogs\n")
        assert re.findall(r"let (\w+) = [\d.]+[mh]?;\n", lets)
        assert not re.search(r"\b\d+[mhd]\b", query), alarm.name
