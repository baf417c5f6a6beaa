"""Each record has the user from the moment on at which the application has loaded it; nothing is loaded."""

import logging

import pytest
from asgiref.sync import async_to_sync
from django.contrib.auth import login
from django.contrib.auth.decorators import login_required
from django.http import HttpResponse
from django.test import AsyncClient, Client, override_settings
from django.urls import path
from django.utils.functional import SimpleLazyObject
from rest_framework.authentication import TokenAuthentication
from rest_framework.decorators import api_view, authentication_classes
from rest_framework.response import Response

import hublog
from hublog.testing import capture_records

LOGGER = logging.getLogger("shop.views")


@login_required
def account(request):
    LOGGER.info("account")
    return HttpResponse("ok")


def twice(request):
    LOGGER.info("before")
    assert request.user.is_authenticated
    LOGGER.info("after")
    hublog.bind(tenant_id="acme")
    LOGGER.info("bound")
    return HttpResponse("ok")


async def atwice(request):
    LOGGER.info("before")
    assert (await request.auser()).is_authenticated
    LOGGER.info("after")
    hublog.bind(tenant_id="acme")
    LOGGER.info("bound")
    return HttpResponse("ok")


def sign_in(request):
    from django.contrib.auth.models import User

    assert not request.user.is_authenticated
    LOGGER.info("stranger")
    login(request, User.objects.get())
    LOGGER.info("known")
    return HttpResponse("ok")


class ByToken(TokenAuthentication):
    """Without a table of tokens."""

    def authenticate_credentials(self, key):
        from django.contrib.auth.models import User

        return User.objects.get(username=key), key


@api_view(["GET"])
@authentication_classes([ByToken])
def by_token(request):
    LOGGER.info("token")
    return Response({"ok": True})


def quiet(request):
    for number in range(3):
        LOGGER.info("quiet %d", number)
    return HttpResponse("ok")


def custom_user(get_response):
    """As middleware of an application that has users of its own."""

    class Member:
        is_authenticated = True
        pk = "m7"

    def serve(request):
        request.user = SimpleLazyObject(Member)
        LOGGER.info("before")
        assert request.user.is_authenticated
        LOGGER.info("after")
        return get_response(request)

    return serve


urlpatterns = [
    path("account/", account),
    path("twice/", twice),
    path("atwice/", atwice),
    path("sign-in/", sign_in),
    path("by-token/", by_token),
    path("quiet/", quiet),
]


@pytest.fixture(autouse=True)
def _urls():
    with override_settings(ROOT_URLCONF=__name__):
        yield


@pytest.fixture
def rows():
    """What reaches the hub."""
    with capture_records() as records:
        yield records


@pytest.fixture
def ann(database):
    from django.contrib.auth.models import User

    return User.objects.create_user("ann", password="pw")


def said(rows):
    return [(row["message"], row.get("user_id")) for row in rows if row["logger_name"] == "shop.views"]


@pytest.fixture(params=["wsgi", "asgi"])
def ask(request, ann):
    """Ask as one who is signed in."""
    client = Client() if request.param == "wsgi" else AsyncClient()
    client.force_login(ann)
    return client.get if request.param == "wsgi" else async_to_sync(client.get)


def test_a_view_behind_login_required_logs_with_the_user(rows, ask, ann, database):
    with database.assertNumQueries(2):  # the session and the user, for the decorator
        assert ask("/account/").status_code == 200
    assert said(rows) == [("account", str(ann.pk))]
    assert (rows[-1]["user_id"], rows[-1]["user_authenticated"]) == (str(ann.pk), True)


@pytest.mark.parametrize("where", ["/twice/", "/atwice/"])
def test_what_is_logged_before_the_user_is_loaded_has_none_and_what_follows_has(rows, ask, ann, where):
    ask(where)
    key = str(ann.pk)
    assert said(rows) == [("before", None), ("after", key), ("bound", key)]
    assert (rows[-1]["user_id"], rows[-1]["tenant_id"]) == (key, "acme")


def test_one_who_signs_in_during_the_request_is_named_from_then_on(rows, ann):
    Client().get("/sign-in/")
    assert said(rows) == [("stranger", None), ("known", str(ann.pk))]
    assert [row["user_authenticated"] for row in rows] == [False, True, True]


def test_a_user_of_a_token_is_named_where_rest_framework_has_loaded_it(rows, ann):
    assert Client().get("/by-token/", headers={"Authorization": "Token ann"}).status_code == 200
    assert said(rows) == [("token", str(ann.pk))]


def test_a_user_of_the_applications_own_middleware_is_named(rows):
    middleware = ["hublog.django.middleware.RequestContextMiddleware", f"{__name__}.custom_user"]
    with override_settings(MIDDLEWARE=middleware):
        Client().get("/quiet/")
    assert said(rows) == [
        ("before", None),
        ("after", "m7"),
        *((f"quiet {number}", "m7") for number in range(3)),
    ]


def test_looking_for_the_user_costs_no_query_no_vary_and_no_cookie(rows, ask, database):
    with database.assertNumQueries(0):
        response = ask("/quiet/")
    assert "Vary" not in response.headers
    assert not response.cookies
    assert said(rows) == [(f"quiet {number}", None) for number in range(3)]


def test_a_record_of_a_request_that_is_over_does_not_look_any_more(rows, ann):
    client = Client()
    client.force_login(ann)
    client.get("/account/")
    client.get("/quiet/")
    assert said(rows)[1:] == [(f"quiet {number}", None) for number in range(3)]
