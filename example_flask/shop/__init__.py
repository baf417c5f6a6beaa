"""An order shop in Flask: customers place orders and pay, the owner reads reports."""

import os
from collections.abc import Mapping

from flask import Flask
from werkzeug.exceptions import HTTPException

from hublog.flask import HubLog, status_pages
from shop import customers, database, orders, reports, tasks

hub_log = HubLog()


def create_app(config: Mapping[str, object] | None = None) -> Flask:
    """Make the application.

    Args:
        config: wins over the environment, where each name has the prefix ``FLASK_``.
    """
    app = Flask(__name__)
    broker_url = os.environ.get("CELERY_BROKER_URL", "memory://localhost")
    app.config.from_mapping(
        DATABASE_URL="sqlite:///shop.sqlite3",
        GATEWAY_API_KEY="a-key-to-try-the-shop-with",
        WAREHOUSE_SECONDS=0.5,
        # Without a broker a task runs at once, in the request: nothing else has to be started.
        CELERY={
            "broker_url": broker_url,
            "task_always_eager": broker_url == "memory://localhost",
            "task_ignore_result": True,
        },
        LOG_SERVICE_NAME="shop-flask",
        LOG_EXCLUDED_PATHS=["/healthz"],
        EVENTHUB_LOG_PACKING="gzip",
    )
    app.config.from_prefixed_env()
    app.config.from_mapping(config)
    # Before everything else that handles requests: what comes later finds the request's fields bound.
    hub_log.init_app(app)
    database.init_app(app)
    tasks.init_app(app)
    app.before_request(customers.identify)
    app.register_blueprint(orders.blueprint)
    app.register_blueprint(reports.blueprint)
    app.register_error_handler(HTTPException, _as_json)
    app.register_blueprint(status_pages(), url_prefix="/hublog")  # for whoever has LOG_STATUS_TOKEN
    app.add_url_rule("/healthz", view_func=lambda: {"status": "ok"}, endpoint="health")
    return app


def _as_json(error: HTTPException) -> tuple[dict[str, str], int]:
    return {"error": error.description or error.name}, error.code or 500
