"""Azure Data Explorer: what is generated for it from the columns."""

from hublog.adx.mapping import MAPPING_NAME, MappingElement, MappingPath, ingestion_mapping

__all__ = ["MAPPING_NAME", "MappingElement", "MappingPath", "ingestion_mapping"]
