"""The columns of the ADX table: the one source of formatter, mapping, table, documents and tests."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

TABLE: Final = "PipelineLogs"
SCHEMA_VERSION: Final = 1


class Kind(StrEnum):
    """The Kusto type of a column."""

    DATETIME = "datetime"
    STRING = "string"
    INT = "int"
    LONG = "long"
    REAL = "real"
    BOOL = "bool"
    DYNAMIC = "dynamic"


class Group(StrEnum):
    """What a column speaks about."""

    CORE = "core"
    SOURCE = "source"
    PROCESS = "process"
    SERVICE = "service"
    TRACE = "trace"
    REQUEST = "request"
    RESPONSE = "response"
    USER = "user"
    EXCEPTION = "exception"
    TASK = "task"
    METRICS = "metrics"
    HANDLER = "handler"
    EXTRA = "extra"


@dataclass(frozen=True, slots=True)
class Column:
    """One column: its JSON key and its Kusto name are the same.

    Attributes:
        name: the key at the top level of a line; its JSON path is ``$.<name>``.
        group: what it speaks about.
        kind: the Kusto type that every value written under this key must fit.
        source: where the value comes from; after a semicolon the OpenTelemetry name.
        description: one sentence for the reader of the table.
    """

    name: str
    group: Group
    kind: Kind
    source: str
    description: str


# A table: one row a line. Its order is part of the contract: ADX only adds columns at the end.
# fmt: off
COLUMNS: Final[tuple[Column, ...]] = (
    Column("timestamp", Group.CORE, Kind.DATETIME, "LogRecord.created", "When the record was made, UTC, ISO 8601 with microseconds and `Z`."),
    Column("level", Group.CORE, Kind.STRING, "LogRecord.levelname", "DEBUG, INFO, WARNING, ERROR, CRITICAL or a custom level name."),
    Column("level_number", Group.CORE, Kind.INT, "LogRecord.levelno", "Python numeric level (10-50); sorts and compares."),
    Column("severity_number", Group.CORE, Kind.INT, "derived; OTel SeverityNumber", "OpenTelemetry severity 1-24 (DEBUG=5, INFO=9, WARNING=13, ERROR=17, CRITICAL=21)."),
    Column("logger_name", Group.CORE, Kind.STRING, "LogRecord.name", "Dotted logger name, e.g. `django.request`, `shop.checkout`."),
    Column("message", Group.CORE, Kind.STRING, "LogRecord.getMessage()", "Rendered message."),
    Column("message_template", Group.CORE, Kind.STRING, "LogRecord.msg", "The unformatted message (`order %s failed`): the key to group messages by (Serilog MessageTemplate)."),
    Column("event_name", Group.CORE, Kind.STRING, "extra / library; OTel event.name", "Stable machine name of the event, e.g. `request.finished`, `handler.heartbeat`."),
    Column("record_type", Group.CORE, Kind.STRING, "library", "`log`, `request`, `exception`, `task`, `heartbeat`: which kind of row this is."),
    Column("source_file", Group.SOURCE, Kind.STRING, "LogRecord.pathname; OTel code.file.path", "Path of the calling file (relative to the project root when it can be)."),
    Column("source_module", Group.SOURCE, Kind.STRING, "LogRecord.module", "Module name of the caller."),
    Column("source_function", Group.SOURCE, Kind.STRING, "LogRecord.funcName; OTel code.function.name", "Function name of the caller."),
    Column("source_line", Group.SOURCE, Kind.INT, "LogRecord.lineno; OTel code.line.number", "Line number of the caller."),
    Column("stack_info", Group.SOURCE, Kind.STRING, "LogRecord.stack_info", "Stack of the call, only when asked for with `stack_info=True`."),
    Column("process_id", Group.PROCESS, Kind.LONG, "LogRecord.process; OTel process.pid", "Operating-system process id."),
    Column("process_name", Group.PROCESS, Kind.STRING, "LogRecord.processName", "multiprocessing name, e.g. `MainProcess`, `ForkPoolWorker-3`."),
    Column("thread_id", Group.PROCESS, Kind.LONG, "LogRecord.thread; OTel thread.id", "Python thread identifier (needs 64 bits)."),
    Column("thread_name", Group.PROCESS, Kind.STRING, "LogRecord.threadName; OTel thread.name", "Thread name."),
    Column("async_task_name", Group.PROCESS, Kind.STRING, "LogRecord.taskName (3.12+)", "asyncio task name, if the record was made inside one."),
    Column("service_name", Group.SERVICE, Kind.STRING, "config / OTEL_SERVICE_NAME; OTel service.name", "Logical name of the application (App Insights cloud_RoleName)."),
    Column("service_namespace", Group.SERVICE, Kind.STRING, "config / OTEL_RESOURCE_ATTRIBUTES; OTel service.namespace", "Group the service belongs to (team, product)."),
    Column("service_version", Group.SERVICE, Kind.STRING, "config; OTel service.version", "Release of the application: version or git commit."),
    Column("service_instance_id", Group.SERVICE, Kind.STRING, "config or generated; OTel service.instance.id", "This running copy of the service (pod, VM, worker group)."),
    Column("environment", Group.SERVICE, Kind.STRING, "config; OTel deployment.environment.name", "`production`, `staging`, `development`, ..."),
    Column("framework", Group.SERVICE, Kind.STRING, "library", "`django`, `flask`, or empty outside a web framework."),
    Column("host_name", Group.SERVICE, Kind.STRING, "socket.gethostname(); OTel host.name", "Machine or container host name."),
    Column("container_id", Group.SERVICE, Kind.STRING, "/proc/self/cgroup or mountinfo; OTel container.id", "Container id, if there is one."),
    Column("k8s_namespace", Group.SERVICE, Kind.STRING, "downward API env; OTel k8s.namespace.name", "Kubernetes namespace."),
    Column("k8s_pod_name", Group.SERVICE, Kind.STRING, "downward API env; OTel k8s.pod.name", "Kubernetes pod."),
    Column("k8s_node_name", Group.SERVICE, Kind.STRING, "downward API env; OTel k8s.node.name", "Kubernetes node."),
    Column("cloud_region", Group.SERVICE, Kind.STRING, "env (REGION_NAME ...); OTel cloud.region", "Cloud region, e.g. `westeurope`."),
    Column("trace_id", Group.TRACE, Kind.STRING, "OTel context or W3C traceparent", "32 hex digits; joins with traces (App Insights operation_Id)."),
    Column("span_id", Group.TRACE, Kind.STRING, "OTel context or W3C traceparent", "16 hex digits of the current span."),
    Column("parent_span_id", Group.TRACE, Kind.STRING, "W3C traceparent", "16 hex digits of the caller's span (from the incoming header)."),
    Column("correlation_id", Group.TRACE, Kind.STRING, "X-Correlation-ID header or contextvar", "Business or edge correlation id, when it is not the trace id."),
    Column("request_id", Group.REQUEST, Kind.STRING, "X-Request-ID header or generated", "One id for all records made while serving one request."),
    Column("http_method", Group.REQUEST, Kind.STRING, "Django request.method / Flask request.method; OTel http.request.method", "GET, POST, ..."),
    Column("http_host", Group.REQUEST, Kind.STRING, "request.get_host() / request.host; OTel server.address", "Host the client asked for."),
    Column("http_path", Group.REQUEST, Kind.STRING, "request.path; OTel url.path", "Path without the query string."),
    Column("http_route", Group.REQUEST, Kind.STRING, "request.resolver_match.route / request.url_rule.rule; OTel http.route", "Low-cardinality route template, e.g. `/orders/<int:pk>/`: group by this, not by http_path."),
    Column("http_query", Group.REQUEST, Kind.STRING, "request.META / request.query_string; OTel url.query", "Query string, redacted; off by default."),
    Column("http_user_agent", Group.REQUEST, Kind.STRING, "User-Agent header; OTel user_agent.original", "Client user agent (cut to 256 characters)."),
    Column("client_ip", Group.REQUEST, Kind.STRING, "REMOTE_ADDR or trusted X-Forwarded-For; OTel client.address", "Client address; can be masked."),
    Column("http_request_size", Group.REQUEST, Kind.LONG, "Content-Length; OTel http.request.body.size", "Request body size in bytes."),
    Column("view_name", Group.REQUEST, Kind.STRING, "resolver_match.view_name / request.endpoint", "Django view name or Flask endpoint (with its namespace or blueprint)."),
    Column("http_status_code", Group.RESPONSE, Kind.INT, "response.status_code; OTel http.response.status_code", "HTTP status of the response."),
    Column("http_response_size", Group.RESPONSE, Kind.LONG, "Content-Length of the response; OTel http.response.body.size", "Response body size in bytes; of a stream, what was sent of it."),
    Column("duration_ms", Group.RESPONSE, Kind.REAL, "middleware clock", "Wall time of the request, task or timed block in milliseconds."),
    Column("user_id", Group.USER, Kind.STRING, "request.user.pk / flask_login; OTel enduser.id", "Authenticated user's key; can be hashed."),
    Column("user_authenticated", Group.USER, Kind.BOOL, "request.user.is_authenticated", "Whether the user was signed in."),
    Column("session_id", Group.USER, Kind.STRING, "hash of the session key; OTel session.id", "Hashed session key; off by default."),
    Column("tenant_id", Group.USER, Kind.STRING, "contextvar / extra", "Tenant in a multi-tenant application."),
    Column("exception_type", Group.EXCEPTION, Kind.STRING, "exc_info[0]; OTel exception.type", "Fully qualified class name of the exception."),
    Column("exception_message", Group.EXCEPTION, Kind.STRING, "exc_info[1]; OTel exception.message", "str(exception), redacted, cut."),
    Column("exception_stacktrace", Group.EXCEPTION, Kind.STRING, "formatted exc_info; OTel exception.stacktrace", "Traceback with causes, cut in the middle at a limit (16 KiB)."),
    Column("exception_fingerprint", Group.EXCEPTION, Kind.STRING, "derived", "Short stable hash of the type and the in-project frames: the key to group errors by."),
    Column("task_id", Group.TASK, Kind.STRING, "Celery/RQ/... task id or contextvar", "Id of the background task."),
    Column("task_name", Group.TASK, Kind.STRING, "Celery/RQ/... or contextvar", "Dotted task name."),
    Column("task_queue", Group.TASK, Kind.STRING, "Celery/RQ/... or contextvar", "Queue it came from."),
    Column("task_retries", Group.TASK, Kind.INT, "Celery/RQ/... or contextvar", "How many times it was tried before."),
    Column("db_query_count", Group.METRICS, Kind.INT, "Django execute_wrapper / SQLAlchemy events", "Database queries made while serving the request."),
    Column("db_duration_ms", Group.METRICS, Kind.REAL, "Django execute_wrapper / SQLAlchemy events", "Time spent in them, milliseconds."),
    Column("metrics", Group.METRICS, Kind.DYNAMIC, "library / extra", "Bag of further numbers; on `heartbeat` rows the handler's own statistics."),
    Column("record_id", Group.HANDLER, Kind.STRING, "library: UUIDv7 at emit", "Unique id of the record; the key to remove duplicates by."),
    Column("sequence", Group.HANDLER, Kind.LONG, "library: per-process counter", "1, 2, 3, ... per process; a gap shows records that were dropped."),
    Column("sent_at", Group.HANDLER, Kind.DATETIME, "library, when the batch is built", "When the record left the queue: sent_at - timestamp is the wait here, ingestion_time() - sent_at the wait in Azure."),
    Column("truncated", Group.HANDLER, Kind.BOOL, "library", "True if a field was cut or left out to fit the size limit."),
    Column("schema_version", Group.HANDLER, Kind.INT, "library", "Version of this schema (starts at 1; columns are only ever added)."),
    Column("handler_version", Group.HANDLER, Kind.STRING, "library", "Version of the library that wrote the record."),
    Column("extra", Group.EXTRA, Kind.DYNAMIC, "`extra={...}` and bound context", "Everything the application attached that has no column of its own."),
)
# fmt: on

BY_NAME: Final = {column.name: column for column in COLUMNS}

_OPEN_GROUPS: Final = frozenset(
    {Group.TRACE, Group.REQUEST, Group.RESPONSE, Group.USER, Group.TASK, Group.METRICS}
)
#: Columns that ``extra={...}`` and ``bind(...)`` may fill; every other name goes into ``extra``.
OPEN_COLUMNS: Final = frozenset(
    column.name
    for column in COLUMNS
    if column.group in _OPEN_GROUPS or column.name in {"event_name", "record_type"}
)
