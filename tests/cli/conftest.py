import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from tests.kits.spools import LIVING, kill

from hublog.cli import main


@pytest.fixture
def root(tmp_path):
    path = tmp_path / "spool"
    path.mkdir(0o700)
    return path


@pytest.fixture
def run(root, capsys):
    """Run one of the commands on the root; returns exit status, output and messages."""

    def run_command(tool, *arguments, directory=root):
        status = main(["spool", tool, "--dir", str(directory), *map(str, arguments)])
        said = capsys.readouterr()
        return status, said.out, said.err

    return run_command


@pytest.fixture
def as_json(run):
    def run_command(tool, *arguments, status=0):
        found = run(tool, "--json", *arguments)
        assert (found[0], found[2]) == (status, "")
        return json.loads(found[1])

    return run_command


@pytest.fixture
def live(root):
    """Start a process that owns a directory with so many records; it goes on until it is killed."""
    started = []

    def start(records, *, max_bytes=1 << 20):
        command = [sys.executable, "-c", LIVING, str(root), str(max_bytes), str(records)]
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        started.append(process)
        return process, root / process.stdout.readline().decode().strip()

    yield start
    for process in started:
        kill(process)


@pytest.fixture
def ordinary(run):
    """A directory of an ordinary user, who this process is meanwhile: the administrator may do all."""
    path = Path(tempfile.mkdtemp())
    is_root = os.geteuid() == 0
    if is_root:
        os.chown(path, 65_534, 65_534)
        os.seteuid(65_534)
    yield path
    if is_root:
        os.seteuid(0)
    for each in [path, *path.rglob("*")]:
        each.chmod(0o700)
    shutil.rmtree(path)


@pytest.fixture
def during(monkeypatch):
    """Let something happen while the first segment is being read."""

    def arrange(happens):
        real, once = os.pread, [happens]

        def read(fd, *arguments):
            if once and Path(f"/proc/self/fd/{fd}").readlink().suffix == ".seg":
                once.pop()()
            return real(fd, *arguments)

        monkeypatch.setattr(os, "pread", read)

    return arrange
