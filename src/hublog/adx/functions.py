"""Stored functions over the table, and the materialized view.

Their bodies use the table's default name; ``KqlNames.rename`` replaces it.
"""

import re
from dataclasses import dataclass
from typing import Final

from hublog.adx.tables import FOLDER, KqlNames, quoted, text
from hublog.capture.columns import COLUMNS, TABLE, Group

_WINDOW: Final = "from_: datetime, to_: datetime"


@dataclass(frozen=True, slots=True, kw_only=True)
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


FUNCTIONS: Final = (
    Function(
        name=f"{TABLE}Dedup",
        parameters=_WINDOW,
        summary="The records of a time span, each once: delivery is at least once.",
        body="""\
// Rows of other producers may have no record_id; they are kept as they are.
let rows = PipelineLogs | where timestamp between (from_ .. to_);
union
    (rows | where isempty(record_id)),
    (rows | where isnotempty(record_id) | summarize arg_max(sent_at, *) by record_id)""",
    ),
    Function(
        name=f"{TABLE}Errors",
        parameters=_WINDOW,
        summary="Errors and failed requests of a time span, one row per error, the most frequent first.",
        body="""\
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
| order by records desc, last_seen desc""",
    ),
    Function(
        name=f"{TABLE}SlowRequests",
        parameters=f"{_WINDOW}, slower_than_ms: real = 1000.0",
        summary="Requests of a time span that took longer than a limit in milliseconds, the slowest first.",
        body="""\
PipelineLogs
| where timestamp between (from_ .. to_) and record_type == "request" and duration_ms > slower_than_ms
| project
    timestamp, duration_ms, service_name, http_method, http_route, http_path, http_status_code,
    db_query_count, db_duration_ms, user_id, request_id, trace_id
| order by duration_ms desc""",
    ),
    Function(
        name=f"{TABLE}Trace",
        parameters="id: string, within: timespan = 1d",
        summary="All records with a trace, request, correlation, task or record id, in order.",
        body="""\
PipelineLogs
| where timestamp > ago(within)
| where trace_id == id or request_id == id or correlation_id == id or task_id == id or record_id == id
| order by timestamp asc, process_id asc, sequence asc""",
    ),
    Function(
        name=f"{TABLE}Lag",
        parameters=f"{_WINDOW}, step: timespan = 1m",
        summary="Seconds from the log call to the table: in total, until sent, and after that.",
        body="""\
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
| order by timestamp asc""",
    ),
    Function(
        name=f"{TABLE}Gaps",
        parameters=_WINDOW,
        summary="Processes with missing records in a time span: a gap in sequence is a dropped record.",
        body="""\
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
| order by lost desc""",
    ),
    Function(
        name=f"{TABLE}AsOTel",
        parameters=_WINDOW,
        summary="The records of a time span with the columns of OpenTelemetry's exporter.",
        body=_as_otel(),
    ),
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
