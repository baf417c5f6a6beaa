"""The page for those who change the package names what is there."""

import ast
import html
import re
from pathlib import Path

from hublog.delivery.events import ALLOWED, TRANSITIONS

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "architecture.md").read_text()
PICTURES = ROOT / "docs" / "pictures"
#: Where a path of the page may begin.
BEGINNINGS = (ROOT, ROOT / "src" / "hublog")


def test_each_file_and_folder_that_it_names_is_there():
    named = set(re.findall(r"`([\w/-]+(?:\.(?:py|md|toml)|/))`", PAGE)) - {"rejected/", "manage.py"}
    assert len(named) > 40
    missing = {name for name in named if not any((begin / name).exists() for begin in BEGINNINGS)}
    assert not missing


def defined_in(file):
    """Names of the classes and functions of a module, and of what a class defines, as ``Class.name``."""
    tree = ast.parse(next(begin / file for begin in BEGINNINGS if (begin / file).is_file()).read_text())
    names = set()
    for node in tree.body:
        if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            names.add(node.name)
            for inner in ast.walk(node):
                match inner:
                    case ast.FunctionDef(name=name) | ast.Attribute(value=ast.Name("self"), attr=name):
                        names.add(f"{node.name}.{name}")
    return names


def test_each_name_is_in_its_file():
    named = re.findall(r"`(\w+(?:\.\w+)?)` \(`([\w/]+\.py)`\)", PAGE)
    named += re.findall(r"`([A-Z]\w+(?:\.\w+)?)` \| `([\w/]+\.py)`", PAGE)
    assert len(named) > 30
    assert [(name, file) for name, file in named if name not in defined_in(file)] == []


def test_the_states_are_those_of_the_code():
    block = PAGE.split("<!-- begin: states -->")[1].split("<!-- end -->")[0]
    rows = [re.findall(r"`(\w+)`", line) for line in block.splitlines() if line.startswith("| `")]
    assert {first: set(others) for first, *others in rows} == {
        state.value: {other.value for other in others} for state, others in ALLOWED.items()
    }


def test_the_transitions_of_sending_are_those_of_the_code():
    block = PAGE.split("<!-- begin: sending -->")[1].split("<!-- end -->")[0]
    rows = [re.findall(r"`(\w+)`", line) for line in block.splitlines() if line.startswith("| `")]
    assert {first: dict(zip(others[::2], others[1::2], strict=True)) for first, *others in rows} == {
        state.value: {event.value: after.value for event, after in follows.items()}
        for state, follows in TRANSITIONS.items()
    }


def test_the_picture_shows_what_its_source_says():
    for source in PICTURES.glob("*.dot"):
        labels = re.findall(r'label="([^"]+)"', source.read_text())
        lines = [line.strip() for label in labels for line in label.split(r"\n")]
        drawn = html.unescape(source.with_suffix(".svg").read_text())
        shown = [re.sub(r"\s+", " ", text) for text in re.findall(r"<text[^>]*>([^<]*)</text>", drawn)]
        assert sorted(re.sub(r"\s+", " ", line) for line in lines) == sorted(text.strip() for text in shown)
