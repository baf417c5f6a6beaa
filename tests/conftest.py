"""What every test finds as if it were the first."""

import pytest

from hublog import pipeline


@pytest.fixture(autouse=True)
def _surroundings(monkeypatch):
    """Forget what an adapter under test handed over."""
    monkeypatch.setattr(pipeline, "_surroundings", pipeline._Surroundings())
