"""After an outage, and behind a backlog: what is logged now arrives now, in every mode."""

import logging
import statistics

import pytest
from tests.delivery.bench import Bench, Hub

from hublog.settings import SpoolMode
from hublog.testing import FakeClock

SETTLE_S = 0.25
LINE_BYTES = 4_000
BACKLOG_LINES = 6_000
MODES = [SpoolMode.MEMORY, SpoolMode.OVERFLOW, SpoolMode.ALWAYS]


class SlowHub(Hub):
    """Settles each send after a quarter of a second, and notes when each record arrived."""

    def __init__(self, clock):
        super().__init__()
        self.clock, self.arrived_mono, self.settle_s = clock, {}, SETTLE_S

    def send(self, bodies, properties):
        self.clock.advance(self.settle_s)
        taken = super().send(bodies, properties)
        for row in self.rows_of(bodies[:taken]):
            self.arrived_mono.setdefault(row["id"], self.clock())
        return taken


def bench(tmp_path, mode, *, make_hub=SlowHub, **options):
    clock = FakeClock()
    root = None if mode is SpoolMode.MEMORY else tmp_path / "spool"
    max_lines = 100_000 if mode is SpoolMode.MEMORY else 10_000
    return Bench(make_hub(clock), root, mode=mode, clock=clock, max_lines=max_lines, **options)


def lateness(found, seconds):
    """Log an ERROR ten times a second; return how late each arrived."""
    logged = {}
    for _ in range(int(seconds * 10)):
        found.log(levelno=logging.ERROR, size=LINE_BYTES)
        logged[found.accepted[-1]] = found.clock()
        found.run(0.1)
    found.run(5.0)
    return [found.hub.arrived_mono.get(id_, float("inf")) - at for id_, at in logged.items()]


def until_first(found):
    """Let time pass until the hub takes something: before that nothing can be on time."""
    for _ in range(1_000):
        if found.hub.arrived_mono:
            return
        found.run(0.1)
    raise AssertionError("the hub was not tried again")


def assert_soon(late):
    assert statistics.median(late) <= 2.0
    assert max(late) <= 5.0


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("threshold", [3, 1_000], ids=["circuit opened", "circuit stayed closed"])
def test_new_records_do_not_wait_behind_the_backlog_of_an_outage(tmp_path, mode, threshold):
    found = bench(tmp_path, mode, threshold=threshold, cooldown_s=5.0)
    found.hub.state = "away"
    found.log(BACKLOG_LINES, size=LINE_BYTES)
    found.run(10.0)
    found.hub.state = "ok"
    until_first(found)
    assert_soon(lateness(found, 6.0))


@pytest.mark.parametrize("mode", MODES)
def test_new_records_do_not_wait_behind_the_backlog_of_a_hub_that_was_busy(tmp_path, mode):
    found = bench(tmp_path, mode)
    found.hub.state = "busy"
    found.log(BACKLOG_LINES, size=LINE_BYTES)
    found.run(10.0)
    found.hub.state = "ok"
    until_first(found)
    assert_soon(lateness(found, 6.0))


def test_new_records_do_not_wait_behind_a_send_that_took_long(tmp_path):
    found = bench(tmp_path, SpoolMode.ALWAYS)  # in the other modes lines leave the queue meanwhile
    found.hub.settle_s = 60.0
    found.log(size=LINE_BYTES)
    found.run(1.5)  # the send ends a minute later, on the clock of the test
    found.log(BACKLOG_LINES, size=LINE_BYTES)
    found.step()
    found.hub.settle_s = SETTLE_S
    assert_soon(lateness(found, 6.0))


@pytest.mark.parametrize("mode", MODES)
def test_new_records_do_not_wait_behind_what_was_logged_before_the_first_send(tmp_path, mode):
    found = bench(tmp_path, mode)
    found.log(BACKLOG_LINES, size=LINE_BYTES)  # at the pace of the first send it takes six seconds
    found.step()
    assert_soon(lateness(found, 6.0))


