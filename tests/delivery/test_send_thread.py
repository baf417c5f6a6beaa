import contextlib
import contextvars
import queue
import threading

import pytest
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from hublog.delivery.send_thread import ABANDONED_MAX, LOOK_MAX_S, THREAD_NAME, SendThread
from hublog.delivery.sender import DEFAULT_SEND_BYTES, send_outcome
from hublog.errors import PermanentSendError, TransientSendError
from hublog.testing import FakeClock, MemorySender

LIMIT_S = 10
SEND_LIMIT_S = 30.0
_variable = contextvars.ContextVar("variable", default="nothing")


class HandSender:
    """A sender whose sends last until the test ends them."""

    max_send_bytes = 4096

    def __init__(self, rig, name):
        self.rig = rig
        self.name = name
        self.cuts = 0
        self.closed = threading.Event()
        self._results = queue.SimpleQueue()

    def open(self):
        self.rig.log.append(f"open {self.name}")
        self.rig.opened.put(self.name)

    def send(self, bodies, properties):
        self.rig.log.append(f"send {self.name}")
        self.rig.entered.put((self, list(bodies), properties))
        result = self._results.get(timeout=LIMIT_S)
        if isinstance(result, BaseException):
            raise result
        return result

    def finish(self, result=1):
        self._results.put(result)

    def cut(self):
        self.cuts += 1

    def close(self):
        self.rig.log.append(f"close {self.name}")
        self.closed.set()

    def is_closed(self):
        return self.closed.wait(LIMIT_S)


class Rig:
    """A send_thread with its clock, and queues on which the test waits for its threads."""

    def __init__(self, *, names=None, enter=lambda: None):
        self.clock = FakeClock()
        self.opened = queue.SimpleQueue()
        self.entered = queue.SimpleQueue()
        self.woken = queue.SimpleQueue()
        self.log = []
        self.senders = []
        self.gate = threading.Event()
        self.gate.set()
        self.failures = []
        self.send_thread = SendThread(
            self.maker("a"),
            woken=lambda: self.woken.put(self.send_thread.abandoned),
            now=self.clock,
            limit_s=SEND_LIMIT_S,
            enter=enter,
        )

    def maker(self, kind):
        def make():
            assert self.gate.wait(LIMIT_S)
            if self.failures:
                raise self.failures.pop(0)
            sender = HandSender(self, f"{kind}{len(self.senders)}")
            self.senders.append(sender)
            return sender

        return make

    def offer(self, *bodies, **properties):
        """Hand over a send, and return the sender that has it."""
        assert self.send_thread.offer(bodies or (b"body",), properties)
        return self.wait_for_send()[0]

    def wait_for_send(self):
        return self.entered.get(timeout=LIMIT_S)

    def outcome(self):
        """Wait until a thread has called, and return the outcome."""
        self.woken.get(timeout=LIMIT_S)
        return self.send_thread.outcome()

    def look(self, seconds):
        """Let time pass with a look each second; returns whether one gave the send up."""
        given_up = []
        for _ in range(int(seconds)):
            self.clock.advance(1.0)
            given_up.append(self.send_thread.watch())
        return any(given_up)

    def hang(self, times):
        """Have that many sends given up; returns their senders."""
        senders = []
        for _ in range(times):
            senders.append(self.offer())
            assert self.look(SEND_LIMIT_S)
        return senders

    def end(self):
        """End everything that still runs."""
        self.gate.set()
        self.send_thread.close()
        for sender in self.senders:
            sender.finish()
        for thread in sending_threads():
            thread.join(LIMIT_S)
        assert sending_threads() == []


def sending_threads():
    return [thread for thread in threading.enumerate() if thread.name == THREAD_NAME]


@pytest.fixture
def make_rig():
    """Make rigs whose threads end with the test."""
    with contextlib.ExitStack() as stack:

        def make(**settings):
            rig = Rig(**settings)
            stack.callback(rig.end)
            return rig

        yield make


@pytest.fixture
def rig(make_rig):
    return make_rig()


# A send.


def test_a_send_is_made_in_a_daemon_thread_of_its_own(rig):
    rig.offer()
    (thread,) = sending_threads()
    assert thread.daemon
    assert thread is not threading.current_thread()


