"""The Django app of the shop."""

from django.apps import AppConfig


class OrdersConfig(AppConfig):
    name = "orders"
