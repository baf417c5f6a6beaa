import os
import signal
import sys

import pytest
from tests.faults.children import Child, StuckError, wait_until

SLEEPER = "import signal, sys; print('up', flush=True); signal.sigwait([signal.SIGUSR1])"


@pytest.fixture
def start(tmp_path):
    children = []

    def run(source):
        child = Child("child", [sys.executable, "-c", source], folder=tmp_path, environ=os.environ)
        children.append(child)
        return child

    yield run
    for child in children:
        child.kill()


def test_the_exit_is_timed_from_the_signal(start):
    child = start(SLEEPER)
    child.wait_for_text("up", 30)
    child.send(signal.SIGTERM)
    assert child.wait(30) == -signal.SIGTERM
    assert child.exit_s is not None
    assert child.exit_s < 20


IGNORING = """
import os, pathlib, signal, sys
for number in (signal.SIGINT, signal.SIGQUIT, signal.SIGHUP):
    signal.signal(number, signal.SIG_IGN)
from tests.faults.children import Child
shown = "import signal; print([signal.getsignal(number) is not signal.SIG_IGN for number in (1, 2, 3)])"
child = Child("inner", [sys.executable, "-c", shown], folder=pathlib.Path(sys.argv[1]), environ=os.environ)
child.wait(30)
print(child.text())
"""


def test_signals_of_a_terminal_reach_a_child_although_the_harness_ignores_them(tmp_path):
    environ = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    command = [sys.executable, "-c", IGNORING, str(tmp_path)]
    outer = Child("outer", command, folder=tmp_path, environ=environ)
    try:
        assert outer.wait(60) == 0, outer.text()
        assert "[True, True, True]" in outer.text()
    finally:
        outer.kill()


def test_a_child_that_does_not_end_is_killed_and_its_stacks_are_told(start):
    child = start(SLEEPER)
    child.wait_for_text("up", 30)
    with pytest.raises(StuckError, match="did not end within"):
        child.wait(0.1)
    assert wait_until(lambda: not child.members(), 10)


def test_a_process_that_is_left_in_the_group_is_seen_and_killed(start):
    child = start("import os, time; os.fork() and os._exit(0); time.sleep(60)")
    assert child.wait(30) == 0
    assert len(child.members()) == 1
    child.kill()
    assert wait_until(lambda: not child.members(), 10)


def test_a_child_that_ends_without_its_word_is_told_with_its_output(start):
    child = start("import sys; sys.exit('no such thing')")
    with pytest.raises(StuckError, match="no such thing"):
        child.wait_for_text("ready", 30)
