"""Heartbeat rows: which process sends them, when, and what is in them."""

import contextlib
import json
import logging
import math
import queue
import threading
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.kits.pipelines import CONNECTED, Front

from hublog import bind, detached_context
from hublog.delivery.accounting import Circuit, Drop, State
from hublog.delivery.durations import BOUNDS_S, Durations
from hublog.delivery.sender import InlineSend, Spawner
from hublog.errors import TransientSendError
from hublog.operations.snapshot import COUNTERS, GAUGES, PipelineSnapshot
from hublog.runtime import process_state
from hublog.runtime.heartbeat import metrics_of
from hublog.runtime.pipeline import Pipeline
from hublog.runtime.shared import runtime
from hublog.settings import EventHubSettings, Settings, SpoolMode
from hublog.testing import FakeClock, MemorySender

LIMIT_S = 30


class OverError(BaseException):
    """The time that a test looks at is over."""


class Hours(Spawner):
    """The thread of a worker, whose sleeps move a clock and are noted."""

    def __init__(self, clock):
        super().__init__()
        self.clock, self.end, self.runs = clock, math.inf, {}
        self.sleeps, self.tokens = [], 0

    def make_queue(self):
        return self

    def make(self, run, *, name):
        self.runs[name] = run
        return self

    def start(self):
        pass

    def join(self, timeout_s=None):
        pass

    def is_alive(self):
        return False

    def qsize(self):
        return self.tokens

    def put(self, item):
        self.tokens += 1

    def get_nowait(self):
        if not self.tokens:
            raise queue.Empty
        self.tokens -= 1

    def get(self, timeout=None):
        if not self.tokens:
            left = self.end - self.clock()
            if timeout is None or timeout >= left:
                self.clock.advance(left)
                raise OverError
            self.sleeps.append(timeout)
            self.clock.advance(timeout)
        self.get_nowait()


class Answering(InlineSend):
    """Sends at once, and wakes the worker as the thread that sends does."""

    def __init__(self, process, clock):
        super().__init__(process._sender, now=clock)
        self._process = process

    def offer(self, bodies, properties):
        begun = super().offer(bodies, properties)
        self._process.worker.notify()
        return begun


class Shop:
    """A process whose pipeline works for as long as a test says, by its own clock."""

    def __init__(self, monkeypatch, folder, errors=(), **hub):
        self.clock = FakeClock()
        self.hours = Hours(self.clock)
        monkeypatch.setattr(process_state, "Spawner", lambda: self.hours)
        hub = {"connection_string": CONNECTED, "spool": SpoolMode.MEMORY, **hub}
        settings = Settings(eventhub=EventHubSettings(spool_dir=folder, **hub))
        self.sender = MemorySender(*errors)
        self.pipeline = Pipeline(settings, make_sender=lambda _: self.sender, now=self.clock)
        runtime.pipelines[self] = self.pipeline
        self.log = logging.Logger("shop")
        self.log.addHandler(Front(self.pipeline))

    def work(self, seconds):
        """Let the worker live for so long; return how often it was woken by time meanwhile."""
        process = self.pipeline.process
        process.shipper.use(Answering(process, self.clock))
        self.hours.end, before = self.clock() + seconds, len(self.hours.sleeps)

        def run():
            with contextlib.suppress(OverError):
                self.hours.runs["hublog"]()

        thread = threading.Thread(target=run)
        thread.start()
        thread.join(LIMIT_S)
        assert not thread.is_alive()
        stats = self.pipeline.stats()
        assert stats.accepted_total == stats.sent_total + stats.dropped_total + stats.held
        return len(self.hours.sleeps) - before

    @property
    def rows(self):
        return [json.loads(line) for body in self.sender.bodies for line in body.splitlines()]

    @property
    def beats(self):
        return [row for row in self.rows if row["record_type"] == "heartbeat"]


@pytest.fixture
def make_shop(monkeypatch, tmp_path):
    shops = []

    def make(*errors, **hub):
        shops.append(Shop(monkeypatch, tmp_path, errors, **hub))
        return shops[-1]

    yield make
    for shop in shops:
        runtime.pipelines.pop(shop, None)


