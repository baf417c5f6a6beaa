"""``pytest`` in this folder: what the shop answers, and what it logs."""

import json
import logging

import pytest
from shop import create_app

GOOD_CARD = {"card": "4242424242424242"}
DECLINED_CARD = {"card": "4000000000000002"}
FAILING_CARD = {"card": "4000000000000119"}
ACME = {"X-Tenant": "acme"}
TRACEPARENT = f"00-{'ab' * 16}-{'cd' * 8}-01"


@pytest.fixture
def client(tmp_path):
    app = create_app(
        {
            "DATABASE": str(tmp_path / "shop.sqlite3"),
            "WAREHOUSE_SECONDS": 0,
            "LOG_DIR": str(tmp_path),
            "LOG_TO_STDOUT": False,
            "EVENTHUB_LOGGING_ENABLED": False,
        }
    )
    assert app.test_cli_runner().invoke(args=["init-db"]).exit_code == 0
    return app.test_client()


@pytest.fixture
def logged(tmp_path):
    """Return the records in the log file, each a dictionary."""
    return lambda: [json.loads(line) for line in (tmp_path / "application.log").read_text().splitlines()]


def order(client, **wanted):
    return client.post("/orders", json={"sku": "tea", "quantity": 2} | wanted, headers=ACME)


def pay(client, card):
    number = order(client).get_json()["id"]
    return client.post(f"/orders/{number}/pay", json=card, headers=ACME | {"traceparent": TRACEPARENT})


def test_an_order_is_taken(client):
    assert order(client).get_json() == {"id": 1, "total_cents": 900}


def test_more_than_there_is_cannot_be_bought(client, caplog):
    assert order(client, sku="honey", quantity=4).status_code == 409
    assert "Not enough of honey for an order of 4" in caplog.messages


def test_paying_pays(client):
    assert pay(client, GOOD_CARD).status_code == 200
    assert client.get("/orders/1").get_json()["status"] == "paid"
    assert client.get("/reports/revenue").get_json() == {"orders": 1, "revenue_cents": 900}


def test_a_declined_card_is_a_warning(client, caplog):
    assert pay(client, DECLINED_CARD).status_code == 402
    declined = [record for record in caplog.records if record.message.startswith("Card declined")]
    assert [(record.levelno, record.event_name) for record in declined] == [
        (logging.WARNING, "payment.declined")
    ]


def test_a_silent_gateway_is_an_error_with_its_trace_and_tenant(client, logged):
    assert pay(client, FAILING_CARD).status_code == 500
    (error,) = [record for record in logged() if "exception_type" in record]
    assert error["exception_type"] == "shop.payments.GatewayError"
    assert (error["trace_id"], error["tenant_id"], error["http_route"]) == (
        "ab" * 16,
        "acme",
        "/orders/<int:order_id>/pay",
    )


def test_the_number_of_a_card_is_never_logged(client, tmp_path):
    pay(client, GOOD_CARD)
    assert GOOD_CARD["card"] not in (tmp_path / "application.log").read_text()


def test_a_missing_order_is_not_found(client):
    assert client.get("/orders/1").status_code == 404


@pytest.mark.parametrize("body", ["[]", "tea, please"])
def test_what_is_no_json_object_is_refused(client, body):
    assert client.post("/orders", data=body, content_type="application/json").status_code == 400


def test_a_strange_tenant_is_refused(client):
    assert client.get("/health", headers={"X-Tenant": "../acme"}).status_code == 400
