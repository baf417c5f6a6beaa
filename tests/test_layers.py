"""What import-linter's contracts leave open: circles inside a layer, and names that a layer must not know."""

import re
from graphlib import TopologicalSorter
from pathlib import Path

import grimp
import pytest

SOURCE = Path(__file__).parents[1] / "src" / "hublog"


def test_no_module_imports_itself_in_a_circle():
    graph = grimp.build_graph("hublog", "hublog_local", include_external_packages=False, cache_dir=None)
    imports = {module: graph.find_modules_directly_imported_by(module) for module in graph.modules}
    assert sum(map(len, imports.values())) > 500
    TopologicalSorter(imports).prepare()  # raises CycleError, which names the circle


@pytest.mark.parametrize("folder", ["delivery", "spool", "senders"])
def test_below_the_formatter_nothing_knows_a_log_record(folder):
    modules = list((SOURCE / folder).rglob("*.py"))
    assert len(modules) >= 4
    knows = [path.name for path in modules if re.search(r"\bLogRecord\b", path.read_text())]
    assert knows == (["sign_in.py"] if folder == "senders" else [])  # it filters records of azure-identity
