"""What belongs to one process: replaced after a fork, never repaired."""

import contextlib
import contextvars
import logging
import math
import os
import threading
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

from hublog.capture.formatter import LineFormatter
from hublog.capture.reentry_guard import enter_own_thread, is_deep
from hublog.capture.slow_path import shortened
from hublog.capture.typed_columns import Misfits
from hublog.delivery.accounting import Accounting, Drop, DropReport, Stats
from hublog.delivery.circuit_breaker import CircuitBreaker
from hublog.delivery.disk_store import DiskStore
from hublog.delivery.memory_queue import MemoryQueue
from hublog.delivery.packer import Packer
from hublog.delivery.send_thread import SendThread
from hublog.delivery.sender import InlineSend, Sender, Spawner, TooLateError, time_limit
from hublog.delivery.shipper import Shipper
from hublog.delivery.storage import Storage
from hublog.delivery.worker import Worker
from hublog.internal_log import AtomicCounter, report
from hublog.line import Line, RecordIds
from hublog.operations.snapshot import SNAPSHOT_S, PipelineSnapshot, summed
from hublog.process_hooks import is_patched, process_hooks
from hublog.runtime.delivery_log import DeliveryLog
from hublog.runtime.heartbeat import Heartbeat
from hublog.runtime.level_orders import LevelControl
from hublog.runtime.server_advice import (
    Adviser,
    is_about_to_patch,
    leave_signals,
    when_patched,
    why_no_thread,
)
from hublog.runtime.shared import runtime
from hublog.runtime.snapshots import StatusFile, counted, part_of
from hublog.sampling.sampler import Sampler, is_asked
from hublog.settings import EventHubSettings, Settings, SpoolMode
from hublog.spool.envelope import envelope_of

#: A handler made by LOGGING may log before the framework has handed over its configuration.
CONFIGURATION_GRACE_S: Final = 5.0
_SECURE_WAIT_S: Final = 1.0
#: The hub has answered by then, and what has changed is written once, with that.
_ANSWER_S: Final = 1.0
#: At the exit what came meanwhile is written, too, so many times.
_SECURE_MAX: Final = 5
_UNBOUNDED: Final = {"queue_records_max": 0, "queue_bytes_max": 0}


