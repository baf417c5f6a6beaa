"""KQL as text: names that ADX spells otherwise, and what to write instead of what is not answered here.

String literals and comments are skipped; a parser would do more than is needed before the real one runs.
"""

import re
from collections.abc import Iterable, Iterator
from difflib import get_close_matches
from typing import Final

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


def rewritten(text: str) -> str:
    """Return the query with ``ingestion_time()`` as the column that it is here."""
    return _CALL.sub(lambda match: match["skipped"] or INGESTION_TIME, text)


def misspelt(text: str, known: Iterable[str]) -> Iterator[tuple[str, str]]:
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


def limited(text: str) -> str:
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


def operator_at(text: str, line: int, column: int) -> str:
    """Return the operator after the pipe at a place in the text, empty if there is none.

    Args:
        text: the query.
        line: 1 and up.
        column: 0 and up.
    """
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
    if match := _TABLE.search(message):
        return f"There is no table {match[1]!r}; there is {', '.join(tables)}."
    for pattern in _COLUMN:
        if match := pattern.search(message):
            return _unknown_column(match[1], list(columns), rename)
    if match := _NO_FUNCTION.search(message):
        return (
            f"The types do not fit: {match[1]}. Values of extra and metrics need tostring(), tolong() or"
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
