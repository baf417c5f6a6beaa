"""What the tests of the shop share."""

import pytest
from django.contrib.auth import get_user_model
from orders.models import Product


class Customer:
    """Buys tea for the company acme."""

    good_card, declined_card, failing_card = "4242424242424242", "4000000000000002", "4000000000000119"
    password = "a word of ada's"
    trace_id = "ab" * 16
    headers = {"X-Tenant": "acme", "traceparent": f"00-{trace_id}-{'cd' * 8}-01"}  # noqa: RUF012  # read only

    def __init__(self, client):
        self.client = client
        client.raise_request_exception = False
        self.tea = Product.objects.create(sku="tea", price_cents=450, in_stock=10)
        self.user = get_user_model().objects.create_user("ada", password=self.password)

    def post(self, path, body):
        return self.client.post(path, body, content_type="application/json", headers=self.headers)

    def sign_in(self, password):
        return self.post("/session/", {"username": "ada", "password": password})

    def order(self, quantity=2):
        return self.post("/orders/", {"sku": "tea", "quantity": quantity})

    def pay(self, card):
        """Order and pay; returns the number of the order and the status of the answer."""
        number = self.order().json()["id"]
        return number, self.post(f"/orders/{number}/pay/", {"card": card}).status_code


@pytest.fixture(autouse=True)
def _no_secret_is_logged(settings, hublog_records):
    cards = (Customer.good_card, Customer.declined_card, Customer.failing_card)
    hublog_records.forbid(settings.GATEWAY_API_KEY, Customer.password, *cards)


@pytest.fixture
def customer(client):
    return Customer(client)