class ProcessState:
    """Storage, threads, accounting and ids of one pipeline in one process.

    Args:
        settings: bounds of the stores, and what the formatter fills in.
        framework: fills the column of that name.
        prepare: see ``Worker``; also gets the state that asks.
        ship_report: sends a record of what was dropped.
        now: monotonic seconds, by which it is decided what is due; tests pass their own.
        former: took the records until now; its ids and heartbeats go on. None where there is none.
        left: records that states of this process left on disk, by directory.

    Attributes:
        settings: under which its records are accepted; other ones need another state.
        is_addressed: whether these name the event hub of its records, so that they go to no other.
        is_started: whether it is known where its records go.
        active_sampler: what keeps the number of records down; None while all of it is off.
        sampler: the same, also for a state that ends; None if all of it is off.
        has_ended: whether ``end`` was called.
        part: what it shows to the operator; made by its own thread, each second in which something happens.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        framework: str,
        prepare: Callable[["ProcessState", bool], float],
        ship_report: Callable[[DropReport], object],
        now: Callable[[], float],
        is_addressed: bool,
        former: "ProcessState | None",
        left: dict[Path, int],
    ) -> None:
        hub = settings.eventhub
        self._now = now
        self._framework = framework
        self._prepare = prepare
        self.pid = os.getpid()
        self.settings = settings
        self.is_addressed = is_addressed
        self.ids: RecordIds = former.ids if former is not None else RecordIds()
        self.heartbeat: Heartbeat = former.heartbeat if former is not None else Heartbeat(now=now)
        self.misfits = Misfits()
        self.accounting = Accounting()
        self._reports: deque[tuple[int, str]] = deque()
        self.stores = self._make_stores(left)
        self.queue = self.stores.queue
        self.put = self._choose_put()
        self.observer = DeliveryLog(hub, spool_dir=settings.spool_dir, misfits=self.misfits)
        spawner = Spawner()
        self.send_thread = SendThread(
            self._sender,
            woken=lambda: self.worker.notify(),  # noqa: PLW0108  # it is made below
            now=now,
            limit_s=hub.send_timeout_seconds,
            enter=_enter_thread,
            spawner=spawner,
        )
        self.shipper = self._make_shipper()
        self.shipper.dispatcher.ship_report = ship_report
        self.worker: Worker = self._make_worker(spawner)
        self.encode = self._make_encode(self.ids)
        self.sampler = self.active_sampler = self._make_sampler()
        self.unconfigured, self.adviser = AtomicCounter(), Adviser(hub)
        self._levels, self.status = _of_root(settings.spool_dir, now)
        self.part: PipelineSnapshot | None = None
        self._part_mono = -math.inf
        self._asked_mono: float | None = None
        self._make_sender: Callable[[], Sender] | None = None
        self._has_hub = threading.Event()
        self._waits_for_patch = self._is_late_reported = self.has_ended = False

    def grace_left_s(self) -> float:
        """Return for how long a framework may still hand over its configuration, from the first call on."""
        now = self._now()
        if self._asked_mono is None:
            self._asked_mono = now
        return self._asked_mono + CONFIGURATION_GRACE_S - now

    @property
    def is_started(self) -> bool:
        """Whether it is known where its records go."""
        return self._make_sender is not None

    def start(self, hub: EventHubSettings, make_sender: Callable[[EventHubSettings], Sender]) -> None:
        """Send from now on; once, in the worker's thread and before its first step.

        Args:
            hub: where the records go. Packing and routing are those of this hub, all else is as set here.
            make_sender: makes the destination, in the thread that sends.
        """
        if hub is not self.settings.eventhub:
            self.shipper.use_packer(_packer(hub))
            self.observer.name(hub, spool_dir=self.settings.spool_dir)
            if self.stores.spooler is not None:
                self.stores.spooler.address(envelope_of(hub))
        self._make_sender = lambda: make_sender(hub)
        self._has_hub.set()
        if not self.worker.is_missing:  # else no thread may be had, not even at the exit
            self.send_thread.start()

    def finish(self) -> None:
        """Send what is here, and end: another state takes the records that come."""
        self.active_sampler = None
        self.release()
        if self.stores.spooler is not None:
            self.stores.spooler.adopts = False  # that is for the state that goes on
        self.worker.stop()

    def release(self) -> None:
        """Ship what is buffered until a request ends: the process may not see that."""
        if self.sampler is not None:
            self.sampler.release()

    @property
    def is_finished(self) -> bool:
        """Whether nothing is here and no thread runs."""
        return self.worker.is_ended and self.shipper.is_empty

    def _make_stores(self, left: dict[Path, int]) -> Storage:
        hub = self.settings.eventhub
        queue = MemoryQueue(
            max_lines=hub.max_queue_size,
            max_bytes=hub.max_queue_bytes,
            urgent_level=hub.urgent_level,
            accounting=self.accounting,
        )
        return Storage(
            queue,
            self._make_spooler(left),
            mode=hub.spool,
            batch_size=hub.batch_size,
            linger_s=hub.batch_timeout_seconds,
            now=self._now,
        )

    def _make_shipper(self) -> Shipper:
        hub = self.settings.eventhub
        return Shipper(
            self.stores,
            self.send_thread,
            packer=_packer(hub),
            breaker=CircuitBreaker(
                threshold=hub.circuit_breaker_threshold,
                cooldown_s=hub.circuit_breaker_cooldown_seconds,
                now=self._now,
            ),
            observer=self.observer,
            now=self._now,
            shorten=shortened,
        )

    def _make_worker(self, spawner: Spawner) -> Worker:
        return Worker(
            self.shipper,
            self.stores.sources,
            prepare=lambda is_asked: self._prepare(self, is_asked),
            start=self._start_sending,
            enter=_enter_thread,
            leave=self._leave,
            may_start=lambda: not why_no_thread(),
            is_early=self._is_early,
            spawner=spawner,
            look=self._look_and_beat,
            gather=self._gather,
        )

    def _make_encode(self, ids: RecordIds) -> Callable[[logging.LogRecord], bytes]:
        return LineFormatter(
            self.settings.service,
            framework=self._framework,
            max_record_bytes=self.settings.eventhub.max_record_bytes,
            ids=ids,
            misfits=self.misfits,
            redaction=self.settings.redaction,
        ).encode

    def _make_sampler(self) -> Sampler | None:
        if not is_asked(self.settings.eventhub):
            return None
        return Sampler(
            self.settings,
            ids=self.ids,
            encode=self.encode,
            make_encode=self._make_encode,
            ship=self._ship,
            refuse=lambda level, logger: self.accounting.refuse(level, logger, Drop.RATE_LIMITED),
            wake=self.worker.wake,
            now=self._now,
        )

    def _choose_put(self) -> Callable[[bytes, int], bool]:
        """Return what takes lines as the stores do; a deep log call writes to memory."""
        memory, store = self.queue.put, self.stores.put
        if store == memory:
            return memory

        def put(line: bytes, levelno: int) -> bool:
            return memory(line, levelno) if is_deep() else store(line, levelno)

        return put

    def _ship(self, line: Line) -> None:
        if not self.put(line.data, line.levelno):
            self.stores.put_when_full(line.data, line.levelno, level=line.level, logger=line.logger)

    def stats(self) -> Stats:
        """Return a snapshot of the counters."""
        refused = {Drop.NOT_CONFIGURED: self.unconfigured.read()}
        kept = 0
        if self.sampler is not None:
            kept = self.sampler.tail.kept
            refused[Drop.SAMPLED_OUT] = self.sampler.tail.left_out.read()
            refused[Drop.DEDUPLICATED] = self.sampler.deduplicated.read()
        stats = self.shipper.stats().with_refused(refused)
        return replace(
            stats,
            accepted_total=stats.accepted_total + kept,
            buffered=kept,
            type_mismatches_total=self.misfits.read(),
        )

    def put_when_full(self, line: bytes, record: logging.LogRecord) -> bool:
        """Take a line that ``put`` refused, or drop and count it."""
        return self.stores.put_when_full(line, record.levelno, level=record.levelname, logger=record.name)

    def write_always(self) -> None:
        """Write each line to disk before its log call returns, from now on; nothing samples it."""
        self.active_sampler = None
        self.stores.write_always()
        self.put = self._choose_put()

    def secure(self) -> int:
        """Write what is held in memory to disk; returns how many records are still in memory alone."""
        self.release()
        request = self.worker.request_secure()
        if not request.wait(_SECURE_WAIT_S):
            self.shipper.secure()
        return self.stores.memory_lines

    def resume(self) -> None:
        """Send again, after ``send_thread.pause``."""
        self.send_thread.resume()
        self.worker.notify()

    def end(self) -> None:
        """Count what is lost, and leave what is on disk to others; for the exit."""
        for _ in range(_SECURE_MAX):
            # Threads of a server that does not wait for them log while this is written.
            if not self.stores.memory_lines or self.stores.spooler is None:
                break
            self.shipper.secure()
        lost = self.shipper.drop_held(Drop.EXIT)
        if lost:
            report(logging.WARNING, f"{lost} records could not be delivered before the exit and are lost.")
        self.observer.end(self.shipper.stats())
        self.shipper.close_spool()
        self._report()
        self.report_drops()  # behind all that may lose some, or find out that others have dropped ours
        self.write_always()  # what comes later is on disk before its log call returns
        self._publish(is_end=True)
        self.has_ended = True

    def end_late(self) -> None:
        """Put on disk, or count as lost, what is logged after ``end``: in one segment, with one line.

        The segment stays open; it is another process's once this one is gone.
        """
        if self.stores.memory_lines:
            self.shipper.secure()
        # Only then: what is on its way from the disk would be given back, and sent once more.
        lost = self.shipper.drop_held(Drop.EXIT) if self.stores.memory_lines else 0
        if self._is_late_reported or not (lost or self.stores.held_lines):
            return
        self._is_late_reported = True
        if lost:
            report(
                logging.WARNING,
                f"{lost} records could not be delivered before the exit and are lost, and so are later ones.",
            )
        elif not self.observer.has_reported_rest:
            report(
                logging.INFO,
                "Records that are logged while this process ends stay on disk; a process with the same"
                " directory sends them.",
            )

    def send_inline(self, timeout_s: float) -> None:
        """Send in this thread what waits where no other can be had; for the exit."""
        if not self.worker.is_missing:
            return
        self._prepare(self, True)  # noqa: FBT003  # as ``Worker`` calls it
        if not self.is_started or timeout_s <= 0 or self.shipper.is_empty:
            return
        self.shipper.use(InlineSend(self._sender, now=self._now))
        try:
            with time_limit(timeout_s) as is_limited:
                self.shipper.flush()
                wait = 0.0
                while is_limited and wait == 0.0 and not self.shipper.is_hopeless:
                    wait = self.shipper.step()
        except TooLateError:
            pass  # what did not leave is held, and counted by ``end``
        finally:
            self.shipper.use(self.send_thread)

    def report_drops(self) -> None:
        """Report the drops that have not been reported yet."""
        dropped = self.accounting.take_report()
        if dropped is not None and self.unconfigured.read() == 0:
            self.observer.records_dropped(dropped)

    def abandon_after_fork(self) -> None:
        """Close the descriptors that a child inherited; waits for nothing."""
        self.status.abandon_after_fork()
        if self.stores.spooler is not None:
            self.stores.spooler.abandon_after_fork()

    def beat_last(self) -> None:
        """Put one more heartbeat where there was one and the hub takes it: the process ends by itself."""
        if self.heartbeat.has_begun and not (self.worker.is_ended or self.shipper.is_hopeless):
            contextvars.Context().run(self._put_beat, is_last=True)  # what is bound here is of something else

    def _put_beat(self, *, is_last: bool = False) -> bool:
        """Return whether there is a heartbeat, which is put then; past the sampler, which is for others."""
        record = self.heartbeat.record(self, is_last=is_last)
        if record is None:
            return False
        line = self.encode(record)
        if not self.put(line, record.levelno):
            self.put_when_full(line, record)
        return True

    def _look_and_beat(self) -> float:
        """Do what ``look`` does, or send a heartbeat if one is due; in the worker's thread."""
        wait = self.heartbeat.wait_s(self.settings.eventhub.heartbeat_seconds)
        if wait > 0:
            return min(wait, self.look())
        self.part = part_of(self)
        if not self._put_beat():
            return self.look()
        self.shipper.hurry()  # at once: a process that logs nothing else sleeps again
        return min(self.shipper.step(), _ANSWER_S)

    def _gather(self) -> None:
        """Write the summaries of what was counted until now."""
        if self.sampler is not None:
            self.sampler.report()

    def look(self) -> float:
        """Report what the operator should know of the server; see to summaries, levels and the status file.

        Returns:
            The seconds until one of them is due.
        """
        self._report()
        for line in self.adviser.look():
            report(logging.WARNING, line)
        wait = self.sampler.look() if self.sampler is not None else math.inf
        return min(wait, self._levels.look(), self._publish())

    def _publish(self, *, is_end: bool = False) -> float:
        """Have written what the status of this process is now; return the seconds until it is time to."""
        now = self._now()
        left = self._part_mono - now
        if is_end or left <= 0:
            self.part, self._part_mono, left = part_of(self), now + SNAPSHOT_S, math.inf
        return min(left, self.status.look(has_disk=self.stores.spooler is not None, is_end=is_end))

    def _report(self) -> None:
        """Report what the disk had to say while a lock was held, which no handler must wait behind."""
        while self._reports:
            with contextlib.suppress(IndexError):  # another thread was quicker
                report(*self._reports.popleft())

    def _sender(self) -> Sender:
        """Make the destination once it is known; the thread exists before it is."""
        if self._make_sender is None:
            self._has_hub.wait()
        make = self._make_sender
        if make is None:
            raise RuntimeError("there is no hub")
        return make()

    def _is_early(self) -> bool:
        """Whether this process will be patched within moments: threads are made when that is done."""
        is_early = not is_patched() and is_about_to_patch()
        if is_early and not self._waits_for_patch:
            self._waits_for_patch = True
            when_patched(self.worker.wake)
        return is_early

    def _start_sending(self) -> None:
        # Made here and not with the rest: the process may have been patched since then.
        self._has_hub = threading.Event()
        if self.is_started:
            self._has_hub.set()
        self.send_thread.start()

    def _leave(self) -> None:
        """Let go of connection and disk; runs in the worker's thread."""
        self._publish(is_end=True)
        self.send_thread.close()
        self._has_hub.set()
        self.shipper.release_spool()

    def _make_spooler(self, left: dict[Path, int]) -> DiskStore | None:
        settings = self.settings
        hub = settings.eventhub
        if hub.spool is SpoolMode.MEMORY or not hub.enabled:
            return None
        return DiskStore(
            settings.spool_dir,
            max_bytes=hub.spool_max_bytes,
            sync=hub.spool_sync,
            urgent_level=hub.urgent_level,
            accounting=self.accounting,
            report=lambda level, text: self._reports.append((level, text)),
            envelope=envelope_of(hub),
            left=left,
        )


