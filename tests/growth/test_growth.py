"""What a client may choose costs instructions in proportion to its size at most, in every destination.

valgrind counts them, since most of the work is done in C: string methods, regular expressions, the encoder.
They are the same on a busy machine, which seconds are not.
"""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from tests.growth.shapes import SHAPES
from tests.kits.environ import inherited

ROOT = Path(__file__).parents[2]
SMALL, LARGE = 1 << 16, 1 << 20
#: What a destination may execute for a log call of 1 MiB: a fifth of a second of one core. A text that is
#: full of secrets to its last word comes near, since each is looked at.
MOST = 2_000_000_000
#: What is not the record: making a hub for a test, its thread, the memory's first pages.
FIXED = 30_000_000
#: Shapes that are measured in one process, since starting it takes longest.
TOGETHER = 4
GROUPS = [list(SHAPES)[start : start + TOGETHER] for start in range(0, len(SHAPES), TOGETHER)]


def counted(directory, pid):
    return int(re.search(r"^summary: (\d+)", (directory / f"count.{pid}").read_text(), re.MULTILINE)[1])


def instructions(names, directory):
    """Return what each destination has executed for each shape and size."""
    valgrind = shutil.which("valgrind")
    assert valgrind, "valgrind counts the instructions: apt-get install valgrind"
    command = [
        valgrind,
        "--quiet",
        "--tool=cachegrind",
        "--cache-sim=no",
        f"--log-file={directory / 'log'}",
        f"--cachegrind-out-file={directory / 'count.%p'}",
        *(sys.executable, "-m", "tests.growth.program", "|".join(names), f"{SMALL},{LARGE}"),
    ]
    # Coverage would be counted too.
    environ = inherited("COVERAGE") | {
        "PYTHONHASHSEED": "0",
        "PYTHONPATH": f"{ROOT / 'src'}{os.pathsep}{ROOT}",
    }
    run = subprocess.run(command, cwd=ROOT, env=environ, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    pids = json.loads(run.stdout)
    return {
        case: counted(directory, logged) - counted(directory, idle) for case, (idle, logged) in pids.items()
    }


@pytest.mark.timeout(600)
@pytest.mark.parametrize("names", GROUPS, ids=lambda names: f"{names[0]} to {names[-1]}")
def test_cost_grows_with_the_size_and_is_bounded(names, tmp_path):
    found = instructions(names, tmp_path)
    assert len(found) == len(names) * 4 * 2
    for case, cost in found.items():
        name, _, size = case.rpartition(" ")
        if int(size) == LARGE:
            linear = found[f"{name} {SMALL}"] * LARGE // SMALL
            assert cost < min(linear * 1.25 + FIXED, MOST), (name, cost, linear)
