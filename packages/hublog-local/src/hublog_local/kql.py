"""KQL over what the hub stored, answered by DuckDB through duckdb-kql: a stand-in for ADX, not ADX.

Nothing is loaded and nothing locked: the table is a view over the files, so any number of queries run
while the hub writes. What cannot be answered exactly is an error, never another answer.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from difflib import get_close_matches
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Final

from hublog.adx import FUNCTIONS, ingestion_mapping
from hublog.capture.columns import TABLE, Kind
from hublog_local.adx_values import from_json
from hublog_local.errors import LocalHubError
from hublog_local.ingest import MAX_ROW_BYTES, OWN_COLUMNS
from hublog_local.store import table_files

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

#: What ``ingestion_time()`` is here.
INGESTION_TIME: Final = "_ingestion_time"

#: String literals (verbatim, multi-line, plain) and comments: nothing in them is a name.
_SKIPPED: Final = (
    r"""@"(?:[^"]|"")*"|@'(?:[^']|'')*'|```.*?```|~~~.*?~~~"""
    r"""|"(?:\\.|[^"\\\n])*"|'(?:\\.|[^'\\\n])*'|//[^\n]*"""
)
_CALL = re.compile(rf"(?P<skipped>{_SKIPPED})|\bingestion_time\s*\(\s*\)", re.DOTALL)
_NAME = re.compile(rf"(?P<skipped>{_SKIPPED})|(?P<before>\.\s*|\b)(?P<name>[A-Za-z_]\w*)\b", re.DOTALL)
_LIMITED: Final = re.compile(r"\b(make_list|make_set)\s*\(")
#: A name that is defined here (``x = ...``, ``x: long``) or called is not a column.
_MADE: Final = re.compile(r"\s*(?:=(?![=~])|:|\()")

_TYPES: Final = {
    Kind.DATETIME: "TIMESTAMP",
    Kind.STRING: "VARCHAR",
    Kind.INT: "INTEGER",
    Kind.LONG: "BIGINT",
    Kind.REAL: "DOUBLE",
    Kind.BOOL: "BOOLEAN",
    Kind.DYNAMIC: "JSON",
}
#: The files can be renamed while they are linked; then they are linked again.
_ATTEMPTS: Final = 20


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
    data_dir = data_dir.resolve()
    with ExitStack() as stack:
        try:
            links = stack.enter_context(TemporaryDirectory(prefix=".query-", dir=data_dir))
            files = _linked(data_dir, Path(links))
        except OSError:  # it is read-only, or the file system has no links
            files = table_files(data_dir)
        return _answer(_rewritten(text), files)


def _linked(data_dir: Path, links: Path) -> list[Path]:
    """Return further names of the table's files, which stay theirs while the hub renames or removes them.

    Raises:
        LocalHubError: they are renamed faster than they can be linked.
    """
    for attempt in range(_ATTEMPTS):
        linked: list[Path] = []
        try:
            for path in table_files(data_dir):
                linked.append(links / f"{attempt}-{len(linked)}-{path.name}")
                linked[-1].hardlink_to(path)
            if _identities(linked) == _identities(table_files(data_dir)):
                return linked
        except FileNotFoundError:
            continue
    raise LocalHubError("The files change faster than they can be read; ask again.")


def _identities(paths: Iterable[Path]) -> list[int]:
    return [path.stat().st_ino for path in paths]


def _columns() -> dict[str, Kind]:
    mapped = {element["column"]: Kind(element["datatype"]) for element in ingestion_mapping()}
    return mapped | dict(OWN_COLUMNS)


def _answer(text: str, files: Sequence[Path]) -> Result:
    import duckdb  # noqa: PLC0415  # heavy
    import duckdb_kql  # noqa: PLC0415

    columns = _columns()
    for name, meant in _misspelt(text, [TABLE, *columns]):
        raise LocalHubError(f"There is no {name!r}, and KQL minds upper and lower case; write {meant!r}.")
    if name := _limited(text):
        raise LocalHubError(
            f"The local hub does not know {name}() with a limit; leave it out, and take"
            " array_slice(x, 0, n - 1) of the result."
        )
    with duckdb_kql.connect(config={"autoinstall_known_extensions": "false"}) as connection:
        try:
            _show_table(connection, columns, files)
            relation = duckdb_kql.kql(connection, text, allow_write=False, functions=_functions(text))
            if relation is None:
                raise LocalHubError("That is not a query with a result; begin with the table.")
            names, types, rows = relation.columns, [str(kind) for kind in relation.types], relation.fetchall()
        except duckdb_kql.KqlSyntaxError as error:
            raise LocalHubError(_syntax_error(text, error.diagnostics)) from error
        except duckdb_kql.KqlUnsupportedError as error:
            raise LocalHubError(_unsupported(error.construct, error.hint or "")) from error
        except (duckdb_kql.KqlError, duckdb.Error) as error:
            raise LocalHubError(_refusal(str(error), columns)) from error
        except RecursionError as error:
            raise LocalHubError("The query is nested too deeply; write it in steps, with let.") from error
    converters = [_CONVERTERS.get(kind, _as_it_is) for kind in types]
    return Result(
        names, [tuple(convert(value) for convert, value in zip(converters, row, strict=True)) for row in rows]
    )


