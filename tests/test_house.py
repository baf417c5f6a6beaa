"""The bounds of the source are counted as they are said."""

import importlib.util
from pathlib import Path

import pytest

TOOL = Path(__file__).parents[1] / "tools" / "house.py"


@pytest.fixture
def house(tmp_path, monkeypatch):
    spec = importlib.util.spec_from_file_location("house", TOOL)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    for name, folder in {"PACKAGE": "src/hublog", "LOCAL": "local"}.items():
        (tmp_path / folder).mkdir(parents=True)
        monkeypatch.setattr(module, name, tmp_path / folder)
    (tmp_path / "docs").mkdir()
    for page in ("README.md", "CHANGELOG.md"):
        (tmp_path / page).touch()
    (tmp_path / "local" / "hub.py").touch()
    monkeypatch.setattr(module, "ROOT", tmp_path)
    monkeypatch.setattr(module, "HOUR", ("a.py",))
    monkeypatch.setattr("sys.argv", ["house.py"])
    return module


def write(house, **sources):
    for name, source in sources.items():
        (house.PACKAGE / f"{name}.py").write_text(source)


def test_a_source_within_its_bounds_passes(house, capsys):
    write(house, a='"""A string that is documentation may say told."""\n')
    assert house.main() == 0
    assert "BROKEN" not in capsys.readouterr().out


@pytest.mark.parametrize(
    ("source", "says"),
    [
        ("def f():\n" + "    x = 1\n" * 50, "a.py:1 f has 51 lines"),
        ("class Kind: ...\n", "class Kind: src/hublog/a.py, src/hublog/b.py"),
        ('x = "the operator is told"\n', "a.py:1 told, tell"),
        ("x = 1\n" * 601, "lines of src/hublog/a.py, the longest: 601"),
    ],
    ids=["long function", "doubled class", "word", "long module"],
)
def test_what_is_out_of_bounds_is_named(source, says, house, capsys):
    write(house, a=source, b="class Kind: ...\n")
    assert house.main() == 1
    assert says in capsys.readouterr().out


def test_a_docstring_does_not_make_a_function_long(house):
    write(house, a='def f():\n    """Do.\n' + "\n    More.\n" * 40 + '    """\n' + "    x = 1\n" * 50)
    assert house.main() == 0


def test_a_missing_file_of_the_way_of_a_record_is_named(house, capsys):
    write(house, b="")
    assert house.main() == 1
    assert "a.py is not there" in capsys.readouterr().out
