import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hublog.delivery.batcher import Batcher
from hublog.delivery.bounded_queue import BoundedQueue
from hublog.delivery.breaker import Breaker
from hublog.delivery.packer import OVERHEAD_BYTES, Packer
from hublog.delivery.shipper import Shipper
from hublog.delivery.stats import Circuit, Drop
from hublog.errors import PermanentSendError, TransientSendError
from hublog.settings import Packing
from hublog.testing import FakeClock, MemorySender


class Listener:
    def __init__(self):
        self.failures = []
        self.successes = 0

    def send_failed(self, error, stats):
        self.failures.append(str(error))

    def send_succeeded(self, stats):
        self.successes += 1


class Bench:
    """A shipper with everything around it in the test's hands."""

    def __init__(self, sender, *, packing=Packing.LINES, max_lines=1_000, batch_size=10, threshold=3):
        self.clock = FakeClock()
        self.sender = sender
        self.listener = Listener()
        self.queue = BoundedQueue(max_lines=max_lines, max_bytes=1 << 30)
        self.shipper = Shipper(
            self.queue,
            sender,
            packer=Packer(packing),
            batcher=Batcher(self.queue, batch_size=batch_size, linger_s=1.0, now=self.clock),
            breaker=Breaker(threshold=threshold, cooldown_s=30.0, now=self.clock, jitter=lambda: 0.5),
            observer=self.listener,
        )
        self.offered = 0

    def log(self, number, size=20):
        for _ in range(number):
            self.offered += 1
            if not self.queue.put(b'{"n":%d,"x":"%b"}' % (self.offered, b"x" * size)):
                self.shipper.refused.add()
            self.check_books()

    def run(self, seconds):
        """Step whenever a step is due, as the worker does."""
        end = self.clock() + seconds
        while True:
            wait = self.shipper.step()
            self.check_books()
            if self.clock() + wait > end:
                break
            self.clock.advance(wait)
        self.clock.advance(max(end - self.clock(), 0))

    def check_books(self):
        stats = self.shipper.stats()
        assert stats.accepted_total == self.offered
        assert stats.accepted_total == stats.sent_total + stats.dropped_total + stats.held

    @property
    def arrived(self):
        return [json.loads(line)["n"] for body in self.sender.bodies for line in body.splitlines()]


def test_lines_arrive_in_order_once():
    bench = Bench(MemorySender())
    bench.log(25)
    bench.run(2.0)
    assert bench.arrived == list(range(1, 26))
    assert bench.shipper.stats().sent_total == 25


def test_lines_leave_once_the_hub_is_back():
    bench = Bench(MemorySender(TransientSendError("away"), TransientSendError("away")))
    bench.log(10)
    assert bench.shipper.step() == pytest.approx(0.2)
    assert bench.arrived == []
    bench.run(1.0)
    assert bench.arrived == list(range(1, 11))


def test_a_hub_that_stays_away_is_asked_once_per_cooldown():
    sender = MemorySender(*[TransientSendError("away")] * 1_000)
    bench = Bench(sender)
    bench.log(10)
    bench.run(3.0)
    assert (sender.sends_total, bench.shipper.stats().circuit) == (3, Circuit.OPEN)
    bench.run(30.0 + 60.0 + 120.0)
    assert sender.sends_total == 6


def test_a_permanent_error_opens_the_circuit_and_keeps_the_records():
    sender = MemorySender(PermanentSendError("wrong key"))
    bench = Bench(sender)
    bench.log(10)
    bench.run(1.0)
    assert (sender.sends_total, bench.shipper.stats().circuit) == (1, Circuit.OPEN)
    assert bench.shipper.stats().held == 10
    bench.run(60.0)
    assert bench.arrived == list(range(1, 11))


def test_an_exception_of_the_client_is_one_more_failed_send():
    bench = Bench(MemorySender(KeyError("inside the client")))
    bench.log(10)
    bench.run(5.0)
    assert bench.arrived == list(range(1, 11))
    assert bench.listener.failures == ["KeyError in the client of the hub"]


def test_what_the_queue_refuses_is_counted_as_dropped():
    bench = Bench(MemorySender(*[TransientSendError("away")] * 100), max_lines=10)
    bench.log(15)
    assert bench.shipper.stats().dropped == {Drop.QUEUE_FULL: 5}


def test_the_bound_holds_while_a_batch_is_stuck_in_flight():
    bench = Bench(MemorySender(*[TransientSendError("away")] * 100), max_lines=10)
    bench.log(10)
    bench.run(0.1)
    bench.log(5)
    assert bench.shipper.stats().held == 10
    assert bench.shipper.stats().dropped_total == 5


