"""``pytest`` in this folder: what the shop answers."""

import pytest
from asgiref.sync import async_to_sync
from django.test import Client
from orders.models import Order, Product

pytestmark = pytest.mark.django_db


def test_an_order_takes_from_the_shelf(customer):
    order = Order.objects.get(pk=customer.order().json()["id"])
    customer.tea.refresh_from_db()
    assert (order.total_cents, customer.tea.in_stock) == (900, 8)


def test_more_than_there_is_cannot_be_bought(customer):
    assert customer.order(quantity=11).status_code == 409
    assert not Order.objects.exists()


def test_paying_pays(customer, client):
    number, status = customer.pay(customer.good_card)
    assert status == 200
    assert client.get(f"/orders/{number}/").json() == {"id": number, "sku": "tea", "status": "paid"}


def test_an_order_is_paid_once(customer):
    number, _ = customer.pay(customer.good_card)
    assert customer.post(f"/orders/{number}/pay/", {"card": customer.good_card}).status_code == 409


def test_a_declined_card_leaves_the_order_unpaid(customer):
    number, status = customer.pay(customer.declined_card)
    assert (status, Order.objects.get(pk=number).status) == (402, Order.Status.PLACED)


def test_a_silent_gateway_is_an_error(customer):
    assert customer.pay(customer.failing_card)[1] == 500


def test_an_order_of_another_customer_is_not_found(customer, client):
    client.force_login(customer.user)
    number = customer.order().json()["id"]
    client.logout()
    assert customer.post(f"/orders/{number}/pay/", {"card": customer.good_card}).status_code == 404
    assert client.get(f"/orders/{number}/").status_code == 404


def test_a_customer_signs_in_and_out(customer, client):
    assert customer.sign_in(customer.password).status_code == 201
    assert client.get("/session/").json() == {"user": "ada"}
    assert client.delete("/session/").json() == {"user": None}


def test_a_wrong_password_is_refused(customer):
    assert customer.sign_in("a guess").status_code == 401


def test_posting_needs_a_csrf_token():
    strict = Client(enforce_csrf_checks=True)
    assert strict.post("/orders/", {"sku": "tea"}, content_type="application/json").status_code == 403


@pytest.mark.parametrize("body", ["[]", "tea, please", '{"quantity": 0}', '{"quantity": "two"}'])
def test_what_is_no_order_is_refused(client, body):
    assert client.post("/orders/", body, content_type="application/json").status_code == 400


def test_a_strange_tenant_is_refused(client):
    assert client.get("/orders/1/", headers={"X-Tenant": "../acme"}).status_code == 400


def test_the_report_adds_up_what_was_paid(async_client):
    tea = Product.objects.create(sku="tea", price_cents=450, in_stock=10)
    for status in Order.Status.values:
        Order.objects.create(product=tea, quantity=1, total_cents=450, status=status)
    answer = async_to_sync(async_client.get)("/reports/revenue/")
    assert answer.json() == {"orders": 1, "revenue": 4.5}


def test_the_owner_signs_in_to_the_admin(client, django_user_model):
    given = {"username": "owner", "password": "an owner's word"}
    django_user_model.objects.create_superuser(**given)
    answer = client.post("/admin/login/?next=/admin/", given, follow=True)
    assert answer.redirect_chain == [("/admin/", 302)]
    assert "Products" in answer.content.decode()


def test_the_owner_refunds_what_was_paid(customer, admin_client):
    paid, _ = customer.pay(customer.good_card)
    placed = customer.order(quantity=1).json()["id"]
    chosen = {"action": "refund", "_selected_action": [paid, placed]}
    answer = admin_client.post("/admin/orders/order/", chosen, follow=True)
    assert "1 refunded." in answer.content.decode()
    assert dict(Order.objects.values_list("pk", "status")) == {paid: "refunded", placed: "placed"}


def test_it_tells_that_it_serves(client):
    assert client.get("/healthz").json() == {"status": "ok"}
