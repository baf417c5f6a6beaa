"""hublog streams the logs of Flask and Django applications to Azure Event Hubs, shaped for ADX.

The names are loaded when they are used: pytest loads this package in every run, for its plugin.
"""

from typing import TYPE_CHECKING, Final

from hublog._version import __version__
from hublog.process_hooks import loader

if TYPE_CHECKING:
    from hublog.capture.context import bind, bound, unbind
    from hublog.capture.stdlib_formatters import ConsoleFormatter, ConsoleHandler, JsonFormatter
    from hublog.capture.thread_context import detached_context, preserve_context
    from hublog.configure import (
        EventHubLoggingConfig,
        FileLoggingConfig,
        LoggingConfig,
        prepare_eventhub_logging_config,
        setup_logging,
        setup_multi_worker_logging,
    )
    from hublog.delivery.accounting import Circuit, Drop, ProcessStats, State, Stats
    from hublog.errors import HublogError, SettingsError
    from hublog.handler import EventHubHandler
    from hublog.runtime.registry import flush, stats

__all__ = [
    "Circuit",
    "ConsoleFormatter",
    "ConsoleHandler",
    "Drop",
    "EventHubHandler",
    "EventHubLoggingConfig",
    "FileLoggingConfig",
    "HublogError",
    "JsonFormatter",
    "LoggingConfig",
    "ProcessStats",
    "SettingsError",
    "State",
    "Stats",
    "__version__",
    "bind",
    "bound",
    "detached_context",
    "flush",
    "prepare_eventhub_logging_config",
    "preserve_context",
    "setup_logging",
    "setup_multi_worker_logging",
    "stats",
    "unbind",
]

_MODULES: Final = {
    "hublog.capture.context": ("bind", "bound", "unbind"),
    "hublog.capture.stdlib_formatters": ("ConsoleFormatter", "ConsoleHandler", "JsonFormatter"),
    "hublog.capture.thread_context": ("detached_context", "preserve_context"),
    "hublog.configure": (
        "EventHubLoggingConfig",
        "FileLoggingConfig",
        "LoggingConfig",
        "prepare_eventhub_logging_config",
        "setup_logging",
        "setup_multi_worker_logging",
    ),
    "hublog.delivery.accounting": ("Circuit", "Drop", "ProcessStats", "State", "Stats"),
    "hublog.errors": ("HublogError", "SettingsError"),
    "hublog.handler": ("EventHubHandler",),
    "hublog.runtime.registry": ("flush", "stats"),
}

if not TYPE_CHECKING:  # else every name would be there for the type checker
    __getattr__ = loader(__name__, _MODULES)

    def __dir__() -> list[str]:
        return sorted({*globals(), *__all__})
