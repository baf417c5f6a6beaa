"""Orders: place, look at, pay."""

import logging
import sqlite3

from flask import Blueprint, abort, request

from hublog import bind
from shop import payments
from shop.database import connection

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
    database = connection()
    with database:
        taken = database.execute(
            "UPDATE product SET in_stock = in_stock - :wanted"
            " WHERE sku = :sku AND in_stock >= :wanted RETURNING price_cents",
            {"sku": sku, "wanted": quantity},
        ).fetchone()
        if taken is None:
            log.warning("Not enough of %s for an order of %d", sku, quantity, extra=_event("order.refused"))
            abort(409, f"There are not {quantity} of {sku} on the shelves.")
        total = quantity * taken["price_cents"]
        purchase = database.execute(
            "INSERT INTO purchase (sku, quantity, total_cents) VALUES (?, ?, ?)", (sku, quantity, total)
        )
    bind(order_id=purchase.lastrowid)
    added = {**_event("order.placed"), "sku": sku, "total_cents": total}
    log.info("Order placed: %d x %s", quantity, sku, extra=added)
    return {"id": purchase.lastrowid, "total_cents": total}, 201


@blueprint.get("/<int:order_id>")
def show(order_id: int) -> dict[str, object]:
    """Tell what was ordered and whether it is paid."""
    return dict(_find(order_id))


@blueprint.post("/<int:order_id>/pay")
def pay(order_id: int) -> tuple[dict[str, object], int]:
    """Charge a card: ``{"card": "4242424242424242"}``. Its number is never logged."""
    order = _find(order_id)
    if order["status"] == "paid":
        abort(409, f"Order {order_id} is paid already.")
    amount = order["total_cents"]
    log.info("Charging %d cents", amount, extra={**_event("payment.started"), "amount_cents": amount})
    try:
        receipt = payments.charge(str(_json_object().get("card")), amount)
    except payments.CardDeclinedError as error:
        log.warning("Card declined: %s", error, extra=_event("payment.declined"))
        return {"error": f"The card was declined: {error}."}, 402
    # A GatewayError is nobody's fault here: Flask logs it with its traceback and answers 500.
    with connection() as database:
        database.execute("UPDATE purchase SET status = 'paid' WHERE id = ?", (order_id,))
    log.info("Payment %s received", receipt, extra={**_event("payment.received"), "amount_cents": amount})
    return {"id": order_id, "status": "paid", "receipt": receipt}, 200


def _find(order_id: int) -> sqlite3.Row:
    bind(order_id=order_id)
    order = connection().execute("SELECT * FROM purchase WHERE id = ?", (order_id,)).fetchone()
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
