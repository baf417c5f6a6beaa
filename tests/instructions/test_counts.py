"""A log call, a request and a batch execute about as much of hublog's code as the table says, and no more.

This is no timed test: the counts are the same on any machine. Where the code has become cheaper by a quarter,
the table has to follow, so that it cannot become dearer again unnoticed.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from tests.instructions.counts import CASES
from tests.kits.environ import inherited

ROOT = Path(__file__).parents[2]
#: Bytecode instructions and Python calls of each case, as ``python -m tests.instructions.counts`` prints them
#: with Python 3.13. Others compile the same code to more or fewer.
TABLE = {
    "a log call with arguments": (594, 12),
    "a log call with 5 extras": (836, 14),
    "a Flask request, all off": (1_132, 44),
    "a Flask request, 2 records to the hub": (5_032, 180),
    "a Django request, all off": (1_275, 47),
    "a Django request, 2 records to the hub": (5_084, 177),
    "a batch of 100 lines": (6_938, 187),
    "a record in file and console": (1_033, 30),
}
VERSION = (3, 13)
#: Parts of a figure that are allowed: with that Python, and with others.
MOST, LEAST = (1.10, 0.75) if sys.version_info[:2] == VERSION else (1.30, 0.55)


@pytest.fixture(scope="module")
def counted():
    # Coverage would change what is traced.
    environ = inherited("COVERAGE", "LOG_", "FILE_LOG", "EVENTHUB_") | {
        "PYTHONHASHSEED": "0",
        "PYTHONPATH": f"{ROOT / 'src'}{os.pathsep}{ROOT}",
    }
    command = [sys.executable, "-m", "tests.instructions.counts", "--json"]
    done = subprocess.run(command, cwd=ROOT, env=environ, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    return json.loads(done.stdout)


def test_each_case_is_in_the_table():
    assert list(TABLE) == list(CASES)


@pytest.mark.parametrize("name", TABLE)
def test_no_more_is_executed_than_the_table_says(name, counted):
    found = tuple(counted[name])
    assert all(number <= MOST * figure for number, figure in zip(found, TABLE[name], strict=True)), (
        f"{name}: {found} instructions and calls, {TABLE[name]} in the table. Make it cheaper, or write in "
        "the commit what it is worth."
    )


@pytest.mark.parametrize("name", TABLE)
def test_the_table_follows_when_the_code_becomes_cheaper(name, counted):
    found = tuple(counted[name])
    assert all(number >= LEAST * figure for number, figure in zip(found, TABLE[name], strict=True)), (
        f'Write "{name}": {found}, in the table; all of it: python -m tests.instructions.counts'
    )
