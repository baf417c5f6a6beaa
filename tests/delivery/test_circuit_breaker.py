import pytest
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from hublog.delivery.accounting import Circuit
from hublog.delivery.circuit_breaker import CircuitBreaker
from hublog.testing import FakeClock


def make_breaker(clock, threshold=3, cooldown_s=30.0, jitter=0.5):
    return CircuitBreaker(threshold=threshold, cooldown_s=cooldown_s, now=clock, jitter=lambda: jitter)


def fail(breaker, times=1, **kwargs):
    for _ in range(times):
        assert breaker.begin(force=True)
        breaker.failed(**kwargs)


def test_a_new_breaker_lets_a_send_through():
    breaker = make_breaker(FakeClock())
    assert (breaker.state, breaker.wait_s(), breaker.begin()) == (Circuit.CLOSED, 0.0, True)


def test_retries_below_the_threshold_wait_twice_as_long_each_time():
    breaker = make_breaker(FakeClock(), threshold=10)
    waits = []
    for _ in range(6):
        fail(breaker)
        waits.append(round(breaker.wait_s(), 6))
    assert waits == [0.2, 0.4, 0.8, 1.6, 3.2, 5.0]


def test_the_threshold_opens_the_circuit_for_the_cooldown():
    clock = FakeClock()
    breaker = make_breaker(clock, jitter=0.0)
    fail(breaker, 3)
    assert (breaker.state, breaker.wait_s()) == (Circuit.OPEN, 30.0)
    clock.advance(29.9)
    assert not breaker.begin()
    clock.advance(0.2)
    assert breaker.begin()
    assert breaker.state is Circuit.HALF_OPEN


def test_a_failed_probe_doubles_the_cooldown_up_to_ten_times():
    clock = FakeClock()
    breaker = make_breaker(clock, jitter=0.0)
    fail(breaker, 3)
    waits = []
    for _ in range(5):
        clock.advance(breaker.wait_s())
        assert breaker.begin()
        breaker.failed()
        waits.append(breaker.wait_s())
    assert waits == [60.0, 120.0, 240.0, 300.0, 300.0]


def test_a_successful_probe_closes_the_circuit_and_forgets_the_failures():
    clock = FakeClock()
    breaker = make_breaker(clock)
    fail(breaker, 3)
    clock.advance(46)
    breaker.begin()
    breaker.succeeded()
    assert (breaker.state, breaker.wait_s()) == (Circuit.CLOSED, 0.0)
    fail(breaker, 2)
    assert breaker.state is Circuit.CLOSED


def test_a_permanent_failure_opens_at_once():
    breaker = make_breaker(FakeClock(), threshold=50)
    fail(breaker, permanent=True)
    assert breaker.state is Circuit.OPEN


def test_a_permanent_failure_that_lasts_is_looked_at_every_five_minutes():
    clock = FakeClock()
    breaker = make_breaker(clock, jitter=0.0)
    waits = []
    for _ in range(3):
        fail(breaker, permanent=True)
        waits.append(breaker.wait_s())
        clock.advance(breaker.wait_s())
    assert waits == [30.0, 300.0, 300.0]


def test_a_busy_hub_gets_the_time_that_it_asks_for_and_the_circuit_stays_closed():
    clock = FakeClock()
    breaker = make_breaker(clock, jitter=1.0)
    for times in range(1, 20):
        assert breaker.begin()
        breaker.throttled(wait_s=4.0)
        assert (breaker.wait_s(), breaker.state, breaker.failures) == (5.0, Circuit.CLOSED, times)
        clock.advance(5.0)
    breaker.succeeded()
    assert breaker.failures == 0


def test_a_busy_answer_to_a_probe_closes_the_circuit():
    clock = FakeClock()
    breaker = make_breaker(clock)
    fail(breaker, 3)
    assert breaker.begin(force=True)
    breaker.throttled(wait_s=4.0)
    assert breaker.state is Circuit.CLOSED


def test_force_sends_a_probe_before_the_cooldown_is_over():
    breaker = make_breaker(FakeClock())
    fail(breaker, 3)
    assert not breaker.begin()
    assert breaker.begin(force=True)


@pytest.mark.parametrize(("failures", "expected"), [(1, [0.15, 0.25]), (3, [30.0, 45.0])])
def test_jitter_spreads_retries_either_way_and_never_shortens_the_cooldown(failures, expected):
    waits = []
    for jitter in (0.0, 1.0):
        breaker = make_breaker(FakeClock(), jitter=jitter)
        fail(breaker, failures)
        waits.append(round(breaker.wait_s(), 6))
    assert waits == expected


class BreakerMachine(RuleBasedStateMachine):
    """Against a model that only counts failures in a row."""

    def __init__(self):
        super().__init__()
        self.clock = FakeClock()
        self.breaker = make_breaker(self.clock, threshold=4, cooldown_s=10.0, jitter=1.0)
        self.failures = 0
        self.under_way = False

    @rule(seconds=st.floats(0, 200))
    def time_passes(self, seconds):
        self.clock.advance(seconds)

    @precondition(lambda self: not self.under_way)
    @rule()
    def begins(self):
        due = self.breaker.wait_s() == 0
        self.under_way = self.breaker.begin()
        assert self.under_way == due

    @precondition(lambda self: self.under_way)
    @rule()
    def succeeds(self):
        self.breaker.succeeded()
        self.under_way = False
        self.failures = 0

    @precondition(lambda self: self.under_way)
    @rule(seconds=st.floats(0, 60))
    def is_throttled(self, seconds):
        self.breaker.throttled(wait_s=seconds)
        self.under_way = False
        self.failures = 0

    @precondition(lambda self: self.under_way)
    @rule(permanent=st.booleans())
    def fails(self, permanent):
        self.breaker.failed(permanent=permanent)
        self.under_way = False
        self.failures = max(self.failures + 1, 4 if permanent else 0)

    @invariant()
    def state_follows_from_the_failures(self):
        if self.failures < 4:
            assert self.breaker.state is Circuit.CLOSED
        else:
            assert self.breaker.state is (Circuit.HALF_OPEN if self.under_way else Circuit.OPEN)

    @invariant()
    def waits_are_bounded(self):
        assert 0 <= self.breaker.wait_s() <= 100.0 * 1.5 + 1e-9


TestBreakerMachine = BreakerMachine.TestCase
TestBreakerMachine.settings = hypothesis_settings(max_examples=60, stateful_step_count=40, deadline=None)
