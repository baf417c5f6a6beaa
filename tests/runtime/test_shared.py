import os

from hublog.runtime.shared import Runtime
from hublog.testing import FakeClock


def test_all_exit_hooks_of_a_process_share_one_budget():
    clock = FakeClock()
    runtime = Runtime(now=clock)
    assert (runtime.is_exiting, runtime.exit_end_mono) == (False, None)
    end = runtime.begin_exit(5.0)
    assert end == clock() + 5.0
    clock.advance(3.0)
    assert runtime.begin_exit(5.0) == runtime.exit_end_mono == end
    assert runtime.is_exiting


def test_a_wait_in_vain_just_before_the_exit_counts():
    clock = FakeClock()
    runtime = Runtime(now=clock)
    clock.advance(2.0)
    runtime.waited_in_vain(4.0)
    clock.advance(1.0)
    assert runtime.begin_exit(5.0) == clock() + 1.0


def test_a_wait_that_took_longer_than_the_budget_leaves_nothing():
    clock = FakeClock()
    runtime = Runtime(now=clock)
    runtime.waited_in_vain(6.0)
    assert runtime.begin_exit(5.0) == clock()


def test_waits_in_vain_that_follow_each_other_count_together():
    clock = FakeClock()
    runtime = Runtime(now=clock)
    for _ in range(2):  # two handlers, flushed by logging.shutdown() one after the other
        clock.advance(2.0)
        runtime.waited_in_vain(2.0)
    assert runtime.begin_exit(5.0) == clock() + 1.0
    other = Runtime(now=clock)
    other.waited_in_vain(2.0)
    clock.advance(4.0)
    other.waited_in_vain(1.0)
    assert other.begin_exit(5.0) == clock() + 4.0


def test_a_wait_in_vain_long_ago_does_not_count():
    clock = FakeClock()
    runtime = Runtime(now=clock)
    runtime.waited_in_vain(5.0)
    clock.advance(6.0)
    assert runtime.begin_exit(5.0) == clock() + 5.0


def test_who_gave_up_lets_nobody_wait():
    clock = FakeClock()
    runtime = Runtime(now=clock)
    runtime.begin_exit(5.0)
    runtime.give_up_exit()
    assert runtime.begin_exit(5.0) == clock()


def test_a_forked_child_has_an_exit_of_its_own(monkeypatch):
    clock = FakeClock()
    runtime = Runtime(now=clock)
    runtime.begin_exit(5.0)
    clock.advance(4.0)
    monkeypatch.setattr(os, "getpid", lambda: -1)
    assert runtime.exit_end_mono is None
    assert runtime.begin_exit(5.0) == clock() + 5.0
