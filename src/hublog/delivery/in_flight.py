"""Events on their way: packed, offered to the hub, and settled or given back."""

import itertools
import math
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from hublog.delivery.accounting import Drop
from hublog.delivery.batcher import Batch
from hublog.delivery.memory_queue import NEVER
from hublog.delivery.packer import LINE_OVERHEAD_BYTES, OVERHEAD_BYTES, Packer
from hublog.delivery.storage import Storage
from hublog.errors import EventTooLargeError, RejectedSendError
from hublog.internal_log import is_exhausted


@dataclass(slots=True, eq=False)
class BatchInFlight:
    """A batch under way.

    Attributes:
        batch: its lines and where they lie.
        is_replay: whether they had been put aside on disk or in memory.
        lines_left: how many have neither arrived nor been given up.
        packer: makes events of them, as was set when they were accepted.
    """

    batch: Batch
    is_replay: bool
    lines_left: int
    packer: Packer

    @property
    def is_on_disk(self) -> bool:
        """Whether its lines are held there, not in memory."""
        return self.batch.directory is not None

    @property
    def is_begun(self) -> bool:
        """Whether some of its lines have arrived or were given up."""
        return self.lines_left < len(self.batch.lines)


@dataclass(slots=True, eq=False)
class EventInFlight:
    """One event.

    Attributes:
        body: its payload.
        lines: the lines in it.
        origin: the batch that they are of.
        is_cut: whether there is less in the payload than in its one line.
    """

    body: bytes
    lines: list[bytes]
    origin: BatchInFlight
    is_cut: bool = False


