"""``EVENTHUB_LOGGING_ENABLED=false`` in the environment: nothing is sent, whatever code says."""

import subprocess
import sys

import pytest
from tests.kits.environ import inherited

from hublog.settings import SETTINGS
from hublog_local import LocalHub

LOG = """
import logging
logging.getLogger("shop").warning("a record")
"""
FLASK = """
import os, flask
from hublog.flask import HubLog
app = flask.Flask("shop")
app.config.update(EVENTHUB_LOGGING_ENABLED=True, EVENTHUB_NAMESPACE_CONNECTION_STRING=os.environ["HUB"])
HubLog(app)
"""
DJANGO = """
import os, django, hublog.django
from django.conf import settings
names = dict(
    EVENTHUB_LOGGING_ENABLED=True, EVENTHUB_NAMESPACE_CONNECTION_STRING=os.environ["HUB"], LOG_LEVEL="INFO"
)
settings.configure(
    INSTALLED_APPS=["hublog.django"], LOGGING=hublog.django.logging_config(names), USE_TZ=True, **names
)
django.setup()
"""
DJANGO_KEYWORD = """
import os, django
from django.conf import settings
handler = {"class": "hublog.EventHubHandler", "enabled": True, "connection_string": os.environ["HUB"]}
settings.configure(
    INSTALLED_APPS=["hublog.django"],
    LOGGING={
        "version": 1,
        "disable_existing_loggers": False,
        "handlers": {"hub": handler, "console": {"class": "hublog.ConsoleHandler"}},
        "root": {"level": "INFO", "handlers": ["hub", "console"]},
    },
    USE_TZ=True,
)
django.setup()
"""
SETUP = """
import os
from hublog import setup_logging
setup_logging(eventhub_config={"enabled": True, "connection_string": os.environ["HUB"]})
"""
YAML = """
import os
from hublog import setup_logging
setup_logging({"eventhub_logging": {"enabled": True, "connection_string": os.environ["HUB"]}})
"""
DICT_CONFIG = """
import os
import logging.config
logging.config.dictConfig({
    "version": 1,
    "handlers": {
        "hub": {"class": "hublog.EventHubHandler", "enabled": True, "connection_string": os.environ["HUB"]},
        "console": {"class": "hublog.ConsoleHandler"},
    },
    "root": {"level": "INFO", "handlers": ["hub", "console"]},
})
"""
WAYS = {
    "flask": FLASK,
    "django": DJANGO,
    "django keyword": DJANGO_KEYWORD,
    "setup_logging": SETUP,
    "yaml": YAML,
    "dictConfig": DICT_CONFIG,
}


def run(tmp_path, code, **variables):
    environ = inherited(*(setting.name for setting in SETTINGS))
    done = subprocess.run(
        [sys.executable, "-c", code + LOG],
        cwd=tmp_path,
        env={**environ, "FILE_LOGGING_ENABLED": "false", **variables},
        check=True,
        capture_output=True,
        text=True,
        timeout=60,
    )
    return done.stdout + done.stderr


@pytest.mark.parametrize("way", WAYS)
def test_without_the_variable_each_of_these_sends(way, tmp_path):
    with LocalHub({"application-logs": 1}) as hub:
        output = run(tmp_path, WAYS[way], HUB=hub.connection_string())
        assert b"a record" in b"".join(event.body for event in hub.events())
    assert "hublog.internal" not in output


@pytest.mark.parametrize("value", ["false", '"false"', "'0'"])
@pytest.mark.parametrize("way", WAYS)
def test_the_variable_keeps_each_of_these_from_sending_and_one_line_says_so(way, value, tmp_path):
    with LocalHub({"application-logs": 1}) as hub:
        output = run(tmp_path, WAYS[way], HUB=hub.connection_string(), EVENTHUB_LOGGING_ENABLED=value)
        assert hub.events() == []
    assert "a record" in output
    assert "Traceback" not in output
    # A file is a default for the environment: that it says otherwise is no contradiction.
    assert output.count("EVENTHUB_LOGGING_ENABLED: ") == (0 if way == "yaml" else 1)
    assert output.count("Quotation marks around the value of EVENTHUB_LOGGING_ENABLED") == (value != "false")
