"""Wires capture, delivery and sender: one pipeline for each process and configuration.

A pipeline outlives the handlers that feed it, so ``dictConfig`` may be called as often as it likes.
It is made empty; its queue and thread are made at the first record, and again in a forked child.
Its settings are read when its thread starts, so that Django's settings and Flask's config apply
although ``LOGGING`` made the handler before they could be read.
"""

import atexit
import logging
import math
import os
import sys
import weakref
from collections.abc import Callable, Hashable, Mapping
from time import monotonic
from typing import Final

from hublog.capture.fields import Misfits
from hublog.capture.formatter import LineFormatter
from hublog.capture.handler import enter_own_thread
from hublog.capture.record_ids import RecordIds
from hublog.delivery.courier import Sender
from hublog.delivery.drops import DropReport
from hublog.delivery.stats import Drop, Stats
from hublog.process import Process
from hublog.reports import LOGGER_NAME, report
from hublog.senders.event_hub import EventHubSender
from hublog.settings import EventHubSettings, Settings, read_settings
from hublog.tally import Tally

Lookup = Callable[[str], object | None]

#: A handler made by LOGGING may log before the framework has handed over its configuration.
CONFIGURATION_GRACE_S: Final = 5.0


class Pipeline:
    """Takes records of one configuration and sees them to the hub.

    Args:
        settings: fixed settings; None reads them from the keywords, the framework and the environment.
        keywords: keywords of ``EventHubHandler``, which win over everything else.
        framework: ``django``, ``flask`` or empty.
        make_sender: makes the destination, in the worker's thread.
    """

    def __init__(
        self,
        settings: Settings | None = None,
        *,
        keywords: Mapping[str, object] | None = None,
        framework: str = "",
        make_sender: Callable[[EventHubSettings], Sender] = EventHubSender,
    ) -> None:
        self._fixed = settings
        self._keywords = dict(keywords or {})
        self._framework = framework
        self._make_sender = make_sender
        self._settings: Settings | None = None
        self._processes: dict[int, Process] = {}
        self._process: Process | None = None
        self._is_told = False
        self._errors = Tally()
        self._handlers: weakref.WeakSet[logging.Handler] = weakref.WeakSet()
        #: Whether more than one handler may feed this pipeline, so that a record must be known again.
        self.is_shared = False
        #: False when the destination is switched off: nothing is formatted or counted. None: not read yet.
        self.is_enabled: bool | None = None
        #: False once it is known that there is no connection string.
        self.is_configured = True
        #: The level that applies to handlers which have none of their own.
        self.level = logging.NOTSET

    def accept(self, record: logging.LogRecord) -> None:
        """Encode a record and put it into the queue; never waits, never raises; any thread."""
        process = self._process
        # The record carries the process id already, which spares a system call.
        if process is None or record.process != process.pid:
            process = self._this_process()
        if not self.is_configured:
            process.unconfigured.add()
            return
        line = process.encode(record)
        if not process.put(line, record.levelno):
            process.put_when_full(line, record)
        if process.worker.is_missing or _exits:
            self._see_to(process)

    def _see_to(self, process: Process) -> None:
        """Do for a record what no thread will do: none can be started, or the exit hook has run."""
        end = _exits.get(process.pid)
        if process.worker.is_missing or sys.is_finalizing():
            process.shipper.secure()
        if end is not None:
            if not sys.is_finalizing() and not self.flush(end - monotonic()):
                self.send_inline(process, end - monotonic())
            process.end()

    def send_inline(self, process: Process, timeout_s: float) -> None:
        """Send in this thread, where no other can be had; for the exit."""
        if process.worker.is_missing and self.is_configured:
            self._prepare(process, is_asked=True)
            if process.fitted is not None:
                process.send_inline(timeout_s)

    def join(self, handler: logging.Handler) -> None:
        """Be fed by this handler too."""
        self._handlers.add(handler)
        self.is_shared = len(self._handlers) > 1

    def leave(self, handler: logging.Handler) -> None:
        """Be fed by this handler no more; after the last one the thread ends when all is delivered."""
        self._handlers.discard(handler)
        self.is_shared = len(self._handlers) > 1
        if not self._handlers:
            self.retire()

    def failed(self, error: Exception) -> None:
        """Count a record that could not be taken; tell the first one."""
        self._errors.add()
        if self._errors.read() == 1:
            report(
                logging.ERROR,
                f"A record could not be taken: {type(error).__name__}. It is counted as dropped.",
            )

    def read(self) -> Settings:
        """Return the settings in force; reads them at the first call."""
        return self._settings or self.read_again()

    def read_again(self) -> Settings:
        """Read the settings anew and have them applied; what waits in the queue stays there."""
        settings = self._fixed or self._read_surroundings()
        if settings == self._settings:
            return settings
        self._settings = settings
        for follow in _followers:
            follow(settings)
        self.is_enabled, self.is_configured = settings.eventhub.enabled, True
        self.level = settings.eventhub.level
        process = self._process
        if process is not None:
            process.encode = self._make_formatter(settings, process.ids, process.misfits).encode
            process.worker.call_prepare()
        return settings

    def _read_surroundings(self) -> Settings:
        reading = read_settings({"eventhub_logging": self._keywords}, framework=_surroundings.lookup)
        # With an adapter it is the adapter that tells what is wrong, for all destinations together.
        if reading.problems and _surroundings.lookup is None and not self._is_told:
            self._is_told = True
            report(logging.ERROR, " ".join(reading.problems))
        return reading.settings

    def _prepare(self, process: Process, *, is_asked: bool) -> float:
        """Fit the process to the settings; runs in its worker's thread, see ``Worker``."""
        settings = self.read()
        if settings is process.fitted:
            return 0.0
        now = monotonic()
        if settings.eventhub.is_configured:
            process.fit(settings, self._make_sender, since=now)
            return 0.0
        if process.asked_mono is None:
            process.asked_mono = now
        left = process.asked_mono + CONFIGURATION_GRACE_S - now
        if left > 0 and not is_asked and _surroundings.lookup is None:
            return left
        if self.is_configured:
            # Told before the records are settled: whoever waits for them may end the process.
            self.is_configured = False
            report(logging.WARNING, NOT_CONFIGURED)
        process.shipper.drop_held(Drop.NOT_CONFIGURED)
        return math.inf

    def flush(self, timeout_s: float | None = None) -> bool:
        """Send what was accepted before this call.

        Args:
            timeout_s: how long to wait at most; default is the exit timeout of the settings.

        Returns:
            Whether all of it is sent, or dropped and counted.
        """
        process = self.process
        if process is None:
            return True
        if timeout_s is None:
            timeout_s = self.read().eventhub.exit_timeout_seconds
        return process.worker.request_flush(give_up_early=bool(_exits)).wait(timeout_s)

    def stats(self) -> Stats:
        """Return a snapshot of the books of this process."""
        process = self.process
        if process is None:
            return Stats()
        return process.shipper.stats(
            unconfigured=process.unconfigured.read(),
            failed=self._errors.read(),
            misfits=process.misfits.read(),
        )

    def retire(self) -> None:
        """Let the thread end when everything is delivered; a later record starts it again."""
        process = self.process
        if process is not None:
            process.worker.stop()

    def forget(self) -> None:
        """Leave the parent's state alone: runs in a forked child, so no I/O, no lock, no thread."""
        for process in self._processes.values():
            process.abandon_after_fork()
        _inherited.append(self._processes)
        self._processes = {}
        self._process = None
        self._errors = Tally()

    def start(self) -> Process:
        """Return the state of this process; makes it, with neither thread nor file."""
        return self._this_process()

    @property
    def process(self) -> Process | None:
        """The state of this process, if a record was accepted in it."""
        return self._processes.get(os.getpid())

    def _make_formatter(self, settings: Settings, ids: RecordIds, misfits: Misfits) -> LineFormatter:
        """Return the formatter for these settings."""
        return LineFormatter(
            settings.service,
            framework=self._framework or _surroundings.framework,
            max_record_bytes=settings.eventhub.max_record_bytes,
            ids=ids,
            misfits=misfits,
        )

    def _make_process(self, settings: Settings) -> Process:
        process = Process(
            settings,
            make_formatter=self._make_formatter,
            prepare=lambda process, is_asked: self._prepare(process, is_asked=is_asked),
            enter=_enter_thread,
        )
        process.shipper.ship_report = self._ship
        return process

    def _ship(self, dropped: DropReport) -> None:
        """Send a record of what was dropped; runs in the worker's thread."""
        record = logging.LogRecord(LOGGER_NAME, logging.WARNING, "", 0, dropped.text(), None, None)
        record.__dict__.update(dropped.as_extra())
        self.accept(record)

    def _this_process(self) -> Process:
        pid = os.getpid()
        found = self._processes.get(pid)
        if found is None:
            # A fork that no hook told us of, as uWSGI's; not a signal handler that was here just now.
            if self._processes and pid not in self._processes:
                self.forget()
            # setdefault decides races without a lock
            found = self._processes.setdefault(pid, self._make_process(self.read()))
        self._process = found
        return found


