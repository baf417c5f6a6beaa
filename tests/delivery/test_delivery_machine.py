"""Lives of processes that share a hub and a spool, in whatever order things go wrong."""

import itertools
import logging
import shutil
import tempfile
from pathlib import Path

from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, precondition, rule
from tests.delivery.bench import Bench, Hub, ids_on_disk

from hublog.settings import Packing, SpoolMode
from hublog.testing import FakeClock

LEVELS = st.sampled_from([logging.DEBUG, logging.INFO, logging.WARNING, logging.ERROR])


class Lives(RuleBasedStateMachine):
    """What a log call has taken is delivered, on disk, in memory or counted, at every moment.

    A process that is killed may lose what it had in memory; nothing else is lost without a count. What is
    delivered twice was on its way when its process died.
    """

    def __init__(self):
        super().__init__()
        self.folder = Path(tempfile.mkdtemp(prefix="lives-"))
        self.root = self.folder / "spool"
        self.clock = FakeClock()
        self.ticks = itertools.count(1)
        self.hub = Hub()
        self.benches = []
        self.lives = 0
        self.accepted = []
        self.dropped = 0
        self.counted_twice = 0
        self.lost_in_memory = 0
        self.may_arrive_twice = 0

    def teardown(self):
        self.hub.state = "ok"
        if not self.benches:
            self.start(SpoolMode.OVERFLOW, Packing.LINES)
        for _ in range(3):
            for bench in self.benches:
                bench.log(1)  # whether a refused record is to blame shows the next one
                bench.run(60.0)
        assert all(bench.stats.held == 0 for bench in self.benches)
        for bench in self.benches:
            self.close(bench)
        counts = self.hub.counts
        missing = set(self.accepted) - set(counts)
        assert len(missing) <= self.dropped + self.lost_in_memory
        assert len(missing) >= self.dropped - self.counted_twice
        assert set(counts) <= set(self.accepted)
        assert sum(counts.values()) - len(counts) <= self.may_arrive_twice
        assert ids_on_disk(self.root) == [] if self.root.exists() else True
        shutil.rmtree(self.folder)

    def close(self, bench):
        bench.end()
        self.dropped += bench.stats.dropped_total
        self.accepted += bench.accepted

    @precondition(lambda self: len(self.benches) < 3)
    @rule(mode=st.sampled_from([SpoolMode.OVERFLOW, SpoolMode.ALWAYS]), packing=st.sampled_from(Packing))
    def start(self, mode, packing):
        self.lives += 1
        packing = Packing.LINES if packing is Packing.GZIP else packing  # the hub of the tests reads lines
        self.benches.append(
            Bench(
                self.hub,
                self.root,
                mode=mode,
                name=f"p{self.lives}-",
                clock=self.clock,
                wall=lambda: next(self.ticks),  # else names would be random, and with them the order
                packing=packing,
                max_lines=40,
                batch_size=10,
                cooldown_s=2.0,
            )
        )

    @precondition(lambda self: self.benches)
    @rule(data=st.data(), number=st.integers(1, 60), level=LEVELS, poison=st.booleans())
    def log(self, data, number, level, poison):
        bench = data.draw(st.sampled_from(self.benches))
        bench.log(number, level)
        if poison:
            bench.log(1, level, poison=True)

    @rule(state=st.sampled_from(["ok", "ok", "away", "busy", "wrong", "refusing"]))
    def hub_is(self, state):
        self.hub.state = state

    @rule(events=st.sampled_from([1, 2, 16]))
    def hub_takes_at_once(self, events):
        self.hub.events_per_send = events

    @precondition(lambda self: self.benches)
    @rule(data=st.data(), seconds=st.sampled_from([0.0, 0.3, 2.0, 10.0]))
    def run_on(self, data, seconds):
        data.draw(st.sampled_from(self.benches)).run(seconds)

    @precondition(lambda self: self.benches)
    @rule(data=st.data())
    def flush(self, data):
        bench = data.draw(st.sampled_from(self.benches))
        bench.shipper.flush()
        bench.run(0.0)

    @precondition(lambda self: self.benches)
    @rule(data=st.data())
    def secure(self, data):
        bench = data.draw(st.sampled_from(self.benches))
        assert bench.shipper.secure() == 0
        bench.check_accounting()

    @precondition(lambda self: self.benches)
    @rule(data=st.data())
    def end(self, data):
        bench = data.draw(st.sampled_from(self.benches))
        self.benches.remove(bench)
        self.close(bench)
        assert bench.stats.held == bench.stats.spooled

    @precondition(lambda self: self.benches)
    @rule(data=st.data())
    def is_killed(self, data):
        bench = data.draw(st.sampled_from(self.benches))
        self.benches.remove(bench)
        stats = bench.stats
        bench.die()
        in_memory = stats.queued + stats.in_flight
        if bench.mode is SpoolMode.ALWAYS:
            assert in_memory == 0
        self.accepted += bench.accepted
        self.dropped += stats.dropped_total
        self.lost_in_memory += in_memory
        # What was settled in part is looked at again, whether it had arrived or was set aside.
        self.may_arrive_twice += bench.shipper._in_flight.unsettled_lines
        self.counted_twice += bench.shipper._in_flight.unsettled_lines


TestLives = Lives.TestCase
TestLives.settings = hypothesis_settings(max_examples=40, stateful_step_count=30, deadline=None)
