import subprocess
import sys
from types import SimpleNamespace

import pytest

from hublog.capture import resource
from hublog.capture.resource import UNKNOWN, default_name, is_named, process_fields, suggest
from hublog.settings import ServiceSettings


def main(file=None, spec=None):
    return SimpleNamespace(__file__=file, __spec__=spec and SimpleNamespace(name=spec))


@pytest.mark.parametrize(
    ("made", "expected"),
    [
        (main("/srv/shop/import_orders.py"), "import_orders"),
        (main("/srv/venv/lib/shop/__main__.py", "shop.__main__"), "shop"),
        (main("/srv/shop/jobs/nightly.py", "jobs.nightly"), "jobs.nightly"),
        (main("/srv/venv/bin/gunicorn"), UNKNOWN),
        (main("/srv/venv/bin/some-tool"), UNKNOWN),
        (main("/srv/venv/lib/uvicorn/__main__.py", "uvicorn.__main__"), UNKNOWN),
        (main("/srv/venv/lib/celery/__main__.py", "celery.__main__"), UNKNOWN),
        (main(), UNKNOWN),
        (None, UNKNOWN),
    ],
)
def test_a_script_has_its_own_name_and_a_launcher_none(made, expected):
    assert default_name({}, {"__main__": made}) == expected


@pytest.mark.parametrize(
    ("settings", "modules", "expected"),
    [
        ("shop.settings.production", {}, "shop"),
        ("config.settings", {"config": SimpleNamespace(__path__=["/srv/shop/config"])}, "shop"),
        ("settings", {"settings": SimpleNamespace(__file__="/srv/shop/settings.py")}, "shop"),
    ],
)
def test_a_django_project_has_the_name_of_its_package_or_directory(settings, modules, expected):
    modules = {"django.conf": object(), "__main__": main("/srv/shop/manage.py"), **modules}
    assert default_name({"DJANGO_SETTINGS_MODULE": settings}, modules) == expected


def test_a_variable_of_django_in_a_program_without_it_is_no_name():
    modules = {"__main__": main("/srv/shop/nightly.py")}
    assert default_name({"DJANGO_SETTINGS_MODULE": "other.settings"}, modules) == "nightly"


def test_what_a_framework_suggests_comes_first_and_the_first_of_its_apps_counts():
    suggest("flask", lambda: "shop")
    suggest("flask", lambda: "admin")
    assert default_name({}, {}) == "shop"


@pytest.mark.parametrize(
    "broken", [lambda: 1 / 0, lambda: "", lambda: "__main__"], ids=["raises", "empty", "main"]
)
def test_a_suggestion_that_is_none_is_left_out(broken):
    suggest("flask", broken)
    assert default_name({}, {"__main__": main("/srv/nightly.py")}) == "nightly"


def test_what_is_stated_and_what_the_platform_says_come_before():
    suggest("flask", lambda: "shop")
    for service, environ, expected in (
        (ServiceSettings(name="stated"), {"WEBSITE_SITE_NAME": "site"}, "stated"),
        (ServiceSettings(), {"WEBSITE_SITE_NAME": "site"}, "site"),
        (ServiceSettings(), {}, "shop"),
    ):
        assert process_fields(service, environ=environ)["service_name"] == expected
        assert is_named(service, environ) is (expected != "shop")


FLASK = """
from flask import Flask
from hublog.flask import HubLog
from hublog.testing import capture_records
with capture_records() as records:
    app = Flask("shop")
    app.config.update(FILE_LOGGING_ENABLED=False, LOG_TO_STDOUT=False)
    HubLog(app)
    app.logger.warning("hello")
    print(records.rows[-1]["service_name"])
"""
CELERY = """
import logging
from celery import Celery
app = Celery("orders")
import hublog.celery
from hublog.testing import capture_records
with capture_records() as records:
    logging.getLogger("x").warning("hello")
    print(records.rows[-1]["service_name"])
"""


@pytest.mark.parametrize(("code", "expected"), [(FLASK, "shop"), (CELERY, "orders")], ids=["flask", "celery"])
def test_an_app_gives_its_name(code, expected):
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.stdout.strip() == expected, done.stderr


def test_nothing_is_suggested_before_there_is_an_app():
    assert resource._suggestions == {}
