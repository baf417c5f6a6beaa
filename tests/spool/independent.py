"""Reads and makes spools by their description alone: no code is shared with the package."""

import fcntl
import json
import os
import struct
import threading
import zlib

#: Read without a limit.
ALL = (1 << 30, 1 << 30)
KIB = 1 << 10
#: Names of owners, the oldest first.
A, B, C = (f"{number:016x}-0000000{number}" for number in (1, 2, 3))


def header_end(data):
    """Where the frames of a segment begin, behind its envelope if it has one."""
    if data[:8] != b"hublog\x00\x02":
        return 8
    length, checksum = struct.unpack_from("<II", data, 8)
    text = data[16 : 16 + length]
    assert zlib.crc32(text) == checksum
    namespace, eventhub, packing, routing = json.loads(text)
    assert all(isinstance(name, str) for name in (namespace, eventhub, packing, *routing))
    return 16 + length


def lines_of(data):
    """The lines of one segment, read as far as the first frame that is not whole."""
    assert data[:7] == b"hublog\x00"[: len(data)]
    assert data[7:8] in (b"", b"\x01", b"\x02")
    lines, at = [], header_end(data)
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


def segment_bytes(root):
    """Bytes of the segments of all directories below a root."""
    return sum(path.stat().st_size for path in root.glob("*/*.seg"))


def lines_on_disk(directory):
    """The lines that are not settled, in their order."""
    number, offset = struct.unpack("<QQ", (directory / "lock").read_bytes()[:16])
    lines = []
    for path in segments_of(directory):
        data = path.read_bytes()
        if int(path.stem) == number:
            begin = header_end(data)
            data = data[:begin] + data[max(offset, begin) :]
        if int(path.stem) >= number:
            lines += lines_of(data)
    return lines


def frame(line):
    return struct.pack("<II", len(line), zlib.crc32(line)) + line


def envelope(eventhub, *, namespace="shop.servicebus.windows.net", packing="lines", **routing):
    """Where records go and how they are packed, as it stands in a segment and in a lock."""
    return frame(json.dumps([namespace, eventhub, packing, routing]).encode())


def make_segment(lines, *, head=b"hublog\x00\x01", envelope=b""):
    if envelope:
        head = b"hublog\x00\x02" + envelope
    return head + b"".join(map(frame, lines))


def make_lines(count, *, size=0, start=0):
    return [b'{"n":%d,"pad":"%s"}' % (number, b"x" * size) for number in range(start, start + count)]


def names_of(path):
    """Return what is in a directory, the snapshots of processes left out."""
    return sorted(entry.name for entry in path.iterdir() if entry.name != "status")


def is_locked(path):
    fd = os.open(path / "lock", os.O_RDWR)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(fd)
    return False


def leave_orphan(root, name, *segments, cursor=(0, 0), first=1, envelope=b""):
    """What a dead process left."""
    path = root / name
    path.mkdir()
    (path / "lock").write_bytes(struct.pack("<QQ", *cursor) + envelope)
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
