"""The pages for the operator in a Django project."""

import json
import logging

import pytest
from django.contrib.auth.models import AnonymousUser, User
from django.http import Http404
from django.test import Client, RequestFactory, override_settings
from django.urls import include, path, resolve

from hublog import EventHubHandler
from hublog.pages.answers import NAMES

TOKEN = "a-token-for-the-tests"
PROTECTED = ("status", "status.json", "metrics")
urlpatterns = [path("hublog/", include("hublog.django.urls"))]


@pytest.fixture
def client():
    with override_settings(ROOT_URLCONF=__name__, LOG_STATUS_TOKEN=TOKEN):
        yield Client()


def answer_to(user, name):
    """Return what a user who is signed in gets."""
    request = RequestFactory().get(f"/hublog/{name}")
    request.user = user
    with override_settings(ROOT_URLCONF=__name__):
        found = resolve(request.path)
        return found.func(request, *found.args, **found.kwargs)


@pytest.mark.parametrize("name", PROTECTED)
def test_the_token_opens_a_page_and_nothing_like_it_does(client, name):
    for header in ("", "Bearer ", f"Bearer {TOKEN}x", f"Basic {TOKEN}", "Bearer \xfc"):
        assert client.get(f"/hublog/{name}", headers={"Authorization": header}).status_code == 404
    answer = client.get(f"/hublog/{name}", headers={"Authorization": f"Bearer {TOKEN}"})
    assert (answer.status_code, answer["Cache-Control"]) == (200, "no-store")
    assert TOKEN not in answer.content.decode()


@pytest.mark.parametrize("name", PROTECTED)
def test_members_of_the_staff_see_it_and_other_users_do_not(name):
    assert answer_to(User(username="ann", is_staff=True), name).status_code == 200
    for user in (AnonymousUser(), User(username="bob"), User(username="eve", is_staff=True, is_active=False)):
        with pytest.raises(Http404):
            answer_to(user, name)


@pytest.fixture
def attached():
    handler = EventHubHandler()
    logging.getLogger().addHandler(handler)
    yield
    logging.getLogger().removeHandler(handler)
    handler.close()


@pytest.mark.usefixtures("attached")
def test_everybody_may_ask_for_health(client):
    answer = client.get("/hublog/healthz")
    assert (answer.status_code, answer["Content-Type"]) == (200, "application/json")
    assert json.loads(answer.content)["status"] in ("ok", "degraded")


def test_where_hublog_has_no_handler_but_another_logs_health_is_degraded(client, monkeypatch):
    monkeypatch.setattr("hublog.pages.answers.hublog_handlers", list)
    answer = client.get("/hublog/healthz")
    assert (answer.status_code, json.loads(answer.content)) == (200, {"status": "degraded"})


@pytest.mark.usefixtures("attached")
def test_a_request_for_a_page_makes_no_request_record(client, caplog):
    for name in (*NAMES, "other"):
        client.get(f"/hublog/{name}", headers={"Authorization": f"Bearer {TOKEN}"})
    records = [each for each in caplog.records if each.name == "hublog.request"]
    assert [each.getMessage().split()[1] for each in records] == ["/hublog/other"]
