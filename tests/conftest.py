"""What every test finds as if it were the first."""

import gc
import itertools
import logging
import signal

import pytest
from hypothesis import settings as hypothesis_settings

from hublog.capture import resource, thread_context
from hublog.configure import handlers
from hublog.runtime import uncaught
from hublog.runtime.shared import runtime

pytest_plugins = ["pytester"]
# How long an example takes says something of the machine, not of the code.
hypothesis_settings.register_profile("hublog", deadline=None)
hypothesis_settings.load_profile("hublog")

# A shell has what it runs in the background ignore them, and programs under test would inherit that.
for _number, _handler in (
    (signal.SIGINT, signal.default_int_handler),
    (signal.SIGQUIT, signal.SIG_DFL),
    (signal.SIGHUP, signal.SIG_DFL),
):
    if signal.getsignal(_number) is signal.SIG_IGN:
        signal.signal(_number, _handler)

_numbers = itertools.count()
_NAMES = ("", "azure", "msal", "hublog", "hublog.internal", "web-1", "web-2")


@pytest.fixture(autouse=True, scope="module")
def _garbage():
    """Let the collections that tests ask for pass over what is older than the module: 3 ms each, not 300."""
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True)
def _surroundings(monkeypatch):
    """Forget what an adapter under test handed over."""
    monkeypatch.setattr(runtime, "lookup", None)
    monkeypatch.setattr(runtime, "framework", "")
    monkeypatch.setattr(resource, "_suggestions", {})


@pytest.fixture(autouse=True)
def _spool(monkeypatch, tmp_path_factory):
    """Keep records that wait on disk apart: what one test leaves, another one's process would send."""
    path = tmp_path_factory.getbasetemp() / "spools" / f"{next(_numbers)}"
    monkeypatch.setenv("EVENTHUB_LOG_SPOOL_DIR", str(path))


@pytest.fixture(autouse=True)
def _threads():
    """Let threads carry nothing, unless the test or what it tests has them do so."""
    thread_context.uninstall()
    yield
    thread_context.uninstall()
    uncaught.uninstall()


@pytest.fixture(autouse=True)
def logging_state():
    """Find the loggers as pytest made them, and leave them so."""
    loggers = [logging.getLogger(name) for name in _NAMES]
    before = [(logger, logger.level, list(logger.handlers)) for logger in loggers]
    for logger in loggers[1:]:
        logger.setLevel(logging.NOTSET)
    yield
    for logger, level, found in before:
        for handler in set(logger.handlers) - set(found):
            logger.removeHandler(handler)
            handler.close()
        for handler in found:
            if handler not in logger.handlers:
                logger.addHandler(handler)
        logger.setLevel(level)
    handlers._Installed.plan, handlers._Installed.handlers = None, ()
