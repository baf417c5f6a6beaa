import json
import logging

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.delivery.bench import Bench, Hub, ids_on_disk, line_of

from hublog.delivery.accounting import Circuit, Drop, State
from hublog.delivery.circuit_breaker import FIRST_RATE
from hublog.delivery.packer import LINE_OVERHEAD_BYTES, OVERHEAD_BYTES
from hublog.settings import Packing, SpoolMode

DEBUG, INFO, WARNING, ERROR = logging.DEBUG, logging.INFO, logging.WARNING, logging.ERROR
MODES = [SpoolMode.MEMORY, SpoolMode.OVERFLOW, SpoolMode.ALWAYS]
DISK = MODES[1:]


@pytest.fixture
def hub():
    return Hub()


@pytest.fixture
def make(hub, tmp_path):
    def make_bench(mode=SpoolMode.MEMORY, **options):
        root = None if mode is SpoolMode.MEMORY else tmp_path / "spool"
        return Bench(hub, root, mode=mode, **options)

    return make_bench


def numbers(count, name="p"):
    return [f"{name}{number}" for number in range(count)]


# A hub that takes what it gets.


@pytest.mark.parametrize("mode", MODES)
def test_records_arrive_in_order_once(make, mode):
    bench = make(mode)
    bench.log(25)
    bench.run(2.0)
    assert bench.arrived == numbers(25)
    assert (bench.stats.sent_total, bench.stats.state) == (25, State.HEALTHY)


@pytest.mark.parametrize("mode", MODES)
def test_a_healthy_hub_leaves_nothing_on_disk(make, tmp_path, mode):
    bench = make(mode)
    bench.log(25)
    bench.run(10.0)
    bench.end()
    assert mode is SpoolMode.MEMORY or list((tmp_path / "spool").iterdir()) == []


def test_overflow_writes_nothing_while_all_is_well(make, tmp_path):
    bench = make(SpoolMode.OVERFLOW)
    for _ in range(20):
        bench.log(30)
        bench.run(1.0)
    assert bench.spooler.live.written_bytes == 0


def test_always_writes_each_record_before_the_log_call_returns(make, tmp_path):
    bench = make(SpoolMode.ALWAYS)
    for number in range(1, 10):
        bench.log(1)
        assert ids_on_disk(tmp_path / "spool") == numbers(number)


def test_events_that_one_send_does_not_take_go_with_the_next(make, hub):
    hub.events_per_send = 1
    bench = make(packing=Packing.SINGLE)
    bench.log(9)
    bench.run(3.0)
    assert bench.arrived == numbers(9)


# A hub that is away.


@pytest.mark.parametrize("mode", MODES)
def test_records_arrive_once_the_hub_is_back(make, hub, mode):
    hub.state = "away"
    bench = make(mode)
    bench.log(10)
    bench.run(0.5)
    assert bench.arrived == []
    hub.state = "ok"
    bench.run(10.0)
    assert sorted(bench.arrived) == sorted(numbers(10))


@pytest.mark.parametrize("mode", MODES)
def test_a_hub_that_stays_away_is_asked_once_per_cooldown(make, hub, mode):
    hub.state = "away"
    bench = make(mode)
    bench.log(10)
    bench.run(3.0)
    assert (len(hub.sends), bench.stats.circuit) == (3, Circuit.OPEN)
    bench.run(1.25 * (30.0 + 60.0 + 120.0))  # the jitter of the bench adds a quarter
    assert len(hub.sends) == 6


@pytest.mark.parametrize("mode", DISK)
def test_in_an_outage_records_are_on_disk_within_the_linger(make, hub, tmp_path, mode):
    hub.state = "away"
    bench = make(mode)
    for _ in range(30):
        bench.log(7)
        bench.run(1.1)
    assert sorted(ids_on_disk(tmp_path / "spool")) == sorted(numbers(210))
    assert (bench.stats.spooled, bench.stats.queued) == (210, 0)


