"""What the shop logs: each row is what the table in Azure Data Explorer gets."""

PAY = "/orders/<int:order_id>/pay"


def test_an_order_is_logged_with_its_tenant_and_route(customer, hublog_records):
    customer.order()
    hublog_records.assert_logged(
        level="INFO",
        message="Order placed: 2 x tea",
        event_name="order.placed",
        total_cents=900,
        tenant_id="acme",
        http_route="/orders",
        service_name="shop-flask",
    )


def test_the_record_of_a_request_counts_its_queries(customer, hublog_records):
    customer.order()
    request = hublog_records.assert_logged(record_type="request", http_status_code=201, tenant_id="acme")
    assert request["db_query_count"] == 2  # the shelf and the order
    assert request["db_duration_ms"] > 0


def test_a_declined_card_is_a_warning(customer, hublog_records):
    customer.pay(customer.declined_card)
    hublog_records.assert_logged(level="WARNING", message="Card declined: insufficient funds", http_route=PAY)


def test_a_silent_gateway_is_an_error_with_its_trace_and_tenant(customer, hublog_records):
    customer.pay(customer.failing_card)
    hublog_records.assert_logged(
        level="ERROR",
        exception_type="shop.payments.GatewayError",
        trace_id=customer.trace_id,
        tenant_id="acme",
        http_route=PAY,
    )


def test_neither_card_nor_key_is_logged(customer, app, hublog_records):
    for card in (customer.good_card, customer.declined_card, customer.failing_card):
        customer.pay(card)
        hublog_records.assert_no_secrets(card, app.config["GATEWAY_API_KEY"])
    assert len(hublog_records.where(message="Charging 900 cents to card ")) == 3


def test_a_slow_report_is_a_warning(client, app, hublog_records):
    app.config["WAREHOUSE_SECONDS"] = 0.31
    client.get("/reports/revenue")
    hublog_records.assert_logged(level="WARNING", event_name="report.finished")


def test_a_streamed_export_logs_with_its_request(customer, client, hublog_records):
    customer.order()
    with client.get("/reports/orders.csv", headers={"X-Tenant": "globex"}) as answer:
        answer.get_data()
    exported, request = hublog_records.where(tenant_id="globex")
    assert exported["message"] == "1 orders exported"
    assert (request["record_type"], request["db_query_count"]) == ("request", 1)


def test_a_receipt_is_sent_by_a_task_of_the_request(customer, hublog_records):
    customer.pay(customer.good_card)
    request = hublog_records.assert_logged(record_type="request", http_route=PAY)
    task = hublog_records.assert_logged(record_type="task", task_name="shop.tasks.send_receipt")
    hublog_records.assert_logged(
        event_name="receipt.sent",
        task_id=task["task_id"],
        request_id=request["request_id"],
        trace_id=customer.trace_id,
        tenant_id="acme",
    )


def test_probes_are_not_logged(client, hublog_records):
    client.get("/healthz")
    client.get("/orders/1")
    requests = hublog_records.where(record_type="request")
    assert [request["http_path"] for request in requests] == ["/orders/1"]


def test_nothing_is_lost_while_the_hub_is_away(customer, hublog_records):
    hublog_records.fail_next(2)
    assert customer.order().status_code == 201
    hublog_records.assert_logged(message="Order placed: 2 x tea")
