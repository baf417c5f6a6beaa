"""What the tests of the harness share."""

import logging
import socket

import pytest

from hublog.capture import thread_context
from hublog.runtime.registry import all_feeders
from hublog.runtime.shared import runtime

#: Plugins of other packages, which take most of the time that pytest needs to start.
OTHERS = ("anyio", "django", "faker", "hypothesispytest", "pytest_cov")


@pytest.fixture(autouse=True)
def _bare(monkeypatch):
    """Count no handler that other tests have left to the collector, and end what this one leaves."""
    thread_context.uninstall()
    for feeder in all_feeders():
        monkeypatch.setattr(feeder, "is_closed", True)
    monkeypatch.setattr(runtime, "pipelines", {})
    for name in ("EVENTHUB_NAMESPACE_CONNECTION_STRING", "EVENTHUB_LOGGING_ENABLED", "EVENTHUB_LOG_LEVEL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("LOG_TO_STDOUT", "false")
    monkeypatch.setenv("FILE_LOGGING_ENABLED", "false")


@pytest.fixture
def pytester(pytester, monkeypatch):
    """Start runs of pytest without the plugins of other packages; pytest's own fixture unset the variable."""
    monkeypatch.setenv("PYTEST_ADDOPTS", " ".join(f"-p no:{name}" for name in OTHERS))
    return pytester


@pytest.fixture
def logger():
    found = logging.getLogger("shop.orders")
    yield found
    found.handlers.clear()
    found.setLevel(logging.NOTSET)


@pytest.fixture
def calls(monkeypatch):
    """Names that somebody tried to reach over the network; none is reached."""
    tried = []

    def refuse(host, *_, **__):
        tried.append(host)
        raise OSError("there is no network here")

    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    monkeypatch.setattr(socket, "create_connection", refuse)
    monkeypatch.setattr(socket.socket, "connect", lambda self, address: refuse(address))
    return tried
