import json
import math
from collections import Counter
from datetime import UTC, datetime

import pytest
from demo.records import Record
from demo.report import Count, Latency, Report, compare, percentile
from hypothesis import given
from hypothesis import strategies as st

GOOD = Latency(p50=400.0, p95=900.0, p99=1_000.0)


def record(message="Order placed", level="INFO", application="shop-flask"):
    return Record(application, level, datetime(2026, 11, 23, tzinfo=UTC), 7, 8, "shop.orders", 40, message)


def report(accepted=10, arrived=10, latency=GOOD, **more):
    counts = {"shop-flask": {"INFO": Count(accepted=accepted, arrived=arrived)}}
    return Report(counts=counts, latency=latency, **more)


@pytest.mark.parametrize(
    ("values", "percent", "expected"),
    [
        pytest.param([5.0], 99, 5.0, id="one value is every percentile"),
        pytest.param(list(map(float, range(1, 101))), 50, 50.0, id="the middle of a hundred"),
        pytest.param(list(map(float, range(1, 101))), 99, 99.0, id="the 99th of a hundred"),
        pytest.param([1.0, 9.0], 99, 9.0, id="the larger of two"),
        pytest.param([3.0, 1.0, 2.0], 50, 2.0, id="order does not matter"),
    ],
)
def test_percentile_is_the_nearest_rank(values, percent, expected):
    assert percentile(values, percent) == expected


@given(st.lists(st.floats(0, 1e6), min_size=1), st.floats(0.1, 100))
def test_at_least_the_percentage_of_values_does_not_exceed_the_percentile(values, percent):
    found = percentile(values, percent)
    assert found in values
    assert sum(value <= found for value in values) >= len(values) * percent / 100 - 1e-6


def test_percentile_of_nothing_is_no_number():
    assert math.isnan(percentile([], 50))


def test_a_lost_record_is_counted_in_its_application_and_level():
    accepted = Counter([record(), record("Card declined", "WARNING"), record(application="shop-django")])
    arrived = Counter([record(), record(application="shop-django")])

    counts = compare(accepted, arrived, applications=["shop-flask"])

    assert counts == {
        "shop-flask": {"INFO": Count(accepted=1, arrived=1), "WARNING": Count(accepted=1, arrived=0)},
        "shop-django": {"INFO": Count(accepted=1, arrived=1)},
    }


def test_a_record_that_nobody_logged_does_not_make_up_for_a_lost_one():
    counts = compare(Counter([record("one")]), Counter([record("other")]), applications=[])
    assert counts["shop-flask"]["INFO"].lost == 1


def test_of_two_equal_records_one_can_be_lost():
    counts = compare(Counter({record(): 2}), Counter([record()]), applications=[])
    assert counts["shop-flask"]["INFO"] == Count(accepted=2, arrived=1)


def test_an_application_that_logged_nothing_is_shown():
    assert compare(Counter(), Counter(), applications=["shop-flask"]) == {"shop-flask": {}}


def test_levels_stand_in_order_of_severity():
    accepted = Counter(record(level=level) for level in ("ERROR", "AUDIT", "INFO", "WARNING"))
    levels = compare(accepted, accepted, applications=[])["shop-flask"]
    assert list(levels) == ["INFO", "WARNING", "ERROR", "AUDIT"]


def test_all_arrived_in_time_is_no_failure():
    assert report(repeated=3).failures() == []


@pytest.mark.parametrize(
    ("made", "told"),
    [
        pytest.param(report(10, 9), "1 of 10 records were lost.", id="lost"),
        pytest.param(report(0, 0), "No record was accepted", id="nothing"),
        pytest.param(report(latency=Latency(p50=1, p95=1, p99=2_000.1)), "at most 2,000 ms", id="slow"),
        pytest.param(report(latency=Latency.of([])), "at most 2,000 ms", id="no latency"),
        pytest.param(report(unexplained=2), "2 records arrived that no log file has", id="no proof"),
        pytest.param(report(wrong_answers=["GET /orders: status 500"]), "status 500", id="wrong answer"),
    ],
)
def test_a_failure_is_told(made, told):
    assert [told in failure for failure in made.failures()] == [True]


def test_p99_of_exactly_the_limit_is_allowed():
    assert report(latency=Latency(p50=1, p95=1, p99=2_000.0)).failures() == []


def test_the_figures_are_written_as_promised(tmp_path):
    path = tmp_path / "demo-report.json"
    report(10, 9, Latency(p50=1.04, p95=2, p99=3)).write(path)

    assert json.loads(path.read_text()) == {
        "accepted": 10,
        "arrived": 9,
        "lost": 1,
        "latency_ms": {"p50": 1.0, "p95": 2, "p99": 3},
        "applications": {
            "shop-flask": {
                "accepted": 10,
                "arrived": 9,
                "lost": 1,
                "levels": {"INFO": {"accepted": 10, "arrived": 9, "lost": 1}},
            }
        },
    }


def test_figures_that_do_not_exist_are_null(tmp_path):
    path = tmp_path / "demo-report.json"
    report(0, 0, Latency.of([])).write(path)
    assert json.loads(path.read_text())["latency_ms"] == {"p50": None, "p95": None, "p99": None}
