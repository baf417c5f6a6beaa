"""The ingestion mapping: which key of a JSON line fills which column of the table."""

import json
from typing import Final, TypedDict

from hublog.adx.names import Names
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
