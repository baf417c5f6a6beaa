"""What the shop logs: each row is what the table in Azure Data Explorer gets."""

import pytest
from asgiref.sync import async_to_sync

pytestmark = pytest.mark.django_db
PAY = "/orders/<int:order_id>/pay/"


def test_an_order_is_logged_with_its_tenant_and_route(customer, hublog_records):
    customer.order()
    hublog_records.assert_logged(
        level="INFO",
        message="Order placed: 2 x tea",
        event_name="order.placed",
        total_cents=900,
        tenant_id="acme",
        http_route="/orders/",
        service_name="shop-django",
    )


def test_the_record_of_a_request_has_its_user_and_counts_its_queries(
    customer, client, hublog_records, django_assert_num_queries
):
    client.force_login(customer.user)
    # Session and user, a savepoint and its end, and the shelf, the product and the order between them.
    with django_assert_num_queries(7):
        customer.order()
    request = hublog_records.assert_logged(record_type="request", http_status_code=201, tenant_id="acme")
    assert (request["user_id"], request["db_query_count"]) == (str(customer.user.pk), 7)
    assert request["db_duration_ms"] > 0


def test_logging_makes_no_query(client, hublog_records, django_assert_num_queries):
    with django_assert_num_queries(0):
        client.post("/orders/", "tea, please", content_type="application/json")
    hublog_records.assert_logged(record_type="request", http_status_code=400)


def test_a_declined_card_is_a_warning(customer, hublog_records):
    customer.pay(customer.declined_card)
    hublog_records.assert_logged(level="WARNING", message="Card declined: insufficient funds", http_route=PAY)


def test_a_silent_gateway_is_an_error_with_its_trace_and_tenant(customer, hublog_records):
    customer.pay(customer.failing_card)
    hublog_records.assert_logged(
        level="ERROR",
        logger_name="django.request",
        exception_type="orders.payments.GatewayError",
        trace_id=customer.trace_id,
        tenant_id="acme",
        http_route=PAY,
    )


def test_a_currency_without_a_rate_is_an_error_of_an_async_view(async_client, hublog_records):
    async_client.raise_request_exception = False
    assert async_to_sync(async_client.get)("/reports/revenue/?currency=XAU").status_code == 500
    request = hublog_records.assert_logged(record_type="request", view_name="revenue", http_status_code=500)
    hublog_records.assert_logged(
        level="ERROR",
        exception_type="orders.rates.RateUnavailableError",
        request_id=request["request_id"],
    )


def test_a_slow_report_is_a_warning(async_client, settings, hublog_records):
    settings.WAREHOUSE_SECONDS = 0.31
    async_to_sync(async_client.get)("/reports/revenue/")
    hublog_records.assert_logged(level="WARNING", event_name="report.finished")
    hublog_records.assert_logged(record_type="request", view_name="revenue", db_query_count=1)


def test_neither_card_nor_key_is_logged(customer, settings, hublog_records):
    for card in (customer.good_card, customer.declined_card, customer.failing_card):
        customer.pay(card)
        hublog_records.assert_no_secrets(card, settings.GATEWAY_API_KEY)
    assert len(hublog_records.where(message="Charging 900 cents to card ")) == 3


def test_a_wrong_password_is_a_warning_without_it(customer, hublog_records):
    customer.sign_in("a guess of mine")
    hublog_records.assert_logged(level="WARNING", event_name="session.refused")
    hublog_records.assert_no_secrets("a guess of mine")


@pytest.mark.django_db(transaction=True)  # the task is sent when the transaction ends
def test_a_receipt_is_sent_by_a_task_of_the_request(customer, hublog_records):
    customer.pay(customer.good_card)
    request = hublog_records.assert_logged(record_type="request", http_route=PAY)
    task = hublog_records.assert_logged(record_type="task", task_name="orders.tasks.send_receipt")
    hublog_records.assert_logged(
        event_name="receipt.sent",
        task_id=task["task_id"],
        request_id=request["request_id"],
        trace_id=customer.trace_id,
        tenant_id="acme",
    )


def test_a_refund_names_who_gave_it(customer, admin_client, admin_user, hublog_records):
    number, _ = customer.pay(customer.good_card)
    admin_client.post("/admin/orders/order/", {"action": "refund", "_selected_action": [number]})
    hublog_records.assert_logged(
        level="INFO",
        message=f"Order {number} refunded",
        event_name="order.refunded",
        amount_cents=900,
        user_id=str(admin_user.pk),
        view_name="admin:orders_order_changelist",
    )


def test_probes_are_not_logged(client, hublog_records):
    client.get("/healthz")
    client.get("/session/")
    requests = hublog_records.where(record_type="request")
    assert [request["http_path"] for request in requests] == ["/session/"]


def test_nothing_is_lost_while_the_hub_is_away(customer, hublog_records):
    hublog_records.fail_next(2)
    assert customer.order().status_code == 201
    hublog_records.assert_logged(message="Order placed: 2 x tea")
