"""Three stages that reduce the number of records, in the order in which a record passes them.

It is buffered until its request ends; deduplicated within a window; refused by the rate limit of its logger.
A stage that is off does nothing. Records of hublog itself, such as the request record, pass all of them.
"""

import logging
import math
from collections.abc import Callable
from time import monotonic
from typing import Final

from hublog.capture.truncation import shortened
from hublog.internal_log import Tally
from hublog.line import Line, RecordIds, with_sequence
from hublog.sampling.dedup import Deduplicator, equality_key
from hublog.sampling.rate_limit import RateLimit
from hublog.sampling.tail_buffer import TailBuffer
from hublog.settings import EventHubSettings, Settings

_OWN: Final = "hublog."
_Encode = Callable[[logging.LogRecord], bytes]
_EncodeLine = Callable[[logging.LogRecord], Line]


def is_asked(hub: EventHubSettings) -> bool:
    """Whether anything here is switched on."""
    return hub.enabled and (hub.tail_sampling or hub.dedup_seconds > 0 or hub.rate_limit > 0)


class UnnumberedIds(RecordIds):
    """Ids of lines that may never be shipped: their sequence numbers are given later, or the rest had a gap.

    Args:
        ids: number the lines that are shipped.
    """

    __slots__ = ("_ids",)

    def __init__(self, ids: RecordIds) -> None:
        super().__init__()
        self._ids, self._process = ids, ids._process  # noqa: SLF001  # the first part is the same

    def next(self, milliseconds: int) -> tuple[bytes, int]:
        """Return an id's first part, and the number that the line would have if it were shipped now."""
        return super().next(milliseconds)[0], self._ids.upcoming

    def number(self, line: bytes) -> bytes:
        """Return a line that was made with the ids of this object with the next sequence number."""
        return with_sequence(line, self._ids.next_number())


class Sampler:
    """Takes the records of one process while any of the three is on; any thread, never waits.

    Args:
        ids: numbers what is shipped.
        ship: sends a line on its way.
        refuse: counts a record that is over the limit, by the names of its level and logger.
        wake: see ``Deduplicator``.
        now: monotonic seconds.

    Attributes:
        deduplicated: counts the records that a summary stands for.
        tail: of the requests; keeps nothing unless ``is_tail_on``.
    """

    def __init__(
        self,
        *,
        ids: RecordIds,
        ship: Callable[[Line], object],
        refuse: Callable[[str, str], object],
        wake: Callable[[], object],
        now: Callable[[], float] = monotonic,
    ) -> None:
        self._ids = ids
        self._ship = ship
        self._refuse = refuse
        self._wake = wake
        self._now = now
        self._unnumbered = UnnumberedIds(ids)
        self._max_bytes = 0
        self._encode: _EncodeLine = _nothing
        self._limits = (0, 0)
        self._windows = (0.0, 0)
        self._rate: RateLimit | None = None
        self._deduplicator: Deduplicator | None = None
        self.deduplicated = Tally()
        self.tail = TailBuffer(encode=_nothing, ship=self._release)
        self.is_tail_on = False

    def fit(
        self, settings: Settings, *, encode: _Encode, make_encode: Callable[[RecordIds], _Encode]
    ) -> None:
        """Take over settings; what is open and no longer wanted is shipped.

        Args:
            settings: what is in force now.
            encode: makes a line.
            make_encode: gives what makes a line with other ids.
        """
        hub = settings.eventhub
        self._encode, self._max_bytes = _lines(encode), hub.max_record_bytes
        if self._limits != (hub.rate_limit, hub.rate_burst):
            self._limits = hub.rate_limit, hub.rate_burst
            self._rate = RateLimit(*self._limits, now=self._now) if hub.rate_limit > 0 else None
        if self._windows != (hub.dedup_seconds, hub.max_record_bytes):
            self._windows = hub.dedup_seconds, hub.max_record_bytes
            former, self._deduplicator = self._deduplicator, self._make_deduplicator()
            if former is not None:
                former.end()
        tail = self.tail
        tail.max_lines, tail.slow_s = hub.tail_max_records, settings.request.slow_seconds
        if hub.tail_sampling:
            tail.encode = _lines(make_encode(self._unnumbered))
        elif self.is_tail_on:
            tail.release_all()
        self.is_tail_on = hub.tail_sampling

    def take(self, record: logging.LogRecord) -> None:
        """Buffer a record, count it, refuse it or ship it."""
        is_own = _is_own(record.name)
        if self.is_tail_on and self.tail.keeps(record, is_own=is_own):
            return
        deduplicator = None if is_own else self._deduplicator
        key = equality_key(record) if deduplicator is not None else None
        if deduplicator is not None and key is not None and deduplicator.counts(key, record):
            return
        if not is_own and self._is_over(record.levelno, record.levelname, record.name):
            return
        if deduplicator is None or key is None:
            self._ship(self._encode(record))
            return
        window = deduplicator.open(key, record)
        if window is None:
            return
        try:
            line = self._encode(record)
            self._ship(line)
        except BaseException:
            deduplicator.abandon(key)
            raise
        deduplicator.begin(window, line)

    def look(self) -> float:
        """Write the summaries that are due; returns the seconds until the next one is."""
        deduplicator = self._deduplicator
        return deduplicator.look() if deduplicator is not None else math.inf

    def report(self) -> None:
        """Write the summaries of what was counted until now."""
        deduplicator = self._deduplicator
        if deduplicator is not None:
            deduplicator.report()

    def release(self) -> None:
        """Ship all that is buffered, and write all summaries; at process exit, or once all is off."""
        self.tail.release_all()
        deduplicator = self._deduplicator
        if deduplicator is not None:
            deduplicator.end()

    def _is_over(self, levelno: int, level: str, logger: str) -> bool:
        """Whether a record is over the limit, and counted as that; ERROR and above never is."""
        rate = self._rate
        if rate is None or levelno >= logging.ERROR or rate.allows(logger):
            return False
        self._refuse(level, logger)
        return True

    def _release(self, line: Line) -> None:
        if self._is_over(line.levelno, line.level, line.logger):
            return
        data = self._unnumbered.number(line.data)
        if len(data) > self._max_bytes:  # the sequence has got another digit since
            data = shortened(data, self._max_bytes) or data
        self._ship(line._replace(data=data))

    def _make_deduplicator(self) -> Deduplicator | None:
        seconds, max_record_bytes = self._windows
        if seconds <= 0:
            return None
        return Deduplicator(
            seconds,
            ids=self._ids,
            max_record_bytes=max_record_bytes,
            ship=self._ship,
            wake=self._wake,
            deduplicated=self.deduplicated,
            now=self._now,
        )


def _is_own(logger: object) -> bool:
    """Whether a logger is hublog's, such as that of the request record: it passes always."""
    return isinstance(logger, str) and logger.startswith(_OWN)


def _lines(encode: _Encode) -> _EncodeLine:
    """Return what makes a line with the facts of its record."""
    return lambda record: Line(encode(record), record.levelno, record.levelname, record.name)


def _nothing(record: logging.LogRecord) -> Line:
    """Stand in until there are settings."""
    raise RuntimeError(record.name)
