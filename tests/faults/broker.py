"""The broker of a run: the local hub in the driver's process, and a book of what arrived at it."""

import contextlib
import gzip
import json
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Final, Self

from hublog_local import LocalHub
from hublog_local.amqp.frames import LinkError, write_error, write_rejected
from hublog_local.hub.event_links import ProducerLink
from hublog_local.hub.sessions import Delivery

HUB: Final = "application-logs"
#: A second event hub, for the rows that need one.
AUDIT: Final = "audit-logs"
ID: Final = "fault_id"
#: A record that may be cut carries its id in the event name, too.
EVENT_NAME: Final = "fault:"


@dataclass(frozen=True, slots=True, kw_only=True)
class Arrival:
    """One delivered record with an id of ours."""

    id: str
    record_id: str
    process_id: int
    sequence: int
    hub: str = HUB


class Broker:
    """A local hub with two event hubs of one partition each, and switches for what goes wrong."""

    def __init__(self) -> None:
        self._hub = LocalHub({HUB: 1, AUDIT: 1}, on_event=self._note)
        self.faults = self._hub.faults
        self._arrived = threading.Condition()
        self._events: list[tuple[str, bytes, Mapping[str, object]]] = []
        self._read = 0
        #: False lets go of what arrived once its ids are known: a long run would need too much memory.
        self.keeps_rows = True
        self._lock = threading.Lock()
        self._counts: Counter[str] = Counter()
        self._arrivals: list[Arrival] = []
        self.unreadable: list[str] = []
        self.others: list[dict[str, Any]] = []
        self._is_listening = True
        self._thawed = threading.Event()
        self._undo: list[Callable[[], None]] = []

    def __enter__(self) -> Self:
        self._hub.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._thawed.set()
        for undo in self._undo:
            undo()
        self._hub.stop()

    @property
    def connection_string(self) -> str:
        """What the application connects with."""
        return self._hub.connection_string()

    @property
    def statistics(self) -> dict[str, int]:
        """The hub's counters."""
        return self._hub.statistics()

    # What goes wrong.

    def hang(self) -> None:
        """Say nothing any more: deliveries are never settled nor stored, new connections stay silent."""
        self.faults.add("swallow", times=None)
        self.faults.add("silent", times=None)

    def refuse(self) -> None:
        """Refuse new connections and reset those that are open."""
        self._hub.stop_listening()
        self._is_listening = False
        self._hub.drop_connections()

    def heal(self) -> None:
        """Be as a broker should be; connections that hung or are slow are reset."""
        self.faults.clear()
        self.listen()
        self._hub.drop_connections()

    def listen(self) -> None:
        """Take connections again after ``refuse``; faults stay."""
        if not self._is_listening:
            self._hub.start_listening()
            self._is_listening = True

    def freeze(self) -> None:
        """Stop as a stopped process does: the kernel still takes connections and bytes, nobody reads them."""
        loop = self._hub._loop
        if loop is not None:
            self._thawed.clear()
            loop.call_soon_threadsafe(self._thawed.wait)

    def thaw(self) -> None:
        """Go on after ``freeze``."""
        self._thawed.set()

    def expire_tokens(self) -> None:
        """Take the tokens of all connections as expired."""
        self._hub.expire_tokens()

    def limit(self, message_bytes: int) -> None:
        """Take smaller messages from the next connection on."""
        service = self._hub._service
        service.limits = service.limits._replace(max_message_bytes=message_bytes)

    def refuse_content(self, marker: bytes) -> list[int]:
        """Reject every delivery that holds these bytes; returns a list that grows by each such delivery."""
        plain, refused = ProducerLink.on_delivery, []
        error = LinkError("amqp:decode-error", "The broker does not take this content.")

        def on_delivery(link: ProducerLink, delivery: Delivery) -> None:
            if marker not in bytes(delivery.message):
                plain(link, delivery)
                return
            refused.append(len(delivery.message))
            link.settle(delivery, write_rejected(write_error(error)))

        ProducerLink.on_delivery = on_delivery  # type: ignore[method-assign]  # put back at the end
        self._undo.append(lambda: setattr(ProducerLink, "on_delivery", plain))
        return refused

    def drop_connections(self) -> int:
        """Reset all connections."""
        return self._hub.drop_connections()

    # What arrived.

    def wait_for(self, number: int, limit_s: float) -> bool:
        """Return whether so many different ids of ours have arrived within the limit."""
        return self._wait(lambda: len(self._unpack()) >= number, limit_s)

    def wait_for_ids(self, ids: Iterable[str], limit_s: float) -> bool:
        """Return whether all these ids have arrived within the limit."""
        wanted = list(ids)

        def have_come() -> bool:
            counts = self._unpack()
            while wanted and wanted[-1] in counts:
                wanted.pop()
            return not wanted

        return self._wait(have_come, limit_s)

    def delivered(self) -> Counter[str]:
        """Return how often each id arrived."""
        return Counter(self._unpack())

    @property
    def arrivals(self) -> list[Arrival]:
        """The deliveries with an id of ours, in the order of arrival."""
        self._unpack()
        return list(self._arrivals)

    def rows(self) -> list[dict[str, Any]]:
        """Return all that arrived and can be read, decoded with a strict parser, in the order of arrival."""
        rows = []
        for _, body, properties in list(self._events):
            with contextlib.suppress(ValueError):
                rows += unpack(body, properties)
        return rows

    def troubles(self) -> list[str]:
        """Return what is wrong with events, and with the ids by which a reader removes duplicates."""
        self._unpack()
        by_id: dict[str, Arrival] = {}
        by_record: dict[str, str] = {}
        troubles = [f"an event is no JSON lines: {text}" for text in self.unreadable]
        for arrival in self._arrivals:
            first = by_id.setdefault(arrival.id, arrival)
            if first != arrival:
                troubles.append(f"{arrival.id} arrived as record {first.record_id} and {arrival.record_id}")
            if by_record.setdefault(arrival.record_id, arrival.id) != arrival.id:
                troubles.append(f"{arrival.id} and {by_record[arrival.record_id]} share {arrival.record_id}")
        return troubles

    def _note(self, hub: str, event: Any) -> None:  # StoredEvent, which we only look at
        with self._arrived:
            self._events.append((hub, event.body, event.properties))
            self._arrived.notify_all()

    def _wait(self, is_done: Callable[[], bool], limit_s: float) -> bool:
        end = time.monotonic() + limit_s
        while not is_done():
            with self._arrived:
                left = end - time.monotonic()
                if left <= 0:
                    return False
                if self._read == len(self._events):
                    self._arrived.wait(left)
        return True

    def _unpack(self) -> Counter[str]:
        with self._lock:
            end = len(self._events)
            for hub, body, properties in self._events[self._read : end]:
                try:
                    rows = unpack(body, properties)
                except ValueError as error:  # told as what it is: an event that nobody can read
                    self.unreadable.append(f"{error}: {body[:200]!r}")
                    continue
                for row in rows:
                    found = arrival_of(row, hub=hub)
                    if found is not None:
                        self._arrivals.append(found)
                        self._counts[found.id] += 1
                    else:
                        self.others.append(row)
            if self.keeps_rows:
                self._read = end
            else:
                with self._arrived:
                    del self._events[:end]
                self._read = 0
        return self._counts


