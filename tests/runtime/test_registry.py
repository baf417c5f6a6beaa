"""Importing hublog changes nothing in the interpreter; the first handler does."""

import re
import subprocess
import sys
from pathlib import Path

import hublog

IMPORT_ALL = """
import atexit, gc, importlib, logging, os, pkgutil, signal, sys, threading, traceback

ours = os.path.dirname(importlib.util.find_spec("hublog").origin) + os.sep
registered = []

def noted(register):
    def call(*args, **kwargs):
        caller = traceback.extract_stack()[-2]
        if caller.filename.startswith(ours):
            registered.append(caller)
        return register(*args, **kwargs)
    return call

atexit.register, os.register_at_fork = noted(atexit.register), noted(os.register_at_fork)

def state():
    functions = [
        getattr(kind, name)
        for kind in (threading.Thread, logging.Logger, logging.Handler, logging.config.DictConfigurator)
        for name in vars(kind)
    ]
    return {
        "threads": threading.enumerate(),
        "signals": {number: signal.getsignal(number) for number in signal.valid_signals()},
        "hooks": [sys.excepthook, sys.unraisablehook, threading.excepthook, sys.gettrace(), sys.getprofile()],
        "record factory": logging.getLogRecordFactory(),
        "logger class": logging.getLoggerClass(),
        "dictConfig": logging.config.dictConfigClass,
        "collections": [each for each in gc.callbacks if each.__module__.startswith("hublog")],
        "finders": [each for each in sys.meta_path if type(each).__module__.startswith("hublog")],
        "functions": functions,
    }

import logging.config
before = state()
import hublog
for module in pkgutil.walk_packages(hublog.__path__, "hublog."):
    if not module.name.endswith("__main__"):
        try:
            importlib.import_module(module.name)
        except ImportError as error:  # an extra that is not installed
            print(f"{module.name}: {error}")
after = state()
print([name for name in before if before[name] != after[name]], registered)
"""

FIRST_HANDLER = """
import atexit, os
registered = []
register, register_at_fork = atexit.register, os.register_at_fork
atexit.register = lambda *args: registered.append("exit") or register(*args)
os.register_at_fork = lambda **hooks: registered.append("fork") or register_at_fork(**hooks)
from hublog.handler import EventHubHandler
registered.clear()
for _ in range(3):
    EventHubHandler()
print(registered.count("fork"))
"""


def output(program):
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", program],
        capture_output=True,
        text=True,
        check=False,
        timeout=100,
    )
    assert not done.returncode, done.stderr
    return done.stdout.splitlines()


def test_importing_every_module_registers_nothing_and_patches_nothing():
    assert output(IMPORT_ALL)[-1] == "[] []"


def test_the_first_handler_registers_the_hook_of_forks_once():
    assert output(FIRST_HANDLER)[-1] == "1"


def test_each_kind_of_hook_is_registered_in_one_module():
    package = Path(hublog.__file__).parent
    found = {
        (hook, str(path.relative_to(package)))
        for path in package.rglob("*.py")
        for hook in re.findall(
            r"atexit\.register|register_at_fork\(|Finalize\b|signal\.SIGTERM, Hook", path.read_text()
        )
    }
    assert found == {
        ("atexit.register", "process_hooks.py"),
        ("register_at_fork(", "process_hooks.py"),
        ("Finalize", "process_hooks.py"),
        ("signal.SIGTERM, Hook", "runtime/shutdown.py"),
    }
