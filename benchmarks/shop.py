"""What the shop says: its routes and log calls, one a row, by the part of the shop they stand in."""

# ruff: noqa: E501  # tables, one row a line

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from benchmarks.failures import SITE, shop
from benchmarks.vocabulary import CARRIERS, CURRENCIES, PROVIDERS, Draw

DEBUG, INFO, WARNING, ERROR = logging.DEBUG, logging.INFO, logging.WARNING, logging.ERROR


@dataclass(frozen=True, slots=True)
class Call:
    """A log call in the code of the shop.

    Attributes:
        part: of the shop; ``any`` for all of it.
        logger: its name; the path of the file follows from it unless ``path`` is given.
        place: function and line.
        level: of the record.
        template: the message before its arguments.
        args: draws the arguments.
        attached: draws the ``extra``.
        weight: how often it is made, 1.0 being usual.
        path: of the file.
    """

    part: str
    logger: str
    place: tuple[str, int]
    level: int
    template: str
    args: Callable[[Draw], tuple[object, ...]] = lambda _: ()
    attached: Callable[[Draw], Mapping[str, object]] = lambda _: {}
    weight: float = 1.0
    path: str = ""


@dataclass(frozen=True, slots=True)
class Route:
    """A route of the shop.

    Attributes:
        part: of the shop.
        method: of the request.
        route: with placeholders.
        view: its name.
        path: draws a path.
        weight: how often it is asked for.
    """

    part: str
    method: str
    route: str
    view: str
    path: Callable[[Draw], str]
    weight: float


@dataclass(frozen=True, slots=True)
class Failure:
    """An exception that is logged.

    Attributes:
        call: where it is logged.
        work: fails.
        is_fatal: whether the request ends with status 500 because of it.
        layers: middlewares around the view.
    """

    call: Call
    work: Callable[[Draw], Callable[[], object]]
    is_fatal: bool = False
    layers: int = 0


# A table each: one row an entry.
# fmt: off
ROUTES: Final = (
    Route("catalog", "GET", "/products/<slug:slug>/", "catalog:product", lambda d: f"/products/{d.slug()}/", 9),
    Route("catalog", "GET", "/categories/<path:path>/", "catalog:category", lambda d: f"/categories/{d.title().replace(' ', '/')}/", 5),
    Route("catalog", "GET", "/search/", "catalog:search", lambda _: "/search/", 4),
    Route("catalog", "GET", "/api/v2/products/<int:pk>/", "api:product-detail", lambda d: f"/api/v2/products/{d.number(1_000, 60_000)}/", 6),
    Route("catalog", "GET", "/api/v2/stock/<str:sku>", "api:stock", lambda d: f"/api/v2/stock/{d.sku()}", 3),
    Route("cart", "GET", "/cart/", "cart:show", lambda _: "/cart/", 3),
    Route("cart", "POST", "/cart/items/", "cart:add", lambda _: "/cart/items/", 3),
    Route("cart", "DELETE", "/api/v2/carts/<hex:cart>/items/<int:pk>/", "api:cart-item", lambda d: f"/api/v2/carts/{d.hex(6)}/items/{d.number(1, 9)}/", 1),
    Route("checkout", "POST", "/checkout/payment/", "checkout:payment", lambda _: "/checkout/payment/", 2),
    Route("checkout", "POST", "/api/v2/orders/", "api:order-list", lambda _: "/api/v2/orders/", 2),
    Route("checkout", "POST", "/hooks/payments/<str:provider>/", "checkout:hook", lambda d: f"/hooks/payments/{d.choice(PROVIDERS)}/", 1),
    Route("account", "POST", "/account/login/", "account:login", lambda _: "/account/login/", 2),
    Route("account", "GET", "/account/orders/<int:pk>/", "account:order", lambda d: f"/account/orders/{d.number(100_000, 990_000)}/", 2),
    Route("account", "PUT", "/account/addresses/<uuid:pk>/", "account:address", lambda d: f"/account/addresses/{d.hex(4)}-{d.hex(2)}-4{d.hex(2)[1:]}-a{d.hex(2)[1:]}-{d.hex(6)}/", 1),
    Route("any", "GET", "/healthz", "health", lambda _: "/healthz", 9),
)

