"""Writes the page of the figures."""

from pathlib import Path
from typing import Any


def write_page(results: dict[str, Any], page: Path) -> None:
    """Write it."""
    page.write_text(str(results))
