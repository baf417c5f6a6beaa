"""Microsoft's own KQL parser, with the schema of the project loaded."""

import contextlib
import json
import re
import subprocess
from dataclasses import dataclass, field
from pathlib import Path

from tests.kits.node import node_with_packages

from hublog.adx import FUNCTIONS, VIEW_NAME, VIEW_QUERY, KqlNames
from hublog.capture.columns import COLUMNS

FOLDER = Path(__file__).parent / "kusto_parser"


@dataclass(frozen=True, kw_only=True)
class Checked:
    """What the parser says of one text."""

    kind: str
    problems: list[str]
    columns: list[str] = field(default_factory=list)


class KustoParser:
    """Checks texts against a database with our table, functions and view under the given names."""

    def __init__(self, names=None):
        names = names or KqlNames()
        schema = "(" + ", ".join(f"{column.name}: {column.kind}" for column in COLUMNS) + ")"
        unquoted = lambda text: re.sub(r"\['(.*?)'\]", r"\1", names.rename(text))  # noqa: E731
        self.database = {
            "database": names.database,
            "tables": {names.table: schema},
            "views": {unquoted(VIEW_NAME): [schema, names.rename(VIEW_QUERY)]},
            "functions": [
                [unquoted(function.name), f"({function.parameters})", "{" + names.rename(function.body) + "}"]
                for function in FUNCTIONS
            ],
        }

    def check(self, texts):
        """Return what the parser says, by the names of the texts."""
        with answers({"": (self, texts)}) as answer:
            return answer("")


@contextlib.contextmanager
def answers(asked):
    """Ask in one start, which takes 2 s, and 2 s more for commands; give what returns the answers of a group.

    Args:
        asked: group -> (parser, {name of a text: text}); answered in this order.
    """
    found, groups = {}, iter(asked)

    def answer(group):
        while group not in found:
            line = process.stdout.readline()
            assert line, process.stderr.read()
            found[next(groups)] = {name: _checked(one) for name, one in json.loads(line).items()}
        return found[group]

    command = [node_with_packages(FOLDER), "check.js"]
    pipes = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
    with subprocess.Popen(command, cwd=FOLDER, text=True, **pipes) as process:
        try:
            json.dump(
                [{**parser.database, "texts": texts} for parser, texts in asked.values()], process.stdin
            )
            process.stdin.close()
            yield answer
        finally:
            process.kill()


def _checked(found):
    return Checked(
        kind=found["kind"],
        problems=[f"{one['code']} {one['message']} at {one['near']!r}" for one in found["problems"]],
        columns=found["columns"],
    )


def statements(text):
    """Return the statements of a script, which stand between blank lines, comments between them left out."""
    parts = (part.strip() for part in re.split(r"\n\s*\n", text))
    return [part for part in parts if any(line and not line.startswith("//") for line in part.splitlines())]
