"""The Celery app: ``celery --app shopsite worker``."""

import os

from celery import Celery

import hublog.celery  # noqa: F401  # the records of a task carry its name and id, and the ids of its request

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "shopsite.settings")

app = Celery("shopsite")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks()
