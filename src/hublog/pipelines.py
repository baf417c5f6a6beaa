"""The pipelines of a process: one for each configuration, and what is done with all of them together."""

import os
from collections.abc import Callable, Hashable, Mapping
from time import monotonic

from hublog.capture import threads
from hublog.delivery.courier import Sender
from hublog.delivery.stats import Stats
from hublog.delivery.worker import Request
from hublog.exits import exits
from hublog.pipeline import Pipeline
from hublog.process import Process
from hublog.senders.event_hub import EventHubSender
from hublog.settings import EventHubSettings, Settings
from hublog.surroundings import Lookup, followers, surroundings

_pipelines: dict[Hashable, Pipeline] = {}


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
    surroundings.lookup = lookup
    surroundings.framework = framework
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


def stats() -> list[Stats]:
    """Return a snapshot of the books of each pipeline that has accepted records in this process."""
    return [pipeline.stats() for pipeline in pipelines() if pipeline.process is not None]


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
        exits.give_up()  # whoever comes later does not wait either
        for _, process in running:
            process.end()


def _running() -> list[tuple[Pipeline, Process]]:
    return [(pipeline, process) for pipeline in pipelines() if (process := pipeline.process) is not None]


def _request_all(running: list[tuple[Pipeline, Process]]) -> list[Request]:
    """Put everything safe, then ask for it to be sent."""
    for _, process in running:
        process.secure()
    return [process.worker.request_flush(give_up_early=True) for _, process in running]


def _deliver_at_exit(running: list[tuple[Pipeline, Process]], end: float) -> None:
    for (pipeline, process), request in zip(running, _request_all(running), strict=True):
        if not request.wait(end - monotonic()):
            pipeline.send_inline(process, end - monotonic())


def _after_fork_in_child() -> None:
    for pipeline in pipelines():
        pipeline.forget()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork_in_child)
exits.install(drain_at_exit)
followers.append(threads.follow)
