"""The project; with it comes the Celery app, so that ``shared_task`` finds it."""

from shopsite.celery import app as celery_app

__all__ = ["celery_app"]
