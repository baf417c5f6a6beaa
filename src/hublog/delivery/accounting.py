"""Accounting: records accepted, sent, dropped by reason, and still held."""

from collections import Counter, deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from enum import Enum, StrEnum
from typing import Final, NamedTuple, Self

from hublog.delivery.durations import Durations, Histogram
from hublog.line import level_and_logger
from hublog.locks import ThreadLock


class Drop(StrEnum):
    """Why a record was lost, or was intentionally not sent.

    Attributes:
        QUEUE_FULL: the memory queue was full, without less severe records.
        SPOOL_FULL: the spool reached its limit, and the record was among the oldest.
        CORRUPTED: it could not be read back from disk.
        TOO_LARGE: the hub does not accept a record of its size.
        REJECTED: the hub rejected it while it accepts others.
        NOT_CONFIGURED: no connection to an event hub is configured.
        EXIT: the process exited while it was only in memory.
        NESTED: it was logged inside too many nested log calls.
        RATE_LIMITED: its logger exceeded the rate limit.
        SAMPLED_OUT: tail sampling left it out, since its request succeeded; not a loss.
        DEDUPLICATED: a summary record counts it; not a loss.
        RESOURCE_EXHAUSTED: the process was out of memory, disk, descriptors, threads or stack.
        INTERNAL_ERROR: an error in hublog.
    """

    QUEUE_FULL = "queue_full"
    SPOOL_FULL = "spool_full"
    CORRUPTED = "corrupted"
    TOO_LARGE = "too_large"
    REJECTED = "rejected"
    NOT_CONFIGURED = "not_configured"
    EXIT = "exit"
    NESTED = "nested"
    RATE_LIMITED = "rate_limited"
    SAMPLED_OUT = "sampled_out"
    DEDUPLICATED = "deduplicated"
    RESOURCE_EXHAUSTED = "resource_exhausted"
    INTERNAL_ERROR = "internal_error"


#: Not losses, so they are in no report of dropped records.
INTENTIONAL: Final = frozenset({Drop.SAMPLED_OUT, Drop.DEDUPLICATED})


class State(StrEnum):
    """The state of delivery.

    Attributes:
        HEALTHY: records are sent.
        DEGRADED: the last send failed and is retried within seconds.
        OPEN: the circuit is open, sending is paused until a probe is due.
        PROBING: one send probes whether the hub is available.
        DRAINING: it is back; what waited is sent alongside what is new.
        DISK_ONLY: sends hang and cannot be ended, so none is started until one returns.
    """

    HEALTHY = "healthy"
    DEGRADED = "degraded"
    OPEN = "open"
    PROBING = "probing"
    DRAINING = "draining"
    DISK_ONLY = "disk_only"


class Circuit(StrEnum):
    """What the circuit breaker lets through: everything, nothing, or one probe."""

    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half_open"


