"""The table, its ingestion mapping and its policies as KQL commands, and names as KQL writes them."""

import json
import re
from dataclasses import dataclass
from typing import Final, TypedDict

from hublog.capture.columns import COLUMNS, TABLE
from hublog.settings.values import ENTITY_NAME, InvalidValueError

#: All keywords of KQL are in lower case, so such a name is not a keyword.
_NEEDS_NO_QUOTES = re.compile(r"[A-Z][A-Za-z0-9_]*", re.ASCII)
_OURS = re.compile(rf"\b{TABLE}(\w*)")


@dataclass(frozen=True, slots=True, kw_only=True)
class KqlNames:
    """The names of the table and its database.

    Raises:
        ValueError: Azure Data Explorer does not allow the name.

    Source: "Entity names" in the documentation of Azure Data Explorer.
    """

    table: str = TABLE
    database: str = "Logs"

    def __post_init__(self) -> None:
        for what, name in (("table", self.table), ("database", self.database)):
            if not _is_allowed(name):
                raise ValueError(f"The name of the {what} is {name!r}; it must be {ENTITY_NAME.allowed}.")

    @property
    def mapping(self) -> str:
        """The name of the ingestion mapping, which an event or a data connection refers to."""
        return f"{self.table}Mapping"

    def rename(self, kql: str) -> str:
        """Return KQL that is written with the table's default name, with the configured one.

        The names of functions and views begin with that of their table, and change with it.
        """
        return _OURS.sub(lambda match: quoted(self.table + match[1]), kql)


def _is_allowed(name: str) -> bool:
    try:
        return ENTITY_NAME.parse(name) == name  # a leading or trailing blank would be stripped
    except InvalidValueError:
        return False


def quoted(name: str) -> str:
    """Return a name as a KQL identifier: ``Logs``, but ``['logs-prod']``."""
    return name if _NEEDS_NO_QUOTES.fullmatch(name) else f"['{name}']"


def text(value: str) -> str:
    """Return a string as a KQL literal on one line."""
    return '"' + value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n") + '"'


#: The name under which the mapping is created, and that a data connection or event refers to.
MAPPING_NAME: Final = KqlNames().mapping


class MappingPath(TypedDict):
    """The path of a value in a record."""

    Path: str


class MappingElement(TypedDict):
    """One column of the mapping, with the keys that Azure Data Explorer expects."""

    column: str
    datatype: str
    Properties: MappingPath


def ingestion_mapping() -> list[MappingElement]:
    """Return the JSON ingestion mapping, one element per column, in the order of the table.

    Every path is ``$.<column>``: the keys of a line are the names of the columns.
    """
    return [
        {"column": column.name, "datatype": column.kind.value, "Properties": {"Path": f"$.{column.name}"}}
        for column in COLUMNS
    ]


def mapping_json() -> str:
    """Return the mapping as JSON, one element per line."""
    return "[\n" + ",\n".join(f"  {json.dumps(element)}" for element in ingestion_mapping()) + "\n]\n"


#: Expected gigabytes per hour of streaming ingestion: 1,000 records of 600 bytes per second.
RATE_GB_PER_HOUR: Final = 2.1
#: The default is a wait of five minutes. The minimum is ten seconds, 20 to 30 are recommended.
BATCHING: Final = {
    "MaximumBatchingTimeSpan": "00:00:30",
    "MaximumNumberOfItems": 500,
    "MaximumRawDataSizeMB": 1024,
}
_DEPLOYER: Final = "aadapp=00000000-0000-0000-0000-000000000000;example.com"
RETENTION: Final = "30d"
HOT: Final = "7d"
#: Columns with identifiers: looked up as a whole, hardly ever repeated.
IDENTIFIERS: Final = ("record_id", "trace_id", "span_id", "parent_span_id", "request_id", "correlation_id")


def policies_kql(names: KqlNames) -> str:
    """Return the commands that set the table's policies; all may be repeated."""
    table = quoted(names.table)
    streaming = json.dumps({"IsEnabled": True, "HintAllocatedRate": RATE_GB_PER_HOUR})
    encodings = "\n\n".join(
        f".alter column {table}.{column} policy encoding type='identifier'" for column in IDENTIFIERS
    )
    return f"""\
// The policies of the table. Run each command by itself; they are separated by blank lines.

// Seconds from the event hub to the table, up to 4 GB per hour. Streaming ingestion must be enabled on
// the cluster as well. HintAllocatedRate is in GB per hour; {RATE_GB_PER_HOUR} is 1,000 records of 600 bytes
// per second.
.alter table {table} policy streamingingestion
```
{streaming}
```

// Data that is not streamed, since it is disabled or the rate is higher, is batched: for at most
// 30 seconds instead of the default of 5 minutes.
.alter table {table} policy ingestionbatching
```
{json.dumps(BATCHING)}
```

// Enables ingestion_time(), by which the lag is measured.
.alter table {table} policy ingestiontime true

// Retention of {RETENTION}. The default is 1,000 years.
.alter-merge table {table} policy retention softdelete = {RETENTION} recoverability = disabled

// On fast disks for {HOT}: the largest part of the cost. The default is everything.
.alter table {table} policy caching hot = {HOT}

// Identifiers are looked up as a whole and hardly ever repeated.
{encodings}
"""


def roles_kql(names: KqlNames) -> str:
    """Return the commands that let the cluster read the event hub, and people read the table."""
    database = quoted(names.database)
    identity = json.dumps([{"ObjectId": "system", "AllowedUsages": "DataConnection"}])
    return f"""\
// Permissions. The application needs none here: it has the role "Azure Event Hubs Data Sender"
// on the event hub and never connects to the cluster. Replace the principals by your own.

// The data connection signs in with the cluster's own identity, which also needs the role
// "Azure Event Hubs Data Receiver" on the event hub. A key would stop working when it is rotated.
.alter-merge database {database} policy managed_identity
```
{identity}
```

// Readers of the logs.
.add database {database} viewers ({text("aadgroup=developers@example.com")}) "read the logs"

// Operators of the ingestion: .show ingestion failures and the like.
.add database {database} monitors ({text("aadgroup=operations@example.com")}) "watch the ingestion"

// The deployment that runs these scripts: the materialized view needs Database Admin, the rest needs less.
.add database {database} admins ({text(_DEPLOYER)}) "deploys the schema"
"""


FOLDER = "observability"


def table_kql(names: KqlNames) -> str:
    """Return the commands for the table and its mapping, in the order in which a release runs them.

    They can be repeated at every release: missing columns are added at the end, others stay.
    """
    table = quoted(names.table)
    columns = ",\n".join(f"    {column.name}: {column.kind}" for column in COLUMNS)
    described = ",\n".join(f"    {column.name}: {text(column.description)}" for column in COLUMNS)
    return f"""\
// The table and its ingestion mapping. Run these at every release, before the application is deployed:
// what exists stays. Run each command by itself; they are separated by blank lines.

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

// Streaming ingestion caches the schema for up to five minutes. This clears the cache.
.clear table {table} cache streamingingestion schema
"""
