import importlib
import os
import signal
import subprocess
import sys
import threading
import time
from types import SimpleNamespace

import pytest

from hublog.process_hooks import ProcessHooks, import_in_parts, importing, loading, process_hooks

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
process_hooks.install()


def exit_code_of_fork(in_child):
    pid = os.fork()
    if pid == 0:
        code = 1
        signal.alarm(20)  # a child that waits for ever ends with an error
        try:
            code = int(not in_child())
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def can_import():
    """Whether the lock is free; else it waits."""
    with importing():
        return True


@pytest.fixture
def patient(monkeypatch):
    """Forks wait for as long as it takes, on a busy machine, too."""
    monkeypatch.setattr(loading, "limit_s", 60.0)


def wait_until(is_true, limit_s=60.0):
    end = time.monotonic() + limit_s
    while not is_true():
        assert time.monotonic() < end, "nothing happened within the limit"
        time.sleep(0.001)


@pytest.mark.usefixtures("patient")
@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
def test_a_fork_waits_for_the_import_of_another_thread():
    begun, seen = threading.Event(), []

    def work():
        with importing():
            begun.set()
            wait_until(lambda: loading.is_awaited)
            seen.append("imported")

    thread = threading.Thread(target=work)
    thread.start()
    assert begun.wait(60)
    assert exit_code_of_fork(lambda: seen == ["imported"] and can_import()) == 0
    thread.join()
    assert can_import()


@pytest.mark.usefixtures("patient")
@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
def test_a_fork_comes_before_the_next_part_of_an_import():
    begun, parts, seen = threading.Event(), [], []

    def work():
        with importing():
            begun.set()
            wait_until(lambda: loading.is_awaited)
        for number in range(100):
            with importing():
                parts.append(number)

    thread = threading.Thread(target=work)
    thread.start()
    assert begun.wait(60)
    loading.before_fork()
    seen += parts
    loading.after_fork()
    thread.join()
    assert seen == []
    assert len(parts) == 100


SLOW = """
import os, time
parent = {parent}
begun = True
while os.getpid() == parent and not os.path.getsize({gate!r}):
    time.sleep(0.001)
value = 7
"""


@pytest.fixture
def slow_module(tmp_path, monkeypatch):
    """A module whose import in this process takes until the gate is open; at once in a child."""
    gate = tmp_path / "gate"
    gate.write_text("")
    (tmp_path / "torn_by_a_fork.py").write_text(SLOW.format(parent=os.getpid(), gate=str(gate)))
    monkeypatch.syspath_prepend(tmp_path)
    yield gate
    gate.write_text("open")
    sys.modules.pop("torn_by_a_fork", None)


@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
def test_a_child_of_a_fork_that_did_not_wait_imports_what_was_torn(slow_module, monkeypatch):
    monkeypatch.setattr(loading, "limit_s", 0.0)
    thread = threading.Thread(target=import_in_parts, args=(["torn_by_a_fork"],))
    thread.start()
    wait_until(lambda: hasattr(sys.modules.get("torn_by_a_fork"), "begun"))

    def import_again():
        with importing():
            return importlib.import_module("torn_by_a_fork").value == 7

    assert exit_code_of_fork(import_again) == 0
    slow_module.write_text("open")
    thread.join()
    assert importlib.import_module("torn_by_a_fork").value == 7


FORK_AMID_AN_IMPORT_THAT_LOGS = """
import hublog
import os, signal, threading, time
from hublog.process_hooks import importing, loading, process_hooks
import logging
process_hooks.install()
loading.limit_s = 20.0
begun = threading.Event()
waited = []

def work():
    with importing():
        begun.set()
        while not loading.is_awaited:
            time.sleep(0.001)
        logging.getLogger("that nobody has asked for yet")  # takes the lock of all loggers

thread = threading.Thread(target=work)
thread.start()
begun.wait()
start = time.monotonic()
pid = os.fork()
if not pid:
    os._exit(0)
seconds = time.monotonic() - start
os.waitpid(pid, 0)
thread.join()
print("waited to the limit" if seconds >= loading.limit_s else "went on")
"""


def test_a_fork_that_waits_holds_no_lock_of_logging_although_hublog_was_imported_first():
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", FORK_AMID_AN_IMPORT_THAT_LOGS],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.stdout == "went on\n", done.stderr


PATCH_AMID_AN_IMPORT = """
import sys, threading, time
import gevent.events
from hublog.process_hooks import import_in_parts
from gevent import monkey
sys.path.insert(0, {folder!r})
thread = threading.Thread(target=import_in_parts, args=([f"part{{n}}" for n in range(20)],))
thread.start()
while "part0" not in sys.modules:
    time.sleep(0.001)
monkey.patch_all()
thread.join(60)
print(all(getattr(sys.modules.get(f"part{{n}}"), "value", 0) == n + 1 for n in range(20)))
"""


def test_gevent_patches_between_two_parts_of_an_import(tmp_path):
    for number in range(20):
        text = f"for _ in range(200_000): pass\nvalue = {number + 1}\n"
        (tmp_path / f"part{number}.py").write_text(text)
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", PATCH_AMID_AN_IMPORT.format(folder=str(tmp_path))],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.stdout == "True\n", done.stderr


@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
def test_an_import_that_forks_itself_does_not_wait_for_itself():
    with importing():
        assert exit_code_of_fork(can_import) == 0
    assert can_import()


@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
def test_forks_of_many_threads_leave_the_lock_free():
    codes = []
    threads = [threading.Thread(target=lambda: codes.append(exit_code_of_fork(can_import))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert codes == [0] * 8
    assert can_import()


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
    hooks = ProcessHooks()
    hooks.follow_multiprocessing()
    hooks.follow_multiprocessing()
    assert len(finalizers.hooks) == 1
    finalizers.hooks.clear()
    hooks.follow_multiprocessing()
    assert len(finalizers.hooks) == 1


def test_multiprocessing_that_is_just_being_imported_is_left_alone(monkeypatch):
    monkeypatch.setitem(sys.modules, "multiprocessing.util", SimpleNamespace())
    ProcessHooks().follow_multiprocessing()
