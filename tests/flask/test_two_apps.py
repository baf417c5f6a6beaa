import gc
import logging

import pytest
from flask import Flask
from tests.kits.seen import watching
from werkzeug.middleware.dispatcher import DispatcherMiddleware
from werkzeug.test import Client

from hublog import flask as extension
from hublog.flask import HubLog


@pytest.fixture(autouse=True)
def alone(monkeypatch):
    """Forget the apps of other tests."""
    import weakref

    monkeypatch.setattr(extension, "_apps", weakref.WeakSet())


@pytest.fixture
def seen():
    with watching(logging.DEBUG) as handler:
        yield handler


def make(name, **config):
    app = Flask(name)
    app.config.update(
        EVENTHUB_LOGGING_ENABLED=False, FILE_LOGGING_ENABLED=False, LOG_TO_STDOUT=False, **config
    )
    HubLog(app)

    @app.get("/")
    def index():
        logging.getLogger("shop").warning("in %s", name)
        return name

    return app


def reported(seen):
    return [text for text, _ in seen.of("hublog.internal") if "Flask apps" in text]


def test_two_apps_with_the_same_settings_are_fine(seen):
    apps = [make("shop", LOG_LEVEL="ERROR"), make("admin", LOG_LEVEL="ERROR")]
    assert reported(seen) == []
    assert len(apps) == 2


def test_settings_that_hold_for_the_process_and_differ_are_one_error_that_names_them_and_both_apps(seen):
    first = make("shop", LOG_SERVICE_NAME="shop", LOG_LEVEL="ERROR", LOG_REDACTION_HASH_KEY="k3y-of-the-shop")
    second = make("admin", LOG_SERVICE_NAME="admin", LOG_LEVEL="INFO")
    [text] = reported(seen)
    assert "'shop' and 'admin'" in text
    assert "LOG_LEVEL, LOG_SERVICE_NAME, LOG_REDACTION_HASH_KEY" in text
    assert "k3y" not in text
    assert first is not second


def test_what_each_app_has_for_itself_may_differ(seen):
    shop = make("shop", LOG_REQUEST_ID_HEADER="X-Shop-ID")
    admin = make("admin", LOG_REQUEST_ID_HEADER="X-Admin-ID", LOG_ACCESS_RECORDS=False)
    assert reported(seen) == []
    client = Client(DispatcherMiddleware(shop, {"/admin": admin}))
    assert "X-Shop-ID" in client.get("/").headers
    assert "X-Admin-ID" in client.get("/admin/").headers


def test_apps_for_tests_may_differ_one_after_the_other(seen):
    apps = [make(f"shop{number}", TESTING=True, LOG_LEVEL=10 * number) for number in range(1, 5)]
    assert reported(seen) == []
    assert apps[-1].extensions["hublog"].settings.level == 40
    assert logging.getLogger().level == 40


def test_an_app_that_is_gone_is_not_in_the_way(seen):
    make("shop", LOG_LEVEL="ERROR")
    gc.collect()
    make("admin", LOG_LEVEL="INFO")
    assert reported(seen) == []
