"""Events on their way: packed, offered to the hub, and settled or given back."""

import itertools
import math
from collections import deque
from collections.abc import Callable, Iterable
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
class Load:
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
class Parcel:
    """One event.

    Attributes:
        body: its payload.
        lines: the lines in it.
        load: the batch that they are of.
        is_cut: whether there is less in the payload than in its one line.
    """

    body: bytes
    lines: list[bytes]
    load: Load
    is_cut: bool = False


class InFlight:
    """Holds the events that are under way, oldest first.

    Args:
        stores: where their lines come from, and go back to.
        packer: makes events of lines.
        wall: the wall clock, for ``sent_at``.

    Attributes:
        suspects: events of one line that the hub refused, and why. Whether they or the hub are to blame show
            others: see ``set_suspects_aside``.
        sent_total: lines that arrived.
        replayed_total: those of them that had been put aside on disk or in memory.
        unsettled_lines: lines that arrived or were given up, and are on disk still.
    """

    def __init__(self, stores: Storage, *, packer: Packer, wall: Callable[[], datetime]) -> None:
        self._stores = stores
        self._packer = packer
        self._wall = wall
        self._parcels: deque[Parcel] = deque()
        self._on_disk: list[Load] = []
        self._offered = 0
        self.suspects: list[tuple[Parcel, str]] = []
        self.sent_total = 0
        self.replayed_total = 0
        self.unsettled_lines = 0

    def __len__(self) -> int:
        return len(self._parcels)

    @property
    def properties(self) -> dict[str, str]:
        """Application properties of the events that are offered now."""
        packer = self._parcels[0].load.packer if self._parcels else self._packer
        return dict(packer.properties)

    @property
    def is_replay(self) -> bool:
        """Whether the next events had waited."""
        return bool(self._parcels) and self._parcels[0].load.is_replay

    @property
    def oldest_number(self) -> int:
        """Number of the oldest line that is in memory alone; ``NEVER`` when there is none."""
        in_memory = (each.load.batch.number for each in self._all() if not each.load.is_on_disk)
        return min(in_memory, default=NEVER)

    @property
    def offered_events(self) -> int:
        """How many events are offered now."""
        return self._offered

    @property
    def body_bytes(self) -> int:
        """Bytes of the bodies of all events."""
        return sum(len(parcel.body) for parcel in self._parcels)

    @property
    def first_lines(self) -> int:
        """How many lines are in the next event."""
        return len(self._parcels[0].lines) if self._parcels else 0

    def load(self, batches: Iterable[Batch], *, is_replay: bool) -> None:
        """Pack batches, fresh from their stores, behind all others.

        Args:
            batches: one for each event; with packing ``single`` they become one for each line.
            is_replay: whether they had been put aside on disk or in memory.
        """
        for batch in batches:
            load = Load(batch, is_replay, len(batch.lines), self._packer_for(batch))
            if load.is_on_disk:
                self._on_disk.append(load)
            try:
                self._parcels += self._pack(batch.lines, load)
            except Exception as error:  # what cannot be packed must not be held for ever
                self._settle(load, batch.lines)
                reason = Drop.RESOURCE_EXHAUSTED if is_exhausted(error) else Drop.INTERNAL_ERROR
                self._stores.drops.add_lines(reason, batch.lines)
                raise

    def offer(self, events: int) -> list[bytes]:
        """Return the bodies of the next events, at most so many; they are offered from now on.

        Events of one send have the same properties: the first one's.
        """
        packer = self._parcels[0].load.packer if self._parcels else self._packer
        fitting = itertools.takewhile(
            lambda parcel: parcel.load.packer.properties == packer.properties, self._parcels
        )
        bodies = [parcel.body for parcel in itertools.islice(fitting, events)]
        self._offered = len(bodies)
        return bodies

    @property
    def offered_lines(self) -> int:
        """How many lines are in the events that are offered now."""
        offered = min(self._offered, len(self._parcels))
        return sum(len(self._parcels[number].lines) for number in range(offered))

    def arrived(self, events: int) -> tuple[int, int]:
        """Note that the hub took the first of the events that were offered.

        Returns:
            How many lines and bytes of bodies that were.
        """
        lines = size = 0
        for _ in range(min(events, self._offered, len(self._parcels))):
            parcel = self._parcels.popleft()
            lines += len(parcel.lines)
            size += len(parcel.body)
            self.sent_total += len(parcel.lines)
            self.replayed_total += len(parcel.lines) * parcel.load.is_replay
            self._settle(parcel.load, parcel.lines)
        self._offered = 0
        return lines, size

    def split_first(self) -> int:
        """Make two events of the first, which has two lines or more, or more with packing ``single``.

        Returns:
            How many events there are now in its place.
        """
        self._offered = 0
        parcel = self._parcels.popleft()
        middle = len(parcel.lines) // 2
        parts = [
            *self._pack(parcel.lines[:middle], parcel.load),
            *self._pack(parcel.lines[middle:], parcel.load),
        ]
        self._parcels.extendleft(reversed(parts))
        return len(parts)

    def cut_first(self, shorten: Callable[[bytes], bytes | None]) -> bool:
        """Send less of the one line of the first event; returns False if that was done or cannot be."""
        parcel = self._parcels[0]
        line = None if parcel.is_cut else shorten(parcel.lines[0])
        if line is None:
            return False
        self._offered = 0
        (event,) = parcel.load.packer.pack([line], sent_at=self._wall())
        parcel.body, parcel.is_cut = event.body, True
        return True

    def suspect_first(self, reason: str) -> None:
        """Keep the first event back until it shows whether the hub takes others."""
        self._offered = 0
        self.suspects.append((self._parcels.popleft(), reason))

    def retry_suspects(self) -> None:
        """Have the suspects sent again."""
        self._parcels.extend(parcel for parcel, _ in self.suspects)
        self.suspects = []

    def set_suspects_aside(self) -> None:
        """Give the suspects up: the hub takes others, so they are to blame."""
        suspects, self.suspects = self.suspects, []
        for parcel, reason in suspects:
            self._set_aside(parcel, Drop.REJECTED, reason)

    def set_first_aside(self, drop: Drop, reason: str) -> None:
        """Give the first event up."""
        self._offered = 0
        self._set_aside(self._parcels.popleft(), drop, reason)

    def give_back(self) -> None:
        """Give all lines back to where they may wait: the sending failed."""
        suspects = [parcel for parcel, _ in self.suspects]
        held = self._empty()
        # Suspects wait behind the others: if there are many the next try must not meet them again.
        for is_first in (True, False):
            lines = [line for each in held if (each not in suspects) is is_first for line in each.lines]
            if lines:
                self._stores.keep(lines, is_first=is_first)

    def insure(self) -> None:
        """Write what is held in memory to disk while it goes on its way."""
        spooler = self._stores.spooler
        if spooler is None:
            return
        parcels = [parcel for parcel in self._all() if not parcel.load.is_on_disk]
        for parcel, batch in zip(parcels, spooler.insure([parcel.lines for parcel in parcels]), strict=False):
            self._stores.queue.finish(parcel.lines)
            parcel.load = Load(batch, parcel.load.is_replay, len(parcel.lines), parcel.load.packer)
            self._on_disk.append(parcel.load)

    def drop(self, reason: Drop) -> None:
        """Give everything up and count it; what lies on disk stays there."""
        for parcel in self._empty():
            self._stores.drops.add_lines(reason, parcel.lines)
            self._stores.queue.finish(parcel.lines)

    def refit(self, stores: Storage, packer: Packer) -> None:
        """Pack anew what is not offered yet; what lies in another spool stays there."""
        if self._on_disk and stores.spooler is not self._stores.spooler:
            self.give_back()
        self._stores, self._packer = stores, packer
        parcels = list(self._parcels)
        self._parcels = deque(parcels[: self._offered])
        for parcel in parcels[self._offered :]:
            parcel.load.packer = self._packer_for(parcel.load.batch)
            self._parcels += self._pack(parcel.lines, parcel.load)

    def _all(self) -> list[Parcel]:
        return [*self._parcels, *(parcel for parcel, _ in self.suspects)]

    def _packer_for(self, batch: Batch) -> Packer:
        """Return what packs a batch as was set when its lines were accepted; as is set now if not known."""
        envelope = batch.envelope
        if envelope is None or envelope.packing is None:
            return self._packer
        return self._packer.like(envelope.packing, envelope.routing)

    def _pack(self, lines: list[bytes], load: Load) -> list[Parcel]:
        packed = load.packer.pack(lines, sent_at=self._wall())
        return [Parcel(event.body, event.lines, load) for event in packed]

    def _empty(self) -> list[Parcel]:
        """Forget all events; returns those whose lines are in memory, the others are on disk again."""
        parcels = self._all()
        if self._on_disk:
            self._return_to_disk()
        self._parcels.clear()
        self._offered, self.suspects = 0, []
        return [parcel for parcel in parcels if not parcel.load.is_on_disk]

    def _settle(self, load: Load, lines: list[bytes]) -> None:
        load.lines_left -= len(lines)
        if load.is_on_disk:
            self.unsettled_lines += len(lines)
            self._settle_in_order()
        else:
            self._stores.queue.finish(lines)

    def _settle_in_order(self) -> None:
        """Settle batches that are through; a position on disk stands for everything before it."""
        waiting: set[int] = set()
        for load in list(self._on_disk):
            if load.lines_left or id(load.batch.directory) in waiting:
                waiting.add(id(load.batch.directory))
            else:
                self._settle_on_disk(load)

    def _settle_on_disk(self, load: Load) -> None:
        if self._stores.spooler is not None:
            self._stores.spooler.settle(load.batch)
        self.unsettled_lines -= len(load.batch.lines) - load.lines_left
        self._on_disk.remove(load)

    def _set_aside(self, parcel: Parcel, drop: Drop, reason: str) -> None:
        if self._stores.spooler is not None:
            self._stores.spooler.set_aside(parcel.lines, reason)
        self._stores.drops.add_lines(drop, parcel.lines)
        self._settle(parcel.load, parcel.lines)

    def _return_to_disk(self) -> None:
        """Let what has not arrived be taken from disk again, and where that is possible nothing else."""
        spooler = self._stores.spooler
        if spooler is None:
            return
        suspects = [parcel for parcel, _ in self.suspects]
        begun = {id(load.batch.directory) for load in self._on_disk if load.is_begun}
        begun |= {id(parcel.load.batch.directory) for parcel in suspects if parcel.load.is_on_disk}
        loads = [load for load in self._on_disk if id(load.batch.directory) in begun]
        # Suspects behind all others: if there are many the next try must not meet them again.
        rests = [
            (load, [line for parcel in parcels if parcel.load is load for line in parcel.lines])
            for parcels in (list(self._parcels), suspects)
            for load in loads
        ]
        if all(spooler.rewrite(lines, load.batch.envelope) for load, lines in rests):
            for load in loads:
                self._settle_on_disk(load)
        spooler.count_again(self.unsettled_lines)
        self.unsettled_lines = 0
        self._on_disk.clear()
        spooler.rewind()