def test_without_a_disk_records_wait_in_memory(make, hub):
    hub.state = "away"
    bench = make(max_lines=10_000)
    for _ in range(50):
        bench.log(100, size=600)
        bench.run(1.1)
    assert bench.stats.queued > 4_000
    assert bench.stats.dropped_total == 0
    hub.state = "ok"
    bench.run(400.0)
    assert sorted(bench.arrived) == sorted(numbers(5_000))


def test_a_permanent_error_opens_the_circuit_and_keeps_the_records(make, hub):
    hub.state = "wrong"
    bench = make()
    bench.log(10)
    bench.run(1.0)
    assert (len(hub.sends), bench.stats.circuit, bench.stats.held) == (1, Circuit.OPEN, 10)
    hub.state = "ok"
    bench.run(400.0)
    assert bench.arrived == numbers(10)


def test_a_busy_hub_is_left_alone_as_long_as_it_asks(make, hub):
    hub.state = "busy"
    bench = make()
    bench.log(10)
    bench.run(3.9)
    assert len(hub.sends) == 1
    bench.run(8.0)
    assert len(hub.sends) == 3


def test_a_flush_makes_one_try_although_the_circuit_is_open(make, hub):
    hub.state = "away"
    bench = make()
    bench.log(10)
    bench.run(5.0)
    tried = len(hub.sends)
    hub.state = "ok"
    bench.shipper.flush()
    bench.run(0.1)
    assert len(hub.sends) > tried
    assert sorted(bench.arrived) == sorted(numbers(10))


def test_the_exit_is_hopeless_when_the_hub_never_answered(make, hub):
    hub.state = "away"
    bench = make()
    bench.log(10)
    bench.run(0.0)
    assert not bench.shipper.is_hopeless
    bench.run(1.0)
    assert bench.shipper.is_hopeless


# Full stores.


def test_a_full_queue_drops_what_matters_least_and_counts_it(make, hub):
    hub.state = "away"
    bench = make(max_lines=100)
    for level, number in ((DEBUG, 100), (INFO, 60), (WARNING, 50), (ERROR, 20)):
        bench.log(number, level)
        bench.run(2.0)
    stats = bench.stats
    assert (stats.held, stats.dropped) == (100, {Drop.QUEUE_FULL: 130})
    hub.state = "ok"
    bench.run(400.0)
    levels = [row["level"] for row in hub.rows if "id" in row]
    assert levels.count("ERROR") == 20
    assert levels.count("WARNING") == 50
    assert levels.count("INFO") == 30


def test_errors_find_room_where_others_do_not(make, hub):
    hub.state = "away"
    bench = make(max_lines=100)
    bench.log(200, WARNING)
    bench.log(10, ERROR)
    assert bench.stats.held == 100
    hub.state = "ok"
    bench.run(400.0)
    assert [row["level"] for row in hub.rows].count("ERROR") == 10


def test_what_memory_has_no_room_for_goes_to_disk_and_arrives(make, hub, tmp_path):
    bench = make(SpoolMode.OVERFLOW, max_lines=100)
    bench.log(1_000)
    assert bench.stats.dropped_total == 0
    assert bench.stats.spooled == 1_000 - 90
    bench.run(60.0)
    assert sorted(bench.arrived) == sorted(numbers(1_000))


@pytest.mark.parametrize("mode", DISK)
def test_the_oldest_go_when_the_disk_may_not_hold_more(make, hub, tmp_path, mode):
    hub.state = "away"
    bench = make(mode, spool_bytes=100_000, max_lines=100)
    for _ in range(20):
        bench.log(100, size=200)
        bench.run(1.1)
    bench.end()
    left = ids_on_disk(tmp_path / "spool")
    assert sum(path.stat().st_size for path in (tmp_path / "spool").rglob("*.seg")) <= 100_000 + 8_000
    assert bench.stats.dropped == {Drop.SPOOL_FULL: 2_000 - len(left)}
    assert set(left) <= set(numbers(2_000)[-len(left) - 100 :])


# Records that the hub does not take.