NOT_CONFIGURED: Final = (
    "No connection to an Event Hub is configured, so records go to console and file only. Set"
    " EVENTHUB_NAMESPACE_CONNECTION_STRING (or EVENTHUB_FULLY_QUALIFIED_NAMESPACE), or"
    " EVENTHUB_LOGGING_ENABLED=false to say that it is meant so."
)


class _Surroundings:
    """What a framework's adapter has handed over."""

    lookup: Lookup | None = None
    framework: str = ""


_surroundings = _Surroundings()
_pipelines: dict[Hashable, Pipeline] = {}
#: A forked child keeps its parent's state unused: finalizing an inherited client would end its connection.
_inherited: list[object] = []
#: Processes that have told multiprocessing of their exit hook.
_finalized: set[int] = set()
#: Called with the settings of a pipeline whenever they are read anew.
_followers: list[Callable[[Settings], object]] = []
#: The end of the exit budget (monotonic), by process id: one budget for all exit hooks together.
_exits: dict[int, float] = {}


def get_pipeline(
    settings: Settings | None = None,
    *,
    keywords: Mapping[str, object] | None = None,
    framework: str = "",
    make_sender: Callable[[EventHubSettings], Sender] = EventHubSender,
) -> Pipeline:
    """Return the pipeline of a configuration; the same one for the same configuration.

    Args:
        settings: everything, already read; or
        keywords: keywords of ``EventHubHandler``.
        framework: ``django``, ``flask`` or empty.
        make_sender: makes the destination if the pipeline does not exist yet.
    """
    key: Hashable
    if settings is not None:
        key = (settings.eventhub, settings.service, framework)
    else:
        key = (frozenset((name, str(value)) for name, value in (keywords or {}).items()), framework)
    found = _pipelines.get(key)
    if found is None:
        made = Pipeline(settings, keywords=keywords, framework=framework, make_sender=make_sender)
        found = _pipelines.setdefault(key, made)
    return found


