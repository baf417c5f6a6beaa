"""Customers: what they ask the shops for, and what they should get."""

import itertools
from collections.abc import Callable, Generator, Iterator, Mapping
from dataclasses import dataclass
from typing import Final, TypeAlias

GOOD_CARD: Final = "4242424242424242"
DECLINED_CARD: Final = "4000000000000002"
#: The shops' stand-in for the card gateway does not answer for this one, which raises an exception.
FAILING_CARD: Final = "4000000000000119"

TENANTS: Final = ("acme", "globex", "initech")
CUSTOMER: Final = "ada"


@dataclass(frozen=True, slots=True)
class Call:
    """One request.

    Attributes:
        body: sent as JSON; None sends none.
        status: what a shop that works answers.
    """

    method: str
    path: str
    body: Mapping[str, object] | None = None
    status: int = 200


#: Yields calls and is sent the decoded answer to each.
Visit: TypeAlias = Generator[Call, Mapping[str, object], None]


@dataclass(frozen=True, slots=True)
class Shop:
    """Where one of the shops has what.

    Attributes:
        slash: what its addresses end with.
        has_sessions: whether customers can sign in, and need a CSRF token to post.
    """

    slash: str
    has_sessions: bool

    def visits(self, password: str) -> Iterator[tuple[str, Visit]]:
        """Return an endless row of visits with the tenant of each; always the same row."""
        kinds = itertools.cycle(self._kinds())
        for number, kind in enumerate(kinds):
            visit = kind(self)
            if self.has_sessions:
                visit = self._in_session(visit, password if number % 6 == 1 else None)
            yield TENANTS[number % len(TENANTS)], visit

    def _kinds(self) -> list[Callable[["Shop"], Visit]]:
        failing: list[Callable[[Shop], Visit]] = [_buy_while_gateway_is_away]
        if self.has_sessions:
            failing.append(_ask_for_unknown_currency)
        return [_buy, _buy, *failing, _buy, _buy_with_declined_card, _look_for_nothing, _buy, _ask_for_report]

    def _in_session(self, visit: Visit, password: str | None) -> Visit:
        yield Call("GET", "/session/")
        if password is not None:
            yield Call("POST", "/session/", {"username": CUSTOMER, "password": password}, 201)
        yield from visit

    def order(self, number: object = None, action: str = "") -> str:
        """Return the address of the orders, of one of them, or of something to do with it."""
        parts = ["orders", *([str(number)] if number is not None else []), *([action] if action else [])]
        return f"/{'/'.join(parts)}{self.slash}"

    @property
    def report(self) -> str:
        """The address of the slow report."""
        return f"/reports/revenue{self.slash}"


FLASK_SHOP: Final = Shop(slash="", has_sessions=False)
DJANGO_SHOP: Final = Shop(slash="/", has_sessions=True)


def _buy(shop: Shop, card: str = GOOD_CARD, status: int = 200) -> Visit:
    order = yield Call("POST", shop.order(), {"sku": "tea", "quantity": 2}, 201)
    yield Call("GET", shop.order(order["id"]))
    yield Call("POST", shop.order(order["id"], "pay"), {"card": card}, status)


def _buy_with_declined_card(shop: Shop) -> Visit:
    return _buy(shop, DECLINED_CARD, 402)


def _buy_while_gateway_is_away(shop: Shop) -> Visit:
    return _buy(shop, FAILING_CARD, 500)


def _look_for_nothing(shop: Shop) -> Visit:
    yield Call("GET", shop.order(999_999_999), None, 404)


def _ask_for_report(shop: Shop) -> Visit:
    yield Call("GET", shop.report)


def _ask_for_unknown_currency(shop: Shop) -> Visit:
    yield Call("GET", f"{shop.report}?currency=XAU", None, 500)
