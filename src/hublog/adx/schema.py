"""Everything that is generated for Azure Data Explorer: commands, queries, and the columns' reference."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

from hublog.adx.alarms import ALARMS
from hublog.adx.functions import QUERIES, functions_kql, materialized_view_kql, query_kql
from hublog.adx.tables import KqlNames, mapping_json, policies_kql, roles_kql, table_kql
from hublog.capture.columns import COLUMNS


def columns_markdown() -> str:
    """Return the reference of the columns as a Markdown table."""
    rows = ["| # | column | type | group | from | meaning |", "| ---: | --- | --- | --- | --- | --- |"]
    for number, column in enumerate(COLUMNS, start=1):
        cells = (
            str(number),
            f"`{column.name}`",
            column.kind.value,
            column.group.value,
            column.source.replace("|", "\\|"),
            column.description.replace("|", "\\|"),
        )
        rows.append(f"| {' | '.join(cells)} |")
    return "\n".join(rows) + "\n"


def columns_text() -> str:
    """Return one line per column, in the order of the table: name, type, group, meaning."""
    widths = [max(len(getattr(column, part)) for column in COLUMNS) for part in ("name", "kind", "group")]
    return "".join(
        f"{column.name:<{widths[0]}}  {column.kind.value:<{widths[1]}}  {column.group.value:<{widths[2]}}"
        f"  {column.description}\n"
        for column in COLUMNS
    )


#: By file name, in the order in which they are run on a new database.
_SCRIPTS: Final[Mapping[str, Callable[[KqlNames], str]]] = {
    "table.kql": table_kql,
    "policies.kql": policies_kql,
    "functions.kql": functions_kql,
    "materialized_view.kql": materialized_view_kql,
    "roles.kql": roles_kql,
}


#: By the argument of ``hublog schema``.
PARTS: Final[Mapping[str, Callable[[KqlNames], str]]] = {
    "columns": lambda _: columns_text(),
    "table": table_kql,
    "mapping": lambda _: mapping_json(),
    "policies": policies_kql,
    "functions": functions_kql,
    "view": materialized_view_kql,
    "roles": roles_kql,
    "queries": lambda names: "\n".join(query_kql(query, names) for query in QUERIES),
    "alarms": lambda names: "\n".join(query_kql(alarm, names) for alarm in ALARMS),
    "all": lambda names: "\n".join(make(names) for make in _SCRIPTS.values()),
}


def files(names: KqlNames) -> dict[str, str]:
    """Return the files to commit by their path in the folder: scripts, and one for each query and alarm."""
    scripts = {name: make(names) for name, make in _SCRIPTS.items()}
    queries = {f"queries/{query.name}.kql": query_kql(query, names) for query in QUERIES}
    alarms = {f"alarms/{alarm.name}.kql": query_kql(alarm, names) for alarm in ALARMS}
    return {"ingestion_mapping.json": mapping_json(), **scripts, **queries, **alarms}


def write_files(folder: Path, names: KqlNames) -> list[Path]:
    """Write the files into a folder, which is created if missing; returns their paths.

    Raises:
        OSError: the folder cannot be written.
    """
    written = []
    for name, text in files(names).items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        written.append(path)
    return written
