"""``python manage.py test``: what the shop answers, and what it logs."""

from django.contrib.auth import get_user_model
from django.test import AsyncClient, Client, TestCase

from orders.models import Order, Product
from orders.payments import GatewayError
from orders.rates import RateUnavailableError

PASSWORD = "a word of ada's"
GOOD_CARD = {"card": "4242424242424242"}
DECLINED_CARD = {"card": "4000000000000002"}
FAILING_CARD = {"card": "4000000000000119"}


class ShopTests(TestCase):
    @classmethod
    def setUpTestData(cls) -> None:
        cls.tea = Product.objects.create(sku="tea", price_cents=450, in_stock=10)
        cls.ada = get_user_model().objects.create_user("ada", password=PASSWORD)

    def post(self, path: str, body: dict[str, object]):
        return self.client.post(path, body, content_type="application/json", headers={"X-Tenant": "acme"})

    def order(self) -> int:
        return self.post("/orders/", {"sku": "tea", "quantity": 2}).json()["id"]

    def test_an_order_takes_from_the_shelf(self) -> None:
        order = Order.objects.get(pk=self.order())
        self.tea.refresh_from_db()
        self.assertEqual((order.total_cents, self.tea.in_stock), (900, 8))

    def test_more_than_there_is_cannot_be_bought(self) -> None:
        with self.assertLogs("orders.views", "WARNING") as logs:
            answer = self.post("/orders/", {"sku": "tea", "quantity": 11})
        self.assertEqual(answer.status_code, 409)
        self.assertEqual(logs.records[0].event_name, "order.refused")

    def test_paying_pays(self) -> None:
        number = self.order()
        self.assertEqual(self.post(f"/orders/{number}/pay/", GOOD_CARD).status_code, 200)
        self.assertEqual(self.client.get(f"/orders/{number}/").json()["status"], "paid")

    def test_an_order_of_another_customer_is_not_found(self) -> None:
        self.client.force_login(self.ada)
        number = self.order()
        self.client.logout()
        self.assertEqual(self.post(f"/orders/{number}/pay/", GOOD_CARD).status_code, 404)
        self.assertEqual(self.client.get(f"/orders/{number}/").status_code, 404)

    def test_a_declined_card_is_a_warning(self) -> None:
        number = self.order()
        with self.assertLogs("orders.views", "WARNING") as logs:
            answer = self.post(f"/orders/{number}/pay/", DECLINED_CARD)
        self.assertEqual(answer.status_code, 402)
        self.assertEqual([record.levelname for record in logs.records], ["WARNING"])

    def test_a_silent_gateway_is_an_error(self) -> None:
        number = self.order()
        self.client.raise_request_exception = False
        with self.assertLogs("django.request", "ERROR") as logs:
            answer = self.post(f"/orders/{number}/pay/", FAILING_CARD)
        self.assertEqual(answer.status_code, 500)
        self.assertIs(logs.records[0].exc_info[0], GatewayError)

    def test_the_number_of_a_card_is_never_logged(self) -> None:
        number = self.order()
        with self.assertLogs(level="DEBUG") as logs:
            self.post(f"/orders/{number}/pay/", GOOD_CARD)
        self.assertNotIn(GOOD_CARD["card"], repr([record.__dict__ for record in logs.records]))

    def test_a_customer_signs_in_and_out(self) -> None:
        given = {"username": "ada", "password": PASSWORD}
        self.assertEqual(self.post("/session/", given).status_code, 201)
        self.assertEqual(self.client.get("/session/").json(), {"user": "ada"})
        self.assertEqual(self.client.delete("/session/").json(), {"user": None})

    def test_a_wrong_password_is_a_warning_without_the_password(self) -> None:
        with self.assertLogs("orders.sessions", "WARNING") as logs:
            answer = self.post("/session/", {"username": "ada", "password": "guess"})
        self.assertEqual(answer.status_code, 401)
        self.assertNotIn("guess", logs.output[0])

    def test_posting_needs_a_csrf_token(self) -> None:
        strict = Client(enforce_csrf_checks=True)
        with self.assertLogs("django.security.csrf", "WARNING"):
            answer = strict.post("/orders/", {"sku": "tea"}, content_type="application/json")
        self.assertEqual(answer.status_code, 403)

    def test_what_is_no_json_is_refused(self) -> None:
        answer = self.client.post("/orders/", "tea, please", content_type="application/json")
        self.assertEqual(answer.status_code, 400)

    def test_a_strange_tenant_is_refused(self) -> None:
        self.assertEqual(self.client.get("/health/", headers={"X-Tenant": "../acme"}).status_code, 400)


class AsyncShopTests(TestCase):
    async def test_a_missing_order_is_not_found(self) -> None:
        self.assertEqual((await self.async_client.get("/orders/1/")).status_code, 404)

    async def test_the_report_adds_up_what_was_paid(self) -> None:
        tea = await Product.objects.acreate(sku="tea", price_cents=450, in_stock=10)
        for status in Order.Status.values:
            await Order.objects.acreate(product=tea, quantity=1, total_cents=450, status=status)
        with self.settings(WAREHOUSE_SECONDS=0):
            answer = await self.async_client.get("/reports/revenue/")
        self.assertEqual(answer.json(), {"orders": 1, "revenue": 4.5})

    async def test_a_currency_without_a_rate_is_an_error(self) -> None:
        client = AsyncClient(raise_request_exception=False)
        with self.assertLogs("django.request", "ERROR") as logs:
            answer = await client.get("/reports/revenue/?currency=XAU")
        self.assertEqual(answer.status_code, 500)
        self.assertIs(logs.records[0].exc_info[0], RateUnavailableError)
