"""Makes the snapshot of this process, and has it published: what all readers of the operator show."""

import logging
import math
import os
import time
from collections.abc import Callable
from dataclasses import replace
from functools import lru_cache
from hashlib import blake2b
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from hublog.capture.resource import process_fields
from hublog.delivery.accounting import Stats
from hublog.internal_log import report
from hublog.line import created_s
from hublog.operations.snapshot import COUNTERS, PipelineSnapshot, ProcessSnapshot, summed
from hublog.runtime.shared import runtime
from hublog.settings import SETTINGS, Settings, read_settings
from hublog.spool.envelope import envelope_of

if TYPE_CHECKING:
    from hublog.operations.overview import Overview

# Here and not where it is needed: that is a thread of ours, and a child that is forked in the middle of an
# import can never do it again.
_missing: ImportError | None = None
try:
    from hublog.operations import overview as _reading
    from hublog.operations import publishing as _writing
except ImportError as error:  # they need locks that not every system has
    _missing = error

_STARTED_S: Final = time.time()


class StatusFile:
    """Publishes this process for one spool root, whichever of its threads asks; a fork has its own.

    Args:
        root: of the spool.
        now: monotonic seconds.
    """

    def __init__(self, root: Path, *, now: Callable[[], float] = time.monotonic) -> None:
        self._root = root
        self._now = now
        self._is_reported = False
        self._begin()

    def _begin(self) -> None:
        #: Taken by the one thread that writes.
        self._turn, self._pid = [True], os.getpid()
        self._publisher: Any = None

    def look(self, *, has_disk: bool, is_end: bool = False) -> float:
        """Write what has changed, if it is time; return the seconds until it is, infinity if nothing has.

        Args:
            has_disk: whether records go there too, so that trouble with it is reported elsewhere.
            is_end: whether this is the last time, so that it is time.
        """
        if runtime.is_hub_replaced:  # a test must not leave anything with the application's own records
            return math.inf
        if self._pid != os.getpid():
            self.abandon_after_fork()
        try:
            turn = self._turn.pop()
        except IndexError:  # another thread writes just now
            return 1.0
        try:
            return self._look(has_disk=has_disk, is_end=is_end)
        finally:
            self._turn.append(turn)

    def _look(self, *, has_disk: bool, is_end: bool) -> float:
        if self._publisher is None:
            if _missing is not None:
                return math.inf
            self._publisher = _writing.Publisher(self._root, now=self._now)
        publisher = self._publisher
        wait: float = publisher.publish(self.make, at_once=is_end)
        publisher.merge()
        error = publisher.error
        if error is not None and not self._is_reported and not has_disk:
            self._is_reported = True
            report(
                logging.WARNING,
                f"The status of this process cannot be written to {self._root}: {error.strerror or error}."
                " Status pages and metrics of other processes do not show it; delivery is not affected.",
            )
        return wait

    @property
    def is_unwritten(self) -> bool:
        """Whether the snapshot of this process is not where the others are."""
        return self._publisher is not None and self._publisher.error is not None

    def abandon_after_fork(self) -> None:
        """Close what a child has inherited; waits for nothing."""
        inherited = self._publisher
        self._begin()
        if inherited is not None:
            inherited.abandon_after_fork()

    def make(self) -> ProcessSnapshot:
        """Return the snapshot of this process; any thread may ask.

        It is put together from what the threads of the pipelines have said: a real thread that took the locks
        of a pipeline that lives amid greenlets would wait for ever.
        """
        parts, known = [], None
        for pipeline in [*runtime.pipelines.values(), *runtime.resting]:
            states = pipeline.processes()
            if states and states[-1].settings.spool_dir == self._root:
                part = pipeline.part()
                if part is not None:
                    known = states[-1].settings
                    parts.append(part)
        if known is None:
            return ProcessSnapshot(pid=os.getpid(), started_s=_STARTED_S)
        names = _names(known, runtime.framework)
        return ProcessSnapshot(
            pid=os.getpid(),
            host=str(names.get("host_name", "")),
            service=str(names.get("service_name", "")),
            instance=str(names.get("service_instance_id", "")),
            framework=str(names.get("framework", "")),
            version=str(names.get("handler_version", "")),
            settings_hash=_settings_hash(known),
            started_s=_STARTED_S,
            pipelines=tuple(parts),
        )


def overview(root: Path | None = None) -> "Overview":
    """Return all processes of this application, this one also where it cannot write.

    Args:
        root: of their spool; by default that of the settings of this process.

    Raises:
        ImportError: this system lacks the locks of files that it needs.
    """
    if _missing is not None:
        raise _missing
    if root is None:
        files = list(runtime.status_files)
        root = files[0] if files else read_settings(framework=runtime.lookup).settings.spool_dir
    found, file = _reading.read_overview(root), runtime.status_files.get(root)
    # Elsewhere as it is written: what other processes show of this one is behind, and sums must not fall.
    if file is None or not file.is_unwritten:
        return found
    return replace(found, processes=(*found.processes, replace(file.make(), written_s=found.read_s)))


def own_total() -> PipelineSnapshot:
    """Return the sum of the pipelines of this process, as their threads last saw it; any thread may ask."""
    return summed([part for file in list(runtime.status_files.values()) for part in file.make().pipelines])


def counted(stats: Stats) -> PipelineSnapshot:
    """Return what these counters show of a pipeline."""
    return PipelineSnapshot(
        counters={name: getattr(stats, name) for name in COUNTERS},
        dropped={str(reason): number for reason, number in stats.dropped.items() if number},
        dropped_by_level=stats.dropped_by_level,
        latency=stats.latency,
        send_duration=stats.send_duration,
    )


def part_of(state: Any) -> PipelineSnapshot:  # noqa: ANN401  # it is defined above this module
    """Return what a state of a pipeline shows; only its own thread asks."""
    stats, hub, queue, history = state.stats(), state.settings.eventhub, state.queue, state.shipper.history
    spooler, line = state.stores.spooler, state.shipper.oldest_line
    times = [spooler.oldest_s if spooler is not None and stats.spooled else None]
    times.append(created_s(line) if line is not None else None)
    return replace(
        counted(stats),
        destination=str(envelope_of(hub).destination),
        gauges={
            "queued": stats.queued,
            "in_flight": stats.in_flight,
            "spooled": stats.spooled,
            "buffered": stats.buffered,
            "abandoned_sends": stats.abandoned_sends,
            "queue_records_max": hub.max_queue_size,
            "queue_bytes": queue.held_bytes,
            "queue_bytes_max": hub.max_queue_bytes,
            "spool_bytes": spooler.backlog_bytes if spooler is not None else 0,
            "spool_bytes_max": hub.spool_max_bytes if spooler is not None else 0,
        },
        state=stats.state,
        state_since_s=history.state_since_s,
        circuit=stats.circuit,
        circuit_since_s=history.circuit_since_s,
        oldest_s=min((moment for moment in times if moment is not None), default=None),
        last_success_s=history.last_success_s,
        last_failure_s=history.last_failure_s,
        last_error=history.last_error,
    )


@lru_cache(maxsize=8)
def _names(settings: Settings, framework: str) -> dict[str, object]:
    return process_fields(settings.service, framework=framework)


@lru_cache(maxsize=8)
def _settings_hash(settings: Settings) -> str:
    """Return the same for equal settings; of a secret only whether it is set."""
    values = [(setting.name, setting.value_in(settings), setting.kind.is_secret) for setting in SETTINGS]
    text = repr([(name, bool(value) if is_secret else str(value)) for name, value, is_secret in values])
    return blake2b(text.encode("utf-8", "replace"), digest_size=6).hexdigest()
