"""KQL as text: found are its names, and what has another name here than in ADX is rewritten.

Texts and comments are stepped over; a parser would do more than is needed before the real one runs.
"""

import re
from collections.abc import Iterable, Iterator
from typing import Final

#: What ``ingestion_time()`` is here.
INGESTION_TIME: Final = "_ingestion_time"

#: Texts (verbatim, of several lines, plain) and comments: nothing in them is a name.
_SKIPPED: Final = (
    r"""@"(?:[^"]|"")*"|@'(?:[^']|'')*'|```.*?```|~~~.*?~~~"""
    r"""|"(?:\\.|[^"\\\n])*"|'(?:\\.|[^'\\\n])*'|//[^\n]*"""
)
_CALL = re.compile(rf"(?P<skipped>{_SKIPPED})|\bingestion_time\s*\(\s*\)", re.DOTALL)
_NAME = re.compile(rf"(?P<skipped>{_SKIPPED})|(?P<before>\.\s*|\b)(?P<name>[A-Za-z_]\w*)\b", re.DOTALL)
_LIMITED: Final = re.compile(r"\b(make_list|make_set)\s*\(")
#: A name that is made here (``x = ...``, ``x: long``) or called is none of the table.
_MADE: Final = re.compile(r"\s*(?:=(?![=~])|:|\()")


def rewritten(text: str) -> str:
    """Return the query with ``ingestion_time()`` as the column that it is here."""
    return _CALL.sub(lambda found: found["skipped"] or INGESTION_TIME, text)


def misspelt(text: str, known: Iterable[str]) -> Iterator[tuple[str, str]]:
    """Find names that differ from a known one only in upper and lower case.

    DuckDB takes them for the same; ADX does not, and would not know the column.

    Yields:
        The name as it stands and as it should.
    """
    spelling = {name.lower(): name for name in known}
    names: dict[str, bool] = {}
    for found in _NAME.finditer(text):
        if found["skipped"] is None and not found["before"]:
            names[found["name"]] = names.get(found["name"], False) or bool(_MADE.match(text, found.end()))
    for name, is_made in names.items():
        meant = spelling.get(name.lower(), name)
        if meant != name and not is_made:
            yield name, meant


def limited(text: str) -> str:
    """Return the first of ``make_list`` and ``make_set`` that is called with a limit, empty if none is.

    duckdb-kql 1.1 leaves the limit out without a word, which is another answer than that of ADX.
    """
    masked = _CALL.sub(lambda found: " " * len(found[0]) if found["skipped"] else found[0], text)
    for found in _LIMITED.finditer(masked):
        depth = 1
        for character in masked[found.end() :]:
            depth += (character in "([{") - (character in ")]}")
            if depth == 0:
                break
            if depth == 1 and character == ",":
                return found[1]
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
    found = re.match(r"\|\s*([A-Za-z][\w-]*)", rest)
    return found[1] if found else ""
