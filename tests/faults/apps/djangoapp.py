"""A Django project in one file: it logs five records with ids before it answers."""

import os
import sys
import time

import django
import probe  # before hublog: its exit hook must run last
import touched  # noqa: F401  # a reloader watches it
from django.conf import settings
from django.core.management import execute_from_command_line
from django.http import HttpResponse
from django.urls import path

import hublog.django

settings.configure(
    DEBUG=True,
    SECRET_KEY="of a test",
    ROOT_URLCONF=__name__,
    ALLOWED_HOSTS=["127.0.0.1"],
    INSTALLED_APPS=["hublog.django"],
    MIDDLEWARE=["hublog.django.middleware.RequestContextMiddleware"],
    LOGGING=hublog.django.logging_config({}),
    USE_TZ=True,
)
django.setup()
probe.send_ours_alone()


def work(request):
    """Log, then hold the request as long as asked, then answer."""
    name = request.GET["id"]
    for number in range(int(request.GET.get("records", 5))):
        probe.call(f"{name}.{number}", "record %d of %s", number, name)
    time.sleep(float(request.GET.get("sleep", 0)))
    return HttpResponse("ok")


urlpatterns = [path("work", work)]

if __name__ == "__main__":
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "")
    execute_from_command_line(sys.argv)
