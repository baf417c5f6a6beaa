"""The settings as frozen values; each field has its names, what is allowed and what it means.

The reader, the documentation and the commands work from ``SETTINGS``, the table of all of them.
"""

import logging
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Final, TypeVar

from hublog.settings.connection import CONNECTION_STRING, ENDPOINT, PROXY
from hublog.settings.values import (
    BOOLEAN,
    ENTITY_NAME,
    FILE,
    HEADER_NAME,
    HOST_NAME,
    HUB_NAME,
    INGESTION_FORMAT,
    INTERVAL_OR_NONE,
    KIB,
    LEVEL,
    MIB,
    PATH,
    PERSONAL_DATA,
    SECONDS,
    SECONDS_OR_NONE,
    SECRET,
    TEXT,
    TOKEN,
    WORDS,
    Mask,
    Packing,
    PersonalData,
    SpoolMode,
    SyncPolicy,
    Transport,
    ValueKind,
    choice,
    integer,
    size,
)

#: Event Hubs takes 1 MB in one event; the rest is left for the event's own overhead.
_RECORD_BYTES_MAX: Final = 1_000_000
_BACKUPS_MAX: Final = 1_000
_TAIL_MAX: Final = 100_000
#: The key of a field's metadata.
_DECLARED: Final = "hublog"

_T = TypeVar("_T")


def _setting(default: _T, name: str, kind: ValueKind, meaning: str, *fallback: str) -> _T:
    """Declare a setting as the field of a section; the arguments are the attributes of ``Setting``."""
    declared = (name, kind, meaning, default, fallback)
    return field(default=default, repr=not kind.is_secret, metadata={_DECLARED: declared})


