"""Records that the hub does not take, quarantined so that the operator can look at them."""

import contextlib
import json
import os
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from hublog.line import joined, with_first

DIRECTORY: Final = "rejected"
#: Characters of the hub's reason that are kept.
_REASON_MAX: Final = 500
_FILE_MAX_BYTES: Final = 1 << 20


class DeadLetters:
    """Writes ``rejected/<time>-<process>.jsonl`` below the root of the spool.

    Each line is the record as it was, with ``rejected_at`` and ``rejected_reason`` in front. Nothing reads
    them back; the oldest files go when there are too many bytes.

    Args:
        root: of the spool.
        max_bytes: what all files may have together.
        wall: seconds since 1970.
    """

    def __init__(self, root: Path, *, max_bytes: int, wall: Callable[[], float] = time.time) -> None:
        self._folder = root / DIRECTORY
        self._max_bytes = max_bytes
        self._wall = wall
        self._path: Path | None = None

    def add(self, lines: Sequence[bytes], reason: str) -> bool:
        """Write lines; returns False when the disk does not take them."""
        at = datetime.fromtimestamp(self._wall(), UTC).isoformat(timespec="milliseconds")
        members = json.dumps({"rejected_at": at, "rejected_reason": reason[:_REASON_MAX]}).encode()
        data = joined(with_first(line, members) for line in lines)
        try:
            self._make_room(len(data))
            fd = os.open(self._file(len(data)), os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW, 0o600)
            try:
                return os.write(fd, data) == len(data)
            finally:
                os.close(fd)
        except OSError:
            return False

    def _file(self, size: int) -> Path:
        self._folder.mkdir(0o700, exist_ok=True)
        path = self._path
        if path is None or not path.exists() or path.stat().st_size + size > _FILE_MAX_BYTES:
            path = self._folder / f"{int(self._wall() * 1000):016x}-{os.urandom(4).hex()}.jsonl"
            self._path = path
        return path

    def _make_room(self, size: int) -> None:
        with contextlib.suppress(FileNotFoundError):
            files = sorted(self._folder.glob("*.jsonl"))
            total = sum(path.stat().st_size for path in files) + size
            for path in files:
                if total <= self._max_bytes:
                    break
                total -= path.stat().st_size
                path.unlink()
