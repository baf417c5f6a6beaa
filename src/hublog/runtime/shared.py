"""What hublog has in this process, in one object, and the settings that a pipeline reads with it."""

import logging
import math
import os
import weakref
from collections.abc import Callable, Hashable, Mapping
from pathlib import Path
from time import monotonic
from typing import Any, Final

from hublog.internal_log import report
from hublog.settings import ARGUMENT, EventHubSettings, Settings, read_settings
from hublog.settings.reader import Lookup

#: With less between them two waits are one.
_GAP_S: Final = 1.0


class Runtime:
    """All state of hublog in a process; ``registry.install`` gives it the hooks of exit, fork and SIGTERM.

    Args:
        now: monotonic seconds.

    Attributes:
        is_installed: whether the hooks are registered.
        pipelines: by their configuration; ``registry.get_pipeline`` makes them.
        resting: pipelines that are replaced until a test ends.
        make_pipeline: makes pipelines in place of the class ``Pipeline``; for tests.
        handlers: those that feed a pipeline.
        lookup: gives the framework's values by their environment names; None without an adapter.
        framework: ``django``, ``flask`` or empty.
        followers: called with the settings of a pipeline whenever it reads them, in the thread that reads.
        is_hub_replaced: whether a test stands in for the hub, which is then switched on and connected.
        is_watching: whether handlers that get no records are noticed, see ``handler_watch``.
        removed: those of Event Hub and log file whose handlers a later logging configuration has removed.
        removed_by: the module that applied that configuration.
        logs_uncaught: whether uncaught exceptions are logged.
        level_controls: carry out ``hublog level``, by the root of the spool.
        status_files: publish the state of this process, by the root of the spool.
        is_exiting: whether the exit has begun, here or in the process that this one was forked from.
    """

    def __init__(self, *, now: Callable[[], float] = monotonic) -> None:
        self._now = now
        self.is_installed = False
        # Any: pipelines and handlers are defined above this module.
        self.pipelines: dict[Hashable, Any] = {}
        self.resting: list[Any] = []
        self.make_pipeline: Callable[..., Any] | None = None
        self.handlers: weakref.WeakSet[Any] = weakref.WeakSet()
        self.lookup: Lookup | None = None
        self.framework = ""
        self.followers: list[Callable[[Settings], object]] = []
        self.is_hub_replaced = False
        self.is_watching = False
        self.removed: frozenset[str] = frozenset()
        self.removed_by = ""
        self.logs_uncaught = False
        self.level_controls: dict[Path, Any] = {}
        self.status_files: dict[Path, Any] = {}
        self.is_exiting = False
        #: By process id: a forked child has an exit of its own.
        self._exit_ends: dict[int, float] = {}
        self._vain_waits: dict[int, tuple[float, float]] = {}

    @property
    def exit_end_mono(self) -> float | None:
        """When the time for the exit is over (monotonic seconds); None while the process goes on."""
        return self._exit_ends.get(os.getpid())

    def begin_exit(self, budget_s: float) -> float:
        """Begin the exit, at the first call; returns when the time for it is over.

        Args:
            budget_s: how long all exit hooks together may take.
        """
        self.is_exiting = True
        ended_mono, seconds = self._vain_waits.get(os.getpid(), (-math.inf, 0.0))
        # The caller waited for the hub in vain just now: it is the same exit.
        is_recent = self._now() - ended_mono < budget_s
        left = budget_s - seconds if is_recent else budget_s
        return self._exit_ends.setdefault(os.getpid(), self._now() + max(left, 0.0))

    def waited_in_vain(self, seconds: float) -> None:
        """Take into account that the caller waited for the hub before the exit, and had no success.

        Waits that follow each other, as those of several handlers that are flushed, count together.
        """
        now = self._now()
        ended_mono, before = self._vain_waits.get(os.getpid(), (-math.inf, 0.0))
        if now - seconds - ended_mono < _GAP_S:
            seconds += before
        self._vain_waits[os.getpid()] = now, seconds

    def give_up_exit(self) -> None:
        """Have no exit hook wait any more."""
        self._exit_ends[os.getpid()] = self._now()


runtime: Final = Runtime()


class Configuration:
    """Reads the settings of a pipeline, again and again, and reports once what is wrong with them.

    Args:
        fixed: fixed settings; None reads them from the keywords, the framework and the environment.
        keywords: keywords of ``EventHubHandler``, which win over everything else.
    """

    def __init__(self, fixed: Settings | None, keywords: Mapping[str, object]) -> None:
        self.fixed = fixed
        self._keywords = dict(keywords)
        #: What the settings were read with, which may not be what the framework hands over just now.
        self._lookup: Lookup | None = None
        self._is_hub_stated = fixed is not None
        self._is_reported = False

    def read(self) -> Settings:
        """Read the settings."""
        self._lookup = runtime.lookup
        if self.fixed is not None:
            return self.fixed
        reading = read_settings({"eventhub_logging": self._keywords}, framework=self._lookup)
        self._is_hub_stated = "eventhub_logging.eventhub_name" in reading.origins
        problems, notices = reading.problems, reading.notices
        if runtime.lookup is not None:
            # The adapter has reported what is wrong, but does not know what this handler was given.
            ours = [override for override in reading.overrides if override.ignored.source == ARGUMENT]
            problems, notices = (), tuple(override.text for override in ours if override.is_switch)
        if not self._is_reported and (problems or notices):
            self._is_reported = True
            if problems:
                report(logging.ERROR, " ".join(problems))
            for notice in notices:
                report(logging.WARNING, notice)
        return reading.settings

    def is_addressed(self, settings: Settings) -> bool:
        """Whether settings that were read last name the event hub for good.

        One that only the default names does not count while a framework's configuration may be handed over.
        """
        hub = settings.eventhub
        is_default = not self._is_hub_stated and hub.eventhub_name == EventHubSettings().eventhub_name
        return hub.is_configured and (not is_default or self._lookup is not None)
