import os
import signal
import sys
import threading
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
from tests.kits.file_hub import LIMIT_S, Program

from hublog.runtime import server_advice, shutdown
from hublog.runtime.server_advice import Way
from hublog.runtime.shutdown import Hook, hook_sigterm, is_sigterm_hooked
from hublog.settings import EventHubSettings, Settings

#: What a busy machine may add to a limit.
SLACK_S = 3.0


@pytest.fixture(autouse=True)
def _sigterm(monkeypatch):
    """Leave the signal and the marks as they were."""
    monkeypatch.setattr(shutdown, "taken", set())
    before = signal.getsignal(signal.SIGTERM)
    yield
    signal.signal(signal.SIGTERM, before)


class FakeEnding:
    """Notes what is asked of it.

    Args:
        budget_s: None means that nothing has been logged.
        left: records that no disk takes.
        has_disk: whether there is one.
    """

    def __init__(self, *, budget_s=5.0, left=0, has_disk=True):
        self.events = []
        self._budget_s = budget_s
        self._left = left
        self._has_disk = has_disk

    def budget_s(self):
        return self._budget_s

    def write_always(self):
        self.events.append("always")

    def secure(self):
        self.events.append("secured")
        return self._left

    def has_disk(self):
        return self._has_disk

    def deliver(self):
        self.events.append("delivered")

    def drain(self):
        self.events.append("drained")


def raise_term(ending, former, **arguments):
    """Put the hook in front of a handler and raise the signal; returns what happened, in order."""
    killed = threading.Event()

    def kill(number):
        if not killed.is_set():  # the second who does it finds the process ended
            ending.events.append(f"killed by {number}")
        killed.set()

    signal.signal(signal.SIGTERM, Hook(former, ending, kill=kill, **arguments))
    signal.raise_signal(signal.SIGTERM)
    return killed


@pytest.mark.parametrize(
    ("ending", "events"),
    [
        pytest.param(FakeEnding(), ["always", "secured", "former"], id="a-disk-has-all"),
        pytest.param(
            FakeEnding(left=3), ["always", "secured", "delivered", "former"], id="a-disk-refused-some"
        ),
        pytest.param(
            FakeEnding(has_disk=False), ["always", "secured", "delivered", "former"], id="memory-alone"
        ),
        pytest.param(FakeEnding(budget_s=None), ["former"], id="nothing-was-logged"),
    ],
)
def test_what_waits_is_put_safe_before_the_former_handler_is_called(ending, events):
    raise_term(ending, lambda number, frame: ending.events.append("former"))
    assert ending.events == events


@pytest.mark.parametrize(
    ("ending", "events"),
    [
        pytest.param(FakeEnding(), ["always", "secured", "drained", "killed by 15"], id="a-disk"),
        pytest.param(
            FakeEnding(has_disk=False), ["always", "secured", "drained", "killed by 15"], id="memory"
        ),
        pytest.param(FakeEnding(budget_s=None), ["killed by 15"], id="nothing-was-logged"),
    ],
)
def test_with_the_default_action_it_drains_and_then_the_signal_kills(ending, events):
    raise_term(ending, signal.SIG_DFL)
    assert ending.events == events


def test_a_second_signal_finds_the_former_handler():
    former = lambda number, frame: None  # noqa: E731  # it is compared
    raise_term(FakeEnding(), former)
    assert signal.getsignal(signal.SIGTERM) is former


def test_a_second_signal_amid_the_delivery_does_at_once_what_it_did():
    class Ending(FakeEnding):
        def deliver(self):
            os.kill(os.getpid(), signal.SIGTERM)
            assert ended.wait(10)

    def former(number, frame):
        ended.set()
        raise SystemExit(3)

    ended = threading.Event()
    with pytest.raises(SystemExit):
        raise_term(Ending(has_disk=False), former)


def test_an_exit_by_the_former_handler_leaves_the_hook():
    with pytest.raises(SystemExit):
        raise_term(FakeEnding(), lambda number, frame: sys.exit(4))


class BrokenEnding(FakeEnding):
    def secure(self):
        raise OSError("disk")

    deliver = drain = secure


@pytest.mark.parametrize("budget_s", [5.0, None])
def test_troubles_of_its_own_do_not_keep_the_signal_from_its_work(budget_s):
    ending = BrokenEnding(budget_s=budget_s)
    raise_term(ending, lambda number, frame: ending.events.append("former"))
    raise_term(ending, signal.SIG_DFL)
    assert [event for event in ending.events if event != "always"] == ["former", "killed by 15"]


class LockedEnding(FakeEnding):
    """Needs a lock that the interrupted code holds."""

    lock = threading.Lock()

    def secure(self):
        with self.lock:
            return super().secure()


def test_code_that_holds_a_needed_lock_goes_on_and_the_process_is_killed_after():
    ending = LockedEnding()
    with ending.lock:
        killed = raise_term(ending, signal.SIG_DFL, safe_wait_s=0.01)
        ending.events.append("went on")
    assert killed.wait(10)
    assert ending.events == ["always", "went on", "secured", "drained", "killed by 15"]


