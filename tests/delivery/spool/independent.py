"""Reads and makes spools by their description alone: no code is shared with the package."""

import fcntl
import os
import struct
import threading
import zlib

#: Read without a limit.
ALL = (1 << 30, 1 << 30)
KIB = 1 << 10
#: Names of owners, the oldest first.
A, B, C = (f"{number:016x}-0000000{number}" for number in (1, 2, 3))


def lines_of(data):
    """The lines of one segment, read as far as the first frame that is not whole."""
    assert data[:8] == b"hublog\x00\x01"[: len(data)]
    lines, at = [], 8
    while at + 8 < len(data):
        length, checksum = struct.unpack_from("<II", data, at)
        line = data[at + 8 : at + 8 + length]
        if not line or len(line) < length or zlib.crc32(line) != checksum:
            break
        lines.append(line)
        at += 8 + length
    return lines


def segments_of(directory):
    return sorted(directory.glob("*.seg"))


def lines_on_disk(directory):
    """The lines that are not settled, in their order."""
    number, offset = struct.unpack("<QQ", (directory / "lock").read_bytes())
    lines = []
    for path in segments_of(directory):
        data = path.read_bytes()
        if int(path.stem) == number:
            data = data[:8] + data[max(offset, 8) :]
        if int(path.stem) >= number:
            lines += lines_of(data)
    return lines


def make_segment(lines, *, head=b"hublog\x00\x01"):
    return head + b"".join(struct.pack("<II", len(line), zlib.crc32(line)) + line for line in lines)


def make_lines(count, *, size=0, start=0):
    return [b'{"n":%d,"pad":"%s"}' % (number, b"x" * size) for number in range(start, start + count)]


def names_of(path):
    return sorted(entry.name for entry in path.iterdir())


def is_locked(path):
    fd = os.open(path / "lock", os.O_RDWR)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(fd)
    return False


def leave_orphan(root, name, *segments, cursor=(0, 0), first=1):
    """What a dead process left."""
    path = root / name
    path.mkdir()
    (path / "lock").write_bytes(struct.pack("<QQ", *cursor))
    for number, data in enumerate(segments, first):
        (path / f"{number:08d}.seg").write_bytes(data)
    return path


def run_thread(function):
    results = []
    thread = threading.Thread(target=lambda: results.append(function()))
    thread.start()
    return thread, results


def make_three_segments(make):
    directory = make(max_bytes=100)
    directory.append(make_lines(6, size=20))
    assert [len(lines_of(path.read_bytes())) for path in segments_of(directory.path)] == [2, 2, 2]
    return directory, make_lines(6, size=20)
