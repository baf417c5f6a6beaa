"""The pipelines of a process: one for each configuration, and what is done with all of them together."""

import contextlib
import weakref
from collections.abc import Callable, Hashable, Iterator, Mapping
from dataclasses import dataclass, field
from time import monotonic
from typing import Final, Protocol

from hublog.delivery.accounting import ProcessStats
from hublog.delivery.sender import Sender
from hublog.delivery.worker import Request
from hublog.runtime.exit_hooks import exits
from hublog.runtime.framework import Lookup, adapter
from hublog.runtime.pipeline import Pipeline
from hublog.runtime.process_state import ProcessState
from hublog.senders.event_hub import EventHubSender
from hublog.settings import EventHubSettings, Settings

_pipelines: dict[Hashable, Pipeline] = {}


class Maker(Protocol):
    """Makes a pipeline, as the class ``Pipeline`` does."""

    def __call__(
        self,
        settings: Settings | None,
        *,
        keywords: Mapping[str, object] | None,
        framework: str,
        make_sender: Callable[[EventHubSettings], Sender],
    ) -> Pipeline:
        """Return a new pipeline."""


class Feeder(Protocol):
    """What feeds a pipeline: a handler.

    Attributes:
        is_closed: whether it was closed.
    """

    is_closed: bool

    @property
    def pipeline(self) -> Pipeline:
        """What it feeds."""

    def find_pipeline(self) -> None:
        """Feed the pipeline that its configuration has now."""

    def feed(self, pipeline: Pipeline) -> None:
        """Feed a pipeline that it has fed before."""


@dataclass(slots=True)
class _Regime:
    """What is made for a configuration, and what rests meanwhile."""

    make: Maker = Pipeline
    resting: list[Pipeline] = field(default_factory=list)


_regime: Final = _Regime()
_feeders: Final["weakref.WeakSet[Feeder]"] = weakref.WeakSet()


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
        made = _regime.make(settings, keywords=keywords, framework=framework, make_sender=make_sender)
        found = _pipelines.setdefault(key, made)
    return found


def pipelines() -> list[Pipeline]:
    """Return all pipelines of this process."""
    return list(_pipelines.values())


def add_feeder(feeder: Feeder) -> None:
    """Have it fed another pipeline, when there is one for its configuration."""
    _feeders.add(feeder)


def all_feeders() -> list[Feeder]:
    """Return all that feed a pipeline and are in use."""
    while True:
        with contextlib.suppress(RuntimeError):  # another thread has just made one
            return list(_feeders)


@contextlib.contextmanager
def replaced(make: Maker) -> Iterator[None]:
    """Have other pipelines made, and every handler feed one of these, until the context ends; for tests.

    The pipelines of before keep what waits in them, and leave the network alone meanwhile. A handler that is
    made and closed inside is of no use afterwards.

    Args:
        make: makes them; the caller ends what it made.
    """
    former = dict(_pipelines), _regime.make, list(_regime.resting)
    running = _running()
    there = {feeder: (feeder.is_closed, feeder.pipeline) for feeder in all_feeders()}
    try:
        _regime.make = make
        _regime.resting += _pipelines.values()
        _pipelines.clear()
        for feeder in there:
            feeder.find_pipeline()
        for _, process in running:
            process.pause()
        yield
    finally:
        _pipelines.clear()
        _pipelines.update(former[0])
        _regime.make, _regime.resting = former[1:]
        for feeder in all_feeders():
            if feeder in there:
                feeder.is_closed, pipeline = there[feeder]
                feeder.feed(pipeline)
            elif not feeder.is_closed:
                feeder.find_pipeline()
        for _, process in running:
            process.resume()


def use_lookup(lookup: Lookup, *, framework: str) -> None:
    """Take over a framework's configuration; pipelines made earlier read their settings again.

    Args:
        lookup: gives the value of a setting by its environment name, None where it is not set.
        framework: ``django`` or ``flask``; fills the column of that name.
    """
    adapter.lookup = lookup
    adapter.framework = framework
    for pipeline in pipelines():
        pipeline.read_again()


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


def stats() -> ProcessStats:
    """Return a snapshot of what this process has accepted, sent, dropped and still holds."""
    return ProcessStats.of([pipeline.stats() for pipeline in pipelines() if pipeline.process is not None])


def exit_budget_s() -> float | None:
    """Return the exit budget in seconds; None when nothing has been logged in this process."""
    budgets = [pipeline.read().eventhub.exit_timeout_seconds for pipeline, _ in _running()]
    return max(budgets, default=None)


def has_disk() -> bool:
    """Whether all pipelines of this process have one."""
    return all(process.stores.spooler is not None for _, process in _running())


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


def deliver() -> None:
    """Deliver within the exit budget what waits, and count what is lost; the process may go on.

    Records that come later are delivered as ever. If the hub does not answer, the exit hook waits the less.
    """
    begun = monotonic()
    end = begun + (exit_budget_s() or 0.0)
    running = _running()
    requests = _request_all(running)
    answers = [request.wait(end - monotonic()) for request in requests]
    if not all(answers):
        exits.waited_in_vain(monotonic() - begun)
    for _, process in running:
        if process.stores.memory_lines:
            process.end()


def drain_at_exit() -> None:
    """Deliver what waits, within one budget for all exit hooks of this process; count what is lost.

    What has a disk is on it before anything is sent. A signal that raises ends the wait at once.
    """
    running = _running()
    if not running:
        return
    end = exits.begin(exit_budget_s() or 0.0)
    try:
        try:
            _deliver_at_exit(running, end)
        finally:
            for _, process in running:
                process.end()
    except (KeyboardInterrupt, SystemExit):
        exits.give_up()  # later callers do not wait either
        for _, process in running:
            process.end()


def _running() -> list[tuple[Pipeline, ProcessState]]:
    return [(pipeline, process) for pipeline in pipelines() for process in pipeline.processes()]


def _request_all(running: list[tuple[Pipeline, ProcessState]]) -> list[Request]:
    """Put everything safe, then ask for it to be sent."""
    for _, process in running:
        process.secure()
    return [process.worker.request_flush(give_up_early=True) for _, process in running]


def _deliver_at_exit(running: list[tuple[Pipeline, ProcessState]], end: float) -> None:
    for (pipeline, process), request in zip(running, _request_all(running), strict=True):
        if not request.wait(end - monotonic()):
            pipeline.send_inline(process, end - monotonic())


def forget_in_child() -> None:
    """Leave the pipelines of the parent alone; runs in a forked child."""
    for pipeline in [*pipelines(), *_regime.resting]:
        pipeline.forget()
