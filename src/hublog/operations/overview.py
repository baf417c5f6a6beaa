"""What all processes of an application have published: each of them, and their sum. Reads only."""

import contextlib
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from hublog.operations.publishing import ENDED, read_snapshot, snapshot_files, status_folder
from hublog.operations.snapshot import (
    BYTES_MAX,
    MINUTES_MAX,
    PipelineSnapshot,
    ProcessSnapshot,
    decode,
    summed,
)

_TRIES: Final = 3
#: Looks until nothing was added meanwhile to what has ended: each ended process may be added by itself.
_LOOKS: Final = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class Overview:
    """All processes that share a spool.

    Attributes:
        processes: those that live, and those that have ended and are not part of ``ended`` yet.
        ended: what processes have counted that are gone.
        problems: files that cannot be used, a sentence each.
        read_s: when this was read, seconds since 1970.
    """

    processes: tuple[ProcessSnapshot, ...] = ()
    ended: PipelineSnapshot = PipelineSnapshot()  # noqa: RUF009  # it is frozen
    problems: tuple[str, ...] = ()
    read_s: float = 0.0

    @property
    def living(self) -> tuple[ProcessSnapshot, ...]:
        """The processes that live."""
        return tuple(each for each in self.processes if each.is_alive)

    @property
    def total(self) -> PipelineSnapshot:
        """The sum: what all have counted, those that are gone too; the rest is as of now."""
        living = [part for each in self.living for part in each.pipelines]
        gone = [part for each in self.processes if not each.is_alive for part in each.pipelines]
        now, before = summed(living), summed([*(part.counted_only() for part in gone), self.ended])
        both = summed([now, before]) if living else before
        waiting = sum(part.gauges["spooled"] for part in gone)
        return _with(both, now, waiting)

    @property
    def queue_share(self) -> float:
        """Part of the memory queue that is in use, in the process where it is most."""
        return max((part.queue_share for each in self.living for part in each.pipelines), default=0.0)

    def minutes(self) -> list[tuple[int, int, int]]:
        """Return the last hour: records accepted, sent and dropped in each minute, the latest one last.

        Of processes that have ended only those are in it that are not part of ``ended`` yet.
        """
        first = int(self.read_s // 60) - MINUTES_MAX + 2
        found = [[0, 0, 0] for _ in range(MINUTES_MAX - 1)]
        for each in self.processes:
            # What a longer life has counted before is not known by minute.
            before = (0, 0, 0, 0) if len(each.minutes) < MINUTES_MAX else each.minutes[0]
            for minute in each.minutes[len(each.minutes) == MINUTES_MAX :]:
                if 0 <= minute[0] - first < len(found):
                    for number in range(3):
                        found[minute[0] - first][number] += max(minute[number + 1] - before[number + 1], 0)
                before = minute
        return (
            [(accepted, sent, dropped) for accepted, sent, dropped in found] if any(map(any, found)) else []
        )

    def age_s(self, moment_s: float | None) -> float | None:
        """Return how long ago something was; 0 where a clock was set back meanwhile."""
        return None if moment_s is None else max(self.read_s - moment_s, 0.0)


def _with(both: PipelineSnapshot, now: PipelineSnapshot, waiting: int) -> PipelineSnapshot:
    """Return counters of ``both``, and what is of now."""
    return PipelineSnapshot(
        destination=now.destination or both.destination,
        counters=both.counters,
        gauges={**now.gauges, "spooled": now.gauges["spooled"] + waiting},
        dropped=both.dropped,
        dropped_by_level=both.dropped_by_level,
        state=now.state,
        state_since_s=now.state_since_s,
        circuit=now.circuit,
        circuit_since_s=now.circuit_since_s,
        oldest_s=now.oldest_s,
        last_success_s=now.last_success_s,
        last_failure_s=now.last_failure_s,
        last_error=now.last_error,
        latency=both.latency,
        send_duration=both.send_duration,
    )


def read_overview(root: Path, *, wall: Callable[[], float] = time.time) -> Overview:
    """Read what the processes with this spool have published; empty where none has.

    Args:
        root: of the spool.
        wall: seconds since 1970.
    """
    try:
        folder = status_folder(root)
    except (FileNotFoundError, NotADirectoryError):  # what is wrong with the root, its own check says
        return Overview(read_s=wall())
    except OSError as error:
        return Overview(problems=(f"{root} cannot be read: {error.strerror or error}.",), read_s=wall())
    found = Overview()
    for _ in range(_LOOKS):
        before = _read_ended(folder)
        found = _read(folder, before, wall())
        if _read_ended(folder) == before:  # else one was added to it meanwhile
            break
    return found


def _read(folder: Path, before: ProcessSnapshot | str, now: float) -> Overview:
    processes: list[ProcessSnapshot] = []
    problems: list[str] = []
    ended = PipelineSnapshot()
    if isinstance(before, str):
        problems.append(before)
    elif before.pipelines:
        ended = before.pipelines[0]
    try:
        paths = snapshot_files(folder)
    except OSError as error:
        return Overview(problems=(f"{folder} cannot be read: {error.strerror or error}.",), read_s=now)
    for path in paths:
        if isinstance(before, ProcessSnapshot) and path.name == before.instance:
            continue  # it is part of what has ended, and about to be removed
        try:
            processes.append(read_snapshot(path))
        except FileNotFoundError:
            pass
        except (OSError, ValueError) as error:
            problems.append(f"{path} is not shown: {getattr(error, 'strerror', None) or error}.")
    return Overview(processes=tuple(processes), ended=ended, problems=tuple(problems), read_s=now)


def _read_ended(folder: Path) -> ProcessSnapshot | str:
    path = folder / ENDED
    for attempt in range(_TRIES):
        with contextlib.suppress(FileNotFoundError):
            try:
                fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
                try:
                    data = os.pread(fd, BYTES_MAX, 0)
                finally:
                    os.close(fd)
                return decode(data) if data else ProcessSnapshot(pid=0)
            except FileNotFoundError:
                raise
            except (OSError, ValueError) as error:
                if attempt + 1 == _TRIES:
                    return f"{path} is not counted: {getattr(error, 'strerror', None) or error}."
    return ProcessSnapshot(pid=0)