class BusyStart(SlowHub):
    """Takes so long for the first record that a backlog is logged meanwhile."""

    bench = None

    def send(self, bodies, properties):
        bench, self.bench = self.bench, None
        if bench is not None:
            bench.log(BACKLOG_LINES, size=LINE_BYTES)
        return super().send(bodies, properties)


@pytest.mark.parametrize("mode", MODES)
def test_new_records_do_not_wait_behind_what_was_logged_during_a_short_first_send(tmp_path, mode):
    found = bench(tmp_path, mode, make_hub=BusyStart)
    found.hub.bench = found
    found.log(levelno=logging.ERROR, size=LINE_BYTES)
    found.step()
    assert_soon(lateness(found, 6.0))


@pytest.mark.parametrize("mode", MODES)
def test_a_burst_after_silence_is_no_backlog(tmp_path, mode):
    found = bench(tmp_path, mode)
    found.hub.max_send_bytes = 8 << 20
    found.log(size=LINE_BYTES)
    found.run(2.0)  # a send of one record, which says nothing of the pace of others
    found.log(4_000, size=LINE_BYTES)
    found.run(3.0)
    assert len(found.arrived) == 4_001
    assert found.stats.replayed_total == 0


@pytest.mark.parametrize("mode", MODES)
def test_new_records_do_not_wait_where_a_slow_hub_has_fallen_behind(tmp_path, mode):
    found = bench(tmp_path, mode)
    found.hub.events_per_send = 1  # 2 MB a second at most
    for _ in range(30):
        found.log(800, size=LINE_BYTES)
        found.run(1.0)
    assert_soon(lateness(found, 6.0))


class FarHub(SlowHub):
    """Takes 8 MB at once, some time for each send, while 4 MB are logged."""

    def __init__(self, clock):
        super().__init__(clock)
        self.max_send_bytes, self.bench = 8 << 20, None

    def send(self, bodies, properties):
        taken = super().send(bodies, properties)
        self.bench.log(70, size=60_000)
        return taken


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("settle_s", [0.5, 1.1])
def test_a_load_that_the_hub_keeps_up_with_is_no_backlog(tmp_path, mode, settle_s):
    found = bench(tmp_path, mode, make_hub=FarHub, max_bytes=32 << 20)
    found.hub.bench, found.hub.settle_s = found, settle_s
    found.log(70, size=60_000)
    for _ in range(60):
        found.step()
    assert len(found.hub.sends) >= 60
    assert found.stats.replayed_total == 0
    assert found.stats.dropped_total == 0
    assert found.stats.held < 200


def orphans(tmp_path, number, clock):
    """Leave the directories of processes that were killed while the hub was away, ten records each."""
    hub = Hub()
    hub.state = "away"
    left = []
    for index in range(number):
        dead = Bench(hub, tmp_path / "spool", mode=SpoolMode.ALWAYS, name=f"dead{index}-", clock=clock)
        dead.log(10)
        dead.die()
        left += dead.accepted
    return left


@pytest.mark.parametrize("mode", [SpoolMode.OVERFLOW, SpoolMode.ALWAYS])
def test_a_live_record_does_not_wait_for_hundreds_of_orphaned_directories(tmp_path, mode):
    clock = FakeClock()
    left = orphans(tmp_path, 300, clock)
    found = Bench(Hub(), tmp_path / "spool", mode=mode, name="live", clock=clock)
    found.log(levelno=logging.ERROR)
    for _ in range(2):
        found.step()
    assert "live0" in found.arrived
    assert found.stats.recovered_total < len(left) / 4, "all of them were taken over before the first send"
    found.run(60.0)
    assert sorted(found.arrived) == sorted([*left, "live0"])
    assert len(found.hub.sends) < 300 / 4, "each directory took a send of its own"
    found.end()
    assert list((tmp_path / "spool").iterdir()) == []
