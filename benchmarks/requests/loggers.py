"""The ways to log that are compared: the standard library's, hublog's destinations, and the peers."""

import logging
import os
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import Any, Final

from benchmarks.wire import CONNECTION, Wire

#: Console, file, Event Hub.
DESTINATIONS: Final = {
    "off": (False, False, False),
    "hub": (False, False, True),
    "file": (False, True, False),
    "console": (True, False, False),
    "file_console": (True, True, False),
    "hub_file": (False, True, True),
    "all": (True, True, True),
}
#: Their packages are not among those of the development.
PEERS: Final = ("opentelemetry", "sentry")


class Logs:
    """No log call at all; the others do more.

    Attributes:
        has_request_record: whether the application has to log the end of each request itself.
    """

    has_request_record = False

    def log(self, order_id: int) -> None:
        """Make the log call of the application."""

    def begin(self, headers: Mapping[str, str], method: str, path: str, address: str) -> None:
        """Bind the fields of a request; ``headers`` by their WSGI names."""

    def end(self, status: int, path: str) -> None:
        """Log the record of a request."""

    def flush(self) -> None:
        """Wait until all is delivered."""


class StandardLogs(Logs):
    """``logging`` with a ``NullHandler``: what the others are compared with."""

    def __init__(self) -> None:
        self._logger = logging.getLogger("shop.orders")
        self.install()

    def install(self) -> None:
        """Configure the root logger."""
        logging.root.addHandler(logging.NullHandler())
        logging.root.setLevel(logging.INFO)

    def log(self, order_id: int) -> None:
        """Make the log call of the application."""
        self._logger.info(
            "order %s shipped in %d ms", order_id, order_id % 90, extra={"order_id": order_id, "items": 3}
        )


class HublogLogs(StandardLogs):
    """hublog with some of its destinations; the adapter of the framework reads the environment.

    Args:
        variant: of ``DESTINATIONS``.
        folder: of the log file and the spool.
    """

    def __init__(self, variant: str, folder: Path) -> None:
        self._destinations = DESTINATIONS[variant]
        self._folder = folder
        super().__init__()

    def install(self) -> None:
        """Set the environment, and replace the socket of the hub."""
        console, file, hub = map(str, self._destinations)
        os.environ |= {
            "LOG_TO_STDOUT": console,
            "FILE_LOGGING_ENABLED": file,
            "EVENTHUB_LOGGING_ENABLED": hub,
            "LOG_DIR": str(self._folder),
            "LOG_LEVEL": "INFO",
            "LOG_SERVICE_NAME": "shop",
            "EVENTHUB_LOG_HEARTBEAT_SECONDS": "0",
            "EVENTHUB_NAME": "app-logs",
            "EVENTHUB_NAMESPACE_CONNECTION_STRING": CONNECTION,
        }
        if self._destinations[2]:
            self.wire = Wire()
            self.wire.install()

    def flush(self) -> None:
        """Wait until all is delivered."""
        import hublog

        if self._destinations[2]:
            assert hublog.flush(30)


class StructlogLogs(Logs):
    """structlog and orjson, synchronous, to the null device, with a middleware that binds six fields."""

    has_request_record = True

    def __init__(self) -> None:
        import orjson
        import structlog

        self._context = structlog.contextvars
        structlog.configure(
            processors=[
                structlog.contextvars.merge_contextvars,
                structlog.processors.add_log_level,
                structlog.processors.TimeStamper(fmt="iso", utc=True),
                structlog.processors.JSONRenderer(serializer=orjson.dumps),
            ],
            wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
            logger_factory=structlog.BytesLoggerFactory(Path(os.devnull).open("wb")),  # noqa: SIM115  # as long as this
            cache_logger_on_first_use=True,
        )
        self._logger = structlog.get_logger()

    def log(self, order_id: int) -> None:
        """Make the log call of the application."""
        self._logger.info("order shipped", order_id=order_id, ms=order_id % 90, items=3)

    def begin(self, headers: Mapping[str, str], method: str, path: str, address: str) -> None:
        """Bind the fields of a request."""
        self._context.clear_contextvars()
        self._context.bind_contextvars(
            request_id=headers.get("HTTP_X_REQUEST_ID") or os.urandom(16).hex(),
            trace_id=headers.get("HTTP_TRACEPARENT", "")[3:35] or os.urandom(16).hex(),
            method=method,
            path=path,
            client_ip=address,
            user_agent=headers.get("HTTP_USER_AGENT"),
        )

    def end(self, status: int, path: str) -> None:
        """Log the record of a request."""
        self._logger.info("request", status=status, path=path)


class OpenTelemetryLogs(StandardLogs):
    """OpenTelemetry's Flask instrumentation and logging handler: spans and logs encoded, not sent."""

    def install(self) -> None:
        """Configure the root logger, and the tracer."""
        from opentelemetry import trace
        from opentelemetry._logs import set_logger_provider
        from opentelemetry.sdk._logs import LoggerProvider, LoggingHandler
        from opentelemetry.sdk._logs.export import BatchLogRecordProcessor
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor

        class Exporter:
            """Encodes what it is given."""

            def __init__(self, encode: Any) -> None:
                self._encode = encode

            def export(self, batch: Any) -> int:
                self._encode(batch).SerializeToString()
                return 0

            def shutdown(self) -> None:
                """Nothing is open."""

            def force_flush(self, timeout_millis: int = 0) -> bool:
                return timeout_millis >= 0

        encoders = "opentelemetry.exporter.otlp.proto.common"
        spans: Any = Exporter(import_module(f"{encoders}.trace_encoder").encode_spans)
        records: Any = Exporter(import_module(f"{encoders}._log_encoder").encode_logs)
        tracers, logs = TracerProvider(), LoggerProvider()
        tracers.add_span_processor(BatchSpanProcessor(spans))
        logs.add_log_record_processor(BatchLogRecordProcessor(records))
        trace.set_tracer_provider(tracers)
        set_logger_provider(logs)
        self._providers = tracers, logs
        logging.root.addHandler(LoggingHandler(logger_provider=logs))
        logging.root.setLevel(logging.INFO)

    def flush(self) -> None:
        """Wait until all is encoded."""
        for provider in self._providers:
            provider.force_flush()


class SentryLogs(StandardLogs):
    """sentry-sdk with its Flask integration and logs on; envelopes are serialised, not sent."""

    has_request_record = True

    def end(self, status: int, path: str) -> None:
        """Log the record of a request."""
        self._logger.info("GET %s", path, extra={"status": status})

    def install(self) -> None:
        """Configure the SDK, which patches ``logging``."""
        import sentry_sdk
        from sentry_sdk.envelope import Envelope
        from sentry_sdk.transport import Transport

        class Null(Transport):
            """Serialises."""

            def capture_envelope(self, envelope: Envelope) -> None:
                envelope.serialize()

        self._flush = sentry_sdk.flush
        sentry_sdk.init(dsn="https://key@sentry.example/1", transport=Null, enable_logs=True)
        logging.root.addHandler(logging.NullHandler())
        logging.root.setLevel(logging.INFO)

    def flush(self) -> None:
        """Wait until all is serialised."""
        self._flush(10)


def make_logs(variant: str, folder: Path) -> Logs:
    """Return the way to log of that name; before the framework is imported."""
    if variant in DESTINATIONS:
        return HublogLogs(variant, folder)
    made: dict[str, type[Logs]] = {
        "none": Logs,
        "null": StandardLogs,
        "structlog": StructlogLogs,
        "opentelemetry": OpenTelemetryLogs,
        "sentry": SentryLogs,
    }
    return made[variant]()
