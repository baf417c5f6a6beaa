"""hublog streams the logs of Flask and Django applications to Azure Event Hubs, shaped for ADX."""

from hublog._version import __version__
from hublog.capture.console import ConsoleFormatter, ConsoleHandler
from hublog.capture.context import bind, bound, unbind
from hublog.capture.json_formatter import JsonFormatter
from hublog.capture.threads import carry, detached
from hublog.configure import (
    EventHubLoggingConfig,
    FileLoggingConfig,
    LoggingConfig,
    prepare_eventhub_logging_config,
    setup_logging,
    setup_multi_worker_logging,
)
from hublog.delivery.stats import Circuit, Drop, State, Stats
from hublog.errors import HublogError, SettingsError
from hublog.handler import EventHubHandler
from hublog.pipelines import flush, stats

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
    "SettingsError",
    "State",
    "Stats",
    "__version__",
    "bind",
    "bound",
    "carry",
    "detached",
    "flush",
    "prepare_eventhub_logging_config",
    "setup_logging",
    "setup_multi_worker_logging",
    "stats",
    "unbind",
]