def pipelines() -> list[Pipeline]:
    """Return all pipelines of this process."""
    return list(_pipelines.values())


def use_lookup(lookup: Lookup, *, framework: str) -> None:
    """Take over a framework's configuration; pipelines made earlier read their settings again.

    Args:
        lookup: gives the value of a setting by its environment name, None where it is not set.
        framework: ``django`` or ``flask``; fills the column of that name.
    """
    _surroundings.lookup = lookup
    _surroundings.framework = framework
    for pipeline in pipelines():
        pipeline.read_again()


def follow_settings(follow: Callable[[Settings], object]) -> None:
    """Have this called, in the thread that reads, with the settings of each pipeline."""
    _followers.append(follow)


def flush(timeout_s: float | None = None) -> bool:
    """Send what was logged before this call.

    Args:
        timeout_s: how long to wait at most; default is ``EVENTHUB_LOG_EXIT_TIMEOUT``.

    Returns:
        Whether all of it is sent, or dropped and counted.
    """
    end = None if timeout_s is None else monotonic() + timeout_s
    results = [pipeline.flush(None if end is None else end - monotonic()) for pipeline in pipelines()]
    return all(results)


def stats() -> list[Stats]:
    """Return a snapshot of the books of each pipeline that has accepted records in this process."""
    return [pipeline.stats() for pipeline in pipelines() if pipeline.process is not None]


def _enter_thread() -> None:
    enter_own_thread()
    # Children of multiprocessing leave by os._exit: only its own finalizers run. Where it is just being
    # imported by another thread this process is none of them.
    finalize = getattr(sys.modules.get("multiprocessing.util"), "Finalize", None)
    if finalize is not None and os.getpid() not in _finalized:
        _finalized.add(os.getpid())
        finalize(None, drain_at_exit, exitpriority=0)


def drain_at_exit() -> None:
    """Deliver what waits, within one budget for all exit hooks of this process; count what is lost.

    What has a disk is on it before anything is sent. A signal that raises ends the wait at once.
    """
    running = _running()
    if not running:
        return
    budget = max(pipeline.read().eventhub.exit_timeout_seconds for pipeline, _ in running)
    end = _exits.setdefault(os.getpid(), monotonic() + budget)
    try:
        try:
            _deliver(running, end)
        finally:
            for _, process in running:
                process.end()
    except (KeyboardInterrupt, SystemExit):
        _exits[os.getpid()] = monotonic()  # whoever comes later does not wait either
        for _, process in running:
            process.end()


def secure() -> int:
    """Write everything that waits in memory to disk, where the mode has one.

    Returns:
        How many records are still in memory alone.
    """
    return sum(process.secure() for _, process in _running())


def always_from_now() -> None:
    """Write each record to disk before its log call returns, for the rest of the process."""
    for _, process in _running():
        process.write_always()


def _running() -> list[tuple[Pipeline, Process]]:
    return [(pipeline, process) for pipeline in pipelines() if (process := pipeline.process) is not None]


def _deliver(running: list[tuple[Pipeline, Process]], end: float) -> None:
    for _, process in running:
        process.secure()
    requests = [process.worker.request_flush(give_up_early=True) for _, process in running]
    for (pipeline, process), request in zip(running, requests, strict=True):
        if not request.wait(end - monotonic()):
            pipeline.send_inline(process, end - monotonic())


def _after_fork_in_child() -> None:
    for pipeline in pipelines():
        pipeline.forget()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork_in_child)
atexit.register(drain_at_exit)