@dataclass(frozen=True, slots=True, kw_only=True)
class FileSettings:
    """The log file."""

    enabled: bool = _setting(True, "FILE_LOGGING_ENABLED", BOOLEAN, "Write the log file.")
    level: int = _setting(logging.DEBUG, "FILE_LOG_LEVEL", LEVEL, "Level of the log file.")
    max_bytes: int = _setting(
        10 * MIB, "FILE_LOG_MAX_BYTES", size(0), "Size at which the file is archived as gzip; 0 means never."
    )
    backup_count: int = _setting(
        10, "FILE_LOG_BACKUP_COUNT", integer(1, _BACKUPS_MAX), "Archives kept; older ones are deleted."
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class EventHubSettings:
    """The Event Hub and the connection to it: by the connection string, or else by the namespace."""

    enabled: bool = _setting(True, "EVENTHUB_LOGGING_ENABLED", BOOLEAN, "Send to the Event Hub.")
    level: int = _setting(logging.INFO, "EVENTHUB_LOG_LEVEL", LEVEL, "Level of what is sent.")
    connection_string: str = _setting(
        "",
        "EVENTHUB_NAMESPACE_CONNECTION_STRING",
        CONNECTION_STRING,
        "Connection string of the namespace or the event hub, a secret; wins over the namespace below.",
    )
    connection_string_file: Path | None = _setting(
        None,
        "EVENTHUB_NAMESPACE_CONNECTION_STRING_FILE",
        FILE,
        "File with the connection string; read again when the hub refuses the sign-in. The name above wins.",
    )
    fully_qualified_namespace: str = _setting(
        "",
        "EVENTHUB_FULLY_QUALIFIED_NAMESPACE",
        HOST_NAME,
        "Host name of the namespace, to sign in without a key (extra `identity`).",
    )
    eventhub_name: str = _setting(
        "application-logs",
        "EVENTHUB_LOGS_NAME",
        HUB_NAME,
        "Name of the event hub; the default gives way to an `EntityPath` in the connection string.",
    )
    transport: Transport = _setting(
        Transport.AMQP,
        "EVENTHUB_LOG_TRANSPORT",
        choice(Transport),
        "`amqp`: port 5671; `websocket`: port 443, also through a proxy (extra `websocket`).",
    )
    proxy: str = _setting(
        "",
        "EVENTHUB_LOG_PROXY",
        PROXY,
        "HTTP proxy, a secret if it holds a password; sets `websocket`. Else `HTTPS_PROXY`.",
    )
    endpoint: str = _setting(
        "",
        "EVENTHUB_LOG_ENDPOINT",
        ENDPOINT,
        "Host to connect to in place of the namespace's own: a private endpoint or a gateway.",
    )
    ca_file: Path | None = _setting(
        None,
        "EVENTHUB_LOG_CA_FILE",
        FILE,
        "Additional trusted certificates (PEM), such as those of a company's own authority.",
    )
    batch_size: int = _setting(
        100, "EVENTHUB_LOG_BATCH_SIZE", integer(1), "Send when this many records wait."
    )
    batch_timeout_seconds: float = _setting(
        1.0, "EVENTHUB_LOG_BATCH_TIMEOUT", SECONDS, "Send when the oldest record has waited this long."
    )
    urgent_level: int = _setting(
        logging.ERROR, "EVENTHUB_LOG_URGENT_LEVEL", LEVEL, "A record of this level or above is sent at once."
    )
    max_queue_size: int = _setting(
        10_000, "EVENTHUB_LOG_QUEUE_SIZE", integer(1), "Records that may wait in memory."
    )
    max_queue_bytes: int = _setting(
        32 * MIB, "EVENTHUB_LOG_QUEUE_BYTES", size(KIB), "Bytes that may wait in memory."
    )
    circuit_breaker_threshold: int = _setting(
        5, "EVENTHUB_LOG_CIRCUIT_THRESHOLD", integer(1), "Failures in a row until the circuit opens."
    )
    circuit_breaker_cooldown_seconds: float = _setting(
        30.0,
        "EVENTHUB_LOG_CIRCUIT_COOLDOWN",
        SECONDS,
        "Time until an open circuit allows one probe; it grows with each failure.",
    )
    packing: Packing = _setting(
        Packing.LINES,
        "EVENTHUB_LOG_PACKING",
        choice(Packing),
        "`single`: one record per event; `lines`: JSON lines; `gzip`: compressed JSON lines.",
    )
    gzip_level: int = _setting(3, "EVENTHUB_LOG_GZIP_LEVEL", integer(1, 9), "Compression level, 1 to 9.")
    route_database: str = _setting(
        "",
        "EVENTHUB_LOG_ROUTE_DATABASE",
        ENTITY_NAME,
        "Sent as property `Database`; needs a data connection that may route to several databases.",
    )
    route_table: str = _setting(
        "",
        "EVENTHUB_LOG_ROUTE_TABLE",
        ENTITY_NAME,
        "Sent as property `Table`, in place of the table of the data connection.",
    )
    route_format: str = _setting(
        "",
        "EVENTHUB_LOG_ROUTE_FORMAT",
        INGESTION_FORMAT,
        "Sent as property `Format`, in place of the format of the data connection.",
    )
    route_mapping: str = _setting(
        "",
        "EVENTHUB_LOG_ROUTE_MAPPING",
        ENTITY_NAME,
        "Sent as property `IngestionMappingReference`, in place of the mapping of the data connection.",
    )
    max_record_bytes: int = _setting(
        64 * KIB,
        "EVENTHUB_LOG_RECORD_BYTES",
        size(KIB, _RECORD_BYTES_MAX),
        "A longer record is truncated and marked as `truncated`.",
    )
    spool: SpoolMode = _setting(
        SpoolMode.OVERFLOW,
        "EVENTHUB_LOG_SPOOL",
        choice(SpoolMode),
        "What goes to disk. `memory`: nothing; `overflow`: what does not fit into memory; `always`: all.",
    )
    spool_dir: Path | None = _setting(None, "EVENTHUB_LOG_SPOOL_DIR", PATH, "Directory of the spool.")
    spool_max_bytes: int = _setting(
        256 * MIB, "EVENTHUB_LOG_SPOOL_BYTES", size(KIB), "Bytes that may wait on disk."
    )
    spool_sync: SyncPolicy = _setting(
        SyncPolicy.INTERVAL,
        "EVENTHUB_LOG_SPOOL_SYNC",
        choice(SyncPolicy),
        "When lines are forced onto the device: `none` never, `interval` each 0.5 s, `batch` at once.",
    )
    send_timeout_seconds: float = _setting(
        30.0,
        "EVENTHUB_LOG_SEND_TIMEOUT",
        SECONDS,
        "A send that takes longer is abandoned with its connection; its records are sent again.",
    )
    exit_timeout_seconds: float = _setting(
        5.0,
        "EVENTHUB_LOG_EXIT_TIMEOUT",
        SECONDS,
        "Time budget of everything that runs when the process exits.",
    )
    heartbeat_seconds: float = _setting(
        60.0,
        "EVENTHUB_LOG_HEARTBEAT_SECONDS",
        INTERVAL_OR_NONE,
        "Time between two rows with the state of delivery, from each process that has logged.",
    )
    flush_on_sigterm: bool = _setting(
        False,
        "EVENTHUB_LOG_FLUSH_ON_SIGTERM",
        BOOLEAN,
        "Deliver on SIGTERM, then let it take its course; for servers that run no exit hooks.",
    )
    tail_sampling: bool = _setting(
        False,
        "EVENTHUB_LOG_TAIL_SAMPLING",
        BOOLEAN,
        "Send a request's records below WARNING only if it ends in an error or is slow.",
    )
    tail_max_records: int = _setting(
        1_000,
        "EVENTHUB_LOG_TAIL_RECORDS",
        integer(1, _TAIL_MAX),
        "Records of one request that are buffered until it ends; beyond that the oldest are dropped.",
    )
    dedup_seconds: float = _setting(
        0.0,
        "EVENTHUB_LOG_DEDUP_SECONDS",
        SECONDS_OR_NONE,
        "Equal records within this time become one with a count.",
    )
    rate_limit: int = _setting(
        0,
        "EVENTHUB_LOG_RATE_LIMIT",
        integer(0),
        "Records a second that one logger may send on average; 0 means no limit.",
    )
    rate_burst: int = _setting(
        100,
        "EVENTHUB_LOG_RATE_BURST",
        integer(1),
        "Records that one logger may send at once before the limit applies.",
    )

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

    name: str = _setting(
        "",
        "LOG_SERVICE_NAME",
        TEXT,
        "Name of the service; else `OTEL_SERVICE_NAME`, `OTEL_RESOURCE_ATTRIBUTES` or the app's own.",
        "OTEL_SERVICE_NAME",
        "service.name",
    )
    namespace: str = _setting(
        "", "LOG_SERVICE_NAMESPACE", TEXT, "Namespace (group) of the service.", "service.namespace"
    )
    version: str = _setting("", "LOG_SERVICE_VERSION", TEXT, "Version of the service.", "service.version")
    instance_id: str = _setting(
        "", "LOG_SERVICE_INSTANCE_ID", TEXT, "Which of its instances this is.", "service.instance.id"
    )
    environment: str = _setting(
        "",
        "LOG_ENVIRONMENT",
        TEXT,
        "Where it runs, like `production`.",
        "deployment.environment.name",
        "deployment.environment",
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestSettings:
    """What the adapters record of a request."""

    id_header: str = _setting(
        "X-Request-ID",
        "LOG_REQUEST_ID_HEADER",
        HEADER_NAME,
        "Header that carries the request id, in and out.",
    )
    trust_request_id: bool = _setting(
        True, "LOG_TRUST_REQUEST_ID", BOOLEAN, "Accept a valid request id from the caller."
    )
    trusted_proxy_count: int = _setting(
        0,
        "LOG_TRUSTED_PROXY_COUNT",
        integer(0, 100),
        "Number of your own proxies in front of the application.",
    )
    access_records: bool = _setting(True, "LOG_ACCESS_RECORDS", BOOLEAN, "Log one record for each request.")
    excluded_paths: tuple[str, ...] = _setting(
        (),
        "LOG_EXCLUDED_PATHS",
        WORDS,
        "Paths without that record, like `/healthz` or `/static/*`; a failed request still has one.",
    )
    slow_seconds: float = _setting(
        0.0,
        "LOG_SLOW_REQUEST_SECONDS",
        SECONDS_OR_NONE,
        "A request that takes longer is logged as a warning.",
    )
    query: bool = _setting(
        False, "LOG_REQUEST_QUERY", BOOLEAN, "Record the query string, redacted, as `http_query`."
    )
    session: bool = _setting(
        False, "LOG_SESSION_ID", BOOLEAN, "Record a hash of the session key as `session_id`."
    )
    easy_auth: bool = _setting(
        False,
        "LOG_EASY_AUTH",
        BOOLEAN,
        "Take the user from the headers that App Service's sign-in sets; else `WEBSITE_AUTH_ENABLED`.",
        "WEBSITE_AUTH_ENABLED",
    )
    count_db_queries: bool = _setting(
        True, "LOG_COUNT_DB_QUERIES", BOOLEAN, "Count a request's database queries and their time."
    )
    context_in_threads: bool = _setting(
        True,
        "LOG_CONTEXT_IN_THREADS",
        BOOLEAN,
        "Threads and executors that a request starts log with the fields of that request.",
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class RedactionSettings:
    """What is masked in every destination."""

    enabled: bool = _setting(True, "LOG_REDACTION", BOOLEAN, "Mask secrets in console, file and Event Hub.")
    mode: Mask = _setting(
        Mask.MASK,
        "LOG_REDACTION_MODE",
        choice(Mask),
        "`mask`: a fixed mark for a secret; `hash`: a keyed hash, so that equal secrets can be matched.",
    )
    hash_key: str = _setting(
        "", "LOG_REDACTION_HASH_KEY", SECRET, "Key of the hashes, a secret; `hash` needs it."
    )
    keys: tuple[str, ...] = _setting(
        (), "LOG_REDACTION_KEYS", WORDS, "Names whose values are secret, in addition to the built-in ones."
    )
    patterns: tuple[str, ...] = _setting(
        (),
        "LOG_REDACTION_PATTERNS",
        WORDS,
        "Regular expressions of further secrets in strings; one with a comma needs a list.",
    )
    personal_data: PersonalData = _setting(
        PersonalData.KEEP,
        "LOG_PERSONAL_DATA",
        PERSONAL_DATA,
        "Client address, user, session and query: `keep`, `hash` or `drop` them.",
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """All settings."""

    level: int = _setting(logging.INFO, "LOG_LEVEL", LEVEL, "Level of the console.")
    log_to_stdout: bool = _setting(True, "LOG_TO_STDOUT", BOOLEAN, "Write to the console (standard output).")
    log_dir: Path = _setting(Path("logs"), "LOG_DIR", PATH, "Directory of the log file; created if missing.")
    uncaught_exceptions: bool = _setting(
        True, "LOG_UNCAUGHT_EXCEPTIONS", BOOLEAN, "Log an exception that ends the process or a thread."
    )
    reload_on_sighup: bool = _setting(
        False,
        "LOG_RELOAD_ON_SIGHUP",
        BOOLEAN,
        "Read YAML file and secrets again at SIGHUP; has no effect where a server handles the signal.",
    )
    status_token: str = _setting(
        "",
        "LOG_STATUS_TOKEN",
        TOKEN,
        "Who sends this secret in a header sees the status pages.",
    )
    file: FileSettings = FileSettings()
    eventhub: EventHubSettings = EventHubSettings()
    service: ServiceSettings = ServiceSettings()
    request: RequestSettings = RequestSettings()
    redaction: RedactionSettings = RedactionSettings()

    @property
    def spool_dir(self) -> Path:
        """Directory of the spool: by default ``spool`` in the log directory."""
        return self.eventhub.spool_dir or self.log_dir / "spool"


#: Sections as YAML names them, and the values that they fill.
SECTIONS: Final = {
    "": Settings,
    "file_logging": FileSettings,
    "eventhub_logging": EventHubSettings,
    "service": ServiceSettings,
    "request": RequestSettings,
    "redaction": RedactionSettings,
}
#: The attributes of ``Settings`` that have other names than their sections.
FIELD_OF_SECTION: Final = {"file_logging": "file", "eventhub_logging": "eventhub"}


@dataclass(frozen=True, slots=True)
class Setting:
    """One setting.

    Attributes:
        section: key of ``SECTIONS``; empty for the settings at the top.
        field: name of the dataclass field, YAML key and keyword.
        name: environment variable, Flask key and Django setting.
        meaning: one line for the documentation.
        fallback: other sources of an unset value: environment variables, or resource attributes of
            OpenTelemetry, whose names have a dot.
    """

    section: str
    field: str
    name: str
    kind: ValueKind
    meaning: str
    default: object
    fallback: tuple[str, ...]

    @property
    def path(self) -> str:
        """The path of the YAML key below ``logging``."""
        return f"{self.section}.{self.field}" if self.section else self.field

    def value_in(self, settings: Settings) -> object:
        """Return the value that settings have."""
        name = FIELD_OF_SECTION.get(self.section, self.section)
        return getattr(getattr(settings, name) if name else settings, self.field)


SETTINGS: Final = tuple(
    Setting(section, each.name, *each.metadata[_DECLARED])
    for section, kind in SECTIONS.items()
    for each in fields(kind)
    if _DECLARED in each.metadata
)


def settings_table() -> str:
    """Return the documentation of all settings as a Markdown table."""
    rows = [
        "| name | YAML key below `logging:` | default | allowed | meaning |",
        "| --- | --- | --- | --- | --- |",
    ]
    for setting in SETTINGS:
        cells = (
            f"`{setting.name}`",
            f"`{setting.path}`",
            _default_text(setting),
            _escaped(setting.kind.allowed),
            _escaped(setting.meaning),
        )
        rows.append(f"| {' | '.join(cells)} |")
    return "\n".join(rows) + "\n"


def _default_text(setting: Setting) -> str:
    if setting.field == "spool_dir":
        return "`<LOG_DIR>/spool`"
    text = setting.kind.show(setting.default)
    return f"`{text}`" if text else "none"


def _escaped(text: str) -> str:
    return text.replace("|", "\\|").replace("<", "&lt;")
