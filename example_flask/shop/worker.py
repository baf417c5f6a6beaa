"""``celery --app shop.worker worker`` finds the Celery app here."""

from shop import create_app

celery_app = create_app().extensions["celery"]
