import os
import resource
from pathlib import Path

import pytest

from hublog.spool import writer as writers
from hublog.spool.directory import SpoolDirectory
from hublog.spool.root import SpoolRoot
from hublog.spool.segments import SegmentRules
from hublog.testing import FakeClock


@pytest.fixture
def clock():
    return FakeClock()


@pytest.fixture
def make(tmp_path, clock):
    made = []

    def make_directory(**rules):
        made.append(SpoolDirectory.create(tmp_path, rules=SegmentRules(**rules), now=clock))
        return made[-1]

    yield make_directory
    for directory in made:
        directory.close()


@pytest.fixture
def make_root(tmp_path):
    made, clock = [], FakeClock()

    def make(max_bytes=1 << 30, path=tmp_path / "spool", age=0, **kwargs):
        made.append(SpoolRoot(path, max_bytes=max_bytes, now=clock, wall=lambda: 1_000 + age, **kwargs))
        return made[-1]

    yield make
    for root in made:
        for directory in root._directories():
            directory.close()


@pytest.fixture
def root(make_root):
    made = make_root()
    made.prepare()
    return made


@pytest.fixture
def file_limit():
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, before[1]))
    yield 100_000
    resource.setrlimit(resource.RLIMIT_FSIZE, before)


class Disk:
    """Stands between the package and the disk: ``os.write`` and others do what a test says, once each.

    ``plan`` holds, for the next calls, None to let it pass, an error to raise, a number of bytes after
    which it is short, or a function to call after the write, as a signal handler would be.
    """

    def __init__(self, monkeypatch):
        self.patch = monkeypatch
        self.calls = []

    def plan(self, name, *steps):
        real, steps = getattr(os, name), list(steps)

        def step(fd, *args):
            plan = steps.pop(0) if steps else None
            if isinstance(plan, OSError):
                raise plan
            if isinstance(plan, int):
                return real(fd, args[0][:plan])
            result = real(fd, *args)
            if plan is not None:
                plan()
            return result

        self.patch.setattr(os, name, step)

    def record(self):
        """Note writes and syncs in their order, by the names of the files."""
        for name in ("write", "fsync", "fdatasync"):
            self._note(name, getattr(os, name))
        self.patch.setattr(writers, "_sync", os.fdatasync)

    def _note(self, name, real):
        def call(fd, *args):
            path = Path(f"/proc/self/fd/{fd}").readlink()
            self.calls.append((name, path.stem[-1] if path.suffix == ".seg" else "directory"))
            return real(fd, *args)

        self.patch.setattr(os, name, call)


@pytest.fixture
def disk(monkeypatch):
    return Disk(monkeypatch)
