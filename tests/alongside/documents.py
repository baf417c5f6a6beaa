"""The code of docs/alongside.md, which the tests run."""

from pathlib import Path

PAGE = Path(__file__).parents[2] / "docs" / "alongside.md"


def block(language, holding):
    """Return the one block of code in a language that holds a text."""
    blocks = [part.split("```")[0] for part in PAGE.read_text().split(f"```{language}\n")[1:]]
    [found] = [text for text in blocks if holding in text]
    return found
