import subprocess
import sys

import pytest

import hublog


def output(program):
    return subprocess.run(
        [sys.executable, "-W", "error", "-c", program], capture_output=True, text=True, check=True, timeout=60
    ).stdout


def test_every_public_name_is_there():
    assert set(hublog.__all__) <= set(dir(hublog))
    names = {}
    exec("from hublog import *", names)
    assert set(hublog.__all__) <= set(names)


def test_a_name_that_is_none_is_an_attribute_error():
    with pytest.raises(AttributeError, match="module 'hublog' has no attribute 'nonsense'"):
        _ = hublog.nonsense


def test_the_package_alone_loads_no_part_of_it():
    program = "import sys, hublog; print([name for name in sys.modules if name.startswith('hublog.')])"
    assert output(program) == "['hublog._version', 'hublog.process_hooks']\n"


def test_hooks_that_were_registered_after_the_first_handler_run_before_the_exit_of_hublog():
    program = """
import atexit, logging, hublog
from hublog.runtime.shared import runtime
connection = "Endpoint=sb://127.0.0.1:1;SharedAccessKeyName=n;SharedAccessKey=k;UseDevelopmentEmulator=true"
handler = hublog.EventHubHandler(connection_string=connection, exit_timeout_seconds=0.1, spool="memory")
atexit.register(lambda: print(runtime.is_exiting))
logging.getLogger().addHandler(handler)
logging.getLogger().error("order")
"""
    assert output(program) == "False\n"
