"""Runs a program of this folder to its end."""

import json
import os
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent


def run(name, *arguments, folder, **environ):
    """Return what a program prints at its end, read as JSON; it must end well and say nothing else."""
    result = subprocess.run(
        [sys.executable, "-W", "ignore", str(HERE / name), *arguments],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(HERE), **environ},
        capture_output=True,
        text=True,
        check=False,
        timeout=90,
    )
    assert result.returncode == 0, result.stderr
    assert result.stderr == ""
    return json.loads(result.stdout)
