"""What to write instead of KQL that the local hub does not answer, and who is at fault in an error."""

import re
from collections.abc import Iterable
from difflib import get_close_matches
from typing import Final

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
    "where",
    "project",
    "project-away",
    "project-rename",
    "extend",
    "summarize",
    "join",
    "mv-expand",
    "distinct",
    "count",
    "sort",
    "order",
    "top",
    "take",
    "limit",
    "union",
    "lookup",
    "parse",
    "parse-where",
    "render",
    "getschema",
)
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


def unsupported(construct: str, hint: str = "") -> str:
    """Return a sentence about KQL that exists and is not answered here, with what to write instead.

    Args:
        construct: how the translator calls it: ``aggregate:percentiles``, ``SearchOperator``,
            ``function:prev``, ``expression:Wildcard``, ``control command '.drop table T'`` ...
        hint: what the translator says beside it.
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


def unknown_operator(name: str) -> str:
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


def refused(message: str, tables: Iterable[str], columns: Iterable[str], rename: str) -> str:
    """Return a sentence for an error of DuckDB: which table, column or type was wrong.

    Args:
        message: of the error.
        tables: those that exist.
        columns: those that exist.
        rename: the column that stands for ``ingestion_time()``.
    """
    if found := _TABLE.search(message):
        return f"There is no table {found[1]!r}; there is {', '.join(tables)}."
    for pattern in _COLUMN:
        if found := pattern.search(message):
            return _unknown_column(found[1], list(columns), rename)
    if found := _NO_FUNCTION.search(message):
        return (
            f"The types do not fit: {found[1]}. Values of extra and metrics need tostring(), tolong() or"
            " todouble() around them."
        )
    first = message.strip().splitlines()[0] if message.strip() else "no reason was given"
    return f"The query cannot be answered: {first}"


def _unknown_column(name: str, columns: list[str], rename: str) -> str:
    if name == rename:
        return (
            "ingestion_time() is not known after the columns have been chosen;"
            " use it before project, summarize and distinct: extend at = ingestion_time()."
        )
    near = get_close_matches(name, columns, 1)
    advice = f"did you mean {near[0]!r}?" if near else "'PipelineLogs | getschema' shows what there is."
    return f"There is no column {name!r} at that place; {advice}"
