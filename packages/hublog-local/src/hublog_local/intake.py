"""The thread between the hub and the disk: the hub hands over an event and goes on at once."""

import threading
from collections import deque
from collections.abc import Callable
from typing import Final, Self

from hublog_local.ingest import Event, Ingester
from hublog_local.store import Store

#: Events that may wait; then the hub waits too, and with it the producers.
_MAX_WAITING_BYTES: Final = 128 << 20
#: Rows are written when there are so many bytes of them, or nothing more waits.
_WRITE_BYTES: Final = 1 << 20


class Intake:
    """Takes events from any thread, and lets one thread of its own make rows of them and store them.

    Rows are on disk within milliseconds: the thread writes whenever nothing more waits.

    Args:
        store: where rows go; closed by whoever made it, after this.
        ingester: makes the rows.
        max_waiting_bytes: of bodies; above it ``put`` waits.
        on_trouble: told that rows could not be stored.

    Attributes:
        lost_total: rows that could not be stored.
    """

    def __init__(
        self,
        store: Store,
        ingester: Ingester,
        *,
        max_waiting_bytes: int = _MAX_WAITING_BYTES,
        on_trouble: Callable[[str], None] = lambda _: None,
    ) -> None:
        self._store, self._ingester, self._on_trouble = store, ingester, on_trouble
        self._max_waiting_bytes = max_waiting_bytes
        self._waiting: deque[tuple[str, Event]] = deque()
        self._waiting_bytes = 0
        self._changed = threading.Condition()
        self._is_closing = False
        self._thread = threading.Thread(target=self._run, name="hublog-intake", daemon=True)
        self.lost_total = 0

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def put(self, hub: str, event: Event) -> None:
        """Hand over an event; returns at once unless far too much waits."""
        with self._changed:
            while self._waiting_bytes > self._max_waiting_bytes and not self._is_closing:
                self._changed.wait()
            self._waiting.append((hub, event))
            self._waiting_bytes += len(event.body)
            if len(self._waiting) == 1:
                self._changed.notify_all()

    def step(self) -> int:
        """Store what waits now, without waiting for more; returns the number of events."""
        events = 0
        lines: list[bytes] = []
        size = 0
        while self._waiting and size < _WRITE_BYTES:
            with self._changed:
                hub, event = self._waiting.popleft()
                self._waiting_bytes -= len(event.body)
                self._changed.notify_all()
            made = self._make(hub, event)
            lines += made
            size += sum(map(len, made))
            events += 1
        try:
            self._store.append(b"".join(lines))
        except OSError as error:
            self.lost_total += len(lines)
            self._on_trouble(
                f"{len(lines)} rows could not be stored ({error.strerror}); make room on the disk."
            )
        return events

    def _make(self, hub: str, event: Event) -> list[bytes]:
        try:
            return self._ingester.lines(hub, event)
        except Exception as error:  # noqa: BLE001  # one odd event must not end the thread
            self._on_trouble(f"An event of {hub!r} cannot be read ({type(error).__name__}); it is left out.")
            return []

    def close(self) -> None:
        """Store all that waits and end the thread; may be called again."""
        with self._changed:
            self._is_closing = True
            self._changed.notify_all()
        if self._thread.is_alive():
            self._thread.join()
        while self.step():
            pass

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _run(self) -> None:
        while True:
            with self._changed:
                while not self._waiting and not self._is_closing:
                    self._changed.wait()
            if not self.step() and self._is_closing:
                return
