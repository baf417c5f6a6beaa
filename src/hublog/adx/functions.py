"""Stored functions over the table, the materialized view, and queries for dashboards and alerts.

All use the table's default name; ``KqlNames.rename`` replaces it.
"""

import re
from dataclasses import dataclass
from typing import Final

from hublog.adx.tables import FOLDER, KqlNames, quoted, text
from hublog.capture.columns import COLUMNS, TABLE, Group


@dataclass(frozen=True, slots=True)
class Function:
    """One stored function.

    Attributes:
        name: begins with the table's name.
        parameters: as KQL declares them, without parentheses.
        summary: one sentence, which the cluster shows as its docstring.
        body: KQL, without the braces.
    """

    name: str
    parameters: str
    summary: str
    body: str


def _as_otel() -> str:
    """Return the query that maps the columns to those of OpenTelemetry's exporter."""
    resource: list[str] = []
    attributes: list[str] = []
    for column in COLUMNS:
        match = re.search(r"; OTel ([a-z][a-z0-9_.]+)$", column.source)
        if match:
            bag = resource if column.group in {Group.SERVICE, Group.PROCESS} else attributes
            bag.append(f'        "{match[1]}", {column.name}')
    pairs = ",\n"
    return f"""\
PipelineLogs
| where timestamp between (from_ .. to_)
| project
    Timestamp = timestamp,
    ObservedTimestamp = sent_at,
    TraceID = trace_id,
    SpanID = span_id,
    SeverityText = level,
    SeverityNumber = severity_number,
    Body = message,
    ResourceAttributes = bag_pack(
{pairs.join(resource)}
    ),
    LogsAttributes = bag_merge(bag_pack(
{pairs.join(attributes)}
    ), coalesce(extra, dynamic({{}})))"""


