"""What the tests of the shop share."""

import pytest
from shop import create_app

API_KEY = "0f47ac10b58cc4372a5670e02b2c3d47"


class Customer:
    """Buys for the company acme."""

    good_card, declined_card, failing_card = "4242424242424242", "4000000000000002", "4000000000000119"
    trace_id = "ab" * 16
    headers = {"X-Tenant": "acme", "traceparent": f"00-{trace_id}-{'cd' * 8}-01"}  # noqa: RUF012  # read only

    def __init__(self, client):
        self.client = client

    def order(self, **wanted):
        return self.client.post("/orders", json={"sku": "tea", "quantity": 2} | wanted, headers=self.headers)

    def pay(self, card):
        path = f"/orders/{self.order().get_json()['id']}/pay"
        return self.client.post(path, json={"card": card}, headers=self.headers)


@pytest.fixture
def app(tmp_path, hublog_records):
    """Return the shop with full shelves; a test fails if it logs a secret."""
    hublog_records.forbid(API_KEY, Customer.good_card, Customer.declined_card, Customer.failing_card)
    app = create_app(
        {
            "DATABASE_URL": f"sqlite:///{tmp_path / 'shop.sqlite3'}",
            "GATEWAY_API_KEY": API_KEY,
            "WAREHOUSE_SECONDS": 0,
            "LOG_TO_STDOUT": False,
            "FILE_LOGGING_ENABLED": False,
        }
    )
    assert app.test_cli_runner().invoke(args=["init-db"]).exit_code == 0
    yield app
    app.extensions["engine"].dispose()


@pytest.fixture
def client(app):
    return app.test_client()


@pytest.fixture
def customer(client):
    return Customer(client)
