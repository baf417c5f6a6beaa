"""What stands on the shelves, and what was bought."""

from django.conf import settings
from django.db import models
from django.utils import timezone


class Product(models.Model):
    """Something that the shop sells."""

    sku = models.CharField(max_length=40, unique=True)
    price_cents = models.PositiveIntegerField()
    in_stock = models.PositiveIntegerField()

    def __str__(self) -> str:
        return self.sku


class Order(models.Model):
    """One product, some of it, for one customer; guests may buy too."""

    class Status(models.TextChoices):
        PLACED = "placed"
        PAID = "paid"
        REFUNDED = "refunded"

    product = models.ForeignKey(Product, on_delete=models.PROTECT)
    customer = models.ForeignKey(settings.AUTH_USER_MODEL, null=True, on_delete=models.SET_NULL)
    quantity = models.PositiveIntegerField()
    total_cents = models.PositiveIntegerField()
    status = models.CharField(max_length=10, choices=Status, default=Status.PLACED)
    placed_at = models.DateTimeField(default=timezone.now, editable=False)

    def __str__(self) -> str:
        return f"order {self.pk}"
