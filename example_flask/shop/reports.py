"""What the owner wants to know; the warehouse that answers is slow."""

import csv
import io
import logging
import time
from collections.abc import Iterator

from flask import Blueprint, Response, current_app, stream_with_context
from sqlalchemy import func, select

from shop.database import session
from shop.models import Order

log = logging.getLogger(__name__)
blueprint = Blueprint("reports", __name__, url_prefix="/reports")

_SLOW_MS = 300


@blueprint.get("/revenue")
def revenue() -> dict[str, object]:
    """Add up what was paid."""
    began = time.perf_counter()
    time.sleep(float(current_app.config["WAREHOUSE_SECONDS"]))  # stands for a query on a large warehouse
    paid = select(func.count(), func.coalesce(func.sum(Order.total_cents), 0)).where(Order.status == "paid")
    orders, cents = session().execute(paid).one()
    took_ms = (time.perf_counter() - began) * 1000
    log.log(
        logging.WARNING if took_ms > _SLOW_MS else logging.INFO,
        "The revenue report took %.0f ms",
        took_ms,
        extra={"event_name": "report.finished", "orders": orders, "warehouse_ms": round(took_ms, 1)},
    )
    return {"orders": orders, "revenue_cents": cents}


@blueprint.get("/orders.csv")
def export() -> Response:
    """Stream all orders, a line each; what is logged on the way carries the request's fields, too."""
    return Response(stream_with_context(_lines()), mimetype="text/csv")


def _lines() -> Iterator[str]:
    yield _line("id", "sku", "quantity", "total_cents", "status")
    number = 0
    for order in session().scalars(select(Order).order_by(Order.id).execution_options(yield_per=500)):
        yield _line(order.id, order.sku, order.quantity, order.total_cents, order.status)
        number += 1
    log.info("%d orders exported", number, extra={"event_name": "report.exported", "orders": number})


def _line(*cells: object) -> str:
    line = io.StringIO()
    csv.writer(line).writerow(cells)
    return line.getvalue()
