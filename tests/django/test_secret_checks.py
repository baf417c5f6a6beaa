"""Django's own pages and dumps of settings do not show the key of the connection."""

import copy
import os
import pickle
import subprocess
import sys

import pytest
from tests.django.setups import GOOD, KEY, REAL, ids

from hublog.redaction.redactor import HiddenText

PROGRAM = f"""
import io, sys, django
urlpatterns = []
HANDLER = {{"class": "logging.NullHandler", "connection_string": {REAL!r}}}
from django.conf import settings
settings.configure(
    DEBUG=True, SECRET_KEY="x", INSTALLED_APPS=["hublog.django"], EVENTHUB_LOGGING_ENABLED=False,
    FILE_LOGGING_ENABLED=False, EVENTHUB_NAMESPACE_CONNECTION_STRING={REAL!r},
    LOGGING={{"version": 1, "handlers": {{"hub": HANDLER}}}},
    LOGGING_CONFIG=None, ROOT_URLCONF="__main__", ALLOWED_HOSTS=["*"],
)
django.setup()
from django.core.management import call_command
from django.test import RequestFactory
from django.views.debug import ExceptionReporter
from hublog.django.project import read_project
request = RequestFactory().get("/", EVENTHUB_NAMESPACE_CONNECTION_STRING={REAL!r})
try:
    raise ValueError("order")
except ValueError:
    reporter = ExceptionReporter(request, *sys.exc_info(), is_email=sys.argv[1] == "mail")
def page(): return reporter.get_traceback_html()
def mail(): return reporter.get_traceback_text()
def diffsettings():
    out = io.StringIO()
    call_command("diffsettings", all=True, stdout=out)
    return out.getvalue()
def dump(): return repr({{name: getattr(settings, name) for name in dir(settings) if name.isupper()}})
print({{"page": page, "mail": mail, "diffsettings": diffsettings, "dump": dump}}[sys.argv[1]]())
assert {KEY!r} in read_project().settings.eventhub.connection_string
"""


@pytest.mark.parametrize("where", ["page", "mail", "diffsettings", "dump"])
def test_no_page_or_dump_shows_the_key_and_hublog_still_has_it(where):
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, where],
        env={"PATH": os.environ["PATH"]},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert "EVENTHUB_NAMESPACE_CONNECTION_STRING" in done.stdout
    assert KEY not in done.stdout


def test_a_setting_of_another_name_that_shows_the_key_is_found_by_a_check():
    shown = {"EVENTHUB_NAMESPACE_CONNECTION_STRING": REAL, "SHOP_HUB": REAL}
    assert ids(**{**GOOD, **shown}) == ["W007", "W020"]


def test_a_hidden_text_is_the_text_for_whoever_uses_it():
    text = HiddenText(REAL)
    assert text == REAL
    assert f"{text}" == REAL
    assert pickle.loads(pickle.dumps(text)) == copy.deepcopy(text) == REAL  # noqa: S301  # our own
    assert KEY not in repr({"a": [text]})
