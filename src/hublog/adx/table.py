"""The commands that make the table, or add to it what a newer version has more."""

from hublog.adx.mapping import mapping_json
from hublog.adx.names import Names, quoted, text
from hublog.capture.columns import COLUMNS

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