def test_the_first_one_comes_after_an_interval_and_then_one_each(make_shop):
    shop = make_shop()
    shop.log.info("order paid")
    shop.work(59.9)
    assert [row["message"] for row in shop.rows] == ["order paid"]
    shop.work(0.2)
    assert len(shop.beats) == 1
    shop.work(600)
    assert len(shop.beats) == 11
    assert shop.pipeline.stats().sent_total == 12


def test_an_idle_process_is_woken_by_time_once_for_each(make_shop):
    shop = make_shop()
    shop.log.info("order paid")
    shop.work(90)
    assert shop.work(6_000) == 100
    assert shop.work(60) == 1


def test_zero_switches_them_off_and_nothing_wakes_the_process(make_shop):
    shop = make_shop(heartbeat_seconds=0.0)
    shop.log.info("order paid")
    shop.work(90)
    assert shop.work(6_000) == 0
    assert shop.beats == []


def test_a_busy_process_sends_as_many_as_an_idle_one(make_shop):
    shop = make_shop(heartbeat_seconds=5.0)
    for _ in range(60):
        shop.log.info("order paid")
        shop.work(1)
    assert len(shop.beats) in (11, 12)
    assert len(shop.rows) == 60 + len(shop.beats)


def test_levels_limits_and_sampling_are_for_what_the_application_logs(make_shop):
    shop = make_shop(
        level=logging.ERROR, rate_limit=1, rate_burst=1, dedup_seconds=3_600.0, heartbeat_seconds=1.0
    )
    shop.log.error("order lost")
    shop.work(20.5)
    assert len(shop.beats) == 20
    assert {row["level"] for row in shop.beats} == {"INFO"}


def test_a_row_says_how_delivery_goes(make_shop):
    shop = make_shop()
    for _ in range(3):
        shop.log.info("order paid")
    shop.work(61)
    [row] = shop.beats
    assert (row["logger_name"], row["event_name"]) == ("hublog.heartbeat", "handler.heartbeat")
    assert row["message"] == "Delivery is healthy, 0 records wait, 0 are lost"
    metrics = row["metrics"]
    assert (metrics["state"], metrics["circuit"], metrics["queue_share"]) == ("healthy", "closed", 0.0)
    assert (metrics["accepted_total"], metrics["sent_total"], metrics["lost_total"]) == (3, 3, 0)
    assert (metrics["interval_s"], metrics["counted_s"]) == (60.0, 60.0)
    assert (metrics["latency_count"], metrics["send_count"]) == (3, 1)
    assert "extra" not in row
    assert "last_error" not in metrics


def test_an_outage_is_in_the_rows_that_arrive_when_it_is_over(make_shop):
    failures = [
        TransientSendError("the hub at AccountKey=c2VjcmV0c2VjcmV0c2VjcmV0 is down") for _ in range(9)
    ]
    shop = make_shop(*failures)
    shop.log.info("order paid")
    shop.work(3_601)
    states = [row["metrics"]["circuit"] for row in shop.beats]
    assert {"open", "closed"} == set(states)
    worst = max(shop.beats, key=lambda row: row["metrics"].get("oldest_age_s", 0))
    assert worst["metrics"]["circuit"] == "open"
    assert "is down" in worst["metrics"]["last_error"]
    assert "c2VjcmV0" not in json.dumps(shop.beats)
    assert len(shop.beats) == 60


def test_a_full_queue_is_in_them_with_what_was_lost(make_shop):
    shop = make_shop(max_queue_size=10)
    for _ in range(40):
        shop.log.info("order paid")
    shop.work(61)
    [row] = shop.beats
    lost = row["metrics"]["lost_total"]
    assert lost == row["metrics"]["dropped_queue_full"] == row["metrics"]["dropped_total"] > 20


def test_other_settings_neither_hasten_nor_delay_them_and_one_state_sends(make_shop):
    shop = make_shop()
    shop.log.info("order paid")
    shop.work(59)
    fixed = shop.pipeline.configuration
    former, fixed.fixed = (
        fixed.fixed,
        replace(fixed.fixed, eventhub=replace(fixed.fixed.eventhub, batch_size=7)),
    )
    shop.pipeline.read_again()
    assert former != shop.pipeline.read()
    shop.log.info("order paid")
    shop.work(2)
    shop.work(60)
    assert [row["metrics"]["counted_s"] for row in shop.beats] == [60.0, 120.0]


