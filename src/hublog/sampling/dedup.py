"""Equal records are deduplicated: the first is shipped, those that follow are counted in a summary.

No lock: a window is found with one step of the interpreter, and its count is taken with another. A thread
that counts adds first and then checks whether the window was closed; one that closes it does so in reverse.
"""

import logging
import math
from collections import OrderedDict
from collections.abc import Callable, Hashable
from hashlib import blake2b
from math import isfinite
from time import monotonic
from typing import Final

from hublog.capture.columns import OPEN_COLUMNS
from hublog.capture.exceptions import from_record
from hublog.capture.interop import meant_fields
from hublog.capture.json_safe import plain
from hublog.capture.slow_path import rendered, shortened, timestamp_of
from hublog.capture.typed_columns import END_OF_TIME, NOT_ADDED, STANDARD_LENGTH
from hublog.internal_log import AtomicCounter
from hublog.line import Line, RecordIds, dumps, escape_line_ends, loads, record_id

#: Records that are known again; then the one that was not met for the longest time is forgotten.
KEYS_MAX: Final = 1_000
#: What their lines may take in memory.
LINES_MAX_BYTES: Final = 4 << 20
#: A longer string is compared by its hash.
_TEXT_MAX: Final = 200
#: Names that a record may have, and characters of them, to be known again: each window keeps them.
_NAMES_MAX: Final = 128
_NAMES_LONGEST: Final = 4_096
#: Room for what a summary adds to a line.
_ADDED_BYTES: Final = 256

_NOT_ADDED: Final = NOT_ADDED | {"taskName"}
#: What may differ between the records that a summary stands for, with what was bound.
_THREAD: Final = frozenset({"thread_id", "thread_name", "async_task_name"})
#: What ``slow_path.fit`` notes in ``extra``.
_NOTES: Final = frozenset({"original_bytes", "left_out"})


class Window:
    """A record that was shipped, and how many equal ones have come since.

    Attributes:
        end_mono: from then on an equal record is shipped again.
        first_at: when the shipped one was made, seconds since 1970.
        last_at: when the last one was.
        own: names that the records themselves have added.
        line: what was shipped; None until it is encoded.
        size: bytes of the line while it is counted against the bound.
        is_shut: whether it is closed; a thread that counted into it then reports that itself.
    """

    __slots__ = ("_count", "_reported", "end_mono", "first_at", "is_shut", "last_at", "line", "own", "size")

    def __init__(self, record: logging.LogRecord, *, end_mono: float) -> None:
        self.end_mono = end_mono
        self.first_at = self.last_at = record.created
        self.own = (frozenset(record.__dict__) - _NOT_ADDED) | meant_fields().keys()
        self.line: Line | None = None
        self.size = 0
        self.is_shut = False
        self._count = self._reported = 0

    def add(self, created: float) -> bool:
        """Count a record; returns whether it is the first that is not reported."""
        is_first = self._count == self._reported
        self._count += 1
        self.last_at = created
        return is_first

    def take(self) -> tuple[int, float]:
        """Return how many were counted and not taken before, each once, and when the last was made."""
        count = self._count - self._reported  # no call up to the end
        self._reported += count
        return count, self.last_at

    @property
    def waits(self) -> bool:
        """Whether something is not reported."""
        return self._count != self._reported