#: What a snapshot shows in any case; counters that are zero are left out.
_SHOWN_FIRST: Final = ("state", "accepted_total", "sent_total", "held", "dropped_total", "lost_total")
#: For the state of a process, which may have several pipelines.
_WORST_FIRST: Final = (
    State.DISK_ONLY,
    State.OPEN,
    State.PROBING,
    State.DEGRADED,
    State.DRAINING,
    State.HEALTHY,
)
_MOST_OPEN_FIRST: Final = (Circuit.OPEN, Circuit.HALF_OPEN, Circuit.CLOSED)


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Stats:
    """A snapshot of the counters and gauges of one pipeline in this process.

    ``accepted_total + recovered_total == sent_total + dropped_total + held`` in every snapshot: the two
    sides are counted apart, where records come in and where they leave.

    Attributes:
        accepted_total: records that log calls handed over.
        sent_total: records that the hub has accepted.
        dropped: records not sent, by reason, see ``Drop``.
        queued: records in the memory queue, including those that wait for a retry.
        in_flight: records that are being sent.
        spooled: records that wait on disk, including recovered ones.
        buffered: records of open requests that tail sampling sends or leaves out at the end of the request.
        recovered_total: records of ended processes that this process took over from disk.
        replayed_total: records that were sent after they had been stored on disk or in memory.
        state: of delivery.
        circuit: state of the circuit breaker.
        abandoned_sends: sends that timed out and whose threads have not returned.
        batches_total: successful sends.
        events_total: events in them.
        sent_bytes_total: bytes of their bodies.
        failures_total: failed sends.
        type_mismatches_total: values that did not fit the type of their column and are strings in ``extra``.
        possible_duplicates_total: records of sends that failed without an answer; the hub may have them.
        dropped_by_level: records not sent, by level, as far as that is known.
        latency: from the log call to the hub's answer, for each record that was sent.
        send_duration: of each send, also of those that failed.
    """

    accepted_total: int = 0
    sent_total: int = 0
    dropped: Mapping[Drop, int] = field(default_factory=dict)
    queued: int = 0
    in_flight: int = 0
    spooled: int = 0
    buffered: int = 0
    recovered_total: int = 0
    replayed_total: int = 0
    state: State = State.HEALTHY
    abandoned_sends: int = 0
    circuit: Circuit = Circuit.CLOSED
    batches_total: int = 0
    events_total: int = 0
    sent_bytes_total: int = 0
    failures_total: int = 0
    type_mismatches_total: int = 0
    possible_duplicates_total: int = 0
    dropped_by_level: Mapping[str, int] = field(default_factory=dict, repr=False)
    latency: Durations = field(default=Durations(), repr=False)
    send_duration: Durations = field(default=Durations(), repr=False)

    def __repr__(self) -> str:
        shown = {name: getattr(self, name) for name in _SHOWN_FIRST}
        others = {each.name: getattr(self, each.name) for each in fields(self) if each.repr}
        others["dropped"] = {str(reason): number for reason, number in self.dropped.items()}
        shown |= {name: value for name, value in others.items() if value}
        return f"{type(self).__name__}({', '.join(f'{name}={value!s}' for name, value in shown.items())})"

    def with_refused(self, refused: Mapping[Drop, int]) -> Self:
        """Return the sums with records that never came to the stores, accepted and dropped at once."""
        return replace(
            self,
            accepted_total=self.accepted_total + sum(refused.values()),
            dropped=dict(Counter(self.dropped) + Counter(refused)),
        )

    def after(self, former: Self) -> Self:
        """Return the sums with those of a former process state of the same pipeline; the state is ours."""
        sums = {
            each.name: getattr(self, each.name) + getattr(former, each.name)
            for each in fields(self)
            if isinstance(getattr(self, each.name), int)
        }
        return replace(
            self,
            **sums,
            dropped=dict(Counter(self.dropped) + Counter(former.dropped)),
            dropped_by_level=dict(Counter(self.dropped_by_level) + Counter(former.dropped_by_level)),
            latency=self.latency.plus(former.latency),
            send_duration=self.send_duration.plus(former.send_duration),
        )

    @property
    def dropped_total(self) -> int:
        """Records not sent, for any reason."""
        return sum(self.dropped.values())

    @property
    def lost_total(self) -> int:
        """Records lost: dropped ones except those that were intentionally left out."""
        return sum(number for reason, number in self.dropped.items() if reason not in INTENTIONAL)

    @property
    def held(self) -> int:
        """Records that are still held and may yet be sent."""
        return self.queued + self.in_flight + self.spooled + self.buffered


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class ProcessStats(Stats):
    """The sums over all pipelines of this process; state and circuit are the worst of them.

    Attributes:
        pipelines: a snapshot of each pipeline that has accepted records.
    """

    pipelines: tuple[Stats, ...] = field(default=(), repr=False)

    @classmethod
    def of(cls, pipelines: Sequence[Stats]) -> Self:
        """Return the snapshot of a process with these pipelines; without any it is healthy and empty."""
        total = Stats()
        for each in pipelines:
            total = each.after(total)
        values = {each.name: getattr(total, each.name) for each in fields(total)}
        values["state"] = min(
            (each.state for each in pipelines), key=_WORST_FIRST.index, default=State.HEALTHY
        )
        values["circuit"] = min(
            (each.circuit for each in pipelines), key=_MOST_OPEN_FIRST.index, default=Circuit.CLOSED
        )
        return cls(**values, pipelines=tuple(pipelines))