def _packer(hub: EventHubSettings) -> Packer:
    return Packer(hub.packing, gzip_level=hub.gzip_level, routing=hub.routing)


def _enter_thread() -> None:
    enter_own_thread()
    leave_signals()
    process_hooks.follow_multiprocessing()


def _of_root(root: Path, now: Callable[[], float]) -> tuple[LevelControl, StatusFile]:
    """Return what all states of this process have in common that have the same spool."""
    levels: LevelControl = runtime.level_controls.setdefault(root, LevelControl(root, now=now))
    status: StatusFile = runtime.status_files.setdefault(root, StatusFile(root, now=now))
    return levels, status


@dataclass(frozen=True, slots=True)
class ProcessStates:
    """What a pipeline has in one process; never changed, only replaced.

    Attributes:
        current: takes the records that come.
        former: send what was accepted under other settings, the oldest first.
        finished: the sums of those that have done so.
    """

    current: ProcessState
    former: tuple[ProcessState, ...] = ()
    finished: Stats = field(default_factory=Stats)

    @property
    def all(self) -> tuple[ProcessState, ...]:
        """The former ones, and the current one."""
        return (*self.former, self.current)

    def followed_by(self, made: ProcessState) -> "ProcessStates":
        """Return the states once another one takes the records; of those that have finished the sums stay."""
        finished, former = self.finished, []
        for each in self.former:
            if each.is_finished:
                finished = each.stats().after(finished)
            else:
                former.append(each)
        # The last one in any case: a log call that is under way may still put its record there.
        return ProcessStates(made, (*former, self.current), finished)

    def part(self, refused: Mapping[Drop, int]) -> PipelineSnapshot | None:
        """Return what they show to the operator, and what those have counted that have finished.

        Args:
            refused: records that came to none of them.
        """
        parts = [each.part for each in self.former if each.part is not None]
        # One queue takes records: its bounds are the ones that count.
        parts = [replace(part, gauges={**part.gauges, **_UNBOUNDED}) for part in parts]
        if self.current.part is not None:
            parts.append(self.current.part)
        return summed([counted(self.finished.with_refused(refused)), *parts]) if parts else None

    def stats(self) -> Stats:
        """Return the sums over all of them."""
        total = self.finished
        for process in self.all:
            total = process.stats().after(total)
        return total
