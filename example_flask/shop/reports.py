"""What the owner wants to know; the warehouse that answers is slow."""

import logging
import time

from flask import Blueprint, current_app

from shop.database import connection

log = logging.getLogger(__name__)
blueprint = Blueprint("reports", __name__, url_prefix="/reports")

_SLOW_MS = 300


@blueprint.get("/revenue")
def revenue() -> dict[str, object]:
    """Add up what was paid."""
    began = time.perf_counter()
    time.sleep(float(current_app.config["WAREHOUSE_SECONDS"]))  # stands for a query on a large warehouse
    row = (
        connection()
        .execute("SELECT count(*), coalesce(sum(total_cents), 0) FROM purchase WHERE status = 'paid'")
        .fetchone()
    )
    took_ms = (time.perf_counter() - began) * 1000
    log.log(
        logging.WARNING if took_ms > _SLOW_MS else logging.INFO,
        "The revenue report took %.0f ms",
        took_ms,
        extra={"event_name": "report.finished", "orders": row[0], "warehouse_ms": round(took_ms, 1)},
    )
    return {"orders": row[0], "revenue_cents": row[1]}
