"""Marks: every row of the matrix by its id, and ``faults`` for all of them."""

from tests.faults.matrix import all_rows


def pytest_configure(config):
    config.addinivalue_line("markers", "faults: a row of the fault matrix")
    for row in all_rows().values():
        config.addinivalue_line("markers", f"{row.id}: {row.title}")