def test_they_end_when_the_hub_is_switched_off(make_shop):
    shop = make_shop()
    shop.log.info("order paid")
    shop.work(61)
    fixed = shop.pipeline.configuration
    fixed.fixed = replace(fixed.fixed, eventhub=replace(fixed.fixed.eventhub, enabled=False))
    shop.pipeline.read_again()
    shop.work(600)
    assert len(shop.beats) == 1


def test_none_comes_while_a_test_stands_in_for_the_hub(make_shop, monkeypatch):
    shop = make_shop()
    shop.log.info("order paid")
    monkeypatch.setattr(runtime, "is_hub_replaced", True)
    shop.work(90)
    assert shop.work(6_000) == 0
    assert shop.beats == []


def test_a_forked_child_begins_anew_and_only_when_it_logs(make_shop):
    shop = make_shop()
    shop.log.info("order paid")
    shop.work(121)
    shop.pipeline.forget()  # as in a child
    assert shop.pipeline.process is None
    shop.clock.advance(600)
    shop.log.info("order paid")
    shop.work(59)
    assert len(shop.beats) == 2
    shop.work(2)
    assert shop.beats[-1]["metrics"]["accepted_total"] == 1


def test_the_last_one_is_sent_where_there_was_one_before(make_shop):
    shop = make_shop()
    shop.log.info("order paid")
    shop.work(10)
    shop.pipeline.process.beat_last()
    shop.work(60)
    shop.pipeline.process.beat_last()
    shop.work(600)
    assert [row["event_name"] for row in shop.beats] == ["handler.heartbeat", "handler.ended"]


def test_the_last_one_has_no_fields_of_the_thread_that_ends_the_process(make_shop):
    shop = make_shop()
    shop.log.info("order paid")
    shop.work(61)
    with detached_context():
        bind(tenant_id="acme", request_id="r-1")
        shop.log.info("order paid")
        shop.pipeline.process.beat_last()
    shop.work(2)
    assert shop.rows[-2]["tenant_id"] == "acme"
    assert shop.beats[-1].keys().isdisjoint({"tenant_id", "request_id"})


def test_the_last_one_is_not_lost_with_a_hub_that_takes_nothing(make_shop):
    shop = make_shop(*[TransientSendError("down")] * 9)
    shop.log.info("order paid")
    shop.work(61)
    accepted = shop.pipeline.stats().accepted_total
    shop.pipeline.process.beat_last()
    assert shop.pipeline.stats().accepted_total == accepted


counts = st.integers(0, 2**62)
moments = st.floats(0, 4e9)
durations = st.builds(
    Durations, st.tuples(*[counts] * (len(BOUNDS_S) + 1)), st.floats(0, 1e18, allow_nan=False)
)
snapshots = st.builds(
    PipelineSnapshot,
    destination=st.text(max_size=2_000),
    counters=st.fixed_dictionaries(dict.fromkeys(COUNTERS, counts)),
    gauges=st.fixed_dictionaries(dict.fromkeys(GAUGES, counts)),
    dropped=st.dictionaries(st.sampled_from([str(reason) for reason in Drop]), counts),
    state=st.sampled_from(State),
    state_since_s=moments,
    circuit=st.sampled_from(Circuit),
    circuit_since_s=moments,
    oldest_s=st.none() | moments,
    last_success_s=st.none() | moments,
    last_failure_s=st.none() | moments,
    last_error=st.text(max_size=2_000),
    latency=durations,
    send_duration=durations,
)


@given(snapshots, moments)
def test_whatever_the_state_is_a_row_is_small_and_without_depth(snapshot, now_s):
    metrics = metrics_of(snapshot, now_s)
    assert {type(value) for value in metrics.values()} <= {str, int, float}
    assert all(math.isfinite(value) for value in metrics.values() if not isinstance(value, str))
    assert all(value >= 0 for name, value in metrics.items() if name.endswith("_age_s"))
    assert len(json.dumps(metrics)) < 8_192
    assert metrics["lost_total"] <= metrics["dropped_total"]