#: So many records may be refused in a row before it is the hub that is to blame.
SUSPECTS_MAX: Final = 4
#: Suspects are tried again after this, where no other record has shown who is to blame.
RETRY_S: Final = 30.0


class RejectionSearch:
    """Finds the record that the hub does not take among those that it does, by halving what is offered.

    A refused send is halved until it is one event, and that until it is one record: about log2(events) +
    log2(records of the event) offers. That record is suspected; the hub's next answer shows whether it is to
    blame or the hub.

    Args:
        transit: the events.
        shorten: makes a line shorter that the hub does not take for its size; None where that cannot be.
        now: monotonic seconds.

    Attributes:
        is_wary: whether an event was refused, so that the probe of an open circuit should be small.
    """

    def __init__(
        self, transit: InFlight, *, shorten: Callable[[bytes, int], bytes | None], now: Callable[[], float]
    ) -> None:
        self._transit = transit
        self._shorten = shorten
        self._now = now
        self._suspected_mono = -math.inf
        #: The leading events that are known to hold a record to blame; 0 while none are.
        self._refused_events = 0
        self.is_wary = False

    @property
    def is_alone(self) -> bool:
        """Whether nothing but suspects is in flight."""
        return bool(self._transit.suspects) and not len(self._transit)

    def events(self, most: int) -> int:
        """Return how many events to offer next.

        Args:
            most: without a search.
        """
        if self._transit.suspects:  # what comes next shows who is to blame
            return 1
        return min(max(self._refused_events // 2, 1), most) if self._refused_events else most

    def too_large(self, error: EventTooLargeError) -> None:
        """Send fewer lines at once; one that is too large alone is shortened, or else set aside."""
        if self._is_narrowed():
            return
        room = error.limit_bytes - OVERHEAD_BYTES - LINE_OVERHEAD_BYTES
        if not self._transit.cut_first(lambda line: self._shorten(line, room)):
            self._transit.set_first_aside(Drop.TOO_LARGE, str(error))
        self._refused_events = 0

    def refused(self, error: RejectedSendError) -> bool:
        """Look for the record that is to blame; returns False if it is the hub."""
        if self._is_narrowed():
            return True
        self._refused_events = 0
        if len(self._transit.suspects) >= SUSPECTS_MAX:
            return False
        self._transit.suspect_first(str(error))
        self._suspected_mono = self._now()
        return True

    def arrived(self, events: int) -> None:
        """Note that the hub took this number of events."""
        self._refused_events = max(self._refused_events - events, 0)
        if not len(self._transit):
            self.is_wary = False

    def stop(self) -> None:
        """Forget what was found out: nothing is in flight any more."""
        self._refused_events = 0

    def wait_s(self) -> float:
        """Return the seconds until suspects are tried again; infinity where there are none."""
        return max(self._suspected_mono + RETRY_S - self._now(), 0.0) if self.is_alone else math.inf

    def retry(self) -> None:
        """Try suspects again when it is time: no other record has come to show whether it was the hub."""
        if self.wait_s() <= 0:
            self._transit.retry_suspects()

    def _is_narrowed(self) -> bool:
        """Take the last offer, which was refused, for the next to be halved; False for a single record."""
        self.is_wary = True
        self._refused_events = self._transit.offered_events
        if self._refused_events == 1 and self._transit.first_lines > 1:
            self._refused_events = self._transit.split_first()
        return self._refused_events > 1