def test_a_lock_that_is_never_free_does_not_keep_the_process_alive():
    ending = LockedEnding(budget_s=0.0)
    with ending.lock:
        killed = raise_term(ending, signal.SIG_DFL, safe_wait_s=0.01)
        assert killed.wait(10)
    assert ending.events[:2] == ["always", "killed by 15"]


def test_a_former_handler_does_not_wait_for_a_lock_that_the_interrupted_code_holds():
    ending = LockedEnding(has_disk=False)
    with ending.lock:
        raise_term(ending, lambda number, frame: ending.events.append("former"), safe_wait_s=0.01)
        assert ending.events == ["always", "former"]


def no_thread(function, arguments):
    raise RuntimeError("can't start new thread")


def test_without_a_thread_it_works_in_place(monkeypatch):
    monkeypatch.setattr("_thread.start_new_thread", no_thread)
    ending = FakeEnding()
    raise_term(ending, signal.SIG_DFL)
    assert ending.events == ["always", "secured", "drained", "killed by 15"]


def test_without_a_thread_it_does_nothing_that_could_wait_for_interrupted_code_of_ours(monkeypatch):
    monkeypatch.setattr("_thread.start_new_thread", no_thread)
    ending = FakeEnding()
    ours = {"__name__": "hublog.delivery.disk_store", "act": lambda: raise_term(ending, signal.SIG_DFL)}
    exec("act()", ours)
    assert ending.events == ["always", "killed by 15"]


# Where it may stand.


def test_it_is_installed_once_in_front_of_the_former_handler():
    calls = []
    signal.signal(signal.SIGTERM, lambda number, frame: calls.append(number))
    assert not is_sigterm_hooked()
    assert hook_sigterm(FakeEnding())
    hook = signal.getsignal(signal.SIGTERM)
    assert hook_sigterm(FakeEnding())
    assert is_sigterm_hooked()
    assert signal.getsignal(signal.SIGTERM) is hook
    assert shutdown.taken == {Way.HOOK}
    signal.raise_signal(signal.SIGTERM)
    assert calls == [signal.SIGTERM]


def test_it_is_not_installed_by_another_thread():
    found = []
    thread = threading.Thread(target=lambda: found.append(hook_sigterm()))
    thread.start()
    thread.join()
    assert found == [False]
    assert not is_sigterm_hooked()


def test_it_is_not_installed_where_the_signal_is_ignored():
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    assert not hook_sigterm()
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_IGN


def test_it_is_not_installed_under_uwsgi(monkeypatch):
    monkeypatch.setitem(sys.modules, "uwsgi", SimpleNamespace())
    assert not hook_sigterm()


def test_it_is_not_installed_in_a_sub_interpreter(monkeypatch):
    monkeypatch.setattr(shutdown, "IS_MAIN_INTERPRETER", False)
    assert not hook_sigterm()


def test_it_is_not_installed_where_the_system_refuses(monkeypatch):
    def refuse(number, handler):
        raise ValueError("signal only works in main thread")

    with monkeypatch.context() as patched:
        patched.setattr(signal, "signal", refuse)
        assert not hook_sigterm()
    assert shutdown.taken == set()


def settings_with(**hub):
    return Settings(eventhub=EventHubSettings(**hub))


@pytest.mark.parametrize(
    ("hub", "is_wanted"),
    [
        pytest.param({"flush_on_sigterm": True}, True, id="set"),
        pytest.param({}, False, id="not-set"),
        pytest.param({"flush_on_sigterm": True, "enabled": False}, False, id="switched-off"),
    ],
)
def test_it_follows_the_settings(hub, is_wanted):
    shutdown.follow(settings_with(**hub))
    assert is_sigterm_hooked() is is_wanted


def test_settings_that_are_read_in_a_thread_are_told_to_have_no_effect(caplog):
    thread = threading.Thread(target=shutdown.follow, args=(settings_with(flush_on_sigterm=True),))
    thread.start()
    thread.join()
    assert "EVENTHUB_LOG_FLUSH_ON_SIGTERM has no effect" in caplog.text


def test_a_handler_that_calls_the_hook_as_its_former_one_may_be_hooked_again():
    """Two layers of each: the chain ends at the first handler."""
    calls, ending = [], FakeEnding()
    signal.signal(signal.SIGTERM, lambda number, frame: calls.append("first"))
    hook_sigterm(ending)
    hook = signal.getsignal(signal.SIGTERM)

    def theirs(number, frame):
        calls.append("theirs")
        hook(number, frame)

    signal.signal(signal.SIGTERM, theirs)
    hook_sigterm(ending)
    signal.raise_signal(signal.SIGTERM)
    assert calls == ["theirs", "first"]


def test_servers_sees_through_the_hook():
    former = lambda number, frame: None  # noqa: E731  # it is compared
    assert getattr(Hook(former, FakeEnding()), server_advice.FORMER) is former


# Real processes.

LOGGED = [f"record {number}" for number in range(50)]
SCRIPT = """
import sys, threading
import file_hub
from hublog.runtime import shutdown

file_hub.set_up()
assert shutdown.hook_sigterm()
for number in range(50):
    file_hub.log.info("record %d", number)
file_hub.say("logged")
threading.Event().wait(60)
"""
HANGS = {"HUB_HANGS": "yes", "HUB_EXIT_S": "1"}


