"""Where each address leads."""

from django.contrib import admin
from django.http import HttpRequest, JsonResponse
from django.urls import include, path


def health(_request: HttpRequest) -> JsonResponse:
    return JsonResponse({"status": "ok"})


urlpatterns = [
    path("healthz", health, name="health"),
    path("admin/", admin.site.urls),
    path("hublog/", include("hublog.django.urls")),  # for the staff, and whoever has LOG_STATUS_TOKEN
    path("", include("orders.urls")),
]
