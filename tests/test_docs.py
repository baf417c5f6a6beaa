"""The documents say what the code does: tables are generated, snippets run."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from hublog.settings import settings_table

ROOT = Path(__file__).parent.parent


def test_the_settings_page_holds_the_generated_table():
    assert settings_table().strip() in (ROOT / "docs" / "settings.md").read_text()


def blocks(page, language):
    text = (ROOT / page).read_text()
    return [part.split("```")[0] for part in text.split(f"```{language}\n")[1:]]


def test_the_flask_lines_of_the_readme_make_an_app(monkeypatch, tmp_path):
    monkeypatch.setenv("EVENTHUB_LOGGING_ENABLED", "false")
    monkeypatch.setenv("FILE_LOGGING_ENABLED", "false")
    monkeypatch.setenv("LOG_TO_STDOUT", "false")
    [source] = [block for block in blocks("README.md", "python") if "from flask" in block]
    names = {"__name__": "shop"}
    exec(source, names)
    response = names["create_app"]().test_client().get("/")
    assert len(response.headers["X-Request-ID"]) == 32


@pytest.mark.parametrize("name", ["setup_logging", "hublog.django"])
def test_the_other_lines_of_the_readme_run_in_a_program_of_their_own(name, tmp_path):
    [source] = [block for block in blocks("README.md", "python") if name in block]
    source = source.replace(", ...]", "]")
    result = subprocess.run(
        [sys.executable, "-c", source],
        cwd=tmp_path,
        env={"LOG_DIR": "logs"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (result.returncode, result.stderr) == (0, "")


def test_every_setting_of_the_readme_exists():
    from hublog.settings import SETTINGS

    named = set(re.findall(r"`((?:LOG|FILE|EVENTHUB)_[A-Z_]+)`", (ROOT / "README.md").read_text()))
    assert named <= {setting.name for setting in SETTINGS}
