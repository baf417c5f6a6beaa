"""The shop's settings, with less around them: no console, no log file, no waiting."""

from shopsite.settings import *  # noqa: F403

import hublog.django

DATABASES = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}}
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
CELERY_TASK_ALWAYS_EAGER = True
GATEWAY_API_KEY = "0f47ac10b58cc4372a5670e02b2c3d47"
WAREHOUSE_SECONDS = 0
LOG_TO_STDOUT = False
FILE_LOGGING_ENABLED = False
LOGGING = hublog.django.logging_config(globals())
