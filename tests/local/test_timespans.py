"""A duration that was logged is a timespan again in a query."""

import json
import logging
from datetime import UTC, datetime, timedelta

import pytest
from tests.adx.kusto import KustoParser

from hublog.capture import context
from hublog.capture.formatter import LineFormatter
from hublog.settings import ServiceSettings
from hublog_local.ingest import Ingester
from hublog_local.kql import run_kql
from hublog_local.store import Store

DURATIONS = (
    timedelta(),
    timedelta(seconds=30),
    timedelta(microseconds=1),
    timedelta(hours=26, minutes=3, seconds=4, microseconds=500_000),
    timedelta(days=10_675_198),
    timedelta(seconds=-61),
    timedelta(days=-3, microseconds=7),
)
QUERY = "PipelineLogs | project given = totimespan(extra.given), inside = totimespan(extra.bound.waits[0])"


class Arrival:
    properties: dict = {}  # noqa: RUF012  # read only
    partition_id = "0"
    sequence_number = 0
    enqueued_at = datetime(2026, 11, 23, tzinfo=UTC)

    def __init__(self, body):
        self.body = body


def line_of(duration):
    record = logging.LogRecord("shop", logging.INFO, __file__, 1, "waited", None, None)
    record.given = duration
    token = context.bind(bound={"waits": [duration]})
    try:
        return LineFormatter(ServiceSettings()).encode(record)
    finally:
        context.unbind(token)


@pytest.fixture(scope="module")
def answer(tmp_path_factory):
    directory = tmp_path_factory.mktemp("hub")
    body = b"\n".join(map(line_of, DURATIONS))
    with Store(directory) as store:
        store.append(b"".join(Ingester().lines("logs", Arrival(body))))
    return run_kql(QUERY, directory).rows


@pytest.mark.parametrize("number", range(len(DURATIONS)), ids=lambda number: str(DURATIONS[number]))
def test_a_duration_is_read_back_by_totimespan(answer, number):
    assert answer[number] == (DURATIONS[number], DURATIONS[number])


def test_arguments_that_do_not_fit_show_durations_the_same_way():
    record = logging.LogRecord("shop", logging.INFO, __file__, 1, "waited", (timedelta(hours=30),), None)
    assert "1.06:00:00" in json.loads(LineFormatter(ServiceSettings()).encode(record))["message"]


def test_the_query_is_kql():
    assert KustoParser().check({"query": QUERY})["query"].problems == []
