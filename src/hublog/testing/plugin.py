"""The pytest plugin: the fixture ``hublog_records``.

Pytest loads it in every run where hublog is installed, so it imports nothing before the fixture is used.
"""

import logging
import os
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

import pytest

if TYPE_CHECKING:
    from hublog.testing.recorded import RecordedLogs

#: The name of ``hublog.runtime.pipeline.TEST_RUN``, which is not imported here.
_TEST_RUN: Final = "HUBLOG_TEST_RUN"


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the option of the configuration file."""
    parser.addini(
        "hublog_level",
        "Level of hublog_records if the application has no handler for the Event Hub.",
        default="",
    )
    parser.addini(
        "hublog_send",
        "Send what tests log without hublog_records to the real Event Hub.",
        type="bool",
        default=False,
    )


def pytest_configure(config: pytest.Config) -> None:
    """Register the marker, and keep the records of tests from the real Event Hub."""
    config.addinivalue_line("markers", "hublog(level): the level of hublog_records, see hublog_level.")
    if not config.getini("hublog_send") and _TEST_RUN not in os.environ:
        os.environ[_TEST_RUN] = "pytest"
        config.add_cleanup(_end_test_run)


def _end_test_run() -> None:
    os.environ.pop(_TEST_RUN, None)


@pytest.fixture
def hublog_records(request: pytest.FixtureRequest) -> Iterator["RecordedLogs"]:
    """Rows that the test's loggers send to the Event Hub, which is in memory while the test runs."""
    from hublog.testing import capture_records  # noqa: PLC0415  # see above

    marker = request.node.get_closest_marker("hublog")
    level = (marker.kwargs.get("level") if marker else None) or request.config.getini("hublog_level") or None
    failure = ""
    if "caplog" in request.fixturenames:
        _show_level(request.getfixturevalue("caplog"))
    try:
        with capture_records(level=level) as records:
            yield records
    except AssertionError as error:  # an AssertionError of the test itself is not raised here
        failure = str(error)
    if failure:
        pytest.fail(failure, pytrace=False)


def _show_level(caplog: pytest.LogCaptureFixture) -> None:
    """Let caplog note the level of the root logger, since it restores the first level it saw, after us."""
    level, disabled = caplog.handler.level, logging.root.manager.disable
    caplog.set_level(logging.root.level)
    caplog.handler.setLevel(level)
    logging.disable(disabled)


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_call() -> None:
    """Undo what ``log_level`` of pytest did to the root logger since the fixture was made."""
    capturing = sys.modules.get("hublog.testing.capturing")
    if capturing is not None:
        capturing.open_root()
