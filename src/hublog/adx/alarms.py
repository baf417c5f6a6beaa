"""Alarms over the table: what is wrong with the way of the records, by the heartbeats that are in it.

They have the names of the alarms for Prometheus where they find the same, and use the table's default name.
"""

import re
from typing import Final

from hublog.adx.functions import Query

#: The comment above an alarm is its name and its summary; what may be changed stands in its ``let``.
_ALARMS: Final = """\
// HublogCircuitOpen: Processes that could not send for more than five minutes; known when their rows arrive.
let within = 15m;
let open_for = 5m;
PipelineLogs
| where sent_at > ago(within) and record_type == "heartbeat"
| extend destination = tostring(metrics.destination), circuit = tostring(metrics.circuit),
    open_s = coalesce(toreal(metrics.last_success_age_s), toreal(metrics.counted_s))
| where circuit != "closed" and open_s > open_for / 1s
| summarize open_s = max(open_s), last_error = take_any(tostring(metrics.last_error)), newest = max(timestamp)
    by service_name, service_instance_id, host_name, process_id, destination
| order by open_s desc

// HublogQueueNearlyFull: Processes whose memory queue is more than 80 % full.
let within = 5m;
let share = 0.8;
PipelineLogs
| where timestamp > ago(within) and record_type == "heartbeat"
| extend destination = tostring(metrics.destination)
| summarize arg_max(timestamp, metrics)
    by service_name, service_instance_id, host_name, process_id, destination
| extend queue_share = toreal(metrics.queue_share), queued = tolong(metrics.queued)
| where queue_share > share
| project
    service_name, service_instance_id, host_name, process_id, destination, queue_share, queued, timestamp
| order by queue_share desc

// HublogRecordsDropped: Processes that have lost records in the last 15 minutes.
let within = 15m;
PipelineLogs
| where sent_at > ago(within) and record_type == "heartbeat"
| extend destination = tostring(metrics.destination), lost_total = tolong(metrics.lost_total),
    counted_s = toreal(metrics.counted_s), interval_s = toreal(metrics.interval_s)
| summarize
    lost_before = min(lost_total), lost_after = max(lost_total), begun_s = min(counted_s),
    interval_s = max(interval_s), newest = max(timestamp)
    by service_name, service_instance_id, host_name, process_id, destination
// The first row of a process has what was lost before it.
| extend lost = lost_after - iff(begun_s < 1.5 * interval_s, 0, lost_before)
| where lost > 0
| project service_name, service_instance_id, host_name, process_id, destination, lost, newest
| order by lost desc

// HublogSpoolNearlyFull: Processes whose spool is more than 80 % full.
let within = 5m;
let share = 0.8;
PipelineLogs
| where timestamp > ago(within) and record_type == "heartbeat"
| extend destination = tostring(metrics.destination)
| summarize arg_max(timestamp, metrics)
    by service_name, service_instance_id, host_name, process_id, destination
| extend spool_share = toreal(metrics.spool_share), spooled = tolong(metrics.spooled)
| where spool_share > share
| project
    service_name, service_instance_id, host_name, process_id, destination, spool_share, spooled, timestamp
| order by spool_share desc

// HublogRecordsOld: Processes with a record that waits for more than ten minutes.
let within = 5m;
let older_than = 10m;
PipelineLogs
| where timestamp > ago(within) and record_type == "heartbeat"
| extend destination = tostring(metrics.destination)
| summarize arg_max(timestamp, metrics)
    by service_name, service_instance_id, host_name, process_id, destination
| extend oldest_age_s = toreal(metrics.oldest_age_s)
| where oldest_age_s > older_than / 1s
| project service_name, service_instance_id, host_name, process_id, destination, oldest_age_s, timestamp
| order by oldest_age_s desc

// HublogDeliveryLag: Services whose records take more than five minutes to the table (95th percentile).
let within = 15m;
let lag = 5m;
PipelineLogs
| where ingestion_time() > ago(within)
| extend
    total_s = (ingestion_time() - timestamp) / 1s,
    application_s = (sent_at - timestamp) / 1s,
    azure_s = (ingestion_time() - sent_at) / 1s
| summarize
    records = count(), total_p95 = percentile(total_s, 95),
    application_p95 = percentile(application_s, 95), azure_p95 = percentile(azure_s, 95)
    by service_name
| where total_p95 > lag / 1s
| order by total_p95 desc

// HublogSilent: Instances whose heartbeats have stopped for five minutes, and that have not ended.
let within = 1h;
let silent_for = 5m;
PipelineLogs
| where timestamp > ago(within) and record_type == "heartbeat"
| summarize arg_max(timestamp, event_name, metrics) by service_name, service_instance_id, host_name
| extend silent_s = (now() - timestamp) / 1s, interval_s = toreal(metrics.interval_s)
| where event_name != "handler.ended" and silent_s > silent_for / 1s and silent_s > 3 * interval_s
| project service_name, service_instance_id, host_name, silent_s, state = tostring(metrics.state), timestamp
| order by silent_s desc
"""
ALARMS: Final = tuple(
    Query(name, summary, body.rstrip())
    for name, summary, body in re.findall(r"// (\w+): (.+)\n((?:.+\n)+)", _ALARMS)
)
