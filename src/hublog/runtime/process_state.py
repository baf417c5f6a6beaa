"""What belongs to one process: replaced after a fork, never repaired."""

import contextlib
import logging
import math
import os
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import replace
from time import monotonic
from typing import Final

from hublog.capture.formatter import LineFormatter
from hublog.capture.reentry_guard import is_deep
from hublog.capture.truncation import shortened
from hublog.capture.typed_columns import Misfits
from hublog.delivery.accounting import Drop, DropCounters
from hublog.delivery.batcher import Batcher, Source
from hublog.delivery.circuit_breaker import CircuitBreaker
from hublog.delivery.disk_store import DiskStore
from hublog.delivery.memory_queue import MemoryQueue
from hublog.delivery.packer import Packer
from hublog.delivery.send_thread import SendThread
from hublog.delivery.sender import InlineSend, Sender, TooLateError, time_limit
from hublog.delivery.shipper import Shipper
from hublog.delivery.spawning import Spawner, is_patched
from hublog.delivery.storage import Storage
from hublog.delivery.worker import Worker
from hublog.internal_log import Tally, report
from hublog.line import Line, RecordIds
from hublog.runtime.delivery_log import Observer
from hublog.runtime.server_advice import Adviser, is_about_to_patch, when_patched, why_no_thread
from hublog.sampling.sampler import Sampler, is_asked
from hublog.settings import EventHubSettings, Settings, SpoolMode
from hublog.spool.envelope import envelope_of

_SECURE_WAIT_S: Final = 1.0
#: At the exit what came meanwhile is written, too, so many times.
_SECURE_MAX: Final = 5


