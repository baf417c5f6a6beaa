"""What need not keep a customer waiting: Celery tasks."""

import logging

from celery import shared_task

from orders.models import Order

log = logging.getLogger(__name__)


@shared_task
def send_receipt(order_id: int, receipt: str) -> None:
    """Send a receipt to the customer: a stand-in for a mail."""
    order = Order.objects.select_related("product").get(pk=order_id)
    log.info(
        "Receipt %s for %d x %s sent",
        receipt,
        order.quantity,
        order.product,
        extra={"event_name": "receipt.sent", "order_id": order_id},
    )
