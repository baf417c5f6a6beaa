import asyncio
import logging

import pytest
from django.test import AsyncClient, Client, override_settings
from django.urls import path
from tests.kits.pipelines import Front, Shop, of_views

from hublog.capture import context
from hublog.delivery.accounting import Drop


@pytest.fixture
def shop():
    shop, root = Shop(0, tail_sampling=True), logging.getLogger()
    handler, level, token = Front(shop.pipeline), root.level, context.enter({})
    root.addHandler(handler)
    root.setLevel(logging.INFO)
    yield shop
    root.removeHandler(handler)
    root.setLevel(level)
    context.leave(token)
    shop.close()


def requests_of(shop):
    return [row["http_status_code"] for row in shop.rows if row["record_type"] == "request"]


@pytest.mark.parametrize("asked", ["/orders/7/", "/slow/7/", "/stream/"])
def test_a_django_request_that_went_well_ships_its_request_record_alone(shop, asked):
    response = Client().get(asked)
    if response.streaming:
        assert response.getvalue() == b"xxx"
    assert (of_views(shop), requests_of(shop)) == ([], [200])
    assert shop.stats.dropped[Drop.SAMPLED_OUT] >= 1


def fail(request):
    logging.getLogger("shop.views").info("before it failed")
    raise LookupError("broken")


urlpatterns = [path("fail/", fail)]


def test_a_django_request_that_failed_ships_what_it_has_logged_before_the_error(shop):
    with override_settings(ROOT_URLCONF=__name__):
        Client(raise_request_exception=False).get("/fail/")
    assert [row["logger_name"] for row in shop.rows] == ["shop.views", "django.request", "hublog.request"]
    assert requests_of(shop) == [500]
    assert shop.stats.dropped == {}


def test_async_views_that_run_together_keep_apart_what_they_log(shop):
    async def main():
        client = AsyncClient()
        await asyncio.gather(*(client.get(f"/slow/{number}/") for number in range(10)))

    asyncio.run(main())
    assert (of_views(shop), requests_of(shop)) == ([], [200] * 10)
    assert shop.stats.dropped[Drop.SAMPLED_OUT] == 20


def test_what_is_logged_while_a_body_is_streamed_belongs_to_the_request(shop):
    response = Client().get("/stream/")
    logging.getLogger("shop.views").info("between")
    assert shop.stats.buffered == 0
    assert response.getvalue() == b"xxx"
    assert of_views(shop) == ["between"]
    assert shop.stats.dropped == {Drop.SAMPLED_OUT: 3}
