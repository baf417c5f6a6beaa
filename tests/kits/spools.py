"""Spools as dead and living processes leave them, made by their description alone."""

import os
import socket
import stat

from hypothesis import strategies as st
from tests.spool.independent import A, B, C, leave_orphan, make_lines, make_segment

LIMIT_S = 60
FRAME = 8
SECRET = "hunter2"
NAME = "000001a208b4db00-0000000a"  # of a process that began on 2026-11-23 at 14:00
LIVING = """
import os, sys
from pathlib import Path
from hublog.spool.segments import SegmentRules
from hublog.spool.directory import SpoolDirectory
directory = SpoolDirectory.create(Path(sys.argv[1]), rules=SegmentRules(max_bytes=int(sys.argv[2])))
for number in range(int(sys.argv[3])):
    assert directory.append([b'{"n":%d}' % number]) == 1
os.write(1, directory.path.name.encode() + b"\\n")
for text in sys.stdin:
    assert directory.append([b'{"later":1}']) == 1
    os.write(1, b"written\\n")
"""


def kill(process):
    process.kill()
    process.communicate(timeout=LIMIT_S)


def leave(root, name, *segments, **options):
    """What a dead process left, with the modes that it gave it."""
    path = leave_orphan(root, name, *segments, **options)
    path.chmod(0o700)
    for file in path.iterdir():
        file.chmod(0o600)
    return path


def reject(root, data, name="a.jsonl"):
    folder = root / "rejected"
    folder.mkdir(0o700, exist_ok=True)
    (folder / name).write_bytes(data)
    (folder / name).chmod(0o600)
    return folder / name


def snapshot(path):
    """All that is below a path; times of reading aside."""
    found = {}
    for each in sorted(path.rglob("*")):
        looked = each.lstat()
        is_file = stat.S_ISREG(looked.st_mode)
        content = each.read_bytes() if is_file and looked.st_size < 1 << 20 else None
        found[str(each)] = (looked.st_mode, looked.st_size, looked.st_mtime_ns, content)
    return found


def kinds(verdict):
    return [(finding["path"], finding["kind"]) for finding in verdict["findings"]]


def make_hostile(root, outside):
    """Links, pipes and sockets in every place where something is looked for."""
    leave(outside, B, make_segment(make_lines(5)))
    (root / B).symlink_to(outside / B)
    (root / "rejected").symlink_to(outside)
    reject(outside, b"{}\n")
    left = leave(root, A, make_segment(make_lines(1)))
    (left / "00000002.seg").symlink_to(outside / B / "00000001.seg")
    os.mkfifo(left / "00000003.seg")
    (left / "00000004.seg").mkdir()
    for name, make in ((C, os.mkfifo), (f"{3:016x}-0000000d", lambda path: path.symlink_to(left / "lock"))):
        leave(root, name, make_segment(make_lines(1)))
        (root / name / "lock").unlink()
        make(root / name / "lock")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(root / "socket"))


def make_unreadable(root):
    """Nothing of this can be read: a directory, a lock, a segment, what was refused."""
    root.mkdir()
    for name in (A, B, C):
        leave(root, name, make_segment(make_lines(1)), make_segment(make_lines(2)))
    reject(root, b"{}\n").chmod(0)
    (root / A).chmod(0)
    (root / B / "lock").chmod(0)
    (root / C / "00000001.seg").chmod(0)
    return {
        A: "cannot be read: Permission denied",
        B: "its lock file cannot be opened: Permission denied",
        f"{C}/00000001.seg": "cannot be read: Permission denied",
        "rejected/a.jsonl": "cannot be read: Permission denied",
    }


LINES = st.lists(
    st.binary(max_size=40).map(lambda data: b"{" + data.replace(b"\n", b"") + b"}"), min_size=1, max_size=12
)
#: Where a segment is damaged: part of its length, bytes, and whether they are zeros.
DAMAGE = st.tuples(st.floats(0, 1), st.binary(min_size=1, max_size=60))


@st.composite
def segments(draw):
    data = bytearray(make_segment(draw(LINES)))
    for place, noise in draw(st.lists(DAMAGE, max_size=2)):
        at = int(place * len(data))
        data[at : at + len(noise)] = noise[: len(data) - at]
    return bytes(data[: int(draw(st.floats(0.8, 1)) * len(data)) + 1])
