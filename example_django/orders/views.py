"""Orders: place, look at, pay, add up. The last is asynchronous, as whatever waits for others may be."""

import asyncio
import logging
import time

from django.conf import settings
from django.contrib.auth.models import AbstractBaseUser, AnonymousUser
from django.db import transaction
from django.db.models import Count, F, Q, QuerySet, Sum
from django.http import HttpRequest, JsonResponse
from django.views.decorators.http import require_GET, require_POST

from hublog import bind
from orders import payments
from orders.bodies import json_object
from orders.models import Order, Product
from orders.rates import exchange_rate
from orders.tasks import send_receipt

log = logging.getLogger(__name__)

_MAX_QUANTITY = 100
_SLOW_MS = 300


@require_POST
def place(request: HttpRequest) -> JsonResponse:
    """Take an order: ``{"sku": "tea", "quantity": 2}``."""
    wanted = json_object(request)
    sku, quantity = str(wanted.get("sku")), wanted.get("quantity", 1)
    if not isinstance(quantity, int) or not 1 <= quantity <= _MAX_QUANTITY:
        return _problem(400, f"quantity is {quantity!r}; it must be a number from 1 to {_MAX_QUANTITY}.")
    with transaction.atomic():
        shelf = Product.objects.filter(sku=sku, in_stock__gte=quantity)
        if not shelf.update(in_stock=F("in_stock") - quantity):
            log.warning("Not enough of %s for an order of %d", sku, quantity, extra=_event("order.refused"))
            return _problem(409, f"There are not {quantity} of {sku} on the shelves.")
        product = Product.objects.get(sku=sku)
        total = quantity * product.price_cents
        customer = request.user if request.user.is_authenticated else None
        order = Order.objects.create(product=product, customer=customer, quantity=quantity, total_cents=total)
    bind(order_id=order.pk)
    added = {**_event("order.placed"), "sku": sku, "total_cents": total}
    log.info("Order placed: %d x %s", quantity, sku, extra=added)
    return JsonResponse({"id": order.pk, "total_cents": total}, status=201)


@require_GET
async def show(request: HttpRequest, order_id: int) -> JsonResponse:
    """Tell what was ordered and whether it is paid."""
    bind(order_id=order_id)
    customer = await request.auser()
    order = await _orders_of(customer).select_related("product").filter(pk=order_id).afirst()
    if order is None:
        return _missing(order_id)
    return JsonResponse({"id": order.pk, "sku": order.product.sku, "status": order.status})


@require_POST
def pay(request: HttpRequest, order_id: int) -> JsonResponse:
    """Charge a card: ``{"card": "4242424242424242"}``. Its number reaches no log."""
    bind(order_id=order_id)
    order = _orders_of(request.user).filter(pk=order_id).first()
    if order is None:
        return _missing(order_id)
    if order.status != Order.Status.PLACED:
        return _problem(409, f"Order {order_id} is {order.status} already.")
    amount = order.total_cents
    try:
        receipt = payments.charge(str(json_object(request).get("card")), amount)
    except payments.CardDeclinedError as error:
        log.warning("Card declined: %s", error, extra=_event("payment.declined"))
        return _problem(402, f"The card was declined: {error}.")
    # A GatewayError is nobody's fault here: Django logs it with its traceback and answers 500.
    Order.objects.filter(pk=order_id).update(status=Order.Status.PAID)
    log.info("Payment %s received", receipt, extra={**_event("payment.received"), "amount_cents": amount})
    send_receipt.delay_on_commit(order_id, receipt)
    return JsonResponse({"id": order_id, "status": Order.Status.PAID, "receipt": receipt})


@require_GET
async def revenue(request: HttpRequest) -> JsonResponse:
    """Add up what was paid, in ``?currency=EUR``; a currency without a rate makes it fail."""
    began = time.perf_counter()
    currency = request.GET.get("currency", "EUR")
    rate = await exchange_rate(currency)
    await asyncio.sleep(settings.WAREHOUSE_SECONDS)  # stands for a query on a large warehouse
    paid = Order.objects.filter(status=Order.Status.PAID)
    found = await paid.aaggregate(orders=Count("pk"), cents=Sum("total_cents", default=0))
    took_ms = (time.perf_counter() - began) * 1000
    log.log(
        logging.WARNING if took_ms > _SLOW_MS else logging.INFO,
        "The revenue report took %.0f ms",
        took_ms,
        extra={**_event("report.finished"), "orders": found["orders"], "warehouse_ms": round(took_ms, 1)},
    )
    return JsonResponse({"orders": found["orders"], "revenue": round(found["cents"] * rate / 100, 2)})


def _orders_of(customer: AbstractBaseUser | AnonymousUser) -> QuerySet[Order]:
    """Return what a customer may see: their own orders, and those of guests."""
    return Order.objects.filter(Q(customer=None) | Q(customer=customer.pk))


def _missing(order_id: int) -> JsonResponse:
    log.warning("Order %d does not exist", order_id, extra=_event("order.missing"))
    return _problem(404, f"There is no order {order_id}.")


def _problem(status: int, error: str) -> JsonResponse:
    return JsonResponse({"error": error}, status=status)


def _event(name: str) -> dict[str, object]:
    return {"event_name": name}