CALLS: Final = (
    Call("catalog", "shop.catalog.views", ("product", 48), INFO, "product %s shown in %s", lambda d: (d.sku(), d.choice(("de", "en", "fr", "pl"))), lambda d: {"product_id": d.number(1_000, 60_000), "price": d.amount(), "variant": d.title()}),
    Call("catalog", "shop.catalog.search", ("search", 91), INFO, "search for %r gave %d hits in %.1f ms", lambda d: (d.title(), d.number(0, 2_400), d.milliseconds(18)), lambda d: {"index": f"products-{d.choice(('de', 'en', 'fr'))}", "facets": d.number(0, 9), "page": d.number(1, 12)}),
    Call("catalog", "shop.catalog.search", ("suggest", 133), DEBUG, "suggestions for %r: %s", lambda d: (d.title()[:5], ", ".join(d.title() for _ in range(3)))),
    Call("catalog", "shop.catalog.cache", ("get", 37), DEBUG, "cache %s for %s", lambda d: (d.choice(("hit", "hit", "hit", "miss")), f"product:{d.number(1_000, 60_000)}:v{d.number(1, 30)}"), weight=1.6),
    Call("catalog", "shop.catalog.prices", ("price_of", 64), INFO, "price of %s is %.2f %s", lambda d: (d.sku(), d.amount(), d.choice(CURRENCIES)), lambda d: {"price_list": d.choice(("retail", "b2b", "staff")), "rule_ids": [d.number(1, 400) for _ in range(d.number(0, 5))]}),
    Call("catalog", "shop.catalog.stock", ("available", 29), INFO, "stock of %s: %d in %s", lambda d: (d.sku(), d.number(0, 300), d.city()), lambda d: {"warehouse": d.number(1, 12), "reserved": d.number(0, 20)}),
    Call("catalog", "shop.catalog.stock", ("available", 34), WARNING, "stock of %s is low: %d left", lambda d: (d.sku(), d.number(1, 5)), lambda d: {"warehouse": d.number(1, 12), "reorder_at": d.number(5, 40)}, 0.3),
    Call("catalog", "shop.catalog.images", ("thumbnail", 82), WARNING, "image %s is missing in size %dx%d", lambda d: (f"{d.hex(10)}.webp", d.choice((160, 320, 640)), d.choice((160, 320, 640))), weight=0.25),
    Call("catalog", "shop.recommend", ("for_product", 57), INFO, "recommended %d articles", lambda d: (d.number(2, 12),), lambda d: {"model": f"als-{d.number(20, 44)}", "skus": [d.sku() for _ in range(d.randint(2, 6))], "score": round(d.random(), 6)}, 0.7),
    Call("cart", "shop.cart.service", ("add", 71), INFO, "added %s x %d to cart %s", lambda d: (d.sku(), d.number(1, 6), d.hex(6)), lambda d: {"amount": d.amount(), "currency": d.choice(CURRENCIES), "express": d.random() < 0.2}),
    Call("cart", "shop.cart.service", ("remove", 94), INFO, "removed %s from cart %s", lambda d: (d.sku(), d.hex(6))),
    Call("cart", "shop.cart.service", ("totals", 120), INFO, "cart priced", attached=lambda d: {"cart": d.cart(), "total": d.amount(), "shipping": d.choice((0, 3.9, 4.9, 12.5))}),
    Call("cart", "shop.cart.coupons", ("apply", 45), INFO, "coupon %s gives %.2f %s", lambda d: (d.hex(4).upper(), d.amount(), d.choice(CURRENCIES)), lambda d: {"campaign": d.title(), "uses_left": d.number(0, 5_000)}, 0.6),
    Call("cart", "shop.cart.coupons", ("apply", 39), WARNING, "coupon %s refused: %s", lambda d: (d.hex(4).upper(), d.choice(("expired", "used", "wrong country", "minimum not reached"))), weight=0.3),
    Call("checkout", "shop.checkout.views", ("pay", 133), INFO, "order %s placed by %s", lambda d: (d.number(100_000, 990_000), d.name()), lambda d: {"order": {"id": d.number(100_000, 990_000), **d.cart()}, "city": d.city(), "newsletter": d.random() < 0.3}),
    Call("checkout", "shop.payments.gateway", ("authorise", 66), INFO, "payment of %.2f %s authorised by %s in %d ms", lambda d: (d.amount(), d.choice(CURRENCIES), d.choice(PROVIDERS), d.number(60, 1_900)), lambda d: {"psp_reference": d.hex(8).upper(), "method": d.choice(("card", "paypal", "klarna", "sepa")), "attempt": d.number(1, 3)}),
    Call("checkout", "shop.payments.gateway", ("authorise", 72), WARNING, "payment for order %d declined: %s", lambda d: (d.number(100_000, 990_000), d.choice(("insufficient_funds", "do_not_honor", "3ds_failed", "expired_card"))), lambda d: {"psp_reference": d.hex(8).upper(), "risk_score": d.number(0, 100)}, 0.4),
    Call("checkout", "shop.checkout.fraud", ("score", 58), INFO, "risk %.4f for order %d", lambda d: (d.random(), d.number(100_000, 990_000)), lambda d: {"signals": {"velocity": d.number(0, 9), "country_match": d.random() < 0.9, "device": d.hex(8)}}),
    Call("checkout", "shop.shipping", ("book", 88), INFO, "parcel %s booked with %s to %s", lambda d: (f"{d.getrandbits(40):012d}", d.choice(CARRIERS), d.city()), lambda d: {"weight_g": d.number(80, 24_000), "parcels": d.number(1, 4), "eta_days": d.randint(1, 6)}),
    Call("checkout", "shop.invoices", ("render", 41), INFO, "invoice %s written: %d bytes", lambda d: (f"R{d.number(2_024_000_000, 2_026_999_999)}", d.number(21_000, 190_000)), lambda d: {"customer": d.name(), "vat": d.choice((7, 19, 20, 23, 25)), "duration_s": round(d.milliseconds(80) / 1000, 4)}),
    Call("checkout", "shop.checkout.hooks", ("receive", 27), INFO, "hook %s from %s", lambda d: (d.choice(("payment.captured", "payment.refunded", "dispute.opened")), d.choice(PROVIDERS)), lambda d: {"event_name": "payment.hook", "delivery": d.hex(16), "retry": d.number(0, 4)}),
    Call("account", "shop.account.views", ("login", 61), INFO, "%s signed in", lambda d: (d.email(),), lambda d: {"method": d.choice(("password", "passkey", "google", "apple")), "mfa": d.random() < 0.4, "country": d.choice(("DE", "PL", "SE", "CH", "FR"))}),
    Call("account", "shop.account.views", ("login", 74), WARNING, "sign-in of %s refused: %s", lambda d: (d.email(), d.choice(("wrong password", "locked", "unknown"))), lambda d: {"failures": d.number(1, 12)}, 0.5),
    Call("account", "shop.account.addresses", ("save", 33), INFO, "address of %s changed to %s", lambda d: (d.name(), d.city()), lambda d: {"fields": d.sample(("street", "zip", "city", "phone", "company"), d.randint(1, 4))}),
    Call("account", "shop.account.mail", ("send", 52), INFO, "mail %s to %s queued", lambda d: (d.choice(("order_confirmation", "password_reset", "shipped", "invoice")), d.email()), lambda d: {"message_id": f"<{d.hex(12)}@mail.example.com>", "locale": d.choice(("de_DE", "pl_PL", "sv_SE", "fr_CH"))}),
    Call("account", "shop.account.gdpr", ("export", 110), INFO, "export for customer %d holds %d orders", lambda d: (d.number(1, 90_000), d.number(0, 240)), weight=0.2),
    Call("any", "shop.flags", ("is_on", 22), DEBUG, "flag %s is %s", lambda d: (d.choice(("new-checkout", "fast-search", "blue-button", "pay-later")), d.choice(("on", "off"))), lambda d: {"bucket": d.number(0, 100)}, 0.3),
    Call("any", "shop.sessions", ("load", 47), INFO, "session of customer %d loaded in %.2f ms", lambda d: (d.number(1, 90_000), d.milliseconds(1.1)), lambda d: {"session_age_s": d.number(0, 86_400)}, 0.5),
    Call("any", "shop.db", ("slow", 19), WARNING, "slow query (%.1f ms): %s", lambda d: (d.milliseconds(420), d.query()), lambda d: {"alias": d.choice(("default", "replica")), "rows": d.number(0, 9_000)}, 0.3),
    Call("any", "urllib3.connectionpool", ("_make_request", 544), DEBUG, '%s://%s:%s "%s %s %s" %s %s', lambda d: ("https", d.choice(PROVIDERS), 443, "POST", f"/v2/payments/{d.number(100_000, 990_000)}", "HTTP/1.1", d.choice((200, 201, 202, 409)), d.number(90, 2_400)), weight=0.25, path=f"{SITE}urllib3/connectionpool.py"),
    Call("any", "urllib3.connectionpool", ("urlopen", 868), WARNING, "Retrying (%r) after connection broken by '%r': %s", lambda d: (f"Retry(total={d.randint(0, 2)})", ConnectionResetError(104, "Connection reset by peer"), f"/v2/rates?base={d.choice(CURRENCIES)}&at={d.number(1, 10**9)}"), weight=0.1, path=f"{SITE}urllib3/connectionpool.py"),
    Call("any", "shop.throttle", ("allow", 31), WARNING, "client %s made %d requests in %d s", lambda d: (d.address(), d.number(60, 900), 60), weight=0.1),
    Call("task", "celery.app.trace", ("info", 128), INFO, "Task %(name)s[%(id)s] succeeded in %(runtime)ss: %(return_value)s", lambda d: ({"name": "shop.tasks.sync", "id": d.hex(16), "runtime": d.milliseconds(300) / 1000, "return_value": d.choice(("None", "True", str(d.number(1, 900))))},), path=f"{SITE}celery/app/trace.py"),
    Call("task", "celery.worker.strategy", ("task_message_handler", 161), INFO, "Task %s[%s] received", lambda d: (d.choice(("shop.tasks.mail", "shop.tasks.index", "shop.tasks.feed")), d.hex(16)), path=f"{SITE}celery/worker/strategy.py"),
    Call("task", "shop.tasks.index", ("reindex", 66), INFO, "%d documents indexed in %.2f s", lambda d: (d.number(10, 5_000), d.milliseconds(900) / 1000), lambda d: {"index": f"products-{d.choice(('de', 'en', 'fr'))}", "errors": d.number(0, 3), "metrics": {"bytes": d.number(10_000, 9_000_000), "batches": d.number(1, 60)}}),
    Call("task", "shop.tasks.feed", ("load", 102), INFO, "feed of %s: %d new, %d changed, %d gone", lambda d: (d.name(), d.number(0, 400), d.number(0, 2_000), d.number(0, 90)), lambda d: {"file": f"in/{d.hex(4)}/{d.number(1, 400)}.csv", "bytes": d.number(1_000, 40_000_000)}),
    Call("task", "shop.tasks.mail", ("deliver", 38), INFO, "mail %s delivered to %s", lambda d: (d.hex(8), d.email()), lambda d: {"smtp": f"250 2.0.0 OK {d.hex(5)}", "host": f"mx{d.randint(1, 4)}.example.com"}),
    Call("task", "shop.tasks.stock", ("sync", 55), WARNING, "%d articles have no stock in %s", lambda d: (d.number(1, 90), d.city()), lambda d: {"skus": [d.sku() for _ in range(d.number(1, 9))]}, 0.4),
    Call("background", "apscheduler.executors.default", ("run_job", 131), INFO, 'Job "%s (trigger: interval[%s], next run at: %s)" executed successfully', lambda d: (d.choice(("refresh_rates", "close_carts", "send_reminders", "rotate_banners")), f"0:{d.randint(0, 59):02d}:00", f"2026-09-01 12:{d.randint(1, 59):02d}:{d.randint(0, 59):02d} UTC"), path=f"{SITE}apscheduler/executors/base.py"),
    Call("background", "shop.pool", ("report", 73), INFO, "%d of %d connections in use, longest wait %.2f ms", lambda d: (d.number(0, 20), 20, d.milliseconds(2.0)), lambda d: {"alias": d.choice(("default", "replica"))}),
    Call("background", "shop.rates", ("refresh", 41), INFO, "1 %s is %.5f EUR", lambda d: (d.choice(CURRENCIES), d.uniform(0.08, 1.3)), lambda d: {"age_s": d.number(0, 3_600)}),
    Call("background", "shop.cache", ("evict", 118), DEBUG, "%d keys evicted from %s, %d bytes free", lambda d: (d.number(0, 900), d.choice(("products", "prices", "sessions")), d.number(10**6, 10**9))),
    Call("background", "shop.carts", ("close", 64), INFO, "cart %s closed after %d h: %s left", lambda d: (d.hex(6), d.number(24, 400), d.name()), lambda d: {"total": d.amount(), "currency": d.choice(CURRENCIES)}),
    Call("background", "shop.events", ("publish", 29), INFO, "event %s published", lambda d: (d.choice(("stock.changed", "price.changed", "order.shipped", "cart.abandoned")),), lambda d: {"key": d.sku(), "partition": d.number(0, 12), "offset": d.number(10**6, 10**8)}, 2.0),
    Call("background", "shop.pool", ("report", 80), WARNING, "connection %d of %s dropped: %r", lambda d: (d.number(1, 20), d.choice(("default", "replica")), TimeoutError(110, "Connection timed out")), weight=0.1),
)

