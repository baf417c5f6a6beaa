import logging
import math

from hypothesis import given
from hypothesis import strategies as st

from hublog.delivery.batcher import PACE_S, URGENT_PACE_S, Batcher
from hublog.delivery.memory_queue import MemoryQueue
from hublog.delivery.packer import EVENT_BYTES
from hublog.testing import FakeClock

LINE = b"x" * 700


def make(batch_size=100, linger_s=1.0, max_lines=100_000):
    clock = FakeClock()
    queue = MemoryQueue(max_lines=max_lines, max_bytes=1 << 40)
    return clock, queue, Batcher(queue, batch_size=batch_size, linger_s=linger_s, now=clock)


def put(queue, number, **kwargs):
    for _ in range(number):
        queue.put(LINE, **kwargs)


def test_nothing_is_due_while_nothing_waits():
    _, _, batcher = make()
    assert batcher.wait_s() == math.inf


def test_enough_lines_leave_at_once():
    _, queue, batcher = make(batch_size=10)
    put(queue, 9)
    assert batcher.wait_s() == 1.0
    put(queue, 1)
    assert batcher.wait_s() == 0.0
    assert [len(batch.lines) for batch in batcher.take()] == [10]


def test_the_oldest_line_waits_no_longer_than_the_linger():
    clock, queue, batcher = make()
    put(queue, 1)
    batcher.wait_s()
    for _ in range(9):  # lines that keep coming do not put it off
        clock.advance(0.1)
        put(queue, 1)
        assert batcher.wait_s() > 0
    clock.advance(0.11)
    assert batcher.wait_s() == 0.0
    assert len(batcher.take()[0].lines) == 10


def test_a_line_left_behind_keeps_its_age():
    clock, queue, batcher = make(batch_size=5)
    put(queue, 5)
    batcher.wait_s()
    batcher.take()
    put(queue, 1)
    clock.advance(0.9)
    assert 0 < batcher.wait_s() <= 1.0
    clock.advance(1.0)
    assert batcher.wait_s() == 0.0


def test_small_batches_in_a_row_are_paced_and_not_later_than_the_linger():
    clock, queue, batcher = make(batch_size=10)
    put(queue, 10)
    assert batcher.wait_s() == 0.0
    batcher.take()
    put(queue, 10)
    assert 0 < batcher.wait_s() <= PACE_S
    clock.advance(PACE_S)
    assert batcher.wait_s() == 0.0


def test_the_pace_never_exceeds_a_shorter_linger():
    _, queue, batcher = make(batch_size=10, linger_s=0.05)
    put(queue, 10)
    batcher.wait_s()
    batcher.take()
    put(queue, 10)
    assert batcher.wait_s() <= 0.05


def test_an_urgent_line_takes_all_that_waits_with_it():
    _, queue, batcher = make()
    put(queue, 3)
    assert batcher.wait_s() > 0
    put(queue, 1, levelno=logging.ERROR)
    assert batcher.wait_s() == 0.0
    assert len(batcher.take()[0].lines) == 4
    assert batcher.wait_s() == math.inf


def test_urgent_lines_in_a_row_share_an_event():
    clock, queue, batcher = make()
    put(queue, 1, levelno=logging.ERROR)
    assert batcher.wait_s() == 0.0
    batcher.take()
    put(queue, 1, levelno=logging.ERROR)
    assert 0 < batcher.wait_s() <= URGENT_PACE_S
    put(queue, 1, levelno=logging.ERROR)
    clock.advance(URGENT_PACE_S)
    assert batcher.wait_s() == 0.0
    assert len(batcher.take()[0].lines) == 2
    put(queue, 1)
    assert batcher.wait_s() > URGENT_PACE_S, "the next line is not urgent any more"