#: A comment with its summary, its name with the parameters, and its body.
_FUNCTIONS: Final = f"""\
// The records of a time span, each once: delivery is at least once.
PipelineLogsDedup(from_: datetime, to_: datetime)
// Rows of other producers may have no record_id; they are kept as they are.
let rows = PipelineLogs | where timestamp between (from_ .. to_);
union
    (rows | where isempty(record_id)),
    (rows | where isnotempty(record_id) | summarize arg_max(sent_at, *) by record_id)

// Errors and failed requests of a time span, one row per error, the most frequent first.
PipelineLogsErrors(from_: datetime, to_: datetime)
PipelineLogs
| where timestamp between (from_ .. to_) and (level_number >= 40 or http_status_code >= 500)
| extend error = case(
    isnotempty(exception_fingerprint), exception_fingerprint,
    isnotempty(message_template), message_template,
    message)
| summarize
    records = count(), requests = dcountif(request_id, isnotempty(request_id)),
    users = dcountif(user_id, isnotempty(user_id)), first_seen = min(timestamp),
    arg_max(timestamp, level, message, exception_type, http_route, trace_id)
    by service_name, logger_name, error
| project
    service_name, records, requests, users, first_seen, last_seen = timestamp, level, logger_name,
    exception_type, http_route, message, trace_id, error
| order by records desc, last_seen desc

// Requests of a time span that took longer than a limit in milliseconds, the slowest first.
PipelineLogsSlowRequests(from_: datetime, to_: datetime, slower_than_ms: real = 1000.0)
PipelineLogs
| where timestamp between (from_ .. to_) and record_type == "request" and duration_ms > slower_than_ms
| project
    timestamp, duration_ms, service_name, http_method, http_route, http_path, http_status_code,
    db_query_count, db_duration_ms, user_id, request_id, trace_id
| order by duration_ms desc

// All records with a trace, request, correlation, task or record id, in order.
PipelineLogsTrace(id: string, within: timespan = 1d)
PipelineLogs
| where timestamp > ago(within)
| where trace_id == id or request_id == id or correlation_id == id or task_id == id or record_id == id
| order by timestamp asc, process_id asc, sequence asc

// Seconds from the log call to the table: in total, until sent, and after that.
PipelineLogsLag(from_: datetime, to_: datetime, step: timespan = 1m)
PipelineLogs
| where timestamp between (from_ .. to_)
| extend
    total_s = (ingestion_time() - timestamp) / 1s,
    application_s = (sent_at - timestamp) / 1s,
    azure_s = (ingestion_time() - sent_at) / 1s
| summarize
    records = count(), total_p50 = percentile(total_s, 50), total_p95 = percentile(total_s, 95),
    total_max = max(total_s), application_p95 = percentile(application_s, 95),
    azure_p95 = percentile(azure_s, 95)
    by timestamp = bin(timestamp, step)
| order by timestamp asc

// Processes with missing records in a time span: a gap in sequence is a dropped record.
PipelineLogsGaps(from_: datetime, to_: datetime)
// Characters 15 to 28 of a record_id are chosen once per process. Threads number their records a
// moment before they send them, so rows just outside of the window are included as well.
let rows = PipelineLogs
    | where timestamp between ((from_ - 1m) .. (to_ + 1m)) and isnotempty(record_id) and isnotnull(sequence)
    | extend life = substring(record_id, 14, 14)
    | project timestamp, service_name, host_name, process_id, life, sequence;
rows
| where timestamp between (from_ .. to_)
| summarize
    first_sequence = min(sequence), last_sequence = max(sequence),
    first_seen = min(timestamp), last_seen = max(timestamp)
    by service_name, host_name, process_id, life
| join kind=inner (rows | distinct life, sequence) on life
| where sequence between (first_sequence .. last_sequence)
| summarize received = count()
    by service_name, host_name, process_id, life, first_sequence, last_sequence, first_seen, last_seen
| extend lost = last_sequence - first_sequence + 1 - received
| where lost > 0
| project
    service_name, host_name, process_id, lost, received, first_sequence, last_sequence,
    first_seen, last_seen
| order by lost desc

// The records of a time span with the columns of OpenTelemetry's exporter.
PipelineLogsAsOTel(from_: datetime, to_: datetime)
{_as_otel()}
"""
FUNCTIONS: Final = tuple(
    Function(name, parameters, summary, body.rstrip())
    for summary, name, parameters, body in re.findall(r"// (.+)\n(\w+)\((.+)\)\n((?:.+\n)+)", _FUNCTIONS)
)

#: The query of the materialized view.
VIEW_NAME: Final = f"{TABLE}Unique"
VIEW_QUERY: Final = (
    "PipelineLogs\n| where isnotempty(record_id)\n| summarize take_any(*) by record_id, timestamp"
)


def functions_kql(names: KqlNames) -> str:
    """Return the commands that create or replace the stored functions."""
    commands = "\n\n".join(_command(function, names) for function in FUNCTIONS)
    return f"""\
// Functions over the table. Run each command by itself; they are separated by blank lines. For example:
//   {quoted(names.table + "Errors")}(ago(1h), now())
//   {quoted(names.table + "Trace")}("4bf92f3577b34da6a3ce929d0e0e4736")

{commands}
"""


def _command(function: Function, names: KqlNames) -> str:
    body = names.rename(function.body)
    return f"""\
.create-or-alter function with (folder = {text(FOLDER)}, docstring = {text(function.summary)})
{names.rename(function.name)}({function.parameters}) {{
{body}
}}"""


def materialized_view_kql(names: KqlNames) -> str:
    """Return the command that creates the view without duplicates."""
    return f"""\
// Every record once. The cluster keeps the view up to date, which costs capacity all the time. Create it
// only if exact numbers are queried often; {quoted(names.table + "Dedup")}() costs nothing until called.
// A duplicate that arrives more than six hours after the first is not recognised.

.create ifnotexists materialized-view
with (lookback = 6h, autoUpdateSchema = true, folder = {text(FOLDER)}, docstring = "Every record once")
{names.rename(VIEW_NAME)} on table {quoted(names.table)} {{
{names.rename(VIEW_QUERY)}
}}
"""