class InFlight:
    """Holds the events that are under way, oldest first.

    Args:
        stores: where their lines come from, and go back to.
        packer: makes events of lines.
        wall: the wall clock, for ``sent_at``.

    Attributes:
        quarantined: events of one line that the hub refused, and why, until the hub's next answer shows
            whether they or the hub are to blame.
        offered_events: events that are offered now.
        unsettled_lines: lines that arrived or were given up, and are on disk still.
    """

    def __init__(self, stores: Storage, *, packer: Packer, wall: Callable[[], datetime]) -> None:
        self._stores = stores
        self.packer = packer
        self._wall = wall
        self._events: deque[EventInFlight] = deque()
        self._on_disk: list[BatchInFlight] = []
        self.offered_events = 0
        self.quarantined: list[tuple[EventInFlight, str]] = []
        self.unsettled_lines = 0

    def __len__(self) -> int:
        return len(self._events)

    @property
    def properties(self) -> dict[str, str]:
        """Application properties of the events that are offered now."""
        packer = self._events[0].origin.packer if self._events else self.packer
        return dict(packer.properties)

    @property
    def is_replay(self) -> bool:
        """Whether the next events had waited."""
        return bool(self._events) and self._events[0].origin.is_replay

    @property
    def oldest_number(self) -> int:
        """Number of the oldest line that is in memory alone; ``NEVER`` when there is none."""
        in_memory = (each.origin.batch.number for each in self._all() if not each.origin.is_on_disk)
        return min(in_memory, default=NEVER)

    @property
    def body_bytes(self) -> int:
        """Bytes of the bodies of all events."""
        return sum(len(entry.body) for entry in self._events)

    @property
    def first_lines(self) -> int:
        """How many lines are in the next event."""
        return len(self._events[0].lines) if self._events else 0

    def load(self, batches: Iterable[Batch], *, is_replay: bool, enough_bytes: float = math.inf) -> None:
        """Pack batches, fresh from their stores, behind all others.

        Args:
            batches: one for each event; with packing ``single`` they become one for each line.
            is_replay: whether they had been put aside on disk or in memory.
            enough_bytes: with bodies of more bytes no further batch is taken.
        """
        for batch in batches:
            origin = BatchInFlight(batch, is_replay, len(batch.lines), self._packer_for(batch))
            if origin.is_on_disk:
                self._on_disk.append(origin)
            try:
                self._events += self._pack(batch.lines, origin)
            except Exception as error:  # what cannot be packed must not be held for ever
                self._settle(origin, batch.lines)
                reason = Drop.RESOURCE_EXHAUSTED if is_exhausted(error) else Drop.INTERNAL_ERROR
                self._stores.accounting.drop_lines(reason, batch.lines)
                raise
            if self.body_bytes > enough_bytes:
                return

    def offer(self, events: int) -> list[bytes]:
        """Return the bodies of the next events, at most this number; they are offered from now on.

        Events of one send have the same properties: the first one's.
        """
        packer = self._events[0].origin.packer if self._events else self.packer
        fitting = itertools.takewhile(
            lambda entry: entry.origin.packer.properties == packer.properties, self._events
        )
        bodies = [entry.body for entry in itertools.islice(fitting, events)]
        self.offered_events = len(bodies)
        return bodies

    @property
    def oldest_line(self) -> bytes | None:
        """The first line in flight; None when nothing is."""
        return self._events[0].lines[0] if self._events else None

    @property
    def offered_lines(self) -> int:
        """Number of lines in the events that are offered now."""
        return sum(len(entry.lines) for entry in itertools.islice(self._events, self.offered_events))

    def arrived(self, events: int) -> tuple[list[Sequence[bytes]], int, int]:
        """Note that the hub took the first of the events that were offered.

        Returns:
            The lines of each, the bytes of all lines, and the bytes of their bodies.
        """
        taken: list[Sequence[bytes]] = []
        line_bytes = size = 0
        for _ in range(min(events, self.offered_events, len(self._events))):
            entry = self._events.popleft()
            taken.append(entry.lines)
            line_bytes += sum(map(len, entry.lines))
            size += len(entry.body)
            self._stores.accounting.sent_total += len(entry.lines)
            self._stores.accounting.replayed_total += len(entry.lines) * entry.origin.is_replay
            self._settle(entry.origin, entry.lines)
        self.offered_events = 0
        return taken, line_bytes, size

    def split_first(self) -> int:
        """Make two events of the first, which has two lines or more, or more with packing ``single``.

        Returns:
            How many events there are now in its place.
        """
        self.offered_events = 0
        entry = self._events.popleft()
        middle = len(entry.lines) // 2
        halves = entry.lines[:middle], entry.lines[middle:]
        parts = [event for half in halves for event in self._pack(half, entry.origin)]
        self._events.extendleft(reversed(parts))
        return len(parts)

    def cut_first(self, shorten: Callable[[bytes], bytes | None]) -> bool:
        """Send less of the one line of the first event; returns False if that was done or cannot be."""
        entry = self._events[0]
        line = None if entry.is_cut else shorten(entry.lines[0])
        if line is None:
            return False
        self.offered_events = 0
        (event,) = entry.origin.packer.pack([line], sent_at=self._wall())
        entry.body, entry.is_cut = event.body, True
        return True

    def quarantine_first(self, reason: str) -> None:
        """Keep the first event back until it shows whether the hub takes others."""
        self.offered_events = 0
        self.quarantined.append((self._events.popleft(), reason))

    def retry_quarantined(self) -> None:
        """Have the quarantined events sent again."""
        self._events.extend(entry for entry, _ in self.quarantined)
        self.quarantined = []

    def give_up_quarantined(self) -> None:
        """Give up the quarantined events: the hub takes others, so they are to blame."""
        quarantined, self.quarantined = self.quarantined, []
        for entry, reason in quarantined:
            self._give_up(entry, Drop.REJECTED, reason)

    def give_up_first(self, drop: Drop, reason: str) -> None:
        """Give the first event up."""
        self.offered_events = 0
        self._give_up(self._events.popleft(), drop, reason)

    def give_back(self) -> None:
        """Give all lines back to where they may wait: the sending failed."""
        quarantined = [entry for entry, _ in self.quarantined]
        held = self._empty()
        # Quarantined ones wait behind the others: if there are many the next try must not meet them again.
        for is_first in (True, False):
            lines = [line for each in held if (each not in quarantined) is is_first for line in each.lines]
            if lines:
                self._stores.keep(lines, is_first=is_first)

    def insure(self) -> None:
        """Write what is held in memory to disk while it goes on its way."""
        spooler = self._stores.spooler
        if spooler is None:
            return
        entries = [entry for entry in self._all() if not entry.origin.is_on_disk]
        for entry, batch in zip(entries, spooler.insure([entry.lines for entry in entries]), strict=False):
            self._stores.queue.finish(entry.lines)
            entry.origin = BatchInFlight(batch, entry.origin.is_replay, len(entry.lines), entry.origin.packer)
            self._on_disk.append(entry.origin)

    def drop(self, reason: Drop) -> None:
        """Give everything up and count it; what lies on disk stays there."""
        for entry in self._empty():
            self._stores.accounting.drop_lines(reason, entry.lines)
            self._stores.queue.finish(entry.lines)

    def _all(self) -> list[EventInFlight]:
        return [*self._events, *(entry for entry, _ in self.quarantined)]

    def _packer_for(self, batch: Batch) -> Packer:
        """Return what packs a batch as was set when its lines were accepted; as is set now if not known."""
        envelope = batch.envelope
        if envelope is None or envelope.packing is None:
            return self.packer
        return self.packer.like(envelope.packing, envelope.routing)

    def _pack(self, lines: list[bytes], origin: BatchInFlight) -> list[EventInFlight]:
        packed = origin.packer.pack(lines, sent_at=self._wall())
        return [EventInFlight(event.body, event.lines, origin) for event in packed]

    def _empty(self) -> list[EventInFlight]:
        """Forget all events; returns those whose lines are in memory, the others are on disk again."""
        entries = self._all()
        if self._on_disk:
            self._return_to_disk()
        self._events.clear()
        self.offered_events, self.quarantined = 0, []
        return [entry for entry in entries if not entry.origin.is_on_disk]

    def _settle(self, origin: BatchInFlight, lines: list[bytes]) -> None:
        origin.lines_left -= len(lines)
        if origin.is_on_disk:
            self.unsettled_lines += len(lines)
            self._settle_in_order()
        else:
            self._stores.queue.finish(lines)

    def _settle_in_order(self) -> None:
        """Settle batches that are through; a position on disk stands for everything before it."""
        waiting: set[int] = set()
        for origin in list(self._on_disk):
            if origin.lines_left or id(origin.batch.directory) in waiting:
                waiting.add(id(origin.batch.directory))
            else:
                self._settle_on_disk(origin)

    def _settle_on_disk(self, origin: BatchInFlight) -> None:
        if self._stores.spooler is not None:
            self._stores.spooler.settle(origin.batch)
        self.unsettled_lines -= len(origin.batch.lines) - origin.lines_left
        self._on_disk.remove(origin)

    def _give_up(self, entry: EventInFlight, drop: Drop, reason: str) -> None:
        if self._stores.spooler is not None:
            self._stores.spooler.write_dead_letters(entry.lines, reason)
        self._stores.accounting.drop_lines(drop, entry.lines)
        self._settle(entry.origin, entry.lines)

    def _return_to_disk(self) -> None:
        """Let what has not arrived be taken from disk again, and where that is possible nothing else."""
        spooler = self._stores.spooler
        if spooler is None:
            return
        quarantined = [entry for entry, _ in self.quarantined]
        begun = {id(origin.batch.directory) for origin in self._on_disk if origin.is_begun}
        begun |= {id(entry.origin.batch.directory) for entry in quarantined if entry.origin.is_on_disk}
        origins = [origin for origin in self._on_disk if id(origin.batch.directory) in begun]
        # Quarantined records behind all others: if there are many the next try must not meet them again.
        rests = [
            (origin, [line for entry in entries if entry.origin is origin for line in entry.lines])
            for entries in (list(self._events), quarantined)
            for origin in origins
        ]
        if all(spooler.rewrite(lines, origin.batch.envelope) for origin, lines in rests):
            for origin in origins:
                self._settle_on_disk(origin)
        spooler.count_again(self.unsettled_lines)
        self.unsettled_lines = 0
        self._on_disk.clear()
        spooler.rewind()


