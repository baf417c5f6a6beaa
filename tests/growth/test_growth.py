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
from tests.growth.shapes import SHAPES, STEPS
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


#: Bytes that a record grows to below the bound of 64 KiB, where a message without arguments stands twice.
BYTES = (2_000, 6_000, 22_000)
#: Fields that the application adds to a record.
FIELDS = (10, 20, 50)
#: The last part of a record may cost this much of what the part before did, for its size.
STEEPER = 1.25
#: What comes once: the first use of a page of memory, of an expression for texts of some length.
ONCE = 3_000_000
#: A template that is new costs a search for secrets; the ones that were seen do not.
NEW_TEMPLATE = {"console": 4.8, "file": 2.1, "hub": 1.6}
RECORDS = 640


def instructions(arguments, directory):
    """Return what each case of the program with these arguments has executed."""
    valgrind = shutil.which("valgrind")
    assert valgrind, "valgrind counts the instructions: apt-get install valgrind"
    command = [
        valgrind,
        "--quiet",
        "--tool=cachegrind",
        "--cache-sim=no",
        f"--log-file={directory / 'log'}",
        f"--cachegrind-out-file={directory / 'count.%p'}",
        *(sys.executable, "-m", "tests.growth.program", *arguments),
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
    found = instructions(["|".join(names), f"{SMALL},{LARGE}"], tmp_path)
    assert len(found) == len(names) * 4 * 2
    for case, cost in found.items():
        name, _, size = case.rpartition(" ")
        if int(size) == LARGE:
            linear = found[f"{name} {SMALL}"] * LARGE // SMALL
            assert cost < min(linear * 1.25 + FIXED, MOST), (name, cost, linear)


@pytest.mark.timeout(600)
@pytest.mark.parametrize(
    ("names", "sizes"),
    [
        ([name for name in STEPS if name.startswith("bytes")], BYTES),
        ([name for name in STEPS if name.endswith("fields")], FIELDS),
    ],
    ids=["bytes", "fields"],
)
def test_each_part_of_a_record_costs_what_the_one_before_did(names, sizes, tmp_path):
    found = instructions(["|".join(names), ",".join(map(str, sizes))], tmp_path)
    low, middle, high = sizes
    cases = {case.rpartition(" ")[0] for case in found}
    assert len(cases) == len(names) * 4
    for case in cases:
        before = found[f"{case} {middle}"] - found[f"{case} {low}"]
        after = found[f"{case} {high}"] - found[f"{case} {middle}"]
        expected = max(before, 0) * (high - middle) / (middle - low)
        assert after <= expected * STEEPER + ONCE, (case, before, after)


@pytest.mark.timeout(600)
def test_a_new_template_costs_a_search_more_than_a_known_one(tmp_path):
    found = instructions(["templates", str(RECORDS)], tmp_path)
    ratios = {
        destination: found[f"{destination} new {RECORDS}"] / found[f"{destination} known {RECORDS}"]
        for destination in NEW_TEMPLATE
    }
    assert all(ratios[destination] <= most for destination, most in NEW_TEMPLATE.items()), ratios
