"""``manage.py open_shop`` fills the shelves and makes a customer to sign in with."""

import logging
import os

from django.contrib.auth import get_user_model
from django.core.management.base import BaseCommand

from orders.models import Product

log = logging.getLogger(__name__)

_PRODUCTS = {"tea": (450, 1_000_000), "coffee": (1290, 1_000_000), "honey": (799, 3)}


class Command(BaseCommand):
    help = "Fills the shelves; makes the customer 'ada' if SHOP_PASSWORD holds a password. Safe to repeat."

    def handle(self, *_args: object, **_options: object) -> None:
        for sku, (price, number) in _PRODUCTS.items():
            Product.objects.get_or_create(sku=sku, defaults={"price_cents": price, "in_stock": number})
        log.info("%d products are on the shelves", len(_PRODUCTS), extra={"event_name": "shop.stocked"})
        password = os.environ.get("SHOP_PASSWORD")
        if password:
            customer, _ = get_user_model().objects.get_or_create(username="ada")
            customer.set_password(password)
            customer.save()
            log.info("Customer ada can sign in", extra={"event_name": "shop.customer_made"})
