"""Console, log file and Event Hub on the root logger, by a call or by ``dictConfig``."""

from hublog.configure.handlers import configure, logging_config
from hublog.configure.setup import (
    EventHubLoggingConfig,
    FileLoggingConfig,
    LoggingConfig,
    RequestConfig,
    ServiceConfig,
    prepare_eventhub_logging_config,
    setup_logging,
    setup_multi_worker_logging,
)

__all__ = [
    "EventHubLoggingConfig",
    "FileLoggingConfig",
    "LoggingConfig",
    "RequestConfig",
    "ServiceConfig",
    "configure",
    "logging_config",
    "prepare_eventhub_logging_config",
    "setup_logging",
    "setup_multi_worker_logging",
]
