"""Settings of the shop; what differs from place to place comes from the environment."""

import os
from pathlib import Path

import hublog.django

BASE_DIR = Path(__file__).resolve().parent.parent

DEBUG = os.environ.get("DJANGO_DEBUG") == "1"
# The prefix makes `manage.py check --deploy` complain until a real key is set.
SECRET_KEY = os.environ.get("DJANGO_SECRET_KEY", "django-insecure-good-enough-to-try-the-shop")
ALLOWED_HOSTS = os.environ.get("DJANGO_ALLOWED_HOSTS", "127.0.0.1,localhost").split(",")

INSTALLED_APPS = [
    "hublog.django",
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.messages",
    "django.contrib.sessions",
    "django.contrib.staticfiles",
    "orders",
]
MIDDLEWARE = [
    "hublog.django.middleware.RequestContextMiddleware",
    "django.middleware.security.SecurityMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "orders.middleware.tenant_middleware",
]
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ],
        },
    }
]
STATIC_URL = "static/"
ROOT_URLCONF = "shopsite.urls"
WSGI_APPLICATION = "shopsite.wsgi.application"
ASGI_APPLICATION = "shopsite.asgi.application"

DATABASES = {
    "default": {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": os.environ.get("SHOP_DATABASE", BASE_DIR / "shop.sqlite3"),
        "OPTIONS": {
            "timeout": 20,
            # Several workers write: take the lock at the start, not in the middle of a transaction.
            "transaction_mode": "IMMEDIATE",
            "init_command": "PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL;",
        },
    }
}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
USE_TZ = True
TIME_ZONE = "UTC"

# Without a broker a task runs at once, in the request: nothing else has to be started.
CELERY_BROKER_URL = os.environ.get("CELERY_BROKER_URL", "memory://localhost")
CELERY_TASK_ALWAYS_EAGER = CELERY_BROKER_URL == "memory://localhost"
CELERY_TASK_IGNORE_RESULT = True

GATEWAY_API_KEY = os.environ.get("SHOP_GATEWAY_API_KEY", "a-key-to-try-the-shop-with")
# How long the warehouse takes to answer the report.
WAREHOUSE_SECONDS = float(os.environ.get("SHOP_WAREHOUSE_SECONDS", "0.5"))

LOG_EXCLUDED_PATHS = ["/healthz"]
LOG_SERVICE_NAME = os.environ.get("LOG_SERVICE_NAME", "shop-django")
EVENTHUB_LOG_PACKING = "gzip"
# Console, file and Event Hub at once. Last, since it reads the names above.
LOGGING = hublog.django.logging_config(globals())