class QueueCounts(NamedTuple):
    """Gauges of the memory queue.

    Attributes:
        new: lines that were not taken yet.
        postponed: lines that were taken and wait to be sent again.
        in_flight: lines that were taken and neither finished nor postponed.
        finished_total: lines that were taken, and are sent, dropped or on disk.
    """

    new: int
    postponed: int
    in_flight: int
    finished_total: int


class DiskCounts(NamedTuple):
    """Gauges of the disk.

    Attributes:
        accepted_total: lines that log calls wrote.
        recovered_total: lines that ended processes left.
        spooled: lines that are there, or were lost and are not counted as dropped yet.
    """

    accepted_total: int = 0
    recovered_total: int = 0
    spooled: int = 0


class Place(Enum):
    """Where a record was when it was lost."""

    #: Not in the queue yet.
    DOOR = 1
    #: In the queue, so that it was evicted.
    QUEUE = 2
    #: Taken from it, or on disk.
    BEHIND = 3


#: Reason, names of level and logger (empty: unknown), records, and where they were.
Entry = tuple[Drop, str, str, int, Place]

#: From this length on a thread that adds to the journal sums it up, too.
_LONG: Final = 1_000
#: Names kept apart; an application that makes a logger for each request must not fill the memory.
LOGGERS_MAX: Final = 1_000
LEVELS_MAX: Final = 50
NAME_MAX: Final = 100
#: Stands for all names beyond these.
OTHER: Final = "(other)"
#: Loggers that a report names.
SHOWN_LOGGERS: Final = 5
#: Lost with an end or a start that has a line of its own, or no loss.
_REPORTED_ELSEWHERE: Final = frozenset({Drop.EXIT, Drop.NOT_CONFIGURED}) | INTENTIONAL

