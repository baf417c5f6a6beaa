"""The dashboard of the metrics, answered by a real Prometheus over a day with an outage of the hub."""

import json
import re

import pytest
from tests.kits.prometheus_server import (
    DRAINING,
    EVENT_RECORDS,
    LOST,
    MINUTES,
    OUTAGE,
    RECORD_BYTES,
    prometheus_of_a_day,
    rate,
)
from tools import dashboards

from hublog.cli.prices import BILLED_BYTES, MILLION_EVENTS, TIERS
from hublog.delivery.accounting import INTENTIONAL, Drop
from hublog.metrics.prometheus import _metrics
from hublog.operations.overview import Overview

CONTENT = json.loads((dashboards.FOLDER / dashboards.DELIVERY_FILE).read_text(encoding="utf-8"))
PANELS = {panel["title"]: panel for panel in CONTENT["panels"] if panel["type"] != "row"}
EXPRESSIONS = {
    f"{title}: {target['legendFormat']}": target["expr"]
    for title, panel in PANELS.items()
    for target in panel["targets"]
}


def as_grafana(expression):
    """Return an expression as Grafana sends it, with all jobs and a scrape a minute."""
    for variable, value in {"$job": ".*", "$__rate_interval": "4m", "$__interval": "5m"}.items():
        expression = expression.replace(variable, value)
    return expression


@pytest.fixture(scope="module")
def prometheus(tmp_path_factory):
    with prometheus_of_a_day(tmp_path_factory.mktemp("day")) as found:
        yield found


def of(name):
    return as_grafana(EXPRESSIONS[name])


@pytest.mark.parametrize("name", EXPRESSIONS)
def test_prometheus_answers_each_expression(prometheus, name):
    series = prometheus.series(of(name))
    assert series
    assert all(points for _, points in series)
    shown = re.findall(r"\{\{(\w+)\}\}", name)
    assert all(label in labels for labels, _ in series for label in shown), "what its legend names"


@pytest.mark.parametrize("name", EXPRESSIONS)
def test_an_expression_asks_for_metrics_that_there_are(name):
    families = list(_metrics(Overview()))
    there = {sample.name for family in families for sample in family.samples}
    there |= {f"{family.name}_total" for family in families if family.type == "counter"}
    asked = set(re.findall(r"\bhublog_\w+", EXPRESSIONS[name]))
    assert asked
    assert asked <= there


def test_a_job_that_is_not_chosen_is_not_shown(prometheus):
    for expression in EXPRESSIONS.values():
        assert prometheus.series(as_grafana(expression.replace("$job", "other"))) == []
        assert expression.count("hublog_") == expression.count('{job=~"$job"')


def value(prometheus, name, minute):
    [(_, found)] = prometheus.values(of(name), minute)
    return found


def test_the_outage_is_what_the_panels_show(prometheus):
    before, amid, after = OUTAGE.start - 5, OUTAGE.stop - 5, DRAINING.stop + 5
    circuit = [value(prometheus, "Circuit: circuit", minute) for minute in (before, amid, after)]
    assert circuit == [0, 2, 0]
    states = [
        prometheus.values(of("Delivery: {{state}}"), minute)[0][0]["state"]
        for minute in (before, amid, DRAINING.start + 2)
    ]
    assert states == ["healthy", "open", "draining"]
    assert value(prometheus, "Records a second: accepted", amid) > 0
    assert value(prometheus, "Records a second: sent", amid) == 0
    assert value(prometheus, "Records that wait: memory", amid) == 10_000
    assert value(prometheus, "Records that wait: disk", amid) > 10_000
    assert value(prometheus, "Queue and spool in use: queue", amid) == 1
    assert value(prometheus, "Oldest record: age", amid) == 60 * (amid - OUTAGE.start)
    assert value(prometheus, "Lost in the last hour: lost", after) == pytest.approx(LOST, rel=0.05)
    assert value(prometheus, "Circuit and failed sends: failed sends", amid) > 0


def test_the_bars_of_losses_count_each_once(prometheus):
    assert PANELS["Lost records, by reason"]["interval"] == "5m"
    [(labels, points)] = prometheus.series(of("Lost records, by reason: {{reason}}"), step_s=300)
    assert labels == {"reason": "queue_full"}
    assert sum(number for _, number in points) == pytest.approx(LOST, rel=0.05)


def test_percentiles_are_those_of_the_classes(prometheus):
    title = "From the log call to the hub's answer"
    p50, p95, p99 = (value(prometheus, f"{title}: {part}", 100) for part in ("p50", "p95", "p99"))
    assert 0.5 <= p50 <= 1.0 < p95 <= p99 <= 2.5


def test_the_reasons_that_are_no_losses_are_left_out():
    [expression] = [text for name, text in EXPRESSIONS.items() if name.startswith("Lost records")]
    left_out = re.search(r'reason!~"([a-z_|]+)"', expression)[1].split("|")
    assert {Drop(reason) for reason in left_out} == INTENTIONAL


def test_the_cost_is_that_of_the_price_list(prometheus):
    sent = sum(rate(minute) for minute in range(MINUTES + 1))
    billed = sent / EVENT_RECORDS + sent * RECORD_BYTES / BILLED_BYTES
    usd = 24 * TIERS["standard"].unit_hour + billed / 1e6 * MILLION_EVENTS
    assert value(prometheus, "Cost of the last day: cost", MINUTES) == pytest.approx(usd, rel=0.01)