def test_the_thread_has_an_empty_context(make_rig):
    seen = queue.SimpleQueue()
    rig = make_rig(enter=lambda: seen.put(_variable.get()))
    token = _variable.set("of the caller")
    rig.send_thread.start()
    _variable.reset(token)
    assert seen.get(timeout=LIMIT_S) == "nothing"


def test_the_thread_enters_then_connects_and_then_sends(make_rig):
    log = []
    rig = make_rig(enter=lambda: log.append("enter"))
    rig.log = log
    rig.offer()
    assert log == ["enter", "open a0", "send a0"]


def test_a_thread_that_is_started_connects_before_there_is_anything_to_send(rig):
    assert rig.send_thread.start()
    assert rig.opened.get(timeout=LIMIT_S) == "a0"
    assert not rig.send_thread.is_busy


def test_bodies_and_properties_reach_the_sender_as_they_are(rig):
    rig.send_thread.offer([b"one", b"two"], {"Compression": "gzip"})
    sender, bodies, properties = rig.wait_for_send()
    assert (bodies, properties) == ([b"one", b"two"], {"Compression": "gzip"})
    assert sender is rig.senders[0]


def test_a_send_is_busy_until_its_outcome_is_fetched_once(rig):
    sender = rig.offer()
    assert rig.send_thread.is_busy
    assert rig.send_thread.outcome() is None
    rig.clock.advance(1.5)
    sender.finish(3)
    outcome = rig.outcome()
    assert (outcome.accepted, outcome.seconds, outcome.error) == (3, 1.5, None)
    assert not rig.send_thread.is_busy
    assert rig.send_thread.outcome() is None


def test_sends_one_after_the_other_use_one_thread_and_one_sender(rig):
    for _ in range(3):
        rig.offer().finish()
        assert rig.outcome().error is None
    assert len(rig.senders) == 1
    assert len(sending_threads()) == 1


def test_a_second_send_is_not_taken_while_one_is_under_way(rig):
    rig.offer()
    assert not rig.send_thread.offer([b"second"], {})


def test_what_the_hub_takes_in_one_send_is_told_by_the_sender(rig):
    assert rig.send_thread.max_send_bytes == DEFAULT_SEND_BYTES
    rig.offer()
    assert rig.send_thread.max_send_bytes == 4096


# Errors.


def test_an_error_of_ours_is_the_outcome(rig):
    error = PermanentSendError("no right")
    rig.offer().finish(error)
    outcome = rig.outcome()
    assert outcome.error is error
    assert outcome.accepted == 0


def test_a_foreign_error_is_transient_and_tells_its_type_but_not_its_text(rig):
    rig.offer().finish(ValueError("SharedAccessKey=verysecret"))
    error = rig.outcome().error
    assert type(error) is TransientSendError
    assert "ValueError" in str(error)
    assert "verysecret" not in str(error)


@pytest.mark.parametrize("error", [SystemExit(3), KeyboardInterrupt(), GeneratorExit()], ids=repr)
def test_what_would_end_a_thread_is_an_outcome_and_the_next_send_has_another_thread(rig, error):
    first = rig.offer()
    first.finish(error)
    assert type(error).__name__ in str(rig.outcome().error)
    assert first.is_closed()
    second = rig.offer()
    second.finish()
    assert rig.outcome().accepted == 1
    assert second is not first


def test_a_sender_that_cannot_be_made_fails_the_first_send_and_is_made_again_for_the_next(rig):
    rig.failures = [PermanentSendError("an extra is missing")]
    assert rig.send_thread.offer([b"first"], {})
    assert "extra" in str(rig.outcome().error)
    rig.failures = [ImportError("azure")]
    assert rig.send_thread.offer([b"first"], {})
    assert "ImportError" in str(rig.outcome().error)
    rig.offer(b"first").finish()
    assert rig.outcome().accepted == 1


def test_a_start_without_success_is_told_by_the_next_send_only(rig):
    rig.failures = [SystemExit("no")]
    rig.send_thread.start()
    assert rig.send_thread.outcome() is None
    rig.send_thread.offer([b"first"], {})
    assert "SystemExit" in str(rig.outcome().error)


def test_without_a_thread_nothing_is_taken_and_the_next_offer_tries_again(rig, monkeypatch):
    def refuse(thread):
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patched:
        patched.setattr(threading.Thread, "start", refuse)
        assert not rig.send_thread.start()
        assert not rig.send_thread.offer([b"body"], {})
    assert not rig.send_thread.is_busy
    rig.offer()


