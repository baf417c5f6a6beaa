"""Orders: place, look at, pay."""

import logging

from flask import Blueprint, abort, request
from sqlalchemy import update

from hublog import bind
from shop import payments
from shop.database import session
from shop.models import Order, Product
from shop.tasks import send_receipt

log = logging.getLogger(__name__)
blueprint = Blueprint("orders", __name__, url_prefix="/orders")

_MAX_QUANTITY = 100


@blueprint.post("")
def place() -> tuple[dict[str, object], int]:
    """Take an order: ``{"sku": "tea", "quantity": 2}``."""
    wanted = _json_object()
    sku, quantity = str(wanted.get("sku")), wanted.get("quantity", 1)
    if not isinstance(quantity, int) or not 1 <= quantity <= _MAX_QUANTITY:
        abort(400, f"quantity is {quantity!r}; it must be a number from 1 to {_MAX_QUANTITY}.")
    price = session().scalar(
        update(Product)
        .where(Product.sku == sku, Product.in_stock >= quantity)
        .values(in_stock=Product.in_stock - quantity)
        .returning(Product.price_cents)
    )
    if price is None:
        log.warning("Not enough of %s for an order of %d", sku, quantity, extra=_event("order.refused"))
        abort(409, f"There are not {quantity} of {sku} on the shelves.")
    order = Order(sku=sku, quantity=quantity, total_cents=quantity * price)
    session().add(order)
    session().commit()
    bind(order_id=order.id)
    added = {**_event("order.placed"), "sku": sku, "total_cents": order.total_cents}
    log.info("Order placed: %d x %s", quantity, sku, extra=added)
    return {"id": order.id, "total_cents": order.total_cents}, 201


@blueprint.get("/<int:order_id>")
def show(order_id: int) -> dict[str, object]:
    """Tell what was ordered and whether it is paid."""
    return _find(order_id).as_dict()


@blueprint.post("/<int:order_id>/pay")
def pay(order_id: int) -> tuple[dict[str, object], int]:
    """Charge a card: ``{"card": "4242424242424242"}``. Its number reaches no log."""
    order = _find(order_id)
    if order.status == "paid":
        abort(409, f"Order {order_id} is paid already.")
    try:
        receipt = payments.charge(str(_json_object().get("card")), order.total_cents)
    except payments.CardDeclinedError as error:
        log.warning("Card declined: %s", error, extra=_event("payment.declined"))
        return {"error": f"The card was declined: {error}."}, 402
    # A GatewayError is nobody's fault here: Flask logs it with its traceback and answers 500.
    order.status = "paid"
    session().commit()
    added = {**_event("payment.received"), "amount_cents": order.total_cents}
    log.info("Payment %s received", receipt, extra=added)
    send_receipt.delay(order_id, receipt)
    return {"id": order_id, "status": "paid", "receipt": receipt}, 200


def _find(order_id: int) -> Order:
    bind(order_id=order_id)
    order = session().get(Order, order_id)
    if order is None:
        log.warning("Order %d does not exist", order_id, extra=_event("order.missing"))
        abort(404, f"There is no order {order_id}.")
    return order


def _json_object() -> dict[str, object]:
    given = request.get_json()
    if not isinstance(given, dict):
        abort(400, "The body must be a JSON object.")
    return given


def _event(name: str) -> dict[str, object]:
    return {"event_name": name}