def test_a_full_event_leaves_before_the_pace_allows_a_small_one():
    _, queue, batcher = make(batch_size=10)
    put(queue, 10)
    batcher.wait_s()
    batcher.take()
    put(queue, batcher.event_bytes // len(LINE) + 1)
    assert batcher.wait_s() == 0.0


def test_a_flush_takes_what_waits_now_and_not_what_comes_later():
    _, queue, batcher = make()
    put(queue, 3)
    batcher.flush()
    put(queue, 2)
    assert batcher.wait_s() == 0.0
    assert [len(batch.lines) for batch in batcher.take()] == [3]
    assert batcher.wait_s() > 0


def test_a_backlog_is_cut_into_full_events():
    _, queue, batcher = make()
    put(queue, 2_000)
    batcher.flush()
    batches = [batch.lines for batch in batcher.take(events=16)]
    assert [sum(map(len, lines)) <= batcher.event_bytes for lines in batches] == [True] * len(batches)
    assert sum(map(len, batches)) == 2_000
    assert len(batches) == math.ceil(2_000 / (batcher.event_bytes // len(LINE)))


def test_no_limit_makes_an_event_longer_than_events_are():
    _, _, batcher = make()
    batcher.limit_event(1 << 30)
    assert batcher.event_bytes == EVENT_BYTES


def test_a_smaller_limit_of_the_link_makes_smaller_events():
    _, queue, batcher = make()
    batcher.limit_event(10_000)
    put(queue, 100)
    batcher.flush()
    assert all(sum(map(len, batch.lines)) <= 10_000 for batch in batcher.take(events=100))


def test_the_worker_is_woken_before_a_small_queue_is_full():
    _, queue, batcher = make(batch_size=100, max_lines=50)
    put(queue, 1)
    batcher.wait_s()
    assert batcher.wake_at() <= 25


def test_a_queue_that_is_smaller_than_a_batch_leaves_when_it_is_half_full():
    _, queue, batcher = make(batch_size=100, max_lines=10)
    put(queue, 4)
    assert batcher.wait_s() > 0
    put(queue, 1)
    assert batcher.wait_s() == 0.0


def test_with_a_long_linger_enough_lines_are_still_enough():
    clock, queue, batcher = make(batch_size=10, linger_s=30.0)
    put(queue, 10)
    batcher.wait_s()
    batcher.take()
    put(queue, 1)
    assert batcher.wait_s() == PACE_S
    assert batcher.wake_at() > 10, "just after a batch only a full event is worth another"
    clock.advance(PACE_S)
    assert batcher.wait_s() > 1.0
    assert batcher.wake_at() == 10


@given(st.lists(st.tuples(st.integers(0, 30), st.floats(0, 0.6)), max_size=60), st.integers(1, 40))
def test_no_line_waits_longer_than_the_linger_when_asked_in_time(arrivals, batch_size):
    clock, queue, batcher = make(batch_size=batch_size)
    born, left = [], []

    def run_until(end):
        while (wait := batcher.wait_s()) <= end - clock():
            clock.advance(wait)
            if batcher.wait_s() == 0:
                left.extend((clock(), line) for batch in batcher.take() for line in batch.lines)

    for number, pause in arrivals:
        for _ in range(number):
            queue.put(b"%d" % len(born))
            born.append(clock())
        end = clock() + pause
        run_until(end)
        clock.advance(max(end - clock(), 0))
    run_until(clock() + 3.0)
    assert [line for _, line in left] == [b"%d" % number for number in range(len(born))]
    assert all(at - born[int(line)] <= 1.0 + 1e-6 for at, line in left)


@given(
    steps=st.lists(
        st.one_of(
            st.tuples(st.just("put"), st.integers(1, 30)),
            st.tuples(st.just("pass"), st.sampled_from([0.01, 0.2, 0.3, 1.0, 5.0])),
            st.tuples(st.just("look"), st.just(0)),
            st.tuples(st.just("flush"), st.just(0)),
        ),
        max_size=20,
    ),
    before=st.integers(0, 3),
    late=st.integers(0, 3),
)
def test_no_line_is_left_asleep_that_comes_just_before_the_sleep(steps, before, late):
    """As the worker does: look, and what comes from now on must wake it, be it earlier than the border."""
    clock, queue, batcher = make(batch_size=10)
    for step, value in steps:
        match step:
            case "put":
                put(queue, value)
            case "pass":
                clock.advance(value)
            case "flush":
                batcher.flush()
            case "look":
                while batcher.wait_s() == 0.0:
                    batcher.take()
    put(queue, before)
    while (wait := batcher.wait_s()) == 0.0:
        batcher.take()
    put(queue, late)  # here the worker has told how long it will sleep
    border = batcher.wake_at()
    assert len(queue) == 0 or wait <= 1.0 or len(queue) >= border


@given(
    rounds=st.lists(st.tuples(st.integers(2, 20_000), st.integers(0, 400), st.floats(0, 0.4)), max_size=8),
)
def test_a_worker_that_may_sleep_is_not_woken_by_the_lines_that_it_has_seen(rounds):
    """Lines of any length, shorter and longer than those before: else it looks and looks until more come."""
    clock, queue, batcher = make()
    for size, number, seconds in rounds:
        for _ in range(number):
            queue.put(b"{%b}" % (b"x" * (size - 2)))
        clock.advance(seconds)
        while batcher.wait_s() == 0.0:
            batcher.take()
        assert len(queue) == 0 or batcher.wake_at() > len(queue)
