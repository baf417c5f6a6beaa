import pytest
from django.http import HttpResponse
from django.test import Client, override_settings
from django.urls import include, path, re_path
from hypothesis import given
from hypothesis import strategies as st

from hublog.requests.framework_routes import route_text


def view(request, *args, **known):
    return HttpResponse("ok")


urlpatterns = [
    re_path(r"^orders/(?P<pk>[0-9]+)/$", view),
    path("api/<int:version>/", include([re_path(r"^items/(?P<pk>[^/.]+)/$", view), path("all/", view)])),
    re_path(r"^shop/", include([re_path(r"^(\d+)/(\w+)/$", view)])),
]


@pytest.mark.parametrize(
    ("where", "route"),
    [
        ("/orders/7/", "/orders/<pk>/"),
        ("/api/1/items/x/", "/api/<int:version>/items/<pk>/"),
        ("/api/1/all/", "/api/<int:version>/all/"),
        ("/shop/7/ann/", "/shop/<var>/<var>/"),
    ],
)
@override_settings(ROOT_URLCONF=__name__)
def test_a_route_reads_like_a_path_however_it_was_written(seen, where, route):
    Client().get(where)
    assert seen.one("hublog.request")["http_route"] == route


@pytest.mark.parametrize(
    ("written", "shown"),
    [
        ("", "/"),
        ("orders/<int:pk>/", "/orders/<int:pk>/"),
        ("v1.0/a+b/", "/v1.0/a+b/"),
        (r"^$", "/"),
        (r"^orders\.(?P<format>[a-z0-9]+)/?$", "/orders.<format>/"),
        (r"\Aorders/(?P<slug>[\w-]+)\Z", "/orders/<slug>"),
        (r"^(?P<year>[0-9]{4})/(?P<month>(?:0[1-9]|1[0-2]))/$", "/<year>/<month>/"),
        (r"^(?:orders|bills)/([0-9]+)$", "/(orders|bills)/<var>"),
        (r"^blog/(?:page-(?P<page>[0-9]+)/)?$", "/blog/page-<page>/"),
        (r"^a/((?P<x>\d+)/b)?$", "/a/<x>/b"),
        (r"^(?i:admin)/(?=x)y$", "/admin/y"),
        (r"^files/[0-9a-f]{8}/$", "/files/[0-9a-f]{8}/"),
        (r"^x/(?P<rest>[)(\]]*)/end$", "/x/<rest>/end"),
        (r"^x/(?P<rest>[]()]+)/end$", "/x/<rest>/end"),
        (r"^x/(?P<rest>\()$", "/x/<rest>"),
        (r"^price\$/$", "/price$/"),
        (r"^items/\d+/$", r"/items/\d/"),
        (r"^(?P<a>.*?)/(?P<b>.+)$", "/<a>/<b>"),
    ],
)
def test_what_a_regular_expression_names_is_shown_by_its_name(written, shown):
    assert route_text(written) == shown


@given(st.text(alphabet=r"()[]?P<a>\|^$:{1,}*+/", max_size=30))
def test_whatever_is_written_a_text_comes_out(written):
    assert route_text(written).startswith("/")


@given(st.text(alphabet="abc/-_.", max_size=30))
def test_a_route_without_any_sign_stays_as_it_is(written):
    assert route_text(written) == f"/{written}"