@pytest.mark.parametrize("mode", ["memory", "overflow", "always"])
def test_a_program_delivers_and_is_still_killed_by_the_signal(tmp_path, mode):
    with Program(tmp_path, "-c", SCRIPT, HUB_MODE=mode) as program:
        program.wait_for("logged")
        status, _ = program.end(signal.SIGTERM)
    assert (status, program.arrived(), program.on_disk()) == (-signal.SIGTERM, LOGGED, [])


@pytest.mark.parametrize("mode", ["overflow", "always"])
def test_with_a_hub_that_hangs_everything_is_on_disk_within_the_exit_budget(tmp_path, mode):
    with Program(tmp_path, "-c", SCRIPT, HUB_MODE=mode, **HANGS) as program:
        program.wait_for("logged")
        status, seconds = program.end(signal.SIGTERM)
    assert (status, sorted(program.on_disk())) == (-signal.SIGTERM, sorted(LOGGED))
    assert seconds < 1.5 + SLACK_S


def test_with_memory_alone_what_a_hanging_hub_did_not_take_is_told(tmp_path):
    with Program(tmp_path, "-c", SCRIPT, HUB_MODE="memory", **HANGS) as program:
        program.wait_for("logged")
        status, _ = program.end(signal.SIGTERM)
    assert status == -signal.SIGTERM
    assert "50 records could not be delivered" in program.text()


def test_a_second_signal_ends_the_program_at_once(tmp_path):
    with Program(tmp_path, "-c", SCRIPT, HUB_HANGS="yes", HUB_EXIT_S="60") as program:
        program.wait_for("logged")
        program.process.send_signal(signal.SIGTERM)
        wait_until(lambda: len(program.on_disk()) == len(LOGGED))
        status, seconds = program.end(signal.SIGTERM)
    assert status == -signal.SIGTERM
    assert seconds < SLACK_S


FORKING = """
import os, threading
import file_hub
from hublog.runtime import shutdown

file_hub.set_up()
assert shutdown.hook_sigterm()
file_hub.log.info("of the parent")
child = os.fork()
if child == 0:
    for number in range(50):
        file_hub.log.info("record %d", number)
    file_hub.say("logged")
    threading.Event().wait(60)
status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
print("ended", status)
"""


def test_a_forked_child_delivers_its_own(tmp_path):
    with Program(tmp_path, "-W", "ignore", "-c", FORKING) as program:
        program.wait_for("logged")
        children = Path(f"/proc/{program.process.pid}/task/{program.process.pid}/children")
        os.kill(int(children.read_text()), signal.SIGTERM)
        program.end()
    assert f"ended {-signal.SIGTERM}" in program.text()
    assert sorted(program.arrived()) == sorted([*LOGGED, "of the parent"])


FLOOD = """
import os
import file_hub
from hublog.runtime import shutdown

file_hub.set_up(linger_s=0.05)
assert shutdown.hook_sigterm()
journal = os.open("journal", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
for number in range(1_000_000):
    file_hub.log.info("record %d", number)
    os.write(journal, b"record %d\\n" % number)
    if number == 500:
        file_hub.say("logged")
"""


@pytest.mark.parametrize("mode", ["overflow", "always"])
def test_a_signal_in_the_middle_of_log_calls_neither_hangs_nor_loses(tmp_path, mode):
    with Program(tmp_path, "-c", FLOOD, HUB_MODE=mode) as program:
        program.wait_for("logged")
        status, seconds = program.end(signal.SIGTERM)
    accepted = (tmp_path / "journal").read_text().splitlines()
    assert status == -signal.SIGTERM
    assert set(accepted) - set(program.arrived()) - set(program.on_disk()) == set()
    assert seconds < 5.0 + SLACK_S


UVICORN = """
import file_hub
from hublog.runtime import shutdown

file_hub.set_up()
assert shutdown.hook_sigterm()

async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        await receive()
        file_hub.log.info("started")
        await send({"type": "lifespan.startup.complete"})
        await receive()
        file_hub.log.info("ended")
        await send({"type": "lifespan.shutdown.complete"})
"""


@pytest.mark.parametrize("mode", ["memory", "overflow"])
def test_uvicorn_loses_nothing_with_the_hook_and_ends_by_the_signal(tmp_path, mode):
    pytest.importorskip("uvicorn")
    (tmp_path / "site_app.py").write_text(UVICORN)
    with Program(tmp_path, "-m", "uvicorn", "--port", "0", "site_app:app", HUB_MODE=mode) as program:
        program.wait_for("Uvicorn running")
        status, _ = program.end(signal.SIGTERM)
    assert status == -signal.SIGTERM
    assert [*program.arrived(), *program.on_disk()] == ["started", "ended"]


def wait_until(is_true):
    never, end = threading.Event(), time.monotonic() + LIMIT_S
    while not is_true():
        assert time.monotonic() < end
        never.wait(0.02)
