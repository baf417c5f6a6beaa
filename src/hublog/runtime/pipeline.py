"""Takes the records of one configuration: settings in, then record, line, queue; in each process anew.

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
from pathlib import Path
from time import monotonic
from typing import Final

from hublog.capture.reentry_guard import is_own_thread
from hublog.delivery.accounting import Drop, DropReport, Stats
from hublog.delivery.sender import Sender
from hublog.internal_log import LOGGER_NAME, AtomicCounter, cause_of, is_exhausted, report
from hublog.locks import ThreadLock
from hublog.operations.snapshot import PipelineSnapshot
from hublog.process_hooks import process_hooks
from hublog.requests.request_scope import RequestScope
from hublog.runtime.process_state import ProcessState, ProcessStates
from hublog.runtime.shared import Configuration, runtime
from hublog.senders.event_hub import EventHubSender
from hublog.settings import EventHubSettings, Settings
from hublog.settings.connection import is_local

NOT_CONFIGURED: Final = (
    "No connection to an Event Hub is configured, so records go to console and file only. Set"
    " EVENTHUB_NAMESPACE_CONNECTION_STRING (or EVENTHUB_FULLY_QUALIFIED_NAMESPACE), or"
    " EVENTHUB_LOGGING_ENABLED=false to disable it explicitly."
)
#: With one of them a configuration may still be handed over.
_FRAMEWORKS: Final = frozenset({"django", "hublog.flask"})
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

    Attributes:
        is_shared: whether more than one handler may feed it, so that a record must be known again.
        is_enabled: False when the destination is switched off: nothing is formatted or counted. None: not
            read yet.
        is_configured: False once it is known that there is no connection string.
        level: the level that applies to handlers which have none of their own.
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
        self.configuration = Configuration(settings, keywords or {})
        self._framework = framework
        self._make_sender = make_sender
        self._now = now
        self._settings: Settings | None = None
        #: Whether it was a framework's configuration, and every state of this process knows what is in it.
        self._has_lookup = False
        self._handlers: weakref.WeakSet[logging.Handler] = weakref.WeakSet()
        self.is_shared = False
        self.is_enabled: bool | None = None
        self.is_configured = True
        self.level = logging.NOTSET
        self._begin()

    def _begin(self) -> None:
        """Set what each process has of its own."""
        #: By process id, since a fork may run no hook.
        self._states: dict[int, ProcessStates] = {}
        #: The one that took the last record.
        self._process: ProcessState | None = None
        self._changing = ThreadLock()
        #: Records that states of this process left on disk, by directory.
        self._left: dict[Path, int] = {}
        self._errors = AtomicCounter()
        self._exhausted = AtomicCounter()

    def read(self) -> Settings:
        """Return the settings in force; reads them at the first call."""
        return self._settings or self.read_again()

    def read_again(self) -> Settings:
        """Read the settings anew and have them applied; what waits in the queue stays there."""
        has_lookup = runtime.lookup is not None
        settings = self.configuration.read()
        if settings != self._settings:
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

    def accept(self, record: logging.LogRecord) -> None:
        """Encode a record and put it into the queue; never waits, never raises; any thread."""
        process = self._process
        # The record carries the process id already, which spares a system call.
        if process is None or record.process != process.pid:
            process = self.start()
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
            self._work_inline(process)

    def failed(self, error: Exception) -> None:
        """Count a record that could not be taken; report the first one, with its cause."""
        counter = self._exhausted if is_exhausted(error) else self._errors
        counter.add()
        # A report that the stack has no room for would raise out of the log call.
        if counter.read() == 1 and not isinstance(error, RecursionError):
            report(
                logging.ERROR, f"A record could not be taken: {cause_of(error)}. It is counted as dropped."
            )

    def refuse_nested(self, record: logging.LogRecord) -> None:
        """Count a record that was logged inside too many log calls, and is lost."""
        if self.is_enabled:
            self.start().accounting.refuse(record.levelname, record.name, Drop.NESTED)

    def begin_request(self, scope: RequestScope) -> None:
        """Buffer what this request logs until it ends, if that is asked for."""
        settings = self.read()
        if self.is_enabled and settings.eventhub.tail_sampling:
            sampler = self.start().active_sampler
            if sampler is not None and self.is_configured and not runtime.is_exiting:
                sampler.tail.begin(scope)

    def end_request(self, scope: RequestScope, *, seconds: float, has_failed: bool) -> None:
        """Ship what this request has logged, or leave it out."""
        process = self._process
        if process is not None and process.sampler is not None and process.pid == os.getpid():
            process.sampler.tail.end(scope, seconds=seconds, has_failed=has_failed)
            if process.worker.is_missing or runtime.is_exiting:
                self._work_inline(process)

    def _work_inline(self, process: ProcessState) -> None:
        """Do for a record what no thread will do: none can be started, or the exit hook has run."""
        if is_own_thread():  # a finalizer that runs in it; it goes on behind that
            return
        end = runtime.exit_end_mono
        if process.worker.is_missing or sys.is_finalizing():
            process.shipper.secure()
            process.look()
        if end is not None:
            if not sys.is_finalizing() and not self.flush(end - monotonic()):
                process.send_inline(end - monotonic())
            if process.has_ended or sys.is_finalizing():
                process.end_late()
            else:
                process.end()

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
        return Stats() if states is None else states.stats().with_refused(self._refused())

    def part(self) -> PipelineSnapshot | None:
        """Return what the states of this process have last said of themselves; waits for none of them."""
        states = self._states.get(os.getpid())
        return None if states is None else states.part(self._refused())

    def _refused(self) -> dict[Drop, int]:
        return {Drop.RESOURCE_EXHAUSTED: self._exhausted.read(), Drop.INTERNAL_ERROR: self._errors.read()}

    def retire(self) -> None:
        """Let the thread end when everything is delivered; a later record starts it again."""
        for process in self.processes():
            process.release()
            process.worker.stop()

    def forget(self) -> None:
        """Leave the parent's state alone: runs in a forked child, so no I/O, no lock, no thread."""
        for states in self._states.values():
            for process in states.all:
                process.abandon_after_fork()
        _inherited.append(self._states)
        self._begin()

    @property
    def process(self) -> ProcessState | None:
        """The state of this process, if a record was accepted in it."""
        states = self._states.get(os.getpid())
        return states.current if states is not None else None

    def processes(self) -> tuple[ProcessState, ...]:
        """Return the states of this process: those that send what is left, and the one that takes records."""
        states = self._states.get(os.getpid())
        return states.all if states is not None else ()

    def start(self) -> ProcessState:
        """Return the state of this process that takes records; makes it, with neither thread nor file."""
        pid = os.getpid()
        while True:
            states = self._states.get(pid)
            if states is None:
                # A fork that ran no hook, as uWSGI's; not a signal handler that was here just now.
                if self._states and pid not in self._states:
                    self.forget()
                # setdefault decides races without a lock
                states = self._states.setdefault(pid, ProcessStates(self._make_process(self.read())))
            self._process = states.current
            if self._states.get(pid) is states:  # else the settings have changed meanwhile
                return states.current

    def _make_process(self, settings: Settings, *, former: ProcessState | None = None) -> ProcessState:
        process_hooks.follow_multiprocessing()
        return ProcessState(
            settings,
            framework=self._framework or runtime.framework,
            prepare=self._prepare,
            ship_report=self._ship_report,
            now=self._now,
            is_addressed=self.configuration.is_addressed(settings),
            former=former,
            left=self._left,
        )

    def _ship_report(self, dropped: DropReport) -> None:
        """Send a record of what was dropped; runs in the worker's thread."""
        record = logging.LogRecord(LOGGER_NAME, logging.WARNING, "", 0, dropped.text(), None, None)
        record.__dict__.update(dropped.as_extra())
        self.accept(record)

    def _change(self, settings: Settings) -> None:
        """Have another state take the records that come; the former one sends what is here, and ends."""
        with self._changing:
            states = self._states.get(os.getpid())
            if states is None:
                return
            former = states.current
            made = self._make_process(settings, former=former)
            self._states[former.pid] = states.followed_by(made)
            self._process = made
        for each in self.processes():
            if not each.is_started:  # its records may go where those of the new one do
                each.worker.call_prepare()
        former.finish()

    def _prepare(self, process: ProcessState, is_asked: bool) -> float:  # noqa: FBT001  # as ``Worker`` calls it
        """Have the process start to send once its hub is known; runs in its worker's thread, see ``Worker``.

        What was logged before that goes to the hub that the newest settings name.
        """
        has_lookup = self._has_lookup  # before the settings: they are those of the framework then
        settings = process.settings if process.is_addressed else self.read()
        if process.is_started:
            return 0.0
        left = process.grace_left_s()
        may_change = left > 0 and not is_asked and not has_lookup
        if settings.eventhub.is_configured:
            is_addressed = self.configuration.is_addressed(settings)
            if may_change and not is_addressed and not _FRAMEWORKS.isdisjoint(sys.modules):
                return left
            process.start(settings.eventhub, self._make_sender)
            return 0.0
        if may_change:
            return left
        if self.is_configured and process is self.process:
            # Reported before the records are settled: a caller that waits for them may end the process.
            self.is_configured = False
            report(logging.WARNING, NOT_CONFIGURED)
        process.release()
        process.shipper.drop_held(Drop.NOT_CONFIGURED)
        return math.inf