def test_a_start_that_interrupts_a_start_leaves_one_thread(rig, monkeypatch):
    start, answers = threading.Thread.start, []

    def start_twice(thread):
        answers.append(rig.send_thread.start())
        start(thread)

    with monkeypatch.context() as patched:
        patched.setattr(threading.Thread, "start", start_twice)
        assert rig.send_thread.start()
    assert answers == [True]
    assert len(sending_threads()) == 1


def test_while_another_thread_starts_one_nothing_is_taken_and_nobody_waits(rig):
    with rig.send_thread._starting:
        assert rig.send_thread.start()
        assert not rig.send_thread.offer([b"body"], {})
    assert sending_threads() == []
    rig.offer()


def test_a_start_just_after_that_of_another_thread_leaves_one_thread(rig):
    class LateLock:
        """Is had by another thread first, which has started one when it is free."""

        def acquire(self, *, blocking):
            rig.send_thread._starting = former
            assert rig.send_thread.start()
            return former.acquire(blocking=blocking)

        def release(self):
            former.release()

    former, rig.send_thread._starting = rig.send_thread._starting, LateLock()
    assert rig.send_thread.start()
    assert len(sending_threads()) == 1


def test_a_send_that_was_handed_over_to_a_thread_that_could_not_start_has_an_outcome(rig, monkeypatch):
    def offer_and_refuse(thread):
        assert rig.send_thread.offer([b"body"], {})
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patched:
        patched.setattr(threading.Thread, "start", offer_and_refuse)
        assert not rig.send_thread.start()
    assert "RuntimeError" in str(rig.send_thread.outcome().error)


def test_send_outcome_leaves_what_is_no_exception_to_its_caller():
    sender = MemorySender()
    sender.errors = [KeyboardInterrupt()]
    with pytest.raises(KeyboardInterrupt):
        send_outcome(sender, [b"x"], {}, now=FakeClock())


# Sends that hang.


def test_a_send_has_its_time_and_is_then_given_up_and_cut(rig):
    sender = rig.offer()
    assert not rig.look(SEND_LIMIT_S - 1)
    assert sender.cuts == 0
    assert rig.look(1)
    assert (rig.send_thread.is_busy, rig.send_thread.abandoned, sender.cuts) == (False, 1, 1)


def test_the_next_send_has_another_thread_and_another_sender(rig):
    (hanging,) = rig.hang(1)
    sender = rig.offer()
    assert sender is not hanging
    assert len(sending_threads()) == 2


def test_a_late_return_brings_nothing_but_closes_its_own_sender(rig):
    (hanging,) = rig.hang(1)
    hanging.finish(7)
    assert rig.outcome() is None
    assert hanging.is_closed()
    assert rig.send_thread.abandoned == 0
    assert not rig.send_thread.is_busy


def test_a_late_return_leaves_the_send_under_way_alone(rig):
    (hanging,) = rig.hang(1)
    current = rig.offer()
    hanging.finish(PermanentSendError("late"))
    assert hanging.is_closed()
    assert rig.send_thread.outcome() is None
    assert rig.send_thread.is_busy
    assert not current.closed.is_set()
    while rig.woken.qsize():
        rig.woken.get()
    current.finish(2)
    assert rig.outcome().accepted == 2


def test_a_late_return_wakes_the_worker_once_it_counts_no_more(rig):
    (hanging,) = rig.hang(1)
    hanging.finish()
    assert hanging.is_closed()
    assert [rig.woken.get() for _ in range(rig.woken.qsize())][-1] == 0


def test_a_process_that_was_suspended_does_not_give_up_a_healthy_send(rig):
    rig.offer().finish()
    rig.outcome()
    sender = rig.offer()
    rig.clock.advance(60.0)
    assert not rig.send_thread.watch()
    assert not rig.look(SEND_LIMIT_S - LOOK_MAX_S - 1)
    assert sender.cuts == 0
    assert rig.look(1)


def test_a_send_whose_outcome_waits_is_not_given_up(rig):
    rig.offer().finish(5)
    rig.woken.get(timeout=LIMIT_S)
    assert not rig.look(SEND_LIMIT_S * 2)
    assert rig.send_thread.outcome().accepted == 5


def test_time_without_a_send_is_not_counted(rig):
    rig.offer().finish()
    rig.outcome()
    assert not rig.look(SEND_LIMIT_S * 2)
    rig.offer()
    assert not rig.look(SEND_LIMIT_S - 1)


