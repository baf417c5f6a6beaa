"""The shapes of plain configuration data: the section ``logging`` of the YAML file and its parts."""

from typing import TypedDict


class FileLoggingConfig(TypedDict, total=False):
    """The section ``file_logging``; see the table of settings for what each key means."""

    enabled: bool
    level: int | str
    max_bytes: int | str
    backup_count: int


class EventHubLoggingConfig(TypedDict, total=False):
    """The section ``eventhub_logging``, also ``eventhub_config`` and the keywords of ``EventHubHandler``."""

    enabled: bool
    level: int | str
    connection_string: str
    fully_qualified_namespace: str
    eventhub_name: str
    transport: str
    proxy: str
    endpoint: str
    ca_file: str
    batch_size: int
    batch_timeout_seconds: float
    urgent_level: int | str
    max_queue_size: int
    max_queue_bytes: int | str
    circuit_breaker_threshold: int
    circuit_breaker_cooldown_seconds: float
    packing: str
    gzip_level: int
    route_database: str
    route_table: str
    route_format: str
    route_mapping: str
    max_record_bytes: int | str
    spool: str
    spool_dir: str
    spool_max_bytes: int | str
    spool_sync: str
    send_timeout_seconds: float
    exit_timeout_seconds: float
    term_hook: bool
    tail_verbosity: bool
    tail_max_records: int
    collapse_seconds: float
    rate_limit: int
    rate_burst: int


class ServiceConfig(TypedDict, total=False):
    """The section ``service``."""

    name: str
    namespace: str
    version: str
    instance_id: str
    environment: str


class RequestConfig(TypedDict, total=False):
    """The section ``request``."""

    id_header: str
    trust_request_id: bool
    trusted_proxies: int
    access_records: bool
    excluded_paths: str | list[str]
    slow_seconds: float
    query: bool
    session: bool
    easy_auth: bool
    count_queries: bool
    context_in_threads: bool


class RedactionConfig(TypedDict, total=False):
    """The section ``redaction``."""

    enabled: bool
    mode: str
    hash_key: str
    keys: str | list[str]
    patterns: str | list[str]
    personal_data: str | bool


class LoggingConfig(TypedDict, total=False):
    """The whole section ``logging``."""

    level: int | str
    log_to_stdout: bool
    log_dir: str
    uncaught_exceptions: bool
    file_logging: FileLoggingConfig
    eventhub_logging: EventHubLoggingConfig
    service: ServiceConfig
    request: RequestConfig
    redaction: RedactionConfig
