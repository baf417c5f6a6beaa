"""Azure Data Explorer: what is generated for it from the columns."""

from hublog.adx.alarms import ALARMS
from hublog.adx.functions import FUNCTIONS, QUERIES, VIEW_NAME, VIEW_QUERY, Function, Query
from hublog.adx.schema import PARTS, columns_markdown, files, write_files
from hublog.adx.tables import MAPPING_NAME, KqlNames, MappingElement, MappingPath, ingestion_mapping

__all__ = [
    "ALARMS",
    "FUNCTIONS",
    "MAPPING_NAME",
    "PARTS",
    "QUERIES",
    "VIEW_NAME",
    "VIEW_QUERY",
    "Function",
    "KqlNames",
    "MappingElement",
    "MappingPath",
    "Query",
    "columns_markdown",
    "files",
    "ingestion_mapping",
    "write_files",
]
