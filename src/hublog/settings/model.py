"""The settings as frozen values; their names and meanings are in ``table``."""

import logging
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Final

KIB: Final = 1 << 10
MIB: Final = 1 << 20


class Packing(StrEnum):
    """How records become events."""

    SINGLE = "single"
    LINES = "lines"
    GZIP = "gzip"


class Transport(StrEnum):
    """How AMQP reaches the namespace: directly on port 5671, or over WebSockets on port 443."""

    AMQP = "amqp"
    WEBSOCKET = "websocket"


class SpoolMode(StrEnum):
    """When records go to disk."""

    MEMORY = "memory"
    OVERFLOW = "overflow"
    ALWAYS = "always"


class SyncPolicy(StrEnum):
    """When lines on disk are flushed to the device: never, every half second, or before a write returns."""

    NONE = "none"
    INTERVAL = "interval"
    BATCH = "batch"


class Mask(StrEnum):
    """What replaces a secret: a fixed mark, or a keyed hash, so that equal secrets can be matched."""

    MASK = "mask"
    HASH = "hash"


class PersonalData(StrEnum):
    """What happens to client address, user, session and query."""

    KEEP = "keep"
    HASH = "hash"
    DROP = "drop"


@dataclass(frozen=True, slots=True, kw_only=True)
class FileSettings:
    """The log file.

    Attributes:
        max_bytes: size at which the file is archived; 0 means never.
        backup_count: archives kept; older ones are deleted.
    """

    enabled: bool = True
    level: int = logging.DEBUG
    max_bytes: int = 10 * MIB
    backup_count: int = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class EventHubSettings:
    """The Event Hub and the connection to it.

    Attributes:
        connection_string: a secret, not in the repr; it wins over the namespace if both are set.
        fully_qualified_namespace: host name, for connections without a key.
        proxy: address of an HTTP proxy with its password, not in the repr; empty means that of the
            environment, if any.
        endpoint: host, or host and port, to connect to in place of the namespace's own.
        ca_file: certificates that are trusted in addition to the usual ones.
        spool_dir: None means ``spool`` in the log directory, see ``Settings.spool_dir``.
    """

    enabled: bool = True
    level: int = logging.INFO
    connection_string: str = field(default="", repr=False)
    fully_qualified_namespace: str = ""
    eventhub_name: str = "application-logs"
    transport: Transport = Transport.AMQP
    proxy: str = field(default="", repr=False)
    endpoint: str = ""
    ca_file: Path | None = None
    batch_size: int = 100
    batch_timeout_seconds: float = 1.0
    urgent_level: int = logging.ERROR
    max_queue_size: int = 10_000
    max_queue_bytes: int = 32 * MIB
    circuit_breaker_threshold: int = 5
    circuit_breaker_cooldown_seconds: float = 30.0
    packing: Packing = Packing.LINES
    gzip_level: int = 3
    route_database: str = ""
    route_table: str = ""
    route_format: str = ""
    route_mapping: str = ""
    max_record_bytes: int = 64 * KIB
    spool: SpoolMode = SpoolMode.OVERFLOW
    spool_dir: Path | None = None
    spool_max_bytes: int = 256 * MIB
    spool_sync: SyncPolicy = SyncPolicy.INTERVAL
    send_timeout_seconds: float = 30.0
    exit_timeout_seconds: float = 5.0
    flush_on_sigterm: bool = False
    tail_sampling: bool = False
    tail_max_records: int = 1_000
    dedup_seconds: float = 0.0
    rate_limit: int = 0
    rate_burst: int = 100

    @property
    def routing(self) -> dict[str, str]:
        """Application properties that route an event of a data connection to another table.

        Source: "Events routing" in Azure Data Explorer's documentation of Event Hubs data connections.
        """
        named = {
            "Database": self.route_database,
            "Table": self.route_table,
            "Format": self.route_format,
            "IngestionMappingReference": self.route_mapping,
        }
        return {name: value for name, value in named.items() if value}

    @property
    def is_configured(self) -> bool:
        """Whether there is a connection string or a namespace."""
        return bool(self.connection_string or self.fully_qualified_namespace)


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceSettings:
    """The service that logs; empty means unknown."""

    name: str = ""
    namespace: str = ""
    version: str = ""
    instance_id: str = ""
    environment: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestSettings:
    """What the adapters record of a request.

    Attributes:
        trusted_proxy_count: number of own reverse proxies; each adds one address to X-Forwarded-For.
        excluded_paths: paths without a request record, ``*`` matches anything; a failed request has one.
        slow_seconds: a request that takes longer is a warning; 0 means none is.
        easy_auth: whether the caller's name comes from the headers of App Service's sign-in.
    """

    id_header: str = "X-Request-ID"
    trust_request_id: bool = True
    trusted_proxy_count: int = 0
    access_records: bool = True
    excluded_paths: tuple[str, ...] = ()
    slow_seconds: float = 0.0
    query: bool = False
    session: bool = False
    easy_auth: bool = False
    count_db_queries: bool = True
    context_in_threads: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class RedactionSettings:
    """What is masked in every destination.

    Attributes:
        hash_key: a secret, not in the repr; needed by the mode ``hash``.
        keys: names whose values are secret, in addition to the built-in ones.
        patterns: regular expressions whose matches are secret, in addition to the built-in ones.
    """

    enabled: bool = True
    mode: Mask = Mask.MASK
    hash_key: str = field(default="", repr=False)
    keys: tuple[str, ...] = ()
    patterns: tuple[str, ...] = ()
    personal_data: PersonalData = PersonalData.KEEP


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """All settings.

    Attributes:
        level: level of the console.
        log_dir: directory of the log file; created if missing.
        uncaught_exceptions: whether an exception that ends the process or a thread is logged.
    """

    level: int = logging.INFO
    log_to_stdout: bool = True
    log_dir: Path = Path("logs")
    uncaught_exceptions: bool = True
    file: FileSettings = FileSettings()
    eventhub: EventHubSettings = EventHubSettings()
    service: ServiceSettings = ServiceSettings()
    request: RequestSettings = RequestSettings()
    redaction: RedactionSettings = RedactionSettings()

    @property
    def spool_dir(self) -> Path:
        """Directory of the spool: by default ``spool`` in the log directory."""
        return self.eventhub.spool_dir or self.log_dir / "spool"