def unpack(body: bytes, properties: Mapping[str, object]) -> list[dict[str, Any]]:
    """Return the records of an event.

    Raises:
        ValueError: it is not valid JSON in valid UTF-8, each record on a line of its own.
    """
    named = {str(name): value for name, value in properties.items()}
    content = gzip.decompress(body) if named.get("Compression") == "gzip" else body
    return [json.loads(line.decode("utf-8"), parse_constant=_refuse) for line in content.split(b"\n") if line]


def arrival_of(row: Mapping[str, Any], *, hub: str = HUB) -> Arrival | None:
    """Return the ids of a record, None if it is none of ours."""
    extra = row.get("extra")
    found = extra.get(ID) if isinstance(extra, dict) else None
    event_name = row.get("event_name")
    if found is None and isinstance(event_name, str) and event_name.startswith(EVENT_NAME):
        found = event_name.removeprefix(EVENT_NAME)  # a record that is cut loses its extra fields
    if not isinstance(found, str):
        return None
    return Arrival(
        id=found,
        record_id=str(row.get("record_id", "")),
        process_id=int(row.get("process_id", 0)),
        sequence=int(row.get("sequence", 0)),
        hub=hub,
    )


def _refuse(constant: str) -> float:
    raise ValueError(f"{constant} is not JSON")
