"""What a row expects of a run, and the verdict on what was seen."""

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

from tests.faults.ledger import Ledger

#: A batch: what may arrive twice for each send whose outcome is unknown.
BATCH: Final = 100
#: An event of what has waited: 500 KiB of small records.
EVENT: Final = 2_000
#: The queue bound: what may be lost with a process in memory.
QUEUE: Final = 10_000
#: A log call that takes longer has waited for something: at a load of a hundred a thread waits seconds for
#: its turn. How long a log call takes on a quiet machine is a figure of the benchmarks, and of ``--strict``.
STUCK_CALL_US: Final = 10_000_000
#: Of a hundred log calls all but one take less where none may wait for the network: a send may take 2 s. On
#: a busy machine some take milliseconds.
CALL_US: Final = 100_000
_QUEUE_KIB: Final = 32 << 10
_MEMORY_KIB: Final = 32 << 10


class Mode(StrEnum):
    """Where records wait; the value is that of ``EVENTHUB_LOG_SPOOL``."""

    MEMORY = "memory"
    OVERFLOW = "overflow"
    ALWAYS = "always"

    @property
    def letter(self) -> str:
        """As the matrix writes it."""
        return self.name[0]


class Order(StrEnum):
    """What every process imports first; it decides on the order of the hooks of a fork and of the exit."""

    LOGGING = "logging"
    HUBLOG = "hublog"


class Verdict(StrEnum):
    """How a run ended."""

    OK = "ok"
    FAILED = "failed"
    #: It failed, and so does the same run without the handler: the server is at fault.
    SERVER = "server"
    #: It could not be run here, which is not a pass.
    NOT_RUN = "not run"


@dataclass(frozen=True, slots=True, kw_only=True)
class Expect:
    """What a row allows in one mode.

    Attributes:
        missing: records that nobody accounts for, at most.
        dropped: records that the package counts as lost, at most; None for any number.
        duplicates: deliveries beyond the first of each record, at most.
        exit_s: seconds of the exit of each process that the row ends, at most, without the slack.
        is_drained: after a restart with a healthy broker no segment of a dead process is left.
        p99_us: cost of a log call, at most; None leaves it to the row's own figures.
        call_us: the longest log call; the default is that of a thread which never waits.
        memory_kib: growth of a process over its start, at most, beyond what the application takes without
            us; None leaves it to the row's own figures.
        unconfirmed: records that arrive without a confirmation, at most: each thread that is killed may
            have logged one and not noted it.
    """

    missing: int = 0
    dropped: int | None = 0
    duplicates: int = 0
    exit_s: float | None = None
    is_drained: bool = True
    p99_us: float | None = None
    call_us: float = STUCK_CALL_US
    memory_kib: int | None = _QUEUE_KIB + _MEMORY_KIB
    unconfirmed: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """What a process says of itself at its exit: log calls in microseconds, memory in KiB."""

    calls: int
    p99_us: float
    max_us: float
    start_kib: int
    peak_kib: int


@dataclass(slots=True, kw_only=True)
class Seen:
    """What was seen in one run.

    Attributes:
        ledger: at the end of the row, before anything is started again.
        after: the ledger after a restart with a healthy broker; None if there was none.
        left: segments of dead processes after the restart.
        exits_s: how long each process took to end.
        tracebacks: lines of standard error that the package must not write.
        costs: of each process that kept a book.
        base_peak_kib: memory of the same run without the handler; None if there was none.
        complaints: what the row itself found wrong.
        reported: drops told on standard error; the rest of ``ledger.dropped`` stands in books only.
    """

    ledger: Ledger = field(default_factory=Ledger)
    after: Ledger | None = None
    left: int = 0
    exits_s: list[float] = field(default_factory=list)
    tracebacks: list[str] = field(default_factory=list)
    costs: list[Cost] = field(default_factory=list)
    base_peak_kib: int | None = None
    complaints: list[str] = field(default_factory=list)
    reported: int = 0

    @property
    def final(self) -> Ledger:
        """The last ledger."""
        return self.after or self.ledger


STRICT_MAX_US: Final = 50_000
STRICT_P99_US: Final = {Mode.MEMORY: 1_000, Mode.OVERFLOW: 1_000, Mode.ALWAYS: 2_000}


def judge(seen: Seen, expect: Expect, mode: Mode, *, slack_s: float, is_strict: bool = False) -> list[str]:
    """Return what is wrong with a run; nothing if it holds what the row expects.

    Args:
        seen: what was seen.
        expect: what is allowed.
        mode: where records waited.
        slack_s: seconds that a busy machine may take beyond each limit.
        is_strict: hold each process to the figures of a log call on a quiet machine.
    """
    found = list(seen.complaints)
    found += _judge_ledger("at the end", seen.ledger, expect)
    if seen.after is not None:
        found += _judge_ledger("after the restart", seen.after, expect)
        if seen.after.stored and expect.is_drained:
            found.append(f"{seen.after.stored} records stayed on disk after the restart")
    if seen.left and expect.is_drained:
        found.append(f"{seen.left} segments of dead processes are left in the spool")
    if seen.final.dropped > seen.reported:
        found.append(f"of {seen.final.dropped} dropped records only {seen.reported} were told")
    if expect.exit_s is not None:
        limit = expect.exit_s + slack_s
        found += [f"an exit took {s:.1f} s, allowed is {limit:.1f} s" for s in seen.exits_s if s > limit]
    found += [f"the package wrote to standard error: {line}" for line in seen.tracebacks]
    found += _judge_costs(seen, expect, mode, is_strict=is_strict)
    return found


def _judge_ledger(when: str, ledger: Ledger, expect: Expect) -> list[str]:
    found = []
    if ledger.missing > expect.missing:
        found.append(f"{ledger.missing} records are missing {when} ({ledger.show_gone()})")
    if expect.dropped is not None and ledger.dropped > expect.dropped:
        found.append(f"{ledger.dropped} records were dropped {when}, allowed are {expect.dropped}")
    if ledger.overcounted:
        found.append(f"{ledger.overcounted} records were counted as dropped {when} that are not lost")
    if ledger.duplicates > expect.duplicates:
        found.append(f"{ledger.duplicates} duplicates {when}, allowed are {expect.duplicates}")
    if len(ledger.unconfirmed) > expect.unconfirmed:
        some = ", ".join(sorted(ledger.unconfirmed)[:5])
        found.append(f"{len(ledger.unconfirmed)} records that nobody accepted arrived {when}: {some}")
    return found


def _judge_costs(seen: Seen, expect: Expect, mode: Mode, *, is_strict: bool) -> list[str]:
    found = []
    for cost in seen.costs:
        longest = STRICT_MAX_US if is_strict and expect.call_us == STUCK_CALL_US else expect.call_us
        if cost.max_us > longest:
            found.append(f"a log call took {cost.max_us / 1000:.0f} ms")
        # One of a hundred is not the first call of a process that makes only a few.
        limit = STRICT_P99_US[mode] if is_strict else expect.p99_us
        limit = limit if cost.calls >= BATCH else None
        if limit is not None and cost.p99_us > limit:
            found.append(f"1 of 100 log calls took more than {cost.p99_us:.0f} us, allowed is {limit:.0f} us")
        grown = cost.peak_kib - cost.start_kib - max(0, (seen.base_peak_kib or 0) - cost.start_kib)
        if expect.memory_kib is not None and grown > expect.memory_kib:
            allowed = expect.memory_kib // 1024
            found.append(f"memory grew by {grown // 1024} MiB, allowed are {allowed} MiB")
    return found
