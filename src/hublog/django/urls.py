"""The pages for the operator: ``path("hublog/", include("hublog.django.urls"))``.

``healthz`` is for everybody. ``status``, ``status.json`` and ``metrics`` are for members of the staff who are
signed in, and for requests with ``Authorization: Bearer`` and ``LOG_STATUS_TOKEN``; others get 404.
"""

from functools import cache, partial
from typing import Final

from django.core.signals import setting_changed
from django.http import Http404, HttpRequest, HttpResponse
from django.urls import path

from hublog.django.project import read_project
from hublog.pages.answers import NAMES, pages
from hublog.settings import Settings

app_name: Final = "hublog"


def _show(request: HttpRequest, name: str) -> HttpResponse:
    found = pages.answer(
        name,
        _settings(),
        authorization=request.headers.get("Authorization", ""),
        is_trusted=partial(_is_staff, request),
    )
    if found is None:
        raise Http404
    return HttpResponse(found.body, status=found.status, headers=dict(found.headers))


def _is_staff(request: HttpRequest) -> bool:
    user = getattr(request, "user", None)
    return bool(user is not None and user.is_active and user.is_staff)


@cache
def _settings() -> Settings:
    return read_project().settings


setting_changed.connect(lambda **_: _settings.cache_clear(), weak=False, dispatch_uid="hublog.urls")
urlpatterns: Final = [path(name, partial(_show, name=name), name=name) for name in NAMES]
