import pytest
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from hublog.delivery.accounting import Circuit, State
from hublog.delivery.circuit_breaker import CircuitBreaker
from hublog.delivery.events import ALLOWED, TRANSITIONS, SendEvent, Sending, StateMachine, state_of
from hublog.testing import FakeClock

QUIET = {"circuit": Circuit.CLOSED, "failures": 0, "waiting": 0, "is_stuck": False}
FACTS = st.fixed_dictionaries(
    {
        "circuit": st.sampled_from(Circuit),
        "failures": st.integers(0, 3),
        "waiting": st.integers(0, 2),
        "is_stuck": st.booleans(),
    }
)


@pytest.mark.parametrize(
    ("facts", "state"),
    [
        pytest.param({}, State.HEALTHY, id="nothing is wrong"),
        pytest.param({"failures": 1}, State.DEGRADED, id="a send failed"),
        pytest.param({"failures": 1, "waiting": 9}, State.DEGRADED, id="a send of what waits failed"),
        pytest.param({"waiting": 1}, State.DRAINING, id="one record waits"),
        pytest.param({"circuit": Circuit.OPEN, "failures": 5, "waiting": 9}, State.OPEN, id="open"),
        pytest.param({"circuit": Circuit.HALF_OPEN, "failures": 5}, State.PROBING, id="a probe"),
        pytest.param({"is_stuck": True, "circuit": Circuit.OPEN}, State.DISK_ONLY, id="stuck wins"),
    ],
)
def test_facts_make_a_state(facts, state):
    assert state_of(**QUIET | facts) is state


def test_the_way_of_an_outage_with_records_on_disk():
    machine = StateMachine()
    way = [
        QUIET,
        QUIET | {"failures": 1},
        QUIET | {"failures": 5, "circuit": Circuit.OPEN, "waiting": 9},
        QUIET | {"failures": 5, "circuit": Circuit.HALF_OPEN, "waiting": 9},
        QUIET | {"failures": 6, "circuit": Circuit.OPEN, "waiting": 9},
        QUIET | {"failures": 6, "circuit": Circuit.HALF_OPEN, "waiting": 9},
        QUIET | {"waiting": 8},
        QUIET,
    ]
    changes = [machine.update(**facts) for facts in way]
    assert [change and change[1] for change in changes] == [
        None,
        State.DEGRADED,
        State.OPEN,
        State.PROBING,
        State.OPEN,
        State.PROBING,
        State.DRAINING,
        State.HEALTHY,
    ]


def test_a_hub_that_was_left_in_peace_is_not_back_without_a_probe():
    machine = StateMachine()
    machine.update(**QUIET | {"circuit": Circuit.OPEN})
    assert machine.update(**QUIET) == (State.OPEN, State.PROBING)
    assert machine.update(**QUIET) == (State.PROBING, State.HEALTHY)


def test_a_probe_is_preceded_by_the_open_circuit_that_was_not_looked_at():
    machine = StateMachine()
    assert machine.update(**QUIET | {"circuit": Circuit.HALF_OPEN}) == (State.HEALTHY, State.OPEN)
    assert machine.update(**QUIET | {"circuit": Circuit.HALF_OPEN}) == (State.OPEN, State.PROBING)


def test_every_state_has_its_followers_and_none_follows_itself():
    assert set(ALLOWED) == set(State)
    assert all(followers and state not in followers for state, followers in ALLOWED.items())


def test_each_state_of_sending_is_left_and_reached():
    assert set(TRANSITIONS) == set(Sending)
    reached = {state for follows in TRANSITIONS.values() for state in follows.values()}
    assert reached == set(Sending)
    assert all(state not in follows.values() for state, follows in TRANSITIONS.items())
    assert {event for follows in TRANSITIONS.values() for event in follows} == set(SendEvent)


class AnyFacts(RuleBasedStateMachine):
    """Facts come in any order: looks may be rare, and settings may bring a new breaker."""

    def __init__(self):
        super().__init__()
        self.machine = StateMachine()
        self.seen = State.HEALTHY

    def look(self, facts):
        change = self.machine.update(**facts)
        if change is not None:
            old, new = change
            assert old is self.seen
            assert new in ALLOWED[old]
            self.seen = new
        return change

    @rule(facts=FACTS)
    def looks_once(self, facts):
        self.look(facts)

    @rule(facts=FACTS)
    def looks_twice(self, facts):
        self.look(facts)
        self.look(facts)
        assert self.machine.state is state_of(**facts)
        assert self.look(facts) is None

    @invariant()
    def the_changes_lead_to_the_state(self):
        assert self.machine.state is self.seen


class RealBreaker(RuleBasedStateMachine):
    """With a real breaker that is looked at after each of its steps, no state has to stand in."""

    def __init__(self):
        super().__init__()
        self.clock = FakeClock()
        self.breaker = CircuitBreaker(threshold=3, cooldown_s=30.0, now=self.clock, jitter=lambda: 0.5)
        self.machine = StateMachine()
        self.failures = 0
        self.waiting = 0
        self.is_sending = False

    def look(self):
        facts = {"circuit": self.breaker.state, "failures": self.failures, "waiting": self.waiting}
        self.machine.update(is_stuck=False, **facts)
        assert self.machine.state is state_of(is_stuck=False, **facts)

    @rule(seconds=st.sampled_from([0.1, 5.0, 400.0]), force=st.booleans())
    def begins(self, seconds, force):
        self.clock.advance(seconds)
        self.is_sending = self.is_sending or self.breaker.begin(force=force)
        self.look()

    @rule(permanent=st.booleans())
    def fails(self, permanent):
        if self.is_sending:
            self.is_sending = False
            self.breaker.failed(permanent=permanent)
            self.failures += 1
            self.look()

    @rule()
    def succeeds(self):
        if self.is_sending:
            self.is_sending = False
            self.breaker.succeeded()
            self.failures = 0
            self.look()

    @rule(waiting=st.integers(0, 2))
    def stores(self, waiting):
        self.waiting = waiting
        self.look()


TestAnyFacts = AnyFacts.TestCase
TestRealBreaker = RealBreaker.TestCase
for case in (TestAnyFacts, TestRealBreaker):
    case.settings = hypothesis_settings(max_examples=60, stateful_step_count=30, deadline=None)