class Process:
    """Storage, threads, books and ids of one pipeline in one process.

    Args:
        settings: bounds of the stores, and what the formatter fills in.
        make_formatter: makes the formatter for settings, ids and the count of misfits.
        prepare: see ``Worker``; is also told which process asks.
        enter: called once in each new thread.
        now: monotonic seconds, by which it is decided what is due; tests pass their own.
        ids: of a former state of this process, which go on; None for new ones.

    Attributes:
        settings: under which its records are accepted; set anew when others apply to them.
        is_addressed: whether these name the event hub of its records, so that they go to no other.
        volume: what keeps the number of records down; None while all of it is off.
        sampler: the same, also when it is off again; None if it never was on.
        has_ended: whether ``end`` was called.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        make_formatter: Callable[[Settings, RecordIds, Misfits], LineFormatter],
        prepare: Callable[["Process", bool], float],
        enter: Callable[[], object],
        now: Callable[[], float] = monotonic,
        ids: RecordIds | None = None,
    ) -> None:
        hub = settings.eventhub
        self._now = now
        self.pid = os.getpid()
        self.settings = settings
        self.is_addressed = False
        self.ids = ids or RecordIds()
        self.misfits = Misfits()
        self._make_formatter = make_formatter
        self.active_sampler: Sampler | None = None
        self.sampler: Sampler | None = None
        self.use_formatter(settings)
        self.drops = DropCounters()
        self._told: deque[tuple[int, str]] = deque()
        self.queue = MemoryQueue(
            max_lines=hub.max_queue_size,
            max_bytes=hub.max_queue_bytes,
            urgent_level=hub.urgent_level,
            drops=self.drops,
        )
        self.spool_settings = _spool_settings(settings)
        self.stores = self._make_stores(settings, self._make_spooler(settings))
        self.put = self._put_of(self.stores)
        self.observer = Observer(hub, spool_dir=settings.spool_dir, misfits=self.misfits)
        spawner = Spawner()
        self.courier = SendThread(
            self._first_sender,
            woken=lambda: self.worker.notify(),  # noqa: PLW0108  # it is made below
            now=now,
            limit_s=hub.send_timeout_seconds,
            enter=enter,
            spawner=spawner,
        )
        self.shipper = Shipper(
            self.stores,
            self.courier,
            packer=_packer(hub),
            batchers=self._batchers(hub),
            breaker=self._breaker(hub),
            observer=self.observer,
            now=now,
            shorten=shortened,
        )
        self.worker = Worker(
            self.shipper,
            self._sources(),
            prepare=lambda is_asked: prepare(self, is_asked),
            start=self._start_sending,
            enter=enter,
            leave=self._leave,
            may_start=lambda: not why_no_thread(),
            is_early=self._is_early,
            spawner=spawner,
            look=self.look,
            gather=self.tell,
        )
        self.unconfigured = Tally()
        self.fitted: Settings | None = None
        self.adviser = Adviser(hub)
        self.asked_mono: float | None = None
        self._make_sender: Callable[[], Sender] | None = None
        self._is_fitted = threading.Event()
        self._waits_for_patch = self._is_late_told = self.has_ended = False

    def fit(
        self, settings: Settings, make_sender: Callable[[EventHubSettings], Sender], *, since: float
    ) -> None:
        """Take over settings; runs in the worker's thread.

        Args:
            settings: what is in force now.
            make_sender: makes the destination, in the thread that sends.
            since: when the first of the records came that wait already (monotonic seconds).
        """
        hub = settings.eventhub
        self.queue.resize(hub.max_queue_size, hub.max_queue_bytes)
        self.queue.urgent_level = hub.urgent_level
        former = self.stores.spooler
        has_ended = former is not None and former.is_ended  # perhaps for settings that were taken back
        if has_ended or self.spool_settings != _spool_settings(settings):
            self.spool_settings = _spool_settings(settings)
            self.stores = self._make_stores(settings, self._make_spooler(settings))
            self.put = self._put_of(self.stores)
            self.worker.watch(self._sources())
        elif former is not None:
            former.live.urgent_level = hub.urgent_level
            former.address(envelope_of(hub))
        self.observer.refit(hub, spool_dir=settings.spool_dir)
        self.shipper.refit(
            self.stores,
            packer=_packer(hub),
            batchers=self._batchers(hub, since=since),
            breaker=self._breaker(hub),
        )
        if former is not None and former is not self.stores.spooler:
            former.end()  # what is in it is taken over by whoever looks there
        is_first = self._make_sender is None
        self._make_sender = lambda: make_sender(hub)
        self.fitted = settings
        if is_first:
            self._is_fitted.set()
            if not self.worker.is_missing:  # else no thread may be had, not even at the exit
                self.courier.start()
        else:
            self.courier.refit(self._make_sender, limit_s=hub.send_timeout_seconds)

    def can_apply(self, settings: Settings) -> bool:
        """Whether other settings may hold for the records that are here, too.

        Not if these were accepted for another destination, packing or routing, nor if some of them lie in
        another spool.
        """
        is_moved = envelope_of(settings.eventhub) != envelope_of(self.settings.eventhub)
        if self.is_addressed and is_moved:
            return False
        if _spool_settings(settings) == _spool_settings(self.settings):
            return True
        spooler = self.stores.spooler
        return spooler is None or spooler.end_if_unused()

    def apply(self, settings: Settings, *, is_addressed: bool) -> None:
        """Have other settings hold for the records that are here, and for those that come."""
        self.settings, self.is_addressed = settings, is_addressed
        self.adviser = Adviser(settings.eventhub)
        self.use_formatter(settings)
        self.worker.call_prepare()

    def readdress(self, settings: Settings, *, is_addressed: bool) -> None:
        """Send what is here to the destination of these settings, from the spool that it lies in."""
        if not self.is_addressed:
            own = self.settings
            hub = replace(
                settings.eventhub,
                enabled=own.eventhub.enabled,
                spool=own.eventhub.spool,
                spool_dir=own.spool_dir,
                spool_max_bytes=own.eventhub.spool_max_bytes,
                spool_sync=own.eventhub.spool_sync,
            )
            self.settings, self.is_addressed = replace(settings, eventhub=hub), is_addressed
            self.worker.call_prepare()

    def finish(self) -> None:
        """Send what is here, and end: another state takes the records that come."""
        self.active_sampler = None
        if self.sampler is not None:
            self.sampler.release()
        self.worker.stop()

    @property
    def is_finished(self) -> bool:
        """Whether nothing is here and no thread runs."""
        return self.worker.is_ended and self.shipper.is_empty

    def use_formatter(self, settings: Settings) -> None:
        """Encode as these settings say, and keep the number of records down as they say; any thread."""

        def make_encode(ids: RecordIds) -> Callable[[logging.LogRecord], bytes]:
            return self._make_formatter(settings, ids, self.misfits).encode

        self.encode = make_encode(self.ids)
        is_on = is_asked(settings.eventhub)
        if is_on and self.sampler is None:
            self.sampler = Sampler(
                ids=self.ids,
                ship=self._ship,
                refuse=lambda level, logger: self.drops.refuse(level, logger, Drop.RATE_LIMITED),
                wake=lambda: self.worker.wake(),  # noqa: PLW0108  # it is made later
                now=self._now,
            )
        if self.sampler is not None:
            self.sampler.fit(settings, encode=self.encode, make_encode=make_encode)
        self.active_sampler = self.sampler if is_on else None

    def _put_of(self, stores: Storage) -> Callable[[bytes, int], bool]:
        """Return what takes lines as the stores do; a deep log call writes to memory."""
        memory, store = self.queue.put, stores.put
        if store == memory:
            return memory

        def put(line: bytes, levelno: int) -> bool:
            return memory(line, levelno) if is_deep() else store(line, levelno)

        return put

    def _ship(self, line: Line) -> None:
        if not self.put(line.data, line.levelno):
            self.stores.put_when_full(line.data, line.levelno, level=line.level, logger=line.logger)

    def left_out(self) -> dict[Drop, int]:
        """Return how many records were not sent because that was asked for."""
        sampler = self.sampler
        if sampler is None:
            return {}
        return {
            Drop.SAMPLED_OUT: sampler.tail.left_out.read(),
            Drop.DEDUPLICATED: sampler.deduplicated.read(),
        }

    def put_when_full(self, line: bytes, record: logging.LogRecord) -> bool:
        """Take a line that ``put`` refused, or drop and count it."""
        return self.stores.put_when_full(line, record.levelno, level=record.levelname, logger=record.name)

    def write_always(self) -> None:
        """Write each line to disk before its log call returns, from now on; none is kept aside or counted."""
        self.active_sampler = None
        self.stores.write_always()
        self.put = self._put_of(self.stores)

    def secure(self) -> int:
        """Write what is held in memory to disk; returns how many records are still in memory alone.

        What is kept aside for the end of its request is shipped: the process may not see that.
        """
        if self.sampler is not None:
            self.sampler.release()
        request = self.worker.request_secure()
        if not request.wait(_SECURE_WAIT_S):
            self.shipper.secure()
        return self.stores.memory_lines

    def pause(self) -> None:
        """Leave the network alone until ``resume``; records still come in, and wait."""
        self.courier.pause()

    def resume(self) -> None:
        """Send again."""
        self.courier.resume()
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
        self.shipper.close_spool(at_exit=True)
        self._report()
        self.report_drops()  # behind all that may lose some, or find out that others have dropped ours
        self.write_always()  # what comes later is on disk before its log call returns
        self.has_ended = True

    def end_late(self) -> None:
        """Put on disk, or count as lost, what is logged after ``end``: in one segment, with one line.

        The segment stays open; it is another process's once this one is gone.
        """
        if self.stores.memory_lines:
            self.shipper.secure()
        # Only then: what is on its way from the disk would be given back, and sent once more.
        lost = self.shipper.drop_held(Drop.EXIT) if self.stores.memory_lines else 0
        if self._is_late_told or not (lost or self.stores.held_lines):
            return
        self._is_late_told = True
        if lost:
            report(
                logging.WARNING,
                f"{lost} records could not be delivered before the exit and are lost, and so are later ones.",
            )
        elif not self.observer.has_told_rest:
            report(
                logging.INFO,
                "Records that are logged while this process ends stay on disk; a process with the same"
                " directory sends them.",
            )

    def send_inline(self, timeout_s: float) -> None:
        """Send in this thread what waits, since no other can be had; for the exit."""
        if timeout_s <= 0 or self.shipper.is_empty:
            return
        self.shipper.use(InlineSend(self._first_sender, now=self._now))
        try:
            with time_limit(timeout_s) as is_limited:
                self.shipper.flush()
                wait = 0.0
                while is_limited and wait == 0.0 and not self.shipper.is_hopeless:
                    wait = self.shipper.step()
        except TooLateError:
            pass  # what did not leave is held, and counted by ``end``
        finally:
            self.shipper.use(self.courier)

    def report_drops(self) -> None:
        """Tell the operator of the drops that are not told yet."""
        dropped = self.drops.take_report()
        if dropped is not None and self.unconfigured.read() == 0:
            self.observer.records_dropped(dropped)

    def abandon_after_fork(self) -> None:
        """Close the descriptors that a child inherited; waits for nothing."""
        if self.stores.spooler is not None:
            self.stores.spooler.abandon_after_fork()

    def tell(self) -> None:
        """Write the summaries of what was counted until now."""
        if self.sampler is not None:
            self.sampler.report()

    def look(self) -> float:
        """Tell what the operator should know of the server around this process, and write summaries.

        Returns:
            The seconds until the next summary is due.
        """
        self._report()
        for line in self.adviser.look():
            report(logging.WARNING, line)
        return self.sampler.look() if self.sampler is not None else math.inf

    def _report(self) -> None:
        """Report what the disk had to say while a lock was held, which no handler must wait behind."""
        while self._told:
            with contextlib.suppress(IndexError):  # another thread was quicker
                report(*self._told.popleft())

    def _first_sender(self) -> Sender:
        """Make the destination once the settings are there; the thread exists before they are."""
        is_fitted = self._is_fitted
        if self._make_sender is None:
            is_fitted.wait()
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
        self._is_fitted = threading.Event()
        if self._make_sender is not None:
            self._is_fitted.set()
        self.courier.start()

    def _leave(self) -> None:
        """Let go of connection and disk; runs in the worker's thread."""
        self.courier.close()
        self._is_fitted.set()
        self.shipper.close_spool()

    def _make_spooler(self, settings: Settings) -> DiskStore | None:
        hub = settings.eventhub
        if hub.spool is SpoolMode.MEMORY or not hub.enabled:
            return None
        return DiskStore(
            settings.spool_dir,
            max_bytes=hub.spool_max_bytes,
            sync=hub.spool_sync,
            urgent_level=hub.urgent_level,
            drops=self.drops,
            tell=lambda level, text: self._told.append((level, text)),
            envelope=envelope_of(hub),
        )

    def _make_stores(self, settings: Settings, spooler: DiskStore | None) -> Storage:
        return Storage(self.queue, spooler, mode=settings.eventhub.spool, drops=self.drops)

    def _sources(self) -> list[Source]:
        spooler = self.stores.spooler
        return [self.queue] if spooler is None else [self.queue, spooler.live]

    def _batchers(self, hub: EventHubSettings, *, since: float | None = None) -> list[tuple[Source, Batcher]]:
        return [(source, self._batcher(source, hub, since=since)) for source in self._sources()]

    def _batcher(self, source: Source, hub: EventHubSettings, *, since: float | None) -> Batcher:
        return Batcher(
            source, batch_size=hub.batch_size, linger_s=hub.batch_timeout_seconds, now=self._now, since=since
        )

    def _breaker(self, hub: EventHubSettings) -> CircuitBreaker:
        return CircuitBreaker(
            threshold=hub.circuit_breaker_threshold,
            cooldown_s=hub.circuit_breaker_cooldown_seconds,
            now=self._now,
        )


def _spool_settings(settings: Settings) -> tuple[object, ...]:
    hub = settings.eventhub
    return hub.enabled, hub.spool, settings.spool_dir, hub.spool_max_bytes, hub.spool_sync


def _packer(hub: EventHubSettings) -> Packer:
    return Packer(hub.packing, gzip_level=hub.gzip_level, routing=hub.routing)
