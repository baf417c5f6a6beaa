"""The table, its ingestion mapping and its policies, as KQL commands."""

import json
from typing import Final, TypedDict

from hublog.adx.kql_names import Names, quoted, text
from hublog.capture.columns import COLUMNS

#: The name under which the mapping is created, and that a data connection or event refers to.
MAPPING_NAME: Final = Names().mapping


class MappingPath(TypedDict):
    """Where in a record the value stands."""

    Path: str


class MappingElement(TypedDict):
    """One column of the mapping, with the keys that Azure Data Explorer expects."""

    column: str
    datatype: str
    Properties: MappingPath


def ingestion_mapping() -> list[MappingElement]:
    """Return the JSON ingestion mapping, one element a column, in the order of the table.

    Every path is ``$.<column>``: the keys of a line are the names of the columns.
    """
    return [
        {"column": column.name, "datatype": column.kind.value, "Properties": {"Path": f"$.{column.name}"}}
        for column in COLUMNS
    ]


def mapping_json() -> str:
    """Return the mapping as JSON text, one element a line."""
    return "[\n" + ",\n".join(f"  {json.dumps(element)}" for element in ingestion_mapping()) + "\n]\n"


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


FOLDER = "observability"


def table_kql(names: Names) -> str:
    """Return the commands for the table and its mapping, in the order in which a release runs them.

    Safe to run again at every release: columns that the table lacks are added at its end, others stay.
    """
    table = quoted(names.table)
    columns = ",\n".join(f"    {column.name}: {column.kind}" for column in COLUMNS)
    described = ",\n".join(f"    {column.name}: {text(column.description)}" for column in COLUMNS)
    return f"""\
// The table and its ingestion mapping. Run these at every release, before the application: what is
// there already stays as it is. Each command stands alone, between blank lines.

.create-merge table {table} (
{columns}
) with (folder = {text(FOLDER)}, docstring = "Log records of applications")

.alter-merge table {table} column-docstrings (
{described}
)

// A data connection, and an event's IngestionMappingReference, name this mapping.
.create-or-alter table {table} ingestion json mapping {text(names.mapping)}
```
{mapping_json().rstrip()}
```

// Streaming ingestion remembers the schema for up to five minutes. This makes it look again now.
.clear table {table} cache streamingingestion schema
"""
