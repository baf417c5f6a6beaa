"""A Django project of the tests' own, configured once for the process."""

import gc
import logging
import warnings

import django
import pytest
from django.conf import settings
from tests.kits.seen import watching

#: Tasks came with Django 6.0; what holds without them stands in ``test_tasks``.
collect_ignore = [] if django.VERSION >= (6,) else ["test_running_tasks.py"]


def pytest_configure():
    settings.configure(
        SECRET_KEY="test",
        ALLOWED_HOSTS=["testserver", "shop.example"],
        ROOT_URLCONF="tests.django.urls",
        DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}},
        INSTALLED_APPS=[
            "hublog.django",
            "django.contrib.auth",
            "django.contrib.contenttypes",
            "django.contrib.sessions",
        ],
        MIDDLEWARE=[
            "hublog.django.middleware.RequestContextMiddleware",
            "django.contrib.sessions.middleware.SessionMiddleware",
            "django.contrib.auth.middleware.AuthenticationMiddleware",
        ],
        LOGGING_CONFIG=None,
        EVENTHUB_LOGGING_ENABLED=False,
        TASKS={
            "default": {"BACKEND": "django.tasks.backends.immediate.ImmediateBackend"},
            "stored": {"BACKEND": "tests.django.stored_backend.Backend", "QUEUES": []},
            "plain": {"BACKEND": "tests.django.stored_backend.StoredBackend"},
        },
        USE_TZ=True,
    )
    django.setup()


@pytest.fixture
def leaky_client():
    """The official package forgets to close the socket of a connection that broke."""
    yield
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "unclosed <s", ResourceWarning)
        gc.collect()


@pytest.fixture
def seen():
    with watching(logging.INFO) as handler:
        yield handler


@pytest.fixture
def database():
    """Tables for users and sessions, rolled back after the test."""
    from django.core.management import call_command
    from django.test import TestCase

    call_command("migrate", verbosity=0)

    class Case(TestCase):
        """Only its database is used."""

    Case.setUpClass()
    case = Case("assertNumQueries")
    case._pre_setup()
    yield case
    case._post_teardown()
    Case.tearDownClass()


@pytest.fixture
def environ(monkeypatch, tmp_path):
    """An environment that says nothing of hublog or of workers, and a working directory of its own."""
    from hublog.settings import SETTINGS

    names = ("WEB_CONCURRENCY", "GUNICORN_CMD_ARGS", "UWSGI_PROCESSES", "UWSGI_WORKERS")
    for name in (*(setting.name for setting in SETTINGS), *names):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)
    return monkeypatch
