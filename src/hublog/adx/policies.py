"""The policies of the table: how fast rows become visible, how long they stay, what they cost."""

import json
from typing import Final

from hublog.adx.names import Names, quoted, text

#: Gigabytes an hour that streaming ingestion is told to expect: 1,000 records of 600 bytes a second.
RATE_GB_PER_HOUR: Final = 2.1
#: Without this policy a batch waits five minutes. Ten seconds is the least, 20 to 30 are advised.
BATCHING: Final = {
    "MaximumBatchingTimeSpan": "00:00:30",
    "MaximumNumberOfItems": 500,
    "MaximumRawDataSizeMB": 1024,
}
_DEPLOYER: Final = "aadapp=00000000-0000-0000-0000-000000000000;example.com"
RETENTION: Final = "30d"
HOT: Final = "7d"
#: Columns that hold identifiers: looked up whole, hardly ever twice the same.
IDENTIFIERS: Final = ("record_id", "trace_id", "span_id", "parent_span_id", "request_id", "correlation_id")


def policies_kql(names: Names) -> str:
    """Return the commands that set the table's policies; all may be run again."""
    table = quoted(names.table)
    streaming = json.dumps({"IsEnabled": True, "HintAllocatedRate": RATE_GB_PER_HOUR})
    encodings = "\n\n".join(
        f".alter column {table}.{column} policy encoding type='identifier'" for column in IDENTIFIERS
    )
    return f"""\
// The policies of the table. Each command stands alone, between blank lines.

// Seconds from the event hub to the table, up to 4 GB an hour. Streaming ingestion must be enabled on
// the cluster as well. HintAllocatedRate is in GB an hour; {RATE_GB_PER_HOUR} is 1,000 records of 600 bytes
// a second.
.alter table {table} policy streamingingestion
```
{streaming}
```

// What does not stream, because the cluster or the policy says no or the rate is higher, is batched:
// 30 seconds at most instead of the 5 minutes that are the default.
.alter table {table} policy ingestionbatching
```
{json.dumps(BATCHING)}
```

// So that ingestion_time() is known, which the lag is measured with.
.alter table {table} policy ingestiontime true

// Kept for {RETENTION}, then gone. The default is 1,000 years.
.alter-merge table {table} policy retention softdelete = {RETENTION} recoverability = disabled

// On fast disks for {HOT}: the largest part of the bill. The default is everything.
.alter table {table} policy caching hot = {HOT}

// Identifiers are looked up whole and hardly ever occur twice.
{encodings}
"""


def roles_kql(names: Names) -> str:
    """Return the commands that let the cluster read the event hub, and people read the table."""
    database = quoted(names.database)
    identity = json.dumps([{"ObjectId": "system", "AllowedUsages": "DataConnection"}])
    return f"""\
// Who may do what. The application needs no right here: it has the role "Azure Event Hubs Data Sender"
// on the event hub and never speaks to the cluster. Put your own principals in place of the examples.

// The data connection signs in with the cluster's own identity, which also needs the role
// "Azure Event Hubs Data Receiver" on the event hub. A key would stop working the day it is rotated.
.alter-merge database {database} policy managed_identity
```
{identity}
```

// Those who read the logs.
.add database {database} viewers ({text("aadgroup=developers@example.com")}) "read the logs"

// Those who look after ingestion: .show ingestion failures and its like.
.add database {database} monitors ({text("aadgroup=operations@example.com")}) "watch the ingestion"

// What runs these scripts at a release: the materialized view needs Database Admin, table and mapping less.
.add database {database} admins ({text(_DEPLOYER)}) "deploys the schema"
"""