def _functions(text: str) -> list[str]:
    """Return the stored functions of the schema that a query names; to parse all takes 0.15 s."""
    return [
        f"function {function.name}({function.parameters}) {{{_rewritten(function.body)}}}"
        for function in FUNCTIONS
        if function.name in text
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
    operator = _operator_at(text, line, column)
    if operator:
        return _unknown_operator(operator)
    source = text.splitlines()[line - 1] if 0 < line <= len(text.splitlines()) else ""
    rest = source[column:].strip()
    seen = f"at {rest[:30]!r}" if rest else "where it ends"
    return f"The query cannot be read {seen} (line {line}, column {column + 1}); check what stands before."


def _utc(value: object) -> object:
    return value.replace(tzinfo=UTC) if isinstance(value, datetime) else value


def _as_it_is(value: object) -> object:
    return value


def _from_json(value: object) -> object:
    return from_json(value) if isinstance(value, str) else value


_CONVERTERS: Final[dict[str, Callable[[object], object]]] = {
    **dict.fromkeys(("TIMESTAMP", "TIMESTAMP_S", "TIMESTAMP_MS", "TIMESTAMP_NS"), _utc),
    "TIMESTAMP WITH TIME ZONE": _utc,
    "JSON": _from_json,
    "UUID": str,
}


# KQL as text: string literals and comments are skipped; the parser runs after this.


def _rewritten(text: str) -> str:
    """Return the query with ``ingestion_time()`` as the column that it is here."""
    return _CALL.sub(lambda match: match["skipped"] or INGESTION_TIME, text)


def _misspelt(text: str, known: Iterable[str]) -> Iterator[tuple[str, str]]:
    """Find names that differ from a known one only in upper and lower case.

    DuckDB is case-insensitive; ADX is not, and would not know the column.

    Yields:
        The name as written and as it should be.
    """
    spelling = {name.lower(): name for name in known}
    names: dict[str, bool] = {}
    for match in _NAME.finditer(text):
        if match["skipped"] is None and not match["before"]:
            names[match["name"]] = names.get(match["name"], False) or bool(_MADE.match(text, match.end()))
    for name, is_made in names.items():
        meant = spelling.get(name.lower(), name)
        if meant != name and not is_made:
            yield name, meant


def _limited(text: str) -> str:
    """Return the first of ``make_list`` and ``make_set`` that is called with a limit, empty if none is.

    duckdb-kql 1.1 ignores the limit silently, which gives another answer than ADX.
    """
    masked = _CALL.sub(lambda match: " " * len(match[0]) if match["skipped"] else match[0], text)
    for match in _LIMITED.finditer(masked):
        depth = 1
        for character in masked[match.end() :]:
            depth += (character in "([{") - (character in ")]}")
            if depth == 0:
                break
            if depth == 1 and character == ",":
                return match[1]
    return ""


def _operator_at(text: str, line: int, column: int) -> str:
    """Return the operator after the pipe at a line (from 1) and a column (from 0), empty if there is none."""
    lines = text.splitlines()
    if not 0 < line <= len(lines):
        return ""
    rest = "\n".join([lines[line - 1][column:], *lines[line:]])
    match = re.match(r"\|\s*([A-Za-z][\w-]*)", rest)
    return match[1] if match else ""


#: By the name of the operator or function.
_ADVICE: Final = {
    "percentiles": "write one percentile() for each: percentile(x, 50), percentile(x, 95)",
    "percentilew": "use percentile()",
    "percentilesw": "use percentile()",
    "percentiles_array": "write one percentile() for each",
    "make-series": "use summarize ... by bin(timestamp, 1m); empty bins are then missing",
    "take_any": "use arg_max(sent_at, *)",
    "take_anyif": "filter with where, then use arg_max(sent_at, *)",
    "any": "use arg_max(sent_at, *)",
    "arg_min": "name the columns: arg_min(timestamp, message)",
    "search": 'name the columns: where message has "..." or exception_message has "..."',
    "find": 'use where message has "..."',
    "*": "name the column: where message has ...",
    "parse": 'begin with a text: parse message with * "order " id " " *; or use extract(regex, 1, x)',
    "parse-kv": "use extract(regex, 1, message)",
    "top": "write the number itself: top 10 by duration_ms",
    "top-nested": "use summarize, then top",
    "top-hitters": "use summarize count() by ..., then top",
    "prev": "join the table with itself on sequence + 1",
    "next": "join the table with itself on sequence + 1",
    "row_number": "use sequence, or order by ... | take n",
    "row_cumsum": "use summarize sum() by bin()",
    "row_rank_dense": "use order by ... | take n",
    "serialize": "leave it out; row_number(), prev() and next() are not there either",
    "evaluate": "name the keys: extend items = toint(extra.cart.items)",
    "bag_unpack": "name the keys: extend items = toint(extra.cart.items)",
    "pivot": "use countif() for each value",
    "project-keep": "use project",
    "project-reorder": "use project",
    "sample": "use take",
    "sample-distinct": "use distinct ... | take n",
    "as": "use let before the query",
    "invoke": "write the query of the function itself",
    "fork": "run one query after the other",
    "facet": "use summarize count() by ..., once for each column",
    "partition": "use summarize ... by ...",
    "scan": "join the table with itself on sequence + 1",
    "reduce": "use summarize count() by message_template",
    "consume": "use count",
    "externaldata": "the local hub reads its own table only",
    "make_bag": "use make_list() of a column",
    "make_bag_if": "use make_list() of a column",
    "buildschema": "use getschema",
    "series_decompose_anomalies": "compare avg() and stdev() by bin(timestamp, 1h)",
    "hll": "use dcount()",
    "tdigest": "use percentile()",
}

#: What duckdb-kql 1.1 answers.
_OPERATORS: Final = (
    "where", "project", "project-away", "project-rename", "extend", "summarize", "join", "mv-expand",
    "distinct", "count", "sort", "order", "top", "take", "limit", "union", "lookup", "parse", "parse-where",
    "render", "getschema",
)  # fmt: skip
#: Names of the translator that are not those of KQL.
_RENAMED: Final = {
    "Wildcard": "take_any",
    "StringStarOperatorExpression": "*",
    "ExternalDataExpression": "externaldata",
    "TopNestedOperatorPart": "top-nested",
    "FacetByOperator": "facet",
    "ReduceByOperator": "reduce",
}

_COLUMN = (
    re.compile(r'(?:Referenced c|C)olumn "([^"]+)" (?:not found|referenced)'),
    re.compile(r'does not have a column named "([^"]+)"'),
)
_TABLE = re.compile(r"(?:Table|View) with name (.+?) does not exist")
_NO_FUNCTION = re.compile(r"No function matches the given name and argument types '([^']+)'")
_CAMEL = re.compile(r"(?<=[a-z])(?=[A-Z])")
_SUFFIX = re.compile(r"(?:Operator|Expression)$")


def _unsupported(construct: str, hint: str = "") -> str:
    """Return a sentence about KQL that exists and is not answered here, with what to write instead.

    Args:
        construct: how the translator calls it: ``aggregate:percentiles``, ``SearchOperator``,
            ``function:prev``, ``expression:Wildcard``, ``control command '.drop table T'`` ...
        hint: what the translator adds.
    """
    if construct == "multi-statement":
        return "The local hub answers one query at a time; run one after the other."
    if " command " in construct:
        return f"{construct.partition(' command ')[2]} is a command; the local hub answers queries only."
    kind, _, name = construct.rpartition(":")
    name = kind if kind == "invoke" else _RENAMED.get(name) or _CAMEL.sub("-", _SUFFIX.sub("", name)).lower()
    is_function = kind in {"function", "aggregate"} or construct == "expression:Wildcard"
    word = f"{'function' if is_function else 'KQL'} {name!r}"
    if "argument(s)" in hint:
        return f"The local hub does not know the {word} in this form: {hint}."
    return f"The local hub does not know the {word}; {_advice(name)}"


def _unknown_operator(name: str) -> str:
    """Return a sentence about a word after a pipe at which a query cannot be read on."""
    if name in _OPERATORS:
        return (
            f"The query cannot be read from {name!r} on; something is missing or too much,"
            " or a name is a word of KQL and needs ['...'] around it."
        )
    return f"The local hub does not know the operator {name!r}; {_advice(name)}"


def _advice(name: str) -> str:
    if name in _ADVICE:
        return f"{_ADVICE[name]}. ADX itself has it."
    near = get_close_matches(name, _OPERATORS, 1)
    if near:
        return f"did you mean {near[0]!r}?"
    return "check how it is written, or ask ADX itself: this is a stand-in for development."


def _refusal(message: str, columns: Iterable[str]) -> str:
    """Return a sentence for an error of DuckDB: which table, column or type was wrong."""
    if match := _TABLE.search(message):
        return f"There is no table {match[1]!r}; there is {TABLE}."
    for pattern in _COLUMN:
        if match := pattern.search(message):
            return _unknown_column(match[1], columns)
    if match := _NO_FUNCTION.search(message):
        return (
            f"The types do not fit: {match[1]}. Values of extra and metrics need tostring(), tolong() or"
            " todouble() around them."
        )
    first = message.strip().splitlines()[0] if message.strip() else "no reason was given"
    return f"The query cannot be answered: {first}"


def _unknown_column(name: str, columns: Iterable[str]) -> str:
    if name == INGESTION_TIME:
        return (
            "ingestion_time() is not known after the columns have been chosen;"
            " use it before project, summarize and distinct: extend at = ingestion_time()."
        )
    near = get_close_matches(name, columns, 1)
    advice = f"did you mean {near[0]!r}?" if near else "'PipelineLogs | getschema' shows what there is."
    return f"There is no column {name!r} at that place; {advice}"
