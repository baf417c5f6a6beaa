"""What the tests of the set-up share."""

import pytest


@pytest.fixture
def reports(caplog):
    """Return a function that gives level and text of what was told on hublog.internal."""
    return lambda: [
        (found.levelname, found.getMessage()) for found in caplog.records if found.name == "hublog.internal"
    ]
