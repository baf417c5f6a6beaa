"""What the owner does in Django's admin."""

import logging

from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest

from orders.models import Order, Product

log = logging.getLogger(__name__)


@admin.register(Product)
class ProductAdmin(admin.ModelAdmin):
    list_display = ("sku", "price_cents", "in_stock")
    search_fields = ("sku",)


@admin.register(Order)
class OrderAdmin(admin.ModelAdmin):
    list_display = ("id", "placed_at", "product", "customer", "quantity", "total_cents", "status")
    list_filter = ("status",)
    list_select_related = ("product", "customer")
    actions = ("refund",)

    @admin.action(description="Refund selected orders", permissions=["change"])
    def refund(self, request: HttpRequest, orders: QuerySet[Order]) -> None:
        """Give the money of the paid ones back; one record tells of each, and who did it."""
        paid = orders.filter(status=Order.Status.PAID)
        for order_id, amount in paid.values_list("pk", "total_cents"):
            log.info(
                "Order %d refunded",
                order_id,
                extra={
                    "event_name": "order.refunded",
                    "order_id": order_id,
                    "amount_cents": amount,
                    "user_id": str(request.user.pk),
                },
            )
        number = paid.update(status=Order.Status.REFUNDED)
        self.message_user(request, f"{number} refunded.", messages.SUCCESS)
