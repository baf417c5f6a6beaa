"""The documents say what the code does: tables are generated, snippets run."""

from pathlib import Path

from hublog.settings import settings_table

ROOT = Path(__file__).parent.parent


def test_the_settings_page_holds_the_generated_table():
    assert settings_table().strip() in (ROOT / "docs" / "settings.md").read_text()