#: What to do about each reason.
DROP_ADVICE: Final[Mapping[Drop, str]] = {
    Drop.QUEUE_FULL: (
        "Memory was full: raise EVENTHUB_LOG_QUEUE_SIZE or EVENTHUB_LOG_QUEUE_BYTES, or let the disk take"
        " what memory cannot hold (EVENTHUB_LOG_SPOOL=overflow)."
    ),
    Drop.SPOOL_FULL: (
        "The disk had no room, or files were removed from outside: raise EVENTHUB_LOG_SPOOL_BYTES, or look"
        " where EVENTHUB_LOG_SPOOL_DIR is."
    ),
    Drop.CORRUPTED: "Files were damaged: check the disk where EVENTHUB_LOG_SPOOL_DIR is.",
    Drop.TOO_LARGE: "The hub takes no events of that size: lower EVENTHUB_LOG_RECORD_BYTES.",
    Drop.REJECTED: (
        "The hub refused them while it took others; in a mode with a disk they are in the folder"
        " rejected of EVENTHUB_LOG_SPOOL_DIR."
    ),
    Drop.NESTED: (
        "They were logged in the middle of log calls that were in the middle of others: look for a __str__"
        " that logs itself, or a signal handler that logs and is called faster than it returns."
    ),
    Drop.RATE_LIMITED: (
        "They were over what one logger may send: raise EVENTHUB_LOG_RATE_LIMIT or EVENTHUB_LOG_RATE_BURST,"
        " or have it log less."
    ),
    Drop.RESOURCE_EXHAUSTED: (
        "The process had no memory, disk, file descriptors, threads or stack left: see the lines before this"
        " one, raise its limits, or look for a recursion of the application."
    ),
    Drop.INTERNAL_ERROR: "That is an error in hublog: please report it, with its lines before this one.",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class DropReport:
    """What was lost and is not reported yet.

    Attributes:
        count: records.
        by_reason: all of them.
        by_level: those whose level is known.
        by_logger: those of the ``SHOWN_LOGGERS`` loggers that lost most.
    """

    count: int
    by_reason: Mapping[Drop, int]
    by_level: Mapping[str, int]
    by_logger: Mapping[str, int]

    def text(self) -> str:
        """Return one line: how many, why, which ones, and what to change."""
        records = "record was" if self.count == 1 else "records were"
        parts = [f"{self.count:,} {records} dropped: {_listed(self.by_reason)}"]
        if self.by_level:
            parts.append(f"levels {_listed(self.by_level)}")
        if self.by_logger:
            parts.append(f"most from {_listed(self.by_logger)}")
        advice = DROP_ADVICE.get(max(self.by_reason, key=self.by_reason.__getitem__), "")
        return f"{'; '.join(parts)}. {advice}".rstrip()

    def as_extra(self) -> dict[str, object]:
        """Return it as plain data, for the attributes of a log record."""
        rest = self.count - sum(self.by_logger.values())
        return {
            "event_name": "hublog.records_dropped",
            "dropped_total": self.count,
            "dropped_by_reason": {reason.value: count for reason, count in self.by_reason.items()},
            "dropped_by_level": dict(self.by_level),
            "dropped_by_logger": {**self.by_logger, **({OTHER: rest} if rest else {})},
        }

    def merged(self, other: "DropReport") -> "DropReport":
        """Return one report for both."""
        return DropReport(
            count=self.count + other.count,
            by_reason=Counter(self.by_reason) + Counter(other.by_reason),
            by_level=Counter(self.by_level) + Counter(other.by_level),
            by_logger=_largest(Counter(self.by_logger) + Counter(other.by_logger)),
        )


class Accounting:
    """Counts what becomes of the records of one process, by counters that only grow.

    Drops are counted exactly, from any thread, signal handler or finalizer. The attributes are counted by
    the thread that steps the shipper alone; see ``Stats``.
    """

    def __init__(self) -> None:
        self.sent_total = self.replayed_total = 0
        self.batches_total = self.events_total = self.sent_bytes_total = self.failures_total = 0
        self.possible_duplicates_total = 0
        self.latency, self.send_duration = Histogram(), Histogram()
        #: Entries that may not be in the sums yet.
        self._journal: deque[Entry] = deque()
        self._sums = DropSums()
        #: Entries that have left the journal.
        self._popped = 0
        # Held over statements without a call or a loop only, where CPython lets no signal handler in: one
        # that waited for the worker would else keep it from counting.
        self._lock = ThreadLock()

    def stats(self, queue: QueueCounts, disk: DiskCounts) -> Stats:
        """Return a snapshot of the counters and of these gauges; the state is set by the caller."""
        drops, queued = self.drops(), queue.new + queue.postponed
        entered_total = queued + queue.in_flight + queue.finished_total + drops.evicted_total
        return Stats(
            accepted_total=entered_total + drops.refused_total + disk.accepted_total,
            sent_total=self.sent_total,
            dropped=dict(drops.totals),
            queued=queued,
            in_flight=queue.in_flight,
            spooled=disk.spooled,
            recovered_total=disk.recovered_total,
            replayed_total=self.replayed_total,
            batches_total=self.batches_total,
            events_total=self.events_total,
            sent_bytes_total=self.sent_bytes_total,
            failures_total=self.failures_total,
            possible_duplicates_total=self.possible_duplicates_total,
            dropped_by_level=drops.level_totals,
            latency=self.latency.read(),
            send_duration=self.send_duration.read(),
        )

    def drop(self, reason: Drop, level: str = "", logger: str = "", count: int = 1) -> None:
        """Count records as lost.

        Args:
            reason: why they are.
            level: name of their level, empty where it is unknown.
            logger: name of their logger, empty where it is unknown.
            count: number of records; 0 is no loss.
        """
        if count:
            self._note((reason, level, logger, count, Place.BEHIND))

    def drop_lines(self, reason: Drop, lines: Iterable[bytes]) -> None:
        """Count the records of these lines as lost."""
        counts = Counter(map(level_and_logger, lines))
        self._note(*((reason, *names, count, Place.BEHIND) for names, count in counts.items()))

    def refuse(self, level: str, logger: str, reason: Drop = Drop.QUEUE_FULL) -> None:
        """Count a record that never entered the queue as accepted and lost; for the names see ``drop``."""
        self._note((reason, level, logger, 1, Place.DOOR))

    def evict(self, line: bytes) -> None:
        """Count the record of a line that was in the queue and was never taken as lost."""
        self._note((Drop.QUEUE_FULL, *level_and_logger(line), 1, Place.QUEUE))

    def drops(self) -> "DropSums":
        """Return the sums of all drops, those in the journal at the call included."""
        entries: list[Entry] = []
        with self._lock:
            sums, popped = self._sums, self._popped
            entries += self._journal
        folded = sums.plus(entries[sums.folded - popped :])
        self._replace(sums, folded)
        while self._pop():
            pass
        return folded

    def take_report(self) -> DropReport | None:
        """Return what was lost since the last call, and is reported nowhere else; None when nothing was."""
        while True:
            sums = self.drops()
            if not sums.by_reason:
                return None
            if self._replace(sums, replace(sums, by_reason={}, by_level={}, by_logger={})):
                return DropReport(
                    count=sum(sums.by_reason.values()),
                    by_reason=sums.by_reason,
                    by_level=sums.by_level,
                    by_logger=_largest(sums.by_logger),
                )

    def _note(self, *entries: Entry) -> None:
        self._journal.extend(entries)
        if len(self._journal) >= _LONG:
            self.drops()

    def _replace(self, former: "DropSums", new: "DropSums") -> bool:
        """Put new sums in the place of the former; False when another thread has done so."""
        with self._lock:
            if self._sums is not former:
                return False
            self._sums = new
            return True

    def _pop(self) -> bool:
        """Take the oldest entry off the journal if it is in the sums."""
        with self._lock:
            if self._popped >= self._sums.folded:
                return False
            self._popped += 1
            del self._journal[0]
            return True


@dataclass(frozen=True, slots=True)
class DropSums:
    """Never changed, only replaced.

    Attributes:
        folded: entries that are counted in here, of all there ever were.
        totals: records lost, by reason.
        refused_total: those of them that never entered the queue.
        evicted_total: those of them that were in the queue and were never taken.
        by_reason: records that are not reported yet; and so on.
        level_totals: records lost, by level, as far as it is known.
    """

    folded: int = 0
    totals: Mapping[Drop, int] = field(default_factory=dict)
    refused_total: int = 0
    evicted_total: int = 0
    by_reason: Mapping[Drop, int] = field(default_factory=dict)
    by_level: Mapping[str, int] = field(default_factory=dict)
    by_logger: Mapping[str, int] = field(default_factory=dict)
    level_totals: Mapping[str, int] = field(default_factory=dict)

    def plus(self, entries: Sequence[Entry]) -> "DropSums":
        """Return the sums with these entries."""
        if not entries:
            return self
        totals, by_reason = dict(self.totals), dict(self.by_reason)
        by_level, by_logger = dict(self.by_level), dict(self.by_logger)
        level_totals = dict(self.level_totals)
        refused_total, evicted_total = self.refused_total, self.evicted_total
        for reason, level, logger, count, place in entries:
            totals[reason] = totals.get(reason, 0) + count
            _count(level_totals, level, count, LEVELS_MAX)
            refused_total += count * (place is Place.DOOR)
            evicted_total += count * (place is Place.QUEUE)
            if reason not in _REPORTED_ELSEWHERE:
                by_reason[reason] = by_reason.get(reason, 0) + count
                _count(by_level, level, count, LEVELS_MAX)
                _count(by_logger, logger, count, LOGGERS_MAX)
        return DropSums(
            folded=self.folded + len(entries),
            totals=totals,
            refused_total=refused_total,
            evicted_total=evicted_total,
            by_reason=by_reason,
            by_level=by_level,
            by_logger=by_logger,
            level_totals=level_totals,
        )


def _count(counts: dict[str, int], name: object, count: int, names_max: int) -> None:
    shown = _shown(name)
    if not shown:
        return
    if shown not in counts and len(counts) >= names_max:
        shown = OTHER
    counts[shown] = counts.get(shown, 0) + count


def _shown(name: object) -> str:
    """Return a name for one line of text, whatever the application calls so."""
    if not isinstance(name, str):
        return ""
    text = str.__str__(name)[:NAME_MAX]
    if text.isprintable():
        return text
    return "".join(character if character.isprintable() else "?" for character in text)


def _ranked(counts: Mapping[str, int]) -> list[tuple[str, int]]:
    return sorted(counts.items(), key=lambda item: (-item[1], item[0]))


def _listed(counts: Mapping[Drop, int] | Mapping[str, int]) -> str:
    named = {str(name): count for name, count in counts.items()}
    return ", ".join(f"{name} {count:,}" for name, count in _ranked(named))


def _largest(by_logger: Mapping[str, int]) -> dict[str, int]:
    named = {name: count for name, count in by_logger.items() if name != OTHER}
    return dict(_ranked(named)[:SHOWN_LOGGERS])
