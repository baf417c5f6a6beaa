"""The part of ``hublog status`` about the running processes: their state, their sums, and what is wrong."""

from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from hublog.cli.command import age_text, count_of, shown, table, time_text
from hublog.delivery.accounting import INTENTIONAL, State
from hublog.doctor.steps import StepResult, ok, warn
from hublog.operations.overview import Overview, read_overview
from hublog.operations.snapshot import PipelineSnapshot, ProcessSnapshot

_HEADER: Final = (
    "host",
    "state",
    "since",
    "oldest",
    "pid",
    "accepted",
    "sent",
    "dropped",
    "waiting",
    "queue",
)
#: Processes that are listed; all are in the sums.
_LISTED_MAX: Final = 50
#: The last second that can be shown; a snapshot may say anything.
_LAST_S: Final = 253_402_300_799.0
_STUCK: Final = frozenset({State.OPEN, State.PROBING, State.DISK_ONLY})


def process_lines(found: Overview) -> Iterator[str]:
    """Yield the lines: the sums, what was dropped, the last error, and a row for each process."""
    total, living = found.total, found.living
    if not (living or total.counters["accepted_total"]):
        return
    counts = ", ".join(
        f"{count_of(total.counters[name], 'record')} {text}"
        for name, text in (("accepted_total", "accepted"), ("sent_total", "sent"))
    )
    yield f"{len(living)} running; {counts}, {total.dropped_total:,} dropped, {total.held:,} waiting"
    if total.dropped_total:
        yield "dropped: " + ", ".join(
            f"{reason} {number:,}" for reason, number in sorted(total.dropped.items())
        )
    if total.last_error and total.last_failure_s is not None:
        yield f"last failure {age_of(total.last_failure_s)} ago: {shown(total.last_error)}"
    if living:
        cells = map(process_cells, worst_first(living)[:_LISTED_MAX])
        rows = [tuple(shown(each[name]) for name in _HEADER) for each in cells]
        yield from table(_HEADER, rows, left=4).splitlines()
        if len(living) > _LISTED_MAX:
            yield f"and {len(living) - _LISTED_MAX} more"


def is_stuck(part: PipelineSnapshot) -> bool:
    """Whether its records do not reach the event hub."""
    return part.state in _STUCK


def worst_first(processes: Iterable[ProcessSnapshot]) -> list[ProcessSnapshot]:
    """Return the processes: those that cannot send first, then those that have lost most."""

    def badness(process: ProcessSnapshot) -> tuple[bool, int, int]:
        total = process.total
        return not is_stuck(total), -total.dropped_total, -total.held

    return sorted(processes, key=badness)


def process_cells(process: ProcessSnapshot) -> dict[str, str]:
    """Return what a table shows of a process, by the names of its columns."""
    total = process.total
    share = max((part.queue_share for part in process.pipelines), default=0.0)
    return {
        "host": process.host,
        "pid": str(process.pid),
        "state": str(total.state),
        "since": age_of(total.state_since_s),
        "oldest": age_of(total.oldest_s),
        "accepted": f"{total.counters['accepted_total']:,}",
        "sent": f"{total.counters['sent_total']:,}",
        "dropped": f"{total.dropped_total:,}",
        "waiting": f"{total.held:,}",
        "queue": f"{share:.0%}",
        "last failure": total.last_error if is_stuck(total) else "",
    }


def process_problems(found: Overview) -> list[str]:
    """Return what the operator has to act on, a sentence each."""
    problems = list(found.problems)
    total, stuck = found.total, sum(is_stuck(each.total) for each in found.living)
    if stuck:
        since = age_of(total.state_since_s)
        number = len(found.living)
        what = "No records reach" if stuck == number else f"{stuck} of {number} processes cannot reach"
        cause = f" Last failure: {total.last_error}" if total.last_error else ""
        problems.append(
            f"{what} the event hub since {since} (state {total.state}): run hublog doctor.{cause}"
        )
    return problems


def process_step(root: Path) -> StepResult:
    """Return the doctor's step about the running processes; it says what ``hublog status`` says."""
    found = read_overview(root)
    problems, living = process_problems(found), found.living
    delivering = sum(not is_stuck(each.total) for each in living)
    text = "none of this application runs that has logged something"
    if living:
        text = (
            f"{count_of(len(living), 'process', 'processes')} of this application run, {delivering} deliver"
        )
    if problems or delivering < len(living):
        return warn("processes", text, " ".join([*problems, "See hublog status."]))
    return ok("processes", text)


def processes_json(found: Overview) -> dict[str, object]:
    """Return plain data: the sums, and each process."""
    return {
        "total": _plain(found.total),
        "processes": [
            {
                "pid": each.pid,
                "host": each.host,
                "service": each.service,
                "instance": each.instance,
                "framework": each.framework,
                "version": each.version,
                "settings_hash": each.settings_hash,
                "alive": each.is_alive,
                "started_at": time_text(as_moment(each.started_s)),
                "written_at": time_text(as_moment(each.written_s)),
                "pipelines": [_plain(part) for part in each.pipelines],
            }
            for each in found.processes
        ],
    }


def _plain(part: PipelineSnapshot) -> Mapping[str, object]:
    lost = sum(number for reason, number in part.dropped.items() if reason not in set(map(str, INTENTIONAL)))
    return {
        "destination": part.destination,
        "state": str(part.state),
        "state_since": _time(part.state_since_s),
        "circuit": str(part.circuit),
        "circuit_since": _time(part.circuit_since_s),
        **part.counters,
        **part.gauges,
        "dropped": dict(part.dropped),
        "dropped_by_level": dict(part.dropped_by_level),
        "dropped_total": part.dropped_total,
        "lost_total": lost,
        "held": part.held,
        "queue_share": round(part.queue_share, 4),
        "spool_share": round(part.spool_share, 4),
        "oldest_at": _time(part.oldest_s),
        "last_success_at": _time(part.last_success_s),
        "last_failure_at": _time(part.last_failure_s),
        "last_error": part.last_error or None,
    }


def _time(moment_s: float | None) -> str | None:
    return time_text(as_moment(moment_s)) if moment_s else None


def age_of(moment_s: float | None) -> str:
    """Return how long ago a moment (seconds since 1970) was, in its largest unit; a dash for none."""
    return age_text(None if moment_s is None else as_moment(moment_s))


def as_moment(moment_s: float) -> datetime:
    """Return seconds since 1970 as a moment, whatever a snapshot says."""
    return datetime.fromtimestamp(min(max(moment_s, 0.0), _LAST_S), UTC)