def test_the_fourth_send_that_hangs_is_stuck(rig):
    rig.hang(ABANDONED_MAX)
    assert not rig.send_thread.is_stuck
    rig.offer()
    assert not rig.look(SEND_LIMIT_S * 3)
    assert (rig.send_thread.is_stuck, rig.send_thread.is_busy) == (True, True)
    assert rig.send_thread.abandoned == ABANDONED_MAX
    assert not rig.send_thread.offer([b"fifth"], {})


def test_a_stuck_send_that_returns_has_an_outcome(rig):
    rig.hang(ABANDONED_MAX)
    stuck = rig.offer()
    rig.look(SEND_LIMIT_S)
    stuck.finish(4)
    assert rig.outcome().accepted == 4
    assert (rig.send_thread.is_stuck, rig.send_thread.is_busy) == (False, False)


def test_a_stuck_send_is_given_up_once_another_has_come_back(rig):
    first, *_ = rig.hang(ABANDONED_MAX)
    rig.offer()
    rig.look(SEND_LIMIT_S)
    first.finish()
    assert first.is_closed()
    assert not rig.send_thread.is_stuck
    assert rig.send_thread.watch()
    assert (rig.send_thread.is_busy, rig.send_thread.abandoned) == (False, ABANDONED_MAX)


def test_whatever_hangs_is_cut_again_each_time_the_limit_has_passed(rig):
    hanging = rig.hang(ABANDONED_MAX)
    stuck = rig.offer()
    rig.look(SEND_LIMIT_S)
    before = [sender.cuts for sender in [*hanging, stuck]]
    rig.look(SEND_LIMIT_S * 2)
    after = [sender.cuts for sender in [*hanging, stuck]]
    assert [now - then for then, now in zip(before, after, strict=True)] == [2, 2, 2, 2]


def test_a_sender_that_cannot_be_cut_is_given_up_all_the_same(rig):
    def fail():
        raise OSError("no socket")

    rig.offer().cut = fail
    assert rig.look(SEND_LIMIT_S)
    assert rig.send_thread.abandoned == 1


def test_a_send_that_was_given_up_before_it_began_is_never_made(rig):
    rig.gate.clear()
    rig.send_thread.offer([b"late"], {})
    assert rig.look(SEND_LIMIT_S)
    assert rig.send_thread.abandoned == 1
    rig.gate.set()
    assert rig.outcome() is None
    (sender,) = rig.senders
    assert sender.is_closed()
    assert rig.log == ["close a0"]
    assert rig.send_thread.abandoned == 0


# The end.


def test_a_courier_that_is_closed_closes_its_sender_in_the_thread(rig):
    sender = rig.offer()
    sender.finish()
    rig.outcome()
    rig.send_thread.close()
    assert sender.is_closed()


def test_a_courier_that_is_closed_during_a_send_still_has_its_outcome(rig):
    sender = rig.offer()
    rig.send_thread.close()
    assert rig.send_thread.is_busy
    sender.finish(6)
    assert rig.outcome().accepted == 6
    assert sender.is_closed()


def test_a_courier_that_was_closed_begins_again(rig):
    first = rig.offer()
    first.finish()
    rig.outcome()
    rig.send_thread.close()
    second = rig.offer()
    assert second is not first
    assert first.is_closed()


def test_a_sender_that_fails_to_close_ends_nothing(rig):
    def fail():
        raise OSError("broken")

    rig.offer().finish()
    rig.outcome()
    rig.senders[0].close = fail
    rig.send_thread.close()
    assert rig.offer().name == "a1"