def test_flush_sends_at_once_and_probes_an_open_circuit_once():
    sender = MemorySender(*[TransientSendError("away")] * 4)
    bench = Bench(sender)
    bench.log(10)
    bench.run(3.0)
    bench.shipper.flush()
    bench.shipper.step()
    assert sender.sends_total == 4
    bench.shipper.flush()
    bench.shipper.step()
    assert bench.arrived == list(range(1, 11))


def test_an_event_over_the_links_limit_is_split_until_it_fits():
    bench = Bench(MemorySender(max_send_bytes=OVERHEAD_BYTES + 1_000), batch_size=100)
    bench.log(100, size=90)
    bench.run(5.0)
    assert bench.arrived == list(range(1, 101))
    assert all(len(body) <= OVERHEAD_BYTES + 1_000 for body in bench.sender.bodies)


def test_one_line_that_never_fits_is_dropped_and_its_neighbours_arrive():
    bench = Bench(MemorySender(max_send_bytes=2_000), batch_size=3)
    bench.log(1)
    bench.log(1, size=5_000)
    bench.log(1)
    bench.run(5.0)
    assert bench.arrived == [1, 3]
    assert bench.shipper.stats().dropped == {Drop.TOO_LARGE: 1}


def test_a_backlog_of_several_events_goes_in_few_sends():
    sender = MemorySender()
    bench = Bench(sender, packing=Packing.GZIP, max_lines=100_000)
    for number in range(20_000):
        bench.queue.put(b'{"n":%d,"x":"%b"}' % (number, b"y" * 200))
    bench.offered = 20_000
    bench.run(2.0)
    assert len(sender.bodies) >= 8
    assert sender.sends_total <= 2


def test_dropping_what_is_held_counts_all_of_it():
    bench = Bench(MemorySender(TransientSendError("away")))
    bench.log(25)
    bench.shipper.step()
    assert bench.shipper.drop_held(Drop.EXIT) == 25
    bench.check_books()
    assert bench.shipper.step() == math.inf


def test_refit_keeps_what_is_in_flight_and_sends_it_by_the_new_sender():
    bench = Bench(MemorySender(TransientSendError("away")))
    bench.log(10)
    bench.shipper.step()
    bench.sender = MemorySender()
    clock = bench.clock
    bench.shipper.refit(
        bench.sender,
        packer=Packer(Packing.LINES),
        batcher=Batcher(bench.queue, batch_size=10, linger_s=1.0, now=clock),
        breaker=Breaker(threshold=3, cooldown_s=30.0, now=clock),
        observer=bench.listener,
    )
    bench.run(0.0)
    assert bench.arrived == list(range(1, 11))


ERRORS = st.sampled_from(
    [
        TransientSendError("away"),
        PermanentSendError("wrong"),
        KeyError("client"),
        TransientSendError("busy", retry_after_s=4),
    ]
)


@given(
    st.lists(ERRORS, max_size=12),
    st.lists(st.tuples(st.integers(0, 40), st.floats(0, 40)), max_size=15),
    st.sampled_from(list(Packing)),
    st.integers(1, 60),
)
def test_every_record_is_sent_once_or_counted(errors, waves, packing, max_lines):
    bench = Bench(MemorySender(*errors), packing=packing, max_lines=max_lines)
    for number, seconds in waves:
        bench.log(number)
        bench.run(seconds)
    bench.run(20_000.0)
    stats = bench.shipper.stats()
    assert (stats.held, stats.sent_total + stats.dropped_total) == (0, bench.offered)
    if packing is not Packing.GZIP:
        assert len(bench.arrived) == stats.sent_total == len(set(bench.arrived))
        assert bench.arrived == sorted(bench.arrived)


def test_lines_that_cannot_be_packed_are_counted_and_the_next_ones_go_on():
    class Broken(Packer):
        broken = True

        def pack(self, lines, *, sent_at):
            if self.broken:
                self.broken = False
                raise MemoryError
            return super().pack(lines, sent_at=sent_at)

    bench = Bench(MemorySender())
    bench.shipper._packer = Broken(Packing.LINES)
    bench.log(10)
    with pytest.raises(MemoryError):
        bench.shipper.step()
    bench.check_books()
    bench.log(10)
    bench.run(1.0)
    assert bench.arrived == list(range(11, 21))
    assert bench.shipper.stats().dropped == {Drop.ERROR: 10}
