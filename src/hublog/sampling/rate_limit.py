"""How many records a logger may send: a token bucket for each, without a lock and without a queue.

What reads a bucket and writes it again has no call and no loop in between, so it is one step for other
threads and for signal handlers; see ``delivery.memory_queue``.
"""

from collections.abc import Callable
from time import monotonic
from typing import Final

#: Loggers that have a bucket of their own. Beyond these, full buckets are forgotten: a new one is as full.
LOGGERS_MAX: Final = 1_000
#: Loggers whose names begin with the same characters, up to this number, share a bucket.
_NAME_MAX: Final = 256
#: After a search that removed no full bucket, further loggers share one bucket for this long.
_LOOK_AGAIN_S: Final = 1.0
#: What rounding may take off a token that has come.
_ROUNDING: Final = 1e-9


class _Bucket:
    __slots__ = ("at_mono", "tokens")

    def __init__(self, tokens: float, at_mono: float) -> None:
        self.tokens = tokens
        self.at_mono = at_mono


class RateLimit:
    """Says which records are over the limit of their logger; any thread, never waits.

    In any span of time a logger gets through at most ``burst + rate * seconds`` records, rounding aside.

    Args:
        rate: records a second, above 0.
        burst: records at once, 1 or more.
        now: monotonic seconds.
    """

    def __init__(self, rate: float, burst: int, *, now: Callable[[], float] = monotonic) -> None:
        self._rate = rate
        self._burst = float(burst)
        self._now = now
        self._buckets: dict[str, _Bucket] = {}
        self._shared = _Bucket(self._burst, now())
        self._look_mono = 0.0

    def allows(self, logger: str) -> bool:
        """Take a token of a logger; returns False when there is none, and the record is over the limit."""
        now = self._now()
        if len(logger) > _NAME_MAX:
            logger = logger[:_NAME_MAX]
        bucket = self._buckets.get(logger)
        if bucket is None:
            bucket = self._make(logger, now)
        # No call from here on.
        since = now - bucket.at_mono
        if since > 0.0:  # else another thread has read the clock later
            bucket.at_mono = now
            tokens = bucket.tokens + since * self._rate
            if tokens > self._burst:  # noqa: PLR1730  # min() is a call
                tokens = self._burst
        else:
            tokens = bucket.tokens
        is_allowed = tokens >= 1.0 - _ROUNDING
        if is_allowed:
            tokens -= 1.0
        bucket.tokens = tokens
        return is_allowed

    def _make(self, logger: str, now: float) -> _Bucket:
        if len(self._buckets) >= LOGGERS_MAX:
            if now < self._look_mono:
                return self._shared
            self._look_mono = now + _LOOK_AGAIN_S
            self._forget_full(now)
            if len(self._buckets) >= LOGGERS_MAX:
                return self._shared
        return self._buckets.setdefault(logger, _Bucket(self._burst, now))

    def _forget_full(self, now: float) -> None:
        for logger, bucket in list(self._buckets.items()):
            if bucket.tokens + (now - bucket.at_mono) * self._rate >= self._burst:
                self._buckets.pop(logger, None)
