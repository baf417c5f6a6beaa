"""KQL over what the hub stored, answered by DuckDB through duckdb-kql: a stand-in for ADX, not ADX.

Nothing is loaded and nothing locked: the table is a view over the files, so any number of queries run
while the hub writes. What cannot be answered exactly is an error, never another answer.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Final

import orjson

from hublog.adx import FUNCTIONS, ingestion_mapping
from hublog.capture.columns import TABLE, Kind
from hublog_local.errors import LocalHubError
from hublog_local.ingest import MAX_ROW_BYTES, OWN_COLUMNS
from hublog_local.kql_text import (
    INGESTION_TIME,
    limited,
    misspelt,
    operator_at,
    refused,
    rewritten,
    unknown_operator,
    unsupported,
)
from hublog_local.store import table_files

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

_TYPES: Final = {
    Kind.DATETIME: "TIMESTAMP",
    Kind.STRING: "VARCHAR",
    Kind.INT: "INTEGER",
    Kind.LONG: "BIGINT",
    Kind.REAL: "DOUBLE",
    Kind.BOOL: "BOOLEAN",
    Kind.DYNAMIC: "JSON",
}
#: The files can be renamed under a query; then it is asked again.
_ATTEMPTS: Final = 5


@dataclass(frozen=True, slots=True)
class Result:
    """The answer to a query.

    Attributes:
        columns: names, in order.
        rows: values of each row: a datetime is an aware ``datetime`` in UTC, a timespan a ``timedelta``,
            a dynamic value what its JSON says, null is None.
    """

    columns: Sequence[str]
    rows: Sequence[tuple[object, ...]]

    def records(self) -> list[dict[str, object]]:
        """Return each row as a mapping from column to value."""
        return [dict(zip(self.columns, row, strict=True)) for row in self.rows]


def run_kql(text: str, data_dir: Path | str) -> Result:
    """Answer a KQL query about the rows stored in a directory.

    Args:
        text: one query, like ``PipelineLogs | where level == "ERROR" | count``. ``ingestion_time()`` is
            the column ``_ingestion_time``; the stored functions of the schema are there, like
            ``PipelineLogsErrors(ago(1h), now())``.
        data_dir: where ``hublog local`` stores; it may be writing at the same time.

    Raises:
        LocalHubError: the directory does not exist, or the query is wrong or not supported here; the
            message says what, and where it is known, what to write instead.
    """
    data_dir = Path(data_dir)
    if not data_dir.is_dir():
        raise LocalHubError(
            f"There is no directory {str(data_dir)!r}; start hublog local, or name it with --data."
        )
    if not text.strip():
        raise LocalHubError(f"The query is empty; it must be like '{TABLE} | count'.")
    for _ in range(_ATTEMPTS):
        files = _identities(data_dir)
        try:
            result = _answer(rewritten(text), list(files))
        except LocalHubError:
            if files == _identities(data_dir):
                raise
        else:
            if files == _identities(data_dir):
                return result
    raise LocalHubError("The files change faster than they can be read; ask again.")


def _identities(data_dir: Path) -> dict[Path, int]:
    inodes = {}
    for path in table_files(data_dir.resolve()):
        try:
            inodes[path] = path.stat().st_ino
        except FileNotFoundError:
            continue
    return inodes


def _columns() -> dict[str, Kind]:
    mapped = {element["column"]: Kind(element["datatype"]) for element in ingestion_mapping()}
    return mapped | dict(OWN_COLUMNS)


def _answer(text: str, files: Sequence[Path]) -> Result:
    import duckdb  # noqa: PLC0415  # heavy
    import duckdb_kql  # noqa: PLC0415

    columns = _columns()
    for name, meant in misspelt(text, [TABLE, *columns]):
        raise LocalHubError(f"There is no {name!r}, and KQL minds upper and lower case; write {meant!r}.")
    if name := limited(text):
        raise LocalHubError(
            f"The local hub does not know {name}() with a limit; leave it out, and take"
            " array_slice(x, 0, n - 1) of the result."
        )
    with duckdb_kql.connect(config={"autoinstall_known_extensions": "false"}) as connection:
        try:
            _show_table(connection, columns, files)  # a file may be renamed in this moment
            relation = duckdb_kql.kql(connection, text, allow_write=False, functions=_functions())
            if relation is None:
                raise LocalHubError("That is not a query with a result; begin with the table.")
            names, types, rows = relation.columns, [str(kind) for kind in relation.types], relation.fetchall()
        except duckdb_kql.KqlSyntaxError as error:
            raise LocalHubError(_syntax_error(text, error.diagnostics)) from error
        except duckdb_kql.KqlUnsupportedError as error:
            raise LocalHubError(unsupported(error.construct, error.hint or "")) from error
        except (duckdb_kql.KqlError, duckdb.Error) as error:
            raise LocalHubError(refused(str(error), [TABLE], columns, INGESTION_TIME)) from error
        except RecursionError as error:
            raise LocalHubError("The query is nested too deeply; write it in steps, with let.") from error
    converters = [_CONVERTERS.get(kind) for kind in types]
    return Result(names, [tuple(map(_converted, converters, row)) for row in rows])


def _functions() -> list[str]:
    """Return the stored functions that ``hublog schema functions`` makes in ADX."""
    return [
        f"function {function.name}({function.parameters}) {{{rewritten(function.body)}}}"
        for function in FUNCTIONS
    ]


def _show_table(connection: "DuckDBPyConnection", columns: dict[str, Kind], files: Sequence[Path]) -> None:
    """Make the view, then close the connection's doors: a query reads the table and nothing else."""
    typed = {name: _TYPES[kind] for name, kind in columns.items()}
    # Kusto has no null text: a column that nothing fills is the empty one.
    selected = ", ".join(
        f'coalesce("{name}", \'\') AS "{name}"' if kind is Kind.STRING else f'"{name}"'
        for name, kind in columns.items()
    )
    if files:
        paths = "[" + ", ".join(_quoted(str(path)) for path in files) + "]"
        struct = ", ".join(f'"{name}": {_quoted(kind)}' for name, kind in typed.items())
        # A line that is being written is not JSON yet: all null, and so without an ingestion time.
        source = (
            f"read_json({paths}, columns={{{struct}}}, format='newline_delimited', ignore_errors=true,"
            f" maximum_object_size={2 * MAX_ROW_BYTES}) WHERE {INGESTION_TIME} IS NOT NULL"
        )
        connection.execute(f"SET allowed_paths={paths}")
    else:
        nulls = ", ".join(f'NULL::{kind} AS "{name}"' for name, kind in typed.items())
        source = f"(SELECT {nulls}) WHERE false"
    # All of this is ours: names from the mapping, and paths, quoted.
    connection.execute(f'CREATE VIEW "{TABLE}" AS SELECT {selected} FROM {source}')  # noqa: S608
    connection.execute("SET python_enable_replacements=false")
    connection.execute("SET enable_external_access=false")


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def _syntax_error(text: str, diagnostics: Sequence[object]) -> str:
    if not diagnostics:
        return "The query cannot be read; check quotes, brackets and pipes."
    first = diagnostics[0]
    span = getattr(first, "span", None)
    line, column = getattr(span, "line", 1), getattr(span, "column", 0)
    operator = operator_at(text, line, column)
    if operator:
        return unknown_operator(operator)
    source = text.splitlines()[line - 1] if 0 < line <= len(text.splitlines()) else ""
    rest = source[column:].strip()
    seen = f"at {rest[:30]!r}" if rest else "where it ends"
    return f"The query cannot be read {seen} (line {line}, column {column + 1}); check what stands before."


def _utc(value: object) -> object:
    return value.replace(tzinfo=UTC) if isinstance(value, datetime) else value


def _from_json(value: object) -> object:
    return orjson.loads(value) if isinstance(value, str) else value


def _converted(convert: Callable[[object], object] | None, value: object) -> object:
    return value if convert is None else convert(value)


_CONVERTERS: Final[dict[str, Callable[[object], object]]] = {
    "TIMESTAMP": _utc,
    "TIMESTAMP_S": _utc,
    "TIMESTAMP_MS": _utc,
    "TIMESTAMP_NS": _utc,
    "TIMESTAMP WITH TIME ZONE": _utc,
    "JSON": _from_json,
    "UUID": str,
}