@pytest.mark.parametrize("mode", MODES)
def test_one_record_that_is_refused_does_not_sink_the_others(make, hub, mode):
    bench = make(mode)
    bench.log(50)
    bench.log(1, poison=True)
    bench.log(49)
    bench.run(30.0)
    assert sorted(bench.arrived) == sorted(set(numbers(100)) - {"p50"})
    assert bench.stats.dropped == {Drop.REJECTED: 1}
    assert len(hub.sends) < 20


@pytest.mark.parametrize("packing", [Packing.SINGLE, Packing.LINES])
@pytest.mark.parametrize("at", [0, 555, 998])
def test_a_refused_record_is_found_by_halving(make, hub, packing, at):
    bench = make(packing=packing, batch_size=1_000, max_lines=10_000)
    bench.log(at, size=900)
    bench.log(1, size=900, poison=True)
    bench.log(999 - at, size=900)
    bench.shipper.flush()
    bench.run(30.0)
    assert bench.stats.dropped == {Drop.REJECTED: 1}
    assert bench.stats.sent_total == 999
    with_poison = hub.refused
    assert with_poison <= 1 + 9 + 1  # two events of 512 records
    assert packing is Packing.SINGLE or len(hub.sends) <= 2 * with_poison + 12


def test_several_refused_records_are_each_found(make, hub, tmp_path):
    bench = make(SpoolMode.OVERFLOW)
    for _ in range(5):
        bench.log(20)
        bench.log(1, poison=True)
    bench.run(60.0)
    bench.log(1)
    bench.run(60.0)
    assert bench.stats.dropped == {Drop.REJECTED: 5}
    assert bench.stats.sent_total >= 101
    (path,) = (tmp_path / "spool" / "rejected").iterdir()
    kept = [json.loads(line) for line in path.read_bytes().splitlines()]
    assert {row["id"] for row in kept} == set(numbers(105)) - set(bench.arrived)
    assert kept[0]["rejected_reason"] == "this content is not taken"
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize("mode", MODES)
def test_a_hub_that_refuses_everything_is_away_and_no_record_is_given_up(make, hub, mode):
    hub.state = "refusing"
    bench = make(mode)
    bench.log(40)
    bench.run(300.0)
    assert bench.stats.dropped_total == 0
    assert len(hub.sends) < 60
    hub.state = "ok"
    bench.run(700.0)
    assert sorted(bench.arrived) == sorted(numbers(40))


@pytest.mark.parametrize("mode", MODES)
def test_a_refused_record_that_stays_alone_is_tried_again_until_the_hub_takes_it(make, hub, mode):
    hub.state = "refusing"
    bench = make(mode)
    bench.log(1)
    bench.run(100.0)
    assert (bench.stats.held, bench.stats.dropped_total) == (1, 0)
    assert 2 <= len(hub.sends) <= 6
    hub.state = "ok"
    bench.run(31.0)
    assert bench.arrived == ["p0"]
    assert (bench.stats.held, bench.stats.dropped_total) == (0, 0)


@pytest.mark.parametrize("mode", MODES)
def test_new_records_do_not_wait_for_one_that_is_refused_and_alone(make, hub, mode):
    bench = make(mode)
    bench.log(1, poison=True)
    bench.run(200.0)
    bench.log(1)
    bench.run(3.0)
    assert bench.arrived == ["p1"]
    assert bench.stats.dropped == {Drop.REJECTED: 1}


def test_records_are_split_until_an_event_fits(make, hub):
    hub.max_send_bytes = 3 * OVERHEAD_BYTES
    bench = make(batch_size=40)
    bench.log(40, size=300)
    bench.run(5.0)
    assert bench.arrived == numbers(40)


def test_a_record_larger_than_the_hub_takes_is_set_aside(make, hub):
    hub.max_send_bytes = 3 * OVERHEAD_BYTES
    bench = make()
    bench.log(5, size=300)
    bench.log(1, size=5_000)
    bench.log(5, size=300)
    bench.run(5.0)
    assert bench.stats.dropped == {Drop.TOO_LARGE: 1}
    assert len(bench.arrived) == 10