class Deduplicator:
    """Counts equal records; any thread, signal handler or finalizer may call it, and none waits.

    Two records are equal if they come from one place in the code with one level, logger, message, ``extra``,
    and stack trace; what is bound to request, task or thread may differ.

    Args:
        seconds: how long a record is known.
        ids: numbers the summaries.
        max_record_bytes: bound of a summary's line.
        ship: sends a line on its way.
        wake: called when a summary will be due while the worker may sleep; must not wait.
        deduplicated: counts the records that are not shipped.
        now: monotonic seconds.
    """

    def __init__(
        self,
        seconds: float,
        *,
        ids: RecordIds,
        max_record_bytes: int,
        ship: Callable[[Line], object],
        wake: Callable[[], object],
        deduplicated: AtomicCounter,
        now: Callable[[], float] = monotonic,
    ) -> None:
        self._seconds = seconds
        self._ids = ids
        self._max_bytes = max_record_bytes
        self._ship = ship
        self._wake = wake
        self._deduplicated = deduplicated
        self._now = now
        # The least recently met first. Its methods are C, and so are hash and comparison of the keys.
        self._windows: OrderedDict[Hashable, Window] = OrderedDict()
        self._bytes = 0
        self._due_mono = math.inf
        self._is_over = False

    def counts(self, key: Hashable, record: logging.LogRecord) -> bool:
        """Count a record that is equal to one that was shipped; returns False when there is none."""
        window = self._windows.get(key)
        if window is None:
            return False
        if self._now() >= window.end_mono:
            self._shut(key)
            return False
        self._count(window, record)
        try:  # noqa: SIM105  # a context manager costs more than all the rest
            self._windows.move_to_end(key)
        except KeyError:  # shut just now
            pass
        return True

    def open(self, key: Hashable, record: logging.LogRecord) -> Window | None:
        """Know a record again from now on; who gets a window encodes and ships it, and calls ``begin``.

        Returns:
            None when another thread has shipped an equal one just now, and this one is counted.
        """
        new = Window(record, end_mono=self._now() + self._seconds)
        window = self._windows.setdefault(key, new)
        if window is not new:
            self._count(window, record)
            return None
        while len(self._windows) > KEYS_MAX:
            self._shut_oldest()
        if self._is_over:
            self._shut(key)
        return new

    def begin(self, window: Window, line: Line) -> None:
        """Note the line that was shipped for a window."""
        size = len(line.data)
        window.line = line  # no call up to the next comment
        if not window.is_shut:
            window.size = size
            self._bytes += size
        # Shut before it had a line: what was counted could not be reported.
        if window.is_shut:
            self._report(window)
        while self._bytes > LINES_MAX_BYTES and self._windows:
            self._shut_oldest()

    def abandon(self, key: Hashable) -> None:
        """Forget a window whose record could not be shipped."""
        self._windows.pop(key, None)

    def look(self) -> float:
        """Write the summaries that are due; returns the seconds until the next one is."""
        now = self._now()
        if now < self._due_mono:
            return self._due_mono - now
        self._due_mono = math.inf  # before the look: who counts meanwhile sets it anew
        due = math.inf
        for key, window in list(self._windows.items()):
            if window.end_mono <= now:
                self._shut(key)
            elif window.waits and window.end_mono < due:
                due = window.end_mono
        if due < self._due_mono:  # noqa: PLR1730  # min() is a call, and another thread may set it in between
            self._due_mono = due
        return self._due_mono - now

    def report(self) -> None:
        """Write a summary of what was counted until now; what comes later gets another."""
        for window in list(self._windows.values()):
            self._report(window)

    def end(self) -> None:
        """Write all summaries, and know no record any more."""
        self._is_over = True  # first: a window that is opened meanwhile is closed by the thread that opens it
        for key in list(self._windows):
            self._shut(key)

    def _count(self, window: Window, record: logging.LogRecord) -> None:
        self._deduplicated.add()
        is_first = window.add(record.created)
        if window.is_shut:
            self._report(window)
        elif is_first and window.end_mono < self._due_mono:
            self._due_mono = window.end_mono
            self._wake()

    def _shut_oldest(self) -> None:
        try:
            _, window = self._windows.popitem(last=False)
        except KeyError:  # another thread was faster
            return
        self._close(window)

    def _shut(self, key: Hashable) -> None:
        window = self._windows.pop(key, None)
        if window is not None:
            self._close(window)

    def _close(self, window: Window) -> None:
        window.is_shut = True
        self._bytes -= window.size
        self._report(window)

    def _report(self, window: Window) -> None:
        """Write the summary of a window, unless its line is still being made."""
        line = window.line
        if line is None:
            return
        count, last_at = window.take()
        if count:
            self._ship(line._replace(data=self._summary(window, line.data, count, last_at)))

    def _summary(self, window: Window, line: bytes, count: int, last_at: float) -> bytes:
        if len(line) + _ADDED_BYTES > self._max_bytes:
            line = shortened(line, self._max_bytes - _ADDED_BYTES) or line
        row = loads(line)
        own = window.own
        extra = row.pop("extra", None) or {}
        kept = own | _NOTES if row.get("truncated") else own
        last = timestamp_of(last_at)
        prefix, sequence = self._ids.next(int(last_at) * 1000 + int(last_at % 1 * 1_000_000) // 1000)
        row = {name: value for name, value in row.items() if _is_shared(name) or name in own}
        row |= {"timestamp": last, "record_id": record_id(prefix, sequence), "sequence": sequence}
        row["extra"] = {name: value for name, value in extra.items() if name in kept} | {
            "repeat_count": count,
            "first_at": timestamp_of(window.first_at),
            "last_at": last,
        }
        return escape_line_ends(dumps(row))


def _is_shared(name: str) -> bool:
    """Whether a column is the same for all records of one place in the code, whatever was bound."""
    return name == "record_type" or (name not in OPEN_COLUMNS and name not in _THREAD)


def equality_key(record: logging.LogRecord) -> Hashable | None:
    """Return what equal records have in common; None for one that is never taken for another.

    Never raises. The message is made here once more, so a ``__str__`` of the application is called twice.
    """
    try:
        return _key(record)
    except (Exception, SystemExit):  # noqa: BLE001  # whatever it is, the formatter shows it
        return None


def _key(record: logging.LogRecord) -> Hashable | None:
    created = record.created
    if record.stack_info or type(created) is not float or not 0.0 <= created < END_OF_TIME:
        return None
    message = rendered(record, None)
    place = (record.name, record.levelname, record.pathname, record.levelno, record.lineno, message)
    if tuple(map(type, place)) != _EXACT:
        return None
    parts: list[Hashable] = [_short(part) if isinstance(part, str) else part for part in place]
    if record.exc_info or record.exc_text:
        error = from_record(record.exc_info, record.exc_text)
        if error is not None:
            parts += [error.fingerprint, _short(f"{error.message}\n{error.stacktrace}")]
    attributes, fields = record.__dict__, meant_fields()
    if fields or len(attributes) != STANDARD_LENGTH:
        names = (*attributes, *fields)
        if len(names) > _NAMES_MAX or sum(map(len, names)) > _NAMES_LONGEST:
            return None  # names that were made at run time, by which no other record is known again
        added = {name: _shown(attributes[name]) for name in tuple(attributes) if name not in _NOT_ADDED}
        also = {name: _shown(value) for name, value in fields.items()}
        parts.append(_short(dumps((added, also)).decode()))
    return tuple(parts)


#: Hash and comparison of these call no code of the application.
_EXACT: Final = (str, str, str, int, int, str)
#: Types that JSON shows as they are; a float may be shown like None.
_PLAIN: Final = frozenset({str, int, bool, type(None)})


def _short(text: str) -> str | bytes:
    if len(text) <= _TEXT_MAX:
        return text
    return blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).digest()


def _shown(value: object) -> object:
    kind = type(value)
    return value if kind in _PLAIN or (kind is float and isfinite(value)) else plain(value)  # type: ignore[arg-type]  # it is a float
