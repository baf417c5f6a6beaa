import os
import signal
import subprocess
import sys
import time

import pytest
from demo.interrupts import InterruptedDemoError, Interrupts
from demo.processes import DemoError, Processes

PARENT = """
import subprocess, sys, time
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
print("child", child.pid, flush=True)
time.sleep(600)
"""
STUBBORN = """
import signal, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
print("ready", flush=True)
time.sleep(600)
"""


def python(code):
    return [sys.executable, "-c", code]


def is_running(pid):
    """Return whether a process runs; a dead one that nobody has waited for does not."""
    state = subprocess.run(["ps", "-o", "stat=", "-p", str(pid)], capture_output=True, text=True, check=False)
    return state.stdout.strip()[:1] not in {"", "Z"}


def ends(pid, limit_s=30.0):
    end = time.monotonic() + limit_s
    while (remains := is_running(pid)) and time.monotonic() < end:
        pass
    return not remains


@pytest.fixture
def start(tmp_path):
    """Start a process in a block that is left before the test looks at what remains."""

    def start(processes, code, name="a server"):
        return processes.start(name, python(code), folder=tmp_path, environ=os.environ)

    return start


def make(tmp_path, **more):
    return Processes(tmp_path, Interrupts(), **more)


def test_the_children_of_a_server_end_with_it(tmp_path, start):
    with make(tmp_path) as processes:
        child = int(start(processes, PARENT).wait_for_output(r"child (\d+)\n", limit_s=60)[1])
    assert ends(child)


def test_a_server_that_does_not_end_is_ended(tmp_path, start):
    with make(tmp_path, grace_s=0.1) as processes:
        server = start(processes, STUBBORN)
        server.wait_for_output("ready", limit_s=60)
    with pytest.raises(DemoError, match=f"status -{signal.SIGKILL.value}"):
        server.check_alive()


def test_servers_end_when_the_block_fails(tmp_path, start):
    servers = []

    def fail():
        with make(tmp_path) as processes:
            servers.append(start(processes, "import time; time.sleep(600)"))
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    with pytest.raises(DemoError, match="has ended"):
        servers[0].check_alive()


def test_a_server_that_ends_too_early_is_told_with_its_last_words(tmp_path, start):
    with make(tmp_path) as processes, pytest.raises(DemoError, match=r"(?s)status 3.*port is taken"):
        start(processes, "print('port is taken'); raise SystemExit(3)").wait_for_output("ready", limit_s=60)


def test_waiting_for_output_has_a_limit(tmp_path, start):
    with make(tmp_path) as processes, pytest.raises(DemoError, match="did not print 'ready' within 0 s"):
        start(processes, "import time; time.sleep(600)").wait_for_output("ready", limit_s=0)


def test_a_command_that_fails_is_told(tmp_path):
    with (
        make(tmp_path) as processes,
        pytest.raises(DemoError, match=r"(?s)migrate failed with status 1.*no table"),
    ):
        processes.run("migrate", python("raise SystemExit('no table')"), folder=tmp_path, environ=os.environ)


def test_a_command_that_does_not_exist_is_told(tmp_path):
    with make(tmp_path) as processes, pytest.raises(DemoError, match="hub cannot be started"):
        processes.run("hub", [str(tmp_path / "missing")], folder=tmp_path, environ=os.environ)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP], ids=lambda n: n.name)
def test_a_signal_stops_the_demo(number):
    with Interrupts().caught(), pytest.raises(InterruptedDemoError, match=number.name) as caught:
        signal.raise_signal(number)
    assert caught.value.signal_number == number


def test_a_signal_waits_until_a_process_is_started():
    interrupts, reached = Interrupts(), []

    def work():
        with interrupts.held():
            signal.raise_signal(signal.SIGINT)
            reached.append("end of the held block")

    with interrupts.caught(), pytest.raises(InterruptedDemoError):
        work()
    assert reached == ["end of the held block"]


def test_a_signal_while_everything_is_stopped_changes_nothing():
    interrupts = Interrupts()
    with interrupts.caught(), interrupts.ignored():
        signal.raise_signal(signal.SIGINT)


def test_the_handlers_of_before_are_back_afterwards():
    before = signal.getsignal(signal.SIGINT)
    with Interrupts().caught():
        pass
    assert signal.getsignal(signal.SIGINT) is before
