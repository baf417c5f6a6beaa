"""Three stages that reduce the number of records, in the order in which a record passes them.

It is buffered until its request ends; deduplicated within a window; refused by the rate limit of its logger.
A stage that is off does nothing. Records of hublog itself, such as the request record, pass all of them.
"""

import logging
import math
from collections.abc import Callable
from time import monotonic
from typing import Final

from hublog.capture.slow_path import shortened
from hublog.internal_log import AtomicCounter
from hublog.line import Line, RecordIds, with_sequence
from hublog.sampling.dedup import Deduplicator, equality_key
from hublog.sampling.rate_limit import RateLimit
from hublog.sampling.tail_buffer import TailBuffer
from hublog.settings import EventHubSettings, Settings

#: Loggers of hublog itself, such as that of the request record: they pass always.
_OWN: Final = "hublog."
_Encode = Callable[[logging.LogRecord], bytes]


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
        settings: what is switched on, and the bounds.
        ids: numbers what is shipped.
        encode: makes a line.
        make_encode: gives what makes a line with other ids.
        ship: sends a line on its way.
        refuse: counts a record that is over the limit, by the names of its level and logger.
        wake: see ``Deduplicator``.
        now: monotonic seconds.

    Attributes:
        deduplicated: counts the records that a summary stands for.
        tail: of the requests; keeps nothing unless the settings ask for it.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        ids: RecordIds,
        encode: _Encode,
        make_encode: Callable[[RecordIds], _Encode],
        ship: Callable[[Line], object],
        refuse: Callable[[str, str], object],
        wake: Callable[[], object],
        now: Callable[[], float] = monotonic,
    ) -> None:
        hub = settings.eventhub
        self._encode, self._max_bytes = _lines(encode), hub.max_record_bytes
        self._ship = ship
        self._refuse = refuse
        self._unnumbered = UnnumberedIds(ids)
        self._rate = RateLimit(hub.rate_limit, hub.rate_burst, now=now) if hub.rate_limit > 0 else None
        self.deduplicated = AtomicCounter()
        self._deduplicator: Deduplicator | None = None
        if hub.dedup_seconds > 0:
            self._deduplicator = Deduplicator(
                hub.dedup_seconds,
                ids=ids,
                max_record_bytes=hub.max_record_bytes,
                ship=ship,
                wake=wake,
                deduplicated=self.deduplicated,
                now=now,
            )
        self.tail = TailBuffer(
            encode=_lines(make_encode(self._unnumbered)),
            ship=self._release,
            max_lines=hub.tail_max_records,
            slow_s=settings.request.slow_seconds,
        )
        self._is_tail_on = hub.tail_sampling

    def take(self, record: logging.LogRecord) -> None:
        """Buffer a record, count it, refuse it or ship it."""
        name: object = record.name
        is_own = isinstance(name, str) and name.startswith(_OWN)
        if self._is_tail_on and self.tail.keeps(record, is_own=is_own):
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
        return math.inf if self._deduplicator is None else self._deduplicator.look()

    def report(self) -> None:
        """Write the summaries of what was counted until now."""
        if self._deduplicator is not None:
            self._deduplicator.report()

    def release(self) -> None:
        """Ship all that is buffered, and write all summaries; at process exit, or once all is off."""
        self.tail.release_all()
        if self._deduplicator is not None:
            self._deduplicator.end()

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


def _lines(encode: _Encode) -> Callable[[logging.LogRecord], Line]:
    """Return what makes a line with the facts of its record."""
    return lambda record: Line(encode(record), record.levelno, record.levelname, record.name)
