"""The pipelines of a process: one for each configuration, and what is done with all of them together."""

import contextlib
from collections.abc import Callable, Hashable, Iterator, Mapping
from time import monotonic
from typing import Protocol

from hublog.capture import thread_context
from hublog.delivery.accounting import ProcessStats
from hublog.delivery.sender import Sender
from hublog.process_hooks import process_hooks
from hublog.requests.request_scope import RequestScope, observers
from hublog.runtime import shutdown, uncaught
from hublog.runtime.pipeline import Pipeline
from hublog.runtime.shared import runtime
from hublog.runtime.shutdown import exit_sequence, pipelines
from hublog.senders.event_hub import EventHubSender
from hublog.settings import EventHubSettings, Settings
from hublog.settings.reader import Lookup


class Feeder(Protocol):
    """What feeds a pipeline: a handler.

    Attributes:
        is_closed: whether it was closed.
        pipeline: what it feeds.
    """

    is_closed: bool
    pipeline: Pipeline

    def find_pipeline(self) -> None:
        """Feed the pipeline that its configuration has now."""


def install() -> None:
    """Register the hooks of exit and fork, and follow settings and requests; at the first call in a process.

    The hook of SIGTERM and those of uncaught exceptions are installed when settings are read that ask for it.
    """
    if runtime.is_installed:
        return
    runtime.is_installed = True
    process_hooks.at_exit(exit_sequence.drain)
    process_hooks.in_child(forget_in_child)
    process_hooks.install()
    runtime.followers += (thread_context.follow, uncaught.follow, shutdown.follow)
    observers.append(_RequestObserver())


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
    pipeline: Pipeline | None = runtime.pipelines.get(key)
    if pipeline is None:
        make = runtime.make_pipeline or Pipeline
        made = make(settings, keywords=keywords, framework=framework, make_sender=make_sender)
        pipeline = runtime.pipelines.setdefault(key, made)
    return pipeline


def all_feeders() -> list[Feeder]:
    """Return all that feed a pipeline and are in use."""
    while True:
        with contextlib.suppress(RuntimeError):  # another thread has just made one
            return list(runtime.handlers)


@contextlib.contextmanager
def replaced(make: Callable[..., Pipeline]) -> Iterator[None]:
    """Have other pipelines made, and every handler feed one of these, until the context ends; for tests.

    The pipelines of before keep what waits in them, and leave the network alone meanwhile. A handler that is
    made and closed inside is of no use afterwards.

    Args:
        make: makes them, with the arguments of the class ``Pipeline``; the caller ends what it made.
    """
    former = runtime.pipelines, runtime.make_pipeline, runtime.resting
    processes = [process for pipeline in pipelines() for process in pipeline.processes()]
    there = {feeder: (feeder.is_closed, feeder.pipeline) for feeder in all_feeders()}
    try:
        runtime.resting = [*runtime.resting, *pipelines()]
        runtime.pipelines, runtime.make_pipeline = {}, make
        for feeder in there:
            feeder.find_pipeline()
        for process in processes:
            process.send_thread.pause()
        yield
    finally:
        runtime.pipelines, runtime.make_pipeline, runtime.resting = former
        for feeder in all_feeders():
            if feeder in there:
                feeder.is_closed, feeder.pipeline = there[feeder]
            elif not feeder.is_closed:
                feeder.find_pipeline()
        for process in processes:
            process.resume()


def use_lookup(lookup: Lookup, *, framework: str) -> None:
    """Take over a framework's configuration; pipelines made earlier read their settings again.

    Args:
        lookup: gives the value of a setting by its environment name, None where it is not set.
        framework: ``django`` or ``flask``; fills the column of that name.
    """
    runtime.lookup, runtime.framework = lookup, framework
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


def forget_in_child() -> None:
    """Leave the pipelines of the parent alone; runs in a forked child."""
    for pipeline in [*pipelines(), *runtime.resting]:
        pipeline.forget()


class _RequestObserver:
    """Reports to all pipelines when requests begin and end; see ``observers``."""

    def begin(self, scope: RequestScope) -> None:
        for pipeline in [*pipelines(), *runtime.resting]:
            with contextlib.suppress(Exception):  # the next one must get it
                pipeline.begin_request(scope)

    def end(self, scope: RequestScope, *, status: int, seconds: float, has_failed: bool) -> None:
        del status
        for pipeline in [*pipelines(), *runtime.resting]:
            with contextlib.suppress(Exception):  # as above
                pipeline.end_request(scope, seconds=seconds, has_failed=has_failed)