@dataclass(frozen=True, slots=True)
class Query:
    """One query.

    Attributes:
        name: of its file; that of an alert begins with ``alert_``, and each row is a finding.
    """

    name: str
    summary: str
    body: str


#: Ready to paste; the comment above a query is its name and its summary.
_QUERIES: Final = """\
// requests_and_errors: Requests and server errors per minute.
PipelineLogs
| where timestamp > ago(1h) and record_type == "request" and isnotnull(http_status_code)
| summarize requests = count(), errors = countif(http_status_code >= 500) by timestamp = bin(timestamp, 1m)
| extend error_percent = round(100.0 * errors / requests, 2)
| order by timestamp asc

// requests_by_route: Requests per minute of the ten busiest routes, and of all others.
let busiest = PipelineLogs
    | where timestamp > ago(1h) and record_type == "request" and isnotnull(http_status_code)
    | summarize requests = count() by http_route
    | top 10 by requests
    | project http_route;
PipelineLogs
| where timestamp > ago(1h) and record_type == "request" and isnotnull(http_status_code)
| extend route = iff(http_route in (busiest), http_route, "others")
| summarize requests = count() by timestamp = bin(timestamp, 1m), route
| order by timestamp asc, route asc

// latency: Latency of all requests per minute in milliseconds.
PipelineLogs
| where timestamp > ago(1h) and record_type == "request" and isnotnull(duration_ms)
| summarize
    p50 = percentile(duration_ms, 50), p95 = percentile(duration_ms, 95), p99 = percentile(duration_ms, 99)
    by timestamp = bin(timestamp, 1m)
| order by timestamp asc

// latency_by_route: Requests, server errors, and latency in milliseconds of each route.
PipelineLogs
| where timestamp > ago(1h) and record_type == "request" and isnotnull(duration_ms)
| summarize
    requests = count(), errors = countif(http_status_code >= 500), p50 = percentile(duration_ms, 50),
    p95 = percentile(duration_ms, 95), p99 = percentile(duration_ms, 99), slowest = max(duration_ms)
    by service_name, http_method, http_route
| order by p95 desc

// records_by_level: Records per minute by level.
PipelineLogs
| where timestamp > ago(1h) and record_type != "heartbeat"
| summarize records = count() by timestamp = bin(timestamp, 1m), level
| order by timestamp asc, level asc

// records_by_service: Records by service, and the time of the newest one.
PipelineLogs
| where timestamp > ago(1h) and record_type != "heartbeat"
| summarize
    records = count(), warnings = countif(level_number >= 30), errors = countif(level_number >= 40),
    instances = dcount(service_instance_id), newest = max(timestamp)
    by service_name, environment
| order by records desc

// processes: The newest heartbeat of each process of the last hour: how its delivery goes.
PipelineLogs
| where timestamp > ago(1h) and record_type == "heartbeat"
| extend destination = tostring(metrics.destination)
| summarize arg_max(timestamp, event_name, metrics)
    by service_name, service_instance_id, host_name, process_id, destination
| project
    service_name, service_instance_id, host_name, process_id, destination, newest = timestamp,
    has_ended = event_name == "handler.ended",
    state = tostring(metrics.state), circuit = tostring(metrics.circuit),
    queue_share = toreal(metrics.queue_share), spool_share = toreal(metrics.spool_share),
    oldest_age_s = toreal(metrics.oldest_age_s),
    accepted = tolong(metrics.accepted_total), sent = tolong(metrics.sent_total),
    lost = tolong(metrics.lost_total), last_error = tostring(metrics.last_error)
| order by service_name asc, newest desc

// new_errors: Exceptions of the last hour that did not occur in the seven days before.
let known = PipelineLogs
    | where timestamp between (ago(7d) .. ago(1h)) and isnotempty(exception_fingerprint)
    | distinct exception_fingerprint;
PipelineLogs
| where timestamp > ago(1h) and isnotempty(exception_fingerprint)
| where exception_fingerprint !in (known)
| summarize records = count(), first_seen = min(timestamp), arg_max(timestamp, exception_message, trace_id)
    by exception_fingerprint, exception_type, service_name
| project first_seen, service_name, exception_type, exception_message, records, trace_id
| order by first_seen asc

// database_by_view: Views with the most database queries.
PipelineLogs
| where timestamp > ago(1h) and record_type == "request" and isnotnull(db_query_count)
| summarize
    requests = count(), db_queries = avg(db_query_count), db_queries_max = max(db_query_count),
    db_ms = avg(db_duration_ms)
    by service_name, view_name
| order by db_queries desc

// duplicates: Duplicate rows per hour.
PipelineLogs
| where timestamp > ago(1d) and isnotempty(record_id)
| summarize copies = count() by record_id, timestamp = bin(timestamp, 1h)
| summarize records = count(), duplicates = sum(copies) - count() by timestamp
| extend duplicate_percent = round(100.0 * duplicates / (records + duplicates), 3)
| order by timestamp asc

// cost_by_day: What Event Hubs charges for a day, from the length of its lines at US list prices.
// For EVENTHUB_LOG_PACKING=lines and Standard; gzip needs an eighth. Units are those of the busiest minute.
let unit_hour = 0.03;
let million_events = 0.028;
let line_bytes = toscalar(
    PipelineLogs | where timestamp > ago(1d) | take 10000 | summarize avg(strlen(tostring(pack_all(true)))));
PipelineLogs
| where timestamp > ago(30d)
| summarize records = count() by minute = bin(timestamp, 1m)
| summarize records = sum(records), busiest = max(records) by timestamp = bin(minute, 1d)
| extend gigabytes = records * line_bytes / 1e9, units = ceiling(busiest * line_bytes / 60.0 / 1e6)
| extend usd = round(units * 24 * unit_hour + records * line_bytes / 65536 / 1e6 * million_events, 2)
| project timestamp, records, gigabytes, units, usd
| order by timestamp asc

// truncated: Loggers whose records are truncated.
PipelineLogs
| where timestamp > ago(1d) and truncated
| summarize records = count(), arg_max(timestamp, source_file, source_line, message_template)
    by service_name, logger_name
| project service_name, logger_name, records, source_file, source_line, message_template, newest = timestamp
| order by records desc

// alert_error_rate: Services where more than 5 % of at least 20 requests failed within five minutes.
PipelineLogs
| where timestamp > ago(5m) and record_type == "request" and isnotnull(http_status_code)
| summarize requests = count(), errors = countif(http_status_code >= 500) by service_name
| where requests >= 20 and errors > 0.05 * requests

// alert_silent: Instances that wrote in the last hour and nothing in the last five minutes.
PipelineLogs
| where timestamp > ago(1h)
| summarize newest = max(timestamp) by service_name, service_instance_id, host_name
| where newest < ago(5m)
| order by newest asc

// alert_lag: Services whose records take more than a minute to reach the table (95th percentile).
PipelineLogs
| where timestamp > ago(15m)
| extend total_s = (ingestion_time() - timestamp) / 1s
| summarize records = count(), total_p95 = percentile(total_s, 95) by service_name
| where total_p95 > 60

// alert_gaps: Processes that dropped records in the last 15 minutes.
PipelineLogsGaps(ago(15m), now())
"""
QUERIES: Final = tuple(
    Query(name, summary, body.rstrip())
    for name, summary, body in re.findall(r"// (\w+): (.+)\n((?:.+\n)+)", _QUERIES)
)


def query_kql(query: Query, names: KqlNames) -> str:
    """Return the content of a query's file."""
    return f"// {query.summary}\n{names.rename(query.body)}\n"
