"""Addresses of the shop."""

from django.urls import path

from orders import sessions, views

urlpatterns = [
    path("session/", sessions.session, name="session"),
    path("orders/", views.place, name="place-order"),
    path("orders/<int:order_id>/", views.show, name="order"),
    path("orders/<int:order_id>/pay/", views.pay, name="pay-order"),
    path("reports/revenue/", views.revenue, name="revenue"),
]
