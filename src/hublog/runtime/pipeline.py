"""Wires capture, delivery and sender for one configuration, in each process anew.

A pipeline outlives the handlers that feed it, so ``dictConfig`` may be called as often as it likes.
It is made empty; its queue and thread are made at the first record, and again in a forked child.
Its settings are read when its thread starts, so that Django's settings and Flask's config apply
although ``LOGGING`` made the handler before they could be read.
"""

import logging
import math
import os
import sys
import weakref
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from time import monotonic
from typing import Final

from hublog.capture.formatter import LineFormatter
from hublog.capture.reentry_guard import enter_own_thread, is_own_thread
from hublog.capture.typed_columns import Misfits
from hublog.delivery.accounting import Drop, DropReport, Stats
from hublog.delivery.sender import Sender
from hublog.internal_log import LOGGER_NAME, AtomicCounter, cause_of, is_exhausted, report
from hublog.line import RecordIds
from hublog.locks import ThreadLock
from hublog.process_hooks import process_hooks
from hublog.requests.request_scope import RequestScope
from hublog.runtime.process_state import ProcessState
from hublog.runtime.server_advice import leave_signals
from hublog.runtime.shared import Lookup, runtime
from hublog.senders.event_hub import EventHubSender
from hublog.settings import ARGUMENT, EventHubSettings, Settings, read_settings
from hublog.settings.connection import is_local

#: A handler made by LOGGING may log before the framework has handed over its configuration.
CONFIGURATION_GRACE_S: Final = 5.0

NOT_CONFIGURED: Final = (
    "No connection to an Event Hub is configured, so records go to console and file only. Set"
    " EVENTHUB_NAMESPACE_CONNECTION_STRING (or EVENTHUB_FULLY_QUALIFIED_NAMESPACE), or"
    " EVENTHUB_LOGGING_ENABLED=false to disable it explicitly."
)
#: With one of them a configuration may still be handed over.
_FRAMEWORKS: Final = frozenset({"django", "hublog.flask"})
_HUB_NAME: Final = "eventhub_logging.eventhub_name"
#: In the environment of a run of pytest that has not asked for ``hublog_send``; its children have it, too.
TEST_RUN: Final = "HUBLOG_TEST_RUN"
#: A forked child keeps its parent's state unused: finalizing an inherited client would end its connection.
_inherited: list[object] = []


