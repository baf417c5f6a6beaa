"""Prints the bounds that keep the source readable, and fails where one is broken.

They are counted, not judged: modules, lines, long functions, names that stand twice, and words that are not
those of the field. `docs/architecture.md` says why, `CONTRIBUTING.md` lists the words.
"""

from __future__ import annotations

import ast
import re
import sys
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "src" / "hublog"
LOCAL = ROOT / "packages" / "hublog-local" / "src" / "hublog_local"
#: The way of a record, in its order: what somebody new reads in an hour.
HOUR = (
    "handler.py",
    "runtime/pipeline.py",
    "capture/formatter.py",
    "line.py",
    "delivery/memory_queue.py",
    "delivery/batcher.py",
    "delivery/packer.py",
    "delivery/shipper.py",
    "delivery/send_thread.py",
    "senders/event_hub.py",
)
MODULES_MAX, LOCAL_MODULES_MAX = 169, 32
MODULE_LINES_MAX, FUNCTION_LINES_MAX, HOUR_LINES_MAX = 600, 50, 2_600
#: What the bound was not set for raises it by its lines: `hublog size`, requests whose fields are made late,
#: ids drawn for many requests, `hublog settings` for programs, `hublog level`,
#: the snapshots of all processes, Prometheus, OpenTelemetry,
#: queries for dashboards, the handlers that the doctor lists, keys in files, heartbeats, alarms on them,
#: SIGHUP.
LINES_MAX = 43_990
#: So many details of a broken bound are printed without `-v`.
SHOWN = 5
#: Each page and string says these in the words of the field.
WORDS = {
    "told, tell": r"\btold\b|\btells?\b|\bsayings?\b",
    "away (of a hub)": r"\bhubs? (?:is|was|are|were) away\b|\baway from the hub\b",
    "left in peace": r"\bin peace\b",
    "kept aside, held back": r"\bkept[ _]aside\b|\bheld[ _]back\b|\bset[ _]aside\b",
    "collapsed, folded": r"\bcollapsed?\b|\bfolded\b",
    "courier, carrier, parcel": r"\bcouriers?\b|\bcarriers?\b|\bparcels?\b",
    "suspects": r"\bsuspects\b",
    "adopted, dead owner": r"\badopt(?:s|ed|ion|er|ers|ing)?\b|\bdead owners?\b|\borphans?\b",
    "beside": r"\bbeside\b",
    "somebody, whoever, who could": r"\bsomebody\b|\bwhoever\b|\bwho could\b",
    "texts": r"\btexts\b",
    "in force": r"\bin force\b",
    "surroundings": r"\bsurroundings\b",
    "so many, as ever": r"\bso (?:many|much)\b|\bas ever\b",
    "is no level, is no age": r"\bis no (?:level|age)\b",
    "the books": r"\bbooks\b",
}


class Module(NamedTuple):
    """A file, its lines and its syntax tree."""

    path: Path
    lines: int
    tree: ast.Module

    @property
    def name(self) -> str:
        """Path from the root of the repository."""
        return str(self.path.relative_to(ROOT))


def modules(folder: Path) -> list[Module]:
    """Return the modules below a folder."""
    read = [(path, path.read_text()) for path in sorted(folder.rglob("*.py"))]
    return [Module(path, text.count("\n"), ast.parse(text)) for path, text in read]


def long_functions(module: Module) -> Iterator[str]:
    """Yield each function that is too long, its docstring and decorators not counted."""
    for node in ast.walk(module.tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            has_docstring = ast.get_docstring(node, clean=False) is not None
            begin = node.body[0].end_lineno + 1 if has_docstring else node.lineno
            lines = node.end_lineno - begin + 1
            if lines > FUNCTION_LINES_MAX:
                yield f"{module.name}:{node.lineno} {node.name} has {lines} lines"


def doubled(read: list[Module]) -> Iterator[str]:
    """Yield names that two modules, or two public classes, have."""
    places: dict[str, list[str]] = defaultdict(list)
    for module in read:
        if not module.path.stem.startswith("__"):
            places[f"module {module.path.stem}"].append(module.name)
        for node in module.tree.body:
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                places[f"class {node.name}"].append(module.name)
    yield from (f"{name}: {', '.join(where)}" for name, where in places.items() if len(where) > 1)


def strings(module: Module) -> Iterator[tuple[int, str]]:
    """Yield what a user may read: each string that is prose, docstrings left out."""
    nodes = list(ast.walk(module.tree))
    docstrings = {
        id(node.body[0].value)
        for node in nodes
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)
        and node.body
        and isinstance(node.body[0], ast.Expr)
    }
    for node in nodes:
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in docstrings:
            yield from [(node.lineno, node.value)] if " " in node.value.strip() else []


def wrong_words(read: list[Module]) -> Iterator[str]:
    """Yield each place in a string or page where another word than the field's stands."""
    pages = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").rglob("*.md"))]
    places = [(f"{module.name}:{line}", text) for module in read for line, text in strings(module)]
    places += [
        (f"{page.relative_to(ROOT)}:{number}", line)
        for page in pages
        for number, line in enumerate(page.read_text().splitlines(), 1)
    ]
    for place, text in places:
        for word, pattern in WORDS.items():
            if re.search(pattern, text, re.IGNORECASE):
                yield f"{place} {word}"


def main() -> int:
    """Print each bound with what is there; returns 1 if one is broken."""
    package, local = modules(PACKAGE), modules(LOCAL)
    both = package + local
    missing = [f"{name} is not there" for name in HOUR if not (PACKAGE / name).is_file()]
    hour = [module for module in package if str(module.path.relative_to(PACKAGE)) in HOUR]
    longest = max(both, key=lambda module: module.lines)
    functions = [text for module in both for text in long_functions(module)]
    twice = [*doubled(package), *doubled(local)]
    words = list(wrong_words(both))
    rows = [
        ("modules in hublog", len(package), MODULES_MAX, []),
        ("modules in hublog-local", len(local), LOCAL_MODULES_MAX, []),
        ("lines of source", lines_of(both), LINES_MAX, []),
        (f"lines of {longest.name}, the longest", longest.lines, MODULE_LINES_MAX, []),
        ("lines of the way of a record", lines_of(hour), HOUR_LINES_MAX, missing),
        (f"functions over {FUNCTION_LINES_MAX} lines", len(functions), 0, functions),
        ("names that stand twice", len(twice), 0, twice),
        ("words that are not the field's", len(words), 0, words),
    ]
    shown = None if "-v" in sys.argv[1:] else SHOWN
    broken = [number > most or bool(details) for _, number, most, details in rows]
    for (text, number, most, details), is_broken in zip(rows, broken, strict=True):
        print(f"{'BROKEN' if is_broken else 'ok    '} {text}: {number:,} (at most {most:,})")
        for detail in details[:shown]:
            print(f"       {detail}")
        if len(details) > len(details[:shown]):
            print(f"       and {len(details) - SHOWN} more: tools/house.py -v")
    return int(any(broken))


def lines_of(read: list[Module]) -> int:
    """Return the lines of modules together."""
    return sum(module.lines for module in read)


if __name__ == "__main__":
    sys.exit(main())
