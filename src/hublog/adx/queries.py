"""Queries for dashboards and alerts, ready to paste."""

from dataclasses import dataclass
from typing import Final

from hublog.adx.tables import KqlNames


@dataclass(frozen=True, slots=True, kw_only=True)
class Query:
    """One query.

    Attributes:
        name: of its file; that of an alert begins with ``alert_``, and each row is a finding.
        summary: what it answers.
        body: KQL with the table's default name.
    """

    name: str
    summary: str
    body: str


QUERIES: Final = (
    Query(
        name="requests_and_errors",
        summary="Requests and server errors per minute.",
        body="""\
PipelineLogs
| where timestamp > ago(1h) and record_type == "request" and isnotnull(http_status_code)
| summarize requests = count(), errors = countif(http_status_code >= 500) by timestamp = bin(timestamp, 1m)
| extend error_percent = round(100.0 * errors / requests, 2)
| order by timestamp asc""",
    ),
    Query(
        name="latency_by_route",
        summary="Latency of each route in milliseconds.",
        body="""\
PipelineLogs
| where timestamp > ago(1h) and record_type == "request" and isnotnull(duration_ms)
| summarize
    requests = count(), p50 = percentile(duration_ms, 50), p95 = percentile(duration_ms, 95),
    p99 = percentile(duration_ms, 99), slowest = max(duration_ms)
    by service_name, http_method, http_route
| order by p95 desc""",
    ),
    Query(
        name="records_by_level",
        summary="Records per minute by level.",
        body="""\
PipelineLogs
| where timestamp > ago(1h)
| summarize records = count() by timestamp = bin(timestamp, 1m), level
| order by timestamp asc, level asc""",
    ),
    Query(
        name="records_by_service",
        summary="Records by service, and the time of the newest one.",
        body="""\
PipelineLogs
| where timestamp > ago(1h)
| summarize
    records = count(), warnings = countif(level_number >= 30), errors = countif(level_number >= 40),
    instances = dcount(service_instance_id), newest = max(timestamp)
    by service_name, environment
| order by records desc""",
    ),
    Query(
        name="new_errors",
        summary="Exceptions of the last hour that did not occur in the seven days before.",
        body="""\
let known = PipelineLogs
    | where timestamp between (ago(7d) .. ago(1h)) and isnotempty(exception_fingerprint)
    | distinct exception_fingerprint;
PipelineLogs
| where timestamp > ago(1h) and isnotempty(exception_fingerprint)
| where exception_fingerprint !in (known)
| summarize records = count(), first_seen = min(timestamp), arg_max(timestamp, exception_message, trace_id)
    by exception_fingerprint, exception_type, service_name
| project first_seen, service_name, exception_type, exception_message, records, trace_id
| order by first_seen asc""",
    ),
    Query(
        name="database_by_view",
        summary="Views with the most database queries.",
        body="""\
PipelineLogs
| where timestamp > ago(1h) and record_type == "request" and isnotnull(db_query_count)
| summarize
    requests = count(), db_queries = avg(db_query_count), db_queries_max = max(db_query_count),
    db_ms = avg(db_duration_ms)
    by service_name, view_name
| order by db_queries desc""",
    ),
    Query(
        name="duplicates",
        summary="Duplicate rows per hour.",
        body="""\
PipelineLogs
| where timestamp > ago(1d) and isnotempty(record_id)
| summarize copies = count() by record_id, timestamp = bin(timestamp, 1h)
| summarize records = count(), duplicates = sum(copies) - count() by timestamp
| extend duplicate_percent = round(100.0 * duplicates / (records + duplicates), 3)
| order by timestamp asc""",
    ),
    Query(
        name="truncated",
        summary="Loggers whose records are truncated.",
        body="""\
PipelineLogs
| where timestamp > ago(1d) and truncated
| summarize records = count(), arg_max(timestamp, source_file, source_line, message_template)
    by service_name, logger_name
| project service_name, logger_name, records, source_file, source_line, message_template, newest = timestamp
| order by records desc""",
    ),
    Query(
        name="alert_error_rate",
        summary="Services where more than 5 % of at least 20 requests failed within five minutes.",
        body="""\
PipelineLogs
| where timestamp > ago(5m) and record_type == "request" and isnotnull(http_status_code)
| summarize requests = count(), errors = countif(http_status_code >= 500) by service_name
| where requests >= 20 and errors > 0.05 * requests""",
    ),
    Query(
        name="alert_silent",
        summary="Instances that wrote in the last hour and nothing in the last five minutes.",
        body="""\
PipelineLogs
| where timestamp > ago(1h)
| summarize newest = max(timestamp) by service_name, service_instance_id, host_name
| where newest < ago(5m)
| order by newest asc""",
    ),
    Query(
        name="alert_lag",
        summary="Services whose records take more than a minute to reach the table (95th percentile).",
        body="""\
PipelineLogs
| where timestamp > ago(15m)
| extend total_s = (ingestion_time() - timestamp) / 1s
| summarize records = count(), total_p95 = percentile(total_s, 95) by service_name
| where total_p95 > 60""",
    ),
    Query(
        name="alert_gaps",
        summary="Processes that dropped records in the last 15 minutes.",
        body="PipelineLogsGaps(ago(15m), now())",
    ),
)


def query_kql(query: Query, names: KqlNames) -> str:
    """Return the content of a query's file."""
    return f"// {query.summary}\n{names.rename(query.body)}\n"