def test_a_record_that_can_be_cut_to_fit_arrives(make, hub):
    hub.max_send_bytes = 3 * OVERHEAD_BYTES
    bench = make(SpoolMode.OVERFLOW)
    asked = []

    def shorten(line, max_bytes):
        asked.append(max_bytes)
        return line_of("cut")

    bench.shipper._rejections._shorten = shorten
    bench.log(5, size=300)
    bench.log(1, size=5_000)
    bench.run(5.0)
    assert set(bench.arrived) == {*numbers(5), "cut"}
    assert (bench.stats.dropped_total, bench.stats.held) == (0, 0)
    assert asked == [2 * OVERHEAD_BYTES - LINE_OVERHEAD_BYTES]


# Replay.


@pytest.mark.parametrize("mode", DISK)
def test_new_records_do_not_wait_behind_those_of_the_outage(make, hub, mode):
    hub.state = "away"
    bench = make(mode, batch_size=100)
    for _ in range(100):
        bench.log(1_000, size=500)
        bench.run(1.1)
    hub.state = "ok"
    while bench.stats.circuit is not Circuit.CLOSED:
        bench.run(1.0)
    assert bench.stats.spooled > 10 * FIRST_RATE // 600
    bench.log(10)
    new = set(bench.accepted[-10:])
    bench.run(5.0)
    assert new <= set(bench.arrived)
    assert bench.stats.state is State.DRAINING
    bench.run(120.0)
    assert len(set(bench.arrived)) == len(bench.accepted)
    assert bench.stats.state is State.HEALTHY
    assert bench.listener.replayed_records == [bench.stats.replayed_total]


@pytest.mark.parametrize("mode", MODES)
def test_a_replay_takes_as_many_events_at_once_as_one_send(make, hub, mode):
    hub.state, hub.max_send_bytes = "away", 8 << 20
    bench = make(mode, batch_size=100, max_lines=20_000)
    bench.log(6_000, size=900)
    bench.run(3.0)
    before = len(hub.sends)
    hub.state = "ok"
    bench.run(60.0)
    assert bench.stats.held == 0
    replay = hub.sends[before:]
    assert replay[0] == 1
    assert max(replay) > 4


@pytest.mark.parametrize("mode", DISK)
def test_a_long_outage_needs_few_directories_since_each_holds_a_descriptor(make, hub, tmp_path, mode):
    hub.max_send_bytes = 4_096  # so that little is a backlog
    bench = make(mode)
    bench.log()
    bench.run(2.0)
    hub.state = "away"
    for _ in range(300):
        bench.log(20, size=1_000)
        bench.shipper.flush()
        bench.run(0.1)
    assert len(hub.sends) > 300
    assert len(list((tmp_path / "spool").iterdir())) < 150
    hub.state = "ok"
    bench.log(10)
    new = set(bench.accepted[-10:])
    bench.shipper.flush()
    bench.run(2.0)
    assert new <= set(bench.arrived)


def test_the_states_of_an_outage_follow_each_other(make, hub):
    bench = make(SpoolMode.OVERFLOW)
    bench.log(1)
    bench.run(2.0)
    hub.state = "away"
    for _ in range(10):
        bench.log(400, size=600)
        bench.run(1.0)
    hub.state = "ok"
    bench.run(100.0)
    assert bench.listener.states == ["degraded", "open", "probing", "draining", "healthy"]


# What is told of drops.


def test_drops_are_told_and_a_record_of_them_is_sent_after_the_recovery(make, hub):
    bench = make(max_lines=100)
    shipped = []
    bench.shipper.dispatcher.ship_report = shipped.append
    bench.log(1)
    bench.run(2.0)
    hub.state = "away"
    bench.log(1)
    bench.run(1.0)
    for _ in range(5):
        bench.log(100)
        bench.run(2.0)
    assert sum(report.count for report in bench.listener.drops) == bench.stats.dropped_total > 0
    assert shipped == []
    hub.state = "ok"
    bench.run(400.0)
    assert [report.count for report in shipped] == [bench.stats.dropped_total]