class AnyOrder(RuleBasedStateMachine):
    """Sends, outcomes, time and ends in any order, against a model of what must hold."""

    @initialize()
    def begin(self):
        self.rig = Rig()
        self.send_thread = self.rig.send_thread
        self.kind = "a"
        self.current = None  # the sender of the send under way
        self.number = 0
        self.expected = None  # the outcome that waits
        self.spent_s = 0.0
        self.hanging = []
        self.ending = None  # the sender that must be closed when its send has ended
        self.former = None  # the sender of the last send

    @property
    def is_busy(self):
        return self.current is not None or self.expected is not None

    @rule()
    def starts(self):
        assert self.send_thread.start()

    @precondition(lambda self: not self.is_busy)
    @rule()
    def offers(self):
        self.number += 1
        assert self.send_thread.offer([b"%d" % self.number], {})
        sender, bodies, _ = self.rig.wait_for_send()
        assert bodies == [b"%d" % self.number]
        assert sender.name.startswith(self.kind)
        assert sender not in self.hanging
        assert not sender.closed.is_set()
        self.current, self.spent_s = sender, 0.0

    @precondition(lambda self: self.is_busy)
    @rule()
    def is_offered_another(self):
        assert not self.send_thread.offer([b"another"], {})

    @precondition(lambda self: self.current is not None)
    @rule(fails=st.booleans())
    def finishes(self, fails):
        error = TransientSendError(f"{self.number}") if fails else None
        self.current.finish(error or self.number)
        self.rig.woken.get(timeout=LIMIT_S)
        self.expected, self.former, self.current = (error, self.number), self.current, None
        if self.ending is self.former:
            assert self.former.is_closed()

    @rule()
    def is_asked_for_the_outcome(self):
        outcome = self.send_thread.outcome()
        if self.expected is None:
            assert outcome is None
        else:
            error, number = self.expected
            assert outcome.error is error
            assert outcome.accepted == (0 if error else number)
            self.expected = None

    @rule(seconds=st.sampled_from([0.5, 1.0, 1.5, 60.0]), looks=st.integers(1, 20))
    def time_passes(self, seconds, looks):
        for _ in range(looks):
            self.rig.clock.advance(seconds)
            is_given_up = self.send_thread.watch()
            if self.current is None:
                assert not is_given_up
                continue
            self.spent_s += min(seconds, LOOK_MAX_S)
            may_be = len(self.hanging) < ABANDONED_MAX
            assert is_given_up == (self.spent_s >= SEND_LIMIT_S and may_be)
            if is_given_up:
                assert self.current.cuts >= 1
                self.hanging.append(self.current)
                self.current = self.former = None

    @precondition(lambda self: self.hanging)
    @rule(data=st.data(), fails=st.booleans())
    def returns_late(self, data, fails):
        sender = self.hanging.pop(data.draw(st.integers(0, len(self.hanging) - 1)))
        sender.finish(PermanentSendError("late") if fails else 999)
        assert sender.is_closed()
        while self.rig.woken.qsize():
            self.rig.woken.get()

    @rule()
    def is_closed(self):
        self.send_thread.close()
        self.ending = self.current
        if not self.is_busy and self.former is not None:
            assert self.former.is_closed()

    @invariant()
    def it_says_how_it_is(self):
        assert self.send_thread.is_busy == self.is_busy
        assert self.send_thread.abandoned == len(self.hanging) <= ABANDONED_MAX
        is_late = self.current is not None and self.spent_s >= SEND_LIMIT_S
        assert self.send_thread.is_stuck == (is_late and len(self.hanging) == ABANDONED_MAX)

    @invariant()
    def nothing_is_sent_that_was_not_offered(self):
        assert self.rig.entered.empty()

    def teardown(self):
        self.rig.end()
        assert all(sender.closed.is_set() for sender in self.rig.senders)


TestAnyOrder = AnyOrder.TestCase
TestAnyOrder.settings = hypothesis_settings(max_examples=100, stateful_step_count=40, deadline=None)


# A pause.


def test_a_paused_courier_takes_no_send_and_connects_nowhere_until_it_goes_on(rig):
    rig.offer().finish()
    assert rig.outcome().error is None
    rig.send_thread.pause()
    assert rig.senders[0].is_closed()
    assert not rig.send_thread.start()
    assert not rig.send_thread.offer([b"body"], {})
    assert len(rig.senders) == 1
    rig.send_thread.resume()
    rig.offer().finish()
    assert rig.outcome().error is None
    assert len(rig.senders) == 2


def test_a_send_under_way_ends_in_the_pause_and_its_outcome_is_there(rig):
    sender = rig.offer()
    rig.send_thread.pause()
    assert rig.send_thread.is_busy
    sender.finish(2)
    assert rig.outcome().accepted == 2


def test_a_thread_that_is_paused_before_it_had_its_sender_does_not_connect(rig):
    rig.gate.clear()
    assert rig.send_thread.start()
    rig.send_thread.pause()
    rig.gate.set()
    for thread in sending_threads():
        thread.join(LIMIT_S)
    assert rig.opened.empty()
