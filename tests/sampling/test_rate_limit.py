import sys
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.kits import interruptions
from tests.kits.interruptions import each_exception, each_interruption

from hublog.sampling import rate_limit
from hublog.sampling.rate_limit import LOGGERS_MAX, RateLimit
from hublog.testing import FakeClock


@pytest.fixture(autouse=True)
def here(monkeypatch):
    """Interrupt this module's code."""
    monkeypatch.setattr(interruptions, "_PACKAGE", "/hublog/sampling/rate_limit")


def taken(limit, times, logger="shop"):
    return sum(limit.allows(logger) for _ in range(times))


def test_the_burst_goes_through_at_once_and_no_more():
    assert taken(RateLimit(10, 5, now=FakeClock()), 50) == 5


def test_then_as_many_as_the_rate_gives():
    clock = FakeClock()
    limit = RateLimit(10, 5, now=clock)
    taken(limit, 50)
    clock.advance(0.3)
    assert taken(limit, 50) == 3


def test_a_quiet_logger_saves_up_a_burst_and_no_more():
    clock = FakeClock()
    limit = RateLimit(10, 5, now=clock)
    taken(limit, 50)
    clock.advance(3_600.0)
    assert taken(limit, 50) == 5


def test_loggers_do_not_share():
    limit = RateLimit(10, 5, now=FakeClock())
    taken(limit, 50, "noisy")
    assert taken(limit, 50, "quiet") == 5


@given(
    st.integers(1, 1_000),
    st.integers(1, 50),
    st.lists(st.tuples(st.floats(0, 10), st.integers(1, 60)), max_size=20),
)
def test_in_any_span_at_most_the_burst_and_what_the_rate_gives_goes_through(per_second, burst, steps):
    clock = FakeClock()
    limit = RateLimit(per_second, burst, now=clock)
    passed = []
    for wait, asked in steps:
        clock.advance(wait)
        passed += [clock()] * taken(limit, asked)
    for first, since in enumerate(passed):
        for last in range(first, len(passed)):
            assert last - first + 1 <= burst + per_second * (passed[last] - since) + 1e-6


@given(st.integers(1, 100), st.integers(1, 20), st.lists(st.floats(0.001, 1), min_size=1, max_size=40))
def test_whoever_stays_under_the_rate_is_never_refused(per_second, burst, waits):
    clock = FakeClock()
    limit = RateLimit(per_second, burst, now=clock)
    for wait in waits:
        clock.advance(wait + 1 / per_second)
        assert limit.allows("shop")


@pytest.mark.parametrize("back", [1e-9, 0.5, 100.0])
def test_a_clock_that_another_thread_has_read_later_gives_nothing_twice(back):
    clock = FakeClock()
    limit = RateLimit(10, 5, now=clock)
    taken(limit, 50)
    clock.advance(0.1)
    assert taken(limit, 50) == 1
    clock.advance(-back)
    assert taken(limit, 50) == 0
    clock.advance(back)
    assert taken(limit, 50) == 0


def test_eight_threads_get_no_more_than_one_would():
    limit = RateLimit(1, 1_000, now=FakeClock())
    counts = []
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    threads = [threading.Thread(target=lambda: counts.append(taken(limit, 500))) for _ in range(8)]
    try:
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        sys.setswitchinterval(before)
    assert sum(counts) == 1_000


def test_whoever_interrupts_the_question_gets_nothing_that_is_given_twice():
    answers = []

    def ask(limit):
        answers.append(limit.allows("shop"))

    for limit in each_interruption(lambda: RateLimit(1, 1, now=FakeClock()), ask, ask):
        assert sorted(answers) == [False, True]
        assert not limit.allows("shop")
        answers.clear()


def test_an_exception_of_a_signal_handler_costs_at_most_a_token():
    for limit in each_exception(
        lambda: RateLimit(1, 3, now=FakeClock()), lambda limit: [limit.allows("shop"), limit.allows("shop")]
    ):
        assert 1 <= taken(limit, 9) <= 3


# The memory


def test_the_buckets_are_bounded_and_those_that_are_too_many_share_one():
    limit = RateLimit(1, 2, now=FakeClock())
    for number in range(2 * LOGGERS_MAX):
        limit.allows(f"logger {number}")
    assert len(limit._buckets) == LOGGERS_MAX
    assert not limit.allows("one more")


def test_full_buckets_make_room_for_others():
    clock = FakeClock()
    limit = RateLimit(1, 2, now=clock)
    for number in range(LOGGERS_MAX):
        limit.allows(f"logger {number}")
    clock.advance(1.5)
    taken(limit, 9, "logger 7")
    assert taken(limit, 9, "new") == 2
    assert len(limit._buckets) == 2
    assert not limit.allows("logger 7")


def test_the_look_for_full_buckets_is_not_taken_for_each_record():
    clock, looks = FakeClock(), []
    limit = RateLimit(1, 2, now=clock)
    forget = limit._forget_full
    limit._forget_full = lambda now: (looks.append(now), forget(now))
    for number in range(2 * LOGGERS_MAX):
        limit.allows(f"logger {number}")
    assert len(looks) == 1
    clock.advance(rate_limit._LOOK_AGAIN_S)
    limit.allows("later")
    assert len(looks) == 2