class Pipeline:
    """Takes records of one configuration and sees them to the hub.

    Args:
        settings: fixed settings; None reads them from the keywords, the framework and the environment.
        keywords: keywords of ``EventHubHandler``, which win over everything else.
        framework: ``django``, ``flask`` or empty.
        make_sender: makes the destination, in the worker's thread.
        now: monotonic seconds, by which it is decided what is due; tests pass their own.
    """

    def __init__(
        self,
        settings: Settings | None = None,
        *,
        keywords: Mapping[str, object] | None = None,
        framework: str = "",
        make_sender: Callable[[EventHubSettings], Sender] = EventHubSender,
        now: Callable[[], float] = monotonic,
    ) -> None:
        self._fixed = settings
        self._keywords = dict(keywords or {})
        self._framework = framework
        self._make_sender = make_sender
        self._now = now
        self._settings: Settings | None = None
        #: What they were read with, which may not be what the framework hands over just now.
        self._read_with: Lookup | None = None
        #: By process id, since a forked child has states of its own.
        self._states: dict[int, _States] = {}
        #: The one that takes records, as ``accept`` found it last.
        self._process: ProcessState | None = None
        self._changing = ThreadLock()
        #: Records that states of this process left on disk, by directory.
        self._left: dict[Path, int] = {}
        #: Whether it was a framework's configuration, and every state of this process knows what is in it.
        self._has_lookup = False
        self._is_hub_stated = settings is not None
        self._is_told = False
        self._errors = AtomicCounter()
        self._exhausted = AtomicCounter()
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
        sampler = process.active_sampler
        if sampler is None or runtime.is_exiting:
            line = process.encode(record)
            if not process.put(line, record.levelno):
                process.put_when_full(line, record)
        else:
            sampler.take(record)
        if process.worker.is_missing or runtime.is_exiting:
            self._see_to(process)

    def _see_to(self, process: ProcessState) -> None:
        """Do for a record what no thread will do: none can be started, or the exit hook has run."""
        if is_own_thread():  # a finalizer that runs in it; it goes on behind that
            return
        end = runtime.exit_end_mono
        if process.worker.is_missing or sys.is_finalizing():
            process.shipper.secure()
            process.look()
        if end is not None:
            if not sys.is_finalizing() and not self.flush(end - monotonic()):
                self.send_inline(process, end - monotonic())
            if process.has_ended or sys.is_finalizing():
                process.end_late()
            else:
                process.end()

    def send_inline(self, process: ProcessState, timeout_s: float) -> None:
        """Send in this thread, where no other can be had; for the exit."""
        if process.worker.is_missing and self.is_configured:
            self._prepare(process, is_asked=True)
            if process.is_started:
                process.send_inline(timeout_s)

    def begin_request(self, scope: RequestScope) -> None:
        """Keep aside what this request logs, if that is asked for."""
        if self.is_enabled is None:
            self.read()
        if self._settings is None or not (self.is_enabled and self._settings.eventhub.tail_sampling):
            return
        sampler = self._this_process().active_sampler
        if sampler is not None and self.is_configured and not runtime.is_exiting:
            sampler.tail.begin(scope)

    def end_request(self, scope: RequestScope, *, seconds: float, has_failed: bool) -> None:
        """Ship what this request has logged, or leave it out."""
        process = self._process
        if process is not None and process.sampler is not None and process.pid == os.getpid():
            process.sampler.tail.end(scope, seconds=seconds, has_failed=has_failed)
            if process.worker.is_missing or runtime.is_exiting:
                self._see_to(process)

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
        """Count a record that could not be taken; report the first one, with its cause."""
        counted = self._exhausted if is_exhausted(error) else self._errors
        counted.add()
        # A report that the stack has no room for would raise out of the log call.
        if counted.read() == 1 and not isinstance(error, RecursionError):
            report(
                logging.ERROR, f"A record could not be taken: {cause_of(error)}. It is counted as dropped."
            )

    def refuse_nested(self, record: logging.LogRecord) -> None:
        """Count a record that was logged inside too many log calls, and is lost."""
        if self.is_enabled:
            self._this_process().drops.refuse(record.levelname, record.name, Drop.NESTED)

    def read(self) -> Settings:
        """Return the settings in force; reads them at the first call."""
        return self._settings or self.read_again()

    def read_again(self) -> Settings:
        """Read the settings anew and have them applied; what waits in the queue stays there."""
        self._read_with = runtime.lookup
        has_lookup = self._read_with is not None
        settings = self._fixed or self._read_configuration()
        if settings == self._settings:
            self._has_lookup = has_lookup
            return settings
        self.level, self.is_configured = settings.eventhub.level, True
        self.is_enabled = settings.eventhub.enabled and not self._is_barred(settings.eventhub)
        # Behind them: a record that comes meanwhile, from wherever, relies on all three.
        self._settings = settings
        for follow in runtime.followers:
            follow(settings)
        self._change(settings)
        self._has_lookup = has_lookup  # behind the change: see ``_prepare``
        return settings

    def _is_barred(self, hub: EventHubSettings) -> bool:
        """Whether this is a run of pytest, whose records are not for a real hub."""
        is_real = self._make_sender is EventHubSender and not is_local(hub.connection_string)
        return is_real and TEST_RUN in os.environ

    def _change(self, settings: Settings) -> None:
        """Have another state take the records that come; the former one sends what is here, and ends."""
        with self._changing:
            states = self._states.get(os.getpid())
            if states is None:
                return
            former = states.current
            made = self._make_process(settings, ids=former.ids)
            self._states[former.pid] = states.followed_by(made, stats_of=self._stats_of)
            self._process = made
        for each in self.processes():
            if not each.is_started:  # its records may go where those of the new one do
                each.worker.call_prepare()
        former.finish()

    def _is_addressed(self, settings: Settings) -> bool:
        """Whether these settings name the event hub for good.

        One that only the default names does not count while a framework's configuration may be handed over.
        """
        hub = settings.eventhub
        is_default = not self._is_hub_stated and hub.eventhub_name == EventHubSettings().eventhub_name
        return hub.is_configured and (not is_default or self._read_with is not None)

    def _read_configuration(self) -> Settings:
        reading = read_settings({"eventhub_logging": self._keywords}, framework=self._read_with)
        self._is_hub_stated = _HUB_NAME in reading.origins
        problems, notices = reading.problems, reading.notices
        if runtime.lookup is not None:
            # The adapter has reported what is wrong, but does not know what this handler was given.
            ours = [override for override in reading.overrides if override.ignored.source == ARGUMENT]
            problems, notices = (), tuple(override.text for override in ours if override.is_switch)
        if not self._is_told and (problems or notices):
            self._is_told = True
            for level, lines in ((logging.ERROR, [" ".join(problems)]), (logging.WARNING, notices)):
                for line in filter(None, lines):
                    report(level, line)
        return reading.settings

    def _prepare(self, process: ProcessState, *, is_asked: bool) -> float:
        """Have the process start to send once its hub is known; runs in its worker's thread, see ``Worker``.

        What was logged before that goes to the hub that the newest settings name.
        """
        has_lookup = self._has_lookup  # before the settings: they are those of the framework then
        settings = process.settings if process.is_addressed else self.read()
        if process.is_started:
            return 0.0
        now = self._now()
        if process.asked_mono is None:
            process.asked_mono = now
        left = process.asked_mono + CONFIGURATION_GRACE_S - now
        may_change = left > 0 and not is_asked and not has_lookup
        if settings.eventhub.is_configured:
            if may_change and not self._is_addressed(settings) and not _FRAMEWORKS.isdisjoint(sys.modules):
                return left
            process.start(settings.eventhub, self._make_sender)
            return 0.0
        if may_change:
            return left
        if self.is_configured and process is self.process:
            # Reported before the records are settled: a caller that waits for them may end the process.
            self.is_configured = False
            report(logging.WARNING, NOT_CONFIGURED)
        if process.sampler is not None:
            process.sampler.release()
        process.shipper.drop_held(Drop.NOT_CONFIGURED)
        return math.inf

    def flush(self, timeout_s: float | None = None) -> bool:
        """Send what was accepted before this call.

        Args:
            timeout_s: how long to wait at most; default is the exit timeout of the settings. At the exit it
                is what is left of the one budget for it, and a wait in vain just before counts towards that.

        Returns:
            Whether all of it is sent, or dropped and counted.
        """
        processes = self.processes()
        if not processes:
            return True
        begun = monotonic()
        if timeout_s is None:
            timeout_s = self.read().eventhub.exit_timeout_seconds
        if runtime.exit_end_mono is not None:
            timeout_s = min(timeout_s, runtime.exit_end_mono - begun)
        requests = [each.worker.request_flush(give_up_early=runtime.is_exiting) for each in processes]
        answers = [request.wait(begun + timeout_s - monotonic()) for request in requests]
        if not all(answers):
            runtime.waited_in_vain(monotonic() - begun)
        return all(answers)

    def stats(self) -> Stats:
        """Return a snapshot of the counters of this process."""
        states = self._states.get(os.getpid())
        if states is None:
            return Stats()
        total = states.finished
        for process in (*states.former, states.current):
            total = self._stats_of(process).after(total)
        return total.with_refused(
            {Drop.RESOURCE_EXHAUSTED: self._exhausted.read(), Drop.INTERNAL_ERROR: self._errors.read()}
        )

    def _stats_of(self, process: ProcessState) -> Stats:
        sampler = process.sampler
        kept = 0 if sampler is None else sampler.tail.kept
        refused = {
            Drop.NOT_CONFIGURED: process.unconfigured.read(),
            **process.left_out(),
        }
        stats = process.shipper.stats().with_refused(refused)
        return replace(
            stats,
            accepted_total=stats.accepted_total + kept,
            buffered=kept,
            type_mismatches_total=process.misfits.read(),
        )

    def retire(self) -> None:
        """Let the thread end when everything is delivered; a later record starts it again."""
        for process in self.processes():
            if process.sampler is not None:
                process.sampler.release()
            process.worker.stop()

    def forget(self) -> None:
        """Leave the parent's state alone: runs in a forked child, so no I/O, no lock, no thread."""
        for states in self._states.values():
            for process in (*states.former, states.current):
                process.abandon_after_fork()
        _inherited.append(self._states)
        self._states = {}
        self._process = None
        self._changing = ThreadLock()
        self._left = {}
        self._errors = AtomicCounter()
        self._exhausted = AtomicCounter()

    def start(self) -> ProcessState:
        """Return the state of this process; makes it, with neither thread nor file."""
        return self._this_process()

    @property
    def process(self) -> ProcessState | None:
        """The state of this process, if a record was accepted in it."""
        states = self._states.get(os.getpid())
        return states.current if states is not None else None

    def processes(self) -> list[ProcessState]:
        """Return the states of this process: those that send what is left, and the one that takes records."""
        states = self._states.get(os.getpid())
        return [*states.former, states.current] if states is not None else []

    def _make_formatter(self, settings: Settings, ids: RecordIds, misfits: Misfits) -> LineFormatter:
        """Return the formatter for these settings."""
        return LineFormatter(
            settings.service,
            framework=self._framework or runtime.framework,
            max_record_bytes=settings.eventhub.max_record_bytes,
            ids=ids,
            misfits=misfits,
            redaction=settings.redaction,
        )

    def _make_process(self, settings: Settings, *, ids: RecordIds | None = None) -> ProcessState:
        process_hooks.follow_multiprocessing()
        process = ProcessState(
            settings,
            make_formatter=self._make_formatter,
            prepare=lambda process, is_asked: self._prepare(process, is_asked=is_asked),
            enter=_enter_thread,
            now=self._now,
            is_addressed=self._is_addressed(settings),
            ids=ids,
            left=self._left,
        )
        process.shipper.dispatcher.ship_report = self._ship
        return process

    def _ship(self, dropped: DropReport) -> None:
        """Send a record of what was dropped; runs in the worker's thread."""
        record = logging.LogRecord(LOGGER_NAME, logging.WARNING, "", 0, dropped.text(), None, None)
        record.__dict__.update(dropped.as_extra())
        self.accept(record)

    def _this_process(self) -> ProcessState:
        pid = os.getpid()
        while True:
            states = self._states.get(pid)
            if states is None:
                # A fork that ran no hook, as uWSGI's; not a signal handler that was here just now.
                if self._states and pid not in self._states:
                    self.forget()
                # setdefault decides races without a lock
                states = self._states.setdefault(pid, _States(self._make_process(self.read())))
            self._process = states.current
            if self._states.get(pid) is states:  # else the settings have changed meanwhile
                return states.current


@dataclass(frozen=True, slots=True)
class _States:
    """What a pipeline has in one process; never changed, only replaced.

    Attributes:
        current: takes the records that come.
        former: send what was accepted under other settings, the oldest first.
        finished: the sums of those that have done so.
    """

    current: ProcessState
    former: tuple[ProcessState, ...] = ()
    finished: Stats = field(default_factory=Stats)

    def followed_by(self, made: ProcessState, *, stats_of: Callable[[ProcessState], Stats]) -> "_States":
        """Return the states once another one takes the records; of those that have finished the sums stay."""
        finished, former = self.finished, []
        for each in self.former:
            if each.is_finished:
                finished = stats_of(each).after(finished)
            else:
                former.append(each)
        # The last one in any case: a log call that is under way may still put its record there.
        return _States(made, (*former, self.current), finished)


def _enter_thread() -> None:
    enter_own_thread()
    leave_signals()
    process_hooks.follow_multiprocessing()
