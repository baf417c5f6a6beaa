"""What need not keep a customer waiting: Celery tasks."""

import logging

from celery import Celery, Task, shared_task
from flask import Flask

import hublog.celery  # noqa: F401  # the records of a task carry its name and id, and the ids of its request
from shop.database import session
from shop.models import Order

log = logging.getLogger(__name__)


def init_app(app: Flask) -> None:
    """Make the Celery app, as Flask's documentation does: each task runs in an app context."""

    class FlaskTask(Task):
        def __call__(self, *args: object, **kwargs: object) -> object:
            with app.app_context():
                return self.run(*args, **kwargs)

    celery_app = Celery(app.name, task_cls=FlaskTask)
    celery_app.config_from_object(app.config["CELERY"])
    celery_app.set_default()
    app.extensions["celery"] = celery_app


@shared_task
def send_receipt(order_id: int, receipt: str) -> None:
    """Send a receipt to the customer: a stand-in for a mail."""
    order = session().get_one(Order, order_id)
    log.info(
        "Receipt %s for %d x %s sent",
        receipt,
        order.quantity,
        order.sku,
        extra={"event_name": "receipt.sent", "order_id": order_id},
    )
