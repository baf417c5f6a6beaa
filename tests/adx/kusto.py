"""Microsoft's own KQL parser, with the schema of the project loaded."""

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
        return check_all({"": (self, texts)})[""]


def check_all(asked):
    """Return what parsers say of their texts, by group, in one start, which takes 2 s, and 4 s for commands.

    Args:
        asked: group -> (parser, {name of a text: text}).
    """
    node = node_with_packages(FOLDER)
    run = subprocess.run(
        [node, "check.js"],
        cwd=FOLDER,
        input=json.dumps([{**parser.database, "texts": texts} for parser, texts in asked.values()]),
        capture_output=True,
        text=True,
        check=False,
        timeout=100,
    )
    assert run.returncode == 0, run.stderr
    return {
        group: {name: _checked(found) for name, found in answers.items()}
        for group, answers in zip(asked, json.loads(run.stdout), strict=True)
    }


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