#: Records that may be refused in a row before the hub is to blame.
QUARANTINED_MAX: Final = 4
#: Quarantined records are tried again after this, where no other record has shown who is to blame.
RETRY_S: Final = 30.0


class RejectionSearch:
    """Finds the record that the hub does not take among those that it does, by halving what is offered.

    A refused send is halved until it is one event, and that until it is one record: about log2(events) +
    log2(records of the event) offers. The hub's next answer shows whether that record or the hub is to blame.

    Args:
        in_flight: the events.
        shorten: makes a line shorter that the hub does not take for its size; None where that cannot be.
        now: monotonic seconds.

    Attributes:
        is_wary: whether an event was refused, so that the probe of an open circuit should be small.
    """

    def __init__(
        self, in_flight: InFlight, *, shorten: Callable[[bytes, int], bytes | None], now: Callable[[], float]
    ) -> None:
        self._in_flight = in_flight
        self._shorten = shorten
        self._now = now
        self._quarantined_mono = -math.inf
        #: The leading events that are known to hold a record to blame; 0 while none are.
        self._refused_events = 0
        self.is_wary = False

    @property
    def is_alone(self) -> bool:
        """Whether only quarantined events are in flight."""
        return bool(self._in_flight.quarantined) and not len(self._in_flight)

    def events(self, most: int) -> int:
        """Return the number of events to offer next; ``most`` without a search."""
        if self._in_flight.quarantined:  # what comes next shows who is to blame
            return 1
        return min(max(self._refused_events // 2, 1), most) if self._refused_events else most

    def too_large(self, error: EventTooLargeError) -> None:
        """Send fewer lines at once; one that is too large alone is shortened, or else set aside."""
        if self._is_narrowed():
            return
        room = error.limit_bytes - OVERHEAD_BYTES - LINE_OVERHEAD_BYTES
        if not self._in_flight.cut_first(lambda line: self._shorten(line, room)):
            self._in_flight.give_up_first(Drop.TOO_LARGE, str(error))
        self._refused_events = 0

    def refused(self, error: RejectedSendError) -> bool:
        """Look for the record that is to blame; returns False if it is the hub."""
        if self._is_narrowed():
            return True
        self._refused_events = 0
        if len(self._in_flight.quarantined) >= QUARANTINED_MAX:
            return False
        self._in_flight.quarantine_first(str(error))
        self._quarantined_mono = self._now()
        return True

    def arrived(self, events: int) -> None:
        """Note that the hub took this number of events."""
        self._refused_events = max(self._refused_events - events, 0)
        if not len(self._in_flight):
            self.is_wary = False

    def stop(self) -> None:
        """End the search: nothing is in flight any more."""
        self._refused_events = 0

    def wait_s(self) -> float:
        """Return the seconds until quarantined events are sent again; infinity where there are none."""
        return max(self._quarantined_mono + RETRY_S - self._now(), 0.0) if self.is_alone else math.inf

    def retry(self) -> None:
        """Have quarantined events sent again when it is time: no other answer has shown what was to blame."""
        if self.wait_s() <= 0:
            self._in_flight.retry_quarantined()

    def _is_narrowed(self) -> bool:
        """Take the last offer, which was refused, for the next to be halved; False for a single record."""
        self.is_wary = True
        self._refused_events = self._in_flight.offered_events
        if self._refused_events == 1 and self._in_flight.first_lines > 1:
            self._refused_events = self._in_flight.split_first()
        return self._refused_events > 1
