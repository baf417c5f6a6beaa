"""``pytest`` in this folder: what the shop answers."""

import pytest


def test_an_order_is_taken(customer):
    assert customer.order().get_json() == {"id": 1, "total_cents": 900}


def test_more_than_there_is_cannot_be_bought(customer):
    assert customer.order(sku="honey", quantity=4).status_code == 409
    assert customer.order(sku="honey", quantity=3).status_code == 201


def test_paying_pays(customer, client):
    assert customer.pay(customer.good_card).status_code == 200
    assert client.get("/orders/1").get_json()["status"] == "paid"
    assert client.get("/reports/revenue").get_json() == {"orders": 1, "revenue_cents": 900}


def test_an_order_is_paid_once(customer, client):
    customer.pay(customer.good_card)
    assert client.post("/orders/1/pay", json={"card": customer.good_card}).status_code == 409


def test_a_declined_card_leaves_the_order_unpaid(customer, client):
    assert customer.pay(customer.declined_card).status_code == 402
    assert client.get("/orders/1").get_json()["status"] == "placed"


def test_a_silent_gateway_is_an_error(customer):
    assert customer.pay(customer.failing_card).status_code == 500


def test_the_export_has_a_line_for_each_order(customer, client):
    customer.pay(customer.good_card)
    customer.order(sku="coffee", quantity=1)
    with client.get("/reports/orders.csv") as answer:
        assert answer.is_streamed
        assert answer.get_data(as_text=True).splitlines() == [
            "id,sku,quantity,total_cents,status",
            "1,tea,2,900,paid",
            "2,coffee,1,1290,placed",
        ]


def test_a_missing_order_is_not_found(client):
    assert client.get("/orders/1").status_code == 404


@pytest.mark.parametrize("body", ["[]", "tea, please", '{"quantity": 0}', '{"quantity": "two"}'])
def test_what_is_no_order_is_refused(client, body):
    assert client.post("/orders", data=body, content_type="application/json").status_code == 400


def test_a_strange_tenant_is_refused(client):
    assert client.get("/orders/1", headers={"X-Tenant": "../acme"}).status_code == 400


def test_it_tells_that_it_serves(client):
    assert client.get("/healthz").get_json() == {"status": "ok"}
