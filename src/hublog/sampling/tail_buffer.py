"""What a request logs below WARNING is buffered until its end, and shipped if it failed or was slow.

No lock: the thread that takes a line out of a deque owns it. A log call appends first, then checks whether
the request was decided meanwhile; the decision is made in the reverse order, so no line is left behind.
"""

import logging
import os
import weakref
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from hublog.capture import context
from hublog.capture.reentry_guard import call_deep
from hublog.internal_log import AtomicCounter
from hublog.line import Line
from hublog.requests.request_scope import RequestScope, current_scope

#: Of one request; beyond it the oldest are left out.
REQUEST_MAX_BYTES: Final = 1 << 20
#: Of all open requests of a process; beyond it nothing more is buffered, but shipped at once.
PROCESS_MAX_BYTES: Final = 16 << 20
#: Of a buffered line in addition to its bytes: the tuple, the head of the bytes, its place in the deque.
_OVERHEAD_BYTES: Final = 160


@dataclass(slots=True, eq=False)
class _Open:
    """A request that has not ended.

    Attributes:
        scope: of the request, weakly: it may be discarded without an end.
        lines: what is buffered, oldest first.
        size: their bytes.
        is_decided: whether what comes is shipped at once, by the thread that appended it.
    """

    scope: weakref.ref[RequestScope]
    lines: deque[Line] = field(default_factory=deque)
    size: int = 0
    is_decided: bool = False


class TailBuffer:
    """Buffers lines of open requests, and decides at their end.

    Any thread, signal handler or finalizer may call it. Threads that log at the same moment may pass a bound
    by a line each.

    Args:
        encode: makes a line that is not numbered yet.
        ship: numbers a line and sends it on its way.
        max_lines: of one request.
        slow_s: a request that took longer than this (seconds) is shipped; 0 ships none for that.

    Attributes:
        left_out: counts the lines that were not shipped.
    """

    def __init__(
        self,
        *,
        encode: Callable[[logging.LogRecord], Line],
        ship: Callable[[Line], object],
        max_lines: int,
        slow_s: float,
    ) -> None:
        self._encode = encode
        self._ship = ship
        self._max_lines = max_lines
        self._slow_s = slow_s
        self._pid = os.getpid()
        self._open: dict[int, _Open] = {}
        #: The same by the ids of the requests, which clients may choose, so that several may have one.
        self._by_id: dict[str, dict[int, _Open]] = {}
        self._size = 0
        self.left_out = AtomicCounter()

    def begin(self, scope: RequestScope) -> None:
        """Buffer what this request logs from now on."""
        key = id(scope)
        request_id = scope.request_id
        request = _Open(weakref.ref(scope, lambda _: self._discarded(key, request_id)))
        self._open[key] = request
        self._by_id.setdefault(request_id, {})[key] = request

    def end(self, scope: RequestScope, *, seconds: float, has_failed: bool) -> None:
        """Ship what this request has logged, or leave it out.

        Args:
            scope: of the request; one that was not begun here is no error.
            seconds: how long it took.
            has_failed: whether it ended in an error.
        """
        request = self._open.get(id(scope))
        if request is None:
            return
        is_shipped = has_failed or 0 < self._slow_s < seconds or request.is_decided
        request.is_decided = True
        if is_shipped:
            self._release(request)
        else:
            while self._take(request) is not None:
                self.left_out.add()
        # Last: if a signal handler has ended this in the middle, the rest is shipped with the scope's end.
        self._forget(id(scope), scope.request_id)

    def keeps(self, record: logging.LogRecord, *, is_own: bool) -> bool:
        """Buffer a record if it belongs to an open request and is below WARNING.

        Args:
            record: the record.
            is_own: whether hublog itself has logged it, which is never buffered.

        Returns:
            False when it is to be shipped; an ERROR then comes after all that its request has logged before.
        """
        request = self._request(record.levelno)
        if request is None:
            return False
        if record.levelno >= logging.ERROR:
            self._release(request)
            return False
        is_late = request.is_decided or self._size >= PROCESS_MAX_BYTES
        if is_own or is_late or record.levelno >= logging.WARNING:
            return False
        self._add(request, self._encode(record))
        return True

    def release_all(self) -> None:
        """Ship what is buffered, and let the requests that are open now keep nothing more."""
        self._by_id.clear()
        for key, request in list(self._open.items()):
            self._release(request)
            self._open.pop(key, None)

    @property
    def kept(self) -> int:
        """Lines that are buffered now."""
        return sum(len(request.lines) for request in list(self._open.values()))

    def _request(self, levelno: int) -> _Open | None:
        """Return the open request whose fields are bound here, though it may be a thread that it started."""
        now = context.stored()
        request_id = now.fields.get("request_id")
        if type(request_id) is not str:
            return None
        same = list(self._by_id.get(request_id, {}).values())
        if len(same) == 1:
            return same[0]
        scope = current_scope() if not now.is_settled else None  # a settled record is not of this moment
        if scope is not None:
            return self._open.get(id(scope))
        if levelno >= logging.ERROR:  # of one of them, and it cannot be known which
            for request in same:
                self._release(request)
        return None

    def _add(self, request: _Open, line: Line) -> None:
        size = len(line.data) + _OVERHEAD_BYTES
        # The call comes last: after it a signal handler may end this.
        request.size += size
        self._size += size
        request.lines.append(line)
        while len(request.lines) > self._max_lines or request.size > REQUEST_MAX_BYTES:
            if self._take(request) is None:
                break
            self.left_out.add()
        if request.is_decided:  # while the record was encoded
            self._release(request)

    def _take(self, request: _Open) -> Line | None:
        try:
            line = request.lines.popleft()
        except IndexError:
            return None
        size = len(line.data) + _OVERHEAD_BYTES
        request.size -= size
        self._size -= size
        return line

    def _release(self, request: _Open) -> None:
        request.is_decided = True
        while (line := self._take(request)) is not None:
            self._ship(line)

    def _forget(self, key: int, request_id: str) -> _Open | None:
        same = self._by_id.get(request_id)
        if same is not None:
            same.pop(key, None)
            if not same:
                self._by_id.pop(request_id, None)
        return self._open.pop(key, None)

    def _discarded(self, key: int, request_id: str) -> None:
        """Ship what a discarded request has logged; runs in a finalizer, in any thread."""
        request = self._forget(key, request_id)
        # A forked child drops its copies: what is in them is its parent's to ship.
        if request is not None and os.getpid() == self._pid:
            call_deep(lambda: self._release(request))
