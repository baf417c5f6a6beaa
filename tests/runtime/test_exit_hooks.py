import os
import sys
from types import SimpleNamespace

from hublog.runtime.exit_hooks import Exits
from hublog.testing import FakeClock


def test_all_exit_hooks_of_a_process_share_one_budget():
    clock = FakeClock()
    exits = Exits(now=clock)
    assert (exits.is_begun, exits.end_mono) == (False, None)
    end = exits.begin(5.0)
    assert end == clock() + 5.0
    clock.advance(3.0)
    assert exits.begin(5.0) == exits.end_mono == end
    assert exits.is_begun


def test_a_wait_in_vain_just_before_the_exit_counts():
    clock = FakeClock()
    exits = Exits(now=clock)
    clock.advance(2.0)
    exits.waited_in_vain(4.0)
    clock.advance(1.0)
    assert exits.begin(5.0) == clock() + 1.0


def test_a_wait_that_took_longer_than_the_budget_leaves_nothing():
    clock = FakeClock()
    exits = Exits(now=clock)
    exits.waited_in_vain(6.0)
    assert exits.begin(5.0) == clock()


def test_waits_in_vain_that_follow_each_other_count_together():
    clock = FakeClock()
    exits = Exits(now=clock)
    for _ in range(2):  # two handlers, flushed by logging.shutdown() one after the other
        clock.advance(2.0)
        exits.waited_in_vain(2.0)
    assert exits.begin(5.0) == clock() + 1.0
    other = Exits(now=clock)
    other.waited_in_vain(2.0)
    clock.advance(4.0)
    other.waited_in_vain(1.0)
    assert other.begin(5.0) == clock() + 4.0


def test_a_wait_in_vain_long_ago_does_not_count():
    clock = FakeClock()
    exits = Exits(now=clock)
    exits.waited_in_vain(5.0)
    clock.advance(6.0)
    assert exits.begin(5.0) == clock() + 5.0


def test_who_gave_up_lets_nobody_wait():
    clock = FakeClock()
    exits = Exits(now=clock)
    exits.begin(5.0)
    exits.give_up()
    assert exits.begin(5.0) == clock()


def test_a_forked_child_has_an_exit_of_its_own(monkeypatch):
    clock = FakeClock()
    exits = Exits(now=clock)
    exits.begin(5.0)
    clock.advance(4.0)
    monkeypatch.setattr(os, "getpid", lambda: -1)
    assert exits.end_mono is None
    assert exits.begin(5.0) == clock() + 5.0


class Finalizers:
    """As ``multiprocessing.util`` keeps them; a child clears them when it begins."""

    def __init__(self):
        self.hooks = []

    def make(self, _of, hook, *, exitpriority):
        self.hooks.append(hook)
        number = len(self.hooks)
        return SimpleNamespace(still_active=lambda: len(self.hooks) >= number)


def test_multiprocessing_is_told_once_and_again_when_it_has_forgotten(monkeypatch):
    finalizers = Finalizers()
    monkeypatch.setitem(sys.modules, "multiprocessing.util", SimpleNamespace(Finalize=finalizers.make))
    exits = Exits()
    exits.follow_multiprocessing()
    exits.follow_multiprocessing()
    assert len(finalizers.hooks) == 1
    finalizers.hooks.clear()
    exits.follow_multiprocessing()
    assert len(finalizers.hooks) == 1


def test_multiprocessing_that_is_just_being_imported_is_left_alone(monkeypatch):
    monkeypatch.setitem(sys.modules, "multiprocessing.util", SimpleNamespace())
    Exits().follow_multiprocessing()
