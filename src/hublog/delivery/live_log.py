"""The directory that this process writes to now, as a source for the batcher."""

import logging
import threading
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Final

from hublog.delivery.batcher import Batch
from hublog.delivery.memory_queue import NEVER

if TYPE_CHECKING:  # the spool needs locks and limits that not every system has
    from hublog.spool.directory import SpoolDirectory

#: Nobody waits longer for another thread that makes the directory; the line stays in memory instead.
_MAKING_WAIT_S: Final = 0.05


class LiveLog:
    """Lines that were just written to disk, in the order in which they came.

    Any thread, signal handler or finalizer may write; one thread takes.

    Args:
        make: makes a directory; None when there is none to be had now.
        urgent_level: a record of this level or above is sent at once.

    Attributes:
        directory: where the next line goes; None before the first one.
        max_lines: as many as the disk holds.
        urgent: set by a put that must not wait; taken back by the batcher.
        urgent_level: as above; may be set anew.
        wake_at: the length at which a put calls ``wake``.
        wake: called in the thread that puts.
        written_bytes: of lines, ever.
        look_at_bytes: once as many are written somebody should look after the bound.
        wants_look: somebody should look after the disk: it refused a line, or the bound is due.
    """

    max_lines: int = NEVER

    def __init__(
        self, make: Callable[[], "SpoolDirectory | None"], *, urgent_level: int = logging.ERROR
    ) -> None:
        self.directory: SpoolDirectory | None = None
        self.urgent = False
        self.urgent_level = urgent_level
        self.wake_at = NEVER
        self.wake: Callable[[], object] = _nobody
        self.written_bytes = 0
        self.look_at_bytes = NEVER
        self.wants_look = False
        self._make = make
        self._taken = 0
        self._making = threading.RLock()
        self._is_making = False

    @property
    def is_making(self) -> bool:
        """Whether a thread is making the directory."""
        return self._is_making

    def __len__(self) -> int:
        return self.directory.unread_lines if self.directory is not None else 0

    @property
    def bytes_waiting(self) -> int:
        """Bytes on disk that were not taken."""
        return self.directory.unread_bytes if self.directory is not None else 0

    def put(self, line: bytes, levelno: int = logging.INFO) -> bool:
        """Write one line; returns False when the disk does not take it."""
        return self.append((line,), is_urgent=levelno >= self.urgent_level) > 0

    def append(self, lines: Sequence[bytes], *, is_urgent: bool = False) -> int:
        """Write lines; returns how many the disk took, the first ones."""
        directory = self.directory
        written = directory.append(lines) if directory is not None else 0
        if written < len(lines) and (directory is None or not directory.is_open):
            directory = self._new_directory(directory)
            if directory is not None:
                written += directory.append(lines[written:])
        self.written_bytes += sum(map(len, lines[:written]))
        if not self.wants_look and (written < len(lines) or self.written_bytes >= self.look_at_bytes):
            self.wants_look = True
            self.wake()
        if directory is None or not written:
            return 0
        if is_urgent:
            self.urgent = True
            if self.wake_at != NEVER:
                self.wake()
        elif directory.appended_total - self._taken >= self.wake_at:
            self.wake()
        return written

    def take(self, *, max_lines: int, max_bytes: int, line_overhead: int = 0) -> Batch | None:
        """Return the next lines; they stay on disk until they are settled."""
        directory = self.directory
        if directory is None:
            return None
        lines, position = directory.read(max_bytes, max_lines, line_overhead=line_overhead)
        self._taken = directory.appended_total - directory.unread_lines
        return Batch(lines, directory, position) if lines else None

    def seal(self) -> "SpoolDirectory | None":
        """Write to another directory from now on; returns the one of before."""
        directory, self.directory = self.directory, None
        self._taken = 0
        return directory

    def stop_if_unused(self, stop: Callable[[], object]) -> bool:
        """Call what keeps directories from being made, unless there is one; returns whether it was called."""
        if not self._making.acquire(timeout=_MAKING_WAIT_S):
            return False
        try:
            is_unused = self.directory is None and not self._is_making
            if is_unused:
                stop()
            return is_unused
        finally:
            self._making.release()

    def _new_directory(self, former: "SpoolDirectory | None") -> "SpoolDirectory | None":
        """Make a directory, unless another thread is faster; a signal handler in the middle gets none."""
        if not self._making.acquire(timeout=_MAKING_WAIT_S):
            made = self.directory  # perhaps just now
            return made if made is not former else None
        try:
            if self._is_making:
                return None
            if self.directory is former or self.directory is None:
                self._is_making = True
                self._taken = 0
                self.directory = self._make()
            return self.directory
        finally:
            self._is_making = False
            self._making.release()


def _nobody() -> None:
    """Wake nobody: no worker runs yet."""