def test_drops_are_not_told_more_often_than_the_observer_allows(make, hub):
    hub.state = "away"
    bench = make(max_lines=10)
    bench.listener.may_report_drops = False
    bench.log(100)
    bench.run(2.0)
    assert bench.listener.drops == []
    bench.listener.may_report_drops = True
    bench.run(2.0)
    assert [report.count for report in bench.listener.drops] == [bench.stats.dropped_total]


# Other lives.


@pytest.mark.parametrize("mode", DISK)
def test_what_a_dead_process_left_is_sent_by_the_next_within_two_seconds(make, hub, mode):
    hub.state = "away"
    bench = make(mode)
    bench.log(500)
    bench.run(2.0)
    bench.end()
    hub.state = "ok"
    after = make(SpoolMode.OVERFLOW, name="q")
    after.log(1)
    after.run(2.0)
    assert set(bench.arrived) == {*numbers(500), "q0"}
    assert (after.stats.recovered_total, after.stats.held) == (500, 0)


def test_always_survives_a_kill(make, hub):
    bench = make(SpoolMode.ALWAYS)
    bench.log(100)
    bench.run(2.0)
    bench.log(77)
    bench.die()
    after = make(SpoolMode.OVERFLOW, name="q")
    after.run(3.0)
    assert set(after.arrived) == set(numbers(177))


def test_what_was_on_its_way_at_the_exit_is_on_disk_and_leaves_it_when_it_arrives(make, hub, tmp_path):
    hub.state = "away"
    bench = make(SpoolMode.OVERFLOW, threshold=100)
    bench.log(30)
    bench.run(0.0)
    bench.log(5)
    assert bench.shipper.secure() == 0
    assert sorted(ids_on_disk(tmp_path / "spool")) == sorted(numbers(35))
    hub.state = "ok"
    bench.shipper.flush()
    bench.run(1.0)
    assert sorted(bench.arrived) == sorted(numbers(35))
    bench.end()
    assert list((tmp_path / "spool").iterdir()) == []


@pytest.mark.parametrize("mode", MODES)
def test_a_mark_is_past_when_all_before_it_has_arrived(make, hub, mode):
    hub.state = "away"
    bench = make(mode)
    bench.log(30)
    bench.run(2.0)
    bench.log(5)
    mark = bench.shipper.mark()
    bench.log(5)
    bench.run(2.0)
    assert not bench.shipper.is_past(mark)
    hub.state = "ok"
    for _ in range(200):
        bench.step()
        bench.clock.advance(0.5)
        if bench.shipper.is_past(mark):
            break
    assert set(numbers(35)) <= set(bench.arrived)


@given(
    steps=st.lists(
        st.one_of(
            st.tuples(st.just("log"), st.integers(1, 30), st.sampled_from([DEBUG, INFO, WARNING, ERROR])),
            st.tuples(st.just("hub"), st.sampled_from(["ok", "away", "busy", "wrong", "refusing"])),
            st.tuples(st.just("run"), st.sampled_from([0.0, 0.3, 2.0, 40.0])),
        ),
        max_size=25,
    )
)
def test_whatever_the_hub_does_in_memory_nothing_is_lost_uncounted(steps):
    hub = Hub()
    bench = Bench(hub, max_lines=60)
    for step in steps:
        match step:
            case ("log", number, level):
                bench.log(number, level)
            case ("hub", state):
                hub.state = state
            case ("run", seconds):
                bench.run(seconds)
    hub.state = "ok"
    bench.run(1_000.0)
    assert bench.stats.held == 0
    assert len(bench.arrived) == len(set(bench.arrived))
    assert len(bench.arrived) + bench.stats.dropped_total == len(bench.accepted)


def test_a_step_that_neither_waits_nor_makes_progress_is_an_error(make):
    bench = make()
    bench.log(1)
    bench.queue.take = lambda **_: None  # something waits and cannot be taken
    bench.shipper.flush()
    with pytest.raises(AssertionError, match="ready: no wait, no progress"):
        bench.run(1.0)