FAILURES: Final = (
    Failure(Call("checkout", "shop.checkout.views", ("pay", 151), ERROR, "payment for order %d failed", lambda d: (d.number(100_000, 990_000),), lambda d: {"provider": d.choice(PROVIDERS), "amount": d.amount()}), lambda d: (lambda: shop("authorise")(d.choice(PROVIDERS), d.number(100_000, 990_000), d.choice(("read", "timeout", "refused", "tls"))))),
    Failure(Call("checkout", "shop.payments.capture", ("capture", 44), ERROR, "capture refused", attached=lambda d: {"psp_reference": d.hex(8).upper()}), lambda d: (lambda: shop("capture")({"status": d.choice(("refused", "error", "pending")), "reason": d.choice(("05", "51", "91"))}, d.number(100_000, 990_000)))),
    Failure(Call("cart", "shop.cart.service", ("totals", 128), ERROR, "cart %s cannot be priced", lambda d: (d.hex(6),), lambda d: d.cart()), lambda d: lambda: shop("total")([{"price": d.amount()}], [{"base": 0, "percent": d.number(1, 30)}]), is_fatal=True, layers=6),
    Failure(Call("catalog", "shop.catalog.views", ("category", 77), ERROR, "category %s cannot be shown", lambda d: (d.title(),)), lambda d: lambda: shop("render")({"children": []}, d.number(4, 40)), is_fatal=True, layers=6),
    Failure(Call("account", "shop.account.views", ("profile", 93), ERROR, "profile of customer %s cannot be shown", lambda d: (d.number(1, 90_000),)), lambda d: lambda: shop("greet")({"addresses": {}, "default": d.hex(4)}), is_fatal=True, layers=4),
    Failure(Call("checkout", "shop.orders.store", ("insert", 60), ERROR, "order could not be stored", attached=lambda d: d.cart()), lambda d: (lambda: shop("save")("orders_order", shop("UniqueViolation")(f'duplicate key value violates unique constraint "orders_order_number_key"\nDETAIL:  Key (number)=({d.number(100_000, 990_000)}) already exists.'))), is_fatal=True, layers=8),
    Failure(Call("any", "shop.db", ("run", 44), WARNING, "transaction is tried again (%d of %d)", lambda d: (d.randint(1, 2), 3)), lambda d: (lambda: shop("fetch_all")("stock_level", shop("DeadlockDetected")(f"deadlock detected\nDETAIL:  Process {d.number(900, 60_000)} waits for ShareLock on transaction {d.number(10**6, 10**9)}.")))),
    Failure(Call("task", "shop.tasks.feed", ("load", 117), ERROR, "row %d of feed %s is left out", lambda d: (d.number(1, 40_000), d.hex(4))), lambda d: (lambda: shop("read")(d.choice((b"%s;1x0;4", b"%s", b"\xff%s;9;9")) % d.sku().encode(), d.number(1, 40_000)))),
    Failure(Call("task", "celery.app.trace", ("_log_error", 285), ERROR, "Task %(name)s[%(id)s] raised unexpected: %(exc)s", lambda d: ({"name": "shop.tasks.stock", "id": d.hex(16), "exc": "OperationalError('canceling statement due to statement timeout')"},), path=f"{SITE}celery/app/trace.py"), lambda _: (lambda: shop("fetch_all")("stock_level", shop("QueryCanceled")("canceling statement due to statement timeout")))),
)
# fmt: on


def weights(rows: tuple[Any, ...]) -> list[float]:
    """Return how often each row is taken."""
    return [row.weight for row in rows]
