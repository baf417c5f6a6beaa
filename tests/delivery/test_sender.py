import queue
import signal
import subprocess
import sys
import threading
import time

import pytest

from hublog.delivery.sender import DEFAULT_SEND_BYTES, InlineSend, Spawner, TooLateError, time_limit
from hublog.errors import PermanentSendError
from hublog.testing import FakeClock, MemorySender

LIMIT_S = 10


class SlowSender(MemorySender):
    """A destination that takes its time."""

    def __init__(self, clock, *errors):
        super().__init__(*errors)
        self.clock = clock

    def send(self, bodies, properties):
        self.clock.advance(1.5)
        return super().send(bodies, properties)


def make_courier(*errors):
    clock = FakeClock()
    sender = SlowSender(clock, *errors)
    return InlineSend(lambda: sender, now=clock), sender


def test_an_offer_is_sent_before_it_returns_and_its_outcome_is_given_once():
    send_thread, sender = make_courier()
    assert send_thread.offer([b"one", b"two"], {"Compression": "gzip"})
    assert sender.bodies == [b"one", b"two"]
    outcome = send_thread.outcome()
    assert (outcome.accepted, outcome.seconds, outcome.error) == (2, 1.5, None)
    assert send_thread.outcome() is None


def test_an_error_is_the_outcome():
    error = PermanentSendError("no right")
    send_thread, _ = make_courier(error)
    assert send_thread.offer([b"x"], {})
    assert send_thread.outcome().error is error


def test_a_sender_that_cannot_be_made_is_an_outcome_and_is_made_again():
    senders = iter([None, MemorySender()])

    def make():
        sender = next(senders)
        if sender is None:
            raise ImportError("SharedAccessKey=verysecret")
        return sender

    send_thread = InlineSend(make, now=FakeClock())
    assert send_thread.offer([b"x"], {})
    error = send_thread.outcome().error
    assert "ImportError" in str(error)
    assert "verysecret" not in str(error)
    assert send_thread.offer([b"x"], {})
    assert send_thread.outcome().accepted == 1


def test_one_sender_is_made_for_all():
    made = []

    def make():
        made.append(MemorySender(max_send_bytes=100))
        return made[-1]

    send_thread = InlineSend(make, now=FakeClock())
    assert send_thread.max_send_bytes == DEFAULT_SEND_BYTES
    send_thread.offer([b"x"], {})
    send_thread.offer([b"y"], {})
    assert len(made) == 1
    assert send_thread.max_send_bytes == 100


def test_it_is_never_busy_and_never_gives_up():
    send_thread, _ = make_courier()
    send_thread.offer([b"x"], {})
    assert (send_thread.is_busy, send_thread.is_stuck, send_thread.abandoned, send_thread.watch()) == (
        False,
        False,
        0,
        False,
    )


def test_a_send_that_is_too_late_ends_with_the_limit_and_not_as_an_outcome():
    send_thread, sender = make_courier()
    sender.send = lambda bodies, properties: threading.Event().wait(LIMIT_S)
    with pytest.raises(TooLateError), time_limit(0.05):
        send_thread.offer([b"x"], {})
    assert send_thread.outcome() is None


def test_what_is_in_time_is_not_ended_and_the_alarm_clock_is_given_back():
    before = signal.getsignal(signal.SIGALRM)
    with time_limit(LIMIT_S) as is_limited:
        assert is_limited
        assert signal.getitimer(signal.ITIMER_REAL)[0] > 0
    assert signal.getitimer(signal.ITIMER_REAL) == (0.0, 0.0)
    assert signal.getsignal(signal.SIGALRM) is before


def test_an_error_inside_gives_the_alarm_clock_back():
    before = signal.getsignal(signal.SIGALRM)
    with pytest.raises(KeyError), time_limit(LIMIT_S):
        raise KeyError
    assert signal.getitimer(signal.ITIMER_REAL) == (0.0, 0.0)
    assert signal.getsignal(signal.SIGALRM) is before


def test_an_alarm_clock_that_the_application_uses_is_left_alone():
    def of_the_application(number, frame):
        pass

    before = signal.signal(signal.SIGALRM, of_the_application)
    try:
        with time_limit(0.01) as is_limited:
            assert not is_limited
        assert signal.getsignal(signal.SIGALRM) is of_the_application
    finally:
        signal.signal(signal.SIGALRM, before)


def test_a_timer_that_runs_already_is_left_alone():
    signal.setitimer(signal.ITIMER_REAL, 1000)
    try:
        with time_limit(0.01) as is_limited:
            assert not is_limited
        assert signal.getitimer(signal.ITIMER_REAL)[0] > 900
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)


def test_only_the_main_thread_has_a_limit():
    found = []

    def look():
        with time_limit(0.01) as is_limited:
            found.append(is_limited)

    thread = threading.Thread(target=look)
    thread.start()
    thread.join(LIMIT_S)
    assert found == [False]


IN_ANOTHER_INTERPRETER = """
import sys
if sys.version_info >= (3, 13):
    import _interpreters
    made = _interpreters.create("legacy")
else:
    import _xxsubinterpreters as _interpreters
    made = _interpreters.create(isolated=False)
failed = _interpreters.run_string(made, sys.argv[1])
if failed:
    sys.exit(str(failed))
"""
LOOK = """
import sys
sys.path[:] = {path}
from hublog.delivery.sender import time_limit
with time_limit(0.01) as is_limited:
    print("limited" if is_limited else "not limited", flush=True)
"""


def test_only_the_main_interpreter_has_a_limit():
    command = [sys.executable, "-c", IN_ANOTHER_INTERPRETER, LOOK.format(path=repr(sys.path))]
    found = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert found.stdout == "not limited\n", found.stderr


# Threads of one kind


def test_a_thread_has_its_name_and_does_not_keep_the_process_alive():
    seen = queue.SimpleQueue()
    thread = Spawner().make(lambda: seen.put(threading.current_thread()), name="hublog")
    thread.start()
    found = seen.get(timeout=60)
    thread.join(60)
    assert (found.name, found.daemon, thread.is_alive()) == ("hublog", True, False)


LATE = """
import sys, threading, time
from hublog.delivery.sender import Spawner
spawner = Spawner()
jobs, seen = spawner.make_queue(), []
def work():
    jobs.get()
    later = spawner.make(lambda: seen.append(jobs.get()), name="later")
    later.start()
    jobs.put("done")
    while not seen:  # the thread of the system: nothing else runs in it
        pass
    seen.append(threading.get_native_id())
first = spawner.make(work, name="first")
first.start()
if sys.argv[1] == "gevent":
    from gevent import monkey
    monkey.patch_all()
else:
    import eventlet
    eventlet.monkey_patch()
jobs.put(None)
first.join(60)
while len(seen) < 2:
    time.sleep(0.01)
print(seen[0], seen[1] != threading.get_native_id())
"""


@pytest.mark.parametrize("kind", ["gevent", "eventlet"])
def test_what_a_thread_makes_after_a_patch_is_a_thread_too(kind):
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", LATE, kind],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.stdout == "done True\n", done.stderr
    assert "Traceback" not in done.stderr


def test_a_bare_thread_can_be_waited_for(monkeypatch):
    monkeypatch.setattr("hublog.delivery.sender.is_patched", lambda: True)
    gate = threading.Event()
    thread = Spawner().make(gate.wait, name="bare")
    thread.start()
    thread.join(0.0)
    assert thread.is_alive()
    gate.set()
    end = time.monotonic() + 60
    while thread.is_alive() and time.monotonic() < end:
        thread.join(1.0)
    assert not thread.is_alive()
